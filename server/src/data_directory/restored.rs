//! The directory of a log that was restored: how it is made, and the mark that it carries
//! ([`crate::restored`]).
//!
//! Invariants: the mark is there before anything else and `FORMAT` after everything else, so that
//! an unfinished restore is known as one, is no log, and can be done again; nothing that we did not
//! make is removed.

use std::path::Path;
use std::{fs, io};

use std::os::unix::fs::DirBuilderExt as _;

use super::{DataDirectory, DirectoryError, check_outside, failed, lock, write};
use crate::anchor::{AnchorId, sync_directory_of};

/// The mark of a directory that was restored.
const MARK: &str = "restored";

/// What an unfinished restore may have left, and a repeated one removes.
const LEFT_OVERS: [&str; 16] = [
    "shards",
    "keys",
    "owner",
    "owner.new",
    "url",
    "url.new",
    "identity",
    "identity.new",
    "ml-dsa.vkey",
    "ml-dsa.new",
    "timestamp-chain.pem",
    "timestamp-chain.new",
    "ballast",
    "FORMAT.new",
    "restored.new",
    "LOCK",
];

impl DataDirectory {
    /// Makes the directory of a log that is restored, with its mark, and locks it. What an earlier
    /// restore left that did not come to its end is removed.
    ///
    /// # Errors
    /// [`DirectoryError`]; a directory that holds anything else is left alone.
    pub fn create_restored(
        path: &Path,
        anchor: &Path,
        id: AnchorId,
        mark: &str,
    ) -> Result<Self, DirectoryError> {
        if !path.exists() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(failed(path))?;
        }
        check_unfinished(path, &entry_names(path)?)?;
        let path = path.canonicalize().map_err(failed(path))?;
        check_outside(&path, anchor)?;
        let lock = lock(&path)?;
        // Whoever held the lock until now may have finished.
        let names = entry_names(&path)?;
        check_unfinished(&path, &names)?;
        // The mark first: whatever stands beside it and is no log was made by us.
        write(&path.join(MARK), mark.as_bytes())?;
        for name in names.iter().filter(|name| *name != MARK && *name != "LOCK") {
            let old = path.join(name);
            let removed =
                if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) };
            removed.map_err(failed(&old))?;
        }
        Self::furnish(path, anchor, id, lock)
    }

    /// The mark of a directory that was restored, if it is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn mark(path: &Path) -> Result<Option<String>, DirectoryError> {
        let path = path.join(MARK);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DirectoryError::Io { path, source }),
        }
    }

    /// Writes the mark again.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_mark(&self, text: &str) -> Result<(), DirectoryError> {
        write(&self.path.join(MARK), text.as_bytes())
    }

    /// Takes the mark away: from now on the directory is like any other.
    ///
    /// # Errors
    /// If it cannot be removed durably.
    pub fn remove_mark(&self) -> Result<(), DirectoryError> {
        let path = self.path.join(MARK);
        fs::remove_file(&path).and_then(|()| sync_directory_of(&path)).map_err(failed(&path))
    }

    /// The error for a mark that does not read back.
    pub fn damaged_mark(path: &Path) -> DirectoryError {
        DirectoryError::Damaged { path: path.join(MARK) }
    }
}

/// Whether nothing is there but what an unfinished restore has left.
fn check_unfinished(path: &Path, names: &[String]) -> Result<(), DirectoryError> {
    let is_ours = |name: &String| name == MARK || LEFT_OVERS.contains(&name.as_str());
    let is_first = |name: &String| name == "LOCK" || name == "restored.new";
    let is_unfinished = names.iter().all(is_ours)
        && (names.iter().any(|name| name == MARK) || names.iter().all(is_first));
    if is_unfinished { Ok(()) } else { Err(DirectoryError::Exists { path: path.to_owned() }) }
}

fn entry_names(path: &Path) -> Result<Vec<String>, DirectoryError> {
    let entries = fs::read_dir(path).map_err(failed(path))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(failed(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_directory::PublicFiles;

    #[test]
    fn an_unfinished_restore_can_be_done_again_and_nothing_else_is_touched() {
        let top = tempfile::tempdir().unwrap();
        let (data, anchor) = (top.path().join("log"), top.path().join("log.anchor"));
        let again = || DataDirectory::create_restored(&data, &anchor, [1; 16], "mark");
        drop(again().unwrap());
        fs::write(data.join("shards/row"), "row").unwrap();
        let made = again().unwrap();
        assert!(!data.join("shards/row").exists(), "what was left is gone");
        assert!(matches!(again(), Err(DirectoryError::Locked { .. })));
        let public = PublicFiles {
            url: "https://log.corp".to_owned(),
            identity: "document".to_owned(),
            ml_dsa_vkey: None,
            timestamp_chain: None,
        };
        made.finish(&public).unwrap();
        drop(made);
        assert!(matches!(again(), Err(DirectoryError::Exists { .. })), "it is a log now");
        assert_eq!(DataDirectory::mark(&data).unwrap().as_deref(), Some("mark"));
        DataDirectory::open(&data).unwrap().remove_mark().unwrap();
        assert_eq!(DataDirectory::mark(&data).unwrap(), None);

        for name in ["file", "owner"] {
            let other = top.path().join(format!("beside-{name}"));
            fs::create_dir(&other).unwrap();
            fs::write(other.join(name), "mine").unwrap();
            let made = DataDirectory::create_restored(&other, &anchor, [1; 16], "mark");
            assert!(matches!(made, Err(DirectoryError::Exists { .. })), "{name}");
            assert_eq!(fs::read(other.join(name)).unwrap(), b"mine");
        }
    }
}
