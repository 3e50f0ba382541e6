//! `treering trust`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use treering_client::report::Exit;
use treering_proto::trust::{Signer, SignerRule, TrustFile};

use super::arguments::{TrustArguments, load_public_key, write_output};
use super::failure::Failure;
use super::output::Output;

/// Look at a trust file, or accept a signer in it
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    AddSigner(AddSigner),
    Show(Show),
}

/// Accept one more signer
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering trust add-signer release --public-key release.pub --trust trust.json
  treering trust add-signer ci --identity https://ci.example/job --issuer https://issuer.example")]
struct AddSigner {
    /// What reports shall call the signer
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    trust: TrustArguments,
    /// The signer's public key
    #[arg(long, value_name = "FILE", env = "TREERING_PUBLIC_KEY",
          conflicts_with_all = ["identity", "issuer"], required_unless_present = "identity")]
    public_key: Option<PathBuf>,
    /// A subject alternative name of the signer's certificate
    #[arg(long, env = "TREERING_IDENTITY")]
    identity: Option<String>,
    /// The OIDC issuer that the certificate must name; without it, it must name none
    #[arg(long, env = "TREERING_ISSUER", requires = "identity")]
    issuer: Option<String>,
}

/// Show what a trust file says
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering trust show --trust trust.json
  treering trust show --trust trust.json --output json")]
struct Show {
    #[command(flatten)]
    trust: TrustArguments,
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    match arguments.command {
        Command::AddSigner(arguments) => add_signer(arguments, output),
        Command::Show(arguments) => {
            let trust = arguments.trust.load()?;
            output.data(&lines(&trust), &json(&trust))?;
            Ok(Exit::Ok)
        }
    }
}

fn add_signer(arguments: AddSigner, output: &Output) -> Result<Exit, Failure> {
    let mut trust = arguments.trust.load()?;
    let who = match (&arguments.public_key, arguments.identity) {
        (Some(path), _) => Signer::Key(load_public_key(path)?),
        (None, Some(identity)) => Signer::Identity { identity, issuer: arguments.issuer },
        (None, None) => unreachable!("the parser demands a key or an identity"),
    };
    if matches!(who, Signer::Identity { .. }) && trust.certificate_authorities.is_empty() {
        output.remark("remark: no certificate can pass while certificateAuthorities is empty");
    }
    trust
        .add_signer(SignerRule { name: arguments.name, who })
        .map_err(|error| Failure::usage("the signer was not added", error))?;
    write_output(&arguments.trust.trust, trust.format().as_bytes())?;
    output.data(&lines(&trust), &json(&trust))?;
    Ok(Exit::Ok)
}

fn lines(trust: &TrustFile) -> Vec<String> {
    let mut lines = vec![format!("log       {} at {}", trust.log.origin, trust.log.url)];
    for key in &trust.log.keys {
        lines.push(format!("key       {}", key.to_vkey()));
    }
    lines.push(match &trust.floor {
        Some(floor) => format!("floor     {} entries", floor.head().size),
        None => "floor     none: the first contact is believed".to_owned(),
    });
    lines.push(match &trust.witness_policy {
        Some(witnesses) if !witnesses.policy.needs_no_witness() => {
            format!("witnesses {} known", witnesses.policy.witnesses().count())
        }
        _ => "witnesses none: a log with its key could show split views".to_owned(),
    });
    let authorities = trust.certificate_authorities.len();
    lines.push(format!("roots     {authorities} for certificates"));
    for rule in &trust.signers {
        lines.push(match &rule.who {
            Signer::Key(key) => {
                format!("signer    {}: key sha256:{}", rule.name, key.fingerprint())
            }
            Signer::Identity { identity, issuer } => {
                let issuer = issuer.as_deref().unwrap_or("(no issuer)");
                format!("signer    {}: {identity} of {issuer}", rule.name)
            }
        });
    }
    if trust.signers.is_empty() {
        lines.push("signer    none: nobody is accepted".to_owned());
    }
    lines
}

fn json(trust: &TrustFile) -> Value {
    let signers: Vec<Value> = trust
        .signers
        .iter()
        .map(|rule| match &rule.who {
            Signer::Key(key) => {
                json!({"name": rule.name, "publicKeySha256": key.fingerprint().to_hex()})
            }
            Signer::Identity { identity, issuer } => {
                json!({"name": rule.name, "identity": identity, "issuer": issuer})
            }
        })
        .collect();
    json!({
        "schema": "treering.trust-summary/v1",
        "url": trust.log.url,
        "origin": trust.log.origin,
        "keys": trust.log.keys.iter().map(|key| key.to_vkey()).collect::<Vec<_>>(),
        "floorSize": trust.floor.as_ref().map(|floor| floor.head().size.get()),
        "witnesses": trust.witness_policy.as_ref().map(|w| w.policy.witnesses().count()),
        "certificateAuthorities": trust.certificate_authorities.len(),
        "signers": signers,
    })
}
