//! `doctor`: looks at a machine and a log from outside, and says what would go wrong.
//!
//! Invariants: it takes no lock, and opens the database only where a setting asks what is in it,
//! and then beside its owner, so it may run beside the server; it changes nothing but one small
//! file that it writes, syncs and removes; whatever it waits for is bounded. A check that could not
//! be made is a warning, never a pass.
//!
//! Out of scope: what is in the log (`fsck`), in its journal (`journal verify`) and in a backup
//! (`backup verify`).

mod disk;
mod faces;
mod files;
mod machine;
mod network;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::clock;
use crate::data_directory::{DataDirectory, PublicFiles, default_anchor};
use crate::http::offer::WriteFaces;
use crate::timestamp::Authority;
use crate::tls::TlsFiles;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// The data directory.
    pub data: PathBuf,
    /// The anchor, if it is not where it was last.
    pub anchor: Option<PathBuf>,
    /// Where the server listens, or shall.
    pub listen: SocketAddr,
    /// Where else, for reads alone.
    pub read_listen: Option<SocketAddr>,
    /// The faces that take entries.
    pub write_faces: WriteFaces,
    /// Free space below which nothing is acknowledged, in bytes.
    pub free_disk_min: u64,
    /// The witness policy, if there is one.
    pub witness_policy: Option<PathBuf>,
    /// The files of TLS, if it is spoken.
    pub tls: Option<TlsFiles>,
    /// Why the server would not take its settings, if it would not.
    pub settings: Result<(), String>,
    /// Who may write.
    pub write_control: WriteControl,
    /// Where backups lie, and how old the newest may be.
    pub backups: Option<(PathBuf, Duration)>,
    /// Whether the log shall give no timestamps even if it could.
    pub timestamps_off: bool,
}

/// Who may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteControl {
    /// Nobody.
    Closed,
    /// Whoever the configuration names.
    Principals,
    /// Anybody.
    Open,
}

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, until something else goes wrong; or nobody could tell.
    Warn,
    /// It does not work, or loses something.
    Fail,
}

/// One check: what was seen, why it matters, what to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// The stable name.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do; empty when there is nothing.
    pub remedy: String,
}

/// The name of a check and why it matters, before it is known how it ends.
#[derive(Clone, Copy)]
struct Question {
    name: &'static str,
    why: &'static str,
}

impl Question {
    fn ok(self, what: impl Into<String>) -> Check {
        self.ends(Outcome::Ok, what, "")
    }

    fn warn(self, what: impl Into<String>, remedy: impl Into<String>) -> Check {
        self.ends(Outcome::Warn, what, remedy)
    }

    fn fail(self, what: impl Into<String>, remedy: impl Into<String>) -> Check {
        self.ends(Outcome::Fail, what, remedy)
    }

    fn ends(self, outcome: Outcome, what: impl Into<String>, remedy: impl Into<String>) -> Check {
        let Self { name, why } = self;
        Check { name, outcome, what: what.into(), why, remedy: remedy.into() }
    }
}

/// Makes every check, in the order of the report.
pub async fn examine(doctor: &Doctor) -> Vec<Check> {
    let mut checks = Vec::new();
    let public = data_directory(doctor, &mut checks);
    if public.is_some() {
        let anchor = doctor.anchor.clone().or_else(|| files::remembered_anchor(&doctor.data));
        let anchor = anchor.unwrap_or_else(|| default_anchor(&doctor.data));
        files::examine(&doctor.data, &anchor, &mut checks);
        disk::examine(doctor, &anchor, &mut checks);
        let authority = Authority::load(&doctor.data).map_err(|error| error.to_string());
        let now = clock::read().wall_ms / 1000;
        checks.push(timestamps(authority.as_ref().map(Option::as_ref), doctor.timestamps_off, now));
    }
    checks.push(settings(&doctor.settings));
    machine::examine(&mut checks);
    network::examine(doctor, public.as_ref(), &mut checks).await;
    checks.push(write_control(doctor.write_control));
    if let (Some(closed), true) = (doctor.write_faces.closed(), public.is_some()) {
        checks.push(faces::examine(&doctor.data, doctor.write_faces, closed));
    }
    checks.extend(doctor.backups.as_ref().map(|(path, age_max)| files::backups(path, *age_max)));
    checks
}

/// Whether a check failed.
pub fn is_failed(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.outcome == Outcome::Fail)
}

fn data_directory(doctor: &Doctor, checks: &mut Vec<Check>) -> Option<PublicFiles> {
    let question = Question {
        name: "data-directory",
        why: "without a data directory of this version there is nothing to serve",
    };
    match DataDirectory::public(&doctor.data) {
        Ok(public) => {
            checks.push(question.ok(format!(
                "{} is a log for {}",
                doctor.data.display(),
                public.url
            )));
            Some(public)
        }
        Err(error) => {
            checks
                .push(question.fail(error.to_string(), "give the right directory, or make a log"));
            None
        }
    }
}

fn settings(result: &Result<(), String>) -> Check {
    let question = Question {
        name: "settings",
        why: "the server starts only with settings, policies and files that make sense",
    };
    match result {
        Ok(()) => question.ok("the server would take these settings"),
        Err(why) => question.fail(why.clone(), "correct it; `config check` says the same"),
    }
}

/// Days before the end of the timestamp authority at which it is told of: every verifier has to get
/// the certificates of the next.
const TIMESTAMPS_DAYS_MIN: u64 = 90;

fn timestamps(authority: Result<Option<&Authority>, &String>, is_off: bool, now: u64) -> Check {
    let question = Question {
        name: "timestamps",
        why: "clients with short-lived certificates need timestamps, and nothing dated after the end of the authority's \
              certificates verifies",
    };
    const REPLACE: &str = "stop the server, run `treering-server timestamps init --replace`, and \
                           hand out the trust files anew";
    let authority = match authority {
        Ok(None) => return question.ok("the log gives none: it has no authority for them"),
        Ok(Some(_)) if is_off => return question.ok("the log gives none: --timestamps off"),
        Ok(Some(authority)) => authority,
        Err(why) => return question.fail(why.clone(), REPLACE),
    };
    let days = authority.not_after().saturating_sub(now) / (24 * 60 * 60);
    let what = format!("{} may sign for {days} days", authority.subject());
    match authority.check_validity(now) {
        Err(why) => question.fail(why.to_string(), REPLACE),
        Ok(()) if days < TIMESTAMPS_DAYS_MIN => question.warn(what, REPLACE),
        Ok(()) => question.ok(what),
    }
}

fn write_control(control: WriteControl) -> Check {
    let question = Question {
        name: "write-control",
        why: "entries can never be deleted, so who may write is decided before",
    };
    match control {
        WriteControl::Principals => question.ok("writes are for configured principals"),
        WriteControl::Closed => question.warn(
            "writes are closed: nobody is configured",
            "name who may write with --access-policy, or leave it so for a log that is only read",
        ),
        WriteControl::Open => question.warn(
            "writes are open: whoever reaches the address can add entries for ever",
            "name who may write with --access-policy, and leave out --open-writes",
        ),
    }
}

#[cfg(test)]
mod tests;
