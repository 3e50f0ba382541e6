//! `treering-server backup` and `backup verify`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::progress::Progress;
use crate::limits::raise_open_files;
use crate::ops::backup::{BackupError, verify::verify, write};
use crate::startup::StartError;
use crate::store::StoreError;

/// Write everything that a log has published into one file, beside a running server.
#[derive(Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true)]
pub struct Arguments {
    /// The data directory of the log; it may be in use
    #[arg(long, value_name = "DIR", env = "TREERING_DATA", required = true)]
    data: Option<PathBuf>,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE", env = "TREERING_OUT", required = true)]
    out: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Read a backup without its log, and say everything that is wrong with it.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

const EXAMPLES: &str = "Examples:
  treering-server backup --data ./log --out log-2026-11-27.backup
  treering-server backup verify log-2026-11-27.backup

The backup never holds the anchor, and never private keys. Keep DIR/keys apart, once: they never
change.

Exit codes: 0 written, 2 it exists already or DIR is no log, 5 a file cannot be read or written,
6 the log is damaged or incomplete.";

const VERIFY_EXAMPLES: &str = "Examples:
  treering-server backup verify log-2026-11-27.backup

rekorV1WithoutSet says how many Rekor v1 entries have no SignedEntryTimestamp: a few after a crash;
many mean that somebody took them away, and the times of those entries are not proved.

Exit codes: 0 whole, 5 it cannot be read, 6 something is wrong with it.";

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Directory(error) => StartError::from(error).into(),
            BackupError::Exists { .. } => Self::Usage(error.into()),
            BackupError::Io { .. } => Self::Unavailable(error.into()),
            BackupError::Store(StoreError::Format { .. }) => Self::Usage(error.into()),
            BackupError::Store(ref source) if !source.is_damage() => {
                Self::Unavailable(error.into())
            }
            BackupError::Store(_)
            | BackupError::Identity(_)
            | BackupError::NeverPublished { .. }
            | BackupError::Damaged { .. } => Self::Integrity(error.into()),
        }
    }
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    if let Some(Command::Verify { file }) = arguments.command {
        return run_verify(&file);
    }
    let missing = || Failure::Usage(anyhow::anyhow!("--data DIR and --out FILE are needed"));
    let (data, out) = arguments.data.zip(arguments.out).ok_or_else(missing)?;
    raise_open_files();
    let mut progress = Progress::new("wrote");
    let written = write(&data, &out, |done, of| progress.show(done, of))?;
    progress.end();
    eprintln!("{} holds {} entries and no private keys", out.display(), written.head.size);
    eprintln!(
        "keep {} apart, once: it never changes; keep the anchor where it is",
        data.join("keys").display()
    );
    println!(
        "{}",
        serde_json::json!({
            "event": "backup",
            "file": out,
            "treeSize": written.head.size.to_string(),
            "rootHash": written.head.root.to_hex(),
            "bytes": written.bytes,
            "statements": written.counts.statements,
            "sets": written.counts.sets,
            "checkpoints": written.counts.notes,
        })
    );
    Ok(ExitCode::SUCCESS)
}

fn run_verify(file: &Path) -> Result<ExitCode, Failure> {
    let mut progress = Progress::new("read");
    let report = verify(file, |done, of| progress.show(done, of))
        .map_err(|error| Failure::Unavailable(anyhow::anyhow!("{}: {error}", file.display())))?;
    progress.end();
    for problem in &report.problems {
        eprintln!("{}: {problem}", file.display());
    }
    let is_whole = report.problems_count == 0;
    println!(
        "{}",
        serde_json::json!({
            "whole": is_whole,
            "origin": report.identity.as_ref().map(|identity| identity.origin()),
            "treeId": report.identity.as_ref().map(|identity| identity.tree_id().to_string()),
            "treeSize": report.head.size.to_string(),
            "rootHash": report.head.root.to_hex(),
            "bytes": report.bytes,
            "entries": report.counts.entries,
            "statements": report.counts.statements,
            "sets": report.counts.sets,
            "rekorV1WithoutSet": report.v1_without_set,
            "checkpoints": report.counts.notes,
            "problems": report.problems,
            "problemsCount": report.problems_count,
        })
    );
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(6) })
}
