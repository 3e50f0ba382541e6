//! Verification events: one line for each verification, for those who collect them.
//!
//! ```text
//! {"schema":"treering.event/v1","time":"<RFC 3339>","path":"./llama","log":"log.example",
//!  "online":false,"exit":0,"verified":true,"error":null,"evidence":[],"cut":false,
//!  ... the members of the report: "checks", "model", "signer", "publicKey", "entry", ...}
//! ```
//!
//! What the report says, an event says, so that no finding is missing from one of them. Without a
//! report (the trust file could not be read, say) `error` tells what happened.
//!
//! Invariants: a line is ASCII, ends with its only line feed, and has at most [`EVENT_LEN_MAX`]
//! bytes: what a stranger wrote is cut, and `cut` says so. It is written whole by one call, at the
//! end of a regular file that only its owner may read, and never behind a part of another line.
//! Nothing in it comes from keys, tokens, passwords or the environment. Out of scope: rotation.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

use crate::report::Exit;
use crate::time::time_text;

/// The version of the lines; a member is only ever added under the same version.
pub const EVENT_SCHEMA: &str = "treering.event/v1";

/// The longest line, with its line feed.
pub const EVENT_LEN_MAX: usize = 64 << 10;

/// Checks of one report that a line has: more than there are.
const CHECKS_MAX: usize = 64;

/// Tries to lock the file: a lock is held for one write.
const LOCK_TRIES_MAX: u32 = 10_000;

/// Items of every other list, and characters of every text, from generous to what always fits.
const BOUNDS: [(usize, usize); 4] = [(64, 1024), (16, 256), (4, 64), (1, 16)];

/// One verification.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// When it ended, in Unix seconds.
    pub time: u64,
    /// What was to be verified, as the caller named it.
    pub path: &'a str,
    /// The origin of the log, if the trust file could be read.
    pub log: Option<&'a str>,
    /// Whether the log was asked.
    pub online: bool,
    /// How the process ends.
    pub exit: Exit,
    /// The report in its JSON form, if it came to one.
    pub report: Option<&'a Value>,
    /// Kinds of the evidence that was found.
    pub evidence: &'a [&'static str],
    /// What failed, and why, if there is no report.
    pub error: Option<(&'a str, &'a str)>,
}

impl Event<'_> {
    /// The line.
    pub fn line(&self) -> Vec<u8> {
        let whole = self.json();
        for (items, characters) in BOUNDS {
            let mut cut = false;
            let mut bounded = bound(&whole, items, characters, &mut cut);
            bounded["cut"] = json!(cut);
            let line = ascii_line(&bounded);
            if line.len() <= EVENT_LEN_MAX {
                return line;
            }
        }
        // More members than any report has.
        let short = json!({
            "schema": EVENT_SCHEMA,
            "time": time_text(self.time),
            "exit": self.exit as u8,
            "verified": self.exit == Exit::Ok,
            "cut": true,
        });
        ascii_line(&short)
    }

    fn json(&self) -> Value {
        let mut all = match self.report {
            Some(Value::Object(report)) => report.clone(),
            _ => Map::new(),
        };
        let error = self.error.map(|(what, why)| json!({"what": what, "why": why}));
        let own = json!({
            "schema": EVENT_SCHEMA,
            "time": time_text(self.time),
            "path": self.path,
            "log": self.log,
            "online": self.online,
            "exit": self.exit as u8,
            "verified": self.exit == Exit::Ok,
            "error": error,
            "evidence": self.evidence,
        });
        if let Value::Object(own) = own {
            all.extend(own);
        }
        Value::Object(all)
    }
}

/// Appends a line to the file at `path`, which is made if it is not there. If the file ends with a
/// part of a line, because a disk was full, the new one stands on its own all the same.
///
/// # Errors
/// Those of the system; what is not a regular file is refused; a line that was written in part.
pub fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    // A pipe that nobody reads is refused, not waited for.
    let flags = OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    let open = |access| rustix::fs::open(path, flags | access, Mode::RUSR | Mode::WUSR);
    let (file, is_readable) = match open(OFlags::RDWR) {
        // Who may only write cannot see how the file ends.
        Err(Errno::ACCESS) => (File::from(open(OFlags::WRONLY)?), false),
        opened => (File::from(opened?), true),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let is_locked = lock(&file);
    let mut line = Cow::Borrowed(line);
    if is_locked && is_readable && ends_within_a_line(&file)? {
        line = Cow::Owned([b"\n", &*line].concat());
    }
    // One call: lines of processes that write at once do not mix.
    let written = loop {
        match rustix::io::write(&file, &line) {
            Err(Errno::INTR) => {}
            written => break written,
        }
    };
    if is_locked {
        let _ = flock(&file, FlockOperation::Unlock);
    }
    let written = written?;
    if written < line.len() {
        let why = format!("only {written} of {} bytes were written", line.len());
        return Err(io::Error::other(why));
    }
    file.sync_data()
}

/// Keeps other writers out, so that the middle of their line is not taken for its end; whether that
/// went well. A writer that was stopped is not waited for, and a file system need not have locks.
fn lock(file: &File) -> bool {
    for _ in 0..LOCK_TRIES_MAX {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::AGAIN | Errno::INTR) => std::thread::yield_now(),
            locked => return locked.is_ok(),
        }
    }
    false
}

/// Whether the last byte is there and is no line feed.
fn ends_within_a_line(file: &File) -> io::Result<bool> {
    let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(false) };
    let mut byte = [b'\n'];
    file.read_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}

/// The same value with shorter lists and texts. `checks`, each of which is bounded itself, keeps
/// its items.
fn bound(value: &Value, items: usize, characters: usize, cut: &mut bool) -> Value {
    match value {
        Value::String(text) => match text.char_indices().nth(characters) {
            None => value.clone(),
            Some((end, _)) => {
                *cut = true;
                json!(format!("{}...", &text[..end]))
            }
        },
        Value::Array(list) => list_of(list, items, items, characters, cut),
        Value::Object(members) => {
            let member = |(name, member): (&String, &Value)| {
                let bounded = match (name.as_str(), member) {
                    ("checks", Value::Array(checks)) => {
                        list_of(checks, CHECKS_MAX, items, characters, cut)
                    }
                    _ => bound(member, items, characters, cut),
                };
                (name.clone(), bounded)
            };
            Value::Object(members.iter().map(member).collect())
        }
        other => other.clone(),
    }
}

fn list_of(list: &[Value], own: usize, items: usize, characters: usize, cut: &mut bool) -> Value {
    *cut |= list.len() > own;
    list.iter().take(own).map(|item| bound(item, items, characters, cut)).collect()
}

/// The value on one line, whatever a reader takes for the end of one.
fn ascii_line(value: &Value) -> Vec<u8> {
    let mut line = String::new();
    for c in value.to_string().chars() {
        if c.is_ascii() && c != '\u{7f}' {
            line.push(c);
            continue;
        }
        // Outside of texts JSON is ASCII, so every other character may be escaped.
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(line, "\\u{unit:04x}");
        }
    }
    line.push('\n');
    line.into_bytes()
}

#[cfg(test)]
mod tests;
