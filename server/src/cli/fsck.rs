//! `treering-server fsck`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::location::Location;
use crate::ops::fsck::{FsckError, check, describe, drop_unsigned};
use crate::ops::rebuild::rebuild;

/// Rebuild a stopped log from its entries and compare everything with it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    location: Location,
    /// Take out entries that were never signed, after writing them to --export
    #[arg(long, env = "TREERING_DROP_UNSIGNED")]
    drop_unsigned: bool,
    /// Write tiles, leaf index and postings again, from entries and statements
    #[arg(long, env = "TREERING_REBUILD")]
    rebuild: bool,
    /// Where --drop-unsigned writes what it takes out [default: DIR.dropped.jsonl]
    #[arg(long, value_name = "FILE", env = "TREERING_EXPORT")]
    export: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  treering-server fsck --data ./log
  treering-server fsck --data ./log --rebuild
  treering-server fsck --data ./log --drop-unsigned --export dropped.jsonl";

impl From<FsckError> for Failure {
    fn from(error: FsckError) -> Self {
        match error {
            FsckError::Start(error) => error.into(),
            FsckError::Store(_) => Self::Integrity(error.into()),
            FsckError::Export { .. } => Self::Unavailable(error.into()),
        }
    }
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Location { data, anchor } = arguments.location;
    if arguments.drop_unsigned {
        let export = arguments.export.unwrap_or_else(|| default_export(&data));
        let count = drop_unsigned(&data, anchor.as_deref(), &export)?;
        match count {
            0 => eprintln!("no entries lie above the anchor; nothing was dropped"),
            _ => eprintln!(
                "dropped {count} entries that were never signed; saved in {}",
                export.display()
            ),
        }
    }
    if arguments.rebuild {
        let count = rebuild(&data, anchor.as_deref(), |_| {})?;
        eprintln!("wrote the derived rows of {count} entries again");
    }
    let is_terminal = std::io::stderr().is_terminal();
    let checkup = check(&data, anchor.as_deref(), |entries| {
        if is_terminal {
            eprint!("\rchecked {entries} entries");
        }
    })?;
    if is_terminal {
        eprintln!();
    }
    let findings: Vec<String> = checkup.report.findings.iter().map(describe).collect();
    println!(
        "{}",
        serde_json::json!({
            "clean": checkup.is_clean(),
            "treeSize": checkup.report.head.size.to_string(),
            "rootHash": checkup.report.head.root.to_hex(),
            "anchoredSize": checkup.anchored.size.to_string(),
            "unsignedEntries": checkup.unsigned,
            "headsChecked": checkup.report.heads_checked,
            "findings": findings,
            "findingsCount": checkup.report.findings_count,
            "problems": checkup.problems,
        })
    );
    Ok(if checkup.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(6) })
}

fn default_export(data: &Path) -> PathBuf {
    let mut name = data.as_os_str().to_os_string();
    name.push(".dropped.jsonl");
    name.into()
}
