//! Names of files inside a model: which are safe, and which have only one spelling.

use super::{ModelStatementError as Error, PATH_LEN_MAX, SINGLE_FILE_NAME};

/// The name of a shard taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard<'a> {
    /// Path of the file.
    pub path: &'a str,
    /// Offset of the first byte.
    pub start: u64,
    /// Offset after the last byte.
    pub end: u64,
}

impl<'a> Shard<'a> {
    /// Reads `path:start:end`, numbers in canonical decimal; the path may have colons of its own.
    pub fn parse(name: &'a str) -> Option<Self> {
        let (rest, end) = name.rsplit_once(':')?;
        let (path, start) = rest.rsplit_once(':')?;
        Some(Self { path, start: decimal(start)?, end: decimal(end)? })
    }
}

/// Refuses a path that leaves the model, or that is not its only spelling.
///
/// A backslash and a drive letter name other files on Windows than elsewhere; control characters
/// cannot be shown to people.
pub(super) fn check(path: &str) -> Result<(), Error> {
    let drive = path.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        && path.as_bytes().get(1) == Some(&b':');
    if drive || path.starts_with(['/', '\\']) || path.split(['/', '\\']).any(|part| part == "..") {
        return Err(Error::Traversal(path.to_owned()));
    }
    if path.len() > PATH_LEN_MAX
        || path.contains(|c: char| c == '\\' || c.is_control())
        || path.split('/').any(|part| part.is_empty() || part == ".")
    {
        return Err(Error::NotCanonicalName(path.to_owned()));
    }
    Ok(())
}

/// Refuses an ignored path that is a pattern, leaves the model or covers all of it. Returns the
/// path without the slash that may mark a directory.
pub(super) fn check_ignored(path: &str) -> Result<&str, Error> {
    let bare = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() || bare == SINGLE_FILE_NAME {
        return Err(Error::IgnoresEverything);
    }
    if bare.contains(['*', '?', '[']) || check(bare).is_err() {
        return Err(Error::BadIgnorePath(path.to_owned()));
    }
    Ok(bare)
}

/// Whether the ranges cover a file from 0 without gap or overlap, in steps of `size` with a shorter
/// last one. Zero bytes in one range is an empty file.
pub(super) fn are_contiguous(ranges: &mut [(u64, u64)], size: u64) -> bool {
    if ranges == [(0, 0)] {
        return true;
    }
    ranges.sort_unstable();
    let mut covered = 0;
    let mut ended = false;
    for &mut (start, end) in ranges {
        if ended || start != covered || end <= start || end - start > size {
            return false;
        }
        ended = end - start < size;
        covered = end;
    }
    true
}

/// A decimal number in its only spelling.
fn decimal(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}
