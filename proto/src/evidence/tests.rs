use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use ed25519_dalek::SigningKey;

use super::*;
use crate::api::v1::{TreeId, set_payload};
use crate::checkpoint::{Checkpoint, SignedCheckpoint, open_checkpoint};
use crate::cosignature::ml_dsa_44::MlDsa44SigningKey;
use crate::freshness::CLOCK_SKEW_MAX;
use crate::hash::hash_leaf;
use crate::identity::LogIdentity;
use crate::key::PublicKey;
use crate::note::{
    Note, NoteKeyError, SignatureLine, sign_cosignature_line, sign_ed25519_line,
    sign_ml_dsa_44_line,
};
use crate::proof::{PROOF_HASHES_MAX, ProofPlan, plan_consistency, plan_inclusion};
use crate::tile::perfect_root;
use crate::tree::{TreeHead, TreeSize, join_subtrees, perfect_subtrees};
use crate::trust::IdentityDocument;

const ORIGIN: &str = "log.example";
const SEEN: &str = "2026-01-02T03:04:05Z https://log.example";
const TIME: u64 = 1_700_000_000;

/// A tree in memory.
struct Tree(Vec<Vec<u8>>);

impl Tree {
    /// `count` entries, from index `from` on other ones than those of every other tree here.
    fn forked(count: usize, from: usize) -> Self {
        let word = |at| if at < from { "entry" } else { "forged" };
        Self((0..count).map(|at| format!("{} {at}", word(at)).into_bytes()).collect())
    }

    fn grown(count: usize) -> Self {
        Self::forked(count, count)
    }

    fn leaf(&self, index: u64) -> Hash {
        hash_leaf(&self.0[index as usize])
    }

    fn node(&self, level: u8, index: u64) -> Hash {
        let leaves = (index << level..(index + 1) << level).map(|at| self.leaf(at));
        perfect_root(&leaves.collect::<Vec<_>>())
    }

    fn head(&self, size: u64) -> TreeHead {
        let nodes = perfect_subtrees(0, size).map(|n| self.node(n.level, n.index));
        let root = join_subtrees(&nodes.collect::<Vec<_>>());
        TreeHead { size: TreeSize::new(size).unwrap(), root }
    }

    fn build(&self, plan: &ProofPlan) -> Vec<Hash> {
        plan.build(&plan.nodes().map(|n| self.node(n.level, n.index)).collect::<Vec<_>>())
    }

    fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        let size = |size| TreeSize::new(size).unwrap();
        self.build(&plan_consistency(size(old), size(new)).unwrap())
    }

    fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        let index = LeafIndex::new(index).unwrap();
        self.build(&plan_inclusion(index, TreeSize::new(size).unwrap()).unwrap())
    }
}

/// Who signs a note.
#[derive(Clone, Copy)]
enum By {
    /// An Ed25519 key with the name of the log.
    Log(u8),
    /// The log's v1 key.
    V1,
    /// An ML-DSA-44 key with the name of the log, at this time.
    LogAt(u8, u64),
    /// An Ed25519 witness, at this time.
    Witness(u8, u64),
    /// An ML-DSA-44 witness, at this time.
    MlDsaWitness(u8, u64),
}

/// The keys of one log.
struct Kit {
    v1: EcdsaKeyPair,
    document: IdentityDocument,
}

impl Kit {
    /// The log whose note key is `By::Log(1)`.
    fn new() -> Self {
        let v1 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki = v1.public_key().as_der().unwrap();
        let v1_key = PublicKey::from_spki_der(spki.as_ref()).unwrap();
        let tree_id = TreeId::new(4711).unwrap();
        let identity = LogIdentity::new(ORIGIN, tree_id, key(By::Log(1)), v1_key).unwrap();
        let text = identity.text();
        let signature = v1.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        let v1_line = SignatureLine {
            name: ORIGIN.to_owned(),
            key_id: identity.v1_note_key().key_id(),
            signature: signature.as_ref().to_vec(),
        };
        let signatures = vec![sign_ed25519_line(ORIGIN, &seed(1), &text), v1_line];
        let text = Note { text, signatures }.format();
        Self { v1, document: IdentityDocument::parse(text).unwrap() }
    }

    fn note(&self, origin: &str, head: TreeHead, by: &[By]) -> Vec<u8> {
        let text = Checkpoint { origin: origin.to_owned(), head, extensions: Vec::new() }.format();
        let line = |by: &By| match *by {
            By::Log(at) => sign_ed25519_line(ORIGIN, &seed(at), &text),
            By::Witness(at, time) => sign_cosignature_line("w.example", &seed(at), &text, time),
            By::LogAt(at, time) => sign_ml_dsa_44_line(ORIGIN, &ml_dsa_44(at), origin, head, time),
            By::MlDsaWitness(at, time) => {
                sign_ml_dsa_44_line("w.example", &ml_dsa_44(at), origin, head, time)
            }
            By::V1 => SignatureLine {
                name: ORIGIN.to_owned(),
                key_id: self.document.identity.v1_note_key().key_id(),
                signature: self.sign_v1(text.as_bytes()),
            },
        };
        let signatures = by.iter().map(line).collect();
        Note { text, signatures }.format().into_bytes()
    }

    fn sign_v1(&self, message: &[u8]) -> Vec<u8> {
        self.v1.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    fn open(&self, note: &[u8], origin: &str, by: &[By]) -> SignedCheckpoint {
        let keys = by.iter().map(|by| match by {
            By::V1 => self.document.identity.v1_note_key(),
            by => key(*by),
        });
        open_checkpoint(note, origin, &keys.collect::<Vec<_>>()).unwrap()
    }

    /// A checkpoint of the C2SP face.
    fn signed(&self, head: TreeHead, by: &[By]) -> SignedCheckpoint {
        self.open(&self.note(ORIGIN, head, by), ORIGIN, by)
    }

    /// A checkpoint of the v1 face.
    fn signed_v1(&self, head: TreeHead) -> SignedCheckpoint {
        let origin = self.document.identity.v1_origin();
        self.open(&self.note(&origin, head, &[By::V1]), &origin, &[By::V1])
    }

    fn promise(&self, entry: &[u8], time: u64, index: u64) -> Promise {
        let log_id = self.document.identity.v1_log_id().to_hex();
        let signed = set_payload(&to_base64(entry), time, &log_id, index);
        let index = LeafIndex::new(index).unwrap();
        Promise { set: self.sign_v1(&signed), entry: entry.to_vec(), time, index }
    }

    /// A trust file's view: all keys of the log but those of `By::Log(2)`, and two witnesses.
    fn trusted(&self) -> TrustedKeys {
        let v1 = self.document.identity.v1_note_key();
        TrustedKeys {
            log: vec![key(By::Log(1)), v1, key(By::LogAt(3, 0))],
            witnesses: vec![key(By::Witness(5, 0)), key(By::MlDsaWitness(6, 0))],
        }
    }
}

fn seed(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn ml_dsa_44(seed: u8) -> MlDsa44SigningKey {
    MlDsa44SigningKey::from_seed(&[seed; 32])
}

fn key(by: By) -> NoteKey {
    let key = match by {
        By::Log(at) => NoteKey::ed25519(ORIGIN, seed(at).verifying_key().as_bytes()),
        By::Witness(at, _) => {
            NoteKey::cosignature("w.example", seed(at).verifying_key().as_bytes())
        }
        By::LogAt(at, _) => NoteKey::ml_dsa_44(ORIGIN, ml_dsa_44(at).public_key()),
        By::MlDsaWitness(at, _) => NoteKey::ml_dsa_44("w.example", ml_dsa_44(at).public_key()),
        By::V1 => panic!("the v1 key is the kit's"),
    };
    key.unwrap()
}

fn reread(evidence: &Evidence) -> EvidenceFile {
    let text = evidence.format(SEEN);
    let file = EvidenceFile::parse(text.as_bytes()).unwrap();
    assert_eq!(file.format(), text);
    assert_eq!((file.kind, &*file.seen), (evidence.kind(), SEEN));
    file
}

fn verdict(evidence: &Evidence) -> Verdict {
    reread(evidence).judge(None).verdict
}

fn fork_size(kit: &Kit) -> Evidence {
    let by = [By::Log(1), By::Witness(5, TIME)];
    let (a, b) = (Tree::grown(9), Tree::forked(9, 3));
    Evidence::fork_size(&kit.signed(a.head(9), &by), &kit.signed(b.head(9), &by)).unwrap()
}

fn fork_size_across(kit: &Kit) -> Evidence {
    let (a, b) = (Tree::grown(9), Tree::forked(9, 3));
    let (a, b) = (kit.signed(a.head(9), &[By::Log(1)]), kit.signed_v1(b.head(9)));
    Evidence::fork_size_across(&kit.document, &a, &b).unwrap()
}

fn fork_prefix(kit: &Kit) -> Evidence {
    let (old, new) = (Tree::grown(6), Tree::forked(11, 3));
    Evidence::fork_prefix(
        &kit.signed(old.head(6), &[By::Log(1)]),
        &kit.signed(new.head(11), &[By::Log(1)]),
        new.head(6).root,
        &new.consistency(6, 11),
    )
    .unwrap()
}

fn fork_prefix_across(kit: &Kit) -> Evidence {
    let (old, new) = (Tree::grown(6), Tree::forked(11, 3));
    Evidence::fork_prefix_across(
        &kit.document,
        &kit.signed_v1(old.head(6)),
        &kit.signed(new.head(11), &[By::Log(1)]),
        new.head(6).root,
        &new.consistency(6, 11),
    )
    .unwrap()
}

fn rollback(kit: &Kit, earlier: By, later: By) -> Evidence {
    let tree = Tree::grown(9);
    let known = kit.signed(tree.head(9), &[By::Log(1), earlier]);
    Evidence::rollback(&known, &kit.signed(tree.head(4), &[By::Log(1), later]))
}

fn broken_promise(kit: &Kit) -> Evidence {
    let tree = Tree::grown(9);
    let promise = kit.promise(b"promised", TIME, 5);
    let shown = kit.signed(tree.head(9), &[By::Log(1)]);
    let proof = tree.inclusion(5, 9);
    Evidence::broken_promise(&kit.document, &promise, &shown, tree.leaf(5), &proof).unwrap()
}

/// The promise is dated before a head that does not hold the entry.
fn too_early(kit: &Kit) -> Evidence {
    let promise = kit.promise(b"entry 9", TIME, 9);
    let shown = kit.signed(Tree::grown(9).head(9), &[By::Log(1), By::LogAt(3, TIME + 1)]);
    Evidence::wrong_time(&kit.document, &key(By::LogAt(3, 0)), &promise, &shown, &[]).unwrap()
}

/// The promise is dated after a head that holds the entry.
fn too_late(kit: &Kit) -> Evidence {
    let tree = Tree::grown(9);
    let promise = kit.promise(b"entry 5", TIME + 2, 5);
    let shown = kit.signed(tree.head(9), &[By::Log(1), By::LogAt(3, TIME + 1)]);
    let (time_key, proof) = (key(By::LogAt(3, 0)), tree.inclusion(5, 9));
    Evidence::wrong_time(&kit.document, &time_key, &promise, &shown, &proof).unwrap()
}

/// Asserts that no byte of what `file` proves can be changed, neither decoded nor in the text.
fn no_change_is_proven(kit: &Kit, evidence: &Evidence) {
    let file = reread(evidence);
    let judge = |file: &EvidenceFile| file.judge(Some(&kit.trusted()));
    assert!(judge(&file).verdict.is_proven(), "{:?}", judge(&file));
    let mut count = 0;
    for part in 0.. {
        let Some(len) = part_len(&file, part) else { break };
        for at in 0..len {
            let mut changed = file.clone();
            change(&mut changed, part, at);
            assert_ne!(changed, file);
            let judged = judge(&changed);
            assert!(!judged.verdict.is_proven(), "part {part} byte {at}: {judged:?}");
            count += 1;
        }
    }
    assert!(count > 300, "only {count} bytes");
    no_changed_character_is_proven(kit, &file);
}

fn no_changed_character_is_proven(kit: &Kit, file: &EvidenceFile) {
    let text = file.format();
    let above = file.lines_above_sum();
    for at in 0..above.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        assert!(EvidenceFile::parse(&bytes).is_err(), "character {at} is not summed");
        // Whoever changes a file can make its sum anew.
        let Ok(changed) = str::from_utf8(&bytes[..above.len()]) else { continue };
        let sum = to_base64(sha256(changed.as_bytes()).as_bytes());
        let renewed = format!("{changed}sum {sum}\nseen {SEEN}\n");
        let Ok(changed) = EvidenceFile::parse(renewed.as_bytes()) else { continue };
        assert_eq!(changed.format(), renewed);
        let judged = changed.judge(Some(&kit.trusted()));
        assert!(!judged.verdict.is_proven(), "character {at}: {judged:?}");
    }
}

/// The parts whose every byte matters, each with its length: notes, identity, altroot, set,
/// promised, time, index, leaf, and the hashes of the proof.
fn part_len(file: &EvidenceFile, part: usize) -> Option<usize> {
    let promise = file.promise.as_ref();
    let fixed = [
        file.notes.first().map(Vec::len),
        file.notes.get(1).map(Vec::len),
        file.identity.as_ref().map(Vec::len),
        file.alt_root.map(|_| Hash::LEN),
        promise.map(|promise| promise.set.len()),
        promise.map(|promise| promise.entry.len()),
        promise.map(|_| 8),
        promise.map(|_| 6),
        file.leaf.map(|_| Hash::LEN),
    ];
    match fixed.get(part) {
        Some(len) => Some(len.unwrap_or(0)),
        None => {
            let proof = file.proof.as_deref().unwrap_or_default();
            proof.get(part - fixed.len()).map(|_| Hash::LEN)
        }
    }
}

fn change(file: &mut EvidenceFile, part: usize, at: usize) {
    let number = |number: u64| number ^ (1 << (8 * at));
    match part {
        0 | 1 => file.notes[part][at] ^= 1,
        2 => file.identity.as_mut().unwrap()[at] ^= 1,
        3 => file.alt_root.as_mut().unwrap().0[at] ^= 1,
        4..=7 => {
            let promise = file.promise.as_mut().unwrap();
            match part {
                4 => promise.set[at] ^= 1,
                5 => promise.entry[at] ^= 1,
                6 => promise.time = number(promise.time),
                _ => promise.index = LeafIndex::new(number(promise.index.get())).unwrap(),
            }
        }
        8 => file.leaf.as_mut().unwrap().0[at] ^= 1,
        _ => file.proof.as_mut().unwrap()[part - 9].0[at] ^= 1,
    }
}

#[test]
fn no_changed_byte_of_a_fork_of_one_size_is_proven() {
    let kit = Kit::new();
    let evidence = fork_size(&kit);
    let judged = reread(&evidence).judge(None);
    assert_eq!(judged.verdict, Verdict::ProvenLog);
    assert_eq!(judged.accused, [key(By::Log(1)), key(By::Witness(5, 0))]);
    no_change_is_proven(&kit, &evidence);
}

#[test]
fn no_changed_byte_of_a_fork_across_faces_is_proven() {
    let kit = Kit::new();
    let evidence = fork_size_across(&kit);
    let judged = reread(&evidence).judge(None);
    assert_eq!(judged.accused, [key(By::Log(1)), kit.document.identity.v1_note_key()]);
    no_change_is_proven(&kit, &evidence);
}

#[test]
fn no_changed_byte_of_a_rewritten_beginning_is_proven() {
    let kit = Kit::new();
    no_change_is_proven(&kit, &fork_prefix(&kit));
}

#[test]
fn no_changed_byte_of_a_rewritten_beginning_across_faces_is_proven() {
    let kit = Kit::new();
    no_change_is_proven(&kit, &fork_prefix_across(&kit));
}

#[test]
fn no_changed_byte_of_a_rollback_is_proven() {
    let kit = Kit::new();
    let evidence = rollback(&kit, By::Witness(5, TIME), By::Witness(5, TIME + 301));
    assert_eq!(evidence.kind(), EvidenceKind::Rollback);
    assert_eq!(verdict(&evidence), Verdict::ProvenWitness);
    no_change_is_proven(&kit, &evidence);
}

#[test]
fn no_changed_byte_of_a_rollback_dated_by_the_log_is_proven() {
    let kit = Kit::new();
    let evidence = rollback(&kit, By::LogAt(3, TIME), By::LogAt(3, TIME + 1));
    let judged = reread(&evidence).judge(Some(&kit.trusted()));
    assert_eq!(judged.verdict, Verdict::ProvenLog);
    no_change_is_proven(&kit, &evidence);
}

#[test]
fn no_changed_byte_of_a_broken_promise_is_proven() {
    let kit = Kit::new();
    let evidence = broken_promise(&kit);
    assert_eq!(verdict(&evidence), Verdict::ProvenLog);
    no_change_is_proven(&kit, &evidence);
}

#[test]
fn no_changed_byte_of_a_promise_dated_too_early_is_proven() {
    let kit = Kit::new();
    no_change_is_proven(&kit, &too_early(&kit));
}

#[test]
fn no_changed_byte_of_a_promise_dated_too_late_is_proven() {
    let kit = Kit::new();
    no_change_is_proven(&kit, &too_late(&kit));
}

#[test]
fn equal_trees_one_note_twice_and_one_text_signed_twice_are_no_fork() {
    let kit = Kit::new();
    let head = Tree::grown(9).head(9);
    let a = kit.signed(head, &[By::Log(1)]);
    let b = kit.signed(head, &[By::Log(1), By::Witness(5, TIME)]);
    let larger = kit.signed(Tree::grown(11).head(11), &[By::Log(1)]);
    let proof = Tree::grown(11).consistency(9, 11);
    assert_eq!(Evidence::fork_size(&a, &a), None);
    assert_eq!(Evidence::fork_size(&a, &b), None);
    assert_eq!(Evidence::fork_size(&a, &larger), None);
    assert_eq!(Evidence::fork_prefix(&a, &larger, head.root, &proof), None);
    assert_eq!(Evidence::fork_size_across(&kit.document, &a, &kit.signed_v1(head)), None);
    // What others write by hand.
    let mut file = reread(&fork_size(&kit));
    file.keys = vec![key(By::Log(1))];
    for (notes, why) in [
        ([&a, &a], "both notes are of one tree"),
        ([&a, &b], "both notes are of one tree"),
        ([&a, &larger], "the sizes of the two trees are not those of this kind of evidence"),
    ] {
        file.notes = notes.map(|note| note.note_bytes().to_vec()).to_vec();
        assert_eq!(file.judge(None).why, why);
        assert_eq!(file.judge(Some(&kit.trusted())).verdict, Verdict::NotProven);
    }
    let mut file = reread(&fork_prefix(&kit));
    let (old, new) = (Tree::grown(6), Tree::grown(11));
    file.notes = [old.head(6), new.head(11)]
        .map(|head| kit.signed(head, &[By::Log(1)]).note_bytes().to_vec())
        .to_vec();
    file.proof = Some(new.consistency(6, 11));
    file.alt_root = Some(old.head(6).root);
    assert_eq!(file.judge(None).why, "altroot is the root of note 0, so nothing was rewritten");
}

#[test]
fn notes_of_two_origins_or_in_the_wrong_order_prove_nothing() {
    let kit = Kit::new();
    let (a, b) = (Tree::grown(9), Tree::forked(9, 3));
    let ours = kit.signed(a.head(9), &[By::Log(1)]);
    let note = kit.note("other.example", b.head(9), &[By::Log(1)]);
    let other = kit.open(&note, "other.example", &[By::Log(1)]);
    assert_eq!(Evidence::fork_size(&ours, &other), None);
    assert_eq!(Evidence::fork_size(&ours, &kit.signed_v1(b.head(9))), None);
    assert_eq!(Evidence::fork_size_across(&kit.document, &ours, &other), None);
    let mut file = reread(&fork_size(&kit));
    file.notes[1] = note;
    assert_eq!(file.judge(None).why, "note 1 is not of this origin");
    let mut renamed = reread(&fork_size(&kit));
    renamed.origin = "other.example".to_owned();
    assert_eq!(renamed.judge(None).verdict, Verdict::NotProven);

    for evidence in [
        fork_prefix(&kit),
        rollback(&kit, By::Witness(5, TIME), By::Witness(5, TIME + 301)),
        rollback(&kit, By::LogAt(3, TIME), By::LogAt(3, TIME + 1)),
    ] {
        let mut file = reread(&evidence);
        file.notes.reverse();
        assert_eq!(file.judge(None).verdict, Verdict::NotProven, "{:?}", file.kind);
    }
    // A log that grew, and one that was dated anew.
    let mut file = reread(&rollback(&kit, By::LogAt(3, TIME), By::LogAt(3, TIME + 1)));
    for (earlier, later) in [(4, 9), (9, 9)] {
        let note = |size, time| kit.note(ORIGIN, a.head(size), &[By::Log(1), By::LogAt(3, time)]);
        file.notes = vec![note(earlier, TIME), note(later, TIME + 1)];
        let why = "the sizes of the two trees are not those of this kind of evidence";
        assert_eq!(file.judge(None).why, why);
    }
    // A fork of one size in the clothes of the other kind.
    let mut file = reread(&fork_size(&kit));
    file.kind = EvidenceKind::ForkPrefix;
    file.alt_root = Some(b.head(9).root);
    file.proof = Some(Vec::new());
    assert_eq!(file.judge(None).verdict, Verdict::NotProven);
}

#[test]
fn a_rollback_needs_one_key_and_later_time() {
    let kit = Kit::new();
    let suspected = |earlier, later| {
        let evidence = rollback(&kit, earlier, later);
        assert_eq!(evidence.kind(), EvidenceKind::RollbackSuspected);
        assert_eq!(verdict(&evidence), Verdict::Suspicious);
        // Whoever renames it proves no more.
        let mut file = reread(&evidence);
        file.kind = EvidenceKind::Rollback;
        for by in [earlier, later] {
            let key = key(by);
            if !file.keys.contains(&key) {
                file.keys.push(key);
            }
        }
        assert_eq!(file.judge(None).verdict, Verdict::NotProven);
    };
    suspected(By::Witness(5, TIME), By::Witness(5, TIME));
    suspected(By::Witness(5, TIME), By::Witness(5, TIME + 1));
    suspected(By::Witness(5, TIME), By::Witness(5, TIME + CLOCK_SKEW_MAX));
    suspected(By::MlDsaWitness(6, TIME), By::MlDsaWitness(6, TIME + CLOCK_SKEW_MAX));
    suspected(By::Witness(5, TIME), By::Witness(5, TIME - 1));
    suspected(By::Witness(5, TIME), By::Witness(7, TIME + 1));
    suspected(By::Witness(5, 0), By::Witness(5, TIME));
    suspected(By::LogAt(3, 0), By::LogAt(3, TIME));
    suspected(By::LogAt(3, TIME), By::LogAt(3, 0));
    suspected(By::LogAt(3, TIME), By::MlDsaWitness(3, TIME + 1));
    suspected(By::Log(1), By::Log(1));
    let late = 2 + CLOCK_SKEW_MAX;
    let witness = rollback(&kit, By::MlDsaWitness(6, 1), By::MlDsaWitness(6, late));
    assert_eq!(verdict(&witness), Verdict::ProvenWitness);
    assert_eq!(witness.convicts(), Some(Party::Witness));
    let why = "the witness w.example dated a tree of 4 entries later than one of 9";
    assert_eq!(witness.to_string(), why);
    let log = rollback(&kit, By::LogAt(3, TIME), By::LogAt(3, TIME + 1));
    assert_eq!(log.convicts(), Some(Party::Log));
}

/// The key of its signatures is replaced, that of its times stays: both notes are of one log.
#[test]
fn a_log_that_keeps_its_ml_dsa_key_and_changes_the_other_is_convicted() {
    let kit = Kit::new();
    let note = |by, from| {
        kit.signed(Tree::forked(9, from).head(9), &[by, By::LogAt(3, TIME), By::Witness(5, TIME)])
    };
    let mut trusted = kit.trusted();
    trusted.log.push(key(By::Log(2)));
    let file = reread(&Evidence::fork_size(&note(By::Log(1), 9), &note(By::Log(2), 3)).unwrap());
    let judged = file.judge(Some(&trusted));
    assert_eq!((judged.verdict, judged.accused.len()), (Verdict::ProvenLog, 4), "{}", judged.why);
    // Without it only the witness is known to have signed both, and every cosigner must have.
    assert_eq!(file.judge(None).accused, [key(By::Witness(5, 0))]);
    let mut less = file;
    less.notes[1] = kit.note(ORIGIN, Tree::forked(9, 3).head(9), &[By::Log(2)]);
    assert_eq!(less.judge(Some(&trusted)).verdict, Verdict::NotProven);
}

#[test]
fn who_signed_one_note_only_is_not_accused() {
    let kit = Kit::new();
    let (a, b) = (Tree::grown(9), Tree::forked(9, 3));
    let one = kit.signed(a.head(9), &[By::Log(1), By::Witness(5, TIME)]);
    let other = kit.signed(b.head(9), &[By::Log(1), By::Witness(7, TIME)]);
    let file = reread(&Evidence::fork_size(&one, &other).unwrap());
    assert_eq!(file.judge(None).accused, [key(By::Log(1))]);
    // Two keys in the name of the log: one party only if somebody says so.
    let two = kit.signed(b.head(9), &[By::Log(2)]);
    let file = reread(&Evidence::fork_size(&one, &two).unwrap());
    assert_eq!(file.judge(None).why, "no log and no witness signed both notes");
    let mut trusted = kit.trusted();
    trusted.log.push(key(By::Log(2)));
    assert_eq!(file.judge(Some(&trusted)).verdict, Verdict::ProvenLog);
    // A witness that signed both is convicted, whoever signed beside it.
    let one = kit.signed(a.head(9), &[By::Log(1), By::Witness(5, TIME)]);
    let two = kit.signed(b.head(9), &[By::Log(2), By::Witness(5, TIME)]);
    let file = reread(&Evidence::fork_size(&one, &two).unwrap());
    let judged = file.judge(None);
    assert_eq!(
        (judged.verdict, judged.accused),
        (Verdict::ProvenWitness, vec![key(By::Witness(5, 0))])
    );
}

#[test]
fn only_trusted_keys_count_where_there_is_trust() {
    let kit = Kit::new();
    let file = reread(&fork_size(&kit));
    let stranger = TrustedKeys { log: vec![key(By::Log(2))], witnesses: Vec::new() };
    let judged = file.judge(Some(&stranger));
    assert_eq!(judged.verdict, Verdict::NotProven);
    let why = "no key of the file counts; the trust file does not list the keys log.example+";
    assert!(judged.why.starts_with(why), "{}", judged.why);
    // The log alone, or the witness alone.
    let log = TrustedKeys { log: vec![key(By::Log(1))], witnesses: Vec::new() };
    assert_eq!(file.judge(Some(&log)).accused, [key(By::Log(1))]);
    let witness = TrustedKeys { log: Vec::new(), witnesses: vec![key(By::Witness(5, 0))] };
    assert_eq!(file.judge(Some(&witness)).verdict, Verdict::ProvenWitness);
    // A witness named like the log is a witness, if the trust file says so.
    let rollback = reread(&rollback(&kit, By::LogAt(4, TIME), By::LogAt(4, TIME + 301)));
    assert_eq!(rollback.judge(None).verdict, Verdict::Suspicious);
    assert_eq!(rollback.judge(Some(&kit.trusted())).verdict, Verdict::NotProven);
    let named = TrustedKeys { witnesses: vec![key(By::LogAt(4, 0))], ..kit.trusted() };
    assert_eq!(rollback.judge(Some(&named)).verdict, Verdict::ProvenWitness);
    let wrong_time = reread(&too_early(&kit));
    let without = TrustedKeys { log: vec![key(By::Log(1))], witnesses: Vec::new() };
    let judged = wrong_time.judge(Some(&without));
    assert!(judged.why.contains("ML-DSA-44 key; the trust file does not list"), "{}", judged.why);
}

#[test]
fn promises_that_were_kept_or_are_of_others_prove_nothing() {
    let kit = Kit::new();
    let tree = Tree::grown(9);
    let shown = kit.signed(tree.head(9), &[By::Log(1), By::LogAt(3, TIME)]);
    let proof = tree.inclusion(5, 9);
    let broken = |document: &IdentityDocument, promise: &Promise| {
        Evidence::broken_promise(document, promise, &shown, tree.leaf(5), &proof)
    };
    assert_eq!(broken(&kit.document, &kit.promise(b"entry 5", TIME, 5)), None);
    assert_eq!(broken(&kit.document, &kit.promise(b"promised", TIME, 4)), None);
    assert!(broken(&kit.document, &kit.promise(b"promised", TIME, 5)).is_some());
    let other = Kit::new();
    assert_eq!(broken(&kit.document, &other.promise(b"promised", TIME, 5)), None);
    assert_eq!(broken(&other.document, &kit.promise(b"promised", TIME, 5)), None);

    let time_key = key(By::LogAt(3, 0));
    let wrong = |entry: &[u8], time, index, proof: &[Hash]| {
        let promise = kit.promise(entry, time, index);
        Evidence::wrong_time(&kit.document, &time_key, &promise, &shown, proof).is_some()
    };
    assert!(wrong(b"entry 5", TIME + 1, 5, &proof));
    assert!(!wrong(b"entry 5", TIME, 5, &proof), "the same second is no contradiction");
    assert!(!wrong(b"entry 5", TIME - 1, 5, &proof));
    assert!(!wrong(b"another", TIME + 1, 5, &proof), "another entry is there");
    assert!(wrong(b"entry 9", TIME - 1, 9, &[]));
    assert!(!wrong(b"entry 9", TIME, 9, &[]), "the same second is no contradiction");
    assert!(!wrong(b"entry 9", TIME + 1, 9, &[]));
    // Only the log's own time counts: a witness may lag, and a time of 0 is none.
    // Nor does a key that only has the log's name.
    let others = [By::Witness(5, TIME), By::MlDsaWitness(6, TIME), By::LogAt(4, TIME)];
    for by in others.into_iter().chain([By::LogAt(3, 0)]) {
        let shown = kit.signed(tree.head(9), &[By::Log(1), by]);
        let promise = kit.promise(b"entry 9", TIME - 1, 9);
        let evidence = Evidence::wrong_time(&kit.document, &time_key, &promise, &shown, &[]);
        assert_eq!(evidence, None);
    }
}

/// Everybody can add lines of a key of their own, with the name of the log, to its notes.
#[test]
fn an_added_key_with_the_name_of_the_log_frames_nobody() {
    let kit = Kit::new();
    let tree = Tree::grown(9);
    let own = |time| By::LogAt(8, time);
    let needs = "nothing in the file shows that this key is the log's: a trust file";
    // An honest promise, and a note of the log with another time beside its signature.
    let mut wrong_time = reread(&too_early(&kit));
    wrong_time.keys = vec![key(By::Log(1)), key(own(0))];
    wrong_time.notes = vec![kit.note(ORIGIN, tree.head(9), &[By::Log(1), own(TIME + 1)])];
    // Two honest notes, dated in the wrong order.
    let mut rollback = reread(&rollback(&kit, By::LogAt(3, TIME), By::LogAt(3, TIME + 1)));
    rollback.keys = vec![key(By::Log(1)), key(own(0))];
    rollback.notes = [(9, TIME), (4, TIME + 1)]
        .map(|(size, time)| kit.note(ORIGIN, tree.head(size), &[By::Log(1), own(time)]))
        .to_vec();
    let mut bare = rollback.clone();
    bare.keys.remove(0);
    // An honest note, and one that the log never signed.
    let mut fork = reread(&fork_size(&kit));
    fork.keys = vec![key(own(0))];
    fork.notes[0] = kit.note(ORIGIN, tree.head(9), &[By::Log(1), own(TIME)]);
    fork.notes[1] = kit.note(ORIGIN, Tree::forked(9, 3).head(9), &[own(TIME)]);
    for file in [wrong_time, rollback, bare, fork] {
        let judged = file.judge(None);
        assert_eq!(judged.verdict, Verdict::Suspicious, "{judged:?}");
        assert!(judged.accused.is_empty() && judged.why.contains(needs), "{judged:?}");
        assert_eq!(file.judge(Some(&kit.trusted())).verdict, Verdict::NotProven);
    }
}

#[test]
fn an_identity_counts_only_for_the_log_and_the_keys_of_the_file() {
    let kit = Kit::new();
    let other = "the identity document is not of this origin, or of no key that counts";
    // A stranger's identity, whose keys the file does not name, convicts nobody.
    let tree = Tree::grown(9);
    let note = kit.note(ORIGIN, tree.head(9), &[By::Log(1), By::Witness(5, TIME)]);
    let mut file = reread(&broken_promise(&kit));
    file.notes = vec![note];
    assert_eq!(file.judge(None).verdict, Verdict::ProvenLog);
    file.keys = vec![key(By::Witness(5, 0))];
    assert_eq!(file.judge(None).why, other);
    // Nor does one whose keys the trust file does not list.
    file.keys.push(key(By::Log(1)));
    assert_eq!(file.judge(None).verdict, Verdict::ProvenLog);
    let witness = TrustedKeys { log: Vec::new(), witnesses: vec![key(By::Witness(5, 0))] };
    assert!(file.judge(Some(&witness)).why.starts_with(other));
    // The v1 face alone has its own origin, and needs no identity.
    let (a, b) = (Tree::grown(9), Tree::forked(9, 3));
    let fork = Evidence::fork_size(&kit.signed_v1(a.head(9)), &kit.signed_v1(b.head(9)));
    let mut file = reread(&fork.unwrap());
    assert_eq!(file.judge(None).verdict, Verdict::ProvenLog);
    file.identity = Some(kit.document.text.clone().into_bytes());
    assert_eq!(file.judge(None).why, other);
    // A proof of inclusion outside the tree is a part too many.
    let mut file = reread(&too_early(&kit));
    file.proof = Some(Vec::new());
    assert_eq!(file.judge(None).verdict, Verdict::NotProven);
}

#[test]
fn suspicions_prove_nothing_and_say_so() {
    let kit = Kit::new();
    let (a, b) = (Tree::grown(9), Tree::forked(12, 3));
    let known = kit.signed(a.head(9), &[By::Log(1)]);
    let unproven = Evidence::unproven(&known, &kit.signed(b.head(12), &[By::Log(1)]));
    assert_eq!(verdict(&unproven), Verdict::Suspicious);
    let foreign = kit.note(ORIGIN, b.head(12), &[By::Log(2)]);
    let evidence = Evidence::foreign_key(&known, &foreign);
    assert_eq!(verdict(&evidence), Verdict::Suspicious);
    assert!(!evidence.kind().is_proof());
    let ours = Evidence::foreign_key(&known, kit.signed(b.head(12), &[By::Log(1)]).note_bytes());
    assert_eq!(verdict(&ours), Verdict::NotProven);
    assert_eq!(verdict(&Evidence::foreign_key(&known, b"<html>")), Verdict::NotProven);
    assert_eq!(verdict(&Evidence::unproven(&known, &known)), Verdict::NotProven);
    // A rollback the other way round is none.
    let larger = kit.signed(b.head(12), &[By::Log(1)]);
    assert_eq!(verdict(&Evidence::rollback(&known, &larger)), Verdict::NotProven);
}

#[test]
fn a_file_has_exactly_these_lines() {
    let kit = Kit::new();
    let (one, other) = (TreeHead::EMPTY, Tree::forked(0, 0).head(0));
    assert_eq!(one, other);
    let names = |evidence: &Evidence| -> Vec<String> {
        let text = evidence.format(SEEN);
        text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let start = ["tlog-evidence@v1", "kind", "origin", "key"];
    let with = |rest: &[&'static str]| [&start[..], rest, &["sum", "seen"]].concat();
    assert_eq!(names(&fork_prefix(&kit)), with(&["note", "note", "altroot", "proof"]));
    let promise = ["identity", "note", "set", "promised", "time", "index"];
    let more = [&promise[..], &["leaf", "proof"]].concat();
    assert_eq!(names(&broken_promise(&kit)), with(&more));
    assert_eq!(names(&too_early(&kit)), with(&[&["key"], &promise[..]].concat()));
    assert_eq!(names(&fork_size_across(&kit)), with(&["key", "identity", "note", "note"]));
    let text = broken_promise(&kit).format("a\nseen b");
    assert!(text.ends_with("\nseen aseen b\n"), "{text}");
    assert!(broken_promise(&kit).format("").ends_with("\nseen nowhere\n"));
    let long = "é".repeat(2000);
    assert!(EvidenceFile::parse(fork_size(&kit).format(&long).as_bytes()).is_ok());
}

#[test]
fn the_sum_covers_signatures_that_nobody_here_can_verify_and_not_seen() {
    let kit = Kit::new();
    let by = [By::Log(1), By::Witness(7, TIME)];
    let (a, b) = (Tree::grown(9), Tree::forked(9, 3));
    let open = |tree: &Tree| kit.open(&kit.note(ORIGIN, tree.head(9), &by), ORIGIN, &[By::Log(1)]);
    let evidence = Evidence::fork_size(&open(&a), &open(&b)).unwrap();
    let text = evidence.format(SEEN);
    let file = EvidenceFile::parse(text.as_bytes()).unwrap();
    assert_eq!(file.judge(None).accused, [key(By::Log(1))]);
    for at in 0..text.find("\nseen ").unwrap() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        assert!(EvidenceFile::parse(&bytes).is_err(), "character {at}");
    }
    let elsewhere = text.replace("https://log.example", "(withheld)");
    let file = EvidenceFile::parse(elsewhere.as_bytes()).unwrap();
    assert_eq!(file.judge(None).verdict, Verdict::ProvenLog);
}

#[test]
fn rejects_malformed_files_and_says_where() {
    let kit = Kit::new();
    let good = reread(&fork_size(&kit));
    let resum = |lines: &str| {
        let sum = to_base64(sha256(lines.as_bytes()).as_bytes());
        format!("{lines}sum {sum}\nseen {SEEN}\n")
    };
    let above = good.lines_above_sum();
    let cases: Vec<(String, usize, EvidenceFault)> = vec![
        (String::new(), 1, EvidenceFault::NotLines),
        ("\u{feff}".to_owned() + &resum(&above), 1, EvidenceFault::Magic),
        (resum(&above.replace("@v1", "@v2")), 1, EvidenceFault::Magic),
        (resum(&above.replace("fork-size", "fork")), 2, EvidenceFault::Kind),
        (resum(&above.replace("origin ", "Origin ")), 3, EvidenceFault::Missing("origin")),
        (resum(&above.replace("origin log.example", "origin ")), 3, EvidenceFault::Text),
        (
            resum(&above.replace("\nnote 1", "\nextra 1\nnote 1")),
            7,
            EvidenceFault::Missing("note 1"),
        ),
        (resum(&above.replace("note 0 ", "note 0  ")), 6, EvidenceFault::Base64),
        (resum(&above.replace("note 0 ", "note 0 =")), 6, EvidenceFault::Base64),
        (resum(&(above.clone() + "altroot x\n")), 8, EvidenceFault::Missing("sum")),
        (good.format() + "\n", 10, EvidenceFault::Surplus),
        (good.format() + "seen x\n", 10, EvidenceFault::Surplus),
        (good.format().trim_end().to_owned(), 1, EvidenceFault::NotLines),
        (good.format().replace('\n', "\r\n"), 1, EvidenceFault::Magic),
        (above.clone() + "sum AAAA\nseen x\n", 8, EvidenceFault::Base64),
        (format!("{above}sum {}\nseen x\n", to_base64(&[0; 32])), 8, EvidenceFault::Sum),
    ];
    for (text, line, fault) in cases {
        let error = EvidenceFile::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error, EvidenceError { line, fault }, "{text}");
    }
    let key_line = format!("key {}\n", good.keys[0].to_vkey());
    let twice = resum(&above.replace(&key_line, &key_line.repeat(2)));
    let error = EvidenceFile::parse(twice.as_bytes()).unwrap_err();
    assert_eq!(error, EvidenceError { line: 5, fault: EvidenceFault::Twice });
    let strange = resum(&above.replace(&key_line, "key x\n"));
    let error = EvidenceFile::parse(strange.as_bytes()).unwrap_err();
    assert_eq!(error.fault, EvidenceFault::Key(NoteKeyError::Malformed));
}

#[test]
fn accepts_the_bounds_and_nothing_above() {
    let kit = Kit::new();
    let fault = |file: &EvidenceFile| {
        EvidenceFile::parse(file.format().as_bytes()).map_err(|error| error.fault)
    };
    let mut file = reread(&fork_prefix(&kit));
    file.proof = Some(vec![Hash([0; 32]); PROOF_HASHES_MAX]);
    assert_eq!(fault(&file), Ok(file.clone()));
    file.proof = Some(vec![Hash([0; 32]); PROOF_HASHES_MAX + 1]);
    assert_eq!(fault(&file), Err(EvidenceFault::TooMany));

    let mut file = reread(&fork_size(&kit));
    file.keys = (0..EVIDENCE_KEYS_MAX as u8).map(|at| key(By::Log(at))).collect();
    assert!(fault(&file).is_ok());
    file.keys.push(key(By::Log(255)));
    assert_eq!(fault(&file), Err(EvidenceFault::TooMany));

    let mut file = reread(&broken_promise(&kit));
    file.promise.as_mut().unwrap().time = u64::MAX;
    let text = file.lines_above_sum().replace(&u64::MAX.to_string(), "18446744073709551616");
    let sum = to_base64(sha256(text.as_bytes()).as_bytes());
    let text = format!("{text}sum {sum}\nseen {SEEN}\n");
    let error = EvidenceFile::parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.fault, EvidenceFault::Number);
    assert!(fault(&file).is_ok());

    let mut file = reread(&fork_size(&kit));
    file.notes[0] = vec![b'x'; EVIDENCE_LEN_MAX];
    assert_eq!(fault(&file), Err(EvidenceFault::TooLong));
}

/// Files that were written once and stay. Another implementation judges the same ones.
#[test]
fn old_files_keep_their_verdicts() {
    macro_rules! file {
        ($name:literal) => {
            include_str!(concat!("../../../tests/interop/evidence/", $name, ".evidence"))
        };
    }
    for (text, verdict) in [
        (file!("broken-promise"), Verdict::ProvenLog),
        (file!("fork-prefix"), Verdict::ProvenLog),
        (file!("fork-prefix-across"), Verdict::ProvenLog),
        (file!("fork-size"), Verdict::ProvenLog),
        (file!("fork-size-across"), Verdict::ProvenLog),
        (file!("rollback-log"), Verdict::Suspicious),
        (file!("rollback-suspected"), Verdict::Suspicious),
        (file!("rollback-witness"), Verdict::NotProven),
        (file!("rollback-witness-later"), Verdict::ProvenWitness),
        (file!("wrong-time-early"), Verdict::Suspicious),
        (file!("wrong-time-late"), Verdict::Suspicious),
    ] {
        let file = EvidenceFile::parse(text.as_bytes()).unwrap();
        assert_eq!(file.format(), text);
        let judged = file.judge(None);
        assert_eq!(judged.verdict, verdict, "{judged:?}");
        // What makes suspicious for want of a trust file is proven with one.
        let log = file.keys.iter().filter(|key| key.name() == file.origin).cloned().collect();
        let trusted = TrustedKeys { log, witnesses: Vec::new() };
        if file.kind.is_proof() && verdict == Verdict::Suspicious {
            assert_eq!(file.judge(Some(&trusted)).verdict, Verdict::ProvenLog);
        }
    }
}
