//! Reads the whole journal again and follows its chain.
//!
//! It goes on after what it finds, from the next line that is whole, so that one report tells all.
//! What it cannot know: whether lines are missing after the last, or before the first segment that
//! was kept. Both ends are in the report; a head that was noted elsewhere is looked for.

use std::fs::{self, File};
use std::path::Path;

use treering_proto::hash::sha256;

use super::line::Record;
use super::segment::{self, Head};
use super::{Held, JournalError, LOCK, LOCK_TIME_MAX};

/// Findings that are kept; more are only counted.
const FINDINGS_MAX: usize = 20;

/// What is wrong with a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// It is not as it was written.
    Changed,
    /// Lines before it are gone.
    Missing,
    /// It stands behind one that was written later, or twice.
    Reordered,
    /// It is whole, and follows another line than the one before it.
    Unchained,
    /// The file ends in the middle of it.
    Cut,
    /// The segment before this one is gone, and an older one is there.
    SegmentMissing,
    /// The line that was noted elsewhere is another one here, or not here.
    HeadMissing,
}

impl Problem {
    /// The stable label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Reordered => "reordered",
            Self::Unchained => "unchained",
            Self::Cut => "cut",
            Self::SegmentMissing => "segment-missing",
            Self::HeadMissing => "head-missing",
        }
    }
}

/// Where something is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The number of the segment.
    pub segment: u64,
    /// The line in it, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// What was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Segments that are there.
    pub segments: u64,
    /// Lines in them, damaged ones too.
    pub lines: u64,
    /// The number of the first line that is there; more than 1 when older segments were archived.
    pub first: Option<u64>,
    /// The last line up to which the chain is whole.
    pub whole_up_to: Head,
    /// The last line that is whole.
    pub head: Head,
    /// What is wrong, in order; at most 20.
    pub findings: Vec<Finding>,
    /// How many there are.
    pub findings_count: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.findings_count == 0
    }
}

/// Checks the whole chain in `directory`, which may be in use. With `known`, a head that was noted
/// elsewhere, also that this very line is in it.
///
/// # Errors
/// When a file cannot be read; what is wrong with the lines is in the report.
pub fn verify(directory: &Path, known: Option<Head>) -> Result<Report, JournalError> {
    let mut reader = Reader::new(known);
    each_segment(directory, |number, bytes| {
        reader.segment(number, bytes);
        true
    })?;
    Ok(reader.finish())
}

/// Shows each line that is whole, oldest first, until `visit` says that it is enough.
///
/// # Errors
/// When a file cannot be read.
pub fn read(
    directory: &Path,
    mut visit: impl FnMut(&[u8], &Record) -> bool,
) -> Result<(), JournalError> {
    each_segment(directory, |_, bytes| {
        bytes.split(|byte| *byte == b'\n').all(|line| match Record::parse(line) {
            Some(record) => visit(line, &record),
            None => true,
        })
    })
}

/// The bytes of each segment, oldest first, as they were when the lock was free: a line that is
/// being written is not a cut one.
fn each_segment(
    directory: &Path,
    mut visit: impl FnMut(u64, &[u8]) -> bool,
) -> Result<(), JournalError> {
    let path = directory.join(LOCK);
    // An archive need not have a lock, and nobody writes it.
    let lock = File::open(&path).ok();
    let held = lock.as_ref().map(|lock| Held::take(lock, &path, LOCK_TIME_MAX)).transpose()?;
    let numbers = segment::numbers(directory)?;
    let newest = match numbers.last() {
        Some(number) => segment::measure(&segment::path_of(directory, *number))?.0,
        None => 0,
    };
    drop(held);
    for number in &numbers {
        let path = segment::path_of(directory, *number);
        let mut bytes = fs::read(&path).map_err(segment::failed(&path))?;
        if Some(number) == numbers.last() {
            bytes.truncate(usize::try_from(newest).unwrap_or(usize::MAX));
        }
        if !visit(*number, &bytes) {
            break;
        }
    }
    Ok(())
}

struct Reader {
    report: Report,
    known: Option<Head>,
    segment: Option<u64>,
    /// Whether the line before was damaged, so that nobody knows what follows it.
    is_lost: bool,
}

impl Reader {
    fn new(known: Option<Head>) -> Self {
        let (head, whole_up_to) = (segment::EMPTY, segment::EMPTY);
        let report = Report {
            segments: 0,
            lines: 0,
            first: None,
            whole_up_to,
            head,
            findings: Vec::new(),
            findings_count: 0,
        };
        Self { report, known, segment: None, is_lost: false }
    }

    fn segment(&mut self, number: u64, bytes: &[u8]) {
        if self.segment.is_some_and(|before| before + 1 != number) {
            self.found(number, 1, Problem::SegmentMissing);
            self.is_lost = true;
        }
        self.segment = Some(number);
        self.report.segments += 1;
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            self.report.lines += 1;
            let at = index as u64 + 1;
            match line.strip_suffix(b"\n") {
                Some(line) => self.line(number, at, line),
                None => {
                    self.found(number, at, Problem::Cut);
                    self.is_lost = true;
                }
            }
        }
    }

    fn line(&mut self, segment: u64, at: u64, line: &[u8]) {
        let Some(record) = Record::parse(line) else {
            self.found(segment, at, Problem::Changed);
            self.is_lost = true;
            return;
        };
        let head = self.report.head;
        let is_first = self.report.first.is_none();
        // What is before the oldest segment that was kept, only its archive knows.
        let starts_late = is_first && !self.is_lost && segment > 1;
        if !starts_late && !segment::continues(&record, head) {
            let expected = head.sequence + 1;
            match record.sequence {
                // Told already, with the damage before it.
                sequence if self.is_lost && sequence >= expected => {}
                sequence if sequence > expected => self.found(segment, at, Problem::Missing),
                sequence if sequence < expected => self.found(segment, at, Problem::Reordered),
                _ => self.found(segment, at, Problem::Unchained),
            }
        }
        self.is_lost = false;
        let head = Head { sequence: record.sequence, hash: sha256(line) };
        self.report.first.get_or_insert(record.sequence);
        self.report.head = head;
        if self.report.is_whole() {
            self.report.whole_up_to = head;
        }
        if self.known == Some(head) {
            self.known = None;
        }
    }

    fn found(&mut self, segment: u64, line: u64, problem: Problem) {
        self.report.findings_count += 1;
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(Finding { segment, line, problem });
        }
    }

    fn finish(mut self) -> Report {
        if self.known.is_some() {
            let segment = self.segment.unwrap_or(1);
            self.found(segment, 0, Problem::HeadMissing);
        }
        self.report
    }
}

/// Checks the bytes of one segment, which nothing comes before.
#[cfg(test)]
pub(super) fn verify_bytes(number: u64, bytes: &[u8]) -> Report {
    let mut reader = Reader::new(None);
    reader.segment(number, bytes);
    reader.finish()
}
