//! Where things are: arguments that several commands share.

use std::path::PathBuf;

use clap::Args;

/// Where a log is.
#[derive(Args)]
pub struct Location {
    /// The data directory of the log
    #[arg(long, value_name = "DIR", env = "TREERING_DATA")]
    pub data: PathBuf,
    /// The anchor file [default: where it was last; at first DIR.anchor]. Better on another volume
    /// than DIR
    #[arg(long, value_name = "FILE", env = "TREERING_ANCHOR")]
    pub anchor: Option<PathBuf>,
}

/// Where settings are.
#[derive(Args)]
pub struct ConfigLocation {
    /// TOML file of settings, named as the flags of serve are; flags and variables win over it
    #[arg(long, value_name = "FILE", env = "TREERING_CONFIG", global = true)]
    pub config: Option<PathBuf>,
}
