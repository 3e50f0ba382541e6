//! The private keys of a log that is restored.
//!
//! Invariants: they are in memory before anything is removed; none is left out; they are never read
//! from a directory that is about to be made anew.

use std::io;
use std::path::Path;

use treering_proto::identity::LogIdentity;
use zeroize::Zeroizing;

use super::{LogRecord, RestoreError};
use crate::signer::{KeyFileError, KeyPaths, Signer, write_key};

/// The PEM text of each.
pub struct Keys {
    note: Zeroizing<String>,
    v1: Zeroizing<String>,
    ml_dsa: Option<Zeroizing<String>>,
}

impl Keys {
    /// Reads the keys in `directory`, to be restored into `data`.
    ///
    /// # Errors
    /// If one that every log has is missing, or they lie inside `data`.
    pub fn read(directory: &Path, data: &Path) -> Result<Self, RestoreError> {
        let paths = paths(directory);
        if let Ok(data) = data.canonicalize() {
            for path in [directory, &paths.note, &paths.v1, &paths.ml_dsa] {
                if path.canonicalize().is_ok_and(|path| path.starts_with(&data)) {
                    return Err(RestoreError::KeysInside { keys: path.to_owned(), data });
                }
            }
        }
        let ml_dsa = match read(&paths.ml_dsa) {
            Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                None
            }
            other => Some(other?),
        };
        Ok(Self { note: read(&paths.note)?, v1: read(&paths.v1)?, ml_dsa })
    }

    /// Writes them into new files.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn write(&self, to: &KeyPaths) -> Result<(), KeyFileError> {
        write_key(&to.note, &self.note)?;
        write_key(&to.v1, &self.v1)?;
        self.ml_dsa.as_ref().map_or(Ok(()), |pem| write_key(&to.ml_dsa, pem))
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
    let signer = Signer::load(&paths(directory), identity.origin(), identity.tree_id())?;
    let vkey = signer.ml_dsa_key().map(|key| key.to_vkey());
    if signer.identity() != identity || vkey != log.public.ml_dsa_vkey {
        return Err(KeyFileError::OtherLog { path: directory.to_owned() });
    }
    Ok(())
}

fn paths(directory: &Path) -> KeyPaths {
    let key = |name: &str| directory.join(name);
    KeyPaths { note: key("note.pem"), v1: key("v1.pem"), ml_dsa: key("ml-dsa.pem") }
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let read = std::fs::read_to_string(path).map(Zeroizing::new);
    read.map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}
