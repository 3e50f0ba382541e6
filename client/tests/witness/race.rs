//! Many requests at once: the race in the specification, where a checked smaller tree is stored
//! over a larger one, must not be winnable.

use std::collections::BTreeMap;
use std::time::Instant;

use super::bench::{Answer, Bench, Running};
use super::log::Log;

const THREADS: u64 = 8;
const REQUESTS: u64 = 30;

/// One request and its answer, with when it was sent and when the answer was there.
struct Asked {
    sent: Instant,
    heard: Instant,
    old: u64,
    new: u64,
    answer: Answer,
}

/// Asks again and again, knowing what the last answer said. Every third request is a fork's.
fn ask(running: &Running, log: &Log, thread: u64) -> Vec<Asked> {
    let fork = log.forked_at(0);
    let (mut known, mut asked) = (5, Vec::new());
    for number in 0..REQUESTS {
        let by = &[log, log, &fork][(number % 3) as usize];
        let (old, new) = (known, known + (number + thread) % 4);
        let body = by.body(old, new);
        let sent = Instant::now();
        let answer = running.post_until_answered(&body);
        let heard = Instant::now();
        match answer.status {
            200 => known = new,
            409 => known = answer.body.trim().parse().unwrap(),
            422 => {}
            other => panic!("{other}: {answer:?}"),
        }
        assert!(!(answer.status == 200 && by.fork == 0), "a fork was cosigned");
        asked.push(Asked { sent, heard, old, new, answer });
    }
    asked
}

#[test]
fn of_concurrent_requests_only_those_win_that_extend_what_won_before() {
    let bench = Bench::new();
    let running = bench.start();
    assert_eq!(running.post(&bench.log.body(0, 5)).status, 200);
    let asked: Vec<Asked> = std::thread::scope(|scope| {
        let (running, log) = (&running, &bench.log);
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || ask(running, log, thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let won: Vec<&Asked> = asked.iter().filter(|asked| asked.answer.status == 200).collect();
    let conflicts = asked.iter().filter(|asked| asked.answer.status == 409).count();
    assert!(won.len() > 10 && conflicts > 10, "{} won, {conflicts} lost", won.len());
    // From each size exactly one request went on, and together they are one path.
    let mut steps = BTreeMap::new();
    for step in won.iter().filter(|step| step.new > step.old) {
        assert_eq!(steps.insert(step.old, step.new), None, "two trees follow {}", step.old);
    }
    let mut size = 5;
    while let Some(next) = steps.remove(&size) {
        size = next;
    }
    assert!(steps.is_empty(), "{steps:?} do not follow what was cosigned");
    assert_eq!(running.size(&bench.log), size);
    assert_eq!(bench.shown(&running, &bench.log).head(), bench.log.head(size));
    check_order(&bench, &won, &asked);
}

/// What was heard before something was sent is not behind it: neither the size nor the time.
fn check_order(bench: &Bench, won: &[&Asked], asked: &[Asked]) {
    let times: Vec<u64> =
        won.iter().map(|one| bench.cosigned_at(&bench.log.note(one.new), &one.answer)).collect();
    for (earlier, time) in won.iter().zip(&times) {
        for (later, later_time) in won.iter().zip(&times) {
            if earlier.heard < later.sent {
                assert!(later.new >= earlier.new && later_time >= time);
            }
        }
        for later in asked.iter().filter(|one| one.answer.status == 409) {
            let size: u64 = later.answer.body.trim().parse().unwrap();
            assert!(earlier.heard >= later.sent || size >= earlier.new);
        }
    }
}

#[test]
fn of_many_first_contacts_one_wins() {
    let bench = Bench::new();
    let running = bench.start();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|fork| {
                let (running, tree) = (&running, bench.log.forked_at(fork));
                scope.spawn(move || running.post_until_answered(&tree.body(0, 9)).status)
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|one| **one == status).count() as u64;
    assert_eq!((count(200), count(409)), (1, THREADS - 1), "{statuses:?}");
}
