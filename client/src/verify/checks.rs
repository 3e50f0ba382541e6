//! The single checks of [`super::verify`]: each adds its line to the report.

use std::collections::BTreeMap;

use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::certificate::Certificate;
use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::entry::{Entry, EntryKind};
use treering_proto::evidence::Evidence;
use treering_proto::hash::{Hash, hash_leaf, sha256};
use treering_proto::model_statement::{Method, ModelHash, ModelStatement};
use treering_proto::proof::check_inclusion;
use treering_proto::trust::{Signer, SignerRule, TrustFile};
use treering_proto::verifier::Verifier;

use super::{Found, Model, Opened, Policy, ProvenEntry};
use crate::certificate_chain::check_chain;
use crate::hash_model::is_covered;
use crate::report::{Exit, Report};

/// What the log's part of the bundle proves.
#[derive(Default)]
pub(super) struct Proven {
    entry: Option<ProvenEntry>,
    evidence: Option<Evidence>,
}

impl Proven {
    pub(super) fn entry(&self) -> Option<&ProvenEntry> {
        self.entry.as_ref()
    }

    pub(super) fn into_parts(self) -> (Option<ProvenEntry>, Option<Evidence>) {
        (self.entry, self.evidence)
    }
}

/// What the signature may verify under. A certificate bundle brings its own. Otherwise the accepted
/// keys come first, and then whatever key the log entry names, so that a signature by a stranger is
/// reported as that.
pub(super) fn candidates(opened: &Opened, policy: &Policy<'_>) -> Vec<Verifier> {
    if let Some(leaf) = opened.certificates().first() {
        return Certificate::from_der(leaf)
            .map(|leaf| vec![Verifier::Certificate(Box::new(leaf))])
            .unwrap_or_default();
    }
    let accepted = policy.signers.iter().filter_map(|rule| match &rule.who {
        Signer::Key(key) => Some(Verifier::PublicKey(Box::new(key.clone()))),
        Signer::Identity { .. } => None,
    });
    let named = opened.bundle.log_entries.iter().flat_map(|entry| {
        match Entry::parse(&entry.canonicalized_body) {
            Ok(Entry::Dsse(dsse)) => {
                dsse.signatures().iter().map(|signature| signature.verifier.clone()).collect()
            }
            Ok(Entry::Hashedrekord(entry)) => vec![entry.verifier().clone()],
            Err(_) => Vec::new(),
        }
    });
    accepted.chain(named).collect()
}

pub(super) fn signature(
    opened: &Opened,
    candidates: &[Verifier],
    report: &mut Report,
) -> Option<Verifier> {
    let envelope = opened.envelope();
    let pae = envelope.pae();
    let verified = candidates.iter().find(|verifier| {
        let mut signatures = envelope.signatures.iter();
        signatures.all(|signature| verifier.key().verify_dsse(&pae, &signature.signature).is_ok())
    });
    match verified {
        Some(verifier) => {
            let key = verifier.key().fingerprint();
            report.passed("signature", format!("verifies under key sha256:{key}"));
        }
        None if candidates.is_empty() => report.could_not_check(
            "signature",
            "no key is known that it could be checked with",
            Exit::NotVerified,
        ),
        None => report.failed(
            "signature",
            "does not verify under any accepted key, nor under that of the log entry",
            Exit::NotVerified,
        ),
    }
    verified.cloned()
}

/// Which rule accepts the signer. Also reports on the certificate.
pub(super) fn signer(
    opened: &Opened,
    policy: &Policy<'_>,
    verifier: Option<&Verifier>,
    entry: Option<&ProvenEntry>,
    report: &mut Report,
) -> Option<String> {
    let no_signature = "the signature does not verify";
    let rule = match verifier {
        _ if policy.signers.is_empty() => {
            let why = "no rule says who may sign";
            report.could_not_check("signer", why, Exit::Usage);
            None
        }
        None => {
            report.could_not_check("signer", no_signature, Exit::NotVerified);
            None
        }
        Some(verifier) => {
            let rule = policy.signers.iter().find(|rule| accepts(rule, verifier));
            match rule {
                Some(rule) => report.passed("signer", describe(rule)),
                None => report.failed(
                    "signer",
                    format!("signed by {}, whom no rule accepts", who(verifier)),
                    Exit::NotVerified,
                ),
            }
            rule
        }
    };
    let certificate = verifier.and_then(Verifier::certificate);
    match (rule.map(|rule| &rule.who), certificate) {
        (Some(Signer::Identity { .. }), Some(leaf)) => {
            self::certificate(opened, policy, leaf, entry, report);
        }
        (Some(Signer::Key(_)), Some(_)) => {
            report.not_checked("certificate", "the signer is accepted by key");
        }
        (_, None) => report.not_checked("certificate", "the signature was checked with a bare key"),
        (None, Some(_)) => report.not_checked("certificate", "no rule accepts the signer"),
    }
    rule.map(|rule| rule.name.clone())
}

fn certificate(
    opened: &Opened,
    policy: &Policy<'_>,
    leaf: &Certificate,
    entry: Option<&ProvenEntry>,
    report: &mut Report,
) {
    let witnessed = entry.and_then(|entry| entry.witnessed_by);
    let time = witnessed.unwrap_or(policy.now);
    let roots = &policy.trust.certificate_authorities;
    // There are none where the bundle names a key and the log entry brought the certificate.
    let intermediates = opened.certificates().get(1..).unwrap_or_default();
    match check_chain(leaf, intermediates, roots, time) {
        Ok(()) => report.passed(
            "certificate",
            match witnessed {
                Some(_) => "a trusted authority certifies it, at the time when witnesses saw it",
                None => "a trusted authority certifies it, now; no witness dates the signature",
            },
        ),
        Err(error) => report.failed("certificate", error.to_string(), Exit::NotVerified),
    }
}

fn accepts(rule: &SignerRule, verifier: &Verifier) -> bool {
    match (&rule.who, verifier.certificate()) {
        (Signer::Key(key), _) => key == verifier.key(),
        (Signer::Identity { identity, issuer }, Some(leaf)) => {
            leaf.identities().contains(identity) && leaf.issuer() == issuer.as_deref()
        }
        (Signer::Identity { .. }, None) => false,
    }
}

fn describe(rule: &SignerRule) -> String {
    match &rule.who {
        Signer::Key(key) => format!("{:?}, by key sha256:{}", rule.name, key.fingerprint()),
        Signer::Identity { identity, issuer: Some(issuer) } => {
            format!("{:?}, as {identity} of {issuer}", rule.name)
        }
        Signer::Identity { identity, issuer: None } => format!("{:?}, as {identity}", rule.name),
    }
}

fn who(verifier: &Verifier) -> String {
    let key = format!("key sha256:{}", verifier.key().fingerprint());
    match verifier.certificate() {
        Some(leaf) if !leaf.identities().is_empty() => {
            let names = leaf.identities().join(", ");
            let issuer = leaf.issuer().map(|issuer| format!(" of {issuer}")).unwrap_or_default();
            format!("{names}{issuer} with {key}")
        }
        _ => key,
    }
}

/// Compares the files by name.
///
/// Returns the signed files that were not compared, at the caller's wish.
pub(super) fn bytes(
    statement: &ModelStatement,
    model: Model<'_>,
    report: &mut Report,
) -> Vec<String> {
    let found = match model {
        Model::Read(found) => found,
        Model::NotRead => {
            report.not_checked("bytes", "the model was not read");
            return Vec::new();
        }
        Model::Unreadable(why) => {
            report.could_not_check("bytes", why, Exit::Unavailable);
            return Vec::new();
        }
        Model::Unacceptable(why, details) => {
            report.failed("bytes", why, Exit::NotVerified);
            report.details(details.to_vec());
            return Vec::new();
        }
    };
    if statement.method() != Method::Files || statement.hash() != ModelHash::Sha256 {
        let why = format!(
            "the statement has method {} with {}; this version compares files with sha256 only",
            statement.method().name(),
            statement.hash().name()
        );
        report.could_not_check("bytes", why, Exit::Unavailable);
        return Vec::new();
    }
    compare(statement, found, report)
}

fn compare(statement: &ModelStatement, found: &Found, report: &mut Report) -> Vec<String> {
    let single = statement.is_single_file() && found.files.len() == 1;
    let mut signed: BTreeMap<&str, &[u8]> = BTreeMap::new();
    let mut skipped = Vec::new();
    for resource in statement.resources() {
        let covered = |path: &String| is_covered(&resource.name, path);
        if found.ignored_by_caller.iter().any(covered) {
            skipped.push(resource.name.clone());
        } else {
            signed.insert(&resource.name, &resource.digest);
        }
    }
    let compared = signed.len();
    let mut differences = Vec::new();
    for file in &found.files {
        let alone = single && file.name == "." && compared == 1;
        let entry = if alone {
            signed.pop_first().map(|(_, digest)| digest)
        } else {
            signed.remove(file.name.as_str())
        };
        match entry {
            Some(digest) if digest == file.digest => {}
            Some(_) => differences.push(format!("changed: {}", file.name)),
            None => differences.push(format!("extra, not signed: {}", file.name)),
        }
    }
    differences.extend(signed.keys().map(|name| format!("missing: {name}")));
    let mut remarks = Vec::new();
    if !skipped.is_empty() {
        let count = skipped.len();
        remarks.push(format!("{count} signed files were left out at the caller's wish"));
    }
    remarks.extend(found.ignored.iter().map(|path| format!("not signed, ignored: {path}")));
    if !differences.is_empty() {
        let why = format!("{} files differ from what was signed", differences.len());
        report.failed("bytes", why, Exit::NotVerified);
    } else if compared == 0 {
        report.failed("bytes", "every signed file was left out", Exit::NotVerified);
    } else {
        report.passed("bytes", format!("{compared} files are those that were signed"));
    }
    report.details([differences, remarks].concat());
    skipped
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
    let keys = trust.log.checkpoint_keys();
    if !keys.iter().any(|key| key.key_id_full() == entry.log_id) {
        let v1 = trust.log.v1_log_ids().contains(&entry.log_id);
        return failed(
            report,
            if v1 {
                "the log entry has a Rekor v1 proof, which cannot be checked against other views \
                 of the log; submit the bundle to get a proof that can"
            } else {
                "the log entry is of another log"
            },
        );
    }
    let Some(verifier) = verifier else {
        report.could_not_check("logged", "the signature does not verify", Exit::NotVerified);
        return None;
    };
    let body = match Entry::parse(&entry.canonicalized_body) {
        Ok(body) => body,
        Err(error) => return failed(report, &format!("the log entry cannot be read: {error}")),
    };
    let named = EntryKind::from_name(&entry.kind, &entry.kind_version).ok();
    if named != Some(body.kind()) {
        return failed(report, "the log entry is of another kind than the bundle says");
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
    }
}

/// Whether the entry names what the signature verified under: the same certificate, or for a bare
/// key anything that certifies it.
fn names(logged: &Verifier, verifier: &Verifier) -> bool {
    match verifier {
        Verifier::PublicKey(key) => logged.key() == &**key,
        Verifier::Certificate(_) => logged == verifier,
    }
}

/// Checkpoint, inclusion, floor and witnesses.
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
        for check in ["checkpoint", "inclusion", "floor", "witnesses"] {
            report.not_checked(check, why);
        }
        return Proven::default();
    };
    let note = entry.inclusion_proof.checkpoint.as_bytes();
    let checkpoint = match open_checkpoint(note, &trust.log.origin, &trust.note_keys()) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            report.failed("checkpoint", error.to_string(), Exit::NotVerified);
            for check in ["inclusion", "floor", "witnesses"] {
                report.not_checked(check, "the checkpoint is not acceptable");
            }
            return Proven::default();
        }
    };
    let head = checkpoint.head();
    report.passed("checkpoint", format!("{} signed a tree of {}", trust.log.origin, head.size));
    let leaf = hash_leaf(&entry.canonicalized_body);
    let included = inclusion(entry, &checkpoint, leaf, report);
    let evidence = floor(trust, &checkpoint, report);
    let witnessed_by = witnesses(trust, &checkpoint, report);
    let index = entry.inclusion_proof.log_index;
    let entry = included.then_some(ProvenEntry { index, leaf, checkpoint, witnessed_by });
    Proven { entry, evidence }
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

/// Returns a time at which the tree existed, if the quorum vouches for it.
fn witnesses(trust: &TrustFile, checkpoint: &SignedCheckpoint, report: &mut Report) -> Option<u64> {
    let Some(witnesses) = &trust.witness_policy else {
        report.not_checked("witnesses", "the trust file has no witness policy");
        return None;
    };
    let policy = &witnesses.policy;
    let verified = checkpoint.verified();
    let detail = policy.report(verified);
    let lines = detail
        .components
        .iter()
        .map(|c| format!("{}: {} of {}, {} needed", c.name, c.have, c.of, c.need))
        .collect();
    if policy.needs_no_witness() {
        report.not_checked("witnesses", "the witness policy asks for none");
    } else if policy.is_met(verified) {
        report.passed("witnesses", "the quorum cosigned the tree");
    } else {
        report.failed("witnesses", "the quorum did not cosign the tree", Exit::NotVerified);
    }
    report.details(lines);
    // The newest time: a single liar can make the entry seem younger than it is, never older.
    policy.quorum_time_newest(verified)
}
