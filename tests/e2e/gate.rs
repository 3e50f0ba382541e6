//! The gate: rates, and the journal that says what became of each submission.

use std::fs::{self, File};

use serde_json::Value;
use treering_tests::history::History;
use treering_tests::http::Response;
use treering_tests::server::Log;
use treering_tests::submission::{Face, Signer, Submission};

use crate::refusals::write;

/// The lines of a journal, in order.
pub fn lines(log: &Log) -> Vec<Value> {
    let mut segments: Vec<_> = fs::read_dir(log.data.join("journal"))
        .expect("a served log has a journal")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    segments.sort();
    let text = segments.iter().map(|path| fs::read_to_string(path).expect("lines of text"));
    let text: String = text.collect();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    // What the journal says of itself is no submission.
    lines.filter(|line| matches!(line["act"].as_str(), Some("submit" | "refuse"))).collect()
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
fn while_nothing_can_be_written_down_nothing_is_taken_and_reads_go_on() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    let mut post = |submission: &Submission| {
        connection.post(Face::V2.path(), &submission.request).expect("an answer")
    };
    assert_eq!(post(&submission("first")).status, 201);
    // Somebody else holds the journal and does not go on.
    let lock = File::open(log.data.join("journal").join("LOCK")).unwrap();
    lock.lock().unwrap();
    let (second, third) = (submission("second"), submission("third"));
    for submission in [&second, &third] {
        let refused = post(submission);
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.header("treering-error"), Some("journal-failed"));
    }
    assert_eq!(server.get("/checkpoint").status, 200, "reads go on");
    lock.unlock().unwrap();
    // The first refusal that can be written down again says so for all.
    assert_eq!(post(&third).status, 503);
    // The second was taken before anybody knew: as after any 503, asking again tells.
    assert_eq!(post(&second).status, 409);
    assert_eq!(post(&third).status, 201, "it was not taken while nothing could be written");
    let metrics = server.get("/metrics").text();
    let is_failure = |line: &&str| line.starts_with("treering_journal_failures_total");
    let failures = metrics.lines().filter(is_failure).find(|line| !line.ends_with(" 0"));
    assert!(failures.is_some(), "{metrics}");
}

#[test]
fn hanging_up_keeps_nothing_out_of_the_journal() {
    let log = Log::create();
    let server = log.serve();
    let submission = submission("gone");
    let mut connection = server.connect();
    let length = submission.request.len();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: log\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {length}\r\n\r\n",
        Face::V2.path()
    );
    connection.send(head.as_bytes()).unwrap();
    assert_eq!(connection.receive(false).unwrap().status, 100, "the gate has let it in");
    connection.send(&submission.request).unwrap();
    drop(connection);
    let line = (0..TRIES_MAX).find_map(|_| {
        // Each try waits for the server to answer somebody else.
        assert_eq!(server.get("/livez").status, 200);
        lines(&log).into_iter().next()
    });
    let line = line.expect("a line about a submission whose client is gone");
    // Whether the body was whole before the end was noticed is up to the network.
    if line["act"] == "submit" {
        assert_eq!((&line["index"], server.size()), (&0.into(), 1));
        assert_eq!(line["leaf"], submission.entry.leaf().to_hex());
    } else {
        assert_eq!((&line["outcome"], server.size()), (&"body-cut-off".into(), 0));
    }
}

#[test]
fn a_web_page_submits_with_a_token_or_not_at_all() {
    let log = Log::create();
    let server = log.serve();
    let submission = submission("page");
    let headers = "origin: https://elsewhere.example\r\ncontent-type: text/plain\r\n";
    let mut connection = server.connect();
    let refused = connection.post_with(Face::V2.path(), headers, &submission.request).unwrap();
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header("treering-error"), Some("cross-site"));
    assert_eq!(server.size(), 0);
}

/// How often a line is looked for.
const TRIES_MAX: usize = 20_000;
