//! `treering submit`

use std::path::PathBuf;

use clap::Args;
use treering_client::log::LogReader;
use treering_client::report::Exit;
use treering_client::submit::{Submitted, submit};
use treering_client::verify::{Model, Opened};
use treering_proto::bundle::BUNDLE_LEN_MAX;
use treering_proto::certificate::Certificate;
use treering_proto::trust::TrustFile;
use treering_proto::verifier::Verifier;

use super::arguments::{
    NetworkArguments, StateArguments, TrustArguments, load_public_key, read_bounded,
};
use super::failure::Failure;
use super::output::Output;
use super::sign::{Finish, not_submitted};

/// Log a bundle that another tool made
///
/// Logs the signature in a Sigstore bundle v0.3 and writes the log's proof into the same file.
/// Stock verifiers go on accepting it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  model_signing sign key --private_key k.pem --signature model.sig ./model
  treering submit model.sig --public-key k.pub --trust trust.json
  treering submit certified.sig --trust trust.json      (the bundle brings the certificate)
  treering submit model.sig --public-key k.pub --trust trust.json \\
      --ca-file corporate-ca.pem --client-certificate ci.crt --client-key ci.key")]
pub struct Arguments {
    /// Bundle to log; the proof is written into it
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    #[command(flatten)]
    trust: TrustArguments,
    /// Public key of the signer, where the bundle has no certificate
    #[arg(long, value_name = "FILE", env = "TREERING_PUBLIC_KEY")]
    public_key: Option<PathBuf>,
    /// Replace the proof of another log, or a Rekor v1 proof, that the bundle carries
    #[arg(long, env = "TREERING_REPLACE")]
    replace: bool,
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    state: StateArguments,
}

/// Runs the command.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let trust = arguments.trust.load()?;
    let state = arguments.state.directory()?;
    let bytes = read_bounded(&arguments.bundle, BUNDLE_LEN_MAX, "the bundle")?;
    let what = "the bundle cannot be logged";
    let opened = Opened::open(&bytes).map_err(|error| Failure::usage(what, error))?;
    let verifier = verifier(&arguments, &opened)?;
    check_replaced(&arguments, &opened, &trust)?;
    let transport = arguments.network.connect(&trust)?;
    let log = LogReader::new(&transport, &trust);
    let Submitted { entry, novelty, promised } =
        match submit(&log, opened.envelope(), &verifier).await {
            Ok(submitted) => submitted,
            Err(error) => return Err(not_submitted(error, &log, &trust, &state, output).await),
        };
    let bundle = opened.bundle().clone().with_log_entry(entry).to_json();
    let path = &arguments.bundle;
    let (trust, log, state, verifier) = (&trust, &log, &state, &verifier);
    let finish = Finish { trust, log, state, verifier, path, promised };
    finish.run(&bundle, Model::NotRead, novelty, output).await
}

fn verifier(arguments: &Arguments, opened: &Opened) -> Result<Verifier, Failure> {
    let what = "the bundle cannot be logged";
    let given = arguments.public_key.as_deref().map(load_public_key).transpose()?;
    let Some(leaf) = opened.certificates().first() else {
        return match given {
            Some(key) => Ok(Verifier::PublicKey(Box::new(key))),
            None => Err(Failure::usage(what, "the bundle has no certificate, only a key's name")
                .advise("say --public-key FILE")),
        };
    };
    let leaf = Certificate::from_der(leaf).map_err(|error| Failure::usage(what, error))?;
    if given.is_some_and(|key| key != *leaf.key()) {
        let why = "the bundle's certificate is for another key than --public-key";
        return Err(Failure::usage(what, why));
    }
    Ok(Verifier::Certificate(Box::new(leaf)))
}

/// A bundle holds one log entry, so ours takes the place of any other.
fn check_replaced(
    arguments: &Arguments,
    opened: &Opened,
    trust: &TrustFile,
) -> Result<(), Failure> {
    let ours = trust.log.checkpoint_keys();
    let is_ours = |id| ours.iter().any(|key| key.key_id_full() == id);
    let others = opened.bundle().log_entries.iter().any(|entry| !is_ours(entry.log_id));
    if others && !arguments.replace {
        let why = "it carries a proof of another log, or a Rekor v1 proof, and can hold only one";
        return Err(Failure::usage("the bundle was left as it is", why)
            .advise("work on a copy, or say --replace"));
    }
    Ok(())
}
