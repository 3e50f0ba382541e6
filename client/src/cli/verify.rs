//! `treering verify`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use treering_client::consistency::{FollowError, log_name};
use treering_client::hash_model::{HashModelError, HashOptions, normalize};
use treering_client::history::{Believed, Subject};
use treering_client::log::LogReader;
use treering_client::monitor::search::LocalIndex;
use treering_client::online::{self, OnlinePolicy, Questions, time_text};
use treering_client::report::{Check, Exit, Outcome, Report};
use treering_client::sign::resources;
use treering_client::state::StateDirectory;
use treering_client::status::{self, STATUS_LEN_MAX};
use treering_client::verify::{
    Found, Model, Newest, Opened, Policy, ProvenEntry, Shown, Verification, examine, judge,
    not_opened,
};
use treering_proto::bundle::BUNDLE_LEN_MAX;
use treering_proto::evidence::Evidence;
use treering_proto::trust::model_policy::Action;
use treering_proto::trust::{ModelPolicy, Signer, SignerRule, TrustFile};

use super::arguments::{
    NetworkArguments, StateArguments, TrustArguments, load_public_key, now, read_bounded,
};
use super::events::{EventArguments, Noted};
use super::failure::Failure;
use super::model;
use super::output::{Output, report_json};
use super::search_index::unusable;

/// Verify a model, its signer, and that the signature is logged
///
/// Offline unless --online is said. Prints each check as passed, failed or not checked. Signers are
/// those of the trust file, or the one given here.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering verify ./llama-3 --trust trust.json
  treering verify ./llama-3 --trust trust.json --public-key ci.pub --online
  treering verify ./llama-3 --trust trust.json --status llama-3.status
  treering verify model.gguf --signature model.sig --trust trust.json \\
      --identity https://ci.example/job --issuer https://issuer.example
  treering verify ./llama-3 --trust trust.json --events /var/log/treering/events.jsonl")]
pub struct Arguments {
    /// Directory or file to verify
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    trust: TrustArguments,
    /// The bundle [default: MODEL/model.sig, or MODEL.sig for a file]
    #[arg(long, value_name = "FILE", env = "TREERING_SIGNATURE")]
    signature: Option<PathBuf>,
    /// Accept only the holder of this public key
    #[arg(long, value_name = "FILE", env = "TREERING_PUBLIC_KEY",
          conflicts_with_all = ["identity", "issuer"])]
    public_key: Option<PathBuf>,
    /// Accept only a certificate with this subject alternative name
    #[arg(long, env = "TREERING_IDENTITY", requires = "issuer")]
    identity: Option<String>,
    /// The OIDC issuer that the certificate must name
    #[arg(long, env = "TREERING_ISSUER", requires = "identity")]
    issuer: Option<String>,
    /// A path below MODEL that is not compared; may be repeated
    #[arg(long, value_name = "PATH", env = "TREERING_IGNORE_PATH")]
    ignore_path: Vec<String>,
    /// Follow linked files (linked directories are refused either way)
    #[arg(long, env = "TREERING_ALLOW_SYMLINKS")]
    allow_symlinks: bool,
    /// Ask the log whether it still extends what was seen before, and whether there is a newer
    /// model. The maximum age in the trust file then counts for the log's newest checkpoint;
    /// offline it counts for that in the bundle, which only grows older
    #[arg(long, env = "TREERING_ONLINE")]
    online: bool,
    /// With --online: accept a model although its signer logged a newer one of the same name; a
    /// rule `notNewest` that refuses then only warns
    #[arg(long, env = "TREERING_ALLOW_OLDER", requires = "online")]
    allow_older: bool,
    /// Judge by this status proof, which `treering staple` made, instead of asking the log
    #[arg(long, value_name = "FILE", env = "TREERING_STATUS", conflicts_with = "online")]
    status: Option<PathBuf>,
    /// Judge by the index in this directory, the --state of `treering monitor`; with --online, the
    /// log says what the index does not keep
    #[arg(long, value_name = "DIR", env = "TREERING_INDEX", conflicts_with = "status")]
    index: Option<PathBuf>,
    #[command(flatten)]
    events: EventArguments,
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    state: StateArguments,
}

/// Runs the command, and tells of it whatever comes of it.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let (events, mut noted) = (&arguments.events, Noted::default());
    let (webhook, done) = match events.webhook() {
        Ok(webhook) => (webhook, examine_and_note(&arguments, &mut noted, output).await),
        Err(failure) => (None, Err(failure)),
    };
    let (model, online) = (&arguments.model, arguments.online);
    events.tell(webhook.as_ref(), model, online, &noted, done, output).await
}

async fn examine_and_note(
    arguments: &Arguments,
    noted: &mut Noted,
    output: &Output,
) -> Result<Exit, Failure> {
    let trust = arguments.trust.load()?;
    noted.log = Some(trust.log.origin.clone());
    let signers = signers(arguments, &trust)?;
    let model = &arguments.model;
    if !model.exists() {
        let why = format!("there is no file or directory {}", model.display());
        return Err(Failure::usage("nothing was verified", why));
    }
    let signature = arguments.signature.clone().unwrap_or_else(|| model::default_signature(model));
    if !signature.exists() {
        return Err(Failure::new(
            Exit::NotVerified,
            "the model is not verified",
            format!("there is no signature at {}", signature.display()),
        )
        .advise("say --signature FILE, or get the model together with its signature"));
    }
    // Whatever else is at the place of the signature is no signature.
    let bytes = read_bounded(&signature, BUNDLE_LEN_MAX, "the bundle")
        .map_err(|failure| Failure { exit: Exit::NotVerified, ..failure })?;
    let opened = match Opened::open(&bytes) {
        Ok(opened) => opened,
        Err(error) => {
            let mut verification = not_opened(&error, &trust.model_policy);
            online::not_asked(&trust.model_policy, &mut verification.report);
            return print(&verification, None, &trust, 0, noted, output);
        }
    };
    let policy = Policy { trust: &trust, signers: &signers, now: now() };
    let files = read_model(arguments, &opened, &signature, output)?;
    let state = arguments.state.directory();
    let rules = rules(arguments, &trust);
    let believed = Believed { policy: &rules, signers: &signers };
    let verification = if arguments.online {
        online_checks(arguments, &opened, &policy, files.as_model(), believed).await?
    } else {
        offline_checks(arguments, &opened, &policy, files.as_model(), believed).await?
    };
    for evidence in &verification.evidence {
        keep_evidence(state.as_ref().ok(), &trust, evidence, output);
    }
    let own = model::inside(model, &signature);
    let unsigned = verification.ignored_found.iter().filter(|path| Some(*path) != own.as_ref());
    print(&verification, Some(&opened), &trust, unsigned.count(), noted, output)
}

/// Who may sign: the one on the command line, else those of the trust file.
fn signers(arguments: &Arguments, trust: &TrustFile) -> Result<Vec<SignerRule>, Failure> {
    let rule = |who| vec![SignerRule { name: "command line".to_owned(), who }];
    if let Some(path) = &arguments.public_key {
        return Ok(rule(Signer::Key(load_public_key(path)?)));
    }
    if let Some(identity) = &arguments.identity {
        let issuer = arguments.issuer.clone();
        return Ok(rule(Signer::Identity { identity: identity.clone(), issuer }));
    }
    if trust.signers.is_empty() {
        return Err(Failure::usage(
            "nothing was verified",
            "no rule says who may sign: a log takes valid signatures of anybody",
        )
        .advise(
            "say --public-key, or --identity and --issuer, or use `treering trust add-signer`",
        ));
    }
    Ok(trust.signers.clone())
}

/// The model policy of the trust file, with what the caller allows.
fn rules(arguments: &Arguments, trust: &TrustFile) -> ModelPolicy {
    let mut rules = trust.model_policy.clone();
    if arguments.allow_older && rules.not_newest == Some(Action::Refuse) {
        rules.not_newest = Some(Action::Warn);
    }
    rules
}

/// All checks, with the log's answers.
async fn online_checks(
    arguments: &Arguments,
    opened: &Opened,
    policy: &Policy<'_>,
    model: Model<'_>,
    believed: Believed<'_>,
) -> Result<Verification, Failure> {
    let (trust, signers) = (policy.trust, policy.signers);
    let state = arguments.state.directory()?;
    let transport = arguments.network.connect(trust)?;
    let log = LogReader::new(&transport, trust);
    let examined = examine(opened, policy);
    let (entry, promised) = (examined.entry(), examined.promised());
    let asked = online::ask(&log, trust, &state, entry, promised, Questions::Dates).await;
    let mut verification = examined.conclude(model, &asked.shown);
    let subject = Subject::of(opened, trust, &verification, &asked.shown.newest);
    let allow_older = arguments.allow_older;
    let online = OnlinePolicy { signers, allow_older, rules: believed.policy };
    let newest = asked.shown.newest.clone();
    online::check(&log, opened, online, asked, &mut verification).await;
    let (subject, report) = (subject.as_ref(), &mut verification.report);
    let others = opened.intermediates();
    let history = match &arguments.index {
        Some(directory) => {
            let index = open_index(directory, trust)?;
            status::look_up_for_verify(&index, Some(&log), trust, believed, subject, report).await
        }
        None => {
            status::ask_for_verify(&log, trust, &newest, believed, subject, others, report).await
        }
    };
    judge(believed, subject, history.as_ref(), policy.now, &mut verification);
    Ok(verification)
}

/// All checks without the log, with a status proof or an index if there is one.
async fn offline_checks(
    arguments: &Arguments,
    opened: &Opened,
    policy: &Policy<'_>,
    model: Model<'_>,
    believed: Believed<'_>,
) -> Result<Verification, Failure> {
    let trust = policy.trust;
    let state = arguments.state.directory().ok();
    let examined = examine(opened, policy);
    let mut report = Report::default();
    let mut shown = Shown::default();
    let (mut history, mut fork) = (None, None);
    if let Some(path) = &arguments.status {
        let bytes = read_bounded(path, STATUS_LEN_MAX, "the status proof")?;
        let (state, others) = (state.as_ref(), opened.intermediates());
        let (own, now) = (examined.entry(), policy.now);
        match status::read_for_verify(&bytes, trust, state, own, others, now, &mut report) {
            Ok(proven) => {
                let has_it = |own: &ProvenEntry| {
                    let seen = proven.history.seen.get(&own.index);
                    seen.is_some_and(|seen| seen.entry.leaf == own.leaf)
                };
                if examined.entry().is_some_and(has_it) {
                    // The newest tree that is known to have the entry.
                    shown.newest = Newest::Followed(proven.head);
                }
                history = Some(proven.history);
            }
            Err(evidence) => fork = evidence,
        }
    }
    let mut verification = examined.conclude(model, &shown);
    online::offline(trust, state.as_ref(), &mut verification);
    verification.report.append(report);
    verification.evidence.extend(fork.map(|fork| *fork));
    let subject = Subject::of(opened, trust, &verification, &shown.newest);
    let (subject, report) = (subject.as_ref(), &mut verification.report);
    if let Some(directory) = &arguments.index {
        let index = open_index(directory, trust)?;
        history = status::look_up_for_verify(&index, None, trust, believed, subject, report).await;
    }
    judge(believed, subject, history.as_ref(), policy.now, &mut verification);
    Ok(verification)
}

fn open_index(directory: &Path, trust: &TrustFile) -> Result<LocalIndex, Failure> {
    LocalIndex::open(directory, &trust.log.origin).map_err(unusable)
}

/// The model's files, or why they cannot be compared.
enum Files {
    Found(Found),
    Unacceptable(String, Vec<String>),
    Unreadable(String),
}

impl Files {
    fn as_model(&self) -> Model<'_> {
        match self {
            Self::Found(found) => Model::Read(found),
            Self::Unacceptable(why, details) => Model::Unacceptable(why, details),
            Self::Unreadable(why) => Model::Unreadable(why),
        }
    }
}

fn read_model(
    arguments: &Arguments,
    opened: &Opened,
    signature: &Path,
    output: &Output,
) -> Result<Files, Failure> {
    let model = &arguments.model;
    let mut ignored_by_caller = Vec::new();
    if model.is_dir() {
        for path in &arguments.ignore_path {
            ignored_by_caller.push(normalize(model, path)?);
        }
        let signature = model::inside(model, signature);
        let by_signer = opened.statement().ignore_paths();
        ignored_by_caller.extend(signature.filter(|path| !by_signer.contains(path)));
    }
    let ignore = match model.is_dir() {
        true => [opened.statement().ignore_paths(), &ignored_by_caller].concat(),
        false => Vec::new(),
    };
    let options = HashOptions { ignore, allow_symlinks: arguments.allow_symlinks };
    let hashed = match model::read(model, &options, output) {
        Ok(hashed) => hashed,
        Err(error) => return Ok(unreadable(&error)),
    };
    let files = resources(&hashed);
    Ok(Files::Found(Found { files, ignored_by_caller, ignored: hashed.ignored }))
}

fn unreadable(error: &HashModelError) -> Files {
    let why = error.to_string();
    let details: Vec<String> = match error {
        // Nothing is there to be read, now or later: an extra path that nobody signed.
        HashModelError::Read { path, source }
            if source.kind() == std::io::ErrorKind::NotFound && path.is_symlink() =>
        {
            vec![format!("linked to nothing: {}", path.display())]
        }
        HashModelError::Read { .. } | HashModelError::Changed(_) | HashModelError::NotFound(_) => {
            return Files::Unreadable(why);
        }
        HashModelError::Links { files, directories } => {
            let file = |path: &PathBuf| format!("linked: {}", path.display());
            let directory = |path: &PathBuf| format!("linked directory: {}", path.display());
            files.iter().map(file).chain(directories.iter().map(directory)).collect()
        }
        _ => Vec::new(),
    };
    Files::Unacceptable(why, details)
}

/// The failure to follow a log, whose evidence is kept.
pub fn not_followed(
    error: FollowError,
    state: &StateDirectory,
    trust: &TrustFile,
    output: &Output,
) -> Failure {
    if let Some(evidence) = error.evidence() {
        keep_evidence(Some(state), trust, evidence, output);
    }
    error.into()
}

/// Writes evidence beside the state, or to stderr where that cannot be written.
pub fn keep_evidence(
    state: Option<&StateDirectory>,
    trust: &TrustFile,
    evidence: &Evidence,
    output: &Output,
) {
    let seen = format!("{} {}", time_text(now()), trust.log.url);
    let text = evidence.format(&seen);
    let kept =
        state.map(|state| state.keep_evidence(&log_name(trust), evidence.kind().name(), &text));
    let kind = evidence.kind().name();
    match kept {
        Some(Ok(path)) => {
            output.alarm(&format!("evidence ({kind}) is in {}", path.display()), [].into_iter());
        }
        Some(Err(error)) => {
            output.alarm(&format!("evidence ({kind}; {error}):"), text.lines());
        }
        None => {
            let why = "there is no state directory";
            output.alarm(&format!("evidence ({kind}; {why}):"), text.lines());
        }
    }
}

/// Prints the report. `unsigned` paths are there that nobody signed, beside the signature.
fn print(
    verification: &Verification,
    opened: Option<&Opened>,
    trust: &TrustFile,
    unsigned: usize,
    noted: &mut Noted,
    output: &Output,
) -> Result<Exit, Failure> {
    let report = &verification.report;
    let entry = verification.entry.as_ref().map(|entry| {
        json!({
            "log": trust.log.origin,
            "index": entry.index.get(),
            "leaf": entry.leaf.to_hex(),
            "treeSize": entry.checkpoint.head().size.get(),
            "rootHash": entry.checkpoint.head().root.to_hex(),
            "witnessedBy": entry.witnessed_by,
        })
    });
    let key = verification.verifier.as_ref().map(|v| v.key().fingerprint().to_hex());
    let about = json!({
        "model": opened.map(model_json),
        "signer": verification.signer,
        "publicKey": key,
        "entry": entry,
        "ignoredFound": verification.ignored_found,
        "skippedByCaller": verification.skipped_by_caller,
    });
    noted.report = Some(report_json(report, about.clone()));
    noted.evidence = verification.evidence.iter().map(|one| one.kind().name()).collect();
    output.report(report, &[summary(verification, opened, unsigned)], about)?;
    Ok(report.exit())
}

/// The model as the bundle describes it.
pub fn model_json(opened: &Opened) -> Value {
    let statement = opened.statement();
    json!({
        "name": statement.name(),
        "version": statement.model_version(),
        "modelId": opened.model_id().to_hex(),
        "omsRoot": statement.root().to_hex(),
        "files": statement.resources().len(),
        "ignorePaths": statement.ignore_paths(),
    })
}

fn summary(verification: &Verification, opened: Option<&Opened>, unsigned: usize) -> String {
    let report = &verification.report;
    if !report.is_verified() {
        return format!("NOT VERIFIED: {}", names(report, stands_in_the_way));
    }
    let name = opened.and_then(|opened| opened.statement().name()).unwrap_or("(no name)");
    let version = opened.and_then(|opened| opened.statement().model_version());
    let version = version.map(|version| format!(" {version}")).unwrap_or_default();
    let signer = verification.signer.as_deref().unwrap_or_default();
    let mut notes = Vec::new();
    if unsigned > 0 {
        notes.push(format!("{unsigned} paths not signed"));
    }
    if !verification.skipped_by_caller.is_empty() {
        notes.push(format!("{} signed files not compared", verification.skipped_by_caller.len()));
    }
    if report.checks().iter().any(|check| check.outcome == Outcome::Warned) {
        notes
            .push(format!("WARNED by {}", names(report, |check| check.outcome == Outcome::Warned)));
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    format!(
        "verified: {name}{version}, signed by {signer:?}{notes}; not checked: {}",
        names(report, |check| check.outcome == Outcome::NotChecked)
    )
}

fn stands_in_the_way(check: &Check) -> bool {
    check.required && check.outcome != Outcome::Passed
}

/// The names of the checks that are `wanted`.
fn names(report: &Report, wanted: impl Fn(&Check) -> bool) -> String {
    let wanted = report.checks().iter().filter(|check| wanted(check));
    let names: Vec<&str> = wanted.map(|check| check.check).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
