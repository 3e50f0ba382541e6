//! What the sequencer knows of witnesses: the head that is proposed, who cosigned it, and when it
//! may be published.
//!
//! Invariants: a head is proposed only when every witness was greeted or had its time; the first is
//! that of start-up, and in closed mode no newer one is signed before the quorum cosigned it, so
//! that witnesses who remember more stop a log that was rolled back even if they only refuse; later
//! a proposal is given up only for a newer head; what the quorum cosigned is published at once, and
//! lines that come later are added to the same note. Failing open is for silence: while a witness
//! contradicts the log and none cosigns, nothing is published.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::watch;
use treering_proto::note::{Note, SignatureLine, Verified};
use treering_proto::tree::TreeSize;

use super::{Config, Mode};
use crate::anchor::Fenced;
use crate::health::Refusal;
use crate::publisher::Witnessed;
use crate::signer::Signer;

/// Time without growth after which a checkpoint is dated again, in milliseconds: clients bound its
/// age by cosignatures, or by the log's own dated line.
pub const RENEWAL_MS: u64 = 10 * 60 * 1000;

/// Time without a quorum after which new submissions are sent away at once, in milliseconds:
/// shorter than clients wait for an answer.
const PATIENCE_MS: u64 = 10 * 1000;

/// What became due so recently may not have been looked at yet, in milliseconds.
const JUST_DUE_MS: u64 = 50;

/// What all witnesses are asked.
#[derive(Debug)]
pub struct Question {
    /// Counts questions from 1: the same head may be asked about again.
    pub round: u64,
    /// What is proposed.
    pub fenced: Arc<Fenced>,
    /// The text that is cosigned.
    pub text: String,
    /// The note with the log's own first line only: public witnesses take no large requests.
    pub note: String,
}

/// What the askers tell.
#[derive(Debug)]
pub enum Event {
    /// A witness was asked what it remembers, or did not answer.
    Greeted,
    /// A witness cosigned.
    Cosigned {
        /// Which.
        witness: String,
        /// Which question.
        round: u64,
        /// Its lines, verified.
        lines: Vec<(SignatureLine, Verified)>,
    },
    /// A witness says, without a proof, that it knows another tree.
    Contradicted {
        /// Which.
        witness: String,
    },
    /// A witness has a note of ours that storage does not explain.
    Unexplained(String),
}

/// What may be done now.
#[derive(Debug)]
pub enum Advance {
    /// Nothing: wait.
    Wait,
    /// Publish this head with these lines.
    Publish {
        /// The head.
        fenced: Arc<Fenced>,
        /// The lines of its note beside the log's own.
        cosignatures: Vec<SignatureLine>,
        /// What they amount to.
        witnessed: Witnessed,
    },
    /// Never sign again.
    Latch(String),
}

/// A head under way.
struct Round {
    number: u64,
    fenced: Arc<Fenced>,
    lines: Vec<(SignatureLine, Verified)>,
    /// When the head was fenced, and when it was proposed, by the boot-time clock.
    offered_ms: u64,
    started_ms: u64,
}

/// The published head: its round goes on collecting until another one is proposed.
struct Done {
    number: u64,
    fenced: Arc<Fenced>,
    /// Those of its last round decide about the quorum.
    fresh: Vec<(SignatureLine, Verified)>,
    /// With those of earlier rounds, of witnesses who did not answer again.
    lines: Vec<(SignatureLine, Verified)>,
    /// The last time at which the quorum cosigned, by the boot-time clock.
    at_ms: u64,
    has_more: bool,
}

/// Collects cosignatures. Owned by the sequencer.
pub struct Witnessing {
    config: Config,
    questions: watch::Sender<Option<Arc<Question>>>,
    events: Receiver<Event>,
    /// Witnesses that were not greeted yet, and the time that they have.
    ungreeted: usize,
    greeted_by_ms: u64,
    /// The head of start-up, until it is proposed.
    first: Option<Arc<Fenced>>,
    /// Fenced, not proposed yet; and since when.
    offered: Option<(Arc<Fenced>, u64)>,
    /// Witnesses that contradict the log, until they cosign again.
    contradicting: BTreeSet<String>,
    round: Option<Round>,
    done: Option<Done>,
    rounds: u64,
}

impl Done {
    fn to_publish(&self, config: &Config) -> Advance {
        let is_met = is_met(config, &self.fresh);
        Advance::Publish {
            fenced: self.fenced.clone(),
            cosignatures: self.lines.iter().map(|(line, _)| line.clone()).collect(),
            witnessed: if is_met { Witnessed::Quorum } else { Witnessed::Missing },
        }
    }
}

impl Question {
    /// The size that is proposed.
    pub fn size(&self) -> TreeSize {
        self.fenced.head().size
    }
}

impl Witnessing {
    /// Starts at `boot_ms` with the head of start-up; `witnesses` are those that will be greeted.
    /// Returns what the askers need.
    pub fn new(
        config: Config,
        witnesses: usize,
        first: Arc<Fenced>,
        boot_ms: u64,
    ) -> (Self, watch::Receiver<Option<Arc<Question>>>, Sender<Event>) {
        let (sender, events) = channel();
        let (questions, asked) = watch::channel(None);
        let greeted_by_ms = boot_ms.saturating_add(milliseconds(config.timeout));
        let witnessing = Self {
            config,
            questions,
            events,
            ungreeted: witnesses,
            greeted_by_ms,
            first: Some(first),
            offered: None,
            contradicting: BTreeSet::new(),
            round: None,
            done: None,
            rounds: 0,
        };
        (witnessing, asked, sender)
    }

    /// Takes a fenced head to propose; one that was not proposed yet is forgotten.
    pub fn offer(&mut self, fenced: Arc<Fenced>, boot_ms: u64) {
        let since = self.offered.as_ref().map_or(boot_ms, |(_, since)| *since);
        self.offered = Some((fenced, since));
    }

    /// Takes what the witnesses said, and says what follows.
    pub fn advance(&mut self, signer: &Signer, boot_ms: u64) -> Advance {
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Greeted => self.ungreeted = self.ungreeted.saturating_sub(1),
                Event::Cosigned { witness, round, lines } => {
                    self.contradicting.remove(&witness);
                    self.take(round, lines);
                }
                Event::Contradicted { witness } => {
                    self.contradicting.insert(witness);
                }
                Event::Unexplained(why) => return Advance::Latch(why),
            }
        }
        if let Some(publish) = self.finished(boot_ms).or_else(|| self.extended()) {
            return publish;
        }
        self.propose(signer, boot_ms);
        Advance::Wait
    }

    /// Why submissions are refused, if the quorum has been missing for long.
    pub fn refusal(&self, boot_ms: u64) -> Option<Refusal> {
        let in_round = self.round.as_ref().map(|round| round.offered_ms);
        // The interval that the operator chose is no fault of the witnesses.
        let offered = self.offered.as_ref().map(|(_, since)| (*since).max(self.earliest_ms()));
        let waited = boot_ms.saturating_sub(in_round.or(offered)?);
        let waits = self.config.mode == Mode::Closed || !self.contradicting.is_empty();
        (waits && waited > PATIENCE_MS).then(|| {
            let seconds = waited / 1000;
            let accusers = match self.contradicting.is_empty() {
                true => String::new(),
                false => {
                    let names: Vec<&str> = self.contradicting.iter().map(String::as_str).collect();
                    format!("; these know another tree, or say so: {}", names.join(", "))
                }
            };
            Refusal::NoQuorum(format!(
                "the quorum of witnesses has not cosigned for {seconds} seconds; /metrics says \
                 which of them answer{accusers}"
            ))
        })
    }

    /// How long the sequencer may sleep if nothing happens.
    pub fn pause(&self, boot_ms: u64, longest: Duration) -> Duration {
        let due_ms = match (&self.round, &self.offered) {
            (Some(round), _) => round.started_ms.saturating_add(milliseconds(self.config.timeout)),
            (None, _) if self.first.is_some() => self.greeted_by_ms,
            (None, Some(_)) => self.earliest_ms(),
            (None, None) => return longest,
        };
        if boot_ms > due_ms.saturating_add(JUST_DUE_MS) {
            // It was looked at when it was due, and waits for a witness since, who will wake us.
            return longest;
        }
        let left = Duration::from_millis(due_ms.saturating_sub(boot_ms));
        left.clamp(Duration::from_millis(1), longest)
    }

    fn take(&mut self, number: u64, lines: Vec<(SignatureLine, Verified)>) {
        match (&mut self.round, &mut self.done) {
            (Some(round), _) if round.number == number => merge(&mut round.lines, lines),
            (_, Some(done)) if done.number == number => {
                merge(&mut done.fresh, lines.clone());
                merge(&mut done.lines, lines);
                done.has_more = true;
            }
            // About a head that was given up.
            _ => {}
        }
    }

    /// The round, if it may be published.
    fn finished(&mut self, boot_ms: u64) -> Option<Advance> {
        let round = self.round.take()?;
        let is_met = is_met(&self.config, &round.lines);
        let is_over = boot_ms >= round.started_ms.saturating_add(milliseconds(self.config.timeout));
        let is_open = self.config.mode == Mode::Open;
        let is_contradicted = !self.contradicting.is_empty() && round.lines.is_empty();
        if is_met || (is_over && is_open && !is_contradicted) {
            return Some(self.publish(round, boot_ms));
        }
        if is_over && self.offered.is_some() && self.done.is_some() {
            // A newer head may do better. Its submitters wait since the older one was fenced.
            let since = round.offered_ms;
            self.offered = self.offered.take().map(|(fenced, _)| (fenced, since));
        } else {
            self.round = Some(round);
        }
        None
    }

    fn publish(&mut self, round: Round, boot_ms: u64) -> Advance {
        let Round { number, fenced, lines, .. } = round;
        let before = self.done.take().filter(|done| done.fenced.head() == fenced.head());
        // A renewal keeps the lines of those who did not answer this time.
        let mut all = before.map(|done| done.lines).unwrap_or_default();
        merge(&mut all, lines.clone());
        let (fresh, lines) = (lines, all);
        let done = Done { number, fenced, fresh, lines, at_ms: boot_ms, has_more: false };
        let publish = done.to_publish(&self.config);
        self.done = Some(done);
        publish
    }

    /// The published head again, if more lines came for it.
    fn extended(&mut self) -> Option<Advance> {
        let done = self.done.as_mut().filter(|done| done.has_more)?;
        done.has_more = false;
        Some(done.to_publish(&self.config))
    }

    /// Proposes what was offered, or the published head again when its cosignatures grow old.
    fn propose(&mut self, signer: &Signer, boot_ms: u64) {
        let is_greeted = self.ungreeted == 0 || boot_ms >= self.greeted_by_ms;
        if self.round.is_some() || !is_greeted || boot_ms < self.earliest_ms() {
            return;
        }
        let aged = |done: &&Done| boot_ms >= done.at_ms.saturating_add(RENEWAL_MS);
        let renewed = || self.done.as_ref().filter(aged).map(|done| (done.fenced.clone(), boot_ms));
        let first = self.first.take().map(|first| (first, boot_ms));
        let Some((fenced, offered_ms)) = first.or_else(|| self.offered.take()).or_else(renewed)
        else {
            return;
        };
        self.rounds += 1;
        let note = signer.undated_note(&fenced);
        let question = Question {
            round: self.rounds,
            fenced: fenced.clone(),
            text: note.text.clone(),
            note: Note::format(&note),
        };
        self.questions.send_replace(Some(Arc::new(question)));
        self.round = Some(Round {
            number: self.rounds,
            fenced,
            lines: Vec::new(),
            offered_ms,
            started_ms: boot_ms,
        });
    }

    /// The next time at which a head may be proposed, by the boot-time clock.
    fn earliest_ms(&self) -> u64 {
        let interval = milliseconds(self.config.min_interval);
        self.done.as_ref().map_or(0, |done| done.at_ms.saturating_add(interval))
    }
}

fn is_met(config: &Config, lines: &[(SignatureLine, Verified)]) -> bool {
    let verified: Vec<Verified> = lines.iter().map(|(_, verified)| verified.clone()).collect();
    config.policy.is_met(&verified)
}

/// Adds `new` lines; a newer line of one key takes the place of the older.
fn merge(lines: &mut Vec<(SignatureLine, Verified)>, new: Vec<(SignatureLine, Verified)>) {
    for (line, verified) in new {
        match lines.iter_mut().find(|(_, earlier)| earlier.key == verified.key) {
            Some(earlier) => *earlier = (line, verified),
            None => lines.push((line, verified)),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
