//! `treering-server doctor`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use super::serve;
use crate::ops::doctor::{Check, Doctor, Outcome, WriteControl, examine, is_failed};
use crate::ops::serve::{Service, TimestampSource};

/// Hours after which a backup is old, unless somebody says otherwise: one a day, and some time.
const BACKUP_HOURS_MAX: u64 = 26;

/// The flags of serve, and a few more.
// Its group would have the name of that of the flags of serve.
#[derive(Args)]
#[group(skip)]
#[command(about = "Look at a machine and a log, and say what would go wrong", after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    serve: serve::Arguments,
    /// How to say it
    #[arg(long, default_value = "text", env = "TREERING_OUTPUT")]
    output: Output,
    /// The directory in which backups are made
    #[arg(long, value_name = "DIR", env = "TREERING_BACKUPS")]
    backups: Option<PathBuf>,
    /// How many hours old the newest may be
    #[arg(long, value_name = "HOURS", default_value_t = BACKUP_HOURS_MAX,
          requires = "backups", env = "TREERING_BACKUP_HOURS")]
    backup_hours: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

const EXAMPLES: &str = "Examples:
  treering-server doctor --data ./log
  treering-server doctor --config /etc/treering/server.toml --output json
  treering-server doctor --data ./log --backups /srv/backups --backup-hours 26

Takes the flags of serve. Exit codes: 0 nothing failed, 1 something did, 2 usage.";

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { serve, output, backups, backup_hours } = arguments;
    let age_max = Duration::from_secs(backup_hours.saturating_mul(60 * 60));
    let backups = backups.map(|path| (path, age_max));
    let doctor = doctor(serve.service()?, backups);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Unavailable(error.into()))?;
    let checks = runtime.block_on(examine(&doctor));
    match output {
        Output::Text => checks.iter().for_each(print),
        Output::Json => println!(
            "{:#}",
            serde_json::json!({ "schema": 1, "failed": is_failed(&checks), "checks": checks })
        ),
    }
    Ok(if is_failed(&checks) { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn doctor(service: Service, backups: Option<(PathBuf, Duration)>) -> Doctor {
    let write_control = match (service.open_writes, &service.access_policy) {
        (true, _) => WriteControl::Open,
        (false, Some(_)) => WriteControl::Principals,
        (false, None) => WriteControl::Closed,
    };
    let settings = service.check().map_err(|error| error.to_string());
    Doctor {
        data: service.data,
        anchor: service.anchor,
        listen: service.listen,
        read_listen: service.read_listen,
        write_faces: service.offer.write_faces,
        free_disk_min: service.free_disk_min,
        witness_policy: service.witnesses.map(|witnesses| witnesses.policy),
        tls: service.tls,
        settings,
        write_control,
        backups,
        timestamps_off: service.timestamps == Some(TimestampSource::Off),
    }
}

fn print(check: &Check) {
    let outcome = match check.outcome {
        Outcome::Ok => "ok  ",
        Outcome::Warn => "warn",
        Outcome::Fail => "FAIL",
    };
    println!("{outcome}  {}: {}", check.name, check.what);
    if check.outcome != Outcome::Ok {
        println!("      why: {}", check.why);
        println!("      do:  {}", check.remedy);
    }
}
