//! `faults`: injects every fault that a plain Linux machine can make into logs under load, and
//! checks after each that nothing acknowledged is lost and nothing forks. `docs/durability.md` has
//! the table of faults; `scripts/faults` builds what this needs.
//!
//! ```text
//! faults --quick               every scenario, and every seeded bug is caught by one
//! faults --soak MINUTES        every scenario again and again, until one finds something
//! faults --seed N              makes the same choices again
//! ```
//!
//! Invariant: the workload and the judge do not know which fault is injected, nor which bug the
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
mod record;
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
