//! `treering trust`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use treering_client::report::Exit;
use treering_proto::policy::POLICY_LEN_MAX;
use treering_proto::trust::model_policy::{Action, Rule};
use treering_proto::trust::{
    MAX_AGE_MAX, ModelPolicy, Signer, SignerRule, TRUST_LEN_MAX, TrustFile, WitnessPolicy,
};

use super::arguments::{TrustArguments, load_public_key, read_bounded, write_output};
use super::failure::Failure;
use super::output::Output;

/// Look at a trust file, or change what it believes
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    AddSigner(AddSigner),
    SetWitnesses(SetWitnesses),
    SetMaxAge(SetMaxAge),
    SetModelPolicy(SetModelPolicy),
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

/// Say whose cosignatures a checkpoint of the log needs
///
/// Takes the place of the witness policy that the trust file has. A policy that ends with
/// `quorum none` asks for no witness.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering trust set-witnesses witnesses.policy --trust trust.json
  printf 'witness w1 %s\\nwitness w2 %s\\ngroup both all w1 w2\\nquorum both\\n' \\
      \"$W1_VKEY\" \"$W2_VKEY\" > two.policy; treering trust set-witnesses two.policy")]
struct SetWitnesses {
    /// A witness policy (c2sp.org/tlog-policy)
    #[arg(value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    trust: TrustArguments,
}

/// Say how old the newest checkpoint of the log may be
///
/// The age is that of the witnesses' cosignatures, or where no witness is asked for, of the log's
/// own ML-DSA-44 cosignature. Without either, every verification ends with 5.
/// `verify` without --online applies it to the checkpoint in the bundle, for ever: a bundle that
/// is older is refused until --online shows a newer checkpoint.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering trust set-max-age 24h --trust trust.json
  treering trust set-max-age 7d --trust trust.json
  treering trust set-max-age none --trust trust.json     (any age)")]
struct SetMaxAge {
    /// Such as 90s, 30m, 24h or 7d, up to 3650d; or none
    #[arg(value_name = "AGE", value_parser = parse_age)]
    age: Age,
    #[command(flatten)]
    trust: TrustArguments,
}

/// Seconds, or any age.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Age(Option<u64>);

/// Say what is made of the history of a model
///
/// Takes the place of the model policy that the trust file has; `docs/model-policy.md` has the
/// rules, and the text of the recommended policy, which leaves approvals and recovery keys as they
/// are. Rules that refuse need the log or a status proof: without either, verification ends with 5.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering trust set-model-policy recommended --trust trust.json
  treering trust set-model-policy policy.json --trust trust.json
  treering trust set-model-policy none --trust trust.json     (no rules)")]
struct SetModelPolicy {
    /// `recommended`, `none`, or a JSON file: the value of `modelPolicy`
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    trust: TrustArguments,
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
        Command::SetWitnesses(arguments) => set_witnesses(&arguments, output),
        Command::SetMaxAge(arguments) => set_max_age(&arguments, output),
        Command::SetModelPolicy(arguments) => set_model_policy(&arguments, output),
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
    write(&arguments.trust, &trust, output)
}

fn set_witnesses(arguments: &SetWitnesses, output: &Output) -> Result<Exit, Failure> {
    let mut trust = arguments.trust.load()?;
    let bytes = read_bounded(&arguments.policy, POLICY_LEN_MAX, "the witness policy")?;
    let what = format!("the witness policy {} cannot be used", arguments.policy.display());
    let text = String::from_utf8(bytes).map_err(|error| Failure::usage(what.clone(), error))?;
    let policy = WitnessPolicy::parse(text, &trust.log);
    let policy = policy.map_err(|error| Failure::usage(what.clone(), error))?;
    if let Some(name) = policy.policy.counted_twice() {
        output.remark(&format!(
            "remark: two keys of {name} count as two witnesses: put the keys of one operator into \
             one `any` group"
        ));
    }
    trust.witness_policy = Some(policy);
    // The floor may have lines of these witnesses, which must verify when it is read again.
    TrustFile::parse(trust.format().as_bytes()).map_err(|error| Failure::usage(what, error))?;
    remark_on_age(&trust, output);
    write(&arguments.trust, &trust, output)
}

fn set_max_age(arguments: &SetMaxAge, output: &Output) -> Result<Exit, Failure> {
    let mut trust = arguments.trust.load()?;
    trust
        .set_max_checkpoint_age(arguments.age.0)
        .map_err(|error| Failure::usage("the maximum age was not set", error))?;
    remark_on_age(&trust, output);
    write(&arguments.trust, &trust, output)
}

fn set_model_policy(arguments: &SetModelPolicy, output: &Output) -> Result<Exit, Failure> {
    let mut trust = arguments.trust.load()?;
    trust.model_policy = match arguments.policy.to_str() {
        Some("recommended") => ModelPolicy {
            approvals: trust.model_policy.approvals,
            recovery: trust.model_policy.recovery,
            ..ModelPolicy::recommended()
        },
        Some("none") => ModelPolicy::default(),
        _ => {
            let bytes = read_bounded(&arguments.policy, TRUST_LEN_MAX, "the model policy")?;
            ModelPolicy::parse(&bytes).map_err(|error| {
                let path = arguments.policy.display();
                Failure::usage(format!("the model policy {path} cannot be used"), error)
            })?
        }
    };
    remark_on_age(&trust, output);
    write(&arguments.trust, &trust, output)
}

fn remark_on_age(trust: &TrustFile, output: &Output) {
    let policy = trust.witness_policy.as_ref();
    let no_witness = policy.is_none_or(|witnesses| witnesses.policy.needs_no_witness());
    let is_limited =
        trust.max_checkpoint_age.is_some() || trust.model_policy.is_on(Rule::CheckpointAge);
    if is_limited && no_witness && trust.log.time_key().is_none() {
        output.remark(
            "remark: no checkpoint can pass the maximum age: there are neither witnesses nor an \
             ML-DSA-44 key of the log to say how old it is",
        );
    }
}

fn write(arguments: &TrustArguments, trust: &TrustFile, output: &Output) -> Result<Exit, Failure> {
    write_output(&arguments.trust, trust.format().as_bytes())?;
    output.data(&lines(trust), &json(trust))?;
    Ok(Exit::Ok)
}

fn parse_age(text: &str) -> Result<Age, String> {
    if text == "none" {
        return Ok(Age(None));
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = number
        .parse()
        .ok()
        .zip(unit)
        .and_then(|(number, unit): (u64, u64)| number.checked_mul(unit));
    match seconds {
        Some(seconds) if (1..=MAX_AGE_MAX).contains(&seconds) => Ok(Age(Some(seconds))),
        _ => {
            Err("an age is 1 second to 3650 days, such as 90s, 30m, 24h or 7d, or none".to_owned())
        }
    }
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
    lines.push(match trust.max_checkpoint_age {
        Some(seconds) => format!("max age   {seconds} s"),
        None => "max age   none: a log that shows one old tree for ever passes".to_owned(),
    });
    let (certificates, timestamps) =
        (trust.certificate_authorities.len(), trust.timestamp_authorities.len());
    lines.push(format!("roots     {certificates} for certificates, {timestamps} for timestamps"));
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
    let policy = &trust.model_policy;
    for rule in Rule::ALL.into_iter().filter(|rule| policy.is_on(*rule)) {
        let word = if policy.action(rule) == Action::Refuse { "refuse" } else { "warn" };
        lines.push(format!("rule      {}: {word}", rule.name()));
    }
    if !policy.recovery.is_empty() {
        lines.push(format!("recovery  {} people may speak for any model", policy.recovery.len()));
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
        "maxCheckpointAgeSeconds": trust.max_checkpoint_age,
        "certificateAuthorities": trust.certificate_authorities.len(),
        "timestampAuthorities": trust.timestamp_authorities.len(),
        "signers": signers,
        "modelPolicy": serde_json::from_str::<Value>(&trust.model_policy.format())
            .expect("a policy is written as JSON"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_bounded_and_have_units() {
        assert_eq!(parse_age("none"), Ok(Age(None)));
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("24h", 86_400), ("3650d", MAX_AGE_MAX)]
        {
            assert_eq!(parse_age(text), Ok(Age(Some(seconds))), "{text}");
        }
        for text in
            ["", "0s", "s", "7", "-1s", "+1s", "1w", "3651d", "1.5h", "7é", "None", "\u{2460}s"]
        {
            assert!(parse_age(text).is_err(), "{text:?}");
        }
        assert!(parse_age(&format!("{}d", u64::MAX)).is_err());
    }
}
