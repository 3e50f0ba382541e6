//! The command line of the server: flags in, one operation, an exit code out.
//!
//! stdout is data, stderr is for people. Every setting comes from a flag, else from its variable
//! `TREERING_*`, else from the configuration file ([`crate::config`]), else from its default.

mod backup;
mod claim;
mod config;
mod doctor;
mod failure;
mod freeze;
mod fsck;
mod health;
mod init;
mod journal;
mod location;
mod policy;
mod progress;
mod restore;
pub mod serve;
mod timestamps;
mod token;
mod trust;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::failure::Failure;
use crate::config::ConfigFile;

/// A transparency log for machine-learning model signatures.
#[derive(Parser)]
#[command(name = "treering-server", version = VERSION, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    config: location::ConfigLocation,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Serve(serve::Arguments),
    Config(config::Arguments),
    Token(token::Arguments),
    Policy(policy::Arguments),
    Trust(trust::Arguments),
    Timestamps(timestamps::Arguments),
    Fsck(fsck::Arguments),
    Claim(claim::Arguments),
    Freeze(freeze::Arguments),
    Doctor(Box<doctor::Arguments>),
    Health(health::Arguments),
    Journal(journal::Arguments),
    Backup(backup::Arguments),
    Restore(restore::Arguments),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let failure = match ConfigFile::find(&arguments) {
        Ok(file) => {
            let (cli, matches) = parse(&arguments, &file);
            start_logging();
            match dispatch(cli.command, &matches, &file) {
                Ok(code) => return code,
                Err(failure) => failure,
            }
        }
        Err(error) => Failure::Usage(error.into()),
    };
    failure.report()
}

fn dispatch(
    command: Command,
    matches: &ArgMatches,
    file: &ConfigFile,
) -> Result<ExitCode, Failure> {
    match command {
        Command::Init(arguments) => init::run(arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Config(arguments) => config::run(arguments, matches, file),
        Command::Token(arguments) => token::run(arguments),
        Command::Policy(arguments) => policy::run(arguments),
        Command::Trust(arguments) => trust::run(arguments),
        Command::Timestamps(arguments) => timestamps::run(arguments),
        Command::Fsck(arguments) => fsck::run(arguments),
        Command::Claim(arguments) => claim::run(arguments),
        Command::Freeze(arguments) => freeze::run(arguments),
        Command::Doctor(arguments) => doctor::run(*arguments),
        Command::Health(arguments) => health::run(arguments),
        Command::Journal(arguments) => journal::run(arguments),
        Command::Backup(arguments) => backup::run(arguments),
        Command::Restore(arguments) => restore::run(arguments),
    }
}

/// The command that `arguments` give, with the values of `file` in place of built-in defaults. Ends
/// the process with help, or with what is wrong.
fn parse(arguments: &[std::ffi::OsString], file: &ConfigFile) -> (Cli, ArgMatches) {
    let parsed = file.apply(Cli::command()).try_get_matches_from(arguments);
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    parsed.unwrap_or_else(|error| {
        if error.use_stderr()
            && let Some(note) = file.note()
        {
            eprintln!("{note}");
        }
        error.exit()
    })
}

/// Human text on a terminal, JSON elsewhere; `RUST_LOG` filters.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().init();
    }
}

const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (sources ", env!("TREERING_SOURCE_HASH"), ")");

const EXAMPLES: &str = "Examples:
  treering-server init --data ./log --url https://log.corp
  treering-server serve --data ./log --listen 127.0.0.1:3000 --open-writes
  treering-server serve --config /etc/treering/server.toml
  treering-server trust export --data ./log --out ./trust --witness-policy witnesses.policy
  treering-server fsck --data ./log
  treering-server doctor --data ./log
  treering-server journal show --data ./log --principal ci
  treering-server backup --data ./log --out log.backup

Exit codes: 0 ok, 2 usage, 5 unavailable, 6 integrity alarm (do not restart before a person has looked).";

#[cfg(test)]
mod tests;
