//! The signature that is judged, as a verification leaves it.
//!
//! Invariant: nothing here is the word of whoever made the bundle, but what they signed: times come
//! from witnesses, the place from the proof. Out of scope: whether the verification went well.

use treering_proto::entry::EntryKind;
use treering_proto::facts::digest_value;
use treering_proto::freshness::head_time;
use treering_proto::hash::sha256;
use treering_proto::model_statement::{Method, ModelStatement};
use treering_proto::notice::EntryRef;
use treering_proto::trust::TrustFile;
use treering_proto::verifier::Verifier;

use super::{SeenModel, SeenTime, Subject, WEIGHT_EXTENSIONS, WEIGHTS_MAX, Who, Word};
use crate::verify::{Newest, Opened, ProvenEntry, Verification};

impl Subject {
    /// What `verification` of `opened` came to; `None` unless it is proven that the signature is
    /// logged, and whose it is. `newest` is what the log showed.
    pub fn of(
        opened: &Opened,
        trust: &TrustFile,
        verification: &Verification,
        newest: &Newest,
    ) -> Option<Self> {
        let (entry, verifier) = (verification.entry.as_ref()?, verification.verifier.as_ref()?);
        let subject = Self::of_entry(opened, trust, entry, verifier);
        Some(match newest {
            Newest::Followed(head) => Self { head_time: head_time(trust, head), ..subject },
            _ => subject,
        })
    }

    /// The signature in `opened`, which verified under `verifier` and is proven to be logged as
    /// `entry`.
    pub fn of_entry(
        opened: &Opened,
        trust: &TrustFile,
        entry: &ProvenEntry,
        verifier: &Verifier,
    ) -> Self {
        let time = entry.witnessed_by.map(|seconds| SeenTime { seconds, word: Word::Witnesses });
        let intermediates = opened.intermediates();
        let authorities = &trust.certificate_authorities;
        let (weights, weights_left_out) = weights(opened.statement());
        let has_statement = opened.bundle().log_entries.iter().any(|entry| {
            let kind = EntryKind::of_body(&entry.canonicalized_body);
            matches!(kind, Ok(EntryKind::DsseV001 | EntryKind::DsseV002))
        });
        Self {
            log: trust.log.origin.clone(),
            entry: EntryRef { index: entry.index, leaf: entry.leaf },
            time,
            signed_by: Who::of(verifier, intermediates, authorities, time),
            intermediates: intermediates.to_vec(),
            model: SeenModel::of(opened.statement()),
            weights,
            weights_left_out,
            digest: sha256(&opened.envelope().pae()),
            has_statement,
            head_time: head_time(trust, &entry.checkpoint),
        }
    }
}

/// The digests of the weight files of `statement`, spelled as the fact `file-digest`, and how many
/// there are beyond those.
pub fn weights(statement: &ModelStatement) -> (Vec<String>, usize) {
    let resources = statement.resources().iter();
    let single = statement.is_single_file();
    let weights = resources.filter(|file| single || is_weight(statement.path(file)));
    if statement.method() != Method::Files {
        // The digest of a shard is the digest of no file, so nothing is found by it.
        return (Vec::new(), weights.count());
    }
    let name = statement.hash().name();
    let digests = weights.filter_map(|resource| {
        String::from_utf8(digest_value(name, &hex::encode(&resource.digest))?).ok()
    });
    let mut digests: Vec<String> = digests.collect();
    digests.sort();
    digests.dedup();
    let left_out = digests.len().saturating_sub(WEIGHTS_MAX);
    digests.truncate(WEIGHTS_MAX);
    (digests, left_out)
}

/// Whether a file of this name, among others, holds weights.
fn is_weight(path: &str) -> bool {
    let extension = path.rsplit('/').next().and_then(|name| name.rsplit_once('.'));
    let extension = extension.map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| WEIGHT_EXTENSIONS.contains(&extension.as_str()))
}

#[cfg(test)]
mod tests {
    use treering_proto::model_statement::Resource;

    use super::*;

    fn statement(names: &[String]) -> ModelStatement {
        let resource = |(at, name): (usize, &String)| Resource {
            name: name.clone(),
            digest: [&(at as u64).to_be_bytes()[..], &[7; 24]].concat(),
        };
        let resources = names.iter().enumerate().map(resource).collect();
        ModelStatement::new_files("m", resources, Vec::new(), None).unwrap()
    }

    #[test]
    fn weights_are_known_by_what_follows_the_last_dot() {
        let is = |name: &str| is_weight(name);
        assert!(is("a.safetensors") && is("sub/dir.d/A.GGUF") && is("x.tar.pt"));
        for no in ["tokenizer.json", "config.json", "bin", "weights.bin/readme", "a.safetensors.md"]
        {
            assert!(!is(no), "{no}");
        }
        for alone in [".", "model", "llm.gguf"] {
            assert_eq!(weights(&statement(&[alone.to_owned()])).0.len(), 1, "{alone}");
        }
        let names = ["a.bin", "b.json", "c.onnx"].map(str::to_owned);
        let (digests, left_out) = weights(&statement(&names));
        assert_eq!((digests.len(), left_out), (2, 0));
        assert!(digests.iter().all(|digest| digest.starts_with("sha256:0000")));
    }

    #[test]
    fn the_documentation_lists_the_same_extensions() {
        let text = include_str!("../../../docs/model-policy.md");
        let words: Vec<&str> = text.split_whitespace().collect();
        let listed = words.windows(WEIGHT_EXTENSIONS.len()).any(|window| {
            let bare = window.iter().map(|word| word.trim_end_matches(';'));
            bare.eq(WEIGHT_EXTENSIONS)
        });
        assert!(listed, "docs/model-policy.md lists other extensions");
    }

    #[test]
    fn no_more_weights_are_asked_about_than_the_limit() {
        let names: Vec<String> = (0..WEIGHTS_MAX + 3).map(|at| format!("{at}.bin")).collect();
        let (digests, left_out) = weights(&statement(&names));
        assert_eq!((digests.len(), left_out), (WEIGHTS_MAX, 3));
        let (all, none) = weights(&statement(&names[3..]));
        assert_eq!((all.len(), none), (WEIGHTS_MAX, 0));
    }
}
