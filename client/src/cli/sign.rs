//! `treering sign`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use treering_client::consistency::follow;
use treering_client::hash_model::{DEFAULT_IGNORES, HashOptions, is_covered, normalize};
use treering_client::history::Verdict;
use treering_client::log::LogReader;
use treering_client::notice::{Access, LoggedModel};
use treering_client::online::promise::broken;
use treering_client::online::{self, Questions};
use treering_client::private_key::PrivateKey;
use treering_client::report::Exit;
use treering_client::sign::{Description, default_name, describe, is_comparable, seal};
use treering_client::state::{StateDirectory, StateError};
use treering_client::submit::{Novelty, SubmitError, Submitted, submit};
use treering_client::verify::{Found, Model, Opened, Policy, Verification, examine};
use treering_proto::bundle::Bundle;
use treering_proto::dsse_envelope::Envelope;
use treering_proto::evidence::Promise;
use treering_proto::hash::{Hash, sha256};
use treering_proto::model_id::model_id;
use treering_proto::model_statement::ModelStatement;
use treering_proto::tree::LeafIndex;
use treering_proto::trust::{Signer, SignerRule, TrustFile};
use treering_proto::verifier::Verifier;

use super::arguments::{
    KeyArguments, NetworkArguments, StateArguments, TrustArguments, now, write_output,
};
use super::failure::{Failure, SEND_AGAIN};
use super::model;
use super::notice::{find_failure, parse_index};
use super::output::Output;
use super::verify::{keep_evidence, model_json, not_followed};

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
  treering sign model.gguf --name llama-3-q4 --trust trust.json --key ci.pem
  treering sign ./llama-3 --renews 4711 --trust trust.json --key new.pem
  treering sign ./llama-3 --trust trust.json --key ci.pem --token-file /run/secrets/token")]
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
    /// The model's version: a whole number or a semantic version, which verifiers can compare
    #[arg(long, value_name = "VERSION", env = "TREERING_MODEL_VERSION")]
    model_version: Option<String>,
    /// Say that this renews the signature at this index of the log, after a change of keys: the
    /// same files, no newer than they were
    #[arg(long, value_name = "INDEX", env = "TREERING_RENEWS", value_parser = parse_index)]
    renews: Option<LeafIndex>,
    /// A path below MODEL that is not signed; may be repeated
    #[arg(long, value_name = "PATH", env = "TREERING_IGNORE_PATH")]
    ignore_path: Vec<String>,
    /// Follow linked files (linked directories are refused either way)
    #[arg(long, env = "TREERING_ALLOW_SYMLINKS")]
    allow_symlinks: bool,
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    state: StateArguments,
}

/// Runs the command.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let trust = arguments.trust.load()?;
    let state = arguments.state.directory()?;
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
    let options = HashOptions { ignore: ignore.clone(), allow_symlinks: arguments.allow_symlinks };
    let hashed = model::read(&arguments.model, &options, output)?;
    let (version, links_followed) = (arguments.model_version.clone(), arguments.allow_symlinks);
    warn_of_version(version.as_deref(), output);
    let description = Description { name, version, ignore, links_followed };
    let mut statement = describe(&hashed, description)
        .map_err(|error| Failure::usage("the model cannot be signed", error))?;
    let transport = arguments.network.connect(&trust)?;
    let log = LogReader::new(&transport, &trust);
    if let Some(index) = arguments.renews {
        let access = Access { log: &log, trust: &trust, state: &state };
        statement = renew(statement, index, &access, &key, output).await?;
    }
    let bundle = seal(statement.to_payload(), &key)?;
    let verifier = Verifier::PublicKey(Box::new(key.public_key().clone()));
    let (bundle, kept) = keep(&state, &trust, bundle, &verifier)?;
    let submitted = match submit(&log, envelope(&bundle), &verifier).await {
        Ok(submitted) => submitted,
        Err(error) => {
            if matches!(error, SubmitError::Entry(_) | SubmitError::Refused { .. }) {
                state.forget_unlogged(kept);
            }
            return Err(not_submitted(error, &log, &trust, &state, output).await);
        }
    };
    let Submitted { entry, novelty, promised } = submitted;
    let bundle = bundle.with_log_entry(entry);
    let found = Found {
        files: treering_client::sign::resources(&hashed),
        ignored_by_caller: Vec::new(),
        ignored: hashed.ignored,
    };
    let (trust, log, state, verifier) = (&trust, &log, &state, &verifier);
    let finish = Finish { trust, log, state, verifier, path: &signature, promised };
    let exit = finish.run(&bundle.to_json(), Model::Read(&found), novelty, output).await?;
    if exit == Exit::Ok {
        state.forget_unlogged(kept);
    }
    Ok(exit)
}

/// The same statement as a renewal of the signature at `index`, if that is about the same files.
async fn renew(
    statement: ModelStatement,
    index: LeafIndex,
    access: &Access<'_>,
    key: &PrivateKey,
    output: &Output,
) -> Result<ModelStatement, Failure> {
    let renewed = match access.look_up(index).await {
        Ok(renewed) => renewed,
        Err(error) => {
            let what = "nothing was signed".to_owned();
            return Err(Failure { what, ..find_failure(error, access, output) });
        }
    };
    if renewed.model_id != model_id(&statement) {
        let why = format!(
            "entry {index} is about other files: its model id is {}, that of these is {}",
            renewed.model_id,
            model_id(&statement)
        );
        return Err(Failure::new(Exit::NotVerified, "nothing was signed", why).advise(
            "sign them without --renews if they are another model; a renewal is the same files",
        ));
    }
    refuse_revoked(&renewed, access, output).await?;
    if renewed.is_signed_with(key.public_key()) {
        output.remark("this key made the signature that is renewed: a renewal is for a new key");
    }
    if renewed.statement.name() != statement.name() {
        let name = renewed.name().unwrap_or("(no name)");
        output.remark(&format!("entry {index} calls the model {name:?}"));
    }
    Ok(statement.with_renewal(renewed.entry))
}

/// Fails if the log shows that somebody who may has revoked the model: no renewal takes that back.
async fn refuse_revoked(
    renewed: &LoggedModel,
    access: &Access<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let index = renewed.entry.index;
    let found = match renewed.revoked(access).await {
        Ok(found) => found,
        Err(why) => {
            output.warning(&format!("it is not known whether entry {index} was revoked: {why}"));
            return Ok(());
        }
    };
    match found.verdict {
        Verdict::Holds => Ok(()),
        Verdict::Unknown => {
            let why = found.why;
            output.warning(&format!("it is not known whether entry {index} was revoked: {why}"));
            Ok(())
        }
        Verdict::Against => {
            let evidence: Vec<String> = found.evidence.iter().map(ToString::to_string).collect();
            let why = format!("the model of entry {index} is revoked: {}", evidence.join("; "));
            Err(Failure::new(Exit::Policy, "nothing was signed", why)
                .advise("a revocation is never taken back: sign another model"))
        }
    }
}

/// Tells of a version that no verifier can compare with others.
fn warn_of_version(version: Option<&str>, output: &Output) {
    if let Some(version) = version.filter(|version| !is_comparable(version)) {
        output.warning(&format!(
            "the version {version:?} is neither a whole number nor a semantic version such as \
             1.2.0, so verifiers cannot tell whether versions rise"
        ));
    }
}

/// Keeps the signature before it is sent, or takes the one about the same files that an earlier
/// run kept and did not get a proof for: another signature would be another entry.
pub fn keep(
    state: &StateDirectory,
    trust: &TrustFile,
    bundle: Bundle,
    verifier: &Verifier,
) -> Result<(Bundle, Hash), Failure> {
    let failed = |error: StateError| {
        let what = "the signature was not sent, because it cannot be kept";
        Failure::new(Exit::Unavailable, what, error).advise("say --state DIR")
    };
    let (key, payload) = (verifier.key().fingerprint(), sha256(&envelope(&bundle).payload));
    let name = sha256(format!("{}\n{key}\n{payload}", trust.log.origin).as_bytes());
    let kept = state.load_unlogged(name).map_err(failed)?;
    let kept = kept.and_then(|bytes| Bundle::parse(&bytes).ok()).filter(|kept| {
        kept.envelope().is_some_and(|kept| {
            let pae = kept.pae();
            let mut signatures = kept.signatures.iter();
            kept.payload == envelope(&bundle).payload
                && signatures.all(|s| verifier.key().verify_dsse(&pae, &s.signature).is_ok())
        })
    });
    if let Some(kept) = kept {
        return Ok((kept, name));
    }
    state.keep_unlogged(name, &bundle.to_json()).map_err(failed)?;
    Ok((bundle, name))
}

/// The envelope of a bundle that was signed here.
pub fn envelope(bundle: &Bundle) -> &Envelope {
    bundle.envelope().expect("a bundle that was signed here has an envelope")
}

/// The failure to log an envelope. Where the log promised it a place and did not prove that, says
/// whether another entry stands there, and keeps evidence of it.
pub async fn not_submitted(
    error: SubmitError,
    log: &LogReader<'_>,
    trust: &TrustFile,
    state: &StateDirectory,
    output: &Output,
) -> Failure {
    let SubmitError::Unproven { promised: Some(promised), .. } = &error else {
        return error.into();
    };
    let head = match follow(log, trust, state, None).await {
        Ok(followed) => followed.head,
        Err(alarm) if alarm.is_alarm() => return not_followed(alarm, state, trust, output),
        Err(_) => return error.into(),
    };
    match broken(log, trust, promised, &head).await {
        Ok(Some(broken)) => {
            if let Some(evidence) = &broken.evidence {
                keep_evidence(Some(state), trust, evidence, output);
            }
            Failure::new(Exit::Alarm, "the signature is not logged", broken)
                .advise("stop trusting this log; show the evidence to its operator and to others")
        }
        Ok(None) | Err(_) => error.into(),
    }
}

/// How a bundle that came back from the log becomes a file.
pub struct Finish<'a> {
    /// The log and its rules.
    pub trust: &'a TrustFile,
    /// The way to it.
    pub log: &'a LogReader<'a>,
    /// What it said before.
    pub state: &'a StateDirectory,
    /// What the signature was made with.
    pub verifier: &'a Verifier,
    /// Where the bundle goes.
    pub path: &'a Path,
    /// What the log promised when it took the signature.
    pub promised: Option<Promise>,
}

/// What is told of a bundle that was written, beside where it is.
pub struct Told {
    /// Lines for people.
    pub lines: Vec<String>,
    /// Members of the JSON form.
    pub json: Value,
}

impl Finish<'_> {
    /// Verifies the bundle and that the log still extends all it said before; only then writes it.
    pub async fn run(
        &self,
        bundle: &[u8],
        model: Model<'_>,
        novelty: Novelty,
        output: &Output,
    ) -> Result<Exit, Failure> {
        let opened = Opened::open(bundle).map_err(|error| {
            let what = "the signature is logged, but the log's answer is not usable";
            Failure::new(Exit::Alarm, what, error)
        })?;
        let own = Signer::Key(self.verifier.key().clone());
        let signers = [SignerRule { name: "this signer".to_owned(), who: own }];
        let policy = Policy { trust: self.trust, signers: &signers, now: now() };
        let examined = examine(&opened, &policy);
        let (entry, questions) = (examined.entry(), Questions::Newest);
        let promised = self.promised.clone();
        let asked = online::ask(self.log, self.trust, self.state, entry, promised, questions).await;
        let mut verification = examined.conclude(model, &asked.shown);
        online::consistency(asked, &mut verification);
        let told = Told {
            lines: vec![format!("model id {}", opened.model_id())],
            json: json!({ "model": model_json(&opened) }),
        };
        self.settle(&verification, bundle, novelty, told, output)
    }

    /// Writes the bundle if all that was checked holds, and tells what became of it.
    pub fn settle(
        &self,
        verification: &Verification,
        bundle: &[u8],
        novelty: Novelty,
        told: Told,
        output: &Output,
    ) -> Result<Exit, Failure> {
        for evidence in &verification.evidence {
            keep_evidence(Some(self.state), self.trust, evidence, output);
        }
        let exit = verification.report.exit();
        let Some(entry) = verification.entry.as_ref().filter(|_| exit == Exit::Ok) else {
            let about = json!({ "signature": null });
            let mut summary = vec![
                "NOT VERIFIED: what the log answered; nothing was written, though the signature \
                 is logged by the log's word"
                    .to_owned(),
            ];
            if exit != Exit::Alarm {
                summary.push(SEND_AGAIN.to_owned());
            }
            output.report(&verification.report, &summary, about)?;
            return Ok(exit);
        };
        write_output(self.path, bundle).map_err(|failure| {
            let what = format!("the signature is logged as {}, but {}", entry.index, failure.what);
            Failure { what, ..failure }.advise(SEND_AGAIN)
        })?;
        let word = match novelty {
            Novelty::New => "logged",
            Novelty::Known => "logged already",
        };
        let (origin, path, index) = (&self.trust.log.origin, self.path.display(), entry.index);
        let first = format!("{word} as entry {index} of {origin}, verified, written to {path}");
        let mut about = json!({
            "signature": self.path,
            "new": novelty == Novelty::New,
            "log": origin,
            "index": index.get(),
            "leaf": entry.leaf.to_hex(),
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut about, told.json) {
            all.extend(more);
        }
        output.report(&verification.report, &[vec![first], told.lines].concat(), about)?;
        Ok(Exit::Ok)
    }
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
