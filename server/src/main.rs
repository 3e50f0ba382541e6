//! The command line of the server: flags in, one operation, an exit code out.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use treering_server::anchor::AnchorError;
use treering_server::data_directory::{DirectoryError, default_anchor};
use treering_server::limits::FREE_DISK_BYTES_MIN;
use treering_server::ops::claim::{ClaimError, claim, claim_with_new_anchor};
use treering_server::ops::fsck::{FsckError, check, describe, drop_unsigned};
use treering_server::ops::init::{InitError, NewLog, init};
use treering_server::ops::rebuild::rebuild;
use treering_server::ops::serve::{ServeError, Service, Witnesses, serve};
use treering_server::ops::trust_export::{ExportError, export};
use treering_server::signer::KeyFileError;
use treering_server::startup::StartError;
use treering_server::witness::Mode;

/// A transparency log for machine-learning model signatures.
#[derive(Parser)]
#[command(name = "treering-server", version = VERSION, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new log. Its keys, origin and tree id are fixed from then on.
    Init(Init),
    /// Serve a log until SIGTERM.
    Serve(Serve),
    /// Hand out what verifiers need.
    Trust {
        #[command(subcommand)]
        command: Trust,
    },
    /// Rebuild a stopped log from its entries and compare everything with it.
    Fsck(Fsck),
    /// Say that this copy of a log is the only one left.
    Claim(Claim),
}

/// Where a log is.
#[derive(Args)]
struct Location {
    /// The data directory of the log.
    #[arg(long, value_name = "DIR", env = "TREERING_DATA")]
    data: PathBuf,
    /// The anchor file [default: where it was last; at first DIR.anchor]. Better on another volume
    /// than DIR.
    #[arg(long, value_name = "FILE", env = "TREERING_ANCHOR")]
    anchor: Option<PathBuf>,
}

#[derive(Args)]
struct Init {
    #[command(flatten)]
    location: Location,
    /// Where clients will reach the log; its host name becomes the origin.
    #[arg(long, env = "TREERING_URL")]
    url: String,
    /// An existing Ed25519 key (PKCS#8 PEM) for checkpoints [default: a new one].
    #[arg(long, value_name = "FILE", env = "TREERING_NOTE_KEY")]
    note_key: Option<PathBuf>,
    /// An existing ECDSA P-256 key (PKCS#8 PEM) for Rekor v1 [default: a new one].
    #[arg(long, value_name = "FILE", env = "TREERING_V1_KEY")]
    v1_key: Option<PathBuf>,
    /// Add a dated ML-DSA-44 line to each checkpoint: two of them prove a roll-back. Makes each
    /// checkpoint, and each answer that carries one, 3.3 KB longer.
    #[arg(long, env = "TREERING_ML_DSA")]
    ml_dsa: bool,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    location: Location,
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000", env = "TREERING_LISTEN")]
    listen: SocketAddr,
    /// Take entries from anybody who reaches the address. Entries can never be deleted.
    #[arg(long, env = "TREERING_OPEN_WRITES")]
    open_writes: bool,
    /// Acknowledge nothing when the disk has fewer bytes free than this.
    #[arg(long, value_name = "BYTES", default_value_t = FREE_DISK_BYTES_MIN, env = "TREERING_MIN_FREE_DISK")]
    min_free_disk: u64,
    /// Who cosigns checkpoints, and how many must: a file in C2SP tlog-policy, with the URL of each
    /// witness.
    #[arg(long, value_name = "FILE", env = "TREERING_WITNESS_POLICY")]
    witness_policy: Option<PathBuf>,
    /// Without a quorum of witnesses: closed publishes and acknowledges nothing; open goes on after
    /// the timeout, and says so.
    #[arg(
        long,
        default_value = "closed",
        requires = "witness_policy",
        env = "TREERING_WITNESS_MODE"
    )]
    witness_mode: WitnessMode,
    /// Go on without witnesses, although the log was served with them.
    #[arg(long, conflicts_with = "witness_policy", env = "TREERING_WITHOUT_WITNESSES")]
    without_witnesses: bool,
    /// Time for one request to a witness, such as 2s or 500ms.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_time,
          requires = "witness_policy", env = "TREERING_WITNESS_TIMEOUT")]
    witness_timeout: Duration,
    /// Least time between two checkpoints when witnesses cosign them; 1s for public witnesses.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = parse_time,
          requires = "witness_policy", env = "TREERING_MIN_PUBLISH_INTERVAL")]
    min_publish_interval: Duration,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum WitnessMode {
    Closed,
    Open,
}

#[derive(Subcommand)]
enum Trust {
    /// Write trust.json, the log's public keys and its identity document.
    Export {
        #[command(flatten)]
        location: Location,
        /// The witness policy that verifiers shall ask for, a file in C2SP tlog-policy.
        #[arg(long, value_name = "FILE", env = "TREERING_WITNESS_POLICY")]
        witness_policy: Option<PathBuf>,
        /// The directory to write to.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Args)]
struct Fsck {
    #[command(flatten)]
    location: Location,
    /// Take out entries that were never signed, after writing them to --export.
    #[arg(long)]
    drop_unsigned: bool,
    /// Write tiles, leaf index and postings again, from entries and statements.
    #[arg(long)]
    rebuild: bool,
    /// Where --drop-unsigned writes what it takes out [default: DIR.dropped.jsonl].
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

#[derive(Args)]
struct Claim {
    #[command(flatten)]
    location: Location,
    /// Make a new anchor, because the old one is lost for good.
    #[arg(long, requires = "checkpoint")]
    new_anchor: bool,
    /// The newest checkpoint of this log that anybody has.
    #[arg(long, value_name = "FILE", requires = "new_anchor")]
    checkpoint: Option<PathBuf>,
}

/// Why a command failed, for its exit code.
enum Failure {
    Usage(anyhow::Error),
    Unavailable(anyhow::Error),
    Integrity(anyhow::Error),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging();
    let result = match cli.command {
        Command::Init(args) => run_init(args),
        Command::Serve(args) => run_serve(args),
        Command::Trust { command: Trust::Export { location, witness_policy, out } } => {
            run_export(&location, witness_policy.as_deref(), &out)
        }
        Command::Fsck(args) => run_fsck(args),
        Command::Claim(args) => run_claim(args),
    };
    let (code, error) = match result {
        Ok(code) => return code,
        Err(Failure::Usage(error)) => (2, error),
        Err(Failure::Unavailable(error)) => (5, error),
        Err(Failure::Integrity(error)) => (6, error),
    };
    // Our errors name their cause themselves.
    eprintln!("error: {error}");
    ExitCode::from(code)
}

fn run_init(args: Init) -> Result<ExitCode, Failure> {
    let Location { data, anchor } = args.location;
    let anchor = anchor.unwrap_or_else(|| default_anchor(&data));
    let Init { url, note_key, v1_key, ml_dsa, .. } = args;
    let new = NewLog { data, anchor, url, note_key, v1_key, ml_dsa };
    let signer = init(&new).map_err(|error| match error {
        InitError::Store(_) => Failure::Unavailable(error.into()),
        _ => Failure::Usage(error.into()),
    })?;
    let identity = signer.identity();
    eprintln!("made a log in {} with its anchor {}", new.data.display(), new.anchor.display());
    eprintln!(
        "back up the directory and the anchor, keys included: the keys alone cannot go on with it"
    );
    if new.note_key.is_some() || new.v1_key.is_some() {
        eprintln!(
            "warning: a key that signed for another log, or for an earlier one of this name, must"
        );
        eprintln!("never sign for this one: its two histories would prove each other false");
    }
    println!(
        "{}",
        serde_json::json!({
            "event": "created",
            "origin": identity.origin(),
            "treeId": identity.tree_id().to_string(),
            "noteKey": identity.note_key().to_vkey(),
        })
    );
    Ok(ExitCode::SUCCESS)
}

fn run_serve(args: Serve) -> Result<ExitCode, Failure> {
    let service = Service {
        data: args.location.data,
        anchor: args.location.anchor,
        listen: args.listen,
        open_writes: args.open_writes,
        free_disk_min: args.min_free_disk,
        without_witnesses: args.without_witnesses,
        witnesses: args.witness_policy.map(|policy| Witnesses {
            policy,
            mode: match args.witness_mode {
                WitnessMode::Closed => Mode::Closed,
                WitnessMode::Open => Mode::Open,
            },
            timeout: args.witness_timeout,
            min_interval: args.min_publish_interval,
        }),
    };
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| Failure::Unavailable(error.into()))?;
    runtime.block_on(serve(service)).map_err(|error| match error {
        ServeError::Start(error) => start_failure(error),
        ServeError::Listen { .. } | ServeError::Witnesses(_) => Failure::Usage(error.into()),
        ServeError::Signal(_) | ServeError::Tls(_) => Failure::Unavailable(error.into()),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn run_export(
    location: &Location,
    witness_policy: Option<&std::path::Path>,
    out: &std::path::Path,
) -> Result<ExitCode, Failure> {
    let written = export(&location.data, witness_policy, out).map_err(|error| match error {
        ExportError::Io { .. } => Failure::Unavailable(error.into()),
        _ => Failure::Usage(error.into()),
    })?;
    for path in written {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn run_fsck(args: Fsck) -> Result<ExitCode, Failure> {
    let Location { data, anchor } = args.location;
    let failed = |error: FsckError| match error {
        FsckError::Start(error) => start_failure(error),
        FsckError::Store(_) => Failure::Integrity(error.into()),
        FsckError::Export { .. } => Failure::Unavailable(error.into()),
    };
    if args.drop_unsigned {
        let export = args.export.unwrap_or_else(|| default_export(&data));
        let count = drop_unsigned(&data, anchor.as_deref(), &export).map_err(failed)?;
        match count {
            0 => eprintln!("no entries lie above the anchor; nothing was dropped"),
            _ => eprintln!(
                "dropped {count} entries that were never signed; saved in {}",
                export.display()
            ),
        }
    }
    if args.rebuild {
        let count = rebuild(&data, anchor.as_deref(), |_| {}).map_err(failed)?;
        eprintln!("wrote the derived rows of {count} entries again");
    }
    let is_terminal = std::io::stderr().is_terminal();
    let checkup = check(&data, anchor.as_deref(), |entries| {
        if is_terminal {
            eprint!("\rchecked {entries} entries");
        }
    })
    .map_err(failed)?;
    if is_terminal {
        eprintln!();
    }
    let findings: Vec<String> = checkup.report.findings.iter().map(describe).collect();
    println!(
        "{}",
        serde_json::json!({
            "clean": checkup.is_clean(),
            "treeSize": checkup.report.head.size.to_string(),
            "rootHash": checkup.report.head.root.to_hex(),
            "anchoredSize": checkup.anchored.size.to_string(),
            "unsignedEntries": checkup.unsigned,
            "headsChecked": checkup.report.heads_checked,
            "findings": findings,
            "findingsCount": checkup.report.findings_count,
            "problems": checkup.problems,
        })
    );
    Ok(if checkup.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(6) })
}

fn default_export(data: &std::path::Path) -> PathBuf {
    let mut name = data.as_os_str().to_os_string();
    name.push(".dropped.jsonl");
    name.into()
}

fn run_claim(args: Claim) -> Result<ExitCode, Failure> {
    let Location { data, anchor } = args.location;
    let claimed = match &args.checkpoint {
        Some(path) if args.new_anchor => {
            let known = std::fs::read(path)
                .map_err(|error| Failure::Usage(anyhow::anyhow!("{}: {error}", path.display())))?;
            claim_with_new_anchor(&data, anchor.as_deref(), &known)
        }
        _ => claim(&data, anchor.as_deref()),
    };
    let head = claimed.map_err(|error| match error {
        ClaimError::Start(error) => start_failure(error),
        ClaimError::Checkpoint(_) => Failure::Usage(error.into()),
        ClaimError::NotCovered { .. } => Failure::Integrity(error.into()),
    })?;
    eprintln!("claimed: {} holds {} entries and may be served", data.display(), head.size);
    eprintln!("make sure that no other copy of it is ever started again");
    Ok(ExitCode::SUCCESS)
}

fn start_failure(error: StartError) -> Failure {
    match &error {
        StartError::Directory(
            DirectoryError::Missing { .. }
            | DirectoryError::Exists { .. }
            | DirectoryError::OtherVersion { .. },
        )
        | StartError::NoPolicy => Failure::Usage(error.into()),
        StartError::Directory(DirectoryError::AnchorInside { .. }) => Failure::Usage(error.into()),
        StartError::Directory(DirectoryError::Locked { .. } | DirectoryError::Io { .. })
        | StartError::Anchor(AnchorError::Locked { .. } | AnchorError::Io { .. })
        | StartError::Key(KeyFileError::Io { .. }) => Failure::Unavailable(error.into()),
        _ => Failure::Integrity(error.into()),
    }
}

/// A time of 10 milliseconds to 10 seconds: submitters wait for it, and give up after 20.
fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "a time starts with a number".to_owned())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        _ => None,
    };
    match milliseconds {
        Some(time @ 10..=10_000) => Ok(Duration::from_millis(time)),
        _ => Err("a time is 10ms to 10s, such as 500ms or 2s".to_owned()),
    }
}

/// Human text on a terminal, JSON elsewhere; `RUST_LOG` filters.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().init();
    }
}

const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (sources ", env!("TREERING_SOURCE_HASH"), ")");

const EXAMPLES: &str = "Examples:
  treering-server init --data ./log --url https://log.corp
  treering-server serve --data ./log --listen 127.0.0.1:3000 --open-writes
  treering-server serve --data ./log --open-writes --witness-policy witnesses.policy
  treering-server trust export --data ./log --out ./trust --witness-policy witnesses.policy
  treering-server fsck --data ./log

Exit codes: 0 ok, 2 usage, 5 unavailable, 6 integrity alarm (do not restart before a person has looked).";
