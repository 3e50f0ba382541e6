//! `treering-server token`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::Failure;
use crate::access::commands::{
    CommandError, TokenPlaces, create_token, create_token_in, list_tokens, parse_kind,
    parse_lifetime, revoke_tokens,
};
use crate::access::token::{KindName, Scope};
use crate::access::token_file::{NewToken, TokenFileError};
use crate::data_directory::{DataDirectory, JOURNAL_DIRECTORY, TOKENS_FILE};

/// Make, list and revoke the tokens that writers send; beside a running server, too.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a token and print it, or put it into a file, this one time
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        #[command(flatten)]
        log: Log,
        /// Whose it is: what rules of the access policy ask for
        #[arg(long, value_name = "NAME", env = "TREERING_NAME")]
        name: String,
        /// How long it is good for, such as 90d or 12h; at most 366d
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_lifetime,
              env = "TREERING_LIFETIME")]
        lifetime: u64,
        /// A reminder for people
        #[arg(long, value_name = "TEXT", default_value = "", env = "TREERING_NOTE")]
        note: String,
        /// Narrow it to this project; may be given again
        #[arg(long, value_name = "NAME", env = "TREERING_PROJECT")]
        project: Vec<String>,
        /// Narrow it to this kind of entries, such as dsse; may be given again
        #[arg(long, value_name = "KIND", value_parser = parse_kind, env = "TREERING_KIND")]
        kind: Vec<KindName>,
        /// Put the token into this new file, mode 0600, and print everything but the token
        #[arg(long, value_name = "FILE", env = "TREERING_TOKEN_OUT")]
        out: Option<PathBuf>,
    },
    /// List all tokens, without what opens the log
    #[command(after_help = LIST_EXAMPLES)]
    List {
        #[command(flatten)]
        log: Log,
    },
    /// Revoke a token, or all tokens of a name
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke {
        #[command(flatten)]
        log: Log,
        /// The id of a token, or the name of several
        #[arg(value_name = "ID|NAME")]
        which: String,
    },
}

/// Which log.
#[derive(Args)]
struct Log {
    /// The data directory of the log
    #[arg(long, value_name = "DIR", env = "TREERING_DATA")]
    data: PathBuf,
    /// Directory of the access journal [default: DIR/journal]
    #[arg(long, value_name = "DIR", env = "TREERING_JOURNAL")]
    journal: Option<PathBuf>,
}

const CREATE_EXAMPLES: &str = "Examples:
  treering-server token create --data ./log --name ci-llm --out ci-llm.token
  treering-server token create --data ./log --name ci-llm --lifetime 12h --kind dsse --note nightly";

const LIST_EXAMPLES: &str = "Examples:
  treering-server token list --data ./log";

const REVOKE_EXAMPLES: &str = "Examples:
  treering-server token revoke --data ./log 9f86d081884c7d65
  treering-server token revoke --data ./log ci-llm

Exit codes: 0 revoked, or nothing left to revoke; 3 no such token.";

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let answer = match arguments.command {
        Command::Create { log, name, lifetime, note, project, kind, out } => {
            let scope = Scope { projects: project, kinds: kind };
            let new = NewToken { name, note, lifetime_s: lifetime, scope };
            let places = log.places()?;
            match out {
                Some(out) => create_token_in(&places, new, &out),
                None => create_token(&places, new),
            }
        }
        Command::List { log } => list_tokens(&log.places()?.tokens),
        Command::Revoke { log, which } => revoke_tokens(&log.places()?, &which),
    };
    match answer {
        Ok(answer) => {
            // A token that was made and could not be shown is a failure that must be heard of.
            writeln!(std::io::stdout(), "{answer}")
                .map_err(|error| Failure::Unavailable(error.into()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ CommandError::Tokens(TokenFileError::NotFound(_))) => {
            eprintln!("error: {error}");
            Ok(ExitCode::from(3))
        }
        Err(
            error @ (CommandError::Tokens(TokenFileError::Io { .. } | TokenFileError::Random(_))
            | CommandError::Journal { .. }
            | CommandError::Out { .. }),
        ) => Err(Failure::Unavailable(error.into())),
        Err(error) => Err(Failure::Usage(error.into())),
    }
}

impl Log {
    /// The files of what is a log; nothing is made beside a mistyped directory.
    fn places(self) -> Result<TokenPlaces, Failure> {
        DataDirectory::public(&self.data).map_err(|error| Failure::Usage(error.into()))?;
        let journal = self.journal.unwrap_or_else(|| self.data.join(JOURNAL_DIRECTORY));
        Ok(TokenPlaces { tokens: self.data.join(TOKENS_FILE), journal })
    }
}
