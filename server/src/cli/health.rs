//! `treering-server health`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use crate::ops::health_check::{HealthCheck, HealthError, check};

/// Ask a running server how it is: exit code 0 when it is well, else 1 or 5. For containers.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Where the server says that it is; its certificate must be for this host
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:3000",
        env = "TREERING_HEALTH_URL"
    )]
    health_url: String,
    /// Where it is reached, if not where the URL says
    #[arg(long, value_name = "ADDR", env = "TREERING_HEALTH_CONNECT")]
    health_connect: Option<SocketAddr>,
    /// PEM file of authorities that are trusted beside those of the system
    #[arg(long, value_name = "FILE", env = "TREERING_HEALTH_CA_FILE")]
    health_ca_file: Option<PathBuf>,
    /// Ask whether it takes entries, not only whether it answers
    #[arg(long, env = "TREERING_HEALTH_READY")]
    health_ready: bool,
}

const EXAMPLES: &str = "Examples:
  treering-server health
  treering-server health --health-ready
  treering-server health --health-url https://log.corp:3000 --health-connect 127.0.0.1:3000";

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let asked = HealthCheck {
        url: arguments.health_url,
        connect: arguments.health_connect,
        authorities: arguments.health_ca_file,
        ready: arguments.health_ready,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Unavailable(error.into()))?;
    let answer = runtime.block_on(check(&asked)).map_err(|error| match error {
        HealthError::NoAnswer { .. } => Failure::Unavailable(error.into()),
        HealthError::Url(_) | HealthError::Authorities { .. } => Failure::Usage(error.into()),
    })?;
    println!("{}", answer.text);
    Ok(if answer.is_well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
