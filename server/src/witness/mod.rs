//! Witnessing: the log's newest fenced head is shown to witnesses, and published when their quorum
//! cosigned it (c2sp.org/tlog-witness, c2sp.org/tlog-policy).
//!
//! ```text
//! sequencer   fenced head -> Witnessing::propose        -> question for all witnesses
//! asker.rs    one task for each witness: prove, POST, verify the lines -> Event, nudge
//! sequencer   Witnessing::advance: collect, quorum?     -> Ready -> publisher
//! ```
//!
//! A log that was rolled back or cloned finds out here, and only here: a witness remembers a
//! checkpoint with this log's own signature that its storage cannot explain. Then it latches and
//! signs nothing more. A mere number from a witness is no proof: such a witness is passed over for
//! the round, and the operator hears of it.
//!
//! Invariants:
//! - nothing is signed before every witness was asked what it remembers, or did not answer in time;
//!   a witness that remembers more and shows no note stops a closed log by refusing the first head;
//! - only lines that verified under a key of the policy are kept;
//! - one request at a time is under way to each witness;
//! - always the newest fenced head is proposed; heads in between never.
//!
//! Out of scope: being a witness (the client's `treering witness`).

mod asker;
mod collect;
mod remembered;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use treering_proto::note::{NoteKey, SIGNATURES_MAX, Verified};
use treering_proto::policy::{Policy, PolicyError};

pub use self::asker::{AskerContext, spawn};
pub use self::collect::{Advance, RENEWAL_MS, Witnessing};
pub use self::remembered::ask_all;

/// The log's own lines in a note: one of each of its keys.
const OWN_LINES: usize = 2;

/// What to do when the quorum does not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Publish nothing, acknowledge nothing.
    Closed,
    /// Publish after the timeout, marked as not witnessed.
    Open,
}

/// How the log is witnessed.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose cosignatures are asked for, and how many are needed.
    pub policy: Policy,
    /// What happens without them.
    pub mode: Mode,
    /// Time for one request to one witness; in open mode also for the round.
    pub timeout: Duration,
    /// Least time between two published checkpoints.
    pub min_interval: Duration,
}

/// One witness as it is reached: all keys of the policy behind one URL.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in the policy; of several, the first.
    pub name: String,
    /// The submission prefix, without a slash at its end.
    pub url: String,
    /// What may cosign.
    pub keys: Vec<NoteKey>,
}

/// Why a policy cannot be used by this log.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the witness policy {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not a policy.
    #[error("the witness policy {path}: {source}")]
    Policy {
        /// Which file.
        path: String,
        /// Why not.
        source: PolicyError,
    },
    /// It lists logs, and this one is not among them.
    #[error("the witness policy lists logs, and none of them is {vkey}")]
    OtherLog {
        /// The key of this log.
        vkey: String,
    },
    /// It names nobody who could be asked.
    #[error("the witness policy names no witness with a URL: nobody could be asked")]
    Nobody,
    /// The quorum can never be met.
    #[error(
        "the witness policy's quorum cannot be met by the witnesses that have a URL; add the URLs that are missing"
    )]
    Unreachable,
    /// It asks for no cosignature.
    #[error("the witness policy has `quorum none`: leave it out to serve without witnesses")]
    NoQuorum,
    /// More keys than a note can have lines.
    #[error("the witness policy has {count} keys, and a note has room for {max} cosignatures")]
    TooMany {
        /// How many.
        count: usize,
        /// The most.
        max: usize,
    },
    /// A URL that nobody can reach.
    #[error("{url:?} is not the http or https URL of a witness")]
    Url {
        /// As the policy has it.
        url: String,
    },
    /// A witness has the name or the key of this log.
    #[error("the witness {name} has the name or the key of the log itself")]
    Itself {
        /// Its name in the policy.
        name: String,
    },
}

impl Config {
    /// Reads the policy file of the log whose key is `log`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load_policy(path: &Path, log: &NoteKey) -> Result<Policy, ConfigError> {
        let name = || path.display().to_string();
        let bytes =
            std::fs::read(path).map_err(|source| ConfigError::Read { path: name(), source })?;
        let policy =
            Policy::parse(&bytes).map_err(|source| ConfigError::Policy { path: name(), source })?;
        let lists_us = policy.log_keys(log.name()).contains(log);
        if !policy.logs().is_empty() && !lists_us {
            return Err(ConfigError::OtherLog { vkey: log.to_vkey() });
        }
        for witness in policy.witnesses() {
            let key = &witness.key;
            if key.name() == log.name() || key.public_key() == log.public_key() {
                return Err(ConfigError::Itself { name: witness.name.clone() });
            }
        }
        if policy.needs_no_witness() {
            return Err(ConfigError::NoQuorum);
        }
        let (count, max) = (policy.witnesses().count(), SIGNATURES_MAX - OWN_LINES);
        if count > max {
            return Err(ConfigError::TooMany { count, max });
        }
        let targets = targets(&policy);
        let is_url = |url: &str| {
            reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        };
        if let Some(target) = targets.iter().find(|target| !is_url(&target.url)) {
            return Err(ConfigError::Url { url: target.url.clone() });
        }
        if targets.is_empty() {
            return Err(ConfigError::Nobody);
        }
        let cosigned = |key: &NoteKey| Verified { key: key.clone(), time: Some(1) };
        let all: Vec<Verified> =
            targets.iter().flat_map(|target| target.keys.iter().map(cosigned)).collect();
        if !policy.is_met(&all) {
            return Err(ConfigError::Unreachable);
        }
        Ok(policy)
    }
}

/// The witnesses that have a URL, each once, with all their keys.
pub fn targets(policy: &Policy) -> Vec<Arc<Target>> {
    let mut targets: Vec<Target> = Vec::new();
    for witness in policy.witnesses() {
        let Some(url) = &witness.url else { continue };
        let key = &witness.key;
        let url = url.trim_end_matches('/');
        match targets.iter_mut().find(|target| target.url == url) {
            Some(target) => target.keys.push(key.clone()),
            None => targets.push(Target {
                name: witness.name.clone(),
                url: url.to_owned(),
                keys: vec![key.clone()],
            }),
        }
    }
    targets.into_iter().map(Arc::new).collect()
}

#[cfg(test)]
mod tests;
