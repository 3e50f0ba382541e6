//! A trial: one log, the binary that serves it, and the history of everything that was asked of it.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;

use treering_proto::tree::TreeHead;
use treering_tests::checker::event::{Answer, Mark, Who};
use treering_tests::checker::{self, History, Invariant, Rebuilt, wire};
use treering_tests::http::Connection;
use treering_tests::load::{any_submission, new_client};
use treering_tests::random::Random;
use treering_tests::server::{Ended, Log, Server, serving, text};
use treering_tests::submission::Signer;

use crate::judge::Reader;
use crate::shim::Shim;
use crate::tally::Tally;
use crate::violation::{Checked, Promise, Violation, broken, must};
use crate::workload::{Gathered, Load, Signed, Watch};

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
    /// Where the history of a violation goes.
    pub(crate) history: Option<PathBuf>,
}

/// One log under test.
pub(crate) struct Trial<'a> {
    /// What all trials share.
    pub(crate) ground: &'a Ground,
    /// The log.
    pub(crate) log: Log,
    /// Everything that was asked of it, served by it and done to it.
    pub(crate) history: History,
    /// Where all choices come from.
    pub(crate) random: Random,
    /// What is counted.
    pub(crate) tally: &'a mut Tally,
    /// Flags that every server of this log gets.
    pub(crate) flags: Vec<String>,
    /// Submissions, by signer, to be made again.
    signed: Vec<Signed>,
    /// Signers whose submissions were made again already.
    retried: usize,
    /// Heads that were rebuilt.
    heads: Vec<TreeHead>,
    processes: u32,
    /// Whoever reads for the checker: one client for the whole trial.
    client: u32,
}

/// A server that listens.
pub(crate) struct Running {
    server: Server,
    /// Its number in the history.
    pub(crate) process: u32,
}

impl Deref for Running {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl<'a> Trial<'a> {
    /// Makes a log for a scenario.
    pub(crate) fn new(ground: &'a Ground, seed: u64, tally: &'a mut Tally) -> Self {
        let log = Log::create();
        let history = history_of(&log);
        Self {
            ground,
            log,
            history,
            random: Random::from_seed(seed),
            tally,
            flags: vec!["--open-writes".to_owned()],
            signed: Vec::new(),
            retried: 0,
            heads: Vec::new(),
            processes: 0,
            client: new_client(),
        }
    }

    /// Goes on with a new log below `place`; returns the log so far.
    pub(crate) fn move_to(&mut self, place: &std::path::Path) -> Log {
        let log = Log::create_below(place, &[]);
        self.history = history_of(&log);
        (self.signed, self.retried, self.heads) = (Vec::new(), 0, Vec::new());
        std::mem::replace(&mut self.log, log)
    }

    /// The command that serves the log.
    pub(crate) fn command(&self) -> Command {
        self.command_with(&[])
    }

    /// The same with further flags.
    pub(crate) fn command_with(&self, more: &[&str]) -> Command {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.command_of(&self.log.data, &[&flags, more].concat())
    }

    /// The command that serves this directory.
    pub(crate) fn command_of(&self, data: &std::path::Path, flags: &[&str]) -> Command {
        let mut command = serving(&self.ground.server, data, flags);
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

    /// Starts a server, which may not come up.
    pub(crate) fn launch(&mut self, command: Command) -> Result<Running, Ended> {
        self.processes += 1;
        let process = self.processes;
        let data = text(&self.log.data).to_owned();
        self.history.mark(Mark::Started { process, data });
        match Server::launch(command) {
            Ok(server) => {
                self.history.mark(Mark::Ready { process });
                Ok(Running { server, process })
            }
            Err(ended) => {
                self.mark_end(process, &ended);
                Err(ended)
            }
        }
    }

    /// Starts a server that must start: nothing is wrong with the log now.
    pub(crate) fn start(&mut self, command: Command) -> Checked<Running> {
        self.launch(command).or_else(|ended| {
            let what = format!("the log cannot be served any more: {ended:?}");
            broken(Invariant::Durable, what)
        })
    }

    /// Ends a server as by power loss.
    pub(crate) fn kill(&mut self, running: Running) -> Ended {
        self.end(running, Server::kill)
    }

    /// Asks a server to end, and waits until it has.
    pub(crate) fn terminate(&mut self, running: Running) -> Ended {
        self.end(running, Server::terminate)
    }

    fn end(&mut self, running: Running, how: impl FnOnce(Server) -> Ended) -> Ended {
        let Running { server, process } = running;
        self.history.mark(Mark::Stopped { process });
        let ended = how(server);
        self.mark_end(process, &ended);
        ended
    }

    fn mark_end(&mut self, process: u32, ended: &Ended) {
        let (code, said) = (ended.code(), ended.stderr.clone());
        self.history.mark(Mark::Ended { process, code, said });
    }

    /// Runs a load to its end, and remembers it. Says how many submissions were acknowledged.
    pub(crate) fn load(&mut self, running: &Running, load: Load) -> usize {
        let (watch, _unheard) = Watch::new();
        let gathered = load.run(running.address, running.process, &watch);
        self.remember(gathered)
    }

    /// Remembers a load. Says how many submissions were acknowledged.
    pub(crate) fn remember(&mut self, gathered: Gathered) -> usize {
        let is_logged = |answer: &Answer<String>| matches!(answer, Answer::Logged(_));
        let count = gathered.told.iter().filter(|told| is_logged(&told.answer)).count();
        self.signed.extend(gathered.remember(&mut self.history));
        count
    }

    /// Runs a load, and kills the server with SIGKILL when `acks` were heard. Says how many
    /// submissions were under way.
    pub(crate) fn load_and_kill(&mut self, running: Running, load: Load, acks: u64) -> u64 {
        let (gathered, in_flight, ()) = self.load_until(running, load, acks, || ());
        self.remember(gathered);
        in_flight
    }

    /// The same, with something that happens right before the kill; what was gathered is yet to be
    /// remembered.
    pub(crate) fn load_until<T>(
        &mut self,
        running: Running,
        load: Load,
        acks: u64,
        before_kill: impl FnOnce() -> T,
    ) -> (Gathered, u64, T) {
        let (watch, heard) = Watch::new();
        let (address, process) = (running.address, running.process);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| load.run(address, process, &watch));
            for _ in 0..acks {
                // Its end drops nothing: the watch lives as long as the scope.
                if load.is_finished() || heard.recv_timeout(HEARD_TIME_MAX).is_err() {
                    break;
                }
            }
            let in_flight = watch.in_flight();
            let result = before_kill();
            self.kill(running);
            (load.join().expect("a load ends"), in_flight, result)
        })
    }

    /// Starts the log with no fault, checks it, submits again what was submitted since the last
    /// time, checks again, and stops it.
    pub(crate) fn resume(&mut self) -> Checked {
        let command = self.command();
        let running = self.start(command)?;
        let before = self.judge(&running)?;
        self.retry(&running)?;
        let after = self.judge(&running)?;
        must(Invariant::Durable, after.leaves().starts_with(before.leaves()), || {
            "the log does not begin as it did a moment ago".to_owned()
        })?;
        let ended = self.terminate(running);
        must(Promise::Available, ended.code() == Some(0), || format!("it stopped so: {ended:?}"))
    }

    /// Reads the log as it is served now, and lets the checker decide over all of its history.
    pub(crate) fn judge(&mut self, running: &Running) -> Checked<Rebuilt> {
        self.tally.judged += 1;
        let who = Who { client: self.client, process: running.process };
        let history = &mut self.history;
        let reader = Reader { address: running.address, who, history };
        let rebuilt = reader.read(&self.signed, &self.heads)?;
        let verdict = checker::check(&self.history, &rebuilt);
        self.tally.take(&verdict);
        if let Some(violation) = Violation::of(&verdict) {
            self.keep_history(&rebuilt);
            return Err(violation);
        }
        self.heads.push(rebuilt.head());
        self.tally.acks_checked += self.history.acknowledged() as u64;
        Ok(rebuilt)
    }

    /// Writes the history to where it shall be kept, to be judged again without the log.
    fn keep_history(&self, rebuilt: &Rebuilt) {
        let Some(path) = &self.ground.history else { return };
        let written = File::create(path).and_then(|file| {
            let mut file = BufWriter::new(file);
            checker::write(&self.history, rebuilt, &mut file)?;
            file.flush()
        });
        match written {
            Ok(()) => println!("the history is in {}", path.display()),
            Err(error) => println!("the history could not be kept: {error}"),
        }
    }

    /// Submits again: a known index is repeated, an unknown one learnt.
    fn retry(&mut self, running: &Running) -> Checked {
        let mut connection = running.connect();
        let who = Who { client: new_client(), process: running.process };
        let first = std::mem::replace(&mut self.retried, self.signed.len());
        for submission in self.signed[first..].iter().flat_map(|signed| &signed.submissions) {
            let told = wire::ask(&mut connection, submission, who);
            let answer = told.answer.clone();
            self.history.request(told);
            match answer {
                Answer::Logged(_) | Answer::Duplicate { .. } => {}
                Answer::Refused { status, label } => {
                    let what =
                        format!("nothing is wrong, and a retry was refused: {status} {label}");
                    return broken(Invariant::HonestErrors, what);
                }
                Answer::Unknown => return broken(Promise::Available, "a retry was not answered"),
            }
        }
        Ok(())
    }

    /// What must hold of a server that latched: writes are refused, reads go on.
    pub(crate) fn check_latched(&mut self, running: &Running) -> Checked {
        let Ok(mut connection) = Connection::open(running.address) else {
            return broken(Promise::Available, "a latched log does not listen");
        };
        let process = running.process;
        let said = connection.get("/readyz").map(|response| response.text()).unwrap_or_default();
        self.history.mark(Mark::Latched { process, said });
        let (signer, who) = (Signer::new(), Who { client: new_client(), process });
        let submission = any_submission(&signer);
        let told = wire::ask(&mut connection, &submission, who);
        let answer = told.answer.clone();
        self.history.request(told);
        let (key, submissions) = (signer.key.fingerprint().to_hex(), vec![submission]);
        self.signed.push(Signed { key, submissions });
        // A journal on the same disk may have failed, too, and is asked first.
        let labels = ["latched", "journal-failed"];
        let is_refused = matches!(
            &answer,
            Answer::Refused { status: 503, label } if labels.contains(&label.as_str())
        );
        must(Invariant::HonestErrors, is_refused, || {
            format!("a write to a latched log: {answer:?}")
        })?;
        let mut paths = vec!["/checkpoint", "/api/v1/log", "/livez"];
        if self.history.acknowledged() > 0 {
            paths.push("/api/treering/v1/entries/0");
        }
        for path in paths {
            let status = connection.get(path).map(|response| response.status).ok();
            must(Promise::Available, status == Some(200), || {
                format!("{path} while latched: {status:?}")
            })?;
        }
        Ok(())
    }
}

/// A history in which every submission will be.
fn history_of(log: &Log) -> History {
    let mut history = History::new(&log.identity);
    history.set_whole();
    history
}

/// Longer than any answer takes.
pub(crate) const HEARD_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(10);
