//! What this client has seen: the last verified checkpoint of each log, one file for each origin
//! and log key.
//!
//! ```text
//! <state>/log.example+1a2b3c4d.checkpoint     the note, byte for byte, with every signature
//! <state>/log.example+1a2b3c4d.lock           held while the file above is replaced
//! <state>/log.example+1a2b3c4d.fork-size.1.evidence
//! <state>/<hash>.unlogged                     a signature that was sent and is not proven yet
//! ```
//!
//! Invariants: a checkpoint is replaced only by one whose author saw the present one (compare and
//! swap under a lock), and the file is complete or absent after a power loss. Evidence is never
//! overwritten. Out of scope: whether the new checkpoint extends the old one (see
//! [`crate::consistency`]).

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use treering_proto::bundle::BUNDLE_LEN_MAX;
use treering_proto::hash::{Hash, sha256};

/// The longest checkpoint file read: the longest note there is.
const CHECKPOINT_LEN_MAX: u64 = 1 << 20;

/// Evidence files of one kind and log; more are the same story, and must not fill a disk.
const EVIDENCE_COUNT_MAX: u32 = 100;

/// The mode of every file of the state.
const PRIVATE_FILE: u32 = 0o600;

/// File names end at 255 bytes on Linux.
const NAME_LEN_MAX: usize = 180;

/// A directory of checkpoints.
#[derive(Clone, Debug)]
pub struct StateDirectory {
    path: PathBuf,
}

/// Which log a checkpoint is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogName {
    /// The origin line.
    pub origin: String,
    /// The first four bytes of the key id.
    pub key_id: [u8; 4],
}

/// Why the state could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory cannot be written, so nothing is remembered.
    #[error("{} cannot be written: {source}", path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process moved the checkpoint in the meantime.
    #[error("another process has replaced the remembered checkpoint")]
    Conflict,
    /// There are `EVIDENCE_COUNT_MAX` files.
    #[error("there are {EVIDENCE_COUNT_MAX} evidence files of this kind already")]
    TooMuchEvidence,
}

impl StateDirectory {
    /// The directory at `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The remembered note; `None` at first contact.
    ///
    /// # Errors
    /// [`StateError::Read`].
    pub fn load(&self, log: &LogName) -> Result<Option<Vec<u8>>, StateError> {
        read_bounded(&self.file(log, "checkpoint"), CHECKPOINT_LEN_MAX)
    }

    /// Whether the origin of `logs` is remembered under a key that is none of theirs.
    pub fn knows_other_key(&self, logs: &[LogName]) -> bool {
        let Some(first) = logs.first() else { return false };
        let own: Vec<PathBuf> = logs.iter().map(|log| self.file(log, "checkpoint")).collect();
        let prefix = format!("{}+", safe_name(&first.origin));
        let Ok(entries) = fs::read_dir(&self.path) else { return false };
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_checkpoint = name.starts_with(&prefix) && name.ends_with(".checkpoint");
            is_checkpoint && !own.contains(&entry.path())
        })
    }

    /// Replaces `seen`, which is what the caller loaded, by `note`; durable when it returns.
    ///
    /// # Errors
    /// [`StateError::Conflict`] when something else is there now; [`StateError::ReadOnly`],
    /// [`StateError::Read`] and [`StateError::Write`].
    pub fn swap(&self, log: &LogName, seen: Option<&[u8]>, note: &[u8]) -> Result<(), StateError> {
        let read_only = |source| StateError::ReadOnly { path: self.path.clone(), source };
        self.make().map_err(read_only)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE_FILE)
            .open(self.file(log, "lock"))
            .map_err(read_only)?;
        lock.lock().map_err(read_only)?;
        let path = self.file(log, "checkpoint");
        if read_bounded(&path, CHECKPOINT_LEN_MAX)?.as_deref() != seen {
            return Err(StateError::Conflict);
        }
        write_private(&path, note).map_err(|source| StateError::Write { path, source })
    }

    /// Keeps evidence in a new file and says where.
    ///
    /// # Errors
    /// [`StateError::ReadOnly`], [`StateError::Write`], [`StateError::TooMuchEvidence`].
    pub fn keep_evidence(
        &self,
        log: &LogName,
        kind: &str,
        text: &str,
    ) -> Result<PathBuf, StateError> {
        let read_only = |source| StateError::ReadOnly { path: self.path.clone(), source };
        self.make().map_err(read_only)?;
        for number in 1..=EVIDENCE_COUNT_MAX {
            let path = self.file(log, &format!("{kind}.{number}.evidence"));
            let mut options = OpenOptions::new();
            let opened = options.write(true).create_new(true).mode(PRIVATE_FILE).open(&path);
            let mut file = match opened {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(read_only(error)),
            };
            let written = file
                .write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
                .and_then(|()| sync_directory(&self.path));
            return match written {
                Ok(()) => Ok(path),
                Err(source) => Err(StateError::Write { path, source }),
            };
        }
        Err(StateError::TooMuchEvidence)
    }

    /// The signature kept under `hash`, a bundle, and where it is.
    ///
    /// # Errors
    /// [`StateError::Read`].
    pub fn load_unlogged(&self, hash: Hash) -> Result<Option<Vec<u8>>, StateError> {
        read_bounded(&self.unlogged(hash), BUNDLE_LEN_MAX as u64)
    }

    /// Keeps a signature, a bundle, before it is sent; durable when it returns.
    ///
    /// # Errors
    /// [`StateError::ReadOnly`], [`StateError::Write`].
    pub fn keep_unlogged(&self, hash: Hash, bundle: &[u8]) -> Result<(), StateError> {
        let read_only = |source| StateError::ReadOnly { path: self.path.clone(), source };
        self.make().map_err(read_only)?;
        let path = self.unlogged(hash);
        write_private(&path, bundle).map_err(|source| StateError::Write { path, source })
    }

    /// Removes what [`StateDirectory::keep_unlogged`] kept. What cannot be removed is harmless: it
    /// is sent again when the same files are signed again, and the log has it already.
    pub fn forget_unlogged(&self, hash: Hash) {
        let _ = fs::remove_file(self.unlogged(hash));
    }

    /// Where the signature under `hash` is kept.
    pub fn unlogged(&self, hash: Hash) -> PathBuf {
        self.path.join(format!("{hash}.unlogged"))
    }

    /// What this client talked to is nobody else's business.
    fn make(&self) -> io::Result<()> {
        make_private(&self.path)
    }

    fn file(&self, log: &LogName, suffix: &str) -> PathBuf {
        let key_id = hex::encode(log.key_id);
        self.path.join(format!("{}+{key_id}.{suffix}", safe_name(&log.origin)))
    }
}

/// Replaces the file at `path` so that after any crash it holds the old bytes or the new ones. An
/// existing file keeps its mode; that of a new one is the caller's umask's choice.
///
/// # Errors
/// Those of the system.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let kept = fs::metadata(path).ok().map(|metadata| metadata.permissions());
    replace(path, bytes, Permissions::from_mode(0o666), kept)
}

/// Makes the directory at `path`, with those above it, that only the caller may read.
///
/// # Errors
/// Those of the system.
pub fn make_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The same as [`write_atomically`] for what only the caller may read.
///
/// # Errors
/// Those of the system.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, Permissions::from_mode(PRIVATE_FILE), None)
}

fn replace(
    path: &Path,
    bytes: &[u8],
    new: Permissions,
    kept: Option<Permissions>,
) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    let mut temporary = builder.prefix(".treering-").permissions(new).tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    if let Some(kept) = kept {
        temporary.as_file().set_permissions(kept)?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    sync_directory(directory)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StateError> {
    let failed = |source| StateError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(failed(io::Error::other("longer than any file of the state")));
    }
    Ok(Some(bytes))
}

/// `origin` as a file name: harmless characters stay, others become `%` and hexadecimal; long ones
/// become a hash.
pub fn safe_name(origin: &str) -> String {
    let mut name = String::new();
    for byte in origin.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte as char),
            b'.' if !name.is_empty() => name.push('.'),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    if name.len() > NAME_LEN_MAX { sha256(origin.as_bytes()).to_hex() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(origin: &str) -> LogName {
        LogName { origin: origin.to_owned(), key_id: [1, 2, 3, 0xff] }
    }

    #[test]
    fn a_checkpoint_is_replaced_only_by_who_saw_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let state = StateDirectory::new(dir.path().join("new/deep"));
        let log = log("log.example/a");
        assert_eq!(state.load(&log).unwrap(), None);
        state.swap(&log, None, b"one").unwrap();
        assert!(matches!(state.swap(&log, None, b"two"), Err(StateError::Conflict)));
        assert!(matches!(state.swap(&log, Some(b"zero"), b"two"), Err(StateError::Conflict)));
        state.swap(&log, Some(b"one"), b"two").unwrap();
        assert_eq!(state.load(&log).unwrap().unwrap(), b"two");
        assert!(state.path().join("log.example%2fa+010203ff.checkpoint").exists());
    }

    #[test]
    fn of_many_writers_that_saw_the_same_one_wins() {
        let dir = tempfile::TempDir::new().unwrap();
        let state = StateDirectory::new(dir.path().to_owned());
        let wins = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8u8)
                .map(|i| {
                    let state = &state;
                    scope.spawn(move || state.swap(&log("a"), None, &[i]).is_ok())
                })
                .collect();
            writers
                .into_iter()
                .filter(|_| true)
                .map(|w| w.join().unwrap())
                .filter(|won| *won)
                .count()
        });
        assert_eq!(wins, 1);
    }

    #[test]
    fn a_second_key_of_one_origin_is_noticed() {
        let dir = tempfile::TempDir::new().unwrap();
        let state = StateDirectory::new(dir.path().to_owned());
        state.swap(&log("a"), None, b"x").unwrap();
        let other = |origin: &str| LogName { origin: origin.to_owned(), key_id: [9; 4] };
        assert!(!state.knows_other_key(&[log("a")]));
        assert!(!state.knows_other_key(&[other("a"), log("a")]));
        assert!(state.knows_other_key(&[other("a")]));
        assert!(!state.knows_other_key(&[other("b")]));
    }

    #[test]
    fn evidence_is_never_overwritten() {
        let dir = tempfile::TempDir::new().unwrap();
        let state = StateDirectory::new(dir.path().to_owned());
        let first = state.keep_evidence(&log("a"), "fork-size", "one").unwrap();
        let second = state.keep_evidence(&log("a"), "fork-size", "two").unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::read_to_string(first).unwrap(), "one");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_read_only() {
        let dir = tempfile::TempDir::new().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        let state = StateDirectory::new(dir.path().join("file/state"));
        let error = state.swap(&log("a"), None, b"x").unwrap_err();
        assert!(matches!(error, StateError::ReadOnly { .. }), "{error}");
    }

    #[test]
    fn origins_cannot_leave_the_directory() {
        for origin in ["../../etc", "..", ".", "/", "a/../b"] {
            let name = safe_name(origin);
            assert!(!name.contains('/') && !name.starts_with('.'), "{name}");
        }
        assert_eq!(safe_name(&"x".repeat(300)).len(), 64);
    }

    #[test]
    fn the_state_is_its_owners_alone() {
        let dir = tempfile::TempDir::new().unwrap();
        let state = StateDirectory::new(dir.path().join("state"));
        state.swap(&log("a"), None, b"x").unwrap();
        state.keep_evidence(&log("a"), "fork-size", "x").unwrap();
        state.keep_unlogged(sha256(b"x"), b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state.path()), 0o700);
        let files: Vec<_> =
            fs::read_dir(state.path()).unwrap().map(|f| f.unwrap().path()).collect();
        assert_eq!(files.len(), 4);
        for path in files {
            assert_eq!(mode(&path), 0o600, "{path:?}");
        }
    }

    #[test]
    fn a_new_file_has_the_mode_of_any_other_new_file() {
        let dir = tempfile::TempDir::new().unwrap();
        let (ours, other) = (dir.path().join("ours"), dir.path().join("other"));
        write_atomically(&ours, b"x").unwrap();
        fs::write(&other, b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&other));
    }

    #[test]
    fn replacing_keeps_the_mode_and_leaves_no_temporary_file() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("model.sig");
        fs::write(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
