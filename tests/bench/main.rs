//! `bench`: how fast the shipped server is, beside what the same machine can do at best, in one
//! run. `docs/performance.md` says what each row means.
//!
//! Invariants: every figure that is compared with another was measured in the same run; the server
//! is the binary that users get, in its own process, with all its syncs; a wrong answer makes the
//! run fail, however fast it was; every loop ends at a deadline or when its requests are used up.
//!
//! Out of scope: judging. No figure here is asserted anywhere.

mod bare;
mod ceilings;
mod check;
mod child;
mod fill;
mod load;
mod machine;
mod model;
mod monitor;
mod report;
mod requests;
mod run;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Measures Treering beside the ceilings of this machine. Usually started by `scripts/bench`.
#[derive(Parser)]
#[command(name = "bench")]
pub(crate) struct Options {
    /// A directory on a disk, not in memory, for logs and models.
    #[arg(long, value_name = "DIR", required_unless_present = "bare_answer")]
    work: Option<PathBuf>,
    /// The server to measure.
    #[arg(long, value_name = "FILE", required_unless_present = "bare_answer")]
    server: Option<PathBuf>,
    /// The client whose monitor is measured.
    #[arg(long, value_name = "FILE", required_unless_present = "bare_answer")]
    client: Option<PathBuf>,
    /// Seconds for each load; the time to warm up comes on top.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Size of the log that start-up, memory and disk are measured at.
    #[arg(long, default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    entries: u64,
    /// Two seconds for each load, a small model, and no large log.
    #[arg(long)]
    quick: bool,
    /// Where to write the same figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Be the bare server that others are compared with, with answers of so many bytes.
    #[arg(long, value_name = "BYTES", hide = true)]
    bare_answer: Option<usize>,
}

impl Options {
    /// How long each load is measured.
    fn time(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { self.seconds })
    }

    /// How long each load goes on before it is measured.
    fn warm_up(&self) -> Duration {
        Duration::from_millis(if self.quick { 500 } else { 1_500 })
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.bare_answer {
        Some(bytes) => bare::serve(bytes),
        None => run::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
