//! The server dies at every gap between the steps of an entry's life, and at random, under load.
//! After each death: every acknowledged entry stands at its index, no two checkpoints disagree, and
//! a retry of every submission, those of unknown fate too, finds one entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use treering_tests::check::check_log;
use treering_tests::checker::event::Answer;
use treering_tests::checker::wire::ask;
use treering_tests::history::History;
use treering_tests::load::{Load, Outcome, Watch};
use treering_tests::random::Random;
use treering_tests::server::{Log, Server, text};
use treering_tests::witness::{TestWitness, policy};

/// The gaps, as `TREERING_CRASH_AT` names them, in order.
const CRASH_POINTS: [&str; 8] =
    ["batched", "extended", "committed", "checked", "fenced", "signed", "published", "woken"];

/// How a log is served that has no witnesses.
const OPEN: &[&str] = &["--open-writes"];

/// Deaths at each gap.
const DEATHS_EACH: u64 = 4;

/// Deaths at random, and how often one may be tried in vain because nothing was in flight.
const DEATHS_AT_RANDOM: u64 = 20;
const TRIES_MAX: u64 = 60;

#[test]
fn dying_at_every_gap_loses_nothing_and_forks_nothing() {
    die_at_every_gap(&Log::create(), OPEN, DEATHS_EACH);
}

/// Between fence and sign there is another gap here: the witnesses are asked, and some of them have
/// cosigned when the log dies.
#[test]
fn dying_at_every_gap_with_witnesses_loses_nothing_and_forks_nothing() {
    let log = Log::create();
    let witnesses = [TestWitness::start("w1", 1), TestWitness::start("w2", 2)];
    let file = log.beside("witnesses.policy");
    std::fs::write(&file, policy(&[&witnesses[0], &witnesses[1]], 2)).unwrap();
    let interval = ["--min-publish-interval", "10ms", "--witness-policy", text(&file)];
    die_at_every_gap(&log, &[OPEN, &interval].concat(), 2);
    for witness in &witnesses {
        let sizes = witness.asked();
        assert!(sizes.is_sorted(), "no death made the log propose less than before: {sizes:?}");
    }
}

fn die_at_every_gap(log: &Log, flags: &[&str], deaths: u64) {
    let mut history = History::new(&log.identity);
    history.record.set_whole();
    let mut batches = BTreeMap::new();
    for point in CRASH_POINTS {
        for count in 1..=deaths {
            let server = log.serve_with(flags, Some(&format!("{point}:{count}")));
            let (mut watch, _unheard) = Watch::new();
            history.process += 1;
            watch.process = history.process;
            let outcome = Load { signers: 8, each: 200 }.run(server.address, &watch);
            assert!(outcome.unanswered > 0, "{point}:{count} was not reached under load");
            let ended = server.wait();
            assert!(ended.is_killed(), "{point}: {ended:?}");
            let in_flight = entries_in_flight(&ended.stderr, point);
            assert!(in_flight > 0, "{point}: a death counts only with entries in flight");
            let known: &mut Vec<u64> = batches.entry(point).or_default();
            known.push(in_flight);
            resume_and_check(log, flags, &mut history, outcome);
        }
    }
    for point in CRASH_POINTS {
        let entries = &batches[point];
        let count = entries.len();
        println!("{point:>10}: {count} batches interrupted, with {entries:?} entries in flight");
    }
}

#[test]
fn dying_at_random_loses_nothing_and_forks_nothing() {
    let mut random = Random::seeded("dying_at_random");
    let log = Log::create();
    let mut history = History::new(&log.identity);
    history.record.set_whole();
    let (mut deaths, mut tries, mut interrupted) = (0, 0, 0);
    while deaths < DEATHS_AT_RANDOM {
        tries += 1;
        assert!(tries <= TRIES_MAX, "only {deaths} deaths had requests in flight");
        let server = log.serve();
        let (watch, heard) = Watch::new();
        let watch = Arc::new(watch);
        let watched = watch.clone();
        let address = server.address;
        let load =
            std::thread::spawn(move || Load { signers: 8, each: 2000 }.run(address, &watched));
        for _ in 0..=random.below(300) {
            heard.recv().expect("the load goes on");
        }
        let in_flight = watch.in_flight();
        server.kill();
        let outcome = load.join().unwrap();
        if in_flight > 0 && outcome.unanswered > 0 {
            deaths += 1;
            interrupted += in_flight;
        }
        resume_and_check(&log, OPEN, &mut history, outcome);
    }
    println!("    random: {deaths} deaths, {interrupted} requests in flight, {tries} tries");
}

#[test]
fn dying_while_starting_after_a_death_loses_nothing_and_forks_nothing() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    for point in ["committed", "checked", "fenced", "signed"] {
        let server = log.serve_until_crash(point);
        let (watch, _unheard) = Watch::new();
        let outcome = Load { signers: 8, each: 50 }.run(server.address, &watch);
        assert!(server.wait().is_killed());
        for _ in 0..3 {
            Server::kill_when_it_says(&log.data, "entries above the anchor");
        }
        resume_and_check(&log, OPEN, &mut history, outcome);
    }
}

/// Takes in what was said before the death, starts the log again, checks it, retries everything
/// that was submitted in this round, and checks it again.
fn resume_and_check(log: &Log, flags: &[&str], history: &mut History, outcome: Outcome) {
    let first = history.attempts.len();
    history.take(outcome);
    let server = log.serve_with(flags, None);
    history.process += 1;
    // What was fenced before the death is shown when the witnesses have cosigned it.
    let is_whole = || server.get("/readyz").json()["witnessed"] != "missing";
    while !is_whole() {}
    // What the log took in without an answer is there now, or never.
    let before = check_log(&server, history);
    retry(&server, history, first);
    let after = check_log(&server, history);
    assert!(after.entries.len() >= before.entries.len());
    assert_eq!(after.entries.len(), history.attempts.len(), "each submission is one entry");
    assert_eq!(server.terminate().code(), Some(0));
}

/// Submits every attempt from `first` on again: a known index is repeated, an unknown one learnt.
fn retry(server: &Server, history: &mut History, first: usize) {
    let mut connection = server.connect();
    let who = history.who();
    let mut heard = Vec::new();
    for attempt in &mut history.attempts[first..] {
        let mut again = || ask(&mut connection, &attempt.submission, who);
        let mut told = again();
        // Until the witnesses have cosigned what was fenced before the death.
        while matches!(&told.answer, Answer::Refused { label, .. } if label == "not-published") {
            told = again();
        }
        let index = told.index().unwrap_or_else(|| panic!("a retry was refused: {told:?}"));
        if matches!(told.answer, Answer::Logged(_)) {
            assert_eq!(attempt.index, None, "an acknowledged entry was logged again");
        }
        assert_eq!(*attempt.index.get_or_insert(index), index, "a retry has another index");
        heard.push(told);
    }
    heard.into_iter().for_each(|told| history.heard(told));
}

/// The number in the line that the server writes before it dies.
fn entries_in_flight(stderr: &str, point: &str) -> u64 {
    let line = format!("crash point {point}: dying with ");
    let rest = stderr.split_once(&line).map(|(_, rest)| rest);
    let number = rest.and_then(|rest| rest.split(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no line about {point} in {stderr}"))
}
