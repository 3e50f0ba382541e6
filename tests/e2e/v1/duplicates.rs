//! A duplicate is told only of what can be read: whoever hears 409 reads the entry at once, however
//! many submit it at the same time, and however long its checkpoint takes.

use std::sync::Barrier;

use treering_tests::check::check_log;
use treering_tests::history::{Attempt, History};
use treering_tests::http::{Connection, Response};
use treering_tests::load::any_submission;
use treering_tests::server::Log;
use treering_tests::submission::{Face, Signer, Submission};
use treering_tests::witness::Manner;

use super::{ENTRIES, entry_id};
use crate::witnesses::Witnessed;

/// Submits, and reads what the answer names before anything else is done; the status of the answer.
///
/// # Panics
/// If the entry is neither logged nor a duplicate, or cannot be read.
fn submit_and_read(connection: &mut Connection, submission: &Submission, id: &str) -> u16 {
    let answer = connection.post(ENTRIES, &submission.request).unwrap();
    assert!(matches!(answer.status, 201 | 409), "{}: {}", answer.status, answer.text());
    let location = answer.header("location").expect("both answers say where the entry is");
    assert_eq!(location, format!("{ENTRIES}/{id}"));
    assert_eq!(answer.header("etag").is_some(), answer.status == 201);
    let found = connection.get(location).unwrap();
    assert_eq!(found.status, 200, "{} and then {}", answer.status, found.status);
    let is_named = |response: &Response| response.json().get(id).is_some();
    assert!(is_named(&found), "{}", found.text());
    assert_eq!(is_named(&answer), answer.status == 201);
    answer.status
}

/// An entry that only Rekor v1 has.
fn any_v1_submission(signer: &Signer) -> Submission {
    loop {
        let submission = any_submission(signer);
        if submission.face == Face::V1 {
            return submission;
        }
    }
}

#[test]
fn of_many_that_submit_one_entry_at_once_each_can_read_it() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    let signer = Signer::new();
    let clients = 16;
    for _ in 0..20 {
        let submission = any_v1_submission(&signer);
        let id = entry_id(&log, &submission);
        let together = Barrier::new(clients);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let run = || {
                let mut connection = server.connect();
                together.wait();
                submit_and_read(&mut connection, &submission, &id)
            };
            let threads: Vec<_> = (0..clients).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let logged = statuses.iter().filter(|status| **status == 201).count();
        assert_eq!(logged, 1, "one submission is the first: {statuses:?}");
        let entry = server.get(&format!("{ENTRIES}/{id}")).json();
        let index = entry[&id]["logIndex"].as_u64();
        history.attempts.push(Attempt { submission, index });
    }
    check_log(&server, &mut history);
}

#[test]
fn while_the_quorum_is_silent_nobody_hears_of_a_duplicate() {
    let all = Witnessed::new(3, 2);
    let mut history = History::new(&all.log.identity);
    let server = all.serve();
    let signer = Signer::new();
    let before = any_v1_submission(&signer);
    let id = entry_id(&all.log, &before);
    assert_eq!(submit_and_read(&mut server.connect(), &before, &id), 201);
    history.attempts.push(Attempt { submission: before, index: Some(0) });

    for witness in &all.witnesses {
        witness.set_manner(Manner::Silent);
    }
    let submission = any_v1_submission(&signer);
    let id = entry_id(&all.log, &submission);
    let clients = 16;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let run = || submit_and_read(&mut server.connect(), &submission, &id);
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(run)).collect();
        // The tree with the entry is at the witnesses: it is committed, and not published.
        all.witnesses.iter().for_each(|witness| witness.wait_until_held());
        let mut reader = server.connect();
        for path in [format!("{ENTRIES}/{id}"), format!("{ENTRIES}?logIndex=1")] {
            let unpublished = reader.get(&path).unwrap();
            assert_eq!((unpublished.status, unpublished.body.len()), (404, 0), "{path}");
        }
        for (path, query) in [
            ("/api/v1/log/entries/retrieve", format!("{{\"entryUUIDs\":[\"{id}\"]}}")),
            ("/api/v1/log/entries/retrieve", "{\"logIndexes\":[1]}".to_owned()),
        ] {
            let unpublished = reader.post(path, query.as_bytes()).unwrap();
            assert_eq!(unpublished.text(), "[]\n", "{query}");
        }
        assert!(threads.iter().all(|thread| !thread.is_finished()), "nobody was told anything");
        for witness in &all.witnesses {
            witness.set_manner(Manner::Honest);
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let logged = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!((logged, statuses.len()), (1, clients), "{statuses:?}");
    history.attempts.push(Attempt { submission, index: Some(1) });
    check_log(&server, &mut history);
}
