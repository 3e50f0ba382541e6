use ed25519_dalek::SigningKey;

use super::*;
use crate::hash::{hash_leaf, hash_node, sha256};
use crate::note::{NoteKey, sign_cosignature_line, sign_ed25519_line};

const ORIGIN: &str = "log.example";
const TIME: u64 = 1_700_000_000;

/// Leaves in the largest tree of the tables below: past two powers of two.
const SIZE_MAX: u64 = 6;

/// A log whose leaves from `fork` on are not those of the log without a fork.
#[derive(Clone, Copy)]
struct Tree {
    fork: u64,
}

const HONEST: Tree = Tree { fork: u64::MAX };

impl Tree {
    fn leaves(self, from: u64, to: u64) -> Vec<Hash> {
        (from..to).map(|at| hash_leaf(format!("{at} {}", at >= self.fork).as_bytes())).collect()
    }

    fn head(self, size: u64) -> TreeHead {
        TreeHead { size: TreeSize::new(size).unwrap(), root: root(&self.leaves(0, size)) }
    }

    /// The proof of RFC 6962 section 2.1.2, as that section has it.
    fn proof(self, old: u64, new: u64) -> Vec<Hash> {
        if old == 0 { Vec::new() } else { subproof(old as usize, &self.leaves(0, new), true) }
    }
}

fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        more => {
            let (left, right) = more.split_at(split(more.len()));
            hash_node(&root(left), &root(right))
        }
    }
}

fn subproof(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if known { Vec::new() } else { vec![root(leaves)] };
    }
    let middle = split(leaves.len());
    let (left, right) = leaves.split_at(middle);
    if old <= middle {
        [subproof(old, left, known), vec![root(right)]].concat()
    } else {
        [subproof(old - middle, right, false), vec![root(left)]].concat()
    }
}

fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn keys() -> Vec<NoteKey> {
    vec![NoteKey::ed25519(ORIGIN, log_key().verifying_key().as_bytes()).unwrap()]
}

fn text(head: TreeHead) -> String {
    Checkpoint { origin: ORIGIN.to_owned(), head, extensions: Vec::new() }.format()
}

fn signed_note(head: TreeHead) -> Note {
    let text = text(head);
    let signatures = vec![sign_ed25519_line(ORIGIN, &log_key(), &text)];
    Note { text, signatures }
}

fn body(old: u64, proof: &[Hash], note: &Note) -> Vec<u8> {
    let old_size = TreeSize::new(old).unwrap();
    AddCheckpoint { old_size, proof: proof.to_vec(), note: note.format() }.format().into_bytes()
}

fn verified(old: u64, proof: &[Hash], head: TreeHead) -> VerifiedSubmission {
    let body = body(old, proof, &signed_note(head));
    Submission::parse(&body).unwrap().verify(&keys()).unwrap()
}

fn last(tree: Tree, size: u64) -> LastCosigned {
    LastCosigned { head: tree.head(size), time: TIME }
}

/// The status that the table of the specification asks for, told from how the trees were made and
/// never from hashes.
fn expected(stored: Option<u64>, old: u64, new: u64, same_tree: bool, proof: Proof) -> u16 {
    let known = stored.unwrap_or(0);
    if old > new {
        400
    } else if old != known {
        409
    } else if new == old && new != 0 {
        if same_tree && proof.is_empty(old, new) { 200 } else { 422 }
    } else if old == 0 {
        if proof.is_empty(old, new) { 200 } else { 422 }
    } else if same_tree && proof == Proof::Right {
        200
    } else {
        422
    }
}

/// What is sent as the proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proof {
    Right,
    None,
    Surplus,
    Missing,
    Flipped,
}

impl Proof {
    const ALL: [Self; 5] = [Self::Right, Self::None, Self::Surplus, Self::Missing, Self::Flipped];

    fn of(self, tree: Tree, old: u64, new: u64) -> Vec<Hash> {
        let mut proof = if old < new { tree.proof(old, new) } else { Vec::new() };
        match self {
            Self::Right => {}
            Self::None => proof.clear(),
            Self::Surplus => proof.push(sha256(b"surplus")),
            Self::Missing => drop(proof.pop()),
            Self::Flipped => proof.iter_mut().take(1).for_each(|hash| hash.0[31] ^= 1),
        }
        proof
    }

    /// From nothing and to the same size, the right proof is empty, so that leaving something out
    /// of it changes nothing.
    fn is_empty(self, old: u64, new: u64) -> bool {
        assert!(old == 0 || old == new);
        self != Self::Surplus
    }
}

#[test]
fn every_small_request_gets_the_status_of_the_table() {
    let mut counts = std::collections::BTreeMap::new();
    for new in 0..=SIZE_MAX {
        for fork in 0..=SIZE_MAX {
            let tree = Tree { fork };
            let mut request = verified(0, &[], tree.head(new));
            for stored in std::iter::once(None).chain((0..=SIZE_MAX).map(Some)) {
                for old in 0..=SIZE_MAX + 1 {
                    for proof in Proof::ALL {
                        request.old_size = TreeSize::new(old).unwrap();
                        request.proof = proof.of(tree, old, new);
                        let last = stored.map(|size| last(HONEST, size));
                        let decided = request.decide(last, TIME + 1);
                        let status = decided.as_ref().map_or_else(Refusal::status, |_| 200);
                        let same = stored.unwrap_or(0) <= fork;
                        let wanted = expected(stored, old, new, same, proof);
                        let case = format!("{stored:?} {old} {new} {fork} {proof:?}");
                        assert_eq!(status, wanted, "{case}");
                        let next = LastCosigned { head: tree.head(new), time: TIME + 1 };
                        assert!(decided.is_err() || decided == Ok(next), "{case}");
                        *counts.entry(status).or_insert(0) += 1;
                    }
                }
            }
        }
    }
    assert!([200, 400, 409, 422].iter().all(|status| counts[status] > 100), "{counts:?}");
}

#[test]
fn only_a_log_that_signed_two_trees_is_contradicted_and_a_proof_is_named_as_such() {
    for known in 1..=SIZE_MAX {
        for new in 0..=SIZE_MAX {
            for fork in 0..=SIZE_MAX {
                let (tree, last) = (Tree { fork }, last(HONEST, known));
                let submit =
                    |old, proof: &[Hash]| verified(old, proof, tree.head(new)).contradiction(last);
                let honest = submit(known, &Proof::Right.of(tree, known, new));
                let other_old = submit(known - 1, &[]);
                let same_tree = fork >= known;
                let proven = match known.cmp(&new) {
                    std::cmp::Ordering::Equal if same_tree => None,
                    std::cmp::Ordering::Equal => Some(Contradiction::ForkSize),
                    std::cmp::Ordering::Greater => Some(Contradiction::Smaller),
                    std::cmp::Ordering::Less if same_tree => None,
                    // The proof leaves out the root that would convict.
                    std::cmp::Ordering::Less if known.is_power_of_two() => {
                        Some(Contradiction::Unproven)
                    }
                    std::cmp::Ordering::Less => {
                        Some(Contradiction::ForkPrefix { root: tree.head(known).root })
                    }
                };
                assert_eq!(honest, proven, "{known} {new} {fork}");
                let by_size = proven.filter(|_| new <= known);
                assert_eq!(other_old, by_size, "{known} {new} {fork}");
                if known < new {
                    let garbage = submit(known, &[sha256(b"x")]);
                    let one_hash = known.is_power_of_two() && new == 2 * known;
                    assert!(garbage == Some(Contradiction::Unproven) || one_hash);
                }
            }
        }
    }
}

#[test]
fn an_empty_tree_has_one_root() {
    let empty = TreeHead::EMPTY;
    let wrong = TreeHead { root: sha256(b"x"), ..empty };
    for last in [None, Some(LastCosigned { head: empty, time: TIME })] {
        assert_eq!(verified(0, &[], wrong).decide(last, TIME), Err(Refusal::EmptyTreeRoot));
        assert!(verified(0, &[], empty).decide(last, TIME).is_ok());
    }
    assert_eq!(Refusal::EmptyTreeRoot.status(), 422);
}

#[test]
fn time_never_goes_back_and_is_never_zero() {
    let request = verified(4, &[], HONEST.head(4));
    let last = last(HONEST, 4);
    for (now, decided) in [
        (TIME + 1, Ok(LastCosigned { time: TIME + 1, ..last })),
        (TIME, Ok(last)),
        (TIME - 1, Err(Refusal::ClockBehind { behind: 1 })),
        (0, Err(Refusal::ClockBehind { behind: TIME })),
    ] {
        assert_eq!(request.decide(Some(last), now), decided);
    }
    let first = verified(0, &[], HONEST.head(4));
    assert_eq!(first.decide(None, 0), Err(Refusal::ClockBehind { behind: 1 }));
    assert_eq!(Refusal::ClockBehind { behind: 1 }.status(), 503);
    // What is wrong with the checkpoint counts for more than what is wrong with the clock.
    let fork = verified(4, &[], Tree { fork: 0 }.head(4));
    assert_eq!(fork.decide(Some(last), 0), Err(Refusal::OtherRoot));
}

#[test]
fn bodies_that_make_no_sense_are_400() {
    let note = signed_note(HONEST.head(4)).format();
    for (body, label) in [
        (note.clone(), "no old line"),
        (format!("old 4\n{note}"), "no blank line before the note"),
        (format!("old 04\n\n{note}"), "leading zero"),
        (format!("old 0\n\n{}", text(HONEST.head(4))), "no signatures"),
        (format!("old 0\n\n{}", note.replace("\n4\n", "\n04\n")), "size with a leading zero"),
        (format!("old 0\n\n{}", note.replace("\n4\n", "\n+4\n")), "size with a sign"),
        (format!("old 0\n\n{}", note.replace("\n4\n", "\n")), "no size"),
        (format!("old 0\n\n{}", note.replace(ORIGIN, "a\tb")), "control byte"),
        (format!("old 0\n\n{}", note.trim_end()), "unfinished line"),
        (format!("old 0\n\n{note}\n"), "line after the signatures"),
    ] {
        let refusal = Submission::parse(body.as_bytes()).unwrap_err();
        assert_eq!((refusal.status(), refusal.label()), (400, "malformed"), "{label}");
    }
}

#[test]
fn the_origin_decides_before_the_signature_and_that_before_the_sizes() {
    let note = signed_note(HONEST.head(4));
    let submit = |old: u64, note: &Note, keys: &[NoteKey]| {
        let submission = Submission::parse(&body(old, &[], note)).unwrap();
        assert_eq!(submission.origin(), ORIGIN);
        submission.verify(keys)?.decide(Some(last(HONEST, 3)), TIME)
    };
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let forged = |name: &str, key: &SigningKey| {
        let signatures = vec![sign_ed25519_line(name, key, &note.text)];
        Note { text: note.text.clone(), signatures }
    };
    let mut bad_line = note.clone();
    bad_line.signatures[0].signature[7] ^= 1;
    let mut beside_good = note.clone();
    beside_good.signatures.insert(0, bad_line.signatures[0].clone());
    let unknown_key = Refusal::Signature(OpenError::NoKnownKey);
    let invalid = Refusal::Signature(OpenError::InvalidSignature { name: ORIGIN.to_owned() });
    let conflict = Refusal::Conflict { last: TreeSize::new(3).unwrap() };
    let reversed =
        Refusal::SizesReversed { old: TreeSize::new(5).unwrap(), new: TreeSize::new(4).unwrap() };
    for (old, note, keys, refusal, status) in [
        (5, &note, Vec::new(), Refusal::UnknownOrigin, 404),
        (5, &forged(ORIGIN, &stranger), keys(), unknown_key.clone(), 403),
        (5, &forged("other.example", &log_key()), keys(), unknown_key, 403),
        (5, &bad_line, keys(), invalid.clone(), 403),
        (5, &beside_good, keys(), invalid, 403),
        (5, &note, keys(), reversed, 400),
        (4, &note, keys(), conflict.clone(), 409),
        (0, &note, keys(), conflict, 409),
    ] {
        let refused = submit(old, note, &keys).unwrap_err();
        assert_eq!((refused.status(), &refused), (status, &refusal));
    }
}

#[test]
fn the_answer_to_a_conflict_is_the_size_alone() {
    let conflict = verified(0, &[], HONEST.head(4)).decide(Some(last(HONEST, 3)), TIME);
    let body = conflict.unwrap_err().body();
    assert_eq!(body, ("text/x.tlog.size", "3\n".to_owned()));
    let first = verified(2, &[], HONEST.head(4)).decide(None, TIME).unwrap_err();
    assert_eq!((first.status(), first.body().1), (409, "0\n".to_owned()));
    let other = Refusal::OtherRoot.body();
    assert!(other.0.starts_with("text/plain") && other.1.ends_with("size\n"));
}

#[test]
fn the_cosigned_note_has_the_lines_of_the_log_and_ours_and_no_others() {
    let witness = SigningKey::from_bytes(&[2; 32]);
    let mut note = signed_note(HONEST.head(4));
    let of_log = note.signatures[0].clone();
    let old_cosignature = sign_cosignature_line("w.example", &witness, &note.text, TIME - 9);
    note.signatures = vec![old_cosignature, of_log.clone(), of_log.clone()];
    let submission = Submission::parse(&body(0, &[], &note)).unwrap();
    let verified = submission.verify(&keys()).unwrap();
    let own = sign_cosignature_line("w.example", &witness, verified.text(), TIME);
    let cosigned = verified.cosigned_note(std::slice::from_ref(&own));
    assert_eq!(cosigned.text, note.text);
    assert_eq!(cosigned.signatures, [of_log, own]);
}

#[test]
fn a_witness_key_does_not_vouch_for_a_log() {
    let witness = SigningKey::from_bytes(&[2; 32]);
    let text = text(HONEST.head(4));
    let signatures = vec![sign_cosignature_line(ORIGIN, &witness, &text, TIME)];
    let submission = Submission::parse(&body(0, &[], &Note { text, signatures })).unwrap();
    let key = NoteKey::cosignature(ORIGIN, witness.verifying_key().as_bytes()).unwrap();
    let refusal = submission.verify(&[key]).unwrap_err();
    assert_eq!((refusal.status(), refusal), (403, Refusal::NoLogSignature));
}
