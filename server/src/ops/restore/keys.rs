//! The private keys of a log that is restored, and the certificates of its timestamp authority,
//! which stand in the file of its key and in no backup.
//!
//! Invariants: they are in memory before anything is removed; none is left out; they are never read
//! from a directory that is about to be made anew.

use std::io;
use std::path::Path;

use treering_proto::identity::LogIdentity;
use zeroize::Zeroizing;

use super::{LogRecord, RestoreError};
use crate::signer::{KeyFileError, KeyPaths, Signer, read_key, write_key};
use crate::timestamp::{Authority, AuthorityError};

/// The PEM text of each.
pub struct Keys {
    note: Zeroizing<String>,
    v1: Zeroizing<String>,
    ml_dsa: Option<Zeroizing<String>>,
    timestamp: Option<Zeroizing<String>>,
}

impl Keys {
    /// Reads the keys in `directory`, to be restored into `data`.
    ///
    /// # Errors
    /// If one that every log has is missing, or they lie inside `data`.
    pub fn read(directory: &Path, data: &Path) -> Result<Self, RestoreError> {
        let paths = KeyPaths::of(directory);
        if let Ok(data) = data.canonicalize() {
            for path in [directory, &paths.note, &paths.v1, &paths.ml_dsa, &paths.timestamp] {
                if path.canonicalize().is_ok_and(|path| path.starts_with(&data)) {
                    return Err(RestoreError::KeysInside { keys: path.to_owned(), data });
                }
            }
        }
        let (ml_dsa, timestamp) = (read_if_any(&paths.ml_dsa)?, read_if_any(&paths.timestamp)?);
        Ok(Self { note: read_key(&paths.note)?, v1: read_key(&paths.v1)?, ml_dsa, timestamp })
    }

    /// The certificates of the log's timestamp authority, PEM, if it has one.
    ///
    /// # Errors
    /// If what stands in its file is none.
    pub fn timestamp_chain(&self) -> Result<Option<String>, AuthorityError> {
        let authority = self.timestamp.as_ref().map(|file| Authority::parse(file)).transpose()?;
        Ok(authority.map(|authority| authority.chain().to_owned()))
    }

    /// Writes them into new files.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn write(&self, to: &KeyPaths) -> Result<(), KeyFileError> {
        write_key(&to.note, &self.note)?;
        write_key(&to.v1, &self.v1)?;
        for (path, pem) in [(&to.ml_dsa, &self.ml_dsa), (&to.timestamp, &self.timestamp)] {
            pem.as_ref().map_or(Ok(()), |pem| write_key(path, pem))?;
        }
        Ok(())
    }
}

/// Whether the keys in `directory` are those of the log.
///
/// # Errors
/// If they are not, or one is missing.
pub fn check(
    directory: &Path,
    identity: &LogIdentity,
    log: &LogRecord,
) -> Result<(), KeyFileError> {
    let signer = Signer::load(&KeyPaths::of(directory), identity.origin(), identity.tree_id())?;
    let vkey = signer.ml_dsa_key().map(|key| key.to_vkey());
    if signer.identity() != identity || vkey != log.public.ml_dsa_vkey {
        return Err(KeyFileError::OtherLog { path: directory.to_owned() });
    }
    Ok(())
}

fn read_if_any(path: &Path) -> Result<Option<Zeroizing<String>>, KeyFileError> {
    match read_key(path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        other => other.map(Some),
    }
}
