//! `treering-server restore`: from a backup, into a directory that is behind, or as a new log.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::progress::Progress;
use crate::anchor::AnchorError;
use crate::data_directory::default_anchor;
use crate::limits::raise_open_files;
use crate::ops::init::{InitError, NewLog};
use crate::ops::restore::new_log::{Lapsed, restore_as_new};
use crate::ops::restore::refill::{Refill, refill};
use crate::ops::restore::{Restore, RestoreError, Restored, restore};
use crate::signer::KeyFileError;
use crate::startup::StartError;
use crate::store::StoreError;

/// Make a data directory from a backup. It is read-only until it holds all that is known to have
/// been signed.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The backup
    #[arg(value_name = "FILE", required_unless_present = "refill")]
    file: Option<PathBuf>,
    /// The data directory to make; with --refill the one that is behind
    #[arg(long, value_name = "DIR", env = "TREERING_DATA")]
    data: PathBuf,
    /// The log's anchor; it is read and never written. With --as-new-log the one to make
    #[arg(long, value_name = "FILE", env = "TREERING_ANCHOR")]
    anchor: Option<PathBuf>,
    /// A directory with the log's private keys
    #[arg(long, value_name = "DIR", env = "TREERING_KEYS")]
    keys: Option<PathBuf>,
    /// A checkpoint of this log that somebody kept; may be given several times
    #[arg(long, value_name = "NOTE", env = "TREERING_CHECKPOINT", value_delimiter = ',')]
    checkpoint: Vec<PathBuf>,
    /// The anchor is lost for good; a new one is made by claim --new-anchor
    #[arg(long, requires = "checkpoint", env = "TREERING_LOST_ANCHOR")]
    lost_anchor: bool,
    /// Put missing entries back from a newer backup, or from another data directory
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["file", "as_new_log"],
          env = "TREERING_REFILL")]
    refill: Option<PathBuf>,
    /// Begin another log, with other keys, with the entries of the backup
    #[arg(long, requires = "url", conflicts_with_all = ["lost_anchor", "keys", "checkpoint"],
          env = "TREERING_AS_NEW_LOG")]
    as_new_log: bool,
    /// Where clients will reach the new log; its host name becomes the origin
    #[arg(long, value_name = "URL", env = "TREERING_URL")]
    url: Option<String>,
}

const EXAMPLES: &str = "Examples:
  treering-server restore log.backup --data ./log --anchor ./log.anchor --keys ./kept-keys
  treering-server restore --refill newer.backup --data ./log
  treering-server restore --refill /mnt/old/log --data ./log
  treering-server restore log.backup --data ./log --keys ./kept-keys --lost-anchor \\
      --checkpoint newest.checkpoint
  treering-server restore log.backup --as-new-log --url https://log2.corp --data ./log2

Repeat an interrupted restore or refill as it was. An interrupted --as-new-log leaves a directory that
is no log, and perhaps its anchor: remove both first.

Exit codes: 0 done, 2 wrong usage or nothing to do, 5 a file cannot be read or written, 6 the copy is
damaged, or contradicts what was signed.";

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Directory(error) => StartError::from(error).into(),
            RestoreError::Start(error) => error.into(),
            RestoreError::Source(error) => error.into(),
            RestoreError::Unfinished { .. } => Self::of_unfinished(error),
            RestoreError::Anchor(AnchorError::Locked { .. } | AnchorError::Io { .. })
            | RestoreError::Key(KeyFileError::Io { .. })
            | RestoreError::Init(InitError::Store(_))
            | RestoreError::Io { .. } => Self::Unavailable(error.into()),
            RestoreError::Store(StoreError::Format { .. }) => Self::Usage(error.into()),
            RestoreError::Store(ref source) if !source.is_damage() => {
                Self::Unavailable(error.into())
            }
            RestoreError::Anchor(AnchorError::Exists { .. })
            | RestoreError::Key(KeyFileError::NotAKey { .. })
            | RestoreError::Timestamps(_)
            | RestoreError::Checkpoint { .. }
            | RestoreError::NothingMissing { .. }
            | RestoreError::TooShort { .. }
            | RestoreError::OtherLog { .. }
            | RestoreError::KeysInside { .. }
            | RestoreError::NotFree { .. }
            | RestoreError::Init(_) => Self::Usage(error.into()),
            _ => Self::Integrity(error.into()),
        }
    }
}

impl Failure {
    /// The kind is that of the cause.
    fn of_unfinished(error: RestoreError) -> Self {
        let text = anyhow::anyhow!("{error}");
        let RestoreError::Unfinished { source, .. } = error else {
            return Self::Integrity(text);
        };
        match Self::from(*source) {
            Self::Usage(_) => Self::Usage(text),
            Self::Unavailable(_) => Self::Unavailable(text),
            Self::Integrity(_) => Self::Integrity(text),
        }
    }
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { file, data, anchor, keys, checkpoint: checkpoints, .. } = arguments;
    let Arguments { lost_anchor, refill: source, url, as_new_log, .. } = arguments;
    raise_open_files();
    let mut progress = Progress::new("wrote");
    let show = |done, of| progress.show(done, of);
    if let Some(source) = source {
        let refilled = refill(&Refill { source, data: data.clone(), anchor, checkpoints }, show)?;
        progress.end();
        say("refilled", &data, &refilled, None);
        return Ok(ExitCode::SUCCESS);
    }
    let usage = |text: &'static str| Failure::Usage(anyhow::anyhow!(text));
    let backup = file.ok_or_else(|| usage("a backup FILE is needed"))?;
    if let Some(url) = url.filter(|_| as_new_log) {
        let anchor = anchor.unwrap_or_else(|| default_anchor(&data));
        let (note_key, v1_key, ml_dsa, timestamps) = (None, None, false, true);
        let new = NewLog { data: data.clone(), anchor, url, note_key, v1_key, ml_dsa, timestamps };
        let (signer, restored, lapsed) = restore_as_new(&backup, &new, show)?;
        progress.end();
        let origin = signer.identity().origin();
        eprintln!("made a new log called {origin}; its clients need a new trust file:");
        eprintln!("  treering-server trust export --data {} --out DIR", data.display());
        say("created", &data, &restored, Some(&lapsed));
        return Ok(ExitCode::SUCCESS);
    }
    let anchor = match anchor {
        Some(path) => path,
        None if lost_anchor => default_anchor(&data),
        None => {
            return Err(usage(
                "the log's anchor is needed: --anchor FILE; or --lost-anchor with --checkpoint, if it is lost for good",
            ));
        }
    };
    let keys = keys.ok_or_else(|| usage("the log's private keys are needed: --keys DIR"))?;
    let what = Restore { backup, data: data.clone(), anchor, lost_anchor, keys, checkpoints };
    let restored = restore(&what, show)?;
    progress.end();
    say("restored", &data, &restored, None);
    if !what.keys.join("timestamp.pem").exists() {
        eprintln!(
            "there was no timestamp.pem among the keys: the log gives no timestamps. If it did:"
        );
        eprintln!("  treering-server timestamps init --data {}", data.display());
    }
    if lost_anchor {
        eprintln!(
            "there is no anchor yet: treering-server claim --data {} --new-anchor \\",
            data.display()
        );
        eprintln!("    --checkpoint FILE, with the newest checkpoint that anybody has");
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what was done; of a new log also which notices lapse.
fn say(event: &str, data: &Path, restored: &Restored, lapsed: Option<&[Lapsed]>) {
    let Restored { head, missing } = restored;
    eprintln!("{event}: {} holds {} entries", data.display(), head.size);
    if *missing > 0 {
        eprintln!(
            "{missing} entries that were signed are missing: the log will serve reads only. Next:"
        );
        eprintln!("  treering-server restore --refill SOURCE --data {}", data.display());
    }
    let mut report = serde_json::json!({
        "event": event,
        "treeSize": head.size.to_string(),
        "rootHash": head.root.to_hex(),
        "missing": missing,
    });
    if let Some(lapsed) = lapsed {
        say_lapsed(lapsed);
        let of_kind = |of: &Lapsed| {
            let indexes: Vec<u64> = of.first.iter().map(|index| index.get()).collect();
            serde_json::json!({"kind": of.kind, "count": of.count, "firstIndexes": indexes})
        };
        report["lapsedNotices"] = lapsed.iter().map(of_kind).collect();
    }
    println!("{report}");
}

fn say_lapsed(lapsed: &[Lapsed]) {
    if lapsed.is_empty() {
        return;
    }
    eprintln!(
        "these notices name the old log, and no verifier of the new one counts them. Have them"
    );
    eprintln!("said again in the new log before its trust file is handed out:");
    for Lapsed { kind, count, first } in lapsed {
        let mut named: Vec<String> = first.iter().map(ToString::to_string).collect();
        if *count > first.len() as u64 {
            named.push("...".to_owned());
        }
        eprintln!("  {kind}: {count}, entries {}", named.join(", "));
    }
}
