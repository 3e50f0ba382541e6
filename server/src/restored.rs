//! A log that was restored: it is read-only until it holds everything that is known to have been
//! signed.
//!
//! `restore` puts a mark into the directory, `DIR/restored`. A marked directory is held against
//!
//! - its anchor,
//! - the checkpoints that were given by hand, which the mark lists,
//! - the checkpoint that each witness of the policy remembers, asked at each start. A larger one
//!   with the log's own signature goes into the mark, and counts for ever; a witness that does not
//!   answer is waited for, because what it knows could be more.
//!
//! While storage is smaller than one of these, nothing is signed, committed or renewed; the newest
//! published note is served. When it has reached all of them, the start takes the mark away and
//! goes the normal way. Same size and another root is a fork, and nothing is served.
//!
//! ```text
//! treering restored 1
//! floor SIZE ROOT SOURCE      one line for each; root in hexadecimal
//! ```
//!
//! Out of scope: making the directory and filling it (`ops::restore`).

use std::path::PathBuf;

use treering_proto::checkpoint::{OpenCheckpointError, open_checkpoint};
use treering_proto::hash::Hash;
use treering_proto::identity::LogIdentity;
use treering_proto::tree::{TreeHead, TreeSize};

use crate::anchor::Anchor;
use crate::data_directory::{DataDirectory, DirectoryError};
use crate::store::{Store, StoreError};

const TITLE: &str = "treering restored 1";

/// Floors in one mark; more than anybody has checkpoints at hand.
const FLOORS_MAX: usize = 1000;

/// A head that the log is known to have signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Floor {
    /// Size and root.
    pub head: TreeHead,
    /// Who knows it.
    pub source: String,
}

/// The mark of a restored directory.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Mark {
    floors: Vec<Floor>,
}

/// What the witnesses said when they were asked.
#[derive(Clone, Default, Debug)]
pub struct Heard {
    /// The note that each witness remembers, by its name.
    pub notes: Vec<(String, Vec<u8>)>,
    /// Those that did not answer.
    pub silent: Vec<String>,
}

/// Where a restored log stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It holds everything that is known.
    Complete,
    /// Something is missing, or may be.
    Behind {
        /// How many entries.
        missing: u64,
        /// What is known, and by whom.
        why: String,
    },
}

/// Two heads of one size, one of them signed: the log forked, or what was restored is another log.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} has root {stored} at size {}, but {} says that this log signed {}: the log forked, or this is another \
     log. Nothing is served; keep all copies",
    floor.head.size, floor.source, floor.head.root
)]
pub struct Fork {
    /// The database directory.
    pub path: PathBuf,
    /// What was signed.
    pub floor: Floor,
    /// Root of the stored entries.
    pub stored: Hash,
}

/// Why it cannot be said where a log stands.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The mark cannot be read or written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Rows do not read back.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another tree was signed.
    #[error(transparent)]
    Fork(Box<Fork>),
}

impl Mark {
    /// The floors, in the order in which they were learned.
    pub fn floors(&self) -> &[Floor] {
        &self.floors
    }

    /// Adds a head that was signed. Returns whether it was new.
    pub fn add(&mut self, head: TreeHead, source: &str) -> bool {
        let is_new = self.floors.iter().all(|floor| floor.head != head);
        if is_new {
            if self.floors.len() == FLOORS_MAX {
                // The lowest says least.
                let lowest = (0..FLOORS_MAX).min_by_key(|at| self.floors[*at].head.size.get());
                lowest.map(|at| self.floors.remove(at));
            }
            let source = source.split_whitespace().collect::<Vec<_>>().join(" ");
            self.floors.push(Floor { head, source });
        }
        is_new
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{TITLE}\n");
        for Floor { head, source } in &self.floors {
            text.push_str(&format!("floor {} {} {source}\n", head.size, head.root));
        }
        text
    }

    /// Reads the file; `None` if it is not whole.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let floors = lines.map(|line| {
            let (size, rest) = line.strip_prefix("floor ")?.split_once(' ')?;
            let (root, source) = rest.split_once(' ')?;
            let size = TreeSize::new(size.parse().ok()?)?;
            let root = Hash::from_slice(&hex::decode(root).ok()?)?;
            Some(Floor { head: TreeHead { size, root }, source: source.to_owned() })
        });
        let floors = floors.collect::<Option<Vec<_>>>()?;
        Some(Self { floors })
    }

    /// Reads the mark of `directory`; `None` if it was not restored.
    ///
    /// # Errors
    /// If it does not read back.
    pub fn read(directory: &DataDirectory) -> Result<Option<Self>, DirectoryError> {
        let text = DataDirectory::mark(directory.path())?;
        let damaged = || DataDirectory::damaged_mark(directory.path());
        text.map(|text| Self::parse(&text).ok_or_else(damaged)).transpose()
    }

    /// Adds what the witnesses remember, and writes it down. Returns the witnesses of which it is
    /// not known what they remember: those that did not answer, and those that answered with
    /// something that is not the log's.
    fn hear<'a>(
        &mut self,
        heard: &'a Heard,
        directory: &DataDirectory,
        identity: &LogIdentity,
    ) -> Result<Vec<&'a str>, DirectoryError> {
        let mut unknown: Vec<&str> = heard.silent.iter().map(String::as_str).collect();
        let mut is_new = false;
        for (witness, note) in &heard.notes {
            match own_head(note, identity) {
                Ok(head) => is_new |= self.add(head, &format!("the witness {witness}")),
                Err(_) => unknown.push(witness),
            }
        }
        if is_new {
            directory.put_mark(&self.to_text())?;
        }
        Ok(unknown)
    }
}

/// The head of a checkpoint with the log's own Ed25519 signature.
///
/// # Errors
/// If it is not one of this log.
pub fn own_head(note: &[u8], identity: &LogIdentity) -> Result<TreeHead, OpenCheckpointError> {
    let keys = [identity.note_key().clone()];
    Ok(open_checkpoint(note, identity.origin(), &keys)?.head())
}

/// Where a directory with this mark stands, after the witnesses were asked.
///
/// # Errors
/// [`StandingError`].
pub fn stand(
    mark: &mut Mark,
    heard: &Heard,
    directory: &DataDirectory,
    identity: &LogIdentity,
    store: &Store,
    anchor: &Anchor,
) -> Result<Standing, StandingError> {
    let unknown = mark.hear(heard, directory, identity)?;
    let path = directory.shard(identity.tree_id());
    let source = format!("the anchor {}", anchor.path().display());
    let anchored = Floor { head: anchor.head(), source };
    let stored = store.committed()?.head;
    let mut highest: Option<&Floor> = None;
    for floor in mark.floors.iter().chain([&anchored]) {
        if floor.head.size > stored.size {
            highest = highest.filter(|high| high.head.size >= floor.head.size).or(Some(floor));
        } else {
            check_floor(store, floor, path.clone())?;
        }
    }
    Ok(match highest {
        Some(Floor { head, source }) => Standing::Behind {
            missing: head.size.get() - stored.size.get(),
            why: format!(
                "it holds {} entries, and {source} says that {} were signed",
                stored.size, head.size
            ),
        },
        None if !unknown.is_empty() => Standing::Behind {
            missing: 0,
            why: format!(
                "it holds {} entries, and these witnesses did not say what they remember: {}. Start it \
                 again when they answer, or take out of the policy who never will",
                stored.size,
                unknown.join(", ")
            ),
        },
        None => Standing::Complete,
    })
}

/// Whether the stored tree is the one that was signed at `floor`, which it has reached.
///
/// # Errors
/// [`StandingError`].
pub fn check_floor(store: &Store, floor: &Floor, path: PathBuf) -> Result<(), StandingError> {
    let stored = store.head_at(floor.head.size)?.root;
    if stored == floor.head.root {
        return Ok(());
    }
    Err(StandingError::Fork(Box::new(Fork { path, floor: floor.clone(), stored })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_these_golden_bytes() {
        let head = TreeHead { size: TreeSize::new(40).unwrap(), root: Hash([0xab; 32]) };
        let mut mark = Mark::default();
        assert!(mark.add(head, "a checkpoint\ngiven by hand"));
        assert!(!mark.add(head, "somebody else"));
        let root = "ab".repeat(32);
        let golden = format!("treering restored 1\nfloor 40 {root} a checkpoint given by hand\n");
        assert_eq!(mark.to_text(), golden);
        assert_eq!(Mark::parse(&golden), Some(mark));
        for wrong in ["", "treering restored 2\n", "treering restored 1\nfloor 40 ab me\n"] {
            assert_eq!(Mark::parse(wrong), None, "{wrong}");
        }
    }
}
