//! The checks about signer and files: each adds its line to the report.
//!
//! Out of scope: what the log proves (see the neighbour `proof`), and times (see `dates`).

use std::collections::BTreeMap;

use treering_proto::certificate::Certificate;
use treering_proto::entry::Entry;
use treering_proto::model_statement::{Method, ModelHash, ModelStatement};
use treering_proto::trust::{Signer, SignerRule};
use treering_proto::verifier::Verifier;

use super::dates::Dated;
use super::{Found, Model, Opened, Policy};
use crate::certificate_chain::check_chain;
use crate::hash_model::is_covered;
use crate::report::{Exit, Report};
use crate::time::time_text;

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
        let read = Entry::parse(&entry.canonicalized_body).ok();
        let verifiers = |entry: Entry| entry.verifiers().into_iter().cloned().collect::<Vec<_>>();
        read.map(verifiers).unwrap_or_default()
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

/// Which rule accepts the signer. Also reports on the certificate, which must be valid at the time
/// that `dated` gives.
pub(super) fn signer(
    opened: &Opened,
    policy: &Policy<'_>,
    verifier: Option<&Verifier>,
    dated: Dated,
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
            self::certificate(opened, policy, leaf, dated, report);
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
    dated: Dated,
    report: &mut Report,
) {
    // The signature is not younger than this, and with a sound bound that is enough: a key that was
    // stolen after the certificate expired made no signature before.
    let (time, when) = match dated {
        Dated::Witnessed(time) => {
            (time, format!("at {}, when witnesses saw the entry", time_text(time)))
        }
        Dated::Stamped(time) => {
            (time, format!("at {}, by an RFC 3161 timestamp over the signature", time_text(time)))
        }
        Dated::Never => {
            (policy.now, "now; nobody but the signer and the log dates the signature".to_owned())
        }
    };
    let roots = &policy.trust.certificate_authorities;
    // There are none where the bundle names a key and the log entry brought the certificate.
    let intermediates = opened.certificates().get(1..).unwrap_or_default();
    match check_chain(leaf, intermediates, roots, time) {
        Ok(()) => {
            report.passed("certificate", format!("a trusted authority certifies it, {when}"));
        }
        Err(error) => {
            let why = format!("{error}; it was looked for {when}");
            report.failed("certificate", why, Exit::NotVerified);
        }
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
