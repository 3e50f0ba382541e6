//! Kill -9 at every point and at any time, and disks that take nothing: whatever cosignature
//! anybody has, the state is not behind it.

use std::sync::mpsc;

use super::bench::{Answer, Bench, Running, checkpoint_path, post_to};
use super::log::Log;

const ROUNDS: u64 = 6;
const THREADS: u64 = 4;

#[test]
fn at_each_point_the_state_is_the_old_one_or_the_new_one_and_nobody_has_the_signature() {
    for (point, sizes) in [("before-persist", [0, 4]), ("persisted", [4, 7]), ("answered", [4, 7])]
    {
        let bench = Bench::new();
        let log = &bench.log;
        // At first contact, and later.
        for (passing, (old, new)) in [(0, 4), (4, 7)].into_iter().enumerate() {
            let armed = format!("{point}:1");
            let running = bench.start_with("TREERING_CRASH_AT", &armed);
            let answer = running.try_post(&log.body(old, new));
            assert!(answer.is_err(), "{point}: {answer:?}");
            running.wait_for_crash();
            let running = bench.start();
            assert_eq!(running.size(log), sizes[passing], "{point}");
            if sizes[passing] == 0 {
                assert_eq!(running.get(&checkpoint_path(&log.origin)).status, 404);
            } else {
                assert_eq!(bench.shown(&running, log).head(), log.head(sizes[passing]));
                let fork = log.forked_at(0);
                assert_eq!(running.post(&fork.body(sizes[passing], 9)).status, 422, "{point}");
            }
            // The log asks again, as it would.
            let answer = running.post(&log.body(sizes[passing], new));
            bench.cosigned_at(&log.note(new), &answer);
        }
    }
}

/// Grows the log as far as the witness lets it, and hands over what it answered.
fn grow(
    address: std::net::SocketAddr,
    log: &Log,
    mut known: u64,
    told: &mpsc::Sender<(u64, Answer)>,
) {
    loop {
        let new = known + 1 + known % 3;
        let Ok(answer) = post_to(address, &log.body(known, new)) else { return };
        match answer.status {
            200 => {
                known = new;
                if told.send((new, answer)).is_err() {
                    return;
                }
            }
            409 => known = answer.body.trim().parse().unwrap(),
            // The disk is slow: the log asks again.
            503 => {}
            other => panic!("{other}: {answer:?}"),
        }
    }
}

/// The largest size and the last time among the answers that came before and after the kill.
fn kill_under_load(
    bench: &Bench,
    mut running: Running,
    answers_before_kill: usize,
    newest: (u64, u64),
) -> (u64, u64) {
    let (told, heard) = mpsc::channel();
    let (address, log) = (running.address, &bench.log);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let told = told.clone();
            scope.spawn(move || grow(address, log, newest.0, &told));
        }
        drop(told);
        let mut answers: Vec<(u64, Answer)> = heard.iter().take(answers_before_kill).collect();
        running.kill();
        answers.extend(heard.iter());
        answers.iter().fold(newest, |(size, time), (new, answer)| {
            (size.max(*new), time.max(bench.cosigned_at(&log.note(*new), answer)))
        })
    })
}

#[test]
fn killed_at_any_time_the_state_is_not_behind_any_cosignature_that_anybody_has() {
    let mut seed = [0];
    getrandom::fill(&mut seed).unwrap();
    eprintln!("seed {}", seed[0]);
    let bench = Bench::new();
    let mut newest = (0, 0);
    for round in 0..ROUNDS {
        let answers = 1 + (u64::from(seed[0]) + 5 * round) % 11;
        newest = kill_under_load(&bench, bench.start(), answers as usize, newest);
        let running = bench.start();
        let size = running.size(&bench.log);
        assert!(size >= newest.0, "{size} is behind {newest:?}");
        let shown = bench.shown(&running, &bench.log);
        assert_eq!(shown.head(), bench.log.head(size));
        let time = shown.verified().iter().find_map(|one| one.time).unwrap();
        assert!(time >= newest.1, "{time} is behind {newest:?}");
        newest.0 = size;
    }
}

#[test]
fn a_full_disk_gives_no_signature_and_keeps_what_was_there() {
    let bench = Bench::new();
    let log = &bench.log;
    let full = bench.start_on_full_disk();
    let refused = full.post(&log.body(0, 3));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(full.get(&checkpoint_path(&log.origin)).status, 404);
    assert_eq!(full.get("/healthz").status, 503);
    assert!(full.terminate().success());
    let running = bench.start();
    assert_eq!(running.size(log), 0);
    assert_eq!(running.post(&log.body(0, 5)).status, 200);
    assert!(running.terminate().success());
    let full = bench.start_on_full_disk();
    for _ in 0..2 {
        let refused = full.post(&log.body(5, 6));
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(!refused.body.contains('\u{2014}') && refused.head.contains("retry-after: 1\r\n"));
    }
    // Evidence needs the disk, the refusal does not.
    assert_eq!(full.post(&log.forked_at(0).body(5, 5)).status, 422);
    assert_eq!(bench.shown(&full, log).head(), log.head(5));
    drop(full);
    let running = bench.start();
    assert_eq!(running.size(log), 5);
    assert_eq!(running.post(&log.body(5, 6)).status, 200);
}

#[test]
fn a_state_directory_that_is_gone_gives_no_signature() {
    let bench = Bench::new();
    let running = bench.start();
    assert_eq!(running.post(&bench.log.body(0, 5)).status, 200);
    std::fs::remove_dir_all(bench.path("state")).unwrap();
    std::fs::create_dir(bench.path("state")).unwrap();
    assert_eq!(running.post(&bench.log.body(5, 6)).status, 503);
    assert!(bench.stderr().contains("the state was not written"), "{}", bench.stderr());
    assert_eq!(std::fs::read_dir(bench.path("state")).unwrap().count(), 0);
    drop(running);
    let (_, why) = bench.expect(2, &["serve"]);
    assert!(why.contains("not the state of a witness"), "{why}");
}
