//! The invariant of bundles: what was served verifies with nothing but the log's identity.

use treering_proto::key::HashAlgorithm;
use treering_proto::proof::check_consistency;

use super::event::{Answer, Bundle};
use super::opened::in_parallel;
use super::{Case, Findings};

/// Every note is signed by the log; every proof leads from the entry to the root in its note; every
/// signed timestamp is over what was served; every consistency proof holds.
pub(super) fn offline(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    for opened in &case.notes {
        let fault = opened.head.as_ref().err();
        found.judge(fault.is_none(), || {
            format!("a checkpoint: {}", fault.map_or("", String::as_str))
        });
    }
    let mut bundles: Vec<&Bundle> = Vec::new();
    for request in &case.history.requests {
        match &request.answer {
            Answer::Logged(bundle) => {
                bundles.push(bundle);
                found.judge(bundle.leaf == request.leaf, || {
                    let Bundle { index, leaf, .. } = bundle;
                    format!("{} was submitted, and {leaf} returned for {index}", request.leaf)
                });
            }
            Answer::Refused { status: 200..300, label } => {
                found.judge(false, || format!("a success cannot be read: {label}"));
            }
            _ => {}
        }
    }
    bundles.extend(case.history.entries.iter().map(|seen| &seen.bundle));
    for bundle in &bundles {
        // A note that does not open was judged above.
        let Some(head) = case.head(bundle.note) else { continue };
        found.judge(bundle.led_to == Some(head.root), || {
            let Bundle { index, led_to, .. } = bundle;
            format!("the proof of {index} leads to {led_to:?}, the checkpoint has {}", head.root)
        });
    }
    timestamps(case, &bundles, &mut found);
    for seen in &case.history.consistencies {
        let outcome = check_consistency(seen.old, seen.new, &seen.hashes);
        found.judge(outcome.is_ok(), || {
            let (old, new) = (seen.old.size, seen.new.size);
            format!("the consistency proof from {old} to {new}: {outcome:?}")
        });
    }
    found
}

fn timestamps(case: &Case<'_>, bundles: &[&Bundle], found: &mut Findings) {
    let key = case.history.identity.v1_key();
    let verdicts = in_parallel(bundles, |bundle| {
        let set = bundle.set.as_ref()?;
        let digest = set.digest.as_bytes();
        Some(key.verify_digest(HashAlgorithm::Sha256, digest, &set.signature).is_ok())
    });
    for (bundle, verdict) in bundles.iter().zip(verdicts) {
        if let Some(verifies) = verdict {
            found.judge(verifies, || {
                format!("the signed timestamp of {} does not verify", bundle.index)
            });
        }
    }
}
