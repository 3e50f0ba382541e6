//! `treering-server timestamps`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::Failure;
use crate::clock;
use crate::ops::timestamps::{TimestampsError, init, show};
use crate::startup::StartError;
use crate::timestamp::{Authority, AuthorityError};

/// Make the timestamp authority (RFC 3161) of a log, or show it.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make one for a log that has none; the server must be stopped
    #[command(after_help = EXAMPLES)]
    Init {
        /// The data directory of the log
        #[arg(long, value_name = "DIR", env = "TREERING_DATA")]
        data: PathBuf,
        /// Make another in place of the one that there is, as when its certificates end or its key
        /// was stolen. Verifiers need its certificates, too
        #[arg(long, env = "TREERING_REPLACE")]
        replace: bool,
    },
    /// Print whose it is, until when it may sign, and its certificate's fingerprint
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The data directory of the log
        #[arg(long, value_name = "DIR", env = "TREERING_DATA")]
        data: PathBuf,
    },
}

const EXAMPLES: &str = "Examples:
  treering-server timestamps init --data ./log
  treering-server timestamps init --data ./log --replace";

const SHOW_EXAMPLES: &str = "Examples:
  treering-server timestamps show --data ./log";

impl From<TimestampsError> for Failure {
    fn from(error: TimestampsError) -> Self {
        match error {
            TimestampsError::Directory(error)
            | TimestampsError::Authority(AuthorityError::Directory(error)) => {
                StartError::from(error).into()
            }
            TimestampsError::Identity(error) => StartError::from(error).into(),
            TimestampsError::Key(error)
            | TimestampsError::Authority(AuthorityError::Key(error)) => {
                StartError::from(error).into()
            }
            other => Self::Usage(other.into()),
        }
    }
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Init { data, replace } => {
            let made = init(&data, replace)?;
            eprintln!("made a timestamp authority; its key and certificates are in");
            eprintln!("  {}", data.join("keys/timestamp.pem").display());
            eprintln!("keep a copy with the log's other keys, and export the trust files again");
            if let Some(path) = &made.retired {
                eprintln!("the certificates of the one before, for what it signed, are now in");
                eprintln!("  {}", path.display());
            }
            print(&made.authority);
        }
        Command::Show { data } => print(&show(&data)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// One JSON line.
fn print(authority: &Authority) {
    let now = clock::read().wall_ms / 1000;
    let time = |second: u64| {
        let time = i64::try_from(second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        time.map(|time| time.to_string())
    };
    let report = serde_json::json!({
        "subject": authority.subject(),
        "notBefore": time(authority.not_before()),
        "notAfter": time(authority.not_after()),
        "daysLeft": authority.not_after().saturating_sub(now) / (24 * 60 * 60),
        "sha256": authority.fingerprint().to_hex(),
    });
    println!("{report}");
}
