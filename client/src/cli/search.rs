//! `treering search`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use treering_client::consistency::follow;
use treering_client::hash_model::HashOptions;
use treering_client::log::LogReader;
use treering_client::online::time_text;
use treering_client::report::Exit;
use treering_client::search_check::SearchOrder;
use treering_proto::facts::Tag;
use treering_proto::trust::TrustFile;

use super::arguments::{NetworkArguments, StateArguments, TrustArguments, load_public_key, now};
use super::failure::{Failure, require_fresh};
use super::model;
use super::output::Output;
use super::search_index;
use super::verify::not_followed;

/// Find entries of the log by what they say
///
/// Entries must have all the facts that are given. What the log finds, and what it leaves out, is
/// its word: nothing here is proven. With an index that `treering monitor` made the answer is
/// complete for the entries that the monitor read, and the log's word can be checked.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering search subject-name=llama-3 --trust trust.json
  treering search --file weights.safetensors --trust trust.json
  treering search --public-key ci.pub predicate-type=https://model_signing/signature/v1.0
  treering search subject-name=llama-3 --trust trust.json --index ./monitor --online

Facts:
  artifact-digest payload-digest envelope-digest public-key identity issuer subject-name model-id
  oms-root file-digest predicate-type parent-digest component-purl workflow")]
pub struct Arguments {
    /// Facts, each as NAME=VALUE; digests are written sha256:HEX
    #[arg(value_name = "FACT", value_parser = parse_fact)]
    facts: Vec<(String, String)>,
    #[command(flatten)]
    trust: TrustArguments,
    /// Entries about models with this file
    #[arg(long, value_name = "FILE", env = "TREERING_FILE")]
    file: Option<PathBuf>,
    /// Entries signed with this key
    #[arg(long, value_name = "FILE", env = "TREERING_PUBLIC_KEY")]
    public_key: Option<PathBuf>,
    /// Which come first
    #[arg(long, value_enum, default_value = "newest", env = "TREERING_ORDER")]
    order: Order,
    /// How many at most
    #[arg(long, default_value = "20", env = "TREERING_LIMIT",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Continue where an earlier answer ended
    #[arg(long, env = "TREERING_CURSOR")]
    cursor: Option<String>,
    /// Answer from the index in this directory, the --state of `treering monitor`
    #[arg(long, value_name = "DIR", env = "TREERING_INDEX")]
    index: Option<PathBuf>,
    /// With --index: ask the log, too, and hold its answer against the index
    #[arg(long, env = "TREERING_ONLINE")]
    online: bool,
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    state: StateArguments,
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    Newest,
    Oldest,
}

/// Runs the command.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let trust = arguments.trust.load()?;
    let mut facts = arguments.facts.clone();
    if let Some(path) = &arguments.file {
        let options = HashOptions { ignore: Vec::new(), allow_symlinks: true };
        let hashed = model::read(path, &options, output)?;
        let [file] = hashed.files.as_slice() else {
            return Err(Failure::usage("nothing was searched", "--file names a directory"));
        };
        facts.push(("file-digest".to_owned(), format!("sha256:{}", file.digest)));
    }
    if let Some(path) = &arguments.public_key {
        let fingerprint = load_public_key(path)?.fingerprint();
        facts.push(("public-key".to_owned(), fingerprint.to_hex()));
    }
    if facts.is_empty() {
        return Err(Failure::usage("nothing was searched", "no fact was given")
            .advise("say NAME=VALUE, --file or --public-key"));
    }
    let texts: Vec<(&str, &str)> = facts.iter().map(|(t, v)| (t.as_str(), v.as_str())).collect();
    if let Some(directory) = &arguments.index {
        return from_index(&arguments, directory, &trust, &texts, output).await;
    }
    let transport = arguments.network.connect(&trust)?;
    let log = LogReader::new(&transport, &trust);
    let state = arguments.state.directory()?;
    let followed = follow(&log, &trust, &state, None)
        .await
        .map_err(|error| not_followed(error, &state, &trust, output))?;
    require_fresh(&trust, &followed.head, now())?;
    let limit = arguments.limit.to_string();
    let order = match arguments.order {
        Order::Newest => "newest",
        Order::Oldest => "oldest",
    };
    let mut page = vec![("limit", limit.as_str()), ("order", order)];
    page.extend(arguments.cursor.as_deref().map(|cursor| ("cursor", cursor)));
    let found = log.search(&texts, &page).await?;
    let mut json = serde_json::to_value(&found).expect("texts and numbers always serialize");
    json["schema"] = "treering.search/v1".into();
    let lines: Vec<String> = found
        .entries
        .iter()
        .map(|hit| {
            let time = time_text(hit.time);
            format!("{:>8}  {time}  {} {}  {}", hit.index, hit.kind, hit.version, hit.entry_id)
        })
        .collect();
    if lines.is_empty() {
        output.remark("the log found nothing");
        output.data(&[], &json)?;
        return Ok(Exit::NotFound);
    }
    output.data(&lines, &json)?;
    if let Some(next) = &found.next {
        output.remark(&format!("there are more: --cursor {next}"));
    }
    output.remark("this is the log's word; what it leaves out cannot be seen here");
    Ok(Exit::Ok)
}

async fn from_index(
    arguments: &Arguments,
    directory: &Path,
    trust: &TrustFile,
    facts: &[(&str, &str)],
    output: &Output,
) -> Result<Exit, Failure> {
    let cursor = arguments.cursor.as_deref().map(str::parse).transpose();
    let cursor = cursor.map_err(|error| Failure::usage("--cursor is not a number", error))?;
    let order = match arguments.order {
        Order::Newest => SearchOrder::Newest,
        Order::Oldest => SearchOrder::Oldest,
    };
    let limit = usize::from(arguments.limit);
    let query = search_index::Query { facts, order, cursor, limit };
    let transport = match arguments.online {
        true => Some(arguments.network.connect(trust)?),
        false => None,
    };
    search_index::run(directory, trust, &query, transport.as_ref(), output).await
}

fn parse_fact(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a fact is NAME=VALUE")?;
    if Tag::from_name(name).is_none() {
        return Err(format!("there is no fact {name:?}; `treering search --help` lists them"));
    }
    if value.is_empty() {
        return Err("the value is empty".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}
