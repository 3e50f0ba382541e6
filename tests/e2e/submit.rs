//! Submissions that go well: every kind on every face, again, and around the edges of tiles.

use treering_tests::check::check_log;
use treering_tests::history::{Attempt, History};
use treering_tests::load::{Load, Watch, any_submission};
use treering_tests::server::{Log, Server};
use treering_tests::submission::{Answer, Face, Signer, Submission, submit};

#[test]
fn every_kind_is_logged_once_and_a_repetition_has_the_same_index() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    assert_eq!(check_log(&server, &mut history).entries.len(), 0, "size 0 is published, too");
    let signer = Signer::new();
    let statement = treering_tests::model::statement("kinds", 0);
    let submissions = [
        Submission::hashedrekord(Face::V1, &signer, b"one"),
        Submission::hashedrekord(Face::V2, &signer, b"one"),
        Submission::dsse(Face::V1, &signer, &statement),
        Submission::dsse(Face::V2, &signer, &statement),
    ];
    let mut connection = server.connect();
    for (expected, submission) in (0..).zip(&submissions) {
        match submit(&mut connection, submission).unwrap() {
            Answer::Logged { index, note } => {
                assert_eq!(index, expected);
                assert_eq!(history.saw(&note).size.get(), expected + 1);
                let submission = submission.clone();
                history.attempts.push(Attempt { submission, index: Some(index) });
            }
            other => panic!("{other:?}"),
        }
        check_log(&server, &mut history);
    }
    for (expected, submission) in (0..).zip(&submissions) {
        let answer = submit(&mut connection, submission).unwrap();
        assert!(matches!(answer, Answer::Duplicate { index } if index == expected), "{answer:?}");
    }
    assert_eq!(check_log(&server, &mut history).entries.len(), submissions.len());
}

#[test]
fn equal_submissions_at_the_same_time_become_one_entry() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    let signer = Signer::new();
    for _ in 0..20 {
        let submission = any_submission(&signer);
        let ask = || submit(&mut server.connect(), &submission).unwrap();
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let logged = answers.iter().filter(|a| matches!(a, Answer::Logged { .. })).count();
        let indexes = answers.iter().map(|answer| match answer {
            Answer::Logged { index, .. } | Answer::Duplicate { index } => *index,
            Answer::Refused(response) => panic!("{response:?}"),
        });
        let index = indexes.clone().next();
        assert!(indexes.clone().all(|other| Some(other) == index), "{answers:?}");
        assert_eq!(logged, 1, "one submission is the first: {answers:?}");
        history.attempts.push(Attempt { submission: submission.clone(), index });
    }
    assert_eq!(check_log(&server, &mut history).entries.len(), 20);
}

/// Grows the log to `size` with one entry after the other, or many at once where there is room.
fn grow_to(server: &Server, history: &mut History, size: u64) {
    let missing = size - server.size();
    let signers = missing.clamp(1, 64);
    let load = Load { signers, each: missing / signers };
    let rest = Load { signers: 1, each: missing % signers };
    let (watch, _unheard) = Watch::new();
    for load in [load, rest] {
        let outcome = load.run(server.address, &watch);
        assert_eq!((outcome.unanswered, outcome.refused), (0, 0));
        history.take(outcome);
    }
    assert_eq!(server.size(), size);
}

#[test]
fn logs_around_the_edges_of_tiles_are_whole_before_and_after_a_restart() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let mut server = log.serve();
    for size in [1, 2, 255, 256, 257, 511, 512, 513] {
        grow_to(&server, &mut history, size);
        check_log(&server, &mut history);
        assert_eq!(server.terminate().code(), Some(0));
        server = log.serve();
        check_log(&server, &mut history);
    }
}

#[test]
fn a_log_grows_past_its_second_level_of_tiles() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    grow_to(&server, &mut history, 65_535);
    check_log(&server, &mut history);
    for size in [65_536, 65_537, 65_600] {
        grow_to(&server, &mut history, size);
    }
    check_log(&server, &mut history);
    server.kill();
    check_log(&log.serve(), &mut history);
}

#[test]
fn stopping_under_load_loses_no_acknowledged_entry() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    for round in 0..5 {
        let server = log.serve();
        let (watch, heard) = Watch::new();
        let address = server.address;
        let load = std::thread::spawn(move || Load { signers: 8, each: 5000 }.run(address, &watch));
        for _ in 0..50 * (round + 1) {
            heard.recv().expect("the load goes on");
        }
        let ended = server.terminate();
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        let outcome = load.join().unwrap();
        history.take(outcome);
        check_log(&log.serve(), &mut history);
    }
}

#[test]
fn a_disk_that_is_nearly_full_refuses_entries_and_says_so() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve_with(&["--open-writes", "--min-free-disk", &u64::MAX.to_string()], None);
    let signer = Signer::new();
    let submissions =
        [Face::V1, Face::V2].map(|face| Submission::hashedrekord(face, &signer, b"x"));
    for submission in &submissions {
        let mut connection = server.connect();
        let response = connection.post(submission.face.path(), &submission.request).unwrap();
        assert_eq!(response.status, 503, "{}", response.text());
        assert_eq!(response.header("treering-error"), Some("disk-full"));
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    let ready = server.get("/readyz");
    assert_eq!((ready.status, ready.json()["label"].as_str()), (503, Some("disk-full")));
    assert_eq!(server.get("/checkpoint").status, 200, "reads go on");
    check_log(&server, &mut history);
    assert_eq!(server.terminate().code(), Some(0));
    let server = log.serve();
    for submission in submissions {
        let answer = submit(&mut server.connect(), &submission).unwrap();
        let Answer::Logged { index, .. } = answer else { panic!("{answer:?}") };
        history.attempts.push(Attempt { submission, index: Some(index) });
    }
    check_log(&server, &mut history);
}

#[test]
fn a_server_that_is_stopped_as_soon_as_it_is_ready_ends_well() {
    let log = Log::create();
    for _ in 0..10 {
        assert_eq!(log.serve().terminate().code(), Some(0));
    }
}
