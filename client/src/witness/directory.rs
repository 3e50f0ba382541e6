//! The state of a witness: one directory, held by one process.
//!
//! ```text
//! DIR/witness                       who it is: the public keys; written once
//! DIR/origins                       the hash of every origin that was ever cosigned
//! DIR/<hash>.checkpoint             the newest cosigned checkpoint of the origin with this SHA-256
//! DIR/<hash>.checkpoint.new         the next one, while it is written; never read
//! DIR/evidence/<...>.evidence       what logs said that does not go together
//! ```
//!
//! A checkpoint is replaced in this order: new file, sync, rename, sync of the directory; and at
//! first contact a line in `origins`, synced, after that. If any step fails, the caller must give
//! no signature away. Then it does not matter whether the old or the new checkpoint is found later:
//! a checkpoint whose cosignature nobody has binds the witness to nothing.
//!
//! A process that died between the rename and the sync leaves a checkpoint that can be read and is
//! not on disk yet. So the file system is synced before anything is read at start. And the system
//! reports only once that a directory could not be synced, so after that nothing is written until
//! the next start, when what is there is read anew.
//!
//! Invariants: what is read at start is whole and cosigned with the keys in `witness`; an origin in
//! `origins` has its checkpoint; the directory is locked while the process lives, and all writing
//! goes through its open handle, so that a directory put in its place later is not written to. What
//! does not hold is refused, with what to do, and never taken for a new start.
//! Out of scope: noticing that the whole directory is a copy, or older than it was. No file in it
//! could tell.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};
use treering_proto::checkpoint::{OpenCheckpointError, open_checkpoint};
use treering_proto::encoding::from_hex_lower;
use treering_proto::hash::{Hash, sha256};
use treering_proto::note::{NOTE_LEN_MAX, NoteKey, NoteKeyKind, OpenError};

use super::cosigned::Cosigned;
use super::limits::ORIGINS_MAX;

mod error;

pub use error::DirectoryError;

/// A state directory that is locked.
#[derive(Debug)]
pub struct WitnessDirectory {
    path: PathBuf,
    handle: File,
    identity: Vec<NoteKey>,
    origins: Mutex<Origins>,
    /// Whether the directory could be synced each time. Held during the sync: of two at once, only
    /// one would hear that both failed.
    synced: Mutex<bool>,
}

/// The `origins` file. Lines have one length and are written at a known place, so that a line that
/// was cut off is written over.
#[derive(Debug)]
struct Origins {
    file: File,
    /// Where the next line goes.
    end: u64,
    known: HashSet<Hash>,
}

impl WitnessDirectory {
    /// Makes the state of a new witness in a directory that is empty or not there yet, and locks
    /// it.
    ///
    /// # Errors
    /// Any [`DirectoryError`].
    pub fn create(path: &Path, identity: &[NoteKey]) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::Io { path: path.to_owned(), source };
        make_empty(path)?;
        let handle = lock(path)?;
        make_empty(path)?;
        let evidence = rustix::fs::mkdirat(&handle, EVIDENCE, Mode::RWXU);
        evidence.map_err(|error| failed(error.into()))?;
        replace(&handle, ORIGINS, ORIGINS_HEADER.as_bytes()).map_err(failed)?;
        // Last: what has it is complete.
        replace(&handle, IDENTITY, format_identity(identity).as_bytes()).map_err(failed)?;
        Self::of_handle(path, handle)
    }

    /// Opens and locks a state directory.
    ///
    /// # Errors
    /// Any [`DirectoryError`] but `NotEmpty`.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let handle = lock(path)?;
        sync_all(&handle)
            .map_err(|source| DirectoryError::NotSynced { path: path.to_owned(), source })?;
        Self::of_handle(path, handle)
    }

    /// The public keys of the witness whose state this is; the Ed25519 key first.
    pub fn identity(&self) -> &[NoteKey] {
        &self.identity
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an ML-DSA-44 key to a witness that has none. What was cosigned stays.
    ///
    /// # Errors
    /// [`DirectoryError::Io`], and [`DirectoryError::Identity`] when the keys would make no sense.
    pub fn add_key(&mut self, key: NoteKey) -> Result<(), DirectoryError> {
        let path = self.path.join(IDENTITY);
        let text = format_identity(&[&self.identity[..], &[key]].concat());
        let identity = parse_identity(text.as_bytes());
        let identity = identity.ok_or(DirectoryError::Identity { path: path.clone() })?;
        replace(&self.handle, IDENTITY, text.as_bytes())
            .map_err(|source| DirectoryError::Io { path, source })?;
        self.identity = identity;
        Ok(())
    }

    /// Every checkpoint, all of them good. Origins whose line was not written before a crash get it
    /// now.
    ///
    /// # Errors
    /// Any [`DirectoryError`] about checkpoints.
    pub fn load(&self) -> Result<Vec<Cosigned>, DirectoryError> {
        let cosigned = read_all(&self.path, &self.identity)?;
        let here: HashSet<Hash> = cosigned.iter().map(origin_hash).collect();
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = origins.known.iter().find(|hash| !here.contains(hash)) {
            return Err(DirectoryError::Missing { path: self.path.join(file_name(*gone)) });
        }
        for hash in here {
            let path = || self.path.join(ORIGINS);
            let remembered = origins.remember(hash);
            remembered.map_err(|source| DirectoryError::Io { path: path(), source })?;
        }
        drop(origins);
        self.check_in_place()?;
        Ok(cosigned)
    }

    /// Whether what is at the path is what is locked: reading goes by the path.
    fn check_in_place(&self) -> Result<(), DirectoryError> {
        let failed = |source| DirectoryError::Io { path: self.path.clone(), source };
        let there = std::fs::metadata(&self.path).map_err(failed)?;
        let locked = self.handle.metadata().map_err(failed)?;
        if (there.dev(), there.ino()) != (locked.dev(), locked.ino()) {
            return Err(DirectoryError::Swapped { path: self.path.clone() });
        }
        Ok(())
    }

    /// Whether the lines of the log in a stored checkpoint verify with `keys`. The cosignature
    /// covers the text only.
    ///
    /// # Errors
    /// [`DirectoryError::Checkpoint`].
    pub fn check_log_lines(
        &self,
        cosigned: &Cosigned,
        keys: &[NoteKey],
    ) -> Result<(), DirectoryError> {
        let opened = open_checkpoint(cosigned.note().as_bytes(), cosigned.origin(), keys);
        match opened {
            Err(OpenCheckpointError::Open(why @ OpenError::InvalidSignature { .. })) => {
                let path = self.path.join(file_name(origin_hash(cosigned)));
                Err(DirectoryError::Checkpoint { path, why: why.into() })
            }
            // The keys may have been replaced since.
            _ => Ok(()),
        }
    }

    /// Stores `cosigned` in the place of the checkpoint before it; durable when it returns. For one
    /// origin, one call at a time.
    ///
    /// # Errors
    /// Those of the system. Then no signature of `cosigned` may be given away.
    pub fn keep(&self, cosigned: &Cosigned) -> io::Result<()> {
        let hash = origin_hash(cosigned);
        if !*self.synced.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(io::Error::other(NOT_SYNCED));
        }
        put(&self.handle, &file_name(hash), cosigned.note().as_bytes())?;
        self.sync()?;
        self.origins.lock().unwrap_or_else(PoisonError::into_inner).remember(hash)
    }

    /// Writes a new file of evidence; `Ok(false)` if one of this name is there already.
    ///
    /// # Errors
    /// Those of the system.
    pub fn keep_evidence(&self, name: &str, text: &str) -> io::Result<bool> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let path = format!("{EVIDENCE}/{name}");
        let mut file = match rustix::fs::openat(&self.handle, &path, flags, PRIVATE) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::EXIST) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if let Err(error) = written {
            // Half a file must not stand for the whole one.
            let _ = rustix::fs::unlinkat(&self.handle, path, AtFlags::empty());
            return Err(error);
        }
        File::open(self.evidence_path())?.sync_all()?;
        Ok(true)
    }

    /// Where the files of evidence are.
    pub fn evidence_path(&self) -> PathBuf {
        self.path.join(EVIDENCE)
    }

    /// Makes renames durable.
    fn sync(&self) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if !*synced {
            return Err(io::Error::other(NOT_SYNCED));
        }
        self.handle.sync_all().inspect_err(|_| *synced = false)
    }

    fn of_handle(path: &Path, handle: File) -> Result<Self, DirectoryError> {
        let identity = read_identity(path)?;
        let origins_path = path.join(ORIGINS);
        let origins = Origins::open(&handle, &origins_path)?;
        let (path, origins) = (path.to_owned(), Mutex::new(origins));
        Ok(Self { path, handle, identity, origins, synced: Mutex::new(true) })
    }
}

impl Origins {
    fn open(handle: &File, path: &Path) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::Io { path: path.to_owned(), source };
        let damaged = || DirectoryError::Origins { path: path.to_owned() };
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::openat(handle, ORIGINS, flags, Mode::empty());
        let file = File::from(opened.map_err(|error| match error {
            rustix::io::Errno::NOENT => DirectoryError::Missing { path: path.to_owned() },
            error => failed(error.into()),
        })?);
        let mut text = Vec::new();
        let limit = (ORIGINS_HEADER.len() + ORIGINS_MAX * ORIGIN_LINE_LEN) as u64;
        (&file).take(limit).read_to_end(&mut text).map_err(failed)?;
        let lines = text.strip_prefix(ORIGINS_HEADER.as_bytes()).ok_or_else(damaged)?;
        let mut known = HashSet::new();
        let mut end = ORIGINS_HEADER.len() as u64;
        // The rest of a division is a line that was cut off: its origin was not answered.
        for line in lines.chunks_exact(ORIGIN_LINE_LEN) {
            let hash = line.strip_suffix(b"\n").and_then(|hex| str::from_utf8(hex).ok());
            known.insert(hash.and_then(parse_hash).ok_or_else(damaged)?);
            end += ORIGIN_LINE_LEN as u64;
        }
        Ok(Self { file, end, known })
    }

    fn remember(&mut self, origin: Hash) -> io::Result<()> {
        if self.known.contains(&origin) {
            return Ok(());
        }
        self.file.write_all_at(format!("{origin}\n").as_bytes(), self.end)?;
        self.file.sync_all()?;
        self.end += ORIGIN_LINE_LEN as u64;
        self.known.insert(origin);
        Ok(())
    }
}

/// Makes the directory at `path`, durably, if it is not there.
///
/// # Errors
/// [`DirectoryError::NotEmpty`], [`DirectoryError::Io`].
pub fn make_empty(path: &Path) -> Result<(), DirectoryError> {
    let failed = |source| DirectoryError::Io { path: path.to_owned(), source };
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|level| !level.as_os_str().is_empty() && !level.exists())
        .collect();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    for made in missing {
        sync_parent(made).map_err(failed)?;
    }
    for entry in std::fs::read_dir(path).map_err(failed)? {
        // A file system of its own has this directory from the start.
        if entry.map_err(failed)?.file_name() != "lost+found" {
            return Err(DirectoryError::NotEmpty { path: path.to_owned() });
        }
    }
    Ok(())
}

/// Makes it durable that `path` is there.
///
/// # Errors
/// Those of the system.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The public keys of the witness whose state is at `path`, without locking it.
///
/// # Errors
/// [`DirectoryError::NotAState`], [`DirectoryError::Identity`], [`DirectoryError::Io`].
pub fn read_identity(path: &Path) -> Result<Vec<NoteKey>, DirectoryError> {
    let file = path.join(IDENTITY);
    let bytes = match read_bounded(&file, IDENTITY_LEN_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DirectoryError::NotAState { path: path.to_owned() });
        }
        Err(source) => return Err(DirectoryError::Io { path: file, source }),
    };
    parse_identity(&bytes).ok_or(DirectoryError::Identity { path: file })
}

/// Every checkpoint in the state at `path`, cosigned with `identity`, without locking it.
///
/// # Errors
/// [`DirectoryError::Checkpoint`], [`DirectoryError::Misnamed`], [`DirectoryError::TooMany`],
/// [`DirectoryError::Io`].
pub fn read_all(path: &Path, identity: &[NoteKey]) -> Result<Vec<Cosigned>, DirectoryError> {
    let failed = |path: &Path, source| DirectoryError::Io { path: path.to_owned(), source };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| failed(path, error))? {
        let file = entry.map_err(|error| failed(path, error))?.path();
        if file.extension().is_none_or(|extension| extension != CHECKPOINT) {
            continue;
        }
        if all.len() == ORIGINS_MAX {
            return Err(DirectoryError::TooMany { path: path.to_owned() });
        }
        let bytes = read_bounded(&file, NOTE_LEN_MAX).map_err(|error| failed(&file, error))?;
        let cosigned = Cosigned::parse(&bytes, identity)
            .map_err(|why| DirectoryError::Checkpoint { path: file.clone(), why })?;
        if file.file_name().is_none_or(|name| *name != *file_name(origin_hash(&cosigned))) {
            return Err(DirectoryError::Misnamed { path: file });
        }
        all.push(cosigned);
    }
    Ok(all)
}

impl Drop for WitnessDirectory {
    /// Gives the lock back at once. Closing alone does not, where another thread is starting a
    /// program at this moment: until that runs it holds the same open file.
    fn drop(&mut self) {
        let _ = self.handle.unlock();
    }
}

/// What names an origin in files and addresses.
pub fn origin_hash(cosigned: &Cosigned) -> Hash {
    sha256(cosigned.origin().as_bytes())
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let opened = File::open(path);
    let handle = opened.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DirectoryError::NotAState { path: path.to_owned() },
        _ => DirectoryError::Io { path: path.to_owned(), source },
    })?;
    match handle.try_lock() {
        Ok(()) => Ok(handle),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(DirectoryError::Locked { path: path.to_owned() })
        }
        Err(std::fs::TryLockError::Error(source)) => {
            Err(DirectoryError::Io { path: path.to_owned(), source })
        }
    }
}

/// Replaces the file `name`, so that after any crash it holds the old bytes or the new ones.
fn replace(handle: &File, name: &str, bytes: &[u8]) -> io::Result<()> {
    put(handle, name, bytes)?;
    handle.sync_all()
}

/// As [`replace`], but which of them it is becomes certain when the directory is synced.
fn put(handle: &File, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{name}.new");
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = File::from(rustix::fs::openat(handle, &new, flags, PRIVATE)?);
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(rustix::fs::renameat(handle, &new, handle, name)?)
}

/// Puts on disk whatever an earlier process left in memory: every file, and the directory.
fn sync_all(handle: &File) -> io::Result<()> {
    rustix::fs::syncfs(handle)?;
    handle.sync_all()
}

fn read_bounded(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other("longer than any such file"));
    }
    Ok(bytes)
}

fn format_identity(keys: &[NoteKey]) -> String {
    let mut text = format!("{IDENTITY_HEADER}\n");
    for key in keys {
        text.push_str(&format!("{}\n", key.to_vkey()));
    }
    text
}

/// An Ed25519 key, and an ML-DSA-44 key of the same name or none.
fn parse_identity(bytes: &[u8]) -> Option<Vec<NoteKey>> {
    let text = str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let vkeys = text.strip_prefix(IDENTITY_HEADER)?.strip_prefix('\n')?.split('\n');
    let keys: Vec<NoteKey> = vkeys.map(NoteKey::parse_vkey).collect::<Result<_, _>>().ok()?;
    let kinds: Vec<NoteKeyKind> = keys.iter().map(NoteKey::kind).collect();
    let known = matches!(
        kinds[..],
        [NoteKeyKind::Cosignature] | [NoteKeyKind::Cosignature, NoteKeyKind::MlDsa44]
    );
    let one_name = keys.iter().all(|key| key.name() == keys[0].name());
    (known && one_name).then_some(keys)
}

fn parse_hash(hex: &str) -> Option<Hash> {
    from_hex_lower(hex).and_then(|bytes| Hash::from_slice(&bytes))
}

fn file_name(origin: Hash) -> String {
    format!("{origin}.{CHECKPOINT}")
}

/// The name of the directory of evidence in a state directory.
pub const EVIDENCE: &str = "evidence";

const IDENTITY: &str = "witness";
const IDENTITY_HEADER: &str = "treering.witness/v1";
const ORIGINS: &str = "origins";
const ORIGINS_HEADER: &str = "treering.witness-origins/v1\n";
const CHECKPOINT: &str = "checkpoint";

/// Why nothing is written any more.
const NOT_SYNCED: &str =
    "the state directory could not be synced; see to the disk, then start the witness again";

/// Two vkeys and the header.
const IDENTITY_LEN_MAX: usize = 16 << 10;

/// A hash in hexadecimal and a line feed.
const ORIGIN_LINE_LEN: usize = 2 * Hash::LEN + 1;

/// Nobody else's business.
const PRIVATE: Mode = Mode::from_raw_mode(0o600);

#[cfg(test)]
mod tests;
