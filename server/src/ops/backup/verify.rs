//! `backup verify`: reads a backup, without its log, and says everything that is wrong with it.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use treering_proto::append::RightEdge;
use treering_proto::identity::{IdentityError, LogIdentity};
use treering_proto::tree::TreeHead;

use super::check::Checker;
use super::format::{Counts, FormatError, LogRecord, Reader};
use super::rows;

/// What a backup holds.
#[derive(Debug)]
pub struct Report {
    /// Who the log is; `None` when its identity document is no good.
    pub identity: Option<LogIdentity>,
    /// The head that the entries lead to.
    pub head: TreeHead,
    /// What was counted.
    pub counts: Counts,
    /// Rekor v1 entries without a SET.
    pub v1_without_set: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// What is wrong, with its place; at most 100 of them.
    pub problems: Vec<String>,
    /// How much is wrong.
    pub problems_count: u64,
}

/// Reads the backup in `file` to its end. `progress` hears how many entries were read, and how many
/// there should be.
///
/// # Errors
/// Only when the file cannot be read; what is wrong with it stands in the report.
pub fn verify(file: &Path, mut progress: impl FnMut(u64, u64)) -> io::Result<Report> {
    let opened = Reader::new(BufReader::with_capacity(READ_BYTES, File::open(file)?));
    let (mut reader, log) = match opened {
        Ok(opened) => opened,
        Err(FormatError::Io(error)) => return Err(error),
        Err(error) => return Ok(unreadable(error.to_string(), 0)),
    };
    let mut checker = match start(&log) {
        Ok(checker) => checker,
        Err(error) => return Ok(unreadable(error.to_string(), reader.position())),
    };
    let mut entries = 0;
    let read = rows::of_backup(&mut reader, |at, row| -> Result<(), FormatError> {
        checker.take(&format!("byte {at}"), &row);
        if matches!(row, rows::Row::Entry(_)) {
            entries += 1;
            if entries % PROGRESS_ENTRIES == 0 {
                progress(entries, log.head.size.get());
            }
        }
        Ok(())
    });
    match read {
        Ok(counts) => {
            checker.end(&log);
            checker.count(counts);
        }
        Err(FormatError::Io(error)) => return Err(error),
        // Whatever comes after it cannot be told apart any more.
        Err(error) => checker.find(error.to_string()),
    }
    Ok(Report {
        identity: Some(checker.identity().clone()),
        head: checker.head(),
        counts: checker.counts(),
        v1_without_set: checker.v1_without_set(),
        bytes: reader.position(),
        problems: checker.problems().to_vec(),
        problems_count: checker.problems_count(),
    })
}

/// A checker at the beginning of a backup.
///
/// # Errors
/// If the identity document does not say who the log is.
pub fn start(log: &LogRecord) -> Result<Checker, IdentityError> {
    let mut checker = Checker::new(&log.public, RightEdge::EMPTY, 0)?;
    checker.refuse_future(log);
    Ok(checker)
}

fn unreadable(problem: String, bytes: u64) -> Report {
    Report {
        identity: None,
        head: TreeHead::EMPTY,
        counts: Counts::default(),
        v1_without_set: 0,
        bytes,
        problems: vec![problem],
        problems_count: 1,
    }
}

/// Read at once.
pub(crate) const READ_BYTES: usize = 256 << 10;

const PROGRESS_ENTRIES: u64 = 1000;
