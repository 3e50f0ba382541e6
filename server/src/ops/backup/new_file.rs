//! The file that a backup is written into before it has its name. Its directory may be one where
//! others write, too.
//!
//! Invariants: no link is followed, nothing that somebody else made is written into, and nothing is
//! replaced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Opens the file at `path`, new or left by a backup that died, and locks it.
///
/// # Errors
/// Also if another backup writes it, or if it is not one that we would have made.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    // A pipe must not keep us waiting either.
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    let file = match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path)?,
        opened => opened?,
    };
    file.try_lock()?;
    let found = file.metadata()?;
    let named = fs::symlink_metadata(path)?;
    let is_ours = found.is_file()
        && found.nlink() == 1
        && found.mode() & 0o077 == 0
        && found.uid() == rustix::process::geteuid().as_raw();
    // A backup that ended since has given its file another name.
    let is_named = (named.dev(), named.ino()) == (found.dev(), found.ino());
    if is_ours && is_named {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it is not a file that an earlier backup left; remove it",
        ))
    }
}

/// Gives the file its name, if that is free.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if it is not.
pub fn publish(unfinished: &Path, out: &Path) -> io::Result<()> {
    match renameat_with(CWD, unfinished, CWD, out, RenameFlags::NOREPLACE) {
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(unfinished, out)?;
            fs::remove_file(unfinished)
        }
        renamed => Ok(renamed?),
    }
}
