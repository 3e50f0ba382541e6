//! The checks about what the log proves: each adds its line to the report.
//!
//! Invariant: a [`ProvenEntry`] comes only from a checkpoint that the log signed and a proof that
//! leads to it.

use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::entry::{Entry, EntryKind};
use treering_proto::evidence::Evidence;
use treering_proto::hash::{Hash, hash_leaf, sha256};
use treering_proto::proof::check_inclusion;
use treering_proto::trust::TrustFile;
use treering_proto::verifier::Verifier;

use super::{Newest, Opened, ProvenEntry};
use crate::report::{Exit, Report};

/// What the log's part of the bundle proves.
#[derive(Debug)]
pub(super) struct Proven {
    /// The checkpoint that the log signed, or why there is none.
    pub(super) checkpoint: Result<SignedCheckpoint, &'static str>,
    /// Present when the entry is in that tree.
    pub(super) entry: Option<ProvenEntry>,
    /// Present when the checkpoint contradicts the floor.
    pub(super) evidence: Option<Evidence>,
}

impl Proven {
    pub(super) fn nothing(why: &'static str) -> Self {
        Self { checkpoint: Err(why), entry: None, evidence: None }
    }
}

/// The one log entry, if it is of the trusted log and about this very signature.
pub(super) fn logged<'a>(
    opened: &'a Opened,
    trust: &TrustFile,
    verifier: Option<&Verifier>,
    report: &mut Report,
) -> Option<&'a TransparencyLogEntry> {
    let failed = |report: &mut Report, why: &str| {
        report.failed("logged", why, Exit::NotVerified);
        None
    };
    let entry = match opened.bundle.log_entries.as_slice() {
        [] => return failed(report, "the bundle has no log entry: the signature is not logged"),
        [entry] => entry,
        _ => return failed(report, "the bundle has more than one log entry"),
    };
    if let Some(why) = not_of_log(entry, trust) {
        return failed(report, why);
    }
    let Some(verifier) = verifier else {
        report.could_not_check("logged", "the signature does not verify", Exit::NotVerified);
        return None;
    };
    let body = match read_body(entry) {
        Ok(body) => body,
        Err(why) => return failed(report, &why),
    };
    if matches!(body, Entry::Intoto(_) | Entry::Rekord(_)) {
        let kind = body.kind().kind();
        let why = format!(
            "the log entry is of kind {kind}, in which no log takes model signatures; submit the \
             bundle, so that it is logged as dsse"
        );
        return failed(report, &why);
    }
    if !is_about(&body, opened, verifier) {
        return failed(report, "the log entry is about another signature");
    }
    report.passed(
        "logged",
        format!("entry {} of {} records this signature", entry.log_index, trust.log.origin),
    );
    Some(entry)
}

/// Why the proof of `entry` is none of the trusted log's.
pub(super) fn not_of_log(entry: &TransparencyLogEntry, trust: &TrustFile) -> Option<&'static str> {
    let keys = trust.log.checkpoint_keys();
    if keys.iter().any(|key| key.key_id_full() == entry.log_id) {
        return None;
    }
    Some(match trust.log.v1_log_ids().contains(&entry.log_id) {
        true => {
            "the log entry has a Rekor v1 proof, which cannot be checked against other views of \
             the log; submit the bundle to get a proof that can"
        }
        false => "the log entry is of another log",
    })
}

/// The entry itself, of the kind that is said beside it; or why it is not.
pub(super) fn read_body(entry: &TransparencyLogEntry) -> Result<Entry, String> {
    let body = Entry::parse(&entry.canonicalized_body)
        .map_err(|error| format!("the log entry cannot be read: {error}"))?;
    let named = EntryKind::from_name(&entry.kind, &entry.kind_version).ok();
    if named != Some(body.kind()) {
        return Err("the log entry is of another kind than the bundle says".to_owned());
    }
    Ok(body)
}

/// Whether the entry records the bundle's payload, its signature, and the key that it verified
/// under.
///
/// The digest of the envelope text in dsse 0.0.1 is left alone: it depends on how the submitter
/// wrote the JSON, and everything that means something in it is compared here.
fn is_about(body: &Entry, opened: &Opened, verifier: &Verifier) -> bool {
    let envelope = opened.envelope();
    match body {
        Entry::Dsse(dsse) => {
            let [logged] = dsse.signatures() else { return false };
            dsse.payload_hash() == sha256(&envelope.payload)
                && logged.signature == envelope.signatures[0].signature
                && names(&logged.verifier, verifier)
        }
        Entry::Hashedrekord(entry) => {
            entry.digest() == entry.hash().digest(&envelope.pae())
                && entry.signature() == envelope.signatures[0].signature
                && names(entry.verifier(), verifier)
        }
        Entry::Intoto(_) | Entry::Rekord(_) => false,
    }
}

/// Whether the entry names what the signature verified under: the same certificate, or for a bare
/// key anything that certifies it.
fn names(logged: &Verifier, verifier: &Verifier) -> bool {
    match verifier {
        Verifier::PublicKey(key) => logged.key() == &**key,
        Verifier::Certificate(_) | Verifier::Chain(_) => {
            logged.certificate() == verifier.certificate()
        }
    }
}

/// Checkpoint, inclusion and floor.
pub(super) fn proof(
    opened: &Opened,
    trust: &TrustFile,
    logged: Option<&TransparencyLogEntry>,
    report: &mut Report,
) -> Proven {
    let Some(entry) = logged else {
        let why = match opened.bundle.log_entries.len() {
            0 => "there is no log entry",
            _ => "the log entry is not acceptable",
        };
        for check in ["checkpoint", "inclusion", "floor"] {
            report.not_checked(check, why);
        }
        return Proven::nothing(why);
    };
    entry_proof(entry, trust, report)
}

/// The same for an entry, whatever it says.
pub(super) fn entry_proof(
    entry: &TransparencyLogEntry,
    trust: &TrustFile,
    report: &mut Report,
) -> Proven {
    let note = entry.inclusion_proof.checkpoint.as_bytes();
    let checkpoint = match open_checkpoint(note, &trust.log.origin, &trust.note_keys()) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            report.failed("checkpoint", error.to_string(), Exit::NotVerified);
            let why = "the checkpoint is not acceptable";
            for check in ["inclusion", "floor"] {
                report.not_checked(check, why);
            }
            return Proven::nothing(why);
        }
    };
    let head = checkpoint.head();
    report.passed("checkpoint", format!("{} signed a tree of {}", trust.log.origin, head.size));
    let leaf = hash_leaf(&entry.canonicalized_body);
    let included = inclusion(entry, &checkpoint, leaf, report);
    let evidence = floor(trust, &checkpoint, report);
    let index = entry.inclusion_proof.log_index;
    let entry = included.then(|| ProvenEntry {
        index,
        leaf,
        checkpoint: checkpoint.clone(),
        witnessed_by: None,
    });
    Proven { checkpoint: Ok(checkpoint), entry, evidence }
}

fn inclusion(
    entry: &TransparencyLogEntry,
    checkpoint: &SignedCheckpoint,
    leaf: Hash,
    report: &mut Report,
) -> bool {
    let proof = &entry.inclusion_proof;
    let head = checkpoint.head();
    // The claims beside the proof are not needed, but readers of the bundle may believe them.
    let claims_hold = proof.log_index == entry.log_index
        && proof.tree_size == head.size
        && proof.root_hash == head.root;
    match check_inclusion(proof.log_index, head, leaf, &proof.hashes) {
        Ok(()) if claims_hold => {
            report.passed("inclusion", format!("entry {} is in that tree", proof.log_index));
            true
        }
        Ok(()) => {
            let why = "index, size or root beside the proof are not those of the checkpoint";
            report.failed("inclusion", why, Exit::NotVerified);
            false
        }
        Err(error) => {
            report.failed("inclusion", error.to_string(), Exit::Alarm);
            false
        }
    }
}

fn floor(
    trust: &TrustFile,
    checkpoint: &SignedCheckpoint,
    report: &mut Report,
) -> Option<Evidence> {
    let Some(floor) = &trust.floor else {
        report.not_checked("floor", "the trust file has no floor");
        return None;
    };
    if let Some(evidence) = Evidence::fork_size(floor, checkpoint) {
        report.failed("floor", evidence.to_string(), Exit::Alarm);
        return Some(evidence);
    }
    if floor.head() == checkpoint.head() {
        report.passed("floor", "the tree is that of the floor");
    } else {
        report.not_checked("floor", "comparing trees of two sizes needs the log");
    }
    None
}

/// Whether the quorum cosigned what is believed: the tree of the bundle, and the newest one where
/// the log was asked for it.
pub(super) fn witnesses(
    trust: &TrustFile,
    checkpoint: Result<&SignedCheckpoint, &'static str>,
    newest: &Newest,
    report: &mut Report,
) {
    let checkpoint = match checkpoint {
        Ok(checkpoint) => checkpoint,
        Err(why) => return report.not_checked("witnesses", why),
    };
    let Some(witnesses) = &trust.witness_policy else {
        return report.not_checked("witnesses", "the trust file has no witness policy");
    };
    let policy = &witnesses.policy;
    let verified = checkpoint.verified();
    let detail = policy.report(verified);
    let lines = detail
        .components
        .iter()
        .map(|c| format!("{}: {} of {}, {} needed", c.name, c.have, c.of, c.need))
        .collect();
    match newest {
        _ if policy.needs_no_witness() => {
            report.not_checked("witnesses", "the witness policy asks for none");
        }
        _ if !policy.is_met(verified) => {
            report.failed("witnesses", "the quorum did not cosign the tree", Exit::NotVerified);
        }
        Newest::NoQuorum { size } => {
            let why = format!(
                "the quorum cosigned the tree of the bundle, and not the newest, of {size} entries"
            );
            report.failed("witnesses", why, Exit::NotVerified);
        }
        _ => report.passed("witnesses", "the quorum cosigned the tree"),
    }
    report.details(lines);
}
