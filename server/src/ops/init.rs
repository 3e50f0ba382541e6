//! `init`: makes a log. Its keys, origin and tree id are fixed here for ever.

use std::path::{Path, PathBuf};

use hyper::Uri;
use treering_proto::api::v1::TreeId;
use treering_proto::tree::TreeHead;

use crate::anchor::{Anchor, AnchorError, AnchorId};
use crate::data_directory::{DataDirectory, DirectoryError, PublicFiles};
use crate::signer::{
    KeyFileError, Signer, generate_ml_dsa_key, generate_note_key, generate_p256_key, write_key,
};
use crate::store::{Store, StoreError};
use crate::timestamp::NewAuthority;

/// What a new log is made from.
pub struct NewLog {
    /// Where it will live; must not exist, or be empty.
    pub data: PathBuf,
    /// Where its anchor will live; must not exist.
    pub anchor: PathBuf,
    /// Where clients will reach it.
    pub url: String,
    /// An existing Ed25519 key for C2SP notes.
    pub note_key: Option<PathBuf>,
    /// An existing ECDSA P-256 key for Rekor v1.
    pub v1_key: Option<PathBuf>,
    /// Whether it gets an ML-DSA-44 key, which adds a dated line to its C2SP notes.
    pub ml_dsa: bool,
    /// Whether it gets a timestamp authority.
    pub timestamps: bool,
}

/// Why no log was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The URL does not name a log.
    #[error(
        "{url:?} cannot be the URL of a log: it needs http:// or https://, a host name and no path, such as https://log.corp"
    )]
    Url {
        /// What was given.
        url: String,
    },
    /// A new log must not sign under the name of the old one.
    #[error(
        "the old log is called {origin}, and a log is known by its name: two histories under one name would prove each \
         other false. Give the new one another host name"
    )]
    SameName {
        /// The name of the old log.
        origin: String,
    },
    /// The directory is not free.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The anchor is not free.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The database cannot be made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A directory with keys, before it has rows.
pub(super) struct Prepared {
    /// The directory, locked and not finished.
    pub(super) directory: DataDirectory,
    /// Its keys.
    pub(super) signer: Signer,
    /// What it will tell everybody.
    pub(super) public: PublicFiles,
    /// The name that its anchor gets.
    pub(super) anchor_id: AnchorId,
}

/// Makes the log. Whatever fails leaves a directory that `serve` does not take for one.
pub fn init(new: &NewLog) -> Result<Signer, InitError> {
    let Prepared { directory, signer, public, anchor_id } = prepare(new)?;
    let shard = directory.shard(signer.identity().tree_id());
    Store::create(&shard, public.identity.as_bytes())?;
    Anchor::create(&new.anchor, anchor_id, TreeHead::EMPTY)?;
    directory.finish(&public)?;
    Ok(signer)
}

/// Makes directory and keys of a new log.
pub(super) fn prepare(new: &NewLog) -> Result<Prepared, InitError> {
    let origin = origin_of(&new.url)?;
    if new.anchor.exists() {
        return Err(AnchorError::Exists { path: new.anchor.clone() }.into());
    }
    let note_key = import_or_generate(new.note_key.as_deref(), generate_note_key)?;
    let v1_key = import_or_generate(new.v1_key.as_deref(), generate_p256_key)?;
    let anchor_id = random_bytes();
    let directory = DataDirectory::create(&new.data, &new.anchor, anchor_id)?;
    let keys = directory.keys();
    write_key(&keys.note, &note_key)?;
    write_key(&keys.v1, &v1_key)?;
    if new.ml_dsa {
        write_key(&keys.ml_dsa, &generate_ml_dsa_key())?;
    }
    let authority = new.timestamps.then(|| NewAuthority::for_host(&origin));
    if let Some(authority) = &authority {
        write_key(&keys.timestamp, &authority.key_file)?;
    }
    let signer = Signer::load(&keys, &origin, random_tree_id())?;
    let public = PublicFiles {
        url: new.url.trim_end_matches('/').to_owned(),
        identity: signer.identity_document(),
        ml_dsa_vkey: signer.ml_dsa_key().map(|key| key.to_vkey()),
        timestamp_chain: authority.map(|authority| authority.chain),
    };
    Ok(Prepared { directory, signer, public, anchor_id })
}

/// The origin is the bare host name: Sigstore clients drop port and path when they compare it.
pub(super) fn origin_of(url: &str) -> Result<String, InitError> {
    let wrong = || InitError::Url { url: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let has_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let is_bare = uri.path() == "/" && uri.query().is_none() && !authority.contains('@');
    if has_scheme && is_bare { Ok(host.to_ascii_lowercase()) } else { Err(wrong()) }
}

fn import_or_generate(
    path: Option<&Path>,
    generate: fn() -> zeroize::Zeroizing<String>,
) -> Result<zeroize::Zeroizing<String>, KeyFileError> {
    let Some(path) = path else { return Ok(generate()) };
    let read = std::fs::read_to_string(path).map(zeroize::Zeroizing::new);
    read.map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}

fn random_tree_id() -> TreeId {
    // Below 2^53, so that tools which read it as a double print it right.
    let number = u64::from_be_bytes(random_bytes()) >> 11;
    TreeId::new(number.max(1)).expect("a number of 53 bits is a tree id")
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_the_host_name_of_a_bare_url() {
        for (url, origin) in [
            ("https://log.corp", "log.corp"),
            ("https://Log.Corp/", "log.corp"),
            ("http://localhost:3000", "localhost"),
            ("http://127.0.0.1:3000/", "127.0.0.1"),
        ] {
            assert_eq!(origin_of(url).ok().as_deref(), Some(origin), "{url}");
        }
        for url in [
            "",
            "log.corp",
            "ftp://log.corp",
            "https://log.corp/path",
            "https://a@b",
            "https://x?y",
        ] {
            assert!(origin_of(url).is_err(), "{url}");
        }
    }
}
