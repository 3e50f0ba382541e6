use std::path::Path;

use tempfile::TempDir;
use treering_proto::certificate::Certificate;
use treering_proto::checkpoint::open_checkpoint;
use treering_proto::entry::VerifiedEntry;
use treering_proto::trust::{ModelPolicy, Signer};

use super::*;
use crate::certificate_chain::tests::{authority, leaf};
use crate::private_key::{Curve, PrivateKey};
use crate::report::Outcome;
use crate::sign::{Description, resources, sign};
use crate::submit::request_json;
use crate::test_author::Author;
use crate::test_log::{TestLog, hashed};

const FILES: [(&str, &[u8]); 4] =
    [("config.json", b"{}"), ("empty", b""), ("sub/weights", b"www"), (".hidden", b"h")];

/// A signed and logged model.
pub(super) struct Signed {
    dir: TempDir,
    key: PrivateKey,
    pub(super) log: TestLog,
    pub(super) bundle: Bundle,
    pub(super) witnesses: Vec<(u8, u64)>,
}

impl Signed {
    /// Logged after `before` other entries, with `after` more behind it.
    pub(super) fn new(before: usize, after: usize) -> Self {
        let dir = TempDir::new().unwrap();
        for (name, bytes) in FILES {
            write(dir.path(), name, bytes);
        }
        let key = PrivateKey::generate(Curve::P256).unwrap();
        let description = Description {
            name: "llama".to_owned(),
            version: Some("3".to_owned()),
            ignore: vec!["model.sig".to_owned()],
            links_followed: false,
        };
        let bundle = sign(&hashed(dir.path(), &[]), description, &key).unwrap();
        let mut signed = Self {
            dir,
            key,
            log: TestLog::filled(1, before),
            bundle,
            witnesses: vec![(5, 1_700_000_005), (6, 1_700_000_009)],
        };
        let index = signed.log.append(signed.body());
        for at in 0..after {
            signed.log.append(format!("later {at}").into_bytes());
        }
        let entry = signed.log.entry(index, &signed.witnesses);
        signed.bundle = signed.bundle.with_log_entry(entry);
        signed
    }

    fn body(&self) -> Vec<u8> {
        let verifier = Verifier::PublicKey(Box::new(self.key.public_key().clone()));
        let request = request_json(self.bundle.envelope().unwrap(), &verifier);
        VerifiedEntry::from_v1_request(&request).unwrap().body().to_vec()
    }

    pub(super) fn rule(&self) -> SignerRule {
        let who = Signer::Key(self.key.public_key().clone());
        SignerRule { name: "release".to_owned(), who }
    }

    pub(super) fn trust(&self) -> TrustFile {
        self.log.trust("https://log.example", vec![self.rule()], &[5, 6])
    }

    fn verify(&self) -> Verification {
        self.verify_with(&self.trust())
    }

    fn verify_with(&self, trust: &TrustFile) -> Verification {
        let opened = Opened::open(&self.bundle.to_json()).unwrap();
        let model = hashed(self.dir.path(), &["model.sig"]);
        let found = Found {
            files: resources(&model),
            ignored_by_caller: Vec::new(),
            ignored: model.ignored,
        };
        let policy = Policy { trust, signers: &trust.signers, now: 1_800_000_000 };
        verify(&opened, &policy, Model::Read(&found))
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// The checks that failed or, though required, did not run.
pub(super) fn broken(verification: &Verification) -> Vec<&'static str> {
    let checks = verification.report.checks().iter();
    checks.filter(|c| c.required && c.outcome != Outcome::Passed).map(|c| c.check).collect()
}

pub(super) fn details(verification: &Verification, name: &str) -> Vec<String> {
    let mut checks = verification.report.checks().iter();
    checks.find(|check| check.check == name).unwrap().details.clone()
}

#[test]
fn a_signed_and_logged_model_verifies_wherever_it_stands_in_the_log() {
    for (before, after) in [(0, 0), (1, 0), (0, 3), (255, 0), (256, 1), (5, 300)] {
        let signed = Signed::new(before, after);
        let verification = signed.verify();
        assert_eq!(broken(&verification), [""; 0], "{before} {after}");
        assert!(verification.report.is_verified());
        assert_eq!(verification.report.exit(), Exit::Ok);
        assert_eq!(verification.signer.as_deref(), Some("release"));
        let entry = verification.entry.unwrap();
        assert_eq!(entry.index.get(), before as u64);
        assert_eq!(entry.witnessed_by, Some(1_700_000_009));
    }
}

#[test]
fn every_check_is_in_every_report_in_order() {
    let signed = Signed::new(1, 1);
    let names = |verification: &Verification| -> Vec<&str> {
        verification.report.checks().iter().map(|check| check.check).collect()
    };
    assert_eq!(names(&signed.verify()), CHECKS);
    let garbage = Opened::open(b"{}").unwrap_err();
    assert_eq!(names(&not_opened(&garbage, &ModelPolicy::default())), CHECKS);
    let strict = not_opened(&garbage, &ModelPolicy::recommended());
    assert_eq!(strict.report.exit(), Exit::NotVerified);
    assert_eq!(strict.report.checks().len(), CHECKS.len() + 10);
    let mut unlogged = Signed::new(1, 1);
    unlogged.bundle.log_entries.clear();
    assert_eq!(names(&unlogged.verify()), CHECKS);
}

#[test]
fn each_changed_missing_extra_and_renamed_file_is_named() {
    let signed = Signed::new(0, 0);
    let dir = signed.dir.path();
    write(dir, "config.json", b"{ }");
    write(dir, "added", b"");
    std::fs::remove_file(dir.join("empty")).unwrap();
    std::fs::rename(dir.join(".hidden"), dir.join("shown")).unwrap();
    let verification = signed.verify();
    assert_eq!(broken(&verification), ["bytes"]);
    assert_eq!(verification.report.exit(), Exit::NotVerified);
    assert_eq!(
        details(&verification, "bytes"),
        [
            "extra, not signed: added",
            "changed: config.json",
            "extra, not signed: shown",
            "missing: .hidden",
            "missing: empty"
        ]
    );
}

#[test]
fn what_is_ignored_is_told_and_not_everything_can_be() {
    let signed = Signed::new(0, 0);
    write(signed.dir.path(), "model.sig", b"the signature");
    assert_eq!(details(&signed.verify(), "bytes"), ["not signed, ignored: model.sig"]);
    let opened = Opened::open(&signed.bundle.to_json()).unwrap();
    let trust = signed.trust();
    let policy = Policy { trust: &trust, signers: &trust.signers, now: 0 };
    let mut found = Found {
        files: resources(&hashed(signed.dir.path(), &["model.sig", "sub"])),
        ignored_by_caller: vec!["sub".to_owned()],
        ignored: Vec::new(),
    };
    let partly = verify(&opened, &policy, Model::Read(&found));
    assert!(partly.report.is_verified());
    assert_eq!(details(&partly, "bytes"), ["1 signed files were left out at the caller's wish"]);
    found.ignored_by_caller = FILES.map(|(name, _)| name.to_owned()).to_vec();
    found.files.clear();
    assert_eq!(broken(&verify(&opened, &policy, Model::Read(&found))), ["bytes"]);
}

#[test]
fn a_valid_logged_signature_of_somebody_else_is_not_verified() {
    let signed = Signed::new(0, 0);
    let mut trust = signed.trust();
    let other = PrivateKey::generate(Curve::P384).unwrap();
    trust.signers[0].who = Signer::Key(other.public_key().clone());
    let verification = signed.verify_with(&trust);
    assert_eq!(broken(&verification), ["signer"]);
    assert_eq!(verification.report.exit(), Exit::NotVerified);
    assert!(verification.signer.is_none());
}

#[test]
fn without_a_rule_about_signers_nothing_is_verified() {
    let signed = Signed::new(0, 0);
    let mut trust = signed.trust();
    trust.signers.clear();
    let verification = signed.verify_with(&trust);
    assert_eq!(broken(&verification), ["signer"]);
    assert_eq!(verification.report.exit(), Exit::Usage);
}

#[test]
fn an_unlogged_signature_is_not_verified() {
    let mut signed = Signed::new(0, 0);
    signed.bundle.log_entries.clear();
    let verification = signed.verify();
    assert_eq!(broken(&verification), ["logged"]);
    assert_eq!(verification.report.outcome("inclusion"), Some(Outcome::NotChecked));
    assert_eq!(verification.report.exit(), Exit::NotVerified);
}

#[test]
fn a_bundle_with_two_log_entries_is_not_verified() {
    let mut signed = Signed::new(0, 0);
    signed.bundle.log_entries.push(signed.bundle.log_entries[0].clone());
    assert_eq!(broken(&signed.verify()), ["logged"]);
}

#[test]
fn a_changed_payload_or_signature_is_not_verified() {
    for change in ["payload", "signature"] {
        let mut signed = Signed::new(0, 0);
        let Content::Envelope(envelope) = &mut signed.bundle.content else { unreachable!() };
        match change {
            "payload" => envelope.payload.push(b' '),
            _ => {
                let mut signature = envelope.signatures[0].signature.clone();
                signature[20] ^= 1;
                let payload = envelope.payload.clone();
                *envelope = Envelope::new(IN_TOTO_PAYLOAD_TYPE, payload, signature);
            }
        }
        let verification = signed.verify();
        let broken = broken(&verification);
        assert!(broken.contains(&"signature") && broken.contains(&"logged"), "{broken:?}");
        assert_eq!(verification.report.exit(), Exit::NotVerified);
    }
}

#[test]
fn an_entry_about_another_signature_of_the_same_model_is_not_verified() {
    let mut signed = Signed::new(0, 0);
    let description = Description {
        name: "llama".to_owned(),
        version: None,
        ignore: Vec::new(),
        links_followed: false,
    };
    let again = sign(&hashed(signed.dir.path(), &[]), description, &signed.key).unwrap();
    signed.bundle.content = again.content;
    assert_eq!(broken(&signed.verify()), ["logged"]);
}

#[test]
fn an_entry_of_a_kind_that_takes_no_model_signatures_is_not_verified_and_says_so() {
    let mut signed = Signed::new(0, 0);
    let body = Author::new().intoto("0.0.2", "text/json", b"[]").body().to_vec();
    let index = signed.log.append(body);
    let mut entry = signed.log.entry(index, &signed.witnesses);
    (entry.kind, entry.kind_version) = ("intoto".to_owned(), "0.0.2".to_owned());
    signed.bundle.log_entries = vec![entry];
    let verification = signed.verify();
    assert_eq!(broken(&verification), ["logged"]);
    let check = verification.report.checks().iter().find(|check| check.check == "logged").unwrap();
    assert!(check.why.contains("kind intoto") && check.why.contains("dsse"), "{}", check.why);
}

#[test]
fn another_log_another_key_and_a_false_proof_are_not_verified() {
    let mut signed = Signed::new(3, 4);
    let stranger = TestLog::new(2);
    let trust = stranger.trust("https://log.example", vec![signed.rule()], &[5, 6]);
    assert_eq!(broken(&signed.verify_with(&trust)), ["logged"]);

    let good = signed.bundle.clone();
    signed.bundle.log_entries[0].inclusion_proof.hashes[0].0[0] ^= 1;
    let verification = signed.verify();
    assert_eq!(broken(&verification), ["inclusion"]);
    assert_eq!(verification.report.exit(), Exit::Alarm);
    assert!(verification.entry.is_none());

    // The same path with another claimed index: sizes and indexes beside a proof prove nothing.
    signed.bundle = good.clone();
    signed.bundle.log_entries[0].log_index = LeafIndex::new(2).unwrap();
    assert_eq!(broken(&signed.verify()), ["inclusion"]);

    signed.bundle = good;
    let note = &mut signed.bundle.log_entries[0].inclusion_proof.checkpoint;
    *note = note.replacen("\n8\n", "\n9\n", 1);
    assert_eq!(broken(&signed.verify()), ["checkpoint"]);
}

#[test]
fn a_missing_cosignature_is_not_verified_and_no_policy_is_said() {
    let mut signed = Signed::new(1, 1);
    let index = LeafIndex::new(1).unwrap();
    let entry = signed.log.entry(index, &[(5, 1_700_000_005)]);
    signed.bundle = signed.bundle.with_log_entry(entry);
    let verification = signed.verify();
    assert_eq!(broken(&verification), ["witnesses"]);
    assert_eq!(verification.entry.unwrap().witnessed_by, None);
    let trust = signed.log.trust("https://log.example", vec![signed.rule()], &[]);
    let without = signed.verify_with(&trust);
    assert!(without.report.is_verified());
    assert_eq!(without.report.outcome("witnesses"), Some(Outcome::NotChecked));
}

#[test]
fn a_checkpoint_that_contradicts_the_floor_is_an_alarm_with_evidence() {
    let signed = Signed::new(3, 0);
    let mut trust = signed.trust();
    let open = |note: String| open_checkpoint(note.as_bytes(), "log.example", &trust.note_keys());
    let same = open(signed.log.checkpoint(signed.log.size(), &[])).unwrap();
    let mut fork = signed.log.clone();
    fork.bodies[0] = b"rewritten".to_vec();
    let other = open(fork.checkpoint(fork.size(), &[])).unwrap();
    trust.floor = Some(same);
    assert_eq!(signed.verify_with(&trust).report.outcome("floor"), Some(Outcome::Passed));
    trust.floor = Some(other);
    let verification = signed.verify_with(&trust);
    assert_eq!(verification.report.exit(), Exit::Alarm);
    let evidence = verification.evidence[0].format("2026-01-01T00:00:00Z https://x");
    assert!(evidence.starts_with("tlog-evidence@v1\nkind fork-size\norigin log.example\nkey "));
    assert_eq!(evidence.lines().filter(|line| line.starts_with("note ")).count(), 2);
}

/// A model signed with a certificate, logged, and a trust file with one rule about identities.
pub(super) fn certified(
    rule: Signer,
    trusted: bool,
    witnessed: u64,
) -> (Opened, TrustFile, Certificate) {
    let dir = TempDir::new().unwrap();
    let issuer = authority(dir.path(), "root");
    let other = authority(dir.path(), "other");
    let leaf = leaf(dir.path(), "root", "extendedKeyUsage=codeSigning");
    let no_password = || unreachable!("the key is not encrypted");
    let key = PrivateKey::load(&dir.path().join("l.key"), no_password).unwrap();
    write(dir.path(), "m/a", b"x");
    let description = Description {
        name: "m".to_owned(),
        version: None,
        ignore: Vec::new(),
        links_followed: false,
    };
    let mut bundle = sign(&hashed(&dir.path().join("m"), &[]), description, &key).unwrap();
    bundle.material = Material::CertificateChain(vec![leaf.der().to_vec()]);
    let verifier = Verifier::Certificate(Box::new(leaf.clone()));
    let request = request_json(bundle.envelope().unwrap(), &verifier);
    let mut log = TestLog::filled(1, 1);
    let index = log.append(VerifiedEntry::from_v1_request(&request).unwrap().body().to_vec());
    let witnesses: &[u8] = if witnessed == 0 { &[] } else { &[5] };
    let cosigned: Vec<(u8, u64)> = witnesses.iter().map(|seed| (*seed, witnessed)).collect();
    let bundle = bundle.with_log_entry(log.entry(index, &cosigned));
    let rule = SignerRule { name: "ci".to_owned(), who: rule };
    let mut trust = log.trust("https://log.example", vec![rule], witnesses);
    trust.certificate_authorities = vec![if trusted { issuer } else { other }];
    (Opened::from_bundle(bundle).unwrap(), trust, leaf)
}

pub(super) fn identity(name: &str, issuer: Option<&str>) -> Signer {
    Signer::Identity { identity: name.to_owned(), issuer: issuer.map(str::to_owned) }
}

#[test]
fn a_certificate_is_accepted_by_identity_and_chain_or_by_its_key() {
    const JOB: &str = "https://ci.example/job";
    let check = |opened: &Opened, trust: &TrustFile, now| {
        let policy = Policy { trust, signers: &trust.signers, now };
        broken(&verify(opened, &policy, Model::NotRead))
    };
    let (opened, mut trust, leaf) = certified(identity(JOB, None), true, 0);
    let now = leaf.not_before() + 60;
    assert_eq!(check(&opened, &trust, now), [""; 0]);
    assert_eq!(check(&opened, &trust, leaf.not_after() + 60), ["certificate"]);
    trust.signers[0].who = identity(JOB, Some("https://issuer.example"));
    assert_eq!(check(&opened, &trust, now), ["signer"]);
    trust.signers[0].who = identity("https://ci.example", None);
    assert_eq!(check(&opened, &trust, now), ["signer"]);
    trust.signers[0].who = Signer::Key(leaf.key().clone());
    assert_eq!(check(&opened, &trust, leaf.not_after() + 60), [""; 0]);
    let (opened, trust, leaf) = certified(identity(JOB, None), false, 0);
    assert_eq!(check(&opened, &trust, leaf.not_before() + 60), ["certificate"]);
}

#[test]
fn a_certificate_that_only_the_log_entry_has_is_checked_like_any_other() {
    let (opened, trust, leaf) = certified(identity("https://ci.example/job", None), true, 0);
    let mut bundle = opened.bundle().clone();
    bundle.material = Material::PublicKey { hint: None };
    let opened = Opened::from_bundle(bundle).unwrap();
    for (now, expected) in [(leaf.not_before() + 60, vec![]), (0, vec!["certificate"])] {
        let policy = Policy { trust: &trust, signers: &trust.signers, now };
        assert_eq!(broken(&verify(&opened, &policy, Model::NotRead)), expected);
    }
}

#[test]
fn a_witnessed_time_lets_a_certificate_expire_later() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let rule = || identity("https://ci.example/job", None);
    let (opened, trust, leaf) = certified(rule(), true, now + 3600);
    let long_after = leaf.not_after() + 1_000_000;
    let policy = Policy { trust: &trust, signers: &trust.signers, now: long_after };
    assert!(verify(&opened, &policy, Model::NotRead).report.is_verified());
    let (opened, trust, _) = certified(rule(), true, long_after);
    let policy = Policy { trust: &trust, signers: &trust.signers, now };
    assert_eq!(broken(&verify(&opened, &policy, Model::NotRead)), ["certificate"]);
}

#[test]
fn a_model_that_is_one_file_verifies_whatever_it_is_called() {
    let signed = Signed::new(0, 0);
    let file = signed.dir.path().join("sub/weights");
    let model = hashed(&file, &[]);
    let description = Description {
        name: "w".to_owned(),
        version: None,
        ignore: Vec::new(),
        links_followed: false,
    };
    let bundle = sign(&model, description, &signed.key).unwrap();
    let opened = Opened::from_bundle(bundle).unwrap();
    let trust = signed.trust();
    let policy = Policy { trust: &trust, signers: &trust.signers, now: 0 };
    let check = |path: &Path| {
        let found = Found { files: resources(&hashed(path, &[])), ..Found::default() };
        verify(&opened, &policy, Model::Read(&found)).report.outcome("bytes")
    };
    assert_eq!(check(&file), Some(Outcome::Passed));
    assert_eq!(check(&signed.dir.path().join("config.json")), Some(Outcome::Failed));
    assert_eq!(check(signed.dir.path()), Some(Outcome::Failed));
}

#[test]
fn links_and_unreadable_files_are_told_apart() {
    let signed = Signed::new(0, 0);
    let opened = Opened::open(&signed.bundle.to_json()).unwrap();
    let trust = signed.trust();
    let policy = Policy { trust: &trust, signers: &trust.signers, now: 0 };
    let linked = ["linked: a".to_owned()];
    let unacceptable = verify(&opened, &policy, Model::Unacceptable("a link", &linked));
    assert_eq!(unacceptable.report.exit(), Exit::NotVerified);
    assert_eq!(details(&unacceptable, "bytes"), linked);
    let unreadable = verify(&opened, &policy, Model::Unreadable("permission denied"));
    assert_eq!(unreadable.report.exit(), Exit::Unavailable);
    assert!(!unreadable.report.is_verified());
}

#[test]
fn only_witnesses_of_the_quorum_date_an_entry() {
    let signed = Signed::new(1, 1);
    let mut trust = signed.trust();
    let keys = trust.witness_policy.as_ref().unwrap().policy.witness_keys();
    let (five, six) = (keys[0].to_vkey(), keys[1].to_vkey());
    let text = format!("witness w5 {five}\nwitness w6 {six}\nquorum w5\n");
    trust.witness_policy =
        Some(treering_proto::trust::WitnessPolicy::parse(text, &trust.log).unwrap());
    assert_eq!(signed.verify_with(&trust).entry.unwrap().witnessed_by, Some(1_700_000_005));
}

#[test]
fn a_witness_that_the_quorum_does_not_count_dates_no_certificate() {
    let rule = || identity("https://ci.example/job", None);
    let (opened, mut trust, leaf) = certified(rule(), true, 1_700_000_000);
    let witnessed_long_ago = leaf.not_before() + 60;
    // The quorum is another group than that of the witness, or none.
    let text = {
        let vkey = trust.witness_policy.as_ref().unwrap().policy.witness_keys()[0].to_vkey();
        format!("witness w5 {vkey}\nquorum none\n")
    };
    trust.witness_policy =
        Some(treering_proto::trust::WitnessPolicy::parse(text, &trust.log).unwrap());
    let policy = Policy { trust: &trust, signers: &trust.signers, now: witnessed_long_ago };
    let verification = verify(&opened, &policy, Model::NotRead);
    assert_eq!(verification.entry.as_ref().unwrap().witnessed_by, None);
    assert_eq!(verification.report.outcome("certificate"), Some(Outcome::Passed));
}
