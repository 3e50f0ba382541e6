//! An entry alone: what the log proves about it, whatever it says and whoever signed it. For those
//! who know what they sent, or read it themselves.
//!
//! Invariant: these are the checks of bundles (see [`super::verify`]), not others with the same
//! names. Out of scope: signatures and statements.

use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::entry::Entry;
use treering_proto::evidence::Evidence;
use treering_proto::trust::TrustFile;

use super::proof::{self, Proven};
use super::{Policy, ProvenEntry, Shown, Verification, dates};
use crate::report::{Exit, Report};

/// An entry whose proof was checked: all that is needed to ask the log about it.
#[derive(Debug)]
pub struct ExaminedEntry {
    body: Option<Entry>,
    report: Report,
    proven: Proven,
}

/// Checks the log's proof of `entry`.
pub fn examine_entry(entry: &TransparencyLogEntry, trust: &TrustFile) -> ExaminedEntry {
    let mut report = Report::default();
    let body = match proof::not_of_log(entry, trust) {
        Some(why) => Err(why.to_owned()),
        None => proof::read_body(entry),
    };
    let (index, origin) = (entry.log_index, &trust.log.origin);
    match body {
        Ok(body) => {
            report.passed("logged", format!("entry {index} of {origin} records it"));
            let proven = proof::entry_proof(entry, trust, &mut report);
            ExaminedEntry { body: Some(body), report, proven }
        }
        Err(why) => {
            report.failed("logged", why, Exit::NotVerified);
            let why = "the log entry is not acceptable";
            for check in ["checkpoint", "inclusion", "floor"] {
                report.not_checked(check, why);
            }
            ExaminedEntry { body: None, report, proven: Proven::nothing(why) }
        }
    }
}

impl ExaminedEntry {
    /// Where it is logged, and what it says, if the log proves that.
    pub fn entry(&self) -> Option<(&ProvenEntry, &Entry)> {
        self.proven.entry.as_ref().zip(self.body.as_ref())
    }

    /// The checks so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Of a tree that contradicts the floor.
    pub fn evidence(&self) -> Option<&Evidence> {
        self.proven.evidence.as_ref()
    }

    /// Runs the other checks, with what the log showed. The signers of `policy` do not matter.
    pub fn conclude(self, policy: &Policy<'_>, shown: &Shown) -> Verification {
        let Self { mut report, proven: Proven { checkpoint, entry, evidence }, .. } = self;
        let head = checkpoint.as_ref().map_err(|why| *why);
        proof::witnesses(policy.trust, head, &shown.newest, &mut report);
        dates::freshness(head, &shown.newest, policy, &mut report);
        Verification {
            report,
            signer: None,
            verifier: None,
            entry,
            findings: Vec::new(),
            evidence: evidence.into_iter().collect(),
            ignored_found: Vec::new(),
            skipped_by_caller: Vec::new(),
        }
    }
}
