//! A trial: one log, the binary that serves it, and everything that is remembered of it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;

use treering_tests::random::Random;
use treering_tests::server::{Log, Server, serving};

use crate::judge::{Served, judge};
use crate::record::{Record, Said};
use crate::shim::Shim;
use crate::tally::Tally;
use crate::violation::{Checked, Invariant, broken, must};
use crate::workload::{Load, Watch, ask};

/// What every trial of a run has in common.
pub(crate) struct Ground {
    /// The server under test.
    pub(crate) server: PathBuf,
    /// Its seeded bug, if it has one.
    pub(crate) bug: Option<&'static str>,
    /// Whether it is the build that can damage an entry on its way to the disk.
    pub(crate) has_fail_points: bool,
    /// The layer that makes disks fail.
    pub(crate) shim: Shim,
}

/// One log under test.
pub(crate) struct Trial<'a> {
    /// What all trials share.
    pub(crate) ground: &'a Ground,
    /// The log.
    pub(crate) log: Log,
    /// What is remembered of it.
    pub(crate) record: Record,
    /// Where all choices come from.
    pub(crate) random: Random,
    /// What is counted.
    pub(crate) tally: &'a mut Tally,
}

impl<'a> Trial<'a> {
    /// Makes a log for a scenario.
    pub(crate) fn new(ground: &'a Ground, seed: u64, tally: &'a mut Tally) -> Self {
        let (log, record) = (Log::create(), Record::default());
        Self { ground, log, record, random: Random::from_seed(seed), tally }
    }

    /// Goes on with a new log below `place`; returns the log so far.
    pub(crate) fn move_to(&mut self, place: &std::path::Path) -> Log {
        self.record = Record::default();
        std::mem::replace(&mut self.log, Log::create_below(place, &[]))
    }

    /// The command that serves the log.
    pub(crate) fn command(&self) -> Command {
        let mut command = serving(&self.ground.server, &self.log.data, &["--open-writes"]);
        for variable in ["TREERING_SEEDED_BUG", "TREERING_FLIP_ENTRY"] {
            command.env_remove(variable);
        }
        if let Some(bug) = self.ground.bug {
            command.env("TREERING_SEEDED_BUG", bug);
        }
        command
    }

    /// The same with the layer that makes disks fail, which needs further variables.
    pub(crate) fn shimmed(&self) -> Command {
        let mut command = self.command();
        self.ground.shim.load_into(&mut command, &self.log);
        command
    }

    /// Starts a server that must start: nothing is wrong with the log now.
    pub(crate) fn start(&self, command: Command) -> Checked<Server> {
        Server::launch(command).or_else(|ended| {
            broken(Invariant::Durable, format!("the log cannot be served any more: {ended:?}"))
        })
    }

    /// Runs a load to its end, and remembers it.
    pub(crate) fn load(&mut self, server: &Server, load: Load) {
        let (watch, _unheard) = Watch::new();
        self.record.add(load.run(server.address, &watch));
    }

    /// Runs a load, and kills the server with SIGKILL when `acks` were heard. Says how many
    /// submissions were under way.
    pub(crate) fn load_and_kill(&mut self, server: Server, load: Load, acks: u64) -> u64 {
        self.load_until(server, load, acks, || ()).0
    }

    /// The same, with something that happens right before the kill.
    pub(crate) fn load_until<T>(
        &mut self,
        server: Server,
        load: Load,
        acks: u64,
        before_kill: impl FnOnce() -> T,
    ) -> (u64, T) {
        let (watch, heard) = Watch::new();
        let address = server.address;
        let (record, in_flight, result) = std::thread::scope(|scope| {
            let load = scope.spawn(|| load.run(address, &watch));
            for _ in 0..acks {
                // Its end drops nothing: the watch lives as long as the scope.
                if load.is_finished() || heard.recv_timeout(HEARD_TIME_MAX).is_err() {
                    break;
                }
            }
            let in_flight = watch.in_flight.load(Ordering::SeqCst);
            let result = before_kill();
            server.kill();
            (load.join().expect("a load ends"), in_flight, result)
        });
        self.record.add(record);
        (in_flight, result)
    }

    /// Starts the log with no fault, checks it, submits again what was submitted since the last
    /// time, checks again, and stops it.
    pub(crate) fn resume(&mut self) -> Checked {
        let server = self.start(self.command())?;
        let before = self.judge(&server)?;
        self.retry(&server)?;
        let after = self.judge(&server)?;
        must(Invariant::Durable, after.leaves.starts_with(&before.leaves), || {
            "the log does not begin as it did a moment ago".to_owned()
        })?;
        let ended = server.terminate();
        must(Invariant::Available, ended.code() == Some(0), || format!("it stopped so: {ended:?}"))
    }

    /// Checks the log as it is served now.
    pub(crate) fn judge(&mut self, server: &Server) -> Checked<Served> {
        self.tally.judged += 1;
        let served = judge(server.address, &self.log.identity, &mut self.record)?;
        self.tally.acks_checked += self.record.acknowledged();
        Ok(served)
    }

    /// Submits again: a known index is repeated, an unknown one learnt.
    fn retry(&mut self, server: &Server) -> Checked {
        let mut connection = server.connect();
        let first = std::mem::replace(&mut self.record.retried, self.record.asked.len());
        let mut again = Vec::new();
        for asked in &self.record.asked[first..] {
            let leaf = asked.submission.entry.leaf();
            let known = self.record.index_of.get(&leaf);
            let now = ask(&mut connection, asked.submission.clone());
            match (&now.said, known) {
                (Said::Logged(ack), Some(known)) => {
                    let index = ack.index;
                    let what = format!("an entry of index {known} was logged again, at {index}");
                    return broken(Invariant::Unique, what);
                }
                (Said::Refused(status, label), _) => {
                    let what =
                        format!("nothing is wrong, and a retry was refused: {status} {label}");
                    return broken(Invariant::HonestErrors, what);
                }
                (Said::Unknown, _) => {
                    return broken(Invariant::Available, "a retry was not answered");
                }
                _ => again.push(now),
            }
        }
        self.record.asked.extend(again);
        self.record.retried = self.record.asked.len();
        Ok(())
    }

    /// What must hold of a server that latched: writes are refused, reads go on.
    pub(crate) fn check_latched(&mut self, server: &Server) -> Checked {
        let Ok(mut connection) = treering_tests::http::Connection::open(server.address) else {
            return broken(Invariant::Available, "a latched log does not listen");
        };
        let any = treering_tests::load::any_submission(&treering_tests::submission::Signer::new());
        let asked = ask(&mut connection, any);
        // A journal on the same disk may have failed, too, and is asked first.
        let labels = ["latched", "journal-failed"];
        let is_refused =
            matches!(&asked.said, Said::Refused(503, label) if labels.contains(&label.as_str()));
        must(Invariant::HonestErrors, is_refused, || {
            format!("a write to a latched log: {:?}", asked.said)
        })?;
        self.record.asked.push(asked);
        for path in ["/checkpoint", "/api/v1/log", "/api/treering/v1/entries/0", "/livez"] {
            let status = connection.get(path).map(|response| response.status);
            let is_there = matches!(status, Ok(200) | Ok(404));
            must(Invariant::Available, is_there, || format!("{path} while latched: {status:?}"))?;
        }
        Ok(())
    }
}

/// Longer than any answer takes.
pub(crate) const HEARD_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(10);
