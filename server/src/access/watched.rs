//! A file that people change while the server runs: read again whenever it is another one.
//!
//! Each use asks the file system for device, inode, size and times, and reads again when they
//! differ. A file that changed within the last seconds is read again each time, because times are
//! too coarse to tell two writes of one moment apart.
//!
//! Invariant: fail closed. What is in force is what the file says now; if it cannot be read or
//! makes no sense, nothing is in force until it does, and never what it said before.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// How old the last change must be before the times of the file are believed, in milliseconds.
const SETTLED_MS: u64 = 2_000;

/// What the file says, or why it says nothing.
pub type Content<T> = Result<T, String>;

/// A file and what it said when it was read last.
#[derive(Debug)]
pub struct Watched<T> {
    path: PathBuf,
    kind: Kind,
    parse: fn(&[u8]) -> Content<T>,
    last: Mutex<Option<Last<T>>>,
}

/// What is asked of a file beside its content.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What people call it.
    pub what: &'static str,
    /// Its greatest length in bytes.
    pub len_max: u64,
    /// Whether it may be absent, and then reads as if it were empty.
    pub may_be_absent: bool,
}

#[derive(Debug)]
struct Last<T> {
    stamp: Option<Stamp>,
    content: Arc<Content<T>>,
}

/// What tells one state of a file from the next; `None` when there is no file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl<T> Watched<T> {
    /// Watches `path`; reads nothing yet.
    pub fn new(path: PathBuf, kind: Kind, parse: fn(&[u8]) -> Content<T>) -> Self {
        Self { path, kind, parse, last: Mutex::new(None) }
    }

    /// What the file says at `now_ms`, Unix time.
    pub fn current(&self, now_ms: u64) -> Arc<Content<T>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        if let Some(last) = &*last
            && last.stamp == seen
            && seen.is_none_or(|stamp| stamp.is_settled(now_ms))
        {
            return last.content.clone();
        }
        let (stamp, content) = match self.read() {
            Ok((stamp, bytes)) => (stamp, (self.parse)(&bytes)),
            Err(error) => (seen, Err(error)),
        };
        let content = content.map_err(|why| format!("{}: {why}", self.path.display()));
        self.tell(last.as_ref(), stamp, &content);
        let content = Arc::new(content);
        *last = Some(Last { stamp, content: content.clone() });
        content
    }

    /// The bytes, and the state of the file that they are from.
    fn read(&self) -> Result<(Option<Stamp>, Vec<u8>), String> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.kind.may_be_absent => {
                return Ok((None, Vec::new()));
            }
            Err(error) => return Err(error.to_string()),
        };
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("is not a regular file".to_owned());
        }
        if metadata.mode() & OTHERS_MAY_WRITE != 0 {
            return Err("may be written by everybody; chmod o-w it".to_owned());
        }
        let mut bytes = Vec::new();
        let limited = file.by_ref().take(self.kind.len_max + 1).read_to_end(&mut bytes);
        limited.map_err(|error| error.to_string())?;
        if bytes.len() as u64 > self.kind.len_max {
            return Err(format!("is longer than {} bytes", self.kind.len_max));
        }
        Ok((Some(Stamp::of(&metadata)), bytes))
    }

    /// Says once that a file changed, and whether it is in force.
    fn tell(&self, last: Option<&Last<T>>, stamp: Option<Stamp>, content: &Content<T>) {
        let was_broken = last.map(|last| last.content.as_ref().as_ref().err().cloned());
        let is_same = last.is_some_and(|last| last.stamp == stamp);
        let (what, path) = (self.kind.what, self.path.display());
        match (content, was_broken) {
            (Err(why), broken) if broken != Some(Some(why.clone())) => {
                tracing::error!(%path, why, "the {what} cannot be used: who needs it is refused");
            }
            (Ok(_), Some(_)) if !is_same => tracing::info!(%path, "the {what} changed: in force"),
            _ => {}
        }
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self, now_ms: u64) -> bool {
        let newest_ms = self.modified_ns.max(self.changed_ns) / 1_000_000;
        (i128::from(now_ms) - newest_ms).unsigned_abs() > u128::from(SETTLED_MS)
    }
}

const OTHERS_MAY_WRITE: u32 = 0o002;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KIND: Kind = Kind { what: "test file", len_max: 8, may_be_absent: true };

    fn parse(bytes: &[u8]) -> Content<String> {
        match bytes {
            b"bad" => Err("makes no sense".to_owned()),
            _ => Ok(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    fn now_ms() -> u64 {
        crate::clock::read().wall_ms
    }

    #[test]
    fn each_change_counts_at_once_and_a_bad_one_ends_the_last_good_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let watched = Watched::new(path.clone(), KIND, parse);
        assert_eq!(*watched.current(now_ms()), Ok(String::new()));
        for text in ["one", "two", "bad", "six"] {
            // In place, with the same length, in the same moment.
            fs::write(&path, text).unwrap();
            let current = watched.current(now_ms());
            assert_eq!(
                current.as_ref().clone().ok().as_deref(),
                Some(text).filter(|t| *t != "bad")
            );
        }
        fs::write(&path, "too long!").unwrap();
        assert!(watched.current(now_ms()).is_err());
        fs::write(&path, "fine").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(watched.current(now_ms()).is_err());
        fs::remove_file(&path).unwrap();
        assert_eq!(*watched.current(now_ms()), Ok(String::new()));
        fs::create_dir(&path).unwrap();
        assert!(watched.current(now_ms()).is_err());
    }

    #[test]
    fn a_settled_file_is_read_once_and_its_replacement_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "one").unwrap();
        let watched = Watched::new(path.clone(), KIND, parse);
        let later = now_ms() + 10 * SETTLED_MS;
        let first = watched.current(later);
        assert!(Arc::ptr_eq(&first, &watched.current(later)), "read once");
        let new = directory.path().join("new");
        fs::write(&new, "two").unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(*watched.current(later), Ok("two".to_owned()));
    }

    #[test]
    fn a_file_that_must_exist_is_an_error_when_it_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let kind = Kind { may_be_absent: false, ..KIND };
        let watched = Watched::new(directory.path().join("none"), kind, parse);
        assert!(watched.current(now_ms()).is_err());
    }
}
