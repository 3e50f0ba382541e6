//! `treering history`

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use treering_client::consistency::{contradiction, follow};
use treering_client::hash_model::{DEFAULT_IGNORES, HashOptions};
use treering_client::history::History;
use treering_client::index_history::{IndexHistoryError, gather_from_index};
use treering_client::log::LogReader;
use treering_client::lookup::Target;
use treering_client::monitor::search::LocalIndex;
use treering_client::report::Exit;
use treering_client::sign::resources;
use treering_client::status::{Asker, STATUS_LEN_MAX, history_from_status};
use treering_client::verify::Opened;
use treering_proto::bundle::BUNDLE_LEN_MAX;
use treering_proto::encoding::from_hex_lower;
use treering_proto::hash::Hash;
use treering_proto::model_id::model_id;
use treering_proto::model_statement::ModelStatement;
use treering_proto::trust::TrustFile;

use super::arguments::{NetworkArguments, StateArguments, TrustArguments, now, read_bounded};
use super::failure::{Failure, require_fresh};
use super::history_print::print;
use super::model;
use super::output::Output;
use super::search_index::unusable;
use super::verify::{keep_evidence, not_followed};

/// Show what is known about a model, a name or a file: first seen, names, signers, newer, notices
///
/// Asks the log unless told otherwise; every entry is proven to be in its tree, and that it shows
/// all of them is its word. With the index of a monitor nothing is hidden; what statements say is
/// then shown with --online. Says of each notice who said it, and whether the trust file lets them.
#[derive(Args)]
#[command(group = ArgGroup::new("target").required(true)
              .args(["model", "model_id", "name", "file"]),
          after_help = "\
Examples:
  treering history ./llama-3 --trust trust.json
  treering history --name llama-3 --trust trust.json --output json
  treering history --file weights.safetensors --trust trust.json --index ./monitor
  treering history ./llama-3 --trust trust.json --status llama-3.status")]
pub struct Arguments {
    /// Directory or file: what is known about these very bytes, whatever their signature says
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    /// The model with this id
    #[arg(long, value_name = "ID", env = "TREERING_MODEL_ID", value_parser = parse_model_id)]
    model_id: Option<Hash>,
    /// What was signed under this name
    #[arg(long, env = "TREERING_NAME")]
    name: Option<String>,
    /// Models that have this file
    #[arg(long, value_name = "FILE", env = "TREERING_FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArguments,
    /// Answer from the index in this directory, the --state of `treering monitor`
    #[arg(long, value_name = "DIR", env = "TREERING_INDEX")]
    index: Option<PathBuf>,
    /// With --index: fetch from the log what statements say
    #[arg(long, env = "TREERING_ONLINE", requires = "index")]
    online: bool,
    /// Answer from this status proof, and ask nobody
    #[arg(long, value_name = "FILE", env = "TREERING_STATUS", conflicts_with = "index")]
    status: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    state: StateArguments,
}

/// Runs the command.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let trust = arguments.trust.load()?;
    let target = target(&arguments, output)?;
    let history = if let Some(path) = &arguments.status {
        from_status(&arguments, path, &trust, output)?
    } else if let Some(directory) = &arguments.index {
        from_index(&arguments, directory, &trust, &target).await?
    } else {
        from_log(&arguments, &trust, &target, output).await?
    };
    print(&target, &trust, &history, output)
}

fn target(arguments: &Arguments, output: &Output) -> Result<Target, Failure> {
    if let Some(id) = arguments.model_id {
        return Ok(Target::Model(id));
    }
    if let Some(name) = &arguments.name {
        return Ok(Target::Name(name.clone()));
    }
    let options = HashOptions { ignore: Vec::new(), allow_symlinks: true };
    if let Some(path) = &arguments.file {
        let hashed = model::read(path, &options, output)?;
        let [file] = hashed.files.as_slice() else {
            return Err(Failure::usage("nothing was asked", "--file names a directory"));
        };
        return Ok(Target::File(format!("sha256:{}", file.digest)));
    }
    let path = arguments.model.as_ref().expect("one of the group is there");
    model_of(path, output)
}

/// The model in `path`: all its files but its signature, and what the signer chose to leave out.
fn model_of(path: &Path, output: &Output) -> Result<Target, Failure> {
    let signature = model::default_signature(path);
    let bundle = match signature.exists() {
        true => Some(read_bounded(&signature, BUNDLE_LEN_MAX, "the bundle")?),
        false => None,
    };
    let signed = bundle.and_then(|bytes| Opened::open(&bytes).ok());
    let mut ignore = Vec::new();
    if path.is_dir() {
        match &signed {
            Some(opened) => ignore.extend(opened.statement().ignore_paths().iter().cloned()),
            None => ignore.extend(DEFAULT_IGNORES.map(str::to_owned)),
        }
        ignore.extend(model::inside(path, &signature).filter(|own| !ignore.contains(own)));
    }
    let hashed = model::read(path, &HashOptions { ignore, allow_symlinks: true }, output)?;
    // The name is no part of the id.
    let statement = ModelStatement::new_files("model", resources(&hashed), Vec::new(), None);
    let id = model_id(&statement.map_err(|error| Failure::usage("no model is there", error))?);
    if signed.is_some_and(|opened| opened.model_id() != id) {
        let text = "remark: the signature beside it is of another model, or of other files";
        output.remark(text);
    }
    Ok(Target::Model(id))
}

async fn from_log(
    arguments: &Arguments,
    trust: &TrustFile,
    target: &Target,
    output: &Output,
) -> Result<History, Failure> {
    let state = arguments.state.directory()?;
    let transport = arguments.network.connect(trust)?;
    let log = LogReader::new(&transport, trust);
    let followed = follow(&log, trust, &state, None)
        .await
        .map_err(|error| not_followed(error, &state, trust, output))?;
    require_fresh(trust, &followed.head, now())?;
    let asker = Asker::new(&log, trust, &followed.head, &[]);
    let gathered = asker.gather(|history| target.questions(trust, history)).await;
    Ok(gathered.map_err(Failure::from)?.history)
}

fn from_status(
    arguments: &Arguments,
    path: &Path,
    trust: &TrustFile,
    output: &Output,
) -> Result<History, Failure> {
    let bytes = read_bounded(path, STATUS_LEN_MAX, "the status proof")?;
    let proven = history_from_status(&bytes, trust, &[], now())?;
    if let Ok(state) = arguments.state.directory()
        && let Some(fork) = contradiction(trust, &state, &proven.head)?
    {
        keep_evidence(Some(&state), trust, &fork, output);
        let what = "the status proof contradicts what is remembered of the log";
        return Err(Failure::new(Exit::Alarm, what, fork));
    }
    Ok(proven.history)
}

async fn from_index(
    arguments: &Arguments,
    directory: &Path,
    trust: &TrustFile,
    target: &Target,
) -> Result<History, Failure> {
    let index = LocalIndex::open(directory, &trust.log.origin).map_err(unusable)?;
    let transport = match arguments.online {
        true => Some(arguments.network.connect(trust)?),
        false => None,
    };
    let log = transport.as_ref().map(|transport| LogReader::new(transport, trust));
    let open = |history: &History| target.questions(trust, history);
    gather_from_index(&index, log.as_ref(), trust, &[], open).await.map_err(|error| match error {
        IndexHistoryError::Store(error) => unusable(error),
        IndexHistoryError::OtherEntry { .. } => {
            Failure::new(Exit::Alarm, "the log contradicts what it showed before", error)
                .advise("keep the index, and audit the log: treering audit")
        }
    })
}

fn parse_model_id(text: &str) -> Result<Hash, String> {
    let hash = from_hex_lower(text).and_then(|bytes| Hash::from_slice(&bytes));
    hash.ok_or_else(|| "a model id is 64 lower-case hexadecimal digits".to_owned())
}
