//! `treering staple`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use treering_client::consistency::follow;
use treering_client::history::{Believed, History, Subject, questions};
use treering_client::log::LogReader;
use treering_client::online::time_text;
use treering_client::report::Exit;
use treering_client::status::{Asked, Asker, Gathered, with_every_rule};
use treering_client::verify::{Model, Newest, Opened, Policy, verify};
use treering_proto::bundle::BUNDLE_LEN_MAX;

use super::arguments::{
    NetworkArguments, StateArguments, TrustArguments, now, read_bounded, write_output,
};
use super::failure::{Failure, require_fresh};
use super::model;
use super::output::Output;
use super::verify::not_followed;

/// Fetch a status proof: what the log knows about a signed model, for verifiers without a network
///
/// The file holds the newest checkpoint, and every entry that a model policy may need with its
/// proof. `treering verify --status FILE` judges by it, as if the log had been asked when it was
/// made. Get a new one as often as the policy's `checkpointAge` demands.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering staple ./llama-3 --trust trust.json
  treering staple model.gguf --signature model.sig --trust trust.json --out model.status
  treering verify ./llama-3 --trust trust.json --status llama-3.status")]
pub struct Arguments {
    /// Directory or file that was signed; only its signature is read
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    trust: TrustArguments,
    /// The bundle [default: MODEL/model.sig, or MODEL.sig for a file]
    #[arg(long, value_name = "FILE", env = "TREERING_SIGNATURE")]
    signature: Option<PathBuf>,
    /// Where to write [default: MODEL.status, beside the model and never inside]
    #[arg(long, value_name = "FILE", env = "TREERING_OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    state: StateArguments,
}

const NOTHING: &str = "no status proof was made";

/// Runs the command.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let trust = arguments.trust.load()?;
    let model = &arguments.model;
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => beside(model)?,
    };
    let signature = arguments.signature.clone().unwrap_or_else(|| model::default_signature(model));
    let bytes = read_bounded(&signature, BUNDLE_LEN_MAX, "the bundle")?;
    let opened = Opened::open(&bytes).map_err(|error| Failure::usage(NOTHING, error))?;
    let policy = Policy { trust: &trust, signers: &trust.signers, now: now() };
    let verification = verify(&opened, &policy, Model::NotRead);
    let subject = Subject::of(&opened, &trust, &verification, &Newest::NotAsked);
    let (Some(subject), Some(entry)) = (subject, &verification.entry) else {
        let why = "it is not proven that the signature verifies and is logged";
        return Err(Failure::new(Exit::NotVerified, NOTHING, why)
            .advise("see why: treering verify; or log it first: treering submit"));
    };
    let state = arguments.state.directory()?;
    let transport = arguments.network.connect(&trust)?;
    let log = LogReader::new(&transport, &trust);
    let followed = follow(&log, &trust, &state, Some(&entry.checkpoint))
        .await
        .map_err(|error| not_followed(error, &state, &trust, output))?;
    require_fresh(&trust, &followed.head, policy.now)?;
    let rules = with_every_rule(&trust.model_policy);
    let believed = Believed { policy: &rules, signers: &trust.signers };
    let open = |history: &History| Asked::of(questions(believed, &subject, history));
    let asker = Asker::new(&log, &trust, &followed.head, opened.intermediates());
    let gathered = asker.gather(open).await.map_err(Failure::from)?;
    if let Some(gap) = gathered.gap(&open(&gathered.history)) {
        // Whoever carries it would learn of the gap where nobody can be asked.
        return Err(Failure::new(Exit::Unavailable, NOTHING, gap)
            .advise("try again later; the log did not answer all that was asked"));
    }
    let file = gathered.status.format();
    write_output(&out, &file)?;
    print(&gathered, &out, file.len(), output)?;
    Ok(Exit::Ok)
}

/// `MODEL.status` beside the model: inside, it would be a file that nobody signed.
fn beside(model: &Path) -> Result<PathBuf, Failure> {
    let full = model.canonicalize().map_err(|error| {
        Failure::usage(format!("there is no file or directory {}", model.display()), error)
    })?;
    let Some(name) = full.file_name() else {
        let why = "the model has no name to call the file by";
        return Err(Failure::usage(NOTHING, why).advise("say --out FILE"));
    };
    let mut name = name.to_owned();
    name.push(".status");
    Ok(full.with_file_name(name))
}

fn print(gathered: &Gathered, out: &Path, len: usize, output: &Output) -> Result<(), Failure> {
    let history = &gathered.history;
    let time = history.head_time.map_or("nobody says when".to_owned(), time_text);
    let lines = vec![
        format!("written to {}, {len} bytes", out.display()),
        format!("the tree of {} entries, {time}", history.size),
        format!(
            "{} questions, {} entries, {} statements",
            gathered.status.replies.len(),
            gathered.status.entries.len(),
            gathered.status.statements.len()
        ),
    ];
    for remark in &history.remarks {
        output.remark(&format!("remark: {remark}"));
    }
    let json = json!({
        "schema": "treering.staple/v1",
        "status": out,
        "bytes": len,
        "treeSize": history.size.get(),
        "headTime": history.head_time,
        "questions": gathered.status.replies.len(),
        "entries": gathered.status.entries.len(),
        "statements": gathered.status.statements.len(),
        "remarks": history.remarks,
    });
    output.data(&lines, &json)
}
