//! Monitoring: reading all of a log, verifying it, and telling what is wrong or wanted
//! (`docs/monitor.md`).
//!
//! ```text
//! round: v1 head -> newest checkpoint -> known heads, times, quorum   heads, times
//!        -> tiles, entries, statements -> rules -> index              grow, read, rules, keeper
//!        -> v1 head and promises against our own tree                 v1, promises
//! ```
//!
//! All that is believed is the trust file. The log's proofs are not asked for: the tree that the
//! entries lead to is the signed one, or it is not, and this shows consistency and inclusion of
//! every entry at once.
//!
//! Invariants: what is found is told, once; the state moves only past what was verified and
//! compared; a round always ends with a result, whatever the log does. Out of scope: when rounds
//! are run (see [`daemon`]), and views that are never shown to this monitor.

pub mod daemon;
pub mod findings;
mod grow;
mod heads;
mod keeper;
pub mod metrics;
mod own_tree;
mod postings;
pub mod promises;
pub mod read;
pub mod record;
mod relations;
mod rows;
pub mod rules;
pub mod search;
mod seen;
pub mod store;
pub mod tiles;
mod times;
pub mod v1;
pub mod webhook;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use treering_proto::append::RightEdge;
use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::evidence::Evidence;

use crate::log::{LogError, LogReader};
use crate::report::Exit;
use crate::transport::Reading;
use findings::{Finding, FindingKind, Listener};
use grow::{GrowFault, grow};
use heads::{Known, Look, LookFault, bad_tile, look};
use keeper::{Keeper, Learned};
use promises::{Held, PromiseFault, check_promises};
use read::{ReadFault, Source, Tally};
use seen::compare_seen;
use store::{Face, StoreError};
use tiles::{SignedTree, TileFault};
use times::check_times;
use v1::{V1Head, compare_v1, read_v1};

pub use grow::{CHUNK_ENTRIES, Pace};
pub use keeper::Told;

/// Tiles that are read at once unless somebody says otherwise.
pub const TILES_AT_ONCE: usize = 8;

/// How one log is monitored.
pub struct Options {
    /// The directory of this log.
    pub directory: PathBuf,
    /// Where a new monitor starts: `None` for the first entry.
    pub start: Option<SignedCheckpoint>,
    /// How old the newest checkpoint may be, in seconds; `None` for what the trust file says.
    pub max_age: Option<u64>,
    /// How much is done at once.
    pub pace: Pace,
}

/// A monitor of one log.
pub struct Monitor {
    source: Arc<Source>,
    options: Options,
    listener: Listener,
    keeper: Option<Keeper>,
}

/// What a round came to.
#[derive(Default)]
pub struct Round {
    /// What was found, and was told now or before.
    pub told: Told,
    /// What was verified.
    pub tally: Tally,
    /// Entries that were read.
    pub entries: u64,
    /// Time that the round took, in seconds.
    pub seconds: f64,
    /// The first entry that this monitor ever read.
    pub start: u64,
    /// Entries that are verified now.
    pub verified: u64,
    /// Entries of the newest checkpoint, if it could be read.
    pub size: Option<u64>,
    /// When a round last ended well: Unix seconds, 0 for never.
    pub success: u64,
    /// Why the Rekor v1 face was not compared.
    pub v1_unknown: Option<&'static str>,
    /// Why the log could not be read, if it could not.
    pub unread: Option<String>,
    /// Why the round broke down, if it did: not the log's doing.
    pub failure: Option<StoreError>,
}

/// The newest checkpoint, when it may be followed.
struct Followed {
    shown: SignedCheckpoint,
    tree: SignedTree,
    previous: Option<SignedCheckpoint>,
    learned: Learned,
}

/// Why a round ends before its end.
enum Stop {
    /// The log did not answer, or not so that it can be read.
    Unread(LogError),
    /// It was said already.
    Said,
    /// The index.
    Store(StoreError),
}

impl From<LookFault> for Stop {
    fn from(fault: LookFault) -> Self {
        match fault {
            LookFault::Log(error) => Self::Unread(error),
            LookFault::Store(error) => Self::Store(error),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Round {
    /// How a monitor that runs once ends: an integrity finding before a rule, a rule before
    /// silence.
    pub fn exit(&self) -> Exit {
        let exits = self.told.exits();
        let worst = [Exit::Alarm, Exit::Policy, Exit::Unavailable];
        let is_cut = self.failure.is_some() || self.unread.is_some();
        let found = worst.into_iter().find(|exit| exits.contains(exit));
        found.unwrap_or(if is_cut { Exit::Unavailable } else { Exit::Ok })
    }
}

impl Monitor {
    /// A monitor of the log in `source`. `listener` hears each finding, as a line of JSON, when it
    /// is on disk.
    pub fn new(source: Source, options: Options, listener: Listener) -> Self {
        Self { source: Arc::new(source), options, listener, keeper: None }
    }

    /// The origin of the log.
    pub fn origin(&self) -> &str {
        &self.source.trust.log.origin
    }

    /// The directory of this log.
    pub fn directory(&self) -> &Path {
        &self.options.directory
    }

    /// Looks at the log once, and reads what is new. `now` in Unix seconds.
    pub async fn round(&mut self, now: u64) -> Round {
        let started = Instant::now();
        let mut round = Round::default();
        let stop = self.run(now, &mut round).await.err();
        let failed = match stop {
            None | Some(Stop::Said) => None,
            Some(Stop::Store(error)) => Some(error),
            Some(Stop::Unread(error)) => {
                round.unread = Some(error.to_string());
                self.unreachable(&error, &mut round).err()
            }
        };
        round.failure = failed;
        if let Some(state) = self.keeper.as_ref().map(Keeper::state) {
            round.start = state.start;
            round.verified = state.edge.size().get();
            round.success = state.success;
        }
        round.seconds = started.elapsed().as_secs_f64();
        round
    }

    /// How many findings of each kind were ever told.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        match &self.keeper {
            None => Ok(Vec::new()),
            Some(keeper) => keeper.store().snapshot()?.counts(),
        }
    }

    async fn run(&mut self, now: u64, round: &mut Round) -> Result<(), Stop> {
        let source = self.source.clone();
        let transport = source.renewed();
        let log = LogReader::new(&transport, &source.trust);
        self.open(&log).await?;
        let v1 = read_v1(&log, &source).await;
        if let V1Head::Signed(v1) = &v1 {
            self.keeper()?.note(Face::V1, v1)?;
        }
        let Followed { shown, mut tree, previous, learned } = self.look(&log, now, round).await?;
        self.learn(Vec::new(), learned, round)?;
        let from = self.keeper()?.state().edge.size().get();
        let grown = self.grow(&mut tree, previous.as_ref(), round).await;
        let seen = self.compare_seen(&shown, round);
        grown?;
        self.compare_v1(v1, &shown, seen?, round).await?;
        self.check_promises(&shown, previous.as_ref(), (from, now), round).await?;
        self.learn(Vec::new(), Learned { success: Some(now), ..Learned::default() }, round)
    }

    /// Opens the directory. A new one that starts at a checkpoint takes the edge of its tree from
    /// the log, as far as it leads to what was signed.
    async fn open(&mut self, log: &LogReader<'_>) -> Result<(), Stop> {
        if self.keeper.is_none() {
            let directory = &self.options.directory;
            let origin = &self.source.trust.log.origin;
            let pinned = self.options.start.as_ref();
            let pinned = pinned.filter(|_| !directory.join(store::INDEX_FILE).exists());
            let edge = match pinned {
                None => RightEdge::EMPTY,
                Some(checkpoint) => match SignedTree::open(log, checkpoint).await {
                    Ok(tree) => tree.edge().clone(),
                    Err(TileFault::Unread(error)) => return Err(Stop::Unread(error)),
                    Err(_) => {
                        let path = "/tile/".to_owned();
                        return Err(Stop::Unread(LogError::Malformed { path }));
                    }
                },
            };
            let listener = self.listener.clone();
            self.keeper = Some(Keeper::open(directory, origin, &edge, pinned, listener)?);
        }
        if self.source.rules.need_relations() {
            self.keeper()?.catch_up()?;
        }
        Ok(())
    }

    /// The newest checkpoint and its tree, if it may be followed. Otherwise that is told.
    async fn look(
        &mut self,
        log: &LogReader<'_>,
        now: u64,
        round: &mut Round,
    ) -> Result<Followed, Stop> {
        let source = self.source.clone();
        let known = self.known()?;
        let max_age = self.options.max_age.or(source.trust.max_checkpoint_age);
        let judge = |shown: &SignedCheckpoint| {
            let mut times = check_times(&source.trust, shown, known.state.time, max_age, now);
            let has_quorum = source.trust.has_quorum(shown);
            if !has_quorum {
                times.findings.push(quorum_missing(&source, shown, known.state.success));
            }
            (times, has_quorum)
        };
        let complains = |look: &Look| {
            let shown = look.shown.as_ref().filter(|_| look.tree.is_some());
            shown.is_some_and(|shown| !judge(shown).0.findings.is_empty())
        };
        let keeper = self.keeper()?;
        let mut looked =
            look(log, &source, keeper, &known, &[Reading::Cached, Reading::Fresh]).await?;
        // A cache may show an older renewal of the newest checkpoint.
        if looked.reading == Reading::Cached && complains(&looked) {
            match look(log, &source, keeper, &known, &[Reading::Fresh]).await {
                Err(LookFault::Log(_)) => {}
                other => looked = other?,
            }
        }
        let mut learned = Learned::default();
        let mut found = looked.findings;
        let mut may_follow = None;
        if let Some(shown) = looked.shown {
            round.size = Some(shown.head().size.get());
            let (times, has_quorum) = judge(&shown);
            found.extend(times.findings);
            if let Some(tree) = looked.tree.filter(|_| has_quorum) {
                learned.time = times.own.filter(|own| *own > known.state.time);
                learned.latest = Some(shown.clone());
                may_follow = Some((shown, tree));
            }
        }
        self.learn(found, Learned::default(), round)?;
        let (shown, tree) = may_follow.ok_or(Stop::Said)?;
        Ok(Followed { shown, tree, previous: known.latest, learned })
    }

    /// What is known before anything is read.
    fn known(&mut self) -> Result<Known, Stop> {
        let source = self.source.clone();
        let state = self.keeper()?.state().clone();
        let latest = match &state.latest {
            None => None,
            Some(note) => Some(
                open_checkpoint(note, &source.trust.log.origin, &source.trust.note_keys())
                    .map_err(|_| self.other_keys())?,
            ),
        };
        Ok(Known { state, latest, others: source.trust.floor.iter().cloned().collect() })
    }

    /// Holds heads that were seen and not followed against our own tree, however far it was read.
    /// Returns what was found.
    fn compare_seen(
        &mut self,
        shown: &SignedCheckpoint,
        round: &mut Round,
    ) -> Result<Vec<Finding>, Stop> {
        let source = self.source.clone();
        let snapshot = self.keeper()?.store().snapshot()?;
        let found = compare_seen(&source, shown, &snapshot)?;
        let edge = self.keeper()?.state().edge.head();
        let compared = (edge == shown.head()).then_some(edge.size.get());
        self.learn(found.clone(), Learned { compared, ..Learned::default() }, round)?;
        Ok(found)
    }

    /// Reads what is new. `previous` is the checkpoint that was followed before.
    async fn grow(
        &mut self,
        tree: &mut SignedTree,
        previous: Option<&SignedCheckpoint>,
        round: &mut Round,
    ) -> Result<(), Stop> {
        let keeper = self.keeper.take().ok_or(StoreError::Damaged("it is not open"))?;
        let (keeper, grown, done) = grow(keeper, &self.source, tree, self.options.pace).await;
        self.keeper = keeper;
        round.told.add(grown.told);
        round.tally.add(grown.tally);
        round.entries += grown.entries;
        let shown = tree.checkpoint();
        let finding = match done {
            Ok(()) => return Ok(()),
            Err(GrowFault::Store(error)) => return Err(error.into()),
            Err(GrowFault::Read(ReadFault::Unread(error)))
            | Err(GrowFault::Tile(TileFault::Unread(error))) => return Err(Stop::Unread(error)),
            Err(GrowFault::Read(fault @ ReadFault::BadEntry { index })) => {
                let evidence = previous.map(|previous| Evidence::unproven(previous, shown));
                let finding = Finding::of_entry(FindingKind::BadEntry, index, fault.to_string());
                finding.with(evidence)
            }
            Err(GrowFault::Read(fault)) => bad_tile(&fault, previous, shown),
            Err(GrowFault::Tile(fault)) => bad_tile(&fault, previous, shown),
        };
        self.learn(vec![finding], Learned::default(), round)?;
        Err(Stop::Said)
    }

    /// Looks at promises about entries from `from` on, which were read at `now`.
    async fn check_promises(
        &mut self,
        shown: &SignedCheckpoint,
        previous: Option<&SignedCheckpoint>,
        (from, now): (u64, u64),
        round: &mut Round,
    ) -> Result<(), Stop> {
        let snapshot = self.keeper()?.store().snapshot()?;
        let held = Held { previous, shown, snapshot: &snapshot, now };
        let to = shown.head().size.get();
        let found = check_promises(&self.source, &held, from, to).await;
        let found = found.map_err(|fault| match fault {
            PromiseFault::Log(error) => Stop::Unread(error),
            PromiseFault::Store(error) => Stop::Store(error),
        })?;
        self.learn(found, Learned::default(), round)
    }

    async fn compare_v1(
        &mut self,
        v1: V1Head,
        shown: &SignedCheckpoint,
        told: Vec<Finding>,
        round: &mut Round,
    ) -> Result<(), Stop> {
        let found = match v1 {
            V1Head::Unread(error) => return Err(Stop::Unread(error)),
            V1Head::Unknown(why) => {
                round.v1_unknown = Some(why);
                None
            }
            V1Head::Wrong(finding) => Some(*finding),
            V1Head::Signed(v1) => {
                let snapshot = self.keeper()?.store().snapshot()?;
                // A cache may have shown us an older checkpoint than the log has.
                if v1.head().size > shown.head().size {
                    let transport = self.source.renewed();
                    let log = LogReader::new(&transport, &self.source.trust);
                    let newer = log.checkpoint(Reading::Fresh).await.map_err(Stop::Unread)?;
                    self.keeper()?.note(Face::C2sp, &newer)?;
                    compare_v1(&self.source, &v1, &newer, &snapshot)?
                } else {
                    compare_v1(&self.source, &v1, shown, &snapshot)?
                }
            }
        };
        // It is among the heads that were seen, too.
        let is_new = |found: &Finding| {
            !told.iter().any(|told| (&told.kind, &told.key) == (&found.kind, &found.key))
        };
        self.learn(found.into_iter().filter(is_new).collect(), Learned::default(), round)
    }

    /// Tells that the log does not answer: once for each time that it stops to.
    fn unreachable(&mut self, error: &LogError, round: &mut Round) -> Result<(), StoreError> {
        let success = self.keeper.as_ref().map_or(0, |keeper| keeper.state().success);
        let key = format!("since {success}");
        let finding = Finding::of_log(FindingKind::Unreachable, key, error.to_string());
        if let Some(keeper) = &mut self.keeper {
            round.told.add(keeper.learn(vec![finding], &Learned::default())?);
            return Ok(());
        }
        // A monitor that starts at a checkpoint has no index before the log answered.
        let listener = self.listener.clone();
        let old = keeper::tell_alone(&self.options.directory, self.origin(), &finding, listener)?;
        let mut told = Told::default();
        if old {
            told.old.push(finding)
        } else {
            told.new.push(finding)
        }
        round.told.add(told);
        Ok(())
    }

    fn other_keys(&self) -> StoreError {
        let what = "of a log whose last checkpoint no key of the trust file signed".to_owned();
        StoreError::Foreign { path: self.options.directory.clone(), what }
    }

    fn learn(
        &mut self,
        found: Vec<Finding>,
        learned: Learned,
        round: &mut Round,
    ) -> Result<(), Stop> {
        round.told.add(self.keeper()?.learn(found, &learned)?);
        Ok(())
    }

    fn keeper(&mut self) -> Result<&mut Keeper, StoreError> {
        self.keeper.as_mut().ok_or(StoreError::Damaged("it is not open"))
    }
}

/// Told once for each time that witnesses stay away: a round without them does not end well.
fn quorum_missing(source: &Source, shown: &SignedCheckpoint, success: u64) -> Finding {
    let policy = source.trust.witness_policy.as_ref().map(|witnesses| &witnesses.policy);
    let report = policy.map(|policy| policy.report(shown.verified()));
    let missing: Vec<String> = report
        .iter()
        .flat_map(|report| &report.components)
        .filter(|component| component.have < component.need)
        .map(|component| component.name.clone())
        .collect();
    let head = shown.head();
    let why = format!(
        "the quorum of witnesses did not cosign the newest checkpoint, of {} entries; missing: {}",
        head.size,
        missing.join(", ")
    );
    Finding::of_log(FindingKind::QuorumMissing, format!("since {success}"), why)
}

#[cfg(test)]
mod tests;
