//! When requests are due that come at a fixed rate, whatever the server does.
//!
//! Request n is due n/rate seconds after the start, to the nanosecond; there is no drift, because
//! each time is computed from the start.
//!
//! Whoever waits for these times is a thread of its own: a timer of the async runtime would be
//! looked at when its threads have nothing better to do. Above 1,000 a second it looks once a
//! millisecond and gives what became due since, so that up to a millisecond of each time, which is
//! from when the request was due, is that of the generator.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// The least time between two looks at what is due. A thread that woke for each of thousands of
/// requests a second would take the cores again and again from the server that is measured.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(1);

/// A fixed rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    per_second: u32,
}

/// Gives a permit for each request when it is due, until it is dropped.
pub struct Pacer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Schedule {
    /// So many requests a second; `None` for a rate of nothing.
    pub fn new(per_second: u32) -> Option<Self> {
        (per_second > 0).then_some(Self { per_second })
    }

    /// How long after the start request `number` is due.
    pub fn due(self, number: usize) -> Duration {
        nanoseconds(number as u128 * NANOS_PER_SECOND / u128::from(self.per_second))
    }

    /// How long to wait for the next request, when so many were given, the last one just now.
    fn wait(self, given: usize, since_start: Duration) -> Duration {
        let wait = self.due(given).saturating_sub(since_start);
        if given == 0 { wait } else { wait.max(LOOK_EVERY_MIN) }
    }

    /// How many requests are due before `time` has passed.
    pub fn count(self, time: Duration) -> usize {
        let due = (time.as_nanos() * u128::from(self.per_second)).div_ceil(NANOS_PER_SECOND);
        usize::try_from(due).unwrap_or(usize::MAX)
    }
}

impl Pacer {
    /// Gives `permits` one permit for each of `count` requests when it is due after `start`, and at
    /// the end as many as there are `takers`, so that each hears that nothing more comes.
    pub fn start(
        schedule: Schedule,
        start: Instant,
        count: usize,
        takers: usize,
        permits: Arc<Semaphore>,
    ) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut given = 0;
            while given < count {
                let wait = schedule.wait(given, start.elapsed());
                if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                // Whoever wakes late gives all that is due at once.
                let due = (schedule.count(start.elapsed())).clamp(given + 1, count);
                permits.add_permits(due - given);
                given = due;
            }
            permits.add_permits(takers);
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It panics only when the semaphore is full, which is far above any number of requests.
            let _ = thread.join();
        }
    }
}

fn nanoseconds(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_a_time_is_how_many_are_due_before_it() {
        for per_second in [1, 2, 3, 7, 999, 1000, 6_007, 1_000_000] {
            let schedule = Schedule::new(per_second).unwrap();
            for nanos in [0, 1, 333_333_333, 333_333_334, 1_000_000_000, 8_000_000_001] {
                let time = Duration::from_nanos(nanos);
                let count = schedule.count(time);
                assert!(schedule.due(count) >= time, "{per_second}/s, {time:?}");
                assert!(count == 0 || schedule.due(count - 1) < time, "{per_second}/s, {time:?}");
            }
        }
        assert_eq!(Schedule::new(500).unwrap().count(Duration::from_secs(10)), 5000);
        assert_eq!(Schedule::new(0), None);
    }

    #[test]
    fn what_is_due_is_looked_at_when_it_is_or_once_a_millisecond() {
        let slow = Schedule::new(100).unwrap();
        assert_eq!(slow.wait(0, Duration::ZERO), Duration::ZERO);
        assert_eq!(slow.wait(1, Duration::from_millis(1)), Duration::from_millis(9));
        assert_eq!(slow.wait(1, Duration::from_millis(50)), LOOK_EVERY_MIN);
        let fast = Schedule::new(5_000).unwrap();
        assert_eq!(fast.wait(0, Duration::ZERO), Duration::ZERO);
        assert_eq!(fast.wait(6, Duration::from_millis(1)), LOOK_EVERY_MIN);
    }

    #[test]
    fn times_do_not_drift() {
        let schedule = Schedule::new(3).unwrap();
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(1), Duration::from_nanos(333_333_333));
        assert_eq!(schedule.due(3), Duration::from_secs(1));
        assert_eq!(schedule.due(3_000_000_000), Duration::from_secs(1_000_000_000));
    }

    #[test]
    fn a_pacer_gives_what_is_due_and_one_for_each_taker() {
        let permits = Arc::new(Semaphore::new(0));
        let schedule = Schedule::new(1_000_000).unwrap();
        let mut pacer = Pacer::start(schedule, Instant::now(), 10, 3, permits.clone());
        pacer.thread.take().unwrap().join().unwrap();
        assert_eq!(permits.available_permits(), 13);
    }

    #[test]
    fn a_pacer_that_is_dropped_ends() {
        let permits = Arc::new(Semaphore::new(0));
        let schedule = Schedule::new(1).unwrap();
        drop(Pacer::start(schedule, Instant::now(), usize::MAX, 3, permits.clone()));
        assert_eq!(Arc::strong_count(&permits), 1, "its thread is gone");
    }
}
