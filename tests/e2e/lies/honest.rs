//! The lying log without a lie: an audit finds nothing in it, every command passes on it, and its
//! answers are the server's, byte for byte.

use std::sync::Arc;

use serde_json::{Value, json};
use treering_proto::hash::sha256;
use treering_proto::identity::LogIdentity;
use treering_tests::check::{check_log, check_served};
use treering_tests::history::{Attempt, History};
use treering_tests::http::{Connection, Response};
use treering_tests::load::{Load, Watch, any_submission};
use treering_tests::lying_log::{Branch, Keys, LyingLog};
use treering_tests::model::statement;
use treering_tests::server::{Log, text};
use treering_tests::submission::{Answer, Face, Signer, Submission, submit};

use super::Person;

#[test]
fn an_audit_of_it_finds_nothing() {
    let keys = Arc::new(Keys::generate(2));
    let log = LyingLog::show(Branch::new(&keys));
    let mut history = History::new(keys.identity());
    check_served(log.address(), &mut history);
    let (watch, _unheard) = Watch::new();
    for each in [1, 70] {
        let outcome = Load { signers: 4, each }.run(log.address(), &watch);
        assert_eq!((outcome.unanswered, outcome.refused), (0, 0));
        history.take(outcome);
        check_served(log.address(), &mut history);
    }
    let attempt = history.attempts[7].clone();
    let mut connection = Connection::open(log.address()).unwrap();
    let again = submit(&mut connection, &attempt.submission).unwrap();
    assert!(matches!(again, Answer::Duplicate { index } if Some(index) == attempt.index));
}

#[test]
fn every_command_passes_on_it() {
    let keys = Arc::new(Keys::generate_dated(3));
    let log = LyingLog::show(super::grown(Branch::new(&keys), 9));
    let person = Person::with_quorum(&keys, &log.url(), 2);
    person.change_trust(|trust| trust["maxCheckpointAgeSeconds"] = 3600.into());
    person.log_info().passes();
    person.sign("honest").passes();
    person.verify("honest", &[]).passes();
    person.verify("honest", &["--online"]).passes();
    person.run(&["search", "subject-name=honest"]).passes();
    let (bundle, public) = (person.bundle("honest"), person.path("signer.pub"));
    let submitted = person.run(&["submit", text(&bundle), "--public-key", text(&public)]);
    submitted.passes();
    assert_eq!((&submitted.json()["new"], &submitted.json()["index"]), (&json!(false), &json!(9)));
    for form in ["--tlog-proof", "--rekor-v1"] {
        person.run(&["export", text(&bundle), form]).passes();
    }
    let (url, state) = (log.url(), person.path("state"));
    let said = person.run(&["compare", &url, text(&bundle)]);
    assert_eq!((said.code, said.json()["relation"].as_str()), (Some(0), Some("same")), "{said:?}");
    person.finds_nothing(&["--max-age", "1h"]);
    person.run(&["search", "subject-name=honest", "--index", text(&state), "--online"]).passes();
    person.run(&["audit"]).passes();
    person.log_info().passes();
    assert_eq!(person.evidence(), []);
}

/// Requests whose answers are the same bytes from both, given the same keys and entries.
fn common_requests(submissions: &[Submission]) -> Vec<String> {
    let mut paths = vec![
        "/checkpoint".to_owned(),
        "/api/v2/checkpoint".to_owned(),
        "/tile/0/000.p/5".to_owned(),
        "/tile/0/001".to_owned(),
        "/tile/0/0".to_owned(),
        "/tile/entries/000.p/5".to_owned(),
        "/api/v2/tile/entries/000.p/1".to_owned(),
        "/tile/1/000".to_owned(),
        "/api/treering/v1/entries/5".to_owned(),
        "/api/treering/v1/entries/x".to_owned(),
        "/api/v1/log/proof?firstSize=2&lastSize=5".to_owned(),
        "/api/treering/v1/checkpoints?around=5".to_owned(),
        "/nothing/here".to_owned(),
    ];
    for (index, submission) in submissions.iter().enumerate() {
        paths.push(format!("/api/treering/v1/entries/{index}"));
        if let Some(statement) = submission.entry.statement() {
            paths.push(format!("/api/treering/v1/statements/{}", statement.payload_hash));
        }
    }
    paths.push(format!("/api/treering/v1/statements/{}", sha256(b"nowhere")));
    paths
}

/// What may differ between two logs with the same keys and entries: times, and ECDSA signatures.
fn without_chance(body: &[u8]) -> Value {
    fn clean(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(clean),
            Value::Object(members) => {
                for (name, member) in members {
                    let note = ["checkpoint", "signedTreeHead", "v1Note"].contains(&name.as_str());
                    let chance = ["time", "integratedTime", "signedEntryTimestamp"];
                    if note && let Some(text) = member.as_str() {
                        *member = text.split("\n\n").next().unwrap().into();
                    } else if chance.contains(&name.as_str()) {
                        *member = Value::Null;
                    } else {
                        clean(member);
                    }
                }
            }
            _ => {}
        }
    }
    let mut value = serde_json::from_slice(body).unwrap();
    clean(&mut value);
    value
}

/// The server, and a lying log with its keys, which get the same requests.
struct Both {
    real: Connection,
    lying: Connection,
}

impl Both {
    fn get(&mut self, path: &str) -> [Response; 2] {
        [&mut self.real, &mut self.lying].map(|connection| connection.get(path).unwrap())
    }

    fn post(&mut self, path: &str, body: &[u8]) -> [Response; 2] {
        [&mut self.real, &mut self.lying].map(|connection| connection.post(path, body).unwrap())
    }
}

#[test]
fn its_answers_are_those_of_the_server() {
    let real = Log::create();
    let server = real.serve();
    let lying = LyingLog::show(Branch::new(&Arc::new(Keys::stolen(&real, 0))));
    let lies = Connection::open(lying.address()).unwrap();
    let mut both = Both { real: server.connect(), lying: lies };
    let signer = Signer::new();
    let mut submissions: Vec<Submission> = (0..4).map(|_| any_submission(&signer)).collect();
    submissions.push(Submission::dsse(Face::V1, &signer, &statement("the same", 1)));
    let mut history = History::new(&real.identity);
    for (index, submission) in (0..).zip(&submissions) {
        let path = submission.face.path();
        let answers = both.post(path, &submission.request);
        assert_eq!(answers[0].status, 201, "{}", answers[0].text());
        same_but_for_chance(path, &answers);
        history.attempts.push(Attempt { submission: submission.clone(), index: Some(index) });
        let answers = both.post(path, &submission.request);
        assert_eq!(answers[0].status, 409);
        same_heads(path, &answers);
    }
    for path in common_requests(&submissions) {
        let answers = both.get(&path);
        assert_eq!(answers[0].text(), answers[1].text(), "{path}");
        same_heads(&path, &answers);
    }
    let key = format!("public-key={}", signer.key.fingerprint());
    for path in [
        "/api/v1/log".to_owned(),
        "/api/v1/log/entries?logIndex=2".to_owned(),
        format!("/api/v1/log/entries/{}", submissions[1].entry.leaf()),
        format!("/api/treering/v1/search?{key}&limit=2"),
        format!("/api/treering/v1/search?{key}&limit=2&order=oldest&cursor=1"),
        format!("/api/treering/v1/search?{key}&subject-name=the%20same"),
        "/api/treering/v1/search?subject-name=never".to_owned(),
        "/api/treering/v1/checkpoints?around=2".to_owned(),
        "/api/treering/v1/checkpoints?around=0".to_owned(),
        "/api/treering/v1/checkpoints?from=1&limit=2".to_owned(),
        "/api/treering/v1/checkpoints?from=4".to_owned(),
    ] {
        same_but_for_chance(&path, &both.get(&path));
    }
    let (known, unknown) = (sha256(&statement("the same", 1)), sha256(b"nowhere"));
    let request = json!({ "hashes": [known.to_hex(), unknown.to_hex()] }).to_string();
    let [honest, lies] = both.post("/api/treering/v1/statements", request.as_bytes());
    assert_eq!(honest.text(), lies.text());
    for answer in both.get("/api/treering/v1/identity") {
        assert_eq!(LogIdentity::open(&answer.body).as_ref(), Ok(&real.identity));
    }
    check_served(lying.address(), &mut history);
    check_log(&server, &mut history);
}

fn same_heads(path: &str, [real, lying]: &[Response; 2]) {
    assert_eq!(real.status, lying.status, "{path}");
    for header in ["content-type", "treering-error", "location", "x-log-index", "etag"] {
        assert_eq!(real.header(header), lying.header(header), "{path}: {header}");
    }
}

fn same_but_for_chance(path: &str, answers: &[Response; 2]) {
    same_heads(path, answers);
    let [real, lying] = answers;
    assert_eq!(without_chance(&real.body), without_chance(&lying.body), "{path}");
    let members = |response: &Response| {
        let text = response.text();
        let names = text.split('"').filter(|part| part.chars().all(|c| c.is_ascii_alphabetic()));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(members(real), members(lying), "{path}: another order of members");
}
