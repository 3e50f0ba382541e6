//! `treering-server trust`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::location::Location;
use crate::ops::trust_export::{ExportError, export};

/// Hand out what verifiers need.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write trust.json, the log's public keys and its identity document
    #[command(after_help = EXAMPLES)]
    Export {
        #[command(flatten)]
        location: Location,
        /// The witness policy that verifiers shall ask for, a file in C2SP tlog-policy
        #[arg(long, value_name = "FILE", env = "TREERING_WITNESS_POLICY")]
        witness_policy: Option<PathBuf>,
        /// The directory to write to
        #[arg(long, value_name = "DIR", env = "TREERING_OUT")]
        out: PathBuf,
    },
}

const EXAMPLES: &str = "Examples:
  treering-server trust export --data ./log --out ./trust
  treering-server trust export --data ./log --out ./trust --witness-policy witnesses.policy";

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Command::Export { location, witness_policy, out } = arguments.command;
    let written =
        export(&location.data, witness_policy.as_deref(), &out).map_err(|error| match error {
            ExportError::Io { .. } => Failure::Unavailable(error.into()),
            _ => Failure::Usage(error.into()),
        })?;
    for path in written {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
