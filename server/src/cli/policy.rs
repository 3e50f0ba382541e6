//! `treering-server policy`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};

use super::failure::Failure;
use crate::access::commands::{TestEntry, TestPrincipal, test_policy};

/// Try an access policy.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Decide for a principal and an entry, and show every rule that was tried
    #[command(after_help = EXAMPLES)]
    Test(Test),
}

#[derive(Args)]
#[command(group = ArgGroup::new("principal").required(true))]
#[command(group = ArgGroup::new("what").required(true))]
struct Test {
    /// The access policy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The bearer of a token of this name
    #[arg(long, value_name = "NAME", group = "principal", env = "TREERING_TOKEN_NAME")]
    token_name: Option<String>,
    /// The holder of a client certificate with this name; may be given again
    #[arg(long, value_name = "NAME", group = "principal", env = "TREERING_CERTIFICATE_NAME")]
    certificate_name: Vec<String>,
    /// A workload of this issuer, by the policy's name for it
    #[arg(long, value_name = "NAME", group = "principal", env = "TREERING_ISSUER")]
    issuer: Option<String>,
    /// A claim of the workload: NAME=TEXT, or NAME:=JSON; may be given again
    #[arg(long, value_name = "NAME=TEXT", requires = "issuer", env = "TREERING_CLAIM")]
    claim: Vec<String>,
    /// The body of a submission of Rekor v1 or v2
    #[arg(long, value_name = "FILE", group = "what", env = "TREERING_ENTRY")]
    entry: Option<PathBuf>,
    /// An entry of this kind: dsse, hashedrekord, intoto or rekord
    #[arg(long, value_name = "KIND", group = "what", env = "TREERING_KIND")]
    kind: Option<String>,
    /// The name of a subject of its statement; may be given again
    #[arg(long, value_name = "NAME", conflicts_with = "entry", env = "TREERING_NAME")]
    name: Vec<String>,
    /// The key of a signer, sha256:HEX; may be given again
    #[arg(long, value_name = "KEY", conflicts_with = "entry", env = "TREERING_SIGNER_KEY")]
    signer_key: Vec<String>,
    /// A name in the signer's certificate; may be given again
    #[arg(long, value_name = "NAME", conflicts_with = "entry", env = "TREERING_SIGNER_IDENTITY")]
    signer_identity: Vec<String>,
}

const EXAMPLES: &str = "Examples:
  treering-server policy test access.toml --token-name ci-llm --kind dsse --name llm-7b
  treering-server policy test access.toml --token-name ci-llm --entry body.json
  treering-server policy test access.toml --issuer github --claim repository_id=123456789 \\
    --claim environment=prod --kind dsse --name llm-7b

Exit codes: 0 it would be taken, 2 the policy or a flag makes no sense, 4 it would be refused.";

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Command::Test(test) = arguments.command;
    let file = test.file.clone();
    let principal = test.principal();
    let decided = test_policy(&file, &principal, &test.described());
    let (is_allowed, decision) = decided.map_err(|error| Failure::Usage(error.into()))?;
    println!("{decision:#}");
    Ok(if is_allowed { ExitCode::SUCCESS } else { ExitCode::from(4) })
}

impl Test {
    fn principal(&self) -> TestPrincipal {
        match (&self.token_name, &self.issuer) {
            (Some(name), _) => TestPrincipal::Token(name.clone()),
            (None, Some(issuer)) => {
                TestPrincipal::Workload { issuer: issuer.clone(), claims: self.claim.clone() }
            }
            (None, None) => TestPrincipal::Certificate(self.certificate_name.clone()),
        }
    }

    fn described(self) -> TestEntry {
        match self.entry {
            Some(path) => TestEntry::File(path),
            None => TestEntry::Described {
                kind: self.kind.unwrap_or_default(),
                names: self.name,
                signer_keys: self.signer_key,
                signer_identities: self.signer_identity,
                bytes: 1000,
            },
        }
    }
}
