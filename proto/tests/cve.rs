//! What others' vulnerabilities taught, held against the parsers and rules of `proto`. The name of
//! each test carries the number; the table in docs/fuzzing.md has all of them, those that do not
//! apply included.
//!
//! Out of scope: what needs a verifier (`client/tests/cve.rs`) or a server (`tests/e2e/cve.rs`).

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use treering_proto::api::v1::{EntryId, TreeId};
use treering_proto::bundle::{Bundle, LOG_ENTRIES_MAX, TIMESTAMPS_MAX};
use treering_proto::checkpoint::{Checkpoint, open_checkpoint};
use treering_proto::dsse_envelope::Envelope;
use treering_proto::encoding::to_base64;
use treering_proto::entry::{EntryError, VerifiedEntry};
use treering_proto::note::{Note, NoteKey, sign_cosignature_line, sign_ed25519_line};
use treering_proto::policy::{Policy, PolicyFault};
use treering_proto::statement::{SUBJECT_DIGESTS_MAX, SUBJECTS_MAX, Statement};
use treering_proto::tile::Tile;
use treering_proto::tree::TreeHead;

fn v1(kind: &str, version: &str, spec: &Value) -> Result<VerifiedEntry, EntryError> {
    let request = json!({ "kind": kind, "apiVersion": version, "spec": spec });
    VerifiedEntry::from_v1_request(request.to_string().as_bytes())
}

/// Every kind that Rekor has or had.
const KINDS: [&str; 11] = [
    "alpine",
    "cose",
    "dsse",
    "hashedrekord",
    "helm",
    "intoto",
    "jar",
    "rekord",
    "rfc3161",
    "rpm",
    "tuf",
];

/// Values that are there and hold nothing, or something else than expected.
fn hollow() -> [Value; 9] {
    [
        Value::Null,
        json!({}),
        json!([]),
        json!(""),
        json!(0),
        json!({ "message": "" }),
        json!({ "proposedContent": null, "signature": null, "data": null }),
        json!({ "proposedContent": { "envelope": "", "verifiers": [""] } }),
        json!({ "signature": { "content": "", "publicKey": {} }, "data": { "hash": null } }),
    ]
}

/// CVE-2026-23831: an empty COSE message was read through a null pointer. Whatever a message
/// lacks, the answer is an error that says so, for each kind that has a name.
#[test]
fn cve_2026_23831_a_hollow_message_of_any_kind_is_an_error() {
    for kind in KINDS {
        for version in ["0.0.1", "0.0.2", "", "9"] {
            for spec in hollow() {
                assert!(v1(kind, version, &spec).is_err(), "{kind} {version} {spec}");
            }
        }
    }
    for spec in hollow() {
        for member in ["hashedRekordRequestV002", "dsseRequestV002"] {
            let request = json!({ member: spec }).to_string();
            assert!(VerifiedEntry::from_v2_request(request.as_bytes()).is_err(), "{request}");
        }
    }
}

/// CVE-2023-33199: a malformed in-toto entry brought the server down. Envelopes are typed before
/// anything is taken out of them, whichever member is wrong.
#[test]
fn cve_2023_33199_a_malformed_envelope_is_an_error() {
    let good = json!({
        "payload": "e30=", "payloadType": "application/vnd.in-toto+json",
        "signatures": [{ "sig": "AA==", "keyid": "" }],
    });
    assert!(Envelope::parse(good.to_string().as_bytes()).is_ok());
    let wrong = [json!(1), json!(true), json!({}), json!([[]]), json!([null]), json!([{}])];
    for member in ["payload", "payloadType", "signatures"] {
        for value in &wrong {
            let mut changed = good.clone();
            changed[member] = value.clone();
            let text = changed.to_string();
            assert!(Envelope::parse(text.as_bytes()).is_err(), "{text}");
            let content = json!({ "envelope": text, "verifiers": ["AA=="] });
            assert!(v1("dsse", "0.0.1", &json!({ "proposedContent": content })).is_err());
        }
    }
}

/// CVE-2026-48702 and CVE-2023-30551: archives (APK, JAR) were unpacked, and a small one became
/// all of the memory. No archive is looked into: the kind alone is reason to refuse.
#[test]
fn cve_2026_48702_cve_2023_30551_archives_are_refused_by_name_and_never_opened() {
    let bomb = json!({ "package": { "content": to_base64(b"\x1f\x8b\x08\0\0\0\0\0\0\x03") } });
    for kind in ["alpine", "jar", "rpm", "helm"] {
        let refused = v1(kind, "0.0.1", &bomb).unwrap_err();
        assert!(matches!(refused, EntryError::RefusedKind { .. }), "{kind}: {refused}");
        assert!(refused.to_string().contains("archives are not parsed"), "{refused}");
    }
}

/// CVE-2026-24117: the log fetched the key from a URL in the submission. A key that is only named
/// by a URL is a key that is missing, for every member that Rekor ever had such a URL in.
#[test]
fn cve_2026_24117_a_key_or_artifact_named_by_url_is_missing() {
    let url = json!({ "url": "http://127.0.0.1:9/" });
    let hash = json!({ "algorithm": "sha256", "value": "ab".repeat(32) });
    let specs = [
        json!({ "signature": { "content": "AA==", "publicKey": url }, "data": { "hash": hash } }),
        json!({ "signature": url, "data": url }),
        json!({ "proposedContent": { "url": "http://127.0.0.1:9/", "verifiers": [url] } }),
        json!({ "content": url, "publicKey": url, "package": url }),
    ];
    for kind in KINDS {
        for spec in &specs {
            assert!(v1(kind, "0.0.1", spec).is_err(), "{kind} {spec}");
        }
    }
}

/// CVE-2025-66506 and CVE-2025-66564: untrusted text was split at every separator, one word of
/// memory for each byte of it. Text that we split has a length limit, or few parts.
#[test]
fn cve_2025_66506_cve_2025_66564_text_of_nothing_but_separators_is_refused() {
    let tree = TreeId::new(1).unwrap();
    for separator in [".", "/", "+", " ", "\n", "=", ":", "-"] {
        let text = separator.repeat(1 << 20);
        assert!(NoteKey::parse_vkey(&text).is_err());
        assert!(NoteKey::parse_vkey(&format!("name+{text}")).is_err());
        assert!(Tile::parse_path(&format!("tile/0/{text}")).is_err());
        assert!(EntryId::parse(&text, tree).is_err());
        assert!(Note::parse(text.as_bytes()).is_err());
        assert!(Policy::parse(text.as_bytes()).is_err());
        assert!(treering_proto::key::PublicKey::from_pem(&text).is_err());
    }
}

fn seed(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn witness(name: &str, byte: u8) -> NoteKey {
    NoteKey::cosignature(name, seed(byte).verifying_key().as_bytes()).unwrap()
}

/// CVE-2026-49834: a threshold was met by several entries of one log. Here a threshold counts
/// witnesses: lines of one key once, and one key under two names is not a policy.
#[test]
fn cve_2026_49834_a_threshold_counts_distinct_witnesses() {
    let (a, b) = (witness("a.example", 5), witness("b.example", 6));
    let (ours, theirs) = (a.to_vkey(), b.to_vkey());
    let text = format!("witness a {ours}\nwitness b {theirs}\ngroup g 2 a b\nquorum g\n");
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let log = NoteKey::ed25519("log.example", seed(1).verifying_key().as_bytes()).unwrap();
    let origin = "log.example".to_owned();
    let text = Checkpoint { origin, head: TreeHead::EMPTY, extensions: Vec::new() }.format();
    let open = |witnesses: &[(&str, u8, u64)]| {
        let lines = witnesses
            .iter()
            .map(|(name, byte, time)| sign_cosignature_line(name, &seed(*byte), &text, *time));
        let own = sign_ed25519_line("log.example", &seed(1), &text);
        let note =
            Note { text: text.clone(), signatures: [own].into_iter().chain(lines).collect() };
        let keys = [log.clone(), a.clone(), b.clone()];
        open_checkpoint(note.format().as_bytes(), "log.example", &keys).unwrap()
    };
    let one_twice = open(&[("a.example", 5, 1), ("a.example", 5, 2), ("a.example", 5, 3)]);
    assert!(!policy.is_met(one_twice.verified()));
    let both = open(&[("a.example", 5, 1), ("b.example", 6, 1)]);
    assert!(policy.is_met(both.verified()));

    let again = witness("other.example", 5).to_vkey();
    let twice = format!("witness a {ours}\nwitness b {again}\ngroup g 2 a b\nquorum g\n");
    let refused = Policy::parse(twice.as_bytes()).unwrap_err();
    assert_eq!(refused.fault, PolicyFault::DuplicateKey);
    let members = format!("witness a {ours}\ngroup g 2 a a\nquorum g\n");
    let refused = Policy::parse(members.as_bytes()).unwrap_err();
    assert_eq!(refused.fault, PolicyFault::DuplicateMember);
    // Two keys under one name are two operators only by somebody's word; the verifier is told.
    let same = witness("a.example", 7).to_vkey();
    let named = format!("witness a {ours}\nwitness b {same}\ngroup g 2 a b\nquorum g\n");
    let policy = Policy::parse(named.as_bytes()).unwrap();
    assert_eq!(policy.counted_twice(), Some("a.example"));
}

/// CVE-2024-45395: a bundle with endless entries, timestamps, subjects or digests kept a verifier
/// busy for ever. The same caps as in sigstore-go, and one of our own for the files of a model.
#[test]
fn cve_2024_45395_lists_in_bundles_and_statements_are_capped() {
    let bundle = |entries: usize, timestamps: usize| {
        let timestamps = vec![json!({ "signedTimestamp": "AA==" }); timestamps];
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "publicKey": {}, "tlogEntries": vec![json!({}); entries],
                "timestampVerificationData": { "rfc3161Timestamps": timestamps },
            },
            "messageSignature": { "signature": "AA==" },
        });
        Bundle::parse(bundle.to_string().as_bytes()).map_err(|error| error.to_string())
    };
    assert!(bundle(0, TIMESTAMPS_MAX).is_ok());
    assert!(bundle(0, TIMESTAMPS_MAX + 1).unwrap_err().contains("too many"));
    assert!(bundle(LOG_ENTRIES_MAX + 1, 0).unwrap_err().contains("too many"));
    assert_eq!((LOG_ENTRIES_MAX, TIMESTAMPS_MAX, SUBJECT_DIGESTS_MAX), (32, 32, 32));

    let statement = |subjects: usize, digests: usize| {
        let digests: serde_json::Map<String, Value> =
            (0..digests).map(|at| (format!("d{at}"), json!("ab"))).collect();
        let subjects = vec![json!({ "digest": digests }); subjects];
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "predicateType": "t", "subject": subjects,
        });
        Statement::parse(statement.to_string().as_bytes())
    };
    assert!(statement(1, SUBJECT_DIGESTS_MAX).is_ok());
    assert!(statement(1, SUBJECT_DIGESTS_MAX + 1).is_err());
    assert!(statement(SUBJECTS_MAX, 1).is_ok());
    assert!(statement(SUBJECTS_MAX + 1, 1).is_err());
}
