//! The notes that a log keeps, and gives to whoever wants to date an entry or hold it to its word.

use serde_json::Value;
use treering_tests::history::History;
use treering_tests::load::any_submission;
use treering_tests::server::{Log, Server};
use treering_tests::submission::{Signer, submit};

const PATH: &str = "/api/treering/v1/checkpoints";

/// Adds entries one after the other, so that there is a checkpoint for each size.
fn grow(server: &Server, count: usize) {
    let signer = Signer::new();
    let mut connection = server.connect();
    for _ in 0..count {
        submit(&mut connection, &any_submission(&signer)).unwrap();
    }
}

fn sizes(list: &Value) -> Vec<u64> {
    let one = |checkpoint: &Value| checkpoint["size"].as_str().unwrap().parse().unwrap();
    list.as_array().unwrap().iter().map(one).collect()
}

#[test]
fn the_notes_around_an_entry_lie_on_both_sides_of_it() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    grow(&server, 5);
    for index in 0..5_u64 {
        let answer = server.get(&format!("{PATH}?around={index}")).json();
        assert_eq!(answer["treeSize"], "5");
        for (side, size) in [("before", index), ("after", index + 1)] {
            let checkpoint = &answer[side];
            assert_eq!(checkpoint["size"], size.to_string());
            assert!(checkpoint["time"].as_u64().unwrap() > 0 || size == 0);
            for face in ["note", "v1Note"] {
                let head = history.saw(checkpoint[face].as_str().unwrap());
                assert_eq!(head.size.get(), size, "{side} of {index}, {face}");
            }
        }
    }
    let missing = server.get(&format!("{PATH}?around=5"));
    assert_eq!(
        (missing.status, missing.header("treering-error")),
        (404, Some("no-entry-at-index"))
    );
}

#[test]
fn all_kept_notes_are_listed_in_pages() {
    let log = Log::create();
    let server = log.serve();
    grow(&server, 7);
    let (mut from, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let page = server.get(&format!("{PATH}?from={from}&limit=3")).json();
        let found = sizes(&page["checkpoints"]);
        assert!(found.len() <= 3);
        seen.extend(found);
        match page["next"].as_str() {
            Some(next) => from = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, (0..=7).collect::<Vec<u64>>());
    let beyond = server.get(&format!("{PATH}?from=8")).json();
    assert_eq!(sizes(&beyond["checkpoints"]), Vec::<u64>::new());
    assert_eq!(beyond["next"], Value::Null);
}

#[test]
fn other_questions_are_refused() {
    let log = Log::create();
    let server = log.serve();
    for query in [
        "",
        "?",
        "?around=",
        "?around=-1",
        "?around=01",
        "?around=+1",
        "?around=18446744073709551616",
        "?around=18446744073709551615",
        "?around=0&from=0",
        "?around=0&limit=3",
        "?limit=3",
        "?from=0&order=newest",
        "?from=x",
    ] {
        let answer = server.get(&format!("{PATH}{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert_eq!(answer.header("treering-error"), Some("malformed-parameter"), "{query}");
    }
}
