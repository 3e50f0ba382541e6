//! The command line: arguments, and the parts that commands share.
//!
//! stdout is data, stderr is for people. Every flag has a variable `TREERING_*`; a flag wins.

mod arguments;
mod audit;
mod compare;
mod events;
mod evidence;
mod export;
mod failure;
mod history;
mod history_print;
mod inspect;
mod keygen;
mod log_info;
mod model;
mod monitor;
mod notice;
mod output;
mod search;
mod search_index;
mod sign;
mod staple;
mod submit;
mod trust;
mod verify;
mod witness;

use clap::{Parser, Subcommand};
use treering_client::report::Exit;

use failure::Failure;
use output::Output;

/// Sign machine-learning models, log the signatures, verify both.
#[derive(Parser)]
#[command(name = "treering", version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    output: output::OutputArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Keygen(keygen::Arguments),
    Sign(sign::Arguments),
    Submit(submit::Arguments),
    Revoke(notice::RevokeArguments),
    Supersede(notice::SupersedeArguments),
    ApproveRollback(notice::ApproveRollbackArguments),
    Approve(notice::ApproveArguments),
    Verify(verify::Arguments),
    Trust(trust::Arguments),
    Inspect(inspect::Arguments),
    Search(search::Arguments),
    History(history::Arguments),
    Staple(staple::Arguments),
    LogInfo(log_info::Arguments),
    Export(export::Arguments),
    Compare(compare::Arguments),
    Evidence(evidence::Arguments),
    Monitor(monitor::Arguments),
    Audit(audit::Arguments),
    Witness(witness::Arguments),
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, verified
  1  not verified; not logged included
  2  wrong usage, or a file that makes no sense
  3  a look-up found nothing
  4  the log does not let you
  5  unavailable, timed out, or a required check could not run
  6  integrity alarm: a fork, a rollback, a false proof
  7  refused by a policy";

/// Runs the command line of this process.
pub fn run() -> Exit {
    let cli = Cli::parse();
    let output = Output::new(&cli.output);
    let done = match cli.command {
        Command::Keygen(arguments) => keygen::run(arguments, &output),
        Command::Sign(arguments) => with_network(sign::run(arguments, &output)),
        Command::Submit(arguments) => with_network(submit::run(arguments, &output)),
        Command::Revoke(arguments) => with_network(notice::revoke(arguments, &output)),
        Command::Supersede(arguments) => with_network(notice::supersede(arguments, &output)),
        Command::ApproveRollback(arguments) => {
            with_network(notice::approve_rollback(arguments, &output))
        }
        Command::Approve(arguments) => with_network(notice::approve(arguments, &output)),
        Command::Verify(arguments) => with_network(verify::run(arguments, &output)),
        Command::Trust(arguments) => trust::run(arguments, &output),
        Command::Inspect(arguments) => inspect::run(&arguments, &output),
        Command::Search(arguments) => with_network(search::run(arguments, &output)),
        Command::History(arguments) => with_network(history::run(arguments, &output)),
        Command::Staple(arguments) => with_network(staple::run(arguments, &output)),
        Command::LogInfo(arguments) => with_network(log_info::run(arguments, &output)),
        Command::Export(arguments) => with_network(export::run(arguments, &output)),
        Command::Compare(arguments) => with_network(compare::run(arguments, &output)),
        Command::Evidence(arguments) => evidence::run(arguments, &output),
        Command::Audit(arguments) => with_threads(audit::run(arguments, &output)),
        Command::Monitor(arguments) => with_threads(monitor::run(arguments, &output)),
        Command::Witness(arguments) => witness::run(arguments, &output),
    };
    done.unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit
    })
}

fn with_network(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::Unavailable, "cannot start", error))?;
    runtime.block_on(command)
}

/// For commands that read whole logs: several answers are read and written at once.
fn with_threads(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::Unavailable, "cannot start", error))?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_flag_has_a_variable_and_every_command_examples() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let Some(long) = argument.get_long() else { continue };
                if matches!(long, "help" | "version") {
                    continue;
                }
                let variable = argument.get_env().map(|env| env.to_string_lossy().into_owned());
                let expected = format!("TREERING_{}", long.replace('-', "_").to_uppercase());
                assert_eq!(variable, Some(expected), "--{long} of {}", command.get_name());
            }
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            if !command.has_subcommands() {
                assert!(examples.contains("treering "), "{} has no example", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        Cli::command().debug_assert();
        check(&Cli::command());
    }
}
