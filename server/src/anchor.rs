//! The anchor: a small file outside the data directory that remembers the last head that may be
//! signed.
//!
//! RocksDB cannot notice that its own files were deleted, restored from a backup or copied. The
//! anchor can: it is written after each batch is on disk and before its head is signed, so whatever
//! was ever signed is at or below the anchor.
//!
//! ```text
//! offset 0      slot A   magic 16 | anchor id 16 | sequence u64 | size u64 | root 32 | SHA-256
//! offset 4,096  slot B   the same; the higher sequence counts, the other slot is overwritten next
//! ```
//!
//! Invariants: a slot that is half written fails its checksum, and the other is still whole; the
//! file is held under an exclusive lock while the process lives; a [`Fenced`] head exists only
//! after the anchor holds it on disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use treering_proto::append::RightEdge;
use treering_proto::hash::{Hash, sha256};
use treering_proto::tree::{TreeHead, TreeSize};

use crate::seeded_bug::{self, SeededBug};
use crate::selfcheck::Checked;

/// Names one anchor file; random.
pub type AnchorId = [u8; 16];

/// Why the anchor cannot vouch for a head.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// There is no anchor file.
    #[error(
        "the anchor {path} is missing. It says how far this log has signed; without it a restored backup would fork \
         the log. Put the file back. If it is lost for good, give the newest checkpoint that anyone has: \
         treering-server claim --new-anchor --checkpoint FILE"
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Another process holds it.
    #[error("the anchor {path} is locked: another process serves this log")]
    Locked {
        /// Where it is.
        path: PathBuf,
    },
    /// It exists already.
    #[error("the anchor {path} exists already; it belongs to a log that may still sign")]
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// Neither slot is whole.
    #[error(
        "the anchor {path} is damaged: neither slot has its checksum. Move it away and give the newest checkpoint that anyone has: \
         treering-server claim --new-anchor --checkpoint FILE"
    )]
    Damaged {
        /// Where it is.
        path: PathBuf,
    },
    /// It holds another head than this process wrote last.
    #[error(
        "the anchor {path} holds {found:?} where this process wrote {expected:?}: somebody else writes it"
    )]
    Swapped {
        /// Where it is.
        path: PathBuf,
        /// What this process wrote.
        expected: TreeHead,
        /// What it holds.
        found: TreeHead,
    },
    /// Reading or writing failed.
    #[error("the anchor {path}: {source}")]
    Io {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A checked head that the anchor holds: the only kind that is signed.
#[derive(Debug)]
pub struct Fenced(Checked);

impl Fenced {
    /// The head to sign.
    pub fn head(&self) -> TreeHead {
        self.0.head()
    }

    /// Its right edge.
    pub fn edge(&self) -> &RightEdge {
        self.0.edge()
    }

    /// When its last batch was sequenced, Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.0.time_ms()
    }
}

/// The anchor file, locked and read.
#[derive(Debug)]
pub struct Anchor {
    path: PathBuf,
    file: File,
    id: AnchorId,
    current: Slot,
}

/// What a slot says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    sequence: u64,
    head: TreeHead,
}

impl Anchor {
    /// Makes an anchor that holds `head`. The file must not exist.
    pub fn create(path: &Path, id: AnchorId, head: TreeHead) -> Result<Self, AnchorError> {
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = opened.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => AnchorError::Exists { path: path.to_owned() },
            _ => AnchorError::Io { path: path.to_owned(), source },
        })?;
        let failed = |source| AnchorError::Io { path: path.to_owned(), source };
        lock(&file, path)?;
        let current = Slot { sequence: 1, head };
        file.set_len(2 * SLOT_BYTES).map_err(failed)?;
        for slot in 0..2 {
            file.write_all_at(&encode(id, current), slot * SLOT_BYTES).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        sync_directory_of(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, id, current })
    }

    /// Opens and locks an anchor.
    pub fn open(path: &Path) -> Result<Self, AnchorError> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let file = opened.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => AnchorError::Missing { path: path.to_owned() },
            _ => AnchorError::Io { path: path.to_owned(), source },
        })?;
        lock(&file, path)?;
        let (id, current) = read(&file, path)?;
        Ok(Self { path: path.to_owned(), file, id, current })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The random name that binds a data directory to this file.
    pub fn id(&self) -> AnchorId {
        self.id
    }

    /// The last head that may have been signed.
    pub fn head(&self) -> TreeHead {
        self.current.head
    }

    /// Moves the anchor to a checked head, if it still holds the head before it.
    ///
    /// # Errors
    /// After any error the head must not be signed, and nothing more may be sequenced.
    pub fn fence(&mut self, checked: Checked) -> Result<Fenced, AnchorError> {
        if checked.head() == self.current.head {
            return Ok(Fenced(checked));
        }
        assert!(
            checked.before() == self.current.head,
            "a checked head continues the head that the anchor holds"
        );
        let (_, found) = read(&self.file, &self.path)?;
        let is_ignored = seeded_bug::is(SeededBug::AnchorSwapIgnored)
            || seeded_bug::is(SeededBug::AnchorAfterPublish);
        if found != self.current && !is_ignored {
            let (expected, found) = (self.current.head, found.head);
            return Err(AnchorError::Swapped { path: self.path.clone(), expected, found });
        }
        let next = Slot { sequence: self.current.sequence + 1, head: checked.head() };
        if !seeded_bug::is(SeededBug::AnchorAfterPublish) {
            self.write(next)?;
        }
        self.current = next;
        Ok(Fenced(checked))
    }

    /// Writes what a seeded bug left out; nothing otherwise.
    ///
    /// # Errors
    /// As [`Anchor::fence`].
    pub fn write_what_was_left_out(&self) -> Result<(), AnchorError> {
        match seeded_bug::is(SeededBug::AnchorAfterPublish) {
            true => self.write(self.current),
            false => Ok(()),
        }
    }

    fn write(&self, slot: Slot) -> Result<(), AnchorError> {
        let failed = |source| AnchorError::Io { path: self.path.clone(), source };
        let offset = slot.sequence % 2 * SLOT_BYTES;
        self.file.write_all_at(&encode(self.id, slot), offset).map_err(failed)?;
        self.file.sync_data().map_err(failed)
    }
}

/// Makes the entry of `path` in its directory durable.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn lock(file: &File, path: &Path) -> Result<(), AnchorError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(AnchorError::Locked { path: path.to_owned() })
        }
        Err(std::fs::TryLockError::Error(source)) => {
            Err(AnchorError::Io { path: path.to_owned(), source })
        }
    }
}

fn read(file: &File, path: &Path) -> Result<(AnchorId, Slot), AnchorError> {
    let mut slots = Vec::new();
    for slot in 0..2 {
        let mut bytes = [0; RECORD_LEN];
        match file.read_exact_at(&mut bytes, slot * SLOT_BYTES) {
            Ok(()) => slots.extend(decode(&bytes)),
            Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(source) => return Err(AnchorError::Io { path: path.to_owned(), source }),
        }
    }
    let newest = slots.into_iter().max_by_key(|(_, slot)| slot.sequence);
    newest.ok_or_else(|| AnchorError::Damaged { path: path.to_owned() })
}

fn encode(id: AnchorId, slot: Slot) -> [u8; RECORD_LEN] {
    let mut bytes = [0; RECORD_LEN];
    bytes[..16].copy_from_slice(MAGIC);
    bytes[16..32].copy_from_slice(&id);
    bytes[32..40].copy_from_slice(&slot.sequence.to_be_bytes());
    bytes[40..48].copy_from_slice(&slot.head.size.get().to_be_bytes());
    bytes[48..80].copy_from_slice(slot.head.root.as_bytes());
    let checksum = sha256(&bytes[..80]);
    bytes[80..].copy_from_slice(checksum.as_bytes());
    bytes
}

fn decode(bytes: &[u8; RECORD_LEN]) -> Option<(AnchorId, Slot)> {
    let number = |at: usize| bytes[at..at + 8].try_into().ok().map(u64::from_be_bytes);
    let whole = bytes.starts_with(MAGIC) && sha256(&bytes[..80]).as_bytes()[..] == bytes[80..];
    if !whole {
        return None;
    }
    let id = bytes[16..32].try_into().ok()?;
    let size = TreeSize::new(number(40)?)?;
    let root = Hash::from_slice(&bytes[48..80])?;
    Some((id, Slot { sequence: number(32)?, head: TreeHead { size, root } }))
}

const MAGIC: &[u8; 16] = b"treering anchor1";
const SLOT_BYTES: u64 = 4096;
const RECORD_LEN: usize = 112;

#[cfg(test)]
mod tests {
    use super::*;

    fn head(n: u64) -> TreeHead {
        TreeHead { size: TreeSize::new(n).unwrap(), root: Hash([n as u8; 32]) }
    }

    #[test]
    fn a_record_has_these_golden_bytes() {
        let bytes = encode([3; 16], Slot { sequence: 2, head: head(7) });
        let golden = [
            &b"treering anchor1"[..],
            &[3; 16],
            &[0, 0, 0, 0, 0, 0, 0, 2],
            &[0, 0, 0, 0, 0, 0, 0, 7],
            &[7; 32],
        ]
        .concat();
        assert_eq!(bytes[..80], golden);
        assert_eq!(bytes[80..], sha256(&golden).0);
        assert_eq!(decode(&bytes), Some(([3; 16], Slot { sequence: 2, head: head(7) })));
    }

    #[test]
    fn a_torn_slot_leaves_the_other_one_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("anchor");
        drop(Anchor::create(&path, [3; 16], head(5)).unwrap());
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let newer = encode([3; 16], Slot { sequence: 2, head: head(6) });
        file.write_all_at(&newer, 0).unwrap();
        assert_eq!(Anchor::open(&path).unwrap().head(), head(6));
        file.write_all_at(&[0xff], 60).unwrap();
        assert_eq!(Anchor::open(&path).unwrap().head(), head(5));
        file.write_all_at(&[0xff], SLOT_BYTES + 60).unwrap();
        assert!(matches!(Anchor::open(&path), Err(AnchorError::Damaged { .. })));
    }

    #[test]
    fn an_anchor_is_held_by_one_process_and_never_made_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("anchor");
        assert!(matches!(Anchor::open(&path), Err(AnchorError::Missing { .. })));
        let held = Anchor::create(&path, [3; 16], head(0)).unwrap();
        assert!(matches!(Anchor::open(&path), Err(AnchorError::Locked { .. })));
        assert!(matches!(Anchor::create(&path, [3; 16], head(0)), Err(AnchorError::Exists { .. })));
        drop(held);
        assert_eq!(Anchor::open(&path).unwrap().id(), [3; 16]);
    }
}
