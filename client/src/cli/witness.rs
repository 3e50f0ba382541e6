//! `treering witness`: be a witness for logs.
//!
//! `init` makes a key and its state together, and nothing makes a new state for an old key: a
//! witness that forgot what it cosigned would cosign a fork. The logs are a file in the format of
//! the public lists, so there is no command to add one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use treering_client::report::Exit;
use treering_client::witness::crash_point;
use treering_client::witness::directory::{
    DirectoryError, EVIDENCE, WitnessDirectory, make_empty, read_all, read_identity,
};
use treering_client::witness::keys::{KeyFiles, WitnessKeyError, WitnessKeys};
use treering_client::witness::limits::REQUESTS_MAX;
use treering_client::witness::{Event, Witness, http};
use treering_proto::note::{NoteKey, is_key_name};
use treering_proto::witness::{Contradiction, LOG_LIST_LEN_MAX, LogList};

use super::arguments::{now, read_bounded};
use super::failure::Failure;
use super::output::Output;

/// Be a witness: cosign the checkpoints of logs, each only if it extends the one before
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(Init),
    Serve(Serve),
    AddKey(AddKey),
    List(List),
}

/// Make a new witness: its keys, and the state that belongs to them
///
/// Writes private keys (PKCS#8 PEM, mode 0600, not encrypted) and an empty state directory, and
/// prints the vkeys that others trust this witness by. Back up the keys. Never restore the state
/// from a backup, and never use a key with another state: the witness would cosign a fork.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering witness init --name witness.example --key witness.pem --state ./witness
  treering witness init --name witness.example --key witness.pem --ml-dsa-key witness.ml-dsa.pem \\
      --state ./witness")]
struct Init {
    /// The name in the cosignatures: such as a host name, without spaces and plus signs
    #[arg(long, env = "TREERING_NAME")]
    name: String,
    #[command(flatten)]
    keys: WitnessKeyArguments,
    #[command(flatten)]
    state: WitnessStateArguments,
}

/// Answer logs that ask for cosignatures (c2sp.org/tlog-witness)
///
/// Prints one JSON line when it listens. Stops at SIGTERM, after the requests that are open.
#[derive(Args)]
#[command(after_help = "\
The list of logs has the format of witness-network.org:
  logs/v0
  vkey log.example+1a2b3c4d+AYqI...
  origin log.example              only if it is not the name of the key

Examples:
  treering witness serve --key witness.pem --state ./witness --logs logs.txt
  treering witness serve --key witness.pem --ml-dsa-key witness.ml-dsa.pem --state ./witness \\
      --logs logs.txt --listen 127.0.0.1:7380")]
struct Serve {
    #[command(flatten)]
    keys: WitnessKeyArguments,
    #[command(flatten)]
    state: WitnessStateArguments,
    /// The logs to cosign for
    #[arg(long, value_name = "FILE", env = "TREERING_LOGS")]
    logs: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", env = "TREERING_LISTEN", default_value = "127.0.0.1:7380")]
    listen: SocketAddr,
}

/// Add an ML-DSA-44 key to a witness that has an Ed25519 key only
///
/// The witness must not run meanwhile. What it cosigned stays.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering witness add-key --ml-dsa-key witness.ml-dsa.pem --key witness.pem --state ./witness")]
struct AddKey {
    #[command(flatten)]
    keys: WitnessKeyArguments,
    #[command(flatten)]
    state: WitnessStateArguments,
}

/// Show what a witness is and what it cosigned last for each log
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering witness list --state ./witness
  treering witness list --state ./witness --output json")]
struct List {
    #[command(flatten)]
    state: WitnessStateArguments,
}

#[derive(Args)]
struct WitnessKeyArguments {
    /// Ed25519 private key of the witness
    #[arg(long, value_name = "FILE", env = "TREERING_KEY")]
    key: PathBuf,
    /// ML-DSA-44 private key beside it, for a second cosignature
    #[arg(long, value_name = "FILE", env = "TREERING_ML_DSA_KEY")]
    ml_dsa_key: Option<PathBuf>,
}

#[derive(Args)]
struct WitnessStateArguments {
    /// Directory of what was cosigned; on a disk of its machine, used by one witness
    #[arg(long, value_name = "DIR", env = "TREERING_STATE")]
    state: PathBuf,
}

impl WitnessKeyArguments {
    fn files(&self) -> KeyFiles<'_> {
        KeyFiles { ed25519: &self.key, ml_dsa_44: self.ml_dsa_key.as_deref() }
    }
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    match arguments.command {
        Command::Init(arguments) => init(&arguments, output),
        Command::Serve(arguments) => serve(&arguments, output),
        Command::AddKey(arguments) => add_key(&arguments, output),
        Command::List(arguments) => list(&arguments, output),
    }
}

fn init(arguments: &Init, output: &Output) -> Result<Exit, Failure> {
    let what = "no witness was made";
    if !is_key_name(&arguments.name) {
        let why = format!("{:?} cannot name a key", arguments.name);
        return Err(Failure::usage(what, why)
            .advise("say a name without spaces and plus signs, such as a host name"));
    }
    let keys = &arguments.keys;
    if keys.ml_dsa_key.as_ref() == Some(&keys.key) {
        return Err(Failure::usage(what, "both keys would be in the same file"));
    }
    for path in [Some(&keys.key), keys.ml_dsa_key.as_ref()].into_iter().flatten() {
        if path.exists() {
            let why = format!("{} exists, and keys are never overwritten", path.display());
            return Err(Failure::usage(what, why).advise("choose another path"));
        }
    }
    let path = &arguments.state.state;
    make_empty(path).map_err(|error| Failure::usage(what, error))?;
    let remove = || {
        let state = path.display();
        format!("remove the new key files, and {state} with what is in it, before you try again")
    };
    let made = WitnessKeys::generate(&arguments.name, keys.files());
    let made = made.map_err(|error| no_key(what)(error).advise(remove()))?;
    WitnessDirectory::create(path, made.public())
        .map_err(|error| Failure::usage(what, error).advise(remove()))?;
    tell_identity(made.public(), path, output)
}

fn add_key(arguments: &AddKey, output: &Output) -> Result<Exit, Failure> {
    let what = "no key was added";
    let Some(new) = &arguments.keys.ml_dsa_key else {
        return Err(Failure::usage(what, "no file was named").advise("say --ml-dsa-key FILE"));
    };
    let path = &arguments.state.state;
    let mut directory = WitnessDirectory::open(path).map_err(|e| Failure::usage(what, e))?;
    let old = KeyFiles { ed25519: &arguments.keys.key, ml_dsa_44: None };
    let name = directory.identity()[0].name().to_owned();
    let old = WitnessKeys::load(&name, old).map_err(no_key(what))?;
    if old.public() != directory.identity() {
        let why = "the witness has two keys already, or its Ed25519 key is another one";
        return Err(Failure::usage(what, why));
    }
    let key = WitnessKeys::generate_ml_dsa_44(&name, new).map_err(no_key(what))?;
    directory.add_key(key).map_err(|error| {
        let advice = format!("remove {} before you try again", new.display());
        Failure::usage(what, error).advise(advice)
    })?;
    tell_identity(directory.identity(), path, output)
}

fn tell_identity(keys: &[NoteKey], state: &Path, output: &Output) -> Result<Exit, Failure> {
    let vkeys: Vec<String> = keys.iter().map(NoteKey::to_vkey).collect();
    let mut lines = vec![format!("state  {}", state.display())];
    lines.extend(vkeys.iter().map(|vkey| format!("vkey   {vkey}")));
    let json = json!({
        "schema": "treering.witness/v1",
        "name": keys[0].name(),
        "vkeys": vkeys,
        "state": state,
    });
    output.data(&lines, &json)?;
    Ok(Exit::Ok)
}

fn list(arguments: &List, output: &Output) -> Result<Exit, Failure> {
    let path = &arguments.state.state;
    let what = "the state cannot be read";
    let identity = read_identity(path).map_err(|error| Failure::usage(what, error))?;
    let mut all = read_all(path, &identity).map_err(|error| Failure::usage(what, error))?;
    all.sort_by(|a, b| a.origin().cmp(b.origin()));
    let vkeys: Vec<String> = identity.iter().map(NoteKey::to_vkey).collect();
    let mut lines: Vec<String> = vkeys.iter().map(|vkey| format!("vkey  {vkey}")).collect();
    let mut logs = Vec::new();
    for cosigned in &all {
        let (head, time) = (cosigned.last().head, cosigned.last().time);
        let at = i64::try_from(time).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        let at = at.map_or_else(|| time.to_string(), |at| at.to_string());
        lines.push(format!("log   {}  {} entries, cosigned {at}", cosigned.origin(), head.size));
        logs.push(json!({
            "origin": cosigned.origin(),
            "treeSize": head.size.to_string(),
            "rootHash": head.root.to_hex(),
            "time": time,
        }));
    }
    let evidence = path.join(EVIDENCE);
    let files = evidence.read_dir().map_err(|error| Failure::usage(what, error))?.count();
    if files > 0 {
        lines.push(format!("ALARM {files} files of evidence in {}", evidence.display()));
    }
    let json = json!({
        "schema": "treering.witness-list/v1",
        "name": identity[0].name(),
        "vkeys": vkeys,
        "logs": logs,
        "evidenceFiles": files,
    });
    output.data(&lines, &json)?;
    Ok(Exit::Ok)
}

fn serve(arguments: &Serve, output: &Output) -> Result<Exit, Failure> {
    let what = "the witness does not start";
    let bytes = read_bounded(&arguments.logs, LOG_LIST_LEN_MAX, "the list of logs")?;
    let logs = LogList::parse(&bytes).map_err(|error| {
        Failure::usage(format!("{} cannot be used", arguments.logs.display()), error)
    })?;
    for skipped in logs.skipped().iter().take(SKIPPED_TOLD_MAX) {
        output.remark(&format!("a key is skipped: {skipped}"));
    }
    if let Some(more) = logs.skipped().len().checked_sub(SKIPPED_TOLD_MAX + 1) {
        output.remark(&format!("{} more keys are skipped", more + 1));
    }
    let directory =
        WitnessDirectory::open(&arguments.state.state).map_err(|error| not_started(&error))?;
    let name = directory.identity()[0].name().to_owned();
    let keys = WitnessKeys::load(&name, arguments.keys.files()).map_err(no_key(what))?;
    let tell = Box::new({
        let output = *output;
        move |event: &Event| tell(&output, event)
    });
    let witness = Witness::start(keys, directory, &logs, Box::new(now), tell);
    let witness = Arc::new(witness.map_err(|error| Failure::usage(what, error))?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(REQUESTS_MAX)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Unavailable, what, error))?;
    runtime.block_on(listen(witness, arguments.listen, output))
}

async fn listen(
    witness: Arc<Witness>,
    address: SocketAddr,
    output: &Output,
) -> Result<Exit, Failure> {
    let what = "the witness does not start";
    let refused = |error| {
        Failure::new(Exit::Unavailable, what, format!("cannot listen on {address}: {error}"))
            .advise("choose another address with --listen")
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    // Before anybody hears that the witness is ready, who may stop it at once.
    let no_signal = |error| Failure::new(Exit::Unavailable, what, error);
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signal)?;
    if let Some((point, count)) = crash_point::armed() {
        let name = point.name();
        output.remark(&format!("a crash point is armed, {name}:{count}: this process will die"));
    }
    let ready = json!({
        "event": "ready",
        "listen": address.to_string(),
        "name": witness.public_keys()[0].name(),
        "vkeys": witness.public_keys().iter().map(NoteKey::to_vkey).collect::<Vec<_>>(),
        "logs": witness.logs(),
        "skippedKeys": witness.skipped_keys(),
    });
    output.raw(format!("{ready}\n").as_bytes())?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    if !http::serve(witness, listener, stop).await {
        output.remark("requests were still open when the time to stop was over");
    }
    Ok(Exit::Ok)
}

/// Lines about keys that are skipped: a person reads no more.
const SKIPPED_TOLD_MAX: usize = 20;

/// Tells the operator.
fn tell(output: &Output, event: &Event) {
    match event {
        Event::Contradiction { origin, what, evidence } => {
            let kept = match evidence {
                Some(path) => format!("evidence is in {}", path.display()),
                None => "there is no room for more evidence: look at it and move it away".into(),
            };
            tell_contradiction(output, origin, *what, &kept);
        }
        Event::NoEvidence { origin, what, error } => {
            let kept = format!("the evidence was not written: {error}");
            tell_contradiction(output, origin, *what, &kept);
        }
        Event::OwnName { origin } => {
            let why = "their signatures could be taken for those of this witness";
            output.remark(&format!("keys of the log {origin} are skipped: {why}"));
        }
        Event::NotPersisted { origin, error } => {
            let text = format!("{origin}: the state was not written, nothing is cosigned: {error}");
            output.remark(&text);
        }
    }
}

/// An alarm only about what the log itself signed: anybody can send a wrong proof.
fn tell_contradiction(output: &Output, origin: &str, what: Contradiction, kept: &str) {
    let said = match what {
        Contradiction::ForkSize => "signed two different trees of one size",
        Contradiction::ForkPrefix { .. } => {
            "signed a tree that does not start with the one cosigned"
        }
        Contradiction::Smaller => "went back to a smaller tree, and dated it later",
        Contradiction::Unproven => {
            let said = "has a checkpoint that somebody sent with a proof that does not fit";
            return output.remark(&format!("{origin} {said}; {kept}"));
        }
    };
    output.alarm(&format!("{origin} {said}"), std::iter::once(kept));
}

fn no_key(what: &'static str) -> impl Fn(WitnessKeyError) -> Failure {
    move |error| match error {
        WitnessKeyError::Locked { .. } => Failure::new(Exit::Unavailable, what, error),
        error => Failure::usage(what, error),
    }
}

fn not_started(error: &DirectoryError) -> Failure {
    let exit = match error {
        DirectoryError::Locked { .. }
        | DirectoryError::NotSynced { .. }
        | DirectoryError::Io { .. } => Exit::Unavailable,
        _ => Exit::Usage,
    };
    Failure::new(exit, "the witness does not start", error)
}
