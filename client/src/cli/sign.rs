//! `treering sign`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use treering_client::hash_model::{DEFAULT_IGNORES, HashOptions, is_covered, normalize};
use treering_client::log::LogReader;
use treering_client::report::Exit;
use treering_client::sign::{Description, default_name, sign};
use treering_client::submit::{Novelty, submit};
use treering_client::verify::{Found, Model, Opened, Policy, Verification, verify};
use treering_proto::trust::{Signer, SignerRule, TrustFile};
use treering_proto::verifier::Verifier;

use super::arguments::{KeyArguments, NetworkArguments, TrustArguments, now, write_output};
use super::failure::Failure;
use super::model;
use super::output::Output;

/// Sign a model and log the signature
///
/// Hashes the model (a directory or one file), signs a statement about it, logs the signature, puts
/// the log's proof into the bundle, and verifies the bundle before it is written. The bundle is one
/// of OpenSSF Model Signing: model_signing verifies it with the public key.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering sign ./llama-3 --trust trust.json --key ci.pem
  treering sign ./output --name llama-3 --model-version 3.1 --trust trust.json --key ci.pem
  treering sign model.gguf --name llama-3-q4 --trust trust.json --key ci.pem")]
pub struct Arguments {
    /// Directory or file to sign
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    trust: TrustArguments,
    #[command(flatten)]
    key: KeyArguments,
    /// Where to write the bundle [default: MODEL/model.sig, or MODEL.sig for a file]
    #[arg(long, value_name = "FILE", env = "TREERING_SIGNATURE")]
    signature: Option<PathBuf>,
    /// The model's name [default: the last part of MODEL, where that says something]
    #[arg(long, env = "TREERING_NAME")]
    name: Option<String>,
    /// The model's version
    #[arg(long, value_name = "VERSION", env = "TREERING_MODEL_VERSION")]
    model_version: Option<String>,
    /// A path below MODEL that is not signed; may be repeated
    #[arg(long, value_name = "PATH", env = "TREERING_IGNORE_PATH")]
    ignore_path: Vec<String>,
    /// Follow linked files (linked directories are refused either way)
    #[arg(long, env = "TREERING_ALLOW_SYMLINKS")]
    allow_symlinks: bool,
    #[command(flatten)]
    network: NetworkArguments,
}

/// Runs the command.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let trust = arguments.trust.load()?;
    let name = match arguments.name.clone().or_else(|| default_name(&arguments.model)) {
        Some(name) => name,
        None => {
            let why = format!("{:?} does not say which model this is", arguments.model);
            return Err(Failure::usage("the model has no name", why).advise("say --name NAME"));
        }
    };
    let key = arguments.key.load()?;
    let signature =
        arguments.signature.clone().unwrap_or_else(|| model::default_signature(&arguments.model));
    let ignore = ignores(&arguments.model, &signature, &arguments.ignore_path)?;
    let options =
        HashOptions { ignore: ignore.clone(), allow_symlinks: arguments.allow_symlinks };
    let hashed = model::read(&arguments.model, &options, output)?;
    let description = Description { name, version: arguments.model_version.clone(), ignore };
    let bundle = sign(&hashed, description, &key)
        .map_err(|error| Failure::usage("the model cannot be signed", error))?;

    let transport = arguments.network.connect(&trust)?;
    let log = LogReader::new(&transport, &trust);
    let verifier = Verifier::PublicKey(Box::new(key.public_key().clone()));
    let envelope = bundle.envelope().expect("a bundle that was just signed has an envelope");
    let (entry, novelty) = submit(&log, envelope, &verifier).await?;
    let bundle = bundle.with_log_entry(entry);
    let found = Found {
        files: treering_client::sign::resources(&hashed),
        ignored_by_caller: Vec::new(),
        ignored: hashed.ignored,
    };
    finish(&trust, &bundle.to_json(), &verifier, Model::Read(&found), &signature, novelty, output)
}

/// Verifies a bundle that came back from the log, and only then writes it.
pub fn finish(
    trust: &TrustFile,
    bundle: &[u8],
    verifier: &Verifier,
    model: Model<'_>,
    path: &Path,
    novelty: Novelty,
    output: &Output,
) -> Result<Exit, Failure> {
    let opened = Opened::open(bundle)
        .map_err(|error| Failure::new(Exit::Alarm, "the log's answer is not usable", error))?;
    let own = Signer::Key(verifier.key().clone());
    let signers = [SignerRule { name: "this signer".to_owned(), who: own }];
    let policy = Policy { trust, signers: &signers, now: now() };
    let verification = verify(&opened, &policy, model);
    let report = &verification.report;
    let exit = report.exit();
    if exit != Exit::Ok {
        let about = json!({ "signature": null });
        output.report(report, "NOT VERIFIED: the log's answer; nothing was written", about);
        return Ok(exit);
    }
    write_output(path, bundle)?;
    let Verification { entry: Some(entry), .. } = &verification else {
        unreachable!("a bundle that verified has a proven entry");
    };
    let index = entry.index.get();
    let known = match novelty {
        Novelty::New => "logged",
        Novelty::Known => "logged already",
    };
    let summary = format!(
        "{known} as entry {index} of {}, verified, written to {}\nmodel id {}",
        trust.log.origin,
        path.display(),
        opened.model_id()
    );
    let about = json!({
        "signature": path,
        "new": novelty == Novelty::New,
        "log": trust.log.origin,
        "index": index,
        "leaf": entry.leaf.to_hex(),
        "model": super::verify::model_json(&opened),
    });
    output.report(report, &summary, about);
    Ok(Exit::Ok)
}

/// What is not signed: what version control owns, the signature itself, and what the signer says.
fn ignores(model: &Path, signature: &Path, more: &[String]) -> Result<Vec<String>, Failure> {
    let mut ignores = Vec::new();
    if model.is_dir() {
        ignores.extend(DEFAULT_IGNORES.map(str::to_owned));
        ignores.extend(model::inside(model, signature));
        for path in more {
            ignores.push(normalize(model, path)?);
        }
    }
    ignores.sort();
    // A path below another that is ignored says nothing more.
    ignores.dedup_by(|later, earlier| is_covered(later, earlier));
    Ok(ignores)
}
