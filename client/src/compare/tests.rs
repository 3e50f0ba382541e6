use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use ed25519_dalek::SigningKey;
use treering_proto::api::v1::TreeId;
use treering_proto::bundle::{Content, Material};
use treering_proto::checkpoint::Checkpoint;
use treering_proto::evidence::{EvidenceFile, EvidenceKind, TrustedKeys};
use treering_proto::identity::LogIdentity;
use treering_proto::key::PublicKey;
use treering_proto::note::{Note, SignatureLine, sign_ed25519_line};
use treering_proto::tree::LeafIndex;

use super::*;
use crate::test_log::{ORIGIN, Served, TestLog};

const WITNESS: u8 = 5;

/// A log of `count` entries whose entries differ from index `from` on.
fn forked(from: usize, count: usize) -> TestLog {
    let mut log = TestLog::filled(1, from);
    for at in from..count {
        log.append(format!("forged {at}").into_bytes());
    }
    log
}

fn honest(count: usize) -> TestLog {
    TestLog::filled(1, count)
}

/// A trust file of the log, with one witness that the quorum does not need.
fn trust() -> TrustFile {
    let mut trust = TestLog::new(1).trust("https://log.example", Vec::new(), &[WITNESS]);
    trust.floor = None;
    trust
}

fn checkpoint(log: &TestLog, size: u64) -> SignedCheckpoint {
    dated(log, size, &[])
}

fn dated(log: &TestLog, size: u64, witnesses: &[(u8, u64)]) -> SignedCheckpoint {
    let note = log.checkpoint(TreeSize::new(size).unwrap(), witnesses);
    open_file(note.as_bytes(), &trust()).unwrap()
}

async fn by_tiles_of(served: &Served, a: &SignedCheckpoint, b: &SignedCheckpoint) -> Relation {
    let (trust, transport) = (trust(), served.transport());
    let tiles = [(served.url.clone(), LogReader::new(&transport, &trust))];
    let relation = compare(&trust, a, b, &tiles).await;
    assert_eq!(compare(&trust, b, a, &tiles).await.name(), relation.name(), "order matters not");
    relation
}

/// The relation that two notes show without any log, in either order.
async fn alone(trust: &TrustFile, a: &SignedCheckpoint, b: &SignedCheckpoint) -> Relation {
    let relation = compare(trust, a, b, &[]).await;
    assert_eq!(compare(trust, b, a, &[]).await.name(), relation.name(), "order matters not");
    relation
}

fn proven(relation: &Relation, kind: EvidenceKind, trust: &TrustFile) {
    let evidence = relation.evidence().expect("evidence");
    assert_eq!(evidence.kind(), kind);
    let text = evidence.format("2026-01-02T03:04:05Z a b");
    let file = EvidenceFile::parse(text.as_bytes()).unwrap();
    for trusted in [None, Some(TrustedKeys::of(trust))] {
        assert!(file.judge(trusted.as_ref()).verdict.is_proven(), "{text}");
    }
}

#[tokio::test]
async fn two_trees_of_one_size_need_no_log() {
    let (ours, theirs) = (checkpoint(&honest(9), 9), checkpoint(&forked(3, 9), 9));
    let again = dated(&honest(9), 9, &[(WITNESS, 7)]);
    assert_eq!(alone(&trust(), &ours, &again).await, Relation::Same);
    let relation = alone(&trust(), &ours, &theirs).await;
    assert_eq!(relation.name(), "forked");
    proven(&relation, EvidenceKind::ForkSize, &trust());
}

#[tokio::test]
async fn two_sizes_need_tiles_and_say_so() {
    let (old, new) = (checkpoint(&honest(9), 9), checkpoint(&honest(300), 300));
    let Relation::Unknown(reasons) = alone(&trust(), &old, &new).await else { panic!("known") };
    assert_eq!(reasons, ["trees of two sizes are compared by tiles, and no log may be asked"]);
    let served = honest(400).serve();
    assert_eq!(by_tiles_of(&served, &old, &new).await, Relation::Consistent);
}

#[tokio::test]
async fn a_rewritten_beginning_is_found_wherever_it_is() {
    for (from, old, new) in [(0, 1, 2), (3, 9, 10), (8, 9, 300), (255, 256, 257)] {
        let known = checkpoint(&honest(old), old as u64);
        let served = forked(from, new).serve();
        let shown = checkpoint(&forked(from, new), new as u64);
        let relation = by_tiles_of(&served, &known, &shown).await;
        assert_eq!(relation.name(), "forked", "{from} {old} {new}");
        proven(&relation, EvidenceKind::ForkPrefix, &trust());
    }
}

#[tokio::test]
async fn tiles_of_another_tree_or_none_prove_nothing() {
    let (old, new) = (checkpoint(&honest(9), 9), checkpoint(&honest(12), 12));
    let served = forked(2, 12).serve();
    let Relation::Unknown(reasons) = by_tiles_of(&served, &old, &new).await else {
        panic!("known")
    };
    assert!(reasons[0].contains("do not belong to the larger checkpoint"), "{reasons:?}");
    let served = honest(3).serve();
    let relation = by_tiles_of(&served, &old, &new).await;
    assert_eq!(relation.name(), "unknown");
    // The second place has them.
    let (bad, good) = (forked(2, 12).serve(), honest(12).serve());
    let (trust, first, second) = (trust(), bad.transport(), good.transport());
    let tiles = [
        (bad.url.clone(), LogReader::new(&first, &trust)),
        (good.url.clone(), LogReader::new(&second, &trust)),
    ];
    assert_eq!(compare(&trust, &old, &new, &tiles).await, Relation::Consistent);
}

#[tokio::test]
async fn an_empty_tree_is_the_beginning_of_every_tree_and_has_one_root() {
    let (empty, new) = (checkpoint(&honest(0), 0), checkpoint(&honest(9), 9));
    assert_eq!(alone(&trust(), &empty, &new).await, Relation::Consistent);
    let head = TreeHead { size: TreeSize::ZERO, root: new.head().root };
    let text = Checkpoint { origin: ORIGIN.to_owned(), head, extensions: Vec::new() }.format();
    let line = sign_ed25519_line(ORIGIN, &SigningKey::from_bytes(&[1; 32]), &text);
    let note = Note { text, signatures: vec![line] }.format();
    let empty = open_file(note.as_bytes(), &trust()).unwrap();
    proven(&alone(&trust(), &empty, &new).await, EvidenceKind::ForkPrefix, &trust());
}

#[tokio::test]
async fn a_smaller_tree_that_a_witness_dated_later_is_a_rollback() {
    let log = honest(9);
    let larger = dated(&log, 9, &[(WITNESS, 100)]);
    for (time, name) in [(401, "rolled-back"), (400, "unknown"), (99, "unknown")] {
        let smaller = dated(&log, 4, &[(WITNESS, time)]);
        let relation = alone(&trust(), &larger, &smaller).await;
        assert_eq!(relation.name(), name, "{time}");
        if name == "rolled-back" {
            proven(&relation, EvidenceKind::Rollback, &trust());
        }
    }
    // No witness takes back what the tiles prove.
    let served = honest(9).serve();
    let smaller = dated(&log, 4, &[(WITNESS, 401)]);
    assert_eq!(by_tiles_of(&served, &larger, &smaller).await, Relation::Consistent);
}

#[tokio::test]
async fn the_two_faces_of_the_log_are_one() {
    let v1 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let sign = |message: &str| {
        v1.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec()
    };
    let spki = v1.public_key().as_der().unwrap();
    let v1_key = PublicKey::from_spki_der(spki.as_ref()).unwrap();
    let tree_id = TreeId::new(4711).unwrap();
    let identity = LogIdentity::new(ORIGIN, tree_id, TestLog::new(1).note_key(), v1_key).unwrap();
    let line = |text: &str| SignatureLine {
        name: ORIGIN.to_owned(),
        key_id: identity.v1_note_key().key_id(),
        signature: sign(text),
    };
    let text = identity.text();
    let own = sign_ed25519_line(ORIGIN, &SigningKey::from_bytes(&[1; 32]), &text);
    let signatures = vec![own, line(&text)];
    let mut trust = trust();
    trust.log.identity = Some(IdentityDocument::parse(Note { text, signatures }.format()).unwrap());

    let on_v1 = |log: &TestLog, size: u64| {
        let head = log.head(TreeSize::new(size).unwrap());
        let text = Checkpoint { origin: identity.v1_origin(), head, extensions: Vec::new() };
        let text = text.format();
        let signatures = vec![line(&text)];
        open_file(Note { text, signatures }.format().as_bytes(), &trust).unwrap()
    };
    let ours = checkpoint(&honest(9), 9);
    assert_eq!(alone(&trust, &ours, &on_v1(&honest(9), 9)).await, Relation::Same);
    let relation = alone(&trust, &ours, &on_v1(&forked(2, 9), 9)).await;
    proven(&relation, EvidenceKind::ForkSize, &trust);
    let served = forked(2, 12).serve();
    let transport = served.transport();
    let tiles = [(served.url.clone(), LogReader::new(&transport, &trust))];
    let relation = compare(&trust, &ours, &on_v1(&forked(2, 12), 12), &tiles).await;
    proven(&relation, EvidenceKind::ForkPrefix, &trust);
}

#[test]
fn a_file_is_a_note_or_a_bundle_of_the_trusted_log() {
    let stranger = TestLog::filled(2, 9);
    let note = stranger.checkpoint(stranger.size(), &[]);
    let refused = |bytes: &[u8]| open_file(bytes, &trust()).unwrap_err();
    assert!(matches!(refused(note.as_bytes()), SideError::Checkpoint(_)));
    assert!(matches!(refused(b""), SideError::Checkpoint(_)));
    assert!(matches!(refused(b"{}"), SideError::Bundle(_)));
    let entry = |log: &TestLog| log.entry(LeafIndex::new(3).unwrap(), &[]);
    let bundle = |log_entries| {
        Bundle {
            material: Material::PublicKey { hint: None },
            log_entries,
            timestamps: Vec::new(),
            content: Content::MessageSignature { digest: None, signature: vec![1] },
        }
        .to_json()
    };
    assert!(matches!(refused(&bundle(Vec::new())), SideError::NotLogged));
    assert!(matches!(refused(&bundle(vec![entry(&stranger)])), SideError::Checkpoint(_)));
    let both = bundle(vec![entry(&stranger), entry(&honest(9))]);
    assert_eq!(open_file(&both, &trust()).unwrap().head(), checkpoint(&honest(9), 9).head());
}
