//! `treering-server claim`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::location::Location;
use crate::ops::claim::{ClaimError, claim, claim_with_new_anchor};

/// Say that this copy of a log is the only one left.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    location: Location,
    /// Make a new anchor, because the old one is lost for good
    #[arg(long, requires = "checkpoint", env = "TREERING_NEW_ANCHOR")]
    new_anchor: bool,
    /// The newest checkpoint of this log that anybody has
    #[arg(long, value_name = "FILE", requires = "new_anchor", env = "TREERING_CHECKPOINT")]
    checkpoint: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  treering-server claim --data ./log
  treering-server claim --data ./log --new-anchor --checkpoint newest.checkpoint";

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Location { data, anchor } = arguments.location;
    let claimed = match &arguments.checkpoint {
        Some(path) if arguments.new_anchor => {
            let known = std::fs::read(path)
                .map_err(|error| Failure::Usage(anyhow::anyhow!("{}: {error}", path.display())))?;
            claim_with_new_anchor(&data, anchor.as_deref(), &known)
        }
        _ => claim(&data, anchor.as_deref()),
    };
    let head = claimed.map_err(|error| match error {
        ClaimError::Start(error) => error.into(),
        ClaimError::Checkpoint(_) => Failure::Usage(error.into()),
        ClaimError::NotCovered { .. } => Failure::Integrity(error.into()),
    })?;
    eprintln!("claimed: {} holds {} entries and may be served", data.display(), head.size);
    eprintln!("make sure that no other copy of it is ever started again");
    Ok(ExitCode::SUCCESS)
}
