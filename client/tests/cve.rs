//! What others' vulnerabilities taught, held against the verifier. The name of each test carries
//! the number; the table in docs/fuzzing.md has all of them, those that do not apply included.
//!
//! Out of scope: parsers (`proto/tests/cve.rs`) and servers (`tests/e2e/cve.rs`).

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde_json::json;
use tempfile::TempDir;
use treering_client::private_key::{Curve, PrivateKey};
use treering_client::report::{Exit, Outcome};
use treering_client::sign::{Description, sign};
use treering_client::transport::{Reading, TransportError, TransportOptions};
use treering_client::verify::{Model, Opened, Policy, Verification, verify};
// What the shared log of the unit tests expects to find at the root of its crate.
use treering_client::{hash_model, transport};
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::bundle::{Bundle, Material};
use treering_proto::certificate::Certificate;
use treering_proto::encoding::to_base64;
use treering_proto::entry::VerifiedEntry;
use treering_proto::key::PublicKey;
use treering_proto::note::Note;
use treering_proto::trust::{Signer, SignerRule, TrustFile};
use treering_proto::verifier::Verifier;

#[allow(dead_code)]
#[path = "../src/test_log.rs"]
mod test_log;

use test_log::{TestLog, hashed};

/// Two models, signed by one key and logged in one log.
struct Two {
    log: TestLog,
    trust: TrustFile,
    bundles: [Bundle; 2],
}

fn description(name: &str) -> Description {
    Description { name: name.to_owned(), version: None, ignore: Vec::new(), links_followed: false }
}

/// A model of one file, signed, not logged.
fn signed(weights: &[u8], key: &PrivateKey) -> Bundle {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("weights"), weights).unwrap();
    sign(&hashed(dir.path(), &[]), description("llm"), key).unwrap()
}

/// What a signer sends for `bundle`.
fn submission(bundle: &Bundle, verifier: &Verifier) -> VerifiedEntry {
    let envelope = String::from_utf8(bundle.envelope().unwrap().to_json()).unwrap();
    let verifiers = [to_base64(verifier.to_pem().as_bytes())];
    let content = json!({ "envelope": envelope, "verifiers": verifiers });
    let spec = json!({ "proposedContent": content });
    let request = json!({ "kind": "dsse", "apiVersion": "0.0.1", "spec": spec });
    VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap()
}

fn rule(key: &PublicKey) -> SignerRule {
    SignerRule { name: "release".to_owned(), who: Signer::Key(key.clone()) }
}

impl Two {
    fn new() -> Self {
        let key = PrivateKey::generate(Curve::P256).unwrap();
        let verifier = Verifier::PublicKey(Box::new(key.public_key().clone()));
        let mut log = TestLog::filled(1, 3);
        let bundles = [signed(b"one", &key), signed(b"other", &key)];
        let indexes = bundles.each_ref().map(|bundle| log.admit(&submission(bundle, &verifier)));
        let entries = indexes.map(|index| log.entry(index, &[]));
        let [one, other] = bundles;
        let [of_one, of_other] = entries;
        let trust = log.trust("https://log.example", vec![rule(key.public_key())], &[]);
        let bundles = [one.with_log_entry(of_one), other.with_log_entry(of_other)];
        Self { log, trust, bundles }
    }

    fn verify(&self, bundle: &Bundle) -> Verification {
        verify_at(bundle, &self.trust, 1_800_000_000)
    }
}

fn verify_at(bundle: &Bundle, trust: &TrustFile, now: u64) -> Verification {
    let opened = Opened::open(&bundle.to_json()).unwrap();
    let policy = Policy { trust, signers: &trust.signers, now };
    verify(&opened, &policy, Model::NotRead)
}

fn expect_failed(verification: &Verification, check: &str) {
    let report = &verification.report;
    assert!(!report.is_verified() && report.exit() != Exit::Ok, "{check}");
    assert_eq!(report.outcome(check), Some(Outcome::Failed), "{check}");
}

/// CVE-2026-22703, CVE-2022-36056, CVE-2022-23649, CVE-2024-53267: verifiers accepted any valid
/// entry of the log, about whatever. The entry must be about this payload, this signature and this
/// key, and everything else about it may be as good as it likes.
#[test]
fn cve_2026_22703_cve_2022_36056_cve_2022_23649_cve_2024_53267_an_entry_about_something_else() {
    let two = Two::new();
    for bundle in &two.bundles {
        assert!(two.verify(bundle).report.is_verified());
    }
    let [one, other] = &two.bundles;
    let swapped = one.clone().with_log_entry(other.log_entries[0].clone());
    expect_failed(&two.verify(&swapped), "logged");

    // The same bytes, signed by another key: about the artifact, and not about this signature.
    let stranger = PrivateKey::generate(Curve::P256).unwrap();
    let theirs = signed(b"one", &stranger);
    let verifier = Verifier::PublicKey(Box::new(stranger.public_key().clone()));
    let mut log = two.log.clone();
    let index = log.admit(&submission(&theirs, &verifier));
    let entry = log.entry(index, &[]);
    expect_failed(&two.verify(&one.clone().with_log_entry(entry.clone())), "logged");
    let verification = two.verify(&theirs.with_log_entry(entry));
    expect_failed(&verification, "signer");

    // Bytes that are in the log and no entry at all.
    let filler = log.entry(treering_proto::tree::LeafIndex::new(0).unwrap(), &[]);
    expect_failed(&two.verify(&one.clone().with_log_entry(filler)), "logged");
}

/// The entry, with another note for its checkpoint.
fn with_note(entry: &TransparencyLogEntry, change: impl FnOnce(&mut Note)) -> TransparencyLogEntry {
    let mut entry = entry.clone();
    let mut note = Note::parse(entry.inclusion_proof.checkpoint.as_bytes()).unwrap();
    change(&mut note);
    entry.inclusion_proof.checkpoint = note.format();
    entry
}

/// CVE-2024-54140: a proof led to a checkpoint whose signature nobody verified. A root that the
/// log did not sign proves nothing.
#[test]
fn cve_2024_54140_a_checkpoint_that_the_log_did_not_sign() {
    let two = Two::new();
    let entry = &two.bundles[0].log_entries[0];
    let forged = TestLog::filled(2, 5).checkpoint(two.log.size(), &[]);
    let forged = Note::parse(forged.as_bytes()).unwrap().signatures;
    let attempts = [
        with_note(entry, |note| note.signatures[0].signature[5] ^= 1),
        with_note(entry, |note| note.signatures[0].name = "other.example".to_owned()),
        // Another key of that name signed, and another tree.
        with_note(entry, |note| note.signatures = forged.clone()),
        with_note(entry, |note| note.signatures[0].signature = forged[0].signature.clone()),
        // The log signed, but not this.
        with_note(entry, |note| note.text = note.text.replacen("\n5\n", "\n6\n", 1)),
        with_note(entry, |note| note.text = note.text.replacen("log.example", "x.example", 1)),
    ];
    for (at, attempt) in attempts.into_iter().enumerate() {
        let bundle = two.bundles[0].clone().with_log_entry(attempt);
        let report = two.verify(&bundle).report;
        assert!(!report.is_verified() && report.exit() != Exit::Ok, "attempt {at}");
        assert_ne!(report.outcome("checkpoint"), Some(Outcome::Passed), "attempt {at}");
        assert_ne!(report.outcome("inclusion"), Some(Outcome::Passed), "attempt {at}");
    }
}

/// CVE-2026-49834: each copy of one entry counted towards the threshold. One log is one voice: a
/// second entry is no more than a reason to refuse.
#[test]
fn cve_2026_49834_more_entries_of_one_log_are_no_more_proof() {
    let two = Two::new();
    for count in 2..4 {
        let mut bundle = two.bundles[0].clone();
        bundle.log_entries = vec![bundle.log_entries[0].clone(); count];
        expect_failed(&two.verify(&bundle), "logged");
    }
}

/// A model signed with a certificate that was valid from 2020 to 2021, and an authority for it.
struct Certified {
    log: TestLog,
    trust: TrustFile,
    bundle: Bundle,
    leaf: Certificate,
}

const JOB: &str = "https://ci.example/job";

impl Certified {
    fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.not_before = rcgen::date_time_ymd(2019, 1, 1);
        let root = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(Vec::new()).unwrap();
        leaf.subject_alt_names = vec![SanType::URI(JOB.try_into().unwrap())];
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning];
        leaf.not_before = rcgen::date_time_ymd(2020, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let leaf = leaf.signed_by(&key, &root).unwrap();
        let leaf = Certificate::from_der(leaf.der()).unwrap();

        let dir = TempDir::new().unwrap();
        let path = dir.path().join("key.pem");
        std::fs::write(&path, key.serialize_pem()).unwrap();
        let key = PrivateKey::load(&path, || unreachable!("the key is not encrypted")).unwrap();
        let mut bundle = signed(b"certified", &key);
        bundle.material = Material::CertificateChain(vec![leaf.der().to_vec()]);
        let verifier = Verifier::Certificate(Box::new(leaf.clone()));
        let mut log = TestLog::filled(1, 1);
        let index = log.admit(&submission(&bundle, &verifier));
        let bundle = bundle.with_log_entry(log.entry(index, &[]));
        let who = Signer::Identity { identity: JOB.to_owned(), issuer: None };
        let rule = SignerRule { name: "ci".to_owned(), who };
        let mut trust = log.trust("https://log.example", vec![rule], &[]);
        trust.certificate_authorities = vec![Certificate::from_der(root.der()).unwrap()];
        Self { log, trust, bundle, leaf }
    }

    fn during(&self) -> u64 {
        self.leaf.not_before() + 60
    }

    fn after(&self) -> u64 {
        self.leaf.not_after() + 60
    }
}

/// CVE-2024-55655 and CVE-2026-48816: the time in the entry was believed, though no signature was
/// over it. Everybody can write a time beside a proof; it dates no certificate, and neither does a
/// promise for another time.
#[test]
fn cve_2024_55655_cve_2026_48816_a_time_that_nobody_signed_dates_no_certificate() {
    let mut certified = Certified::new();
    let (during, after) = (certified.during(), certified.after());
    let verify = |bundle: &Bundle, trust: &TrustFile, now| verify_at(bundle, trust, now).report;
    assert!(verify(&certified.bundle, &certified.trust, during).is_verified());
    assert!(!verify(&certified.bundle, &certified.trust, after).is_verified());

    let mut bundle = certified.bundle.clone();
    bundle.log_entries[0].integrated_time = during;
    let report = verify(&bundle, &certified.trust, after);
    assert_eq!(report.outcome("certificate"), Some(Outcome::Failed));

    // With a real promise for a later time, and the time in the entry set back.
    certified.log.clocks = Some(test_log::Clocks::new(after));
    let body = bundle.log_entries[0].canonicalized_body.clone();
    let clocks = certified.log.clocks.as_ref().unwrap();
    bundle.log_entries[0].inclusion_promise = Some(clocks.set(&body, 1));
    let signers = certified.trust.signers.clone();
    let mut trust = certified.log.trust("https://log.example", signers, &[]);
    trust.certificate_authorities.clone_from(&certified.trust.certificate_authorities);
    let report = verify(&bundle, &trust, after);
    assert!(!report.is_verified());
    assert_eq!(report.outcome("time"), Some(Outcome::Failed));
    assert_eq!(report.outcome("certificate"), Some(Outcome::Failed));
}

/// CVE-2026-54787: a key counted outside of the time for which it was valid. Log keys here have no
/// time, they are in the trust file or they are not; a signer's certificate has, on both ends.
#[test]
fn cve_2026_54787_a_certificate_counts_in_its_time_only() {
    let certified = Certified::new();
    for (now, fine) in [
        (certified.leaf.not_before() - 60, false),
        (certified.during(), true),
        (certified.after(), false),
    ] {
        let report = verify_at(&certified.bundle, &certified.trust, now).report;
        assert_eq!(report.is_verified(), fine, "{now}");
        assert_eq!(report.outcome("certificate") == Some(Outcome::Passed), fine, "{now}");
    }
}

/// CVE-2026-22772: an identity was matched by a pattern that more matched than was meant. Names
/// are compared as they are, letter for letter, and nothing in them is a pattern.
#[test]
fn cve_2026_22772_an_identity_is_matched_exactly() {
    let certified = Certified::new();
    let now = certified.during();
    let verify_as = |identity: &str, issuer: Option<&str>| {
        let mut trust = certified.trust.clone();
        let issuer = issuer.map(str::to_owned);
        trust.signers[0].who = Signer::Identity { identity: identity.to_owned(), issuer };
        verify_at(&certified.bundle, &trust, now).report.is_verified()
    };
    assert!(verify_as(JOB, None));
    for other in [
        "https://ci.example/jo",
        "https://ci.example/job/",
        "https://ci.example/job2",
        "https://ci.example/.*",
        "https://ci.example/*",
        "https://ci-example/job",
        "https://CI.example/job",
        ".*",
        "",
    ] {
        assert!(!verify_as(other, None), "{other}");
    }
    assert!(!verify_as(JOB, Some("https://issuer.example")));
    assert!(!verify_as(JOB, Some("")));
}

/// CVE-2023-46737, CVE-2024-29902, CVE-2024-29903: whoever was asked could answer without end, and
/// the client read on until its memory was full. Every answer has a limit, however it is framed.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2023_46737_cve_2024_29902_cve_2024_29903_an_endless_answer_is_cut_off() {
    const LIMIT: usize = 1 << 20;
    for head in ["", "Content-Length: 1099511627776\r\n", "Transfer-Encoding: chunked\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 4096]);
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            let start = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
            let mut sent = socket.write_all(start.as_bytes()).map(|()| 0);
            // Ends when the client has had enough.
            while let Ok(count) = sent {
                sent = socket.write_all(chunk.as_bytes()).map(|()| count + 1);
                assert!(count < 4096, "the client reads on for ever");
            }
        });
        let deadline = Some(Duration::from_secs(120));
        let options = TransportOptions { deadline, ..TransportOptions::default() };
        let transport = transport::Transport::new(&url, &options).unwrap();
        let error = transport.get("/checkpoint", &[], LIMIT, Reading::Fresh).await.unwrap_err();
        assert!(matches!(error, TransportError::TooLong { limit: LIMIT, .. }), "{error}");
        drop(transport);
        server.join().unwrap();
    }
}

fn treering(home: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_treering"));
    command.args(arguments).current_dir(home).env_clear().env("HOME", home);
    command.stdin(std::process::Stdio::null()).output().unwrap()
}

/// CVE-2023-47122: the log's key was fetched from the log. A log that signs with a key that is not
/// in the trust file is not believed, and nobody asks it for a key.
#[test]
fn cve_2023_47122_a_key_is_never_taken_from_the_log() {
    let impostor = TestLog::filled(2, 5).serve();
    let trust = TestLog::filled(1, 5).trust(&impostor.url, Vec::new(), &[]);
    let home = TempDir::new().unwrap();
    std::fs::write(home.path().join("trust.json"), trust.format()).unwrap();
    for command in ["log-info", "audit", "monitor"] {
        let mut arguments = vec![command, "--trust", "trust.json", "--deadline", "10s"];
        arguments.extend_from_slice(if command == "monitor" { &["--once"] } else { &[] });
        let output = treering(home.path(), &arguments);
        assert!(!output.status.success(), "{command}: {output:?}");
    }
    let asked = impostor.asked();
    assert!(!asked.is_empty());
    let for_keys = |line: &&String| line.contains("publicKey") || line.contains("identity");
    assert_eq!(asked.iter().find(for_keys), None);
}
