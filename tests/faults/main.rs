//! `faults`: injects every fault that a plain Linux machine can make into logs under load, and
//! checks after each that nothing acknowledged is lost and nothing forks. `docs/durability.md` has
//! the table of faults; `scripts/faults` builds what this needs.
//!
//! ```text
//! faults --quick               every scenario, and every seeded bug is caught by one
//! faults --soak MINUTES        every scenario again and again, until one finds something
//! faults --seed N              makes the same choices again
//! faults --judge FILE          decides again over a history that --history FILE kept
//! ```
//!
//! Invariant: the workload and the checker do not know which fault is injected, nor which bug the
//! server has.

mod clocks;
mod errors;
mod fences;
mod flips;
mod judge;
mod kills;
mod memory;
mod mounts;
mod power;
mod run;
mod shim;
mod space;
mod tally;
mod trial;
mod violation;
mod workload;

use std::process::ExitCode;

use clap::Parser;

/// Injects faults into logs under load.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// Every scenario once, then every seeded bug.
    #[arg(long, conflicts_with = "soak")]
    quick: bool,
    /// Every scenario again and again, for so many minutes.
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u64>,
    /// Where all choices come from; printed when it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Only scenarios whose name contains this.
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Only this seeded bug, and no run without one.
    #[arg(long, value_name = "NAME")]
    bug: Option<String>,
    /// Where the history of the first violation goes, to be judged again without the log.
    #[arg(long, value_name = "FILE")]
    history: Option<std::path::PathBuf>,
    /// Only decide over a history that was kept.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "soak", "scenario", "bug"])]
    judge: Option<std::path::PathBuf>,
    /// A Markdown file whose table between the markers is written anew.
    #[arg(long, value_name = "FILE")]
    table: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    match run::run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}
