//! `treering-server config`.

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Subcommand};
use serde_json::json;

use super::failure::Failure;
use super::serve;
use crate::config::{ConfigFile, reference};

/// Check and show the settings of a server.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read the settings and every file that they name, and say what is wrong
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Box<serve::Arguments>),
    /// Print each setting with its value and where that comes from, as JSON
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Box<serve::Arguments>),
    /// Print the reference of all settings, as Markdown
    #[command(after_help = REFERENCE_EXAMPLES)]
    Reference,
}

const CHECK_EXAMPLES: &str = "Examples:
  treering-server config check --config /etc/treering/server.toml";

const SHOW_EXAMPLES: &str = "Examples:
  treering-server config show --config /etc/treering/server.toml
  TREERING_LISTEN=127.0.0.1:8080 treering-server config show --data ./log";

const REFERENCE_EXAMPLES: &str = "Examples:
  treering-server config reference";

/// Runs it; `matches` are what the parser found.
pub fn run(
    arguments: Arguments,
    matches: &ArgMatches,
    file: &ConfigFile,
) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Check(serve) => {
            serve.service()?.check()?;
            eprintln!("the settings are good");
        }
        Command::Show(_) => {
            let shown = matches.subcommand().and_then(|(_, config)| config.subcommand());
            let (_, shown) = shown.expect("the parser found config show, so there are its matches");
            println!("{:#}", show(shown, file));
        }
        Command::Reference => print!("{}", reference()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Every setting: value and source.
fn show(matches: &ArgMatches, file: &ConfigFile) -> serde_json::Value {
    let mut settings = serde_json::Map::new();
    for argument in serve::command().get_arguments() {
        let Some(name) = argument.get_long() else { continue };
        if matches!(name, "help" | "config") {
            continue;
        }
        let id = argument.get_id().as_str();
        let value = matches.get_raw(id).and_then(|mut values| values.next());
        let value = value.map(|value| value.to_string_lossy().into_owned());
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "variable",
            _ if file.sets(name) => "file",
            _ => "default",
        };
        settings.insert(name.to_owned(), json!({ "value": value, "source": source }));
    }
    json!({ "file": file.path(), "settings": settings })
}
