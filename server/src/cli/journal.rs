//! `treering-server journal`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use treering_proto::hash::Hash;

use super::failure::Failure;
use crate::data_directory::JOURNAL_DIRECTORY;
use crate::journal::{Head, read, verify};

/// Read the access journal: who wrote, and who was refused.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(Verify),
    Show(Show),
}

/// Where the journal is.
#[derive(Args)]
struct Place {
    /// The data directory of the log
    #[arg(long, value_name = "DIR", env = "TREERING_DATA")]
    data: PathBuf,
    /// Directory of the access journal [default: DIR/journal]
    #[arg(long, value_name = "DIR", env = "TREERING_JOURNAL")]
    journal: Option<PathBuf>,
}

/// Check the chain of all lines, and print what was found as JSON.
#[derive(Args)]
#[command(after_help = VERIFY_EXAMPLES)]
struct Verify {
    #[command(flatten)]
    place: Place,
    /// A line that was noted elsewhere and must be in the journal: its number and its hash
    #[arg(long, value_name = "NUMBER:HASH", value_parser = parse_head, env = "TREERING_HEAD")]
    head: Option<Head>,
}

/// Print lines of the journal as they are, oldest first.
#[derive(Args)]
#[command(after_help = SHOW_EXAMPLES)]
struct Show {
    #[command(flatten)]
    place: Place,
    /// Only lines written at this time or later, such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME", env = "TREERING_SINCE")]
    since: Option<jiff::Timestamp>,
    /// Only lines of this principal
    #[arg(long, value_name = "NAME", env = "TREERING_PRINCIPAL")]
    principal: Option<String>,
}

const VERIFY_EXAMPLES: &str = "Examples:
  treering-server journal verify --data ./log
  treering-server journal verify --data ./log --head 42:3f0c...

Exit codes: 0 whole, 2 no journal, 5 it cannot be read, 6 lines are changed, missing or cut.";

const SHOW_EXAMPLES: &str = "Examples:
  treering-server journal show --data ./log
  treering-server journal show --data ./log --since 2026-11-01T00:00:00Z --principal ci

Exit codes: 0 lines were printed, 2 no journal, 3 none fits, 5 it cannot be read.";

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Verify(arguments) => run_verify(&arguments),
        Command::Show(arguments) => run_show(&arguments),
    }
}

fn run_verify(arguments: &Verify) -> Result<ExitCode, Failure> {
    let directory = arguments.place.directory()?;
    let report = verify(&directory, arguments.head);
    let report = report.map_err(|error| Failure::Unavailable(error.into()))?;
    let head = |head: Head| format!("{}:{}", head.sequence, head.hash);
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|found| {
            let problem = found.problem.label();
            json!({ "segment": found.segment, "line": found.line, "problem": problem })
        })
        .collect();
    println!(
        "{}",
        json!({
            "whole": report.is_whole(),
            "segments": report.segments,
            "lines": report.lines,
            "first": report.first,
            "wholeUpTo": head(report.whole_up_to),
            "head": head(report.head),
            "findings": findings,
            "findingsCount": report.findings_count,
        })
    );
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(6) })
}

fn run_show(arguments: &Show) -> Result<ExitCode, Failure> {
    let directory = arguments.place.directory()?;
    let since = arguments.since.map_or(0, |time| u64::try_from(time.as_millisecond()).unwrap_or(0));
    let mut output = io::BufWriter::new(io::stdout().lock());
    let (mut count, mut written) = (0_u64, Ok(()));
    let shown = read(&directory, |line, record| {
        let fits = arguments.principal.as_ref().is_none_or(|name| *name == record.principal)
            && record.time_ms().is_none_or(|time| time >= since);
        if fits {
            count += 1;
            written = output.write_all(line).and_then(|()| output.write_all(b"\n"));
        }
        written.is_ok()
    });
    shown.map_err(|error| Failure::Unavailable(error.into()))?;
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Unavailable(error.into()))
        }
        _ if count == 0 => Ok(ExitCode::from(3)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

impl Place {
    fn directory(&self) -> Result<PathBuf, Failure> {
        let default = || self.data.join(JOURNAL_DIRECTORY);
        let directory = self.journal.clone().unwrap_or_else(default);
        match directory.is_dir() {
            true => Ok(directory),
            false => {
                let why = format!("{} is no directory: there is no journal", directory.display());
                Err(Failure::Usage(anyhow::anyhow!(why)))
            }
        }
    }
}

fn parse_head(text: &str) -> Result<Head, String> {
    let parsed = text.split_once(':').and_then(|(number, hash)| {
        let hash = Hash::from_slice(&hex::decode(hash).ok()?)?;
        Some(Head { sequence: number.parse().ok()?, hash })
    });
    parsed.ok_or_else(|| "a head is the number of a line, a colon, and its hash".to_owned())
}
