//! `timestamps`: makes the timestamp authority of a log that exists, and says what it is.
//!
//! Invariants: a log has an authority from the moment at which its certificates are written, which
//! is after its key. The certificates of an authority that is replaced are kept, because what it
//! signed stays good. What a crash leaves is a log that starts, and the command can be given again:
//!
//! ```text
//! the new key is written beside the old one   the log as it was, and keys/timestamp.new, unused
//! the old certificates are put aside          a log without an authority; they are in DIR
//! the new key gets its name                   the same
//! the new certificates are written            the new authority
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use treering_proto::identity::{IdentityError, LogIdentity};

use crate::anchor::sync_directory_of;
use crate::data_directory::{DataDirectory, DirectoryError, give_to_owner};
use crate::ops::stop::StopPoint;
use crate::signer::{KeyFileError, write_key};
use crate::timestamp::{Authority, AuthorityError, NewAuthority};

/// Why nothing was made, or shown.
#[derive(Debug, thiserror::Error)]
pub enum TimestampsError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It does not say which log it is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The key cannot be written.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The authority does not read back.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// There is one.
    #[error(
        "the log in {data} has a timestamp authority. To make another in its place, whose \
         certificates every verifier then needs, too: --replace"
    )]
    Exists {
        /// Which log.
        data: PathBuf,
    },
    /// There is none.
    #[error(
        "the log in {data} has no timestamp authority. To make one: treering-server timestamps init \
         --data {data}"
    )]
    Missing {
        /// Which log.
        data: PathBuf,
    },
}

/// An authority that was made.
pub struct Made {
    /// What it is now.
    pub authority: Authority,
    /// Where the certificates of the one before are kept, if there was one.
    pub retired: Option<PathBuf>,
}

/// Makes an authority for the log in `data`, which must not be served meanwhile.
///
/// # Errors
/// [`TimestampsError`].
pub fn init(data: &Path, replace: bool) -> Result<Made, TimestampsError> {
    let directory = DataDirectory::open(data)?;
    let identity = LogIdentity::open(directory.identity()?.as_bytes())?;
    let old = DataDirectory::public(data)?.timestamp_chain;
    if old.is_some() && !replace {
        return Err(TimestampsError::Exists { data: data.to_owned() });
    }
    let new = NewAuthority::for_host(identity.origin());
    let mut stop = StopPoint::new("timestamps");
    let key = directory.keys().timestamp;
    let beside = key.with_extension("new");
    // Whatever can fail for want of room or rights fails here, while the old authority is whole.
    write_beside(&beside, &new.key_file)?;
    stop.pass("key");
    let retired = old.map(|chain| retire(&directory, &chain)).transpose()?;
    stop.pass("retired");
    let renamed = fs::rename(&beside, &key).and_then(|()| sync_directory_of(&key));
    renamed.map_err(|source| KeyFileError::Io { path: key, source })?;
    stop.pass("named");
    directory.put_timestamp_chain(&new.chain)?;
    stop.pass("certified");
    Ok(Made { authority: show(data)?, retired })
}

/// The authority of the log in `data`, which may be served meanwhile.
///
/// # Errors
/// [`TimestampsError`].
pub fn show(data: &Path) -> Result<Authority, TimestampsError> {
    let authority = Authority::load(data)?;
    authority.ok_or_else(|| TimestampsError::Missing { data: data.to_owned() })
}

/// Puts the old certificates aside under a name that no others have.
fn retire(directory: &DataDirectory, chain: &str) -> Result<PathBuf, DirectoryError> {
    let hash = treering_proto::hash::sha256(chain.as_bytes()).to_hex();
    let name = format!("timestamp-chain-{}.pem", &hash[..16]);
    directory.retire_timestamp_chain(&name)?;
    Ok(directory.path().join(name))
}

/// Writes a key durably, in place of one that an interrupted command may have left there.
fn write_beside(path: &Path, pem: &str) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    write_key(path, pem)?;
    let file = File::open(path).map_err(failed)?;
    give_to_owner(&file, path).and_then(|()| sync_directory_of(path)).map_err(failed)
}
