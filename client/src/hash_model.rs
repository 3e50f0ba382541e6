//! A model on disk, listed and hashed: what the signature of a model speaks about.
//!
//! Follows OpenSSF Model Signing v1.0, section 6.1 (method `files`, SHA-256): every regular file
//! below the directory, by its path with `/` between components, hidden and empty ones included; a
//! single file is named `.`.
//!
//! Invariants: nothing below the root is passed over in silence: what is neither hashed nor ignored
//! by name is an error. A file that changes while it is hashed is an error, and so is a directory
//! whose listing changes meanwhile. Out of scope: what a manifest may say (see
//! `treering_proto::model_statement`).

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::iter::{ParallelBridge, ParallelIterator};
use treering_proto::hash::Hash;

use read::{Buffer, READ_LEN};

/// The most files in a model: what one log entry's statement may list.
pub const FILES_MAX: usize = 20_000;

/// Directories deeper than this are not models but traps for recursion; Linux paths end at 4096
/// bytes.
pub const DEPTH_MAX: usize = 128;

/// Smaller files are hashed before a thread that reads ahead of the hash has paid for itself.
const AHEAD_MIN: u64 = 16 * 1024 * 1024;

/// Names at the root of a model that version control owns; `model_signing` ignores the same four.
pub const DEFAULT_IGNORES: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// The name of a model that is one file.
pub const SINGLE_FILE_NAME: &str = ".";

/// How to read a model.
#[derive(Clone, Default, Debug)]
pub struct HashOptions {
    /// Paths relative to the model's root, `/` between components. A path covers all below it.
    pub ignore: Vec<String>,
    /// Whether linked files are followed. Linked directories are refused either way.
    pub allow_symlinks: bool,
}

/// The files of a model, before any is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    root: PathBuf,
    single_file: bool,
    files: BTreeMap<String, Stamp>,
    ignored: Vec<String>,
}

/// One file of a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashedFile {
    /// Path relative to the root, or `.` for a model that is one file.
    pub name: String,
    /// SHA-256 of its bytes.
    pub digest: Hash,
    /// Its length in bytes.
    pub len: u64,
}

/// A model whose bytes are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashedModel {
    /// Sorted by the bytes of the name.
    pub files: Vec<HashedFile>,
    /// Ignored paths that exist: bytes that nobody signs.
    pub ignored: Vec<String>,
}

/// Why a model cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashModelError {
    /// The path given is not there.
    #[error("there is no file or directory {}", .0.display())]
    NotFound(PathBuf),
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Links to files where links are not allowed, and links to directories, whose content no
    /// manifest would name: all of them, in order.
    #[error("{}", links_text(files, directories))]
    Links {
        /// Links to files; empty when these are allowed.
        files: Vec<PathBuf>,
        /// Links to directories.
        directories: Vec<PathBuf>,
    },
    /// A socket, pipe or device.
    #[error("{} is neither a file nor a directory", .0.display())]
    Special(PathBuf),
    /// A manifest can name only UTF-8.
    #[error("the name {} is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// Not a path inside the model.
    #[error("the path to ignore, {0:?}, is not inside the model")]
    Ignore(String),
    /// More than [`FILES_MAX`].
    #[error("the model has more than {FILES_MAX} files")]
    TooManyFiles,
    /// Deeper than [`DEPTH_MAX`].
    #[error("{} is nested deeper than {DEPTH_MAX} directories", .0.display())]
    TooDeep(PathBuf),
    /// No file remains.
    #[error("{} holds no file to sign", .0.display())]
    Empty(PathBuf),
    /// Somebody writes to the model.
    #[error("{} changed while it was hashed", .0.display())]
    Changed(PathBuf),
}

/// Lists the files of the model at `root`: a directory, or one file.
///
/// The root itself may be a link to a directory: whoever named it meant what is there.
///
/// # Errors
/// Every [`HashModelError`] but `Changed`.
pub fn list(root: &Path, options: &HashOptions) -> Result<Listing, HashModelError> {
    let ignored = options.ignore.iter().map(|path| normalize(root, path));
    let mut walk = Walk {
        options,
        ignore: ignored.collect::<Result<_, _>>()?,
        files: BTreeMap::new(),
        ignored: Vec::new(),
        linked_files: Vec::new(),
        linked_directories: Vec::new(),
    };
    let metadata = match std::fs::metadata(root) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(HashModelError::NotFound(root.to_owned()));
        }
        Err(source) => return Err(HashModelError::Read { path: root.to_owned(), source }),
    };
    let single_file = !metadata.is_dir();
    if single_file {
        walk.file(root, SINGLE_FILE_NAME.to_owned())?;
    } else {
        walk.directory(root, "", 0)?;
    }
    walk.check_links()?;
    if walk.files.is_empty() {
        return Err(HashModelError::Empty(root.to_owned()));
    }
    walk.ignored.sort();
    Ok(Listing { root: root.to_owned(), single_file, files: walk.files, ignored: walk.ignored })
}

impl Listing {
    /// Bytes to hash.
    pub fn total_len(&self) -> u64 {
        self.files.values().map(|stamp| stamp.len).sum()
    }

    /// How many files.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Hashes every file, several at a time, largest first; `progress` gets the bytes done since
    /// its last call, from any thread. A file that would keep one core busy when the others are
    /// done is read by one and hashed by another.
    ///
    /// # Errors
    /// [`HashModelError::Read`] and [`HashModelError::Changed`], and those of [`list`] for what
    /// appeared meanwhile.
    pub fn hash(
        &self,
        options: &HashOptions,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<HashedModel, HashModelError> {
        let ahead = self.read_ahead_from(rayon::current_num_threads());
        let mut order: Vec<(&String, &Stamp)> = self.files.iter().collect();
        order.sort_by_key(|(_, stamp)| std::cmp::Reverse(stamp.len));
        let mut files = order
            .into_iter()
            .par_bridge()
            .map_init(
                || Buffer::new(READ_LEN),
                |buffer, (name, stamp)| {
                    let buffer = (stamp.len < ahead).then_some(buffer);
                    self.hash_file(name, stamp, options, buffer, progress)
                },
            )
            .collect::<Result<Vec<_>, _>>()?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        self.check_unchanged(options)?;
        Ok(HashedModel { files, ignored: self.ignored.clone() })
    }

    /// From which length on a file is hashed with a thread that reads ahead: where it is longer
    /// than what each of `threads` has to hash, some core will be idle. It must be so by a quarter,
    /// because the bytes that go from core to core cost more than those that stay.
    fn read_ahead_from(&self, threads: usize) -> u64 {
        (self.total_len() / threads as u64 / 4 * 5).max(AHEAD_MIN)
    }

    /// Hashes one file, with a thread that reads ahead if there is no `buffer`.
    fn hash_file(
        &self,
        name: &str,
        stamp: &Stamp,
        options: &HashOptions,
        buffer: Option<&mut Buffer>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<HashedFile, HashModelError> {
        let path = self.path_of(name);
        let failed = |source| HashModelError::Read { path: path.clone(), source };
        let file = open(&path, options).map_err(failed)?;
        if Stamp::of(&file.metadata().map_err(failed)?) != *stamp {
            return Err(HashModelError::Changed(path));
        }
        if stamp.len > READ_LEN as u64 {
            advise(&file);
        }
        let hashed = match buffer {
            Some(buffer) => read::hash(&file, stamp.len, buffer, progress),
            None => read::hash_ahead(&file, stamp.len, progress),
        };
        let (digest, len) = hashed.map_err(failed)?;
        if len != stamp.len || Stamp::of(&file.metadata().map_err(failed)?) != *stamp {
            return Err(HashModelError::Changed(path));
        }
        Ok(HashedFile { name: name.to_owned(), digest, len })
    }

    /// Lists again: a file that came, went or was replaced after it was hashed would make a
    /// manifest of no model.
    fn check_unchanged(&self, options: &HashOptions) -> Result<(), HashModelError> {
        let after = list(&self.root, options)?;
        let differs = |a: &Self, b: &Self| {
            a.files
                .iter()
                .find(|(name, stamp)| b.files.get(*name) != Some(stamp))
                .map(|(n, _)| n.clone())
        };
        match differs(self, &after).or_else(|| differs(&after, self)) {
            Some(name) => Err(HashModelError::Changed(self.path_of(&name))),
            None => Ok(()),
        }
    }

    fn path_of(&self, name: &str) -> PathBuf {
        if self.single_file { self.root.clone() } else { self.root.join(name) }
    }
}

/// `path` relative to `root`, in the spelling of a manifest.
///
/// # Errors
/// [`HashModelError::Ignore`] when it is not strictly inside.
pub fn normalize(root: &Path, path: &str) -> Result<String, HashModelError> {
    let refused = || HashModelError::Ignore(path.to_owned());
    let relative = if Path::new(path).is_absolute() {
        let root = std::fs::canonicalize(root).map_err(|_| refused())?;
        Path::new(path).strip_prefix(&root).map_err(|_| refused())?.to_owned()
    } else {
        PathBuf::from(path)
    };
    let mut parts = Vec::new();
    for component in relative.components() {
        match component {
            std::path::Component::CurDir => {}
            std::path::Component::Normal(part) => parts.push(part.to_str().ok_or_else(refused)?),
            _ => return Err(refused()),
        }
    }
    if parts.is_empty() { Err(refused()) } else { Ok(parts.join("/")) }
}

/// Whether `name` is `ignored` or below it.
pub fn is_covered(name: &str, ignored: &str) -> bool {
    name.strip_prefix(ignored).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What tells that a file is still the one that was listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    len: u64,
    modified: (i64, i64),
    /// When the system last noted a change of anything about the file. Unlike the time of
    /// modification, its owner cannot set it back.
    changed: (i64, i64),
    device: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

struct Walk<'a> {
    options: &'a HashOptions,
    /// What is below one of these is never come to.
    ignore: BTreeSet<String>,
    files: BTreeMap<String, Stamp>,
    ignored: Vec<String>,
    linked_files: Vec<PathBuf>,
    linked_directories: Vec<PathBuf>,
}

impl Walk<'_> {
    fn directory(&mut self, path: &Path, prefix: &str, depth: usize) -> Result<(), HashModelError> {
        if depth == DEPTH_MAX {
            return Err(HashModelError::TooDeep(path.to_owned()));
        }
        let failed = |source| HashModelError::Read { path: path.to_owned(), source };
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let Some(last) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(HashModelError::NotUtf8(path));
            };
            let name = if prefix.is_empty() { last } else { format!("{prefix}/{last}") };
            if self.ignore.contains(&name) {
                self.ignored.push(name);
                continue;
            }
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                self.directory(&path, &name, depth + 1)?;
                continue;
            }
            self.file(&path, name)?;
        }
        Ok(())
    }

    /// Takes what is not a directory: a file, or a link. Links that are refused are collected, so
    /// that all can be named.
    fn file(&mut self, path: &Path, name: String) -> Result<(), HashModelError> {
        let failed = |source| HashModelError::Read { path: path.to_owned(), source };
        let mut metadata = std::fs::symlink_metadata(path).map_err(failed)?;
        if metadata.is_symlink() {
            metadata = std::fs::metadata(path).map_err(failed)?;
            if metadata.is_dir() {
                self.linked_directories.push(path.to_owned());
                return Ok(());
            }
            if !self.options.allow_symlinks {
                self.linked_files.push(path.to_owned());
                return Ok(());
            }
        }
        if !metadata.is_file() {
            return Err(HashModelError::Special(path.to_owned()));
        }
        if self.files.len() == FILES_MAX {
            return Err(HashModelError::TooManyFiles);
        }
        self.files.insert(name, Stamp::of(&metadata));
        Ok(())
    }

    fn check_links(&mut self) -> Result<(), HashModelError> {
        if self.linked_files.is_empty() && self.linked_directories.is_empty() {
            return Ok(());
        }
        let mut files = std::mem::take(&mut self.linked_files);
        let mut directories = std::mem::take(&mut self.linked_directories);
        files.sort();
        directories.sort();
        Err(HashModelError::Links { files, directories })
    }
}

fn links_text(files: &[PathBuf], directories: &[PathBuf]) -> String {
    match (files, directories) {
        ([], [one]) => format!("{} is a symbolic link to a directory", one.display()),
        ([one], []) => format!("{} is a symbolic link", one.display()),
        _ => format!(
            "{} symbolic links to files and {} to directories, the first is {}",
            files.len(),
            directories.len(),
            files
                .first()
                .or(directories.first())
                .map(|p| p.display().to_string())
                .unwrap_or_default()
        ),
    }
}

/// Opens to read. Without leave to follow links, a link put there after the listing is refused by
/// the system, and a pipe put there does not block.
fn open(path: &Path, options: &HashOptions) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    if !options.allow_symlinks {
        flags |= OFlags::NOFOLLOW;
    }
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Says that `file` is read from beginning to end, once.
fn advise(file: &File) {
    // Advice is only advice: a file system that knows none is read all the same.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential);
}

#[cfg(test)]
mod tests;
