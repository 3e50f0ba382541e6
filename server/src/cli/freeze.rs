//! `treering-server freeze`.

use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::location::Location;
use crate::ops::freeze::{FreezeError, Frozen, freeze};

/// End a log: it takes no entries any more, and is served for ever as it is.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    location: Location,
    /// Really: nothing takes it back
    #[arg(long, env = "TREERING_YES")]
    yes: bool,
}

const EXAMPLES: &str = "Examples:
  treering-server freeze --data ./log --yes

The server must be stopped, and serves reads alone when it is started again. Exit codes: 0 frozen, now or before;
2 usage, or --yes is missing; 5 in use; 6 integrity alarm.";

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Location { data, anchor } = arguments.location;
    if !arguments.yes {
        let why = "a log that is frozen takes no entries ever again; say --yes if that is meant";
        return Err(Failure::Usage(anyhow::anyhow!(why)));
    }
    let frozen = freeze(&data, anchor.as_deref()).map_err(|error| match error {
        FreezeError::Start(error) => error.into(),
        FreezeError::Unsettled => Failure::Usage(error.into()),
    })?;
    let Frozen { origin, head, checkpoint } = frozen;
    eprintln!("frozen: {origin} has {} entries, and will have no more", head.size);
    eprintln!("its last tree head, signed, is on stdout; keep it where the log is not");
    eprintln!("make a backup now: a log restored from an older one is not frozen");
    println!(
        "{}",
        serde_json::json!({
            "event": "frozen",
            "origin": origin,
            "treeSize": head.size.to_string(),
            "rootHash": head.root.to_hex(),
            "checkpoint": checkpoint,
        })
    );
    Ok(ExitCode::SUCCESS)
}
