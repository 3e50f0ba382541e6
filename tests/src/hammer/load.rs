//! The loops: many connections over HTTP/1.1, one task each.
//!
//! - **Closed**: a connection sends its next request when it has the whole answer to the one
//!   before. The load is what the server lets it be; a time is from sending to the whole answer.
//! - **Open**: requests are due at a fixed rate, whatever the server does. A time is from when the
//!   request was due, so that waiting for a free connection counts: a server that stands still for
//!   a second makes all requests of that second late, not one on each connection.
//!
//! Invariants: a request that has no whole answer at its limit has failed, so the load ends at the
//! end of its window and the limit of one answer; failures are counted and never tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use super::connection::{Connection, Failed, Failure};
use super::measured::{Kept, Measured, Sample, Tally, Window};
use super::requests::Requests;
use super::schedule::{Pacer, Schedule};
use super::target::Target;

/// One answer in so many is kept and verified after the clock has stopped. No even number, and none
/// that the usual numbers of questions have a factor of: where questions are asked over and over,
/// each of them has its answer kept in some round.
pub const KEPT_ONE_IN: usize = 51;

/// The time that a request may take until its answer is whole.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Requests of one connection that fail in a row, with no answer at all, before it gives up. A
/// closed loop would otherwise use up all its requests on a server that is gone.
const LOST_IN_A_ROW_MAX: u32 = 3;

/// One load.
pub struct Load {
    /// Where.
    pub target: Target,
    /// Connections; each has one request at a time.
    pub connections: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// How long it goes on before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub time: Duration,
    /// The limit of one answer.
    pub answer_time_max: Duration,
    /// What is asked for; the load ends early when they are used up.
    pub requests: Requests,
    /// One answer in so many is kept; at least 1.
    pub kept_one_in: usize,
    /// Right answers until now, of all runs of this load: for whoever ends its server meanwhile.
    pub answered: Arc<AtomicUsize>,
}

/// When requests are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// After the answer to the one before.
    Closed,
    /// At this rate.
    Open(Schedule),
}

/// What all connections share.
struct Shared {
    target: Arc<Target>,
    requests: Requests,
    answer_time_max: Duration,
    kept_one_in: usize,
    answered: Arc<AtomicUsize>,
    start: Instant,
    /// When nothing more is begun, for a closed loop.
    end: Instant,
    /// Requests that there are.
    count: usize,
    next: AtomicUsize,
    due: Option<(Schedule, Arc<Semaphore>)>,
}

/// A request that one connection must send.
struct Turn {
    number: usize,
    due: Instant,
}

impl Load {
    /// A closed loop that is measured for `time` after `warm_up`.
    pub fn closed(target: Target, connections: usize, requests: Requests) -> Self {
        Self {
            target,
            connections,
            pace: Pace::Closed,
            warm_up: Duration::ZERO,
            time: Duration::from_secs(10),
            answer_time_max: ANSWER_TIME_MAX,
            requests,
            kept_one_in: KEPT_ONE_IN,
            answered: Arc::default(),
        }
    }

    /// Runs it to its end. Failures are part of what was measured.
    ///
    /// # Errors
    /// If the first connections cannot be made, if there is nothing to ask for, and if the requests
    /// were used up before the warm-up was over.
    pub async fn run(&self) -> anyhow::Result<Measured> {
        ensure!(self.connections > 0, "a load needs a connection");
        ensure!(self.requests.count() != Some(0), "there is nothing to ask for");
        let target = Arc::new(self.target.clone());
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            let opened =
                tokio::time::timeout(self.answer_time_max, Connection::open(target.clone()));
            let opened = opened.await.map_err(|_| Failed::new(Failure::Timeout, "connecting"));
            let opened = opened.and_then(|opened| opened);
            connections.push(opened.map_err(|failed| anyhow::anyhow!("{failed}"))?);
        }
        let shared = Arc::new(self.shared(target));
        let pacer = shared.due.clone().map(|(schedule, permits)| {
            Pacer::start(schedule, shared.start, shared.count, self.connections, permits)
        });
        let tasks: Vec<_> = connections
            .into_iter()
            .map(|connection| tokio::spawn(work(shared.clone(), connection)))
            .collect();
        let mut tally = Tally::default();
        for task in tasks {
            tally.add(task.await?);
        }
        drop(pacer);
        Measured::of(tally, self.window(&shared))
    }

    fn shared(&self, target: Arc<Target>) -> Shared {
        let requests = self.requests.clone();
        let whole = self.warm_up + self.time;
        let count = requests.count().unwrap_or(usize::MAX);
        let (count, due) = match self.pace {
            Pace::Closed => (count, None),
            Pace::Open(schedule) => {
                let due = (schedule, Arc::new(Semaphore::new(0)));
                (count.min(schedule.count(whole)), Some(due))
            }
        };
        let start = Instant::now();
        Shared {
            target,
            requests,
            answer_time_max: self.answer_time_max,
            kept_one_in: self.kept_one_in.max(1),
            answered: self.answered.clone(),
            start,
            end: start + whole,
            count,
            next: AtomicUsize::new(0),
            due,
        }
    }

    /// The time that counts, now that all is over.
    fn window(&self, shared: &Shared) -> Window {
        let planned = self.warm_up + self.time;
        let end = match shared.due {
            // A connection found nothing left before the time was over.
            None if shared.next.load(Ordering::Relaxed) > shared.count => None,
            None => Some(planned),
            Some((schedule, _)) => Some(planned.min(schedule.due(shared.count))),
        };
        let started = shared.start;
        Window { started, start: self.warm_up, end, by_due: shared.due.is_some() }
    }
}

impl Shared {
    /// The next request, when it is due; `None` at the end.
    async fn next_turn(&self) -> Option<Turn> {
        let Some((schedule, permits)) = &self.due else {
            if Instant::now() >= self.end {
                return None;
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            return (number < self.count).then(|| Turn { number, due: Instant::now() });
        };
        permits.acquire().await.ok()?.forget();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.count).then(|| Turn { number, due: self.start + schedule.due(number) })
    }
}

async fn work(shared: Arc<Shared>, mut connection: Connection) -> Tally {
    let mut tally = Tally::default();
    let mut lost_in_a_row = 0;
    let is_closed = shared.due.is_none();
    while !(is_closed && lost_in_a_row >= LOST_IN_A_ROW_MAX) {
        let Some(turn) = shared.next_turn().await else { break };
        match take(&shared, &mut connection, &turn).await {
            Ok(body) => {
                lost_in_a_row = 0;
                shared.answered.fetch_add(1, Ordering::Relaxed);
                let sample = Sample { due: turn.due - shared.start, end: shared.start.elapsed() };
                tally.samples.push(sample);
                if turn.number.is_multiple_of(shared.kept_one_in) {
                    tally.kept.push(Kept { number: turn.number, body, sample });
                }
            }
            Err(failed) => {
                let is_answer = matches!(failed.failure, Failure::Status { .. });
                lost_in_a_row = if is_answer { 0 } else { lost_in_a_row + 1 };
                tally.failures.count(failed);
            }
        }
        tally.last = shared.start.elapsed();
    }
    tally
}

/// Sends one request and reads the whole answer, in time.
async fn take(
    shared: &Shared,
    connection: &mut Connection,
    turn: &Turn,
) -> Result<bytes::Bytes, Failed> {
    let limit = turn.due + shared.answer_time_max;
    if Instant::now() >= limit {
        return Err(Failed::new(Failure::Unsent, "no connection was free in time"));
    }
    let (request, success) = shared.requests.get(turn.number, &shared.target);
    let answered = timeout_at(limit.into(), connection.exchange(request, success)).await;
    answered.unwrap_or_else(|_| Err(Failed::new(Failure::Timeout, "no whole answer in time")))
}

#[cfg(test)]
mod tests;
