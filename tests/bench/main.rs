//! `bench`: how fast the shipped server is, beside what the same machine can do at best, in one
//! run. `docs/performance.md` says what each row means.
//!
//! Invariants: every figure that is compared with another was measured in the same run; the server
//! is the binary that users get, in its own process, with all its syncs; a wrong answer makes the
//! run fail, however fast it was; every loop ends at a deadline or when its requests are used up.
//!
//! Read in this order: `run` (the steps), `writes`, `peers`, `reads`, `growth` and `desk` (what
//! each measures), `loads` (one load, several times), `report`, `targets` and `plots` (what is made
//! of it).
//!
//! Out of scope: judging. Targets are told as met or missed; no figure is asserted anywhere.

mod bare;
mod ceilings;
mod child;
mod desk;
mod disk;
mod figures;
mod fill;
mod growth;
mod growth_table;
mod loads;
mod machine;
mod model;
mod monitor;
mod openssl;
mod peers;
mod plot;
mod plots;
mod quantity;
mod readme;
mod reads;
mod report;
mod run;
mod server;
mod targets;
mod verifies;
mod writes;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mimalloc::MiMalloc;

/// That of the server, so that ceilings, bare hyper and the fill have what it has.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
    /// The client to measure.
    #[arg(long, value_name = "FILE", required_unless_present = "bare_answer")]
    client: Option<PathBuf>,
    /// Seconds for each load; the time to warm up comes on top.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often each load is run: 3 if not said, 1 with --quick.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=99))]
    runs: Option<u64>,
    /// Size of the largest log; a tenth and a hundredth of it are measured, too.
    #[arg(long, default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    entries: u64,
    /// One second for each load, once, a small model, and no large log.
    #[arg(long)]
    quick: bool,
    /// A directory with `rekor-tiles` and `tessera-posix`: other logs that are measured, too.
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// Where to write the same figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The repository whose README.md, docs/performance.md and docs/plots show this run from now
    /// on.
    #[arg(long, value_name = "DIR", conflicts_with = "quick")]
    write_docs: Option<PathBuf>,
    /// Be the bare server that others are compared with, with answers of so many bytes.
    #[arg(long, value_name = "BYTES", hide = true)]
    bare_answer: Option<usize>,
    /// The status of its answers.
    #[arg(long, value_name = "NUMBER", hide = true, default_value_t = 200)]
    bare_status: u16,
    /// A header of its answers.
    #[arg(long, value_name = "NAME: VALUE", hide = true)]
    bare_header: Vec<String>,
}

impl Options {
    /// How long each load is measured.
    fn time(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { self.seconds })
    }

    /// How long each load goes on before it is measured.
    fn warm_up(&self) -> Duration {
        Duration::from_millis(if self.quick { 300 } else { 1_000 })
    }

    /// How long ceilings are measured that vary little.
    fn ceiling_time(&self) -> Duration {
        if self.quick { Duration::from_secs(1) } else { run::CEILING_TIME }
    }

    /// How often each load is run.
    fn runs(&self) -> usize {
        let usual = if self.quick { 1 } else { 3 };
        self.runs.map_or(usual, |runs| runs as usize)
    }

    /// What to say to `scripts/bench` for the same figures in the documents.
    fn to_arguments(&self) -> String {
        let Self { seconds, entries, .. } = self;
        let runs = self.runs();
        let peers = if self.peers.is_some() { " --peers" } else { "" };
        format!("--write-readme --seconds {seconds} --runs {runs} --entries {entries}{peers}")
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.bare_answer {
        Some(len) => bare::serve(len, options.bare_status, &options.bare_header),
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
