use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::private_key::{Curve, PrivateKey};
use crate::report::Outcome;
use crate::sign::{Description, resources, sign};
use crate::submit::{request_json, submit};
use crate::test_log::{Served, TIME, TestLog, hashed};
use crate::verify::{Found, Model, Policy, examine};
use treering_proto::bundle::Bundle;
use treering_proto::entry::VerifiedEntry;
use treering_proto::trust::Signer;
use treering_proto::verifier::Verifier;

struct Signer1 {
    key: PrivateKey,
    served: Served,
    dir: TempDir,
}

impl Signer1 {
    fn new() -> Self {
        let key = PrivateKey::generate(Curve::P256).unwrap();
        Self { key, served: TestLog::filled(1, 2).serve(), dir: TempDir::new().unwrap() }
    }

    fn trust(&self) -> TrustFile {
        let who = Signer::Key(self.key.public_key().clone());
        self.served.trust(vec![SignerRule { name: "release".to_owned(), who }])
    }

    fn model(&self, name: &str, weights: &[u8]) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("weights"), weights).unwrap();
        path
    }

    async fn sign(&self, model: &Path, name: &str) -> Bundle {
        let description = Description {
            name: name.to_owned(),
            version: None,
            ignore: Vec::new(),
            links_followed: false,
        };
        let bundle = sign(&hashed(model, &[]), description, &self.key).unwrap();
        let (transport, trust) = (self.served.transport(), self.trust());
        let verifier = Verifier::PublicKey(Box::new(self.key.public_key().clone()));
        let log = LogReader::new(&transport, &trust);
        let submitted = submit(&log, bundle.envelope().unwrap(), &verifier).await.unwrap();
        bundle.with_log_entry(submitted.entry)
    }

    /// What anybody can do with a public envelope: log it again, with `spaces` more of them.
    fn repost(&self, bundle: &Bundle, spaces: usize) -> Bundle {
        let verifier = Verifier::PublicKey(Box::new(self.key.public_key().clone()));
        let request = request_json(bundle.envelope().unwrap(), &verifier);
        let mut request: serde_json::Value = serde_json::from_slice(&request).unwrap();
        let envelope = &mut request["spec"]["proposedContent"]["envelope"];
        *envelope = format!("{}{}", envelope.as_str().unwrap(), " ".repeat(spaces)).into();
        let verified = VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap();
        let mut log = self.served.log.lock().unwrap();
        let index = log.admit(&verified);
        bundle.clone().with_log_entry(log.entry(index, &[]))
    }

    async fn verify(&self, bundle: &Bundle, model: &Path, allow_older: bool) -> Verification {
        let opened = Opened::from_bundle(bundle.clone()).unwrap();
        let (transport, trust) = (self.served.transport(), self.trust());
        let found = Found { files: resources(&hashed(model, &[])), ..Found::default() };
        let policy = Policy { trust: &trust, signers: &trust.signers, now: TIME };
        let examined = examine(&opened, &policy);
        let log = LogReader::new(&transport, &trust);
        let state = StateDirectory::new(self.dir.path().join("state"));
        let asked = ask(&log, &trust, &state, examined.entry(), None, Questions::Dates).await;
        let mut verification = examined.conclude(Model::Read(&found), &asked.shown);
        let rules = &trust.model_policy;
        let online = OnlinePolicy { signers: &trust.signers, allow_older, rules };
        check(&log, &opened, online, asked, &mut verification).await;
        verification
    }
}

#[tokio::test]
async fn a_fresh_model_passes_every_online_check() {
    let signer = Signer1::new();
    let model = signer.model("a", b"1");
    let bundle = signer.sign(&model, "llama").await;
    let verification = signer.verify(&bundle, &model, false).await;
    assert_eq!(verification.report.exit(), Exit::Ok, "{:?}", verification.report);
    for name in CHECKS {
        assert_eq!(verification.report.outcome(name), Some(Outcome::Passed), "{name}");
    }
}

#[tokio::test]
async fn a_newer_model_of_the_same_name_is_told_unless_older_ones_are_allowed() {
    let signer = Signer1::new();
    let (old, new) = (signer.model("a", b"1"), signer.model("b", b"2"));
    let bundle = signer.sign(&old, "llama").await;
    // The same bytes signed again, and another name: neither is a newer model.
    signer.sign(&old, "llama").await;
    signer.sign(&new, "bert").await;
    assert_eq!(signer.verify(&bundle, &old, false).await.report.exit(), Exit::Ok);
    signer.sign(&new, "llama").await;
    let refused = signer.verify(&bundle, &old, false).await;
    assert_eq!(refused.report.outcome("newest"), Some(Outcome::Failed));
    assert_eq!(refused.report.exit(), Exit::Policy);
    let allowed = signer.verify(&bundle, &old, true).await;
    assert_eq!(allowed.report.outcome("newest"), Some(Outcome::NotChecked));
    assert_eq!(allowed.report.exit(), Exit::Ok);
}

#[tokio::test]
async fn an_old_model_signed_again_shows_when_its_bytes_were_first_logged() {
    let signer = Signer1::new();
    let model = signer.model("a", b"1");
    signer.sign(&model, "llama").await;
    let again = signer.sign(&model, "llama-new").await;
    let verification = signer.verify(&again, &model, false).await;
    let checks = verification.report.checks().iter();
    let first = checks.clone().find(|check| check.check == "first-seen").unwrap();
    assert!(first.why.contains("first logged as entry 2,"), "{}", first.why);
}

#[tokio::test]
async fn a_log_that_was_rolled_back_below_the_bundle_is_an_alarm() {
    let signer = Signer1::new();
    let model = signer.model("a", b"1");
    let bundle = signer.sign(&model, "llama").await;
    signer.served.log.lock().unwrap().bodies.pop();
    let verification = signer.verify(&bundle, &model, false).await;
    assert_eq!(verification.report.outcome("consistency"), Some(Outcome::Failed));
    assert_eq!(verification.report.exit(), Exit::Alarm);
}

#[tokio::test]
async fn copies_of_an_old_signature_do_not_make_it_the_newest() {
    let signer = Signer1::new();
    let (old, new) = (signer.model("a", b"1"), signer.model("b", b"2"));
    let bundle = signer.sign(&old, "llama").await;
    signer.sign(&new, "llama").await;
    let moved = signer.repost(&bundle, 1);
    let verification = signer.verify(&moved, &old, false).await;
    assert_eq!(verification.report.outcome("inclusion"), Some(Outcome::Passed));
    assert_eq!(verification.report.outcome("newest"), Some(Outcome::Failed));
    assert_eq!(verification.report.exit(), Exit::Policy);
    // More copies than a page holds, and more than were ever asked for.
    for spaces in 2..60 {
        signer.repost(&bundle, spaces);
    }
    for bundle in [&bundle, &moved] {
        let verification = signer.verify(bundle, &old, false).await;
        assert_eq!(verification.report.outcome("newest"), Some(Outcome::Failed));
    }
}

#[tokio::test]
async fn a_search_behind_the_tree_answers_nothing() {
    let signer = Signer1::new();
    let model = signer.model("a", b"1");
    let bundle = signer.sign(&model, "llama").await;
    signer.served.log.lock().unwrap().searched = Some(2);
    let verification = signer.verify(&bundle, &model, false).await;
    for name in ["first-seen", "newest"] {
        assert_eq!(verification.report.outcome(name), Some(Outcome::NotChecked), "{name}");
    }
    assert_eq!(verification.report.exit(), Exit::Unavailable);
}

#[tokio::test]
async fn a_search_without_end_is_given_up() {
    let signer = Signer1::new();
    let (old, new) = (signer.model("a", b"1"), signer.model("b", b"2"));
    let bundle = signer.sign(&old, "llama").await;
    signer.sign(&new, "llama").await;
    for spaces in 1..=1001 {
        signer.repost(&bundle, spaces);
    }
    let verification = signer.verify(&bundle, &old, false).await;
    assert_eq!(verification.report.outcome("newest"), Some(Outcome::NotChecked));
    assert_eq!(verification.report.exit(), Exit::Unavailable);
}
