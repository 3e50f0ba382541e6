//! One witness: asks it what it remembers, then to cosign each head that is proposed.
//!
//! ```text
//! start     GET what it remembers                -> explained? else latch
//! question  POST add-checkpoint from the size that it has
//!             200  its lines, verified           -> Event::Cosigned
//!             409  another size: prove from there, a few times; larger than ours: GET, explain
//!             422  or any other final refusal    -> GET, explain; passed over for a minute
//!             429, 5xx, silence                  -> later, doubling
//! ```
//!
//! Invariants: a note is unexplained only if this log's own key signed it; a number alone never
//! latches; a line that did not verify under one of this witness's keys is dropped.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::watch;
use treering_proto::checkpoint::open_checkpoint;
use treering_proto::note::{Note, NoteKey, SignatureLine, Verified};
use treering_proto::proof::plan_consistency;
use treering_proto::tree::TreeSize;
use treering_proto::witness::AddCheckpoint;

use super::Target;
use super::collect::{Event, Question};
use super::wire::{Answer, Wire};
use crate::clock;
use crate::metrics::{Metrics, WitnessOutcome};
use crate::pool::Pool;
use crate::store::{Store, StoreError};

/// Sizes learned in one question: the second is right unless the witness serves other copies of
/// this log, too.
const CONFLICTS_MAX: usize = 3;

/// The first wait after a failure, doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);

/// The longest wait that we choose ourselves while a witness does not answer: one that is back is
/// used within seconds, for submitters may be waiting for it.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The wait after an answer that a repetition will hardly change, unless a proxy gave it.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// The wait after a contradiction.
const CONTRADICTED_PAUSE: Duration = Duration::from_secs(60);

/// Failures in a row after which a witness is told of: fewer are a restart.
const FAILURES_TOLD: u32 = 5;

/// How far a cosignature's time may be from our clock, in seconds: clients take one from the future
/// for an alarm, and it would stay in storage for ever.
const TIME_DISTANCE_MAX: u64 = 300;

/// The longest wait that a witness may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// What every asker needs.
#[derive(Clone)]
pub struct AskerContext {
    /// Where proofs and old roots come from.
    pub store: Store,
    /// The key of this log; its name is the origin.
    pub note_key: NoteKey,
    /// Whom to wake when something happened.
    pub pool: Arc<Pool>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Starts one task for each witness on this runtime.
///
/// # Errors
/// If TLS cannot be set up.
pub fn spawn(
    context: &AskerContext,
    targets: &[Arc<Target>],
    timeout: Duration,
    questions: &watch::Receiver<Option<Arc<Question>>>,
    events: &Sender<Event>,
) -> Result<(), reqwest::Error> {
    let wire = Wire::new(timeout)?;
    for target in targets {
        let asker = Asker {
            context: context.clone(),
            target: target.clone(),
            wire: wire.clone(),
            events: events.clone(),
            cosigned: TreeSize::ZERO,
        };
        tokio::spawn(asker.run(questions.clone()));
    }
    Ok(())
}

struct Asker {
    context: AskerContext,
    target: Arc<Target>,
    wire: Wire,
    events: Sender<Event>,
    /// The size that the witness cosigned last, as far as we know; it may say otherwise.
    cosigned: TreeSize,
}

/// What came of one question.
enum Asked {
    /// It is answered, for better or worse.
    Done,
    /// Ask again after this pause, or after a longer one of our own.
    Later(Option<Duration>),
}

impl Asker {
    async fn run(mut self, mut questions: watch::Receiver<Option<Arc<Question>>>) {
        self.look_up().await;
        self.tell(Event::Greeted);
        let (mut answered, mut failures) = (0, 0);
        loop {
            let current = questions.borrow_and_update().clone();
            let Some(question) = current.filter(|question| question.round != answered) else {
                // The sequencer is gone, and so is every question.
                if questions.changed().await.is_err() {
                    return;
                }
                continue;
            };
            match self.ask(&question).await {
                Asked::Done => (answered, failures) = (question.round, 0),
                Asked::Later(wish) => {
                    let pause = backoff(failures).max(wish.unwrap_or_default());
                    failures += 1;
                    if failures == FAILURES_TOLD {
                        // Some witnesses answer 500 to a log that they do not know.
                        let witness = self.target.name.as_str();
                        tracing::warn!(witness, failures, "a witness did not cosign several times");
                    }
                    tokio::time::sleep(pause.min(RETRY_AFTER_MAX)).await;
                }
            }
        }
    }

    async fn ask(&mut self, question: &Arc<Question>) -> Asked {
        for _ in 0..CONFLICTS_MAX {
            let Some(body) = self.request(question).await else { return Asked::Later(None) };
            match self.wire.add_checkpoint(&self.target.url, body).await {
                Answer::Lines(lines) => return self.take_lines(question, lines),
                Answer::Conflict(size) if size <= question.size() && size != self.cosigned => {
                    self.count(WitnessOutcome::Conflict);
                    self.cosigned = size;
                }
                Answer::Conflict(size) => {
                    let why = format!("it says that it cosigned {size} entries");
                    return self.contradicted(&why).await;
                }
                Answer::Refused(status @ (409 | 422)) => {
                    return self.contradicted(&format!("HTTP {status}")).await;
                }
                Answer::Refused(status) => {
                    self.count(WitnessOutcome::Refused);
                    tracing::warn!(
                        witness = self.target.name,
                        status,
                        "a witness refuses this log"
                    );
                    return Asked::Later(Some(REFUSED_PAUSE));
                }
                Answer::Unavailable { why, retry_after } => {
                    self.count(WitnessOutcome::Unavailable);
                    tracing::debug!(witness = self.target.name, why, "a witness does not answer");
                    return Asked::Later(retry_after);
                }
            }
        }
        self.contradicted("it says another size each time").await
    }

    /// The request, proved from the size that the witness has; `None` after a storage error.
    async fn request(&self, question: &Arc<Question>) -> Option<String> {
        let (store, question, old) = (self.context.store.clone(), question.clone(), self.cosigned);
        let old = old.min(question.size());
        let prove = move || -> Result<String, StoreError> {
            let mut request =
                AddCheckpoint { old_size: old, proof: Vec::new(), note: question.note.clone() };
            // From the empty tree, and to the same tree, there is nothing to prove.
            if old != TreeSize::ZERO && old != question.size() {
                let plan = plan_consistency(old, question.size())
                    .expect("the old size was bounded by the new one");
                request.proof = store.build(&plan, question.fenced.edge())?;
            }
            Ok(request.format())
        };
        let proved = tokio::task::spawn_blocking(prove).await.expect("proving does not panic");
        proved.inspect_err(|error| tracing::error!(%error, "no proof for a witness")).ok()
    }

    fn take_lines(&mut self, question: &Question, lines: Vec<SignatureLine>) -> Asked {
        let now = clock::read().wall_ms / 1000;
        let verified = verified_lines(&self.target.keys, &question.text, now, lines);
        if verified.is_empty() {
            self.count(WitnessOutcome::BadSignature);
            tracing::warn!(
                witness = self.target.name,
                "a witness answered without a cosignature that verifies under its keys and has our time"
            );
            return Asked::Later(Some(REFUSED_PAUSE));
        }
        self.count(WitnessOutcome::Cosigned);
        self.cosigned = question.size();
        let (witness, round) = (self.target.name.clone(), question.round);
        self.tell(Event::Cosigned { witness, round, lines: verified });
        Asked::Done
    }

    /// The witness says something that does not go with what we know. Its own note decides; without
    /// one it is passed over for a while.
    async fn contradicted(&mut self, why: &str) -> Asked {
        self.count(WitnessOutcome::Contradiction);
        let witness = self.target.name.as_str();
        tracing::error!(witness, why, "a witness contradicts this log; it is passed over");
        self.look_up().await;
        self.tell(Event::Contradicted { witness: self.target.name.clone() });
        Asked::Later(Some(CONTRADICTED_PAUSE))
    }

    /// Asks for the checkpoint that the witness remembers, and compares it with storage.
    async fn look_up(&mut self) {
        let origin = self.context.note_key.name();
        let note = match self.wire.remembered(&self.target.url, origin).await {
            Ok(Some(note)) => note,
            Ok(None) => return,
            Err(why) => {
                tracing::warn!(witness = self.target.name, why, "a witness says nothing");
                return;
            }
        };
        let (store, key) = (self.context.store.clone(), self.context.note_key.clone());
        let explain = move || explain(&store, &key, &note);
        let explained = tokio::task::spawn_blocking(explain).await.expect("reading does not panic");
        match explained {
            Ok(Explained::Ours(size)) => self.cosigned = size,
            Ok(Explained::NotOurs) => {}
            Ok(Explained::Unknown(why)) => {
                let witness = &self.target.name;
                self.tell(Event::Unexplained(format!("the witness {witness} has {why}")));
            }
            Err(error) => tracing::error!(%error, "a witness's checkpoint cannot be compared"),
        }
    }

    fn count(&self, outcome: WitnessOutcome) {
        self.context.metrics.witness(&self.target.name, outcome);
    }

    /// Tells the sequencer; when it is gone, nobody minds.
    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
        self.context.pool.nudge();
    }
}

/// What a note that a witness remembers says about this log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Explained {
    /// A tree of ours, of this size.
    Ours(TreeSize),
    /// Not signed by us, or no note: it says nothing.
    NotOurs,
    /// Signed by us, and not a tree of ours: the sentence says what.
    Unknown(String),
}

/// Whether storage explains a note.
pub(super) fn explain(store: &Store, key: &NoteKey, note: &[u8]) -> Result<Explained, StoreError> {
    let keys = std::slice::from_ref(key);
    let Ok(checkpoint) = open_checkpoint(note, key.name(), keys) else {
        return Ok(Explained::NotOurs);
    };
    let head = checkpoint.head();
    let stored = store.committed()?.head.size;
    if head.size > stored {
        return Ok(Explained::Unknown(format!(
            "a checkpoint of {} entries with this log's signature; storage has {stored}: an older \
             copy was put back, or another server signs with this key",
            head.size
        )));
    }
    let root = store.head_at(head.size)?.root;
    if root != head.root {
        return Ok(Explained::Unknown(format!(
            "a checkpoint of {} entries with this log's signature and root {}; storage has {root}: \
             another server signs with this key, or entries were changed",
            head.size, head.root
        )));
    }
    Ok(Explained::Ours(head.size))
}

/// The lines that verify under `keys`, each key once, with what they say. A cosignature without a
/// time, or with one far from `now` in Unix seconds, is dropped.
pub(super) fn verified_lines(
    keys: &[NoteKey],
    text: &str,
    now: u64,
    lines: Vec<SignatureLine>,
) -> Vec<(SignatureLine, Verified)> {
    let mut kept: Vec<(SignatureLine, Verified)> = Vec::new();
    for line in lines {
        let note = Note { text: text.to_owned(), signatures: vec![line.clone()] };
        let Ok(verified) = treering_proto::note::open(&note, keys) else { continue };
        for signature in verified {
            let is_new = kept.iter().all(|(_, earlier)| earlier.key != signature.key);
            let is_timely = |time: u64| time.abs_diff(now) <= TIME_DISTANCE_MAX;
            if is_new && signature.time.is_some_and(is_timely) {
                kept.push((line.clone(), signature));
            }
        }
    }
    kept
}

fn backoff(failures: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX)
}
