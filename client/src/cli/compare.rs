//! `treering compare`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use treering_client::compare::{Relation, compare, open_file};
use treering_client::consistency::{log_name, remembered};
use treering_client::log::LogReader;
use treering_client::online::time_text;
use treering_client::report::Exit;
use treering_client::state::StateDirectory;
use treering_client::transport::{Reading, Transport};
use treering_proto::bundle::BUNDLE_LEN_MAX;
use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::evidence::Evidence;
use treering_proto::trust::TrustFile;

use super::arguments::{NetworkArguments, StateArguments, TrustArguments, now, read_bounded};
use super::failure::Failure;
use super::output::Output;

/// Compare what two parties saw of one log
///
/// Each is a URL that serves the log, a file with a checkpoint, a bundle, or a state directory. Two
/// trees of one size are compared without the network; of different sizes, by tiles from a URL
/// given here or from the log. A fork ends with 6 and leaves evidence in the state directory.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering compare https://log.example https://mirror.example --trust trust.json
  treering compare mine/model.sig theirs.checkpoint --trust trust.json --offline
  treering compare ~/.local/state/treering theirs/model.sig --trust trust.json --output json")]
pub struct Arguments {
    /// URL, checkpoint, bundle or state directory
    #[arg(value_name = "A")]
    a: String,
    /// The same, to compare with
    #[arg(value_name = "B")]
    b: String,
    #[command(flatten)]
    trust: TrustArguments,
    /// Ask nobody
    #[arg(long, env = "TREERING_OFFLINE")]
    offline: bool,
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    state: StateArguments,
}

/// What one party saw.
struct Side {
    name: String,
    checkpoint: SignedCheckpoint,
    /// To where it came from, if that is a URL.
    transport: Option<Transport>,
}

/// Runs the command.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let trust = arguments.trust.load()?;
    let a = side(&arguments, &arguments.a, &trust).await?;
    let b = side(&arguments, &arguments.b, &trust).await?;
    let own = match arguments.offline {
        true => None,
        false => Some(arguments.network.connect(&trust)?),
    };
    // First where the larger tree was shown: who shows it must have its tiles.
    let mut sides = [&a, &b];
    sides.sort_by_key(|side| std::cmp::Reverse(side.checkpoint.head().size));
    let named = sides.map(|side| side.transport.as_ref().map(|transport| (&side.name, transport)));
    let mut tiles: Vec<(String, LogReader<'_>)> = Vec::new();
    for (name, transport) in
        named.into_iter().flatten().chain(own.iter().map(|o| (&trust.log.url, o)))
    {
        if tiles.iter().all(|(known, _)| known != name) {
            tiles.push((name.clone(), LogReader::new(transport, &trust)));
        }
    }
    let relation = compare(&trust, &a.checkpoint, &b.checkpoint, &tiles).await;
    let kept = match relation.evidence() {
        Some(evidence) => {
            let state = arguments.state.directory();
            keep(state.ok().as_ref(), &trust, evidence, &[&a, &b], output)
        }
        None => None,
    };
    print(&relation, [&a, &b], kept.as_deref(), output)
}

/// Reads what `name` names.
async fn side(arguments: &Arguments, name: &str, trust: &TrustFile) -> Result<Side, Failure> {
    if name.starts_with("https://") || name.starts_with("http://") {
        if arguments.offline {
            let why = "a log at a URL is asked over the network";
            return Err(Failure::usage(format!("{name} and --offline do not go together"), why));
        }
        let transport = arguments.network.connect_to(name, trust)?;
        let newest = LogReader::new(&transport, trust).checkpoint(Reading::Fresh).await;
        let what = || format!("{name} cannot be read");
        let checkpoint = newest.map_err(|error| Failure { what: what(), ..error.into() })?;
        return Ok(Side { name: name.to_owned(), checkpoint, transport: Some(transport) });
    }
    let path = Path::new(name);
    let checkpoint = if path.is_dir() { of_state(path, trust)? } else { of_file(path, trust)? };
    Ok(Side { name: name.to_owned(), checkpoint, transport: None })
}

/// The largest checkpoint that is remembered.
fn of_state(path: &Path, trust: &TrustFile) -> Result<SignedCheckpoint, Failure> {
    let known = remembered(trust, &StateDirectory::new(path.to_owned()))?;
    let largest = known.into_iter().max_by_key(|checkpoint| checkpoint.head().size);
    largest.ok_or_else(|| {
        let what = format!("{} remembers no checkpoint", path.display());
        Failure::usage(what, format!("nothing of {} is there", trust.log.origin))
            .advise("name a state directory of this client, as in --state")
    })
}

fn of_file(path: &Path, trust: &TrustFile) -> Result<SignedCheckpoint, Failure> {
    let bytes = read_bounded(path, BUNDLE_LEN_MAX, "the checkpoint")?;
    open_file(&bytes, trust).map_err(|error| {
        let what = format!("{} holds no checkpoint of the trusted log", path.display());
        Failure::new(Exit::NotVerified, what, error)
    })
}

/// Keeps evidence and says where; to stderr where it cannot be kept.
fn keep(
    state: Option<&StateDirectory>,
    trust: &TrustFile,
    evidence: &Evidence,
    sides: &[&Side; 2],
    output: &Output,
) -> Option<PathBuf> {
    let [a, b] = sides.map(|side| side.name.as_str());
    let text = evidence.format(&format!("{} {a} {b}", time_text(now())));
    let kind = evidence.kind().name();
    let kept = state.map(|state| state.keep_evidence(&log_name(trust), kind, &text));
    match kept {
        Some(Ok(path)) => {
            output.alarm(&format!("evidence ({kind}) is in {}", path.display()), [].into_iter());
            return Some(path);
        }
        Some(Err(error)) => output.alarm(&format!("evidence ({kind}; {error}):"), text.lines()),
        None => {
            let why = "there is no state directory";
            output.alarm(&format!("evidence ({kind}; {why}):"), text.lines());
        }
    }
    None
}

fn print(
    relation: &Relation,
    sides: [&Side; 2],
    kept: Option<&Path>,
    output: &Output,
) -> Result<Exit, Failure> {
    let (exit, why) = match relation {
        Relation::Same => (Exit::Ok, "both saw the same tree".to_owned()),
        Relation::Consistent => {
            (Exit::Ok, "the larger tree starts with the smaller one".to_owned())
        }
        Relation::Forked(evidence) | Relation::RolledBack(evidence) => {
            (Exit::Alarm, evidence.to_string())
        }
        Relation::Unknown(reasons) => (Exit::Unavailable, reasons.join("; ")),
    };
    let mut lines = vec![format!("relation  {}", relation.name()), format!("why       {why}")];
    for (name, side) in ["A", "B"].iter().zip(sides) {
        let head = side.checkpoint.head();
        lines.push(format!("{name}         {} entries, {}: {}", head.size, head.root, side.name));
    }
    if let Some(path) = kept {
        lines.push(format!("evidence  {}", path.display()));
    }
    let json = json!({
        "schema": "treering.compare/v1",
        "relation": relation.name(),
        "why": why,
        "a": side_json(sides[0]),
        "b": side_json(sides[1]),
        "evidence": kept.map(|path| path.display().to_string()),
    });
    output.data(&lines, &json)?;
    Ok(exit)
}

fn side_json(side: &Side) -> Value {
    let head = side.checkpoint.head();
    json!({
        "from": side.name,
        "origin": side.checkpoint.checkpoint().origin,
        "treeSize": head.size.get(),
        "rootHash": head.root.to_hex(),
    })
}
