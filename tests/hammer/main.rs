//! `hammer`: puts load on a transparency log, measures it, and verifies what came back.
//!
//! It speaks Rekor v2, Rekor v1, and the `POST /add` of other logs' test servers, so that figures
//! of several servers come from one tool. What it does is in `treering_tests::hammer`; here are
//! flags and output. `docs/performance.md` says what the figures mean.
//!
//! Invariants: standard output has the report and nothing else; the exit code is 0 only if nothing
//! failed and no answer was wrong.
//!
//! Out of scope: TLS; judging a figure.

mod load_options;
mod read;
mod report;
mod write;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use report::Report;

/// What `--help` shows at its end.
const EXAMPLES: &str = "\
Examples:
  As fast as it goes over 64 connections, for ten seconds:
    hammer write --url http://127.0.0.1:3000

  At a fixed rate, each answer verified with the log's key:
    hammer write --url http://127.0.0.1:3000 --rate 500 --log-key log/identity --verify-one-in 1

  Envelopes about models of 1,000 files, through Rekor v1, 2,000 of them:
    hammer write --url http://127.0.0.1:3000 --face v1 --kind dsse --files 1000 --count 2000

  A server that takes submissions on one port and serves tiles on another:
    hammer write --url http://127.0.0.1:2025 --face add --read-url http://127.0.0.1:2026

  Single entries with their proofs; figures as JSON:
    hammer read --url http://127.0.0.1:3000 --what proofs --json

For test logs only: whatever is written stays in the log for ever.
Exit code: 0 if nothing failed and no answer was wrong, 1 if not, 2 for flags that make no sense.";

/// Puts load on a transparency log, measures it, and verifies what came back.
#[derive(Parser)]
#[command(name = "hammer", after_help = EXAMPLES)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Submits entries, each truly signed before the clock starts. They stay in the log for ever.
    #[command(after_help = EXAMPLES)]
    Write(write::Options),
    /// Reads tiles, entries with proofs, or search results.
    #[command(after_help = EXAMPLES)]
    Read(read::Options),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let is_json = match &options.command {
        Command::Write(options) => options.load.json,
        Command::Read(options) => options.load.json,
    };
    match run(&options.command) {
        Ok(report) => {
            let text = if is_json { report.to_json() } else { report.to_text() };
            println!("{text}");
            if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<Report> {
    let runtime = Runtime::new().context("cannot start the runtime")?;
    match command {
        Command::Write(options) => write::run(&runtime, options),
        Command::Read(options) => runtime.block_on(read::run(options)),
    }
}
