//! Monitoring for ever: a round of each log every so often, until somebody says stop.
//!
//! Each log has its own clock, so that one that does not answer holds up no other. While a log does
//! not answer it is asked less and less often.
//!
//! Invariant: stopping loses nothing: what a round had not committed is done again by the next.
//! Out of scope: what a round does (see [`super`]).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::metrics::Metrics;
use super::webhook::{Delivery, Webhook};
use super::{Monitor, Round};

/// The longest pause while a log does not answer, unless the interval is longer.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Who hears how each round went: the origin, and the round.
pub type Observer = Arc<dyn Fn(&str, &Round) + Send + Sync>;

/// Who hears what became of findings that were sent: the origin, and how sending went.
pub type DeliveryObserver = Arc<dyn Fn(&str, &Delivery) + Send + Sync>;

/// How often, and who else hears of it.
#[derive(Clone)]
pub struct Schedule {
    /// Time between two rounds.
    pub interval: Duration,
    /// Where findings are sent.
    pub webhook: Option<Arc<Webhook>>,
    /// What is said about this monitor.
    pub metrics: Arc<Metrics>,
    /// Who hears how each round went.
    pub observer: Observer,
    /// Who hears how sending went.
    pub delivered: DeliveryObserver,
}

/// Runs all `monitors` until `stop` changes.
pub async fn run(monitors: Vec<Monitor>, schedule: Schedule, stop: watch::Receiver<bool>) {
    let running: Vec<JoinHandle<()>> = monitors
        .into_iter()
        .map(|monitor| tokio::spawn(follow(monitor, schedule.clone(), stop.clone())))
        .collect();
    for log in running {
        // One that panicked has said so; the others go on.
        let _ = log.await;
    }
}

async fn follow(mut monitor: Monitor, schedule: Schedule, mut stop: watch::Receiver<bool>) {
    let mut failures = 0;
    let mut sending: Option<JoinHandle<()>> = None;
    loop {
        let round = tokio::select! {
            round = once(&mut monitor, &schedule) => round,
            _ = stop.changed() => return,
        };
        // A receiver that is slow must not make two senders of one.
        if sending.as_ref().is_none_or(JoinHandle::is_finished) {
            sending = schedule.webhook.clone().map(|webhook| {
                let directory = monitor.directory().to_owned();
                let (schedule, origin) = (schedule.clone(), monitor.origin().to_owned());
                tokio::spawn(async move {
                    if let Ok(delivery) = webhook.deliver(&directory).await {
                        schedule.metrics.update(&origin, |log| {
                            log.waiting = delivery.waiting;
                            log.given_up += delivery.given_up;
                        });
                        (schedule.delivered)(&origin, &delivery);
                    }
                })
            });
        }
        let is_cut = round.unread.is_some() || round.failure.is_some();
        failures = if is_cut { failures + 1 } else { 0 };
        tokio::select! {
            () = tokio::time::sleep(pause(schedule.interval, failures)) => {}
            _ = stop.changed() => return,
        }
    }
}

/// One round, and what is said about it.
pub async fn once(monitor: &mut Monitor, schedule: &Schedule) -> Round {
    let round = monitor.round(now()).await;
    let counts = monitor.counts();
    schedule.metrics.update(monitor.origin(), |log| {
        log.verified = round.verified;
        log.size = round.size.unwrap_or(log.size);
        log.success = round.success;
        log.findings = counts.unwrap_or_else(|_| std::mem::take(&mut log.findings));
    });
    (schedule.observer)(monitor.origin(), &round);
    round
}

/// The pause after a round: longer the more rounds in a row were cut short.
fn pause(interval: Duration, failures: u32) -> Duration {
    let longer = interval.saturating_mul(1 << failures.min(16));
    longer.min(PAUSE_MAX.max(interval))
}

/// Now, in Unix seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_does_not_answer_is_asked_less_often_but_never_given_up() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(pause(minutes(10), 0), minutes(10));
        assert_eq!(pause(minutes(10), 1), minutes(20));
        assert_eq!(pause(minutes(10), 9), minutes(60));
        assert_eq!(pause(minutes(100), 3), minutes(100));
        assert_eq!(pause(minutes(10), u32::MAX), minutes(60));
    }
}
