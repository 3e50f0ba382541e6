//! `treering-server init`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::location::Location;
use crate::data_directory::default_anchor;
use crate::ops::init::{InitError, NewLog, init};

/// Make a new log. Its keys, origin and tree id are fixed from then on.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    location: Location,
    /// Where clients will reach the log; its host name becomes the origin
    #[arg(long, env = "TREERING_URL")]
    url: String,
    /// An existing Ed25519 key (PKCS#8 PEM) for checkpoints [default: a new one]
    #[arg(long, value_name = "FILE", env = "TREERING_NOTE_KEY")]
    note_key: Option<PathBuf>,
    /// An existing ECDSA P-256 key (PKCS#8 PEM) for Rekor v1 [default: a new one]
    #[arg(long, value_name = "FILE", env = "TREERING_V1_KEY")]
    v1_key: Option<PathBuf>,
    /// Add a dated ML-DSA-44 line to each checkpoint: two of them prove a roll-back. Makes each
    /// checkpoint, and each answer that carries one, 3.3 KB longer
    #[arg(long, env = "TREERING_ML_DSA")]
    ml_dsa: bool,
    /// Make no timestamp authority (RFC 3161); `timestamps init` adds one later
    #[arg(long, env = "TREERING_NO_TIMESTAMPS")]
    no_timestamps: bool,
}

const EXAMPLES: &str = "Examples:
  treering-server init --data ./log --url https://log.corp
  treering-server init --data /var/lib/treering/log --anchor /mnt/other/log.anchor --url https://log.corp";

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Location { data, anchor } = arguments.location;
    let anchor = anchor.unwrap_or_else(|| default_anchor(&data));
    let Arguments { url, note_key, v1_key, ml_dsa, no_timestamps, .. } = arguments;
    let timestamps = !no_timestamps;
    let new = NewLog { data, anchor, url, note_key, v1_key, ml_dsa, timestamps };
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
