//! A log for a witness to look at: its tree is hashed as RFC 6962 says it, from the leaves, with
//! none of the code that the witness checks it with.

use ed25519_dalek::SigningKey;
use treering_proto::checkpoint::Checkpoint;
use treering_proto::hash::{EMPTY_ROOT, Hash, hash_leaf, hash_node};
use treering_proto::note::{Note, NoteKey, sign_ed25519_line};
use treering_proto::tree::{TreeHead, TreeSize};
use treering_proto::witness::AddCheckpoint;

/// A log of any size. From leaf `fork` on, its entries are others than those of the log without a
/// fork.
#[derive(Clone, Debug)]
pub struct Log {
    pub origin: String,
    pub fork: u64,
}

impl Log {
    pub fn honest(origin: &str) -> Self {
        Self { origin: origin.to_owned(), fork: u64::MAX }
    }

    /// The same log, telling somebody else another story.
    pub fn forked_at(&self, fork: u64) -> Self {
        Self { fork, ..self.clone() }
    }

    pub fn key(&self) -> SigningKey {
        SigningKey::from_bytes(&[1; 32])
    }

    pub fn note_key(&self) -> NoteKey {
        NoteKey::ed25519(&self.origin, self.key().verifying_key().as_bytes()).unwrap()
    }

    pub fn head(&self, size: u64) -> TreeHead {
        TreeHead { size: TreeSize::new(size).unwrap(), root: root(&self.leaves(size)) }
    }

    pub fn text(&self, size: u64) -> String {
        self.text_of(self.head(size))
    }

    pub fn text_of(&self, head: TreeHead) -> String {
        Checkpoint { origin: self.origin.clone(), head, extensions: Vec::new() }.format()
    }

    pub fn sign(&self, text: &str) -> Note {
        let signatures = vec![sign_ed25519_line(&self.origin, &self.key(), text)];
        Note { text: text.to_owned(), signatures }
    }

    pub fn note(&self, size: u64) -> Note {
        self.sign(&self.text(size))
    }

    pub fn proof(&self, old: u64, new: u64) -> Vec<Hash> {
        match old {
            0 => Vec::new(),
            _ if old >= new => Vec::new(),
            _ => subproof(old as usize, &self.leaves(new), true),
        }
    }

    /// An honest request from `old` to `new`.
    pub fn body(&self, old: u64, new: u64) -> Vec<u8> {
        body(old, &self.proof(old, new), &self.note(new))
    }

    fn leaves(&self, size: u64) -> Vec<Hash> {
        let leaf = |at: u64| hash_leaf(format!("{at} {}", at >= self.fork).as_bytes());
        (0..size).map(leaf).collect()
    }
}

pub fn body(old: u64, proof: &[Hash], note: &Note) -> Vec<u8> {
    let old_size = TreeSize::new(old).unwrap();
    AddCheckpoint { old_size, proof: proof.to_vec(), note: note.format() }.format().into_bytes()
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
