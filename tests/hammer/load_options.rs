//! The flags of every load.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, value_parser};
use treering_tests::hammer::load::{KEPT_ONE_IN, Load, Pace};
use treering_tests::hammer::log_key::LogKey;
use treering_tests::hammer::requests::Requests;
use treering_tests::hammer::schedule::Schedule;
use treering_tests::hammer::target::Target;

/// Seconds that a load is measured for unless it is said.
const SECONDS: u64 = 10;

/// The longest load: with `--count` it ends when that many requests are answered.
const SECONDS_MAX: u64 = 3600;

#[derive(Args)]
pub(crate) struct LoadOptions {
    /// The server: http://host:port, and what stands before all of its paths.
    #[arg(long)]
    pub(crate) url: String,
    /// Connections over HTTP/1.1; each has one request at a time.
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = value_parser!(u16).range(1..=4096))]
    pub(crate) connections: u16,
    /// Requests a second, whatever the server does (open loop). A request's time is counted from
    /// when it was due. Without it each connection sends its next request when it has the answer to
    /// the one before (closed loop).
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,
    /// How long it is measured. [default: 10, or until --count is reached]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(crate) seconds: Option<u64>,
    /// Seconds before it is measured. [default: 1, or 0 with --count]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(0..=60))]
    pub(crate) warm_up: Option<u64>,
    /// Ends after so many requests.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=100_000_000))]
    pub(crate) count: Option<u64>,
    /// Seconds that a request may take until its answer is whole.
    #[arg(long, value_name = "N", default_value_t = 30,
          value_parser = value_parser!(u64).range(1..=600))]
    pub(crate) timeout: u64,
    /// A file with a token, which every request to --url shows as bearer.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The key of the log: a vkey, PEM, or the identity document of a Treering log. Without it
    /// proofs are checked, and signatures of the log are not.
    #[arg(long, value_name = "FILE")]
    pub(crate) log_key: Option<PathBuf>,
    /// Keeps one answer in N and verifies it when the clock has stopped.
    #[arg(long, value_name = "N", default_value_t = KEPT_ONE_IN as u32,
          value_parser = value_parser!(u32).range(1..))]
    pub(crate) verify_one_in: u32,
    /// The figures as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl LoadOptions {
    /// The server.
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        let target = Target::parse(&self.url)?;
        match &self.token_file {
            None => Ok(target),
            Some(path) => target.with_bearer(read(path)?.trim()),
        }
    }

    /// What is known about its key.
    pub(crate) fn key(&self) -> anyhow::Result<LogKey> {
        let Some(path) = &self.log_key else { return Ok(LogKey::Unknown) };
        LogKey::read(&read(path)?).with_context(|| format!("{}: no key of a log", path.display()))
    }

    /// The load of `requests` on `target`.
    pub(crate) fn load(&self, target: Target, requests: Requests) -> Load {
        let load = Load::closed(target, usize::from(self.connections), requests);
        Load {
            pace: self.schedule().map_or(Pace::Closed, Pace::Open),
            warm_up: self.warm_up(),
            time: self.time(),
            answer_time_max: Duration::from_secs(self.timeout),
            kept_one_in: self.verify_one_in as usize,
            ..load
        }
    }

    /// How many requests it takes at a fixed rate, or as many as are asked for; `None` if only the
    /// server says.
    pub(crate) fn known_count(&self) -> Option<usize> {
        let asked = self.count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let due = self.schedule().map(|schedule| schedule.count(self.warm_up() + self.time()));
        match (asked, due) {
            (Some(asked), Some(due)) => Some(asked.min(due)),
            (asked, due) => asked.or(due),
        }
    }

    /// Seconds from the first request to the end of what is measured.
    pub(crate) fn whole_time(&self) -> Duration {
        self.warm_up() + self.time()
    }

    fn schedule(&self) -> Option<Schedule> {
        self.rate.and_then(Schedule::new)
    }

    fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up.unwrap_or(u64::from(self.count.is_none())))
    }

    fn time(&self) -> Duration {
        let until_count = if self.count.is_some() { SECONDS_MAX } else { SECONDS };
        Duration::from_secs(self.seconds.unwrap_or(until_count))
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
