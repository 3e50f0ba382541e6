//! The arguments of the commands that say something about a logged model.

use std::path::PathBuf;

use clap::Args;
use treering_proto::notice::{REASON_LEN_MAX, ROLE_LEN_MAX, is_role};
use treering_proto::tree::LeafIndex;

use super::super::arguments::{KeyArguments, NetworkArguments, StateArguments, TrustArguments};
use super::which::{Which, parse_index};

/// Which logged model is spoken about.
#[derive(Args)]
pub struct AboutArguments {
    /// Directory or file that is spoken about; its files must be those that were signed
    #[arg(value_name = "MODEL", required_unless_present_any = ["signature", "entry"])]
    model: Option<PathBuf>,
    /// Its bundle [default: MODEL/model.sig, or MODEL.sig for a file]. Without MODEL no files are
    /// looked at
    #[arg(long, value_name = "FILE", env = "TREERING_SIGNATURE")]
    signature: Option<PathBuf>,
    /// Speak about the entry at this index of the log
    #[arg(long, value_name = "INDEX", env = "TREERING_ENTRY", value_parser = parse_index,
          conflicts_with_all = ["model", "signature"])]
    entry: Option<LeafIndex>,
    /// Follow linked files (linked directories are refused either way)
    #[arg(long, env = "TREERING_ALLOW_SYMLINKS")]
    pub allow_symlinks: bool,
}

/// Which logged model takes the place.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct ByArguments {
    /// Directory or file of the model that takes the place, with its bundle beside or inside
    #[arg(long, value_name = "MODEL", env = "TREERING_BY")]
    by: Option<PathBuf>,
    /// Bundle of the model that takes the place
    #[arg(long, value_name = "FILE", env = "TREERING_BY_SIGNATURE")]
    by_signature: Option<PathBuf>,
    /// Index of the entry that takes the place
    #[arg(long, value_name = "INDEX", env = "TREERING_BY_ENTRY", value_parser = parse_index)]
    by_entry: Option<LeafIndex>,
}

/// What all notices need.
#[derive(Args)]
pub struct Common {
    #[command(flatten)]
    pub trust: TrustArguments,
    #[command(flatten)]
    pub key: KeyArguments,
    /// Where to write the bundle of the notice [default: beside MODEL as MODEL.KIND.INDEX.sig,
    /// without MODEL here as entry-N.KIND.INDEX.sig]
    #[arg(long, value_name = "FILE", env = "TREERING_OUT")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub network: NetworkArguments,
    #[command(flatten)]
    pub state: StateArguments,
}

/// Say that nobody should use a model
///
/// Logs a revocation of the model, whatever its name and whoever signed it. It cannot be taken
/// back, so it is sent only with --yes. It counts if it is by the signer of the entry, or by a
/// recovery key that the log's policy and the trust files of verifiers name.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering revoke ./llama-3 --reason 'trained on poisoned data' --yes \\
      --trust trust.json --key ci.pem
  treering revoke --entry 4711 --reason 'the signing key was stolen' --yes \\
      --trust trust.json --key recovery.pem")]
pub struct RevokeArguments {
    #[command(flatten)]
    pub about: AboutArguments,
    /// Why, for people: one line, which everybody can read in the log
    #[arg(long, value_name = "TEXT", env = "TREERING_REASON", value_parser = parse_reason)]
    pub reason: String,
    /// Revoke it: this cannot be taken back
    #[arg(long, env = "TREERING_YES")]
    pub yes: bool,
    #[command(flatten)]
    pub common: Common,
}

/// Say that another model takes the place of one
///
/// Also announces a new name: the model that takes the place may be the same under another. It
/// counts if it is by the signer of the entry, or by a recovery key.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering supersede ./llama-3 --by ./llama-3.1 --reason 'fixes the tokenizer' \\
      --trust trust.json --key ci.pem
  treering supersede --entry 4711 --by-entry 5022 --reason 'renamed to llama-next' \\
      --trust trust.json --key ci.pem")]
pub struct SupersedeArguments {
    #[command(flatten)]
    pub about: AboutArguments,
    #[command(flatten)]
    pub by: ByArguments,
    /// Why, for people: one line, which everybody can read in the log
    #[arg(long, value_name = "TEXT", env = "TREERING_REASON", value_parser = parse_reason)]
    pub reason: String,
    #[command(flatten)]
    pub common: Common,
}

/// Say that an older model is right again
///
/// Finds the newest model of the same name by the same signers, or takes --instead-of. Whatever
/// they log later ends the approval. It counts if it is by the signer of the entry, or by a
/// recovery key.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering approve-rollback ./llama-3.0 --reason '3.1 leaks prompts' \\
      --trust trust.json --key ci.pem
  treering approve-rollback --entry 4711 --instead-of 5022 --reason '3.1 leaks prompts' \\
      --trust trust.json --key ci.pem")]
pub struct ApproveRollbackArguments {
    #[command(flatten)]
    pub about: AboutArguments,
    /// Why, for people: one line, which everybody can read in the log
    #[arg(long, value_name = "TEXT", env = "TREERING_REASON", value_parser = parse_reason)]
    pub reason: String,
    /// Index of the newest entry that is rolled back [default: what the log's search finds]
    #[arg(long, value_name = "INDEX", env = "TREERING_INSTEAD_OF", value_parser = parse_index)]
    pub instead_of: Option<LeafIndex>,
    #[command(flatten)]
    pub common: Common,
}

/// Say that you looked at a model and find it good
///
/// Anybody may approve whom the log lets write; a verifier counts those whom its trust file names
/// for the role, each person once.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering approve ./llama-3 --role security --trust trust.json --key sam.pem
  treering approve --entry 4711 --role qa --reason 'passed suite 12' \\
      --trust trust.json --key kim.pem")]
pub struct ApproveArguments {
    #[command(flatten)]
    pub about: AboutArguments,
    /// In what function, as verifiers spell it: a-z, 0-9, '.', '_' and '-'
    #[arg(long, env = "TREERING_ROLE", value_parser = parse_role)]
    pub role: String,
    /// What was looked at, for people: one line, which everybody can read in the log
    #[arg(long, value_name = "TEXT", env = "TREERING_REASON", value_parser = parse_reason)]
    pub reason: Option<String>,
    #[command(flatten)]
    pub common: Common,
}

impl AboutArguments {
    /// The same as a choice.
    pub fn which(&self) -> Which<'_> {
        Which {
            model: self.model.as_deref(),
            signature: self.signature.as_deref(),
            entry: self.entry,
            allow_symlinks: self.allow_symlinks,
        }
    }
}

impl ByArguments {
    /// The same as a choice.
    pub fn which(&self, allow_symlinks: bool) -> Which<'_> {
        Which {
            model: self.by.as_deref(),
            signature: self.by_signature.as_deref(),
            entry: self.by_entry,
            allow_symlinks,
        }
    }
}

fn parse_reason(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a reason says something".to_owned()),
        _ if text.len() > REASON_LEN_MAX => {
            Err(format!("a reason has at most {REASON_LEN_MAX} bytes, this has {}", text.len()))
        }
        _ if text.contains(char::is_control) => {
            Err("a reason is one line without control characters".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

fn parse_role(text: &str) -> Result<String, String> {
    match is_role(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("a role is 1 to {ROLE_LEN_MAX} of a-z, 0-9, '.', '_' and '-'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        assert!(parse_reason(&"x".repeat(REASON_LEN_MAX)).is_ok());
        assert!(parse_reason("vergiftet 🦙").is_ok());
        let long = "x".repeat(REASON_LEN_MAX + 1);
        for text in ["", "a\nb", "a\u{1b}[2J", "a\u{85}", &long] {
            assert!(parse_reason(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_role_is_spelled_as_in_policies() {
        assert!(parse_role("data-science.2").is_ok());
        for text in ["", "QA", "a b", "\u{e9}", &"x".repeat(ROLE_LEN_MAX + 1)] {
            assert!(parse_role(text).is_err(), "{text:?}");
        }
    }
}
