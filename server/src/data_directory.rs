//! The data directory: what lies where, and whose it is.
//!
//! ```text
//! DIR/FORMAT       written last by init; without it the directory is not a log
//! DIR/LOCK         held while a process uses the directory
//! DIR/owner        which directory and which anchor belong together
//! DIR/url          where clients reach the log
//! DIR/identity     the identity document, public
//! DIR/ml-dsa.vkey  the public ML-DSA-44 key, if the log has one
//! DIR/timestamp-chain.pem  the certificates of its timestamp authority, if it has one
//! DIR/keys/        note.pem (Ed25519), v1.pem (ECDSA P-256), perhaps ml-dsa.pem and timestamp.pem
//!                  (ECDSA P-256 and its certificates), mode 0600
//! DIR/restored     in a directory that was restored: how far it must be (`restored`)
//! DIR/ballast      bytes to delete when the disk is full and the database needs room to open
//! DIR/tokens.json  who may write with a token, if anybody
//! DIR/journal/     who wrote, and who was refused
//! DIR/shards/ID/   one database for each tree; one for now
//! DIR.anchor       beside the directory, better on another volume
//! ```
//!
//! Invariant: a directory that was copied is not used until `claim`, because its original may still
//! sign.

mod restored;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use treering_proto::api::v1::TreeId;

use crate::anchor::{AnchorId, sync_directory_of};
use crate::signer::KeyPaths;
use crate::store::WAL_BYTES_MAX;

/// The version of the directory layout.
const LAYOUT: &str = "treering data 1\n";

/// The file of tokens that may write.
pub const TOKENS_FILE: &str = "tokens.json";

/// The directory of the access journal.
pub const JOURNAL_DIRECTORY: &str = "journal";

/// The file of the public ML-DSA-44 key.
const ML_DSA_VKEY: &str = "ml-dsa.vkey";

/// The file of the timestamp authority's certificates. With it the log has an authority, so it is
/// written after the key and removed before it.
const TIMESTAMP_CHAIN: &str = "timestamp-chain.pem";

/// Room that deleting the ballast gives, in bytes: enough for RocksDB to replay and flush its
/// write-ahead log.
const BALLAST_BYTES: u64 = 128 << 20;

const _: () =
    assert!(BALLAST_BYTES >= 2 * WAL_BYTES_MAX, "the log must fit twice: read and written");

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is no log here.
    #[error(
        "{path} holds no log. To make one: treering-server init --data {path} --url https://HOST"
    )]
    Missing {
        /// Which directory.
        path: PathBuf,
    },
    /// Init must not touch what is there.
    #[error("{path} exists already and is not empty; init makes a new log in a new directory")]
    Exists {
        /// Which directory.
        path: PathBuf,
    },
    /// Another version of the program made it.
    #[error("{path} was written by another version of treering-server ({found}); use that version")]
    OtherVersion {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// Another process uses it.
    #[error("{path} is in use by another process")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// It was copied, or restored.
    #[error(
        "{path} is not the directory that this log was made in: it was copied or restored, and its original may still \
         sign. If it is the only one left, say so: treering-server claim --data {path}"
    )]
    NotOwner {
        /// Which directory.
        path: PathBuf,
    },
    /// The anchor belongs to another log.
    #[error("the anchor {anchor} belongs to another log than {path}")]
    OtherAnchor {
        /// Which directory.
        path: PathBuf,
        /// Which anchor.
        anchor: PathBuf,
    },
    /// The anchor would be copied and restored together with the directory.
    #[error(
        "the anchor {anchor} lies inside {path}: a backup would carry it along, and it could notice nothing. Choose a place outside with --anchor"
    )]
    AnchorInside {
        /// Which directory.
        path: PathBuf,
        /// Which anchor.
        anchor: PathBuf,
    },
    /// A file inside is not as it was written.
    #[error("{path} is damaged; restore it from a backup")]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What the directory tells everybody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicFiles {
    /// Where clients reach the log.
    pub url: String,
    /// The identity document.
    pub identity: String,
    /// The ML-DSA-44 key that dates its checkpoints, if it has one.
    pub ml_dsa_vkey: Option<String>,
    /// The certificates of its timestamp authority, PEM, the leaf first, if it has one.
    pub timestamp_chain: Option<String>,
}

/// A data directory, locked.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    owner: Owner,
    _lock: File,
}

/// Which directory and which anchor belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Owner {
    inode: u64,
    anchor_id: AnchorId,
    anchor_path: PathBuf,
}

/// Where the anchor of `data` is unless somebody says otherwise.
pub fn default_anchor(data: &Path) -> PathBuf {
    // `.` has no name of its own to put the anchor beside.
    let data = &data.canonicalize().or_else(|_| std::path::absolute(data)).unwrap_or_default();
    let mut name = data.file_name().unwrap_or_default().to_os_string();
    name.push(".anchor");
    data.with_file_name(name)
}

impl DataDirectory {
    /// Makes the directory of a new log and locks it. [`DataDirectory::finish`] makes it usable.
    pub fn create(path: &Path, anchor: &Path, id: AnchorId) -> Result<Self, DirectoryError> {
        let taken = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if taken || path.is_file() {
            return Err(DirectoryError::Exists { path: path.to_owned() });
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(failed(path))?;
        let path = path.canonicalize().map_err(failed(path))?;
        check_outside(&path, anchor)?;
        let lock = lock(&path)?;
        Self::furnish(path, anchor, id, lock)
    }

    /// Makes what lies inside before there are keys and rows.
    fn furnish(
        path: PathBuf,
        anchor: &Path,
        id: AnchorId,
        lock: File,
    ) -> Result<Self, DirectoryError> {
        for name in ["keys", "shards"] {
            let inner = path.join(name);
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&inner);
            made.map_err(failed(&inner))?;
        }
        let anchor_path = std::path::absolute(anchor).map_err(failed(anchor))?;
        let owner = Owner { inode: inode(&path)?, anchor_id: id, anchor_path };
        write(&path.join("owner"), owner.to_text().as_bytes())?;
        Ok(Self { path, owner, _lock: lock })
    }

    /// Writes what init has left to write; from then on the directory is a log.
    pub fn finish(&self, public: &PublicFiles) -> Result<(), DirectoryError> {
        write(&self.path.join("url"), format!("{}\n", public.url).as_bytes())?;
        write(&self.path.join("identity"), public.identity.as_bytes())?;
        if let Some(vkey) = &public.ml_dsa_vkey {
            write(&self.path.join(ML_DSA_VKEY), format!("{vkey}\n").as_bytes())?;
        }
        if let Some(chain) = &public.timestamp_chain {
            write(&self.path.join(TIMESTAMP_CHAIN), chain.as_bytes())?;
        }
        sync_directory_of(&self.keys().note).map_err(failed(&self.path))?;
        sync_directory_of(&self.path.join("shards/any")).map_err(failed(&self.path))?;
        sync_directory_of(&self.path).map_err(failed(&self.path))?;
        let ballast = self.path.join("ballast");
        let file = File::create(&ballast).map_err(failed(&ballast))?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BALLAST_BYTES)
            .map_err(|error| failed(&ballast)(error.into()))?;
        write(&self.path.join("FORMAT"), LAYOUT.as_bytes())
    }

    /// Opens and locks the directory of an existing log, whoever it belongs to.
    pub fn open_unowned(path: &Path) -> Result<Self, DirectoryError> {
        check_format(path)?;
        let path = path.canonicalize().map_err(failed(path))?;
        let lock = lock(&path)?;
        let owner = Owner::read(&path)?;
        Ok(Self { path, owner, _lock: lock })
    }

    /// Opens and locks the directory of an existing log, if it is the one that the log was made in.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let directory = Self::open_unowned(path)?;
        if directory.owner.inode == inode(&directory.path)? {
            Ok(directory)
        } else {
            Err(DirectoryError::NotOwner { path: directory.path })
        }
    }

    /// What anybody may know of the log in `path`, which may be in use. Only the timestamp
    /// authority may change, while the log is not served.
    pub fn public(path: &Path) -> Result<PublicFiles, DirectoryError> {
        check_format(path)?;
        let read = |name: &str| {
            let path = path.join(name);
            fs::read_to_string(&path).map_err(failed(&path))
        };
        let url = read("url")?.trim().to_owned();
        let read_if_any = |name: &str| match path.join(name).exists() {
            true => read(name).map(Some),
            false => Ok(None),
        };
        let ml_dsa_vkey = read_if_any(ML_DSA_VKEY)?.map(|vkey| vkey.trim().to_owned());
        let timestamp_chain = read_if_any(TIMESTAMP_CHAIN)?;
        Ok(PublicFiles { url, identity: read("identity")?, ml_dsa_vkey, timestamp_chain })
    }

    /// Where the certificates of the timestamp authority of the log in `path` are, if it has one.
    pub fn timestamp_chain(path: &Path) -> PathBuf {
        path.join(TIMESTAMP_CHAIN)
    }

    /// Makes `chain` the certificates of the log's timestamp authority, whose key is in place.
    ///
    /// # Errors
    /// If it cannot be written durably.
    pub fn put_timestamp_chain(&self, chain: &str) -> Result<(), DirectoryError> {
        let path = Self::timestamp_chain(&self.path);
        write_prepared(&path, chain.as_bytes(), |file| give_to_owner(file, &path))
    }

    /// Puts the certificates of the log's timestamp authority aside, under `name`, for those who
    /// verify old timestamps. From then on the log has no authority.
    ///
    /// # Errors
    /// If they cannot be moved durably.
    pub fn retire_timestamp_chain(&self, name: &str) -> Result<(), DirectoryError> {
        let path = Self::timestamp_chain(&self.path);
        let moved = fs::rename(&path, self.path.join(name));
        moved.and_then(|()| sync_directory_of(&path)).map_err(failed(&path))
    }

    /// The name of the anchor of the log in `path`, which may be in use.
    ///
    /// # Errors
    /// If the owner record does not read back.
    pub fn anchor_id(path: &Path) -> Result<AnchorId, DirectoryError> {
        check_format(path)?;
        Ok(Owner::read(path)?.anchor_id)
    }

    /// Makes this directory and the anchor the ones that belong together.
    pub fn claim(&mut self, anchor: &Path, id: AnchorId) -> Result<(), DirectoryError> {
        check_outside(&self.path, anchor)?;
        let anchor_path = std::path::absolute(anchor).map_err(failed(anchor))?;
        self.owner = Owner { inode: inode(&self.path)?, anchor_id: id, anchor_path };
        write(&self.path.join("owner"), self.owner.to_text().as_bytes())
    }

    /// Checks that `anchor` is the one of this directory.
    pub fn check_anchor(&self, anchor: &Path, id: AnchorId) -> Result<(), DirectoryError> {
        if id == self.owner.anchor_id {
            return Ok(());
        }
        Err(DirectoryError::OtherAnchor { path: self.path.clone(), anchor: anchor.to_owned() })
    }

    /// Remembers where the anchor is now, so that the next start finds it there.
    pub fn remember_anchor(&mut self, anchor: &Path) -> Result<(), DirectoryError> {
        let anchor = std::path::absolute(anchor).map_err(failed(anchor))?;
        if anchor == self.owner.anchor_path {
            return Ok(());
        }
        self.claim(&anchor, self.owner.anchor_id)
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the anchor was last seen.
    pub fn anchor_path(&self) -> &Path {
        &self.owner.anchor_path
    }

    /// Where its private keys are.
    pub fn keys(&self) -> KeyPaths {
        Self::keys_in(&self.path)
    }

    /// Where the private keys of the log in `path` are.
    pub fn keys_in(path: &Path) -> KeyPaths {
        KeyPaths::of(&path.join("keys"))
    }

    /// The database of one tree.
    pub fn shard(&self, tree_id: TreeId) -> PathBuf {
        Self::shard_in(&self.path, tree_id)
    }

    /// The database of one tree of the log in `path`.
    pub fn shard_in(path: &Path, tree_id: TreeId) -> PathBuf {
        path.join("shards").join(tree_id.to_hex())
    }

    /// The identity document.
    pub fn identity(&self) -> Result<String, DirectoryError> {
        let path = self.path.join("identity");
        fs::read_to_string(&path).map_err(failed(&path))
    }
}

impl Owner {
    fn read(directory: &Path) -> Result<Self, DirectoryError> {
        let path = directory.join("owner");
        let text = fs::read_to_string(&path).map_err(failed(&path))?;
        Self::parse(&text).ok_or(DirectoryError::Damaged { path })
    }

    fn to_text(&self) -> String {
        format!(
            "{OWNER_TITLE}\ninode {}\nanchor-id {}\nanchor {}\n",
            self.inode,
            hex::encode(self.anchor_id),
            self.anchor_path.display()
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != OWNER_TITLE {
            return None;
        }
        let inode = lines.next()?.strip_prefix("inode ")?.parse().ok()?;
        let id = hex::decode(lines.next()?.strip_prefix("anchor-id ")?).ok()?;
        let anchor_path = lines.next()?.strip_prefix("anchor ")?.into();
        Some(Self { inode, anchor_id: id.try_into().ok()?, anchor_path })
    }
}

/// Only a finished directory of this layout is a log.
fn check_format(path: &Path) -> Result<(), DirectoryError> {
    let format = path.join("FORMAT");
    match fs::read_to_string(&format) {
        Ok(found) if found == LAYOUT => Ok(()),
        Ok(found) => {
            let found = found.trim().chars().take(80).collect();
            Err(DirectoryError::OtherVersion { path: format, found })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DirectoryError::Missing { path: path.to_owned() })
        }
        Err(source) => Err(DirectoryError::Io { path: format, source }),
    }
}

fn check_outside(path: &Path, anchor: &Path) -> Result<(), DirectoryError> {
    let absolute = std::path::absolute(anchor).map_err(failed(anchor))?;
    let parent = absolute.parent().unwrap_or(&absolute);
    let parent = parent.canonicalize().map_err(failed(parent))?;
    if parent.starts_with(path) {
        return Err(DirectoryError::AnchorInside { path: path.to_owned(), anchor: absolute });
    }
    Ok(())
}

/// Gives what was opened at `path` to whom the directory around it belongs: the server, who is
/// seldom the one that an operator runs commands as, must be able to use it.
///
/// # Errors
/// Those of the system: only root can give away.
pub fn give_to_owner(file: &File, path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let wanted = fs::metadata(parent.unwrap_or(Path::new(".")))?;
    if wanted.uid() == file.metadata()?.uid() {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(wanted.uid()), Some(wanted.gid()))
}

/// Writes a whole file durably: readers see the old one or the new one.
fn write(path: &Path, bytes: &[u8]) -> Result<(), DirectoryError> {
    write_prepared(path, bytes, |_| Ok(()))
}

/// The same; nobody sees the file before `prepare` is done with it.
fn write_prepared(
    path: &Path,
    bytes: &[u8],
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), DirectoryError> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary).map_err(failed(&temporary))?;
    file.write_all(bytes).map_err(failed(&temporary))?;
    prepare(&file).and_then(|()| file.sync_all()).map_err(failed(&temporary))?;
    fs::rename(&temporary, path).map_err(failed(path))?;
    sync_directory_of(path).map_err(failed(path))
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let path = path.join("LOCK");
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(DirectoryError::Locked { path }),
        Err(fs::TryLockError::Error(source)) => Err(DirectoryError::Io { path, source }),
    }
}

fn inode(path: &Path) -> Result<u64, DirectoryError> {
    Ok(fs::metadata(path).map_err(failed(path))?.ino())
}

fn failed(path: &Path) -> impl Fn(io::Error) -> DirectoryError + '_ {
    move |source| DirectoryError::Io { path: path.to_owned(), source }
}

const OWNER_TITLE: &str = "treering owner 1";

#[cfg(test)]
mod tests;
