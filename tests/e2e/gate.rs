//! The gate: rates, and the journal that says what became of each submission.

use std::fs::{self, File};

use serde_json::Value;
use treering_tests::history::History;
use treering_tests::http::Response;
use treering_tests::server::Log;
use treering_tests::submission::{Face, Signer, Submission};

use crate::refusals::write;

/// The lines of a journal, in order.
fn lines(log: &Log) -> Vec<Value> {
    let mut segments: Vec<_> = fs::read_dir(log.data.join("journal"))
        .expect("a served log has a journal")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    segments.sort();
    let text = segments.iter().map(|path| fs::read_to_string(path).expect("lines of text"));
    let text: String = text.collect();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn submission(text: &str) -> Submission {
    Submission::hashedrekord(Face::V2, &Signer::new(), text.as_bytes())
}

#[test]
fn an_address_that_asks_too_often_is_told_when_to_come_back_and_health_is_answered() {
    let log = Log::create();
    let flags = ["--open-writes", "--limit-loopback", "--address-reads", "1"];
    let server = log.serve_with(&[&flags[..], &["--address-writes", "1"]].concat(), None);
    let mut connection = server.connect();
    let refused = (0..100).map(|_| connection.get("/checkpoint").unwrap());
    let refused: Vec<Response> = refused.filter(|response| response.status != 200).collect();
    assert!(refused.len() >= 80, "{} of 100 were refused", refused.len());
    for response in refused {
        assert_eq!(response.status, 429);
        assert_eq!(response.header("treering-error"), Some("rate-limited"));
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    for path in ["/livez", "/readyz", "/healthz", "/ping", "/metrics"] {
        assert_eq!(connection.get(path).unwrap().status, 200, "{path}");
    }
    let submission = submission("often");
    let answers = (0..40).map(|_| connection.post(Face::V2.path(), &submission.request).unwrap());
    let statuses: Vec<u16> = answers.map(|response| response.status).collect();
    assert_eq!(statuses[0], 201);
    assert!(statuses.contains(&409) && statuses.contains(&429), "{statuses:?}");
}

#[test]
fn what_became_of_a_submission_stands_in_the_journal_under_its_name() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 4);
    let mut connection = server.connect();
    let submission = submission("journal");
    let created = connection.post(Face::V2.path(), &submission.request).unwrap();
    let again = connection.post(Face::V2.path(), &submission.request).unwrap();
    let wrong = connection.post(Face::V2.path(), b"{}").unwrap();
    assert_eq!((created.status, again.status, wrong.status), (201, 409, 400));
    assert_eq!(server.terminate().code(), Some(0));

    let lines = lines(&log);
    assert_eq!(lines.len(), 7, "{lines:#?}");
    let named = |response: &Response| {
        let name = response.header("treering-request").expect("each submission has a name");
        let line = lines.iter().find(|line| line["request"] == name);
        line.unwrap_or_else(|| panic!("no line about {name}")).clone()
    };
    let line = named(&created);
    assert_eq!((&line["act"], &line["outcome"]), (&"submit".into(), &"logged".into()));
    assert_eq!((&line["index"], &line["principal"]), (&4.into(), &"anonymous".into()));
    assert_eq!(line["leaf"], submission.entry.leaf().to_hex());
    assert_eq!(
        (&line["kind"], &line["source"]),
        (&"hashedrekord:0.0.2".into(), &"127.0.0.1".into())
    );
    let line = named(&again);
    assert_eq!((&line["act"], &line["outcome"]), (&"submit".into(), &"duplicate".into()));
    assert_eq!(line["index"], 4);
    let line = named(&wrong);
    assert_eq!(line["act"], "refuse");
    assert_eq!(line["outcome"], wrong.header("treering-error").unwrap());
    assert_eq!(line.get("index"), None);
}

#[test]
fn a_submission_that_cannot_be_written_down_fails_and_reads_go_on() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    let first = submission("first");
    assert_eq!(connection.post(Face::V2.path(), &first.request).unwrap().status, 201);
    // Somebody else holds the journal and does not go on.
    let lock = File::open(log.data.join("journal").join("LOCK")).unwrap();
    lock.lock().unwrap();
    let second = submission("second");
    let refused = connection.post(Face::V2.path(), &second.request).unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("treering-error"), Some("journal-failed"));
    assert_eq!(connection.get("/checkpoint").unwrap().status, 200, "reads go on");
    lock.unlock().unwrap();
    // It was logged, and its submitter did not hear: as after any 503, asking again tells.
    let again = connection.post(Face::V2.path(), &second.request).unwrap();
    assert_eq!(again.status, 409);
    let metrics = connection.get("/metrics").unwrap().text();
    let failures = metrics
        .lines()
        .find(|line| line.starts_with("treering_journal_failures_total") && !line.ends_with(" 0"));
    assert!(failures.is_some(), "{metrics}");
}
