//! `POST /api/v1/log/entries/retrieve`: several entries at once, in Rekor's order, from one tree.

use serde_json::{Value, json};
use treering_tests::checker::wire::v1_bundle;
use treering_tests::history::History;
use treering_tests::http::{Connection, Response};
use treering_tests::load::{Load, Watch};
use treering_tests::model::statement;
use treering_tests::server::{Log, Server};
use treering_tests::submission::{Face, Signer, Submission};

use super::{ENTRIES, entry_id, expected_body, refused, verify};
use crate::refusals::write;
use crate::tiles::{OPEN_TO_BROWSERS, without_date};

const RETRIEVE: &str = "/api/v1/log/entries/retrieve";

fn retrieve(connection: &mut Connection, query: &Value) -> Response {
    connection.post(RETRIEVE, query.to_string().as_bytes()).unwrap()
}

/// A log with these entries at indexes 0, 1 and so on.
fn logged(log: &Log, submissions: &[Submission]) -> Server {
    let server = log.serve();
    let mut connection = server.connect();
    for submission in submissions {
        let answer = connection.post(submission.face.path(), &submission.request).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    server
}

fn submissions() -> Vec<Submission> {
    let signer = Signer::new();
    vec![
        Submission::hashedrekord(Face::V1, &signer, b"zero"),
        Submission::dsse(Face::V1, &signer, &statement("one", 1)),
        Submission::hashedrekord(Face::V2, &signer, b"two"),
        Submission::dsse(Face::V2, &signer, &statement("three", 3)),
    ]
}

/// The indexes of an answer's entries, in its order.
fn indexes(response: &Response) -> Vec<u64> {
    assert_eq!(response.status, 200, "{}", response.text());
    let answer = response.json();
    let entry = |entry: &Value| {
        let members = entry.as_object().unwrap();
        assert_eq!(members.len(), 1, "one member each: {entry}");
        members.values().next().unwrap()["logIndex"].as_u64().unwrap()
    };
    answer.as_array().unwrap().iter().map(entry).collect()
}

/// The proposed entry of a v1 submission.
fn proposed(submission: &Submission) -> Value {
    serde_json::from_slice(&submission.request).unwrap()
}

#[test]
fn entries_come_in_rekors_order_with_exactly_these_bytes() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let submissions = submissions();
    let server = logged(&log, &submissions);
    let id = |at: usize| entry_id(&log, &submissions[at]);
    let leaf = |at: usize| id(at)[16..].to_owned();
    let query = json!({
        "logIndexes": [3, 0, 0],
        "entries": [proposed(&submissions[1]), proposed(&submissions[0])],
        "entryUUIDs": [leaf(2).to_uppercase(), id(3), leaf(0), id(1)],
    });
    let mut connection = server.connect();
    let response = retrieve(&mut connection, &query);
    let order = [3, 1, 2, 0, 1, 0, 3, 0, 0];
    assert_eq!(indexes(&response), order);

    let answer = response.json();
    let mut texts = Vec::new();
    for (entry, index) in answer.as_array().unwrap().iter().zip(order) {
        let submission = &submissions[index as usize];
        let id = entry_id(&log, submission);
        verify(&id, &log, submission, entry, &mut history);
        assert_eq!(entry[&id]["verification"]["inclusionProof"]["treeSize"], 4);
        texts.push(expected_body(&id, &log, submission, entry).trim_end().to_owned());
    }
    assert_eq!(response.text(), format!("[{}]\n", texts.join(",")));
    let length = response.body.len();
    let expected = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         {OPEN_TO_BROWSERS}content-length: {length}\r\n\r\n"
    );
    assert_eq!(without_date(&response.head), expected);
}

#[test]
fn asking_for_nothing_gives_nothing_however_it_is_said() {
    let log = Log::create();
    let server = logged(&log, &submissions());
    let mut connection = server.connect();
    for body in [
        "{}",
        " {}\n",
        r#"{"entryUUIDs":null,"entries":null,"logIndexes":null}"#,
        r#"{"entryUUIDs":[],"entries":[],"logIndexes":[]}"#,
        r#"{"entryUUIDs":null,"logIndexes":[]}"#,
        r#"{"unknown":[1]}"#,
    ] {
        for path in [RETRIEVE, "/api/v1/log/entries/retrieve/", "//api/v1/log//entries/retrieve"] {
            let response = connection.post(path, body.as_bytes()).unwrap();
            assert_eq!((response.status, response.text().as_str()), (200, "[]\n"), "{body}");
        }
    }
}

#[test]
fn what_is_not_there_is_left_out() {
    let log = Log::create();
    let submissions = submissions();
    let server = logged(&log, &submissions);
    let mut connection = server.connect();
    let id = entry_id(&log, &submissions[1]);
    let (tree, leaf) = id.split_at(16);
    let absent = "ab".repeat(32);
    let not_logged = Submission::hashedrekord(Face::V1, &Signer::new(), b"zero");
    let query = json!({
        "entryUUIDs": [
            format!("{tree}{absent}"), absent, format!("0000000000000001{leaf}"),
            format!("7fffffffffffffff{leaf}"), id,
        ],
        "entries": [proposed(&not_logged)],
        "logIndexes": [4, i64::MAX, 2, null],
    });
    assert_eq!(indexes(&retrieve(&mut connection, &query)), [1, 2, 0], "null is read as 0");
    // What this log never takes cannot be in it, and does not fail what can.
    let jar = json!({ "kind": "jar", "apiVersion": "0.0.1", "spec": {} });
    let pgp = json!({ "format": "pgp", "content": "", "publicKey": { "content": "" } });
    let pgp = json!({ "data": {}, "signature": pgp });
    let pgp = json!({ "kind": "rekord", "apiVersion": "0.0.1", "spec": pgp });
    let both = json!({ "entries": [jar, proposed(&submissions[0])] });
    assert_eq!(indexes(&retrieve(&mut connection, &both)), [0]);
    for query in [
        json!({ "entries": [jar] }),
        json!({ "entries": [pgp] }),
        json!({ "entryUUIDs": [absent] }),
        json!({ "entries": [proposed(&not_logged)] }),
        json!({ "logIndexes": [4] }),
    ] {
        assert_eq!(retrieve(&mut connection, &query).text(), "[]\n", "{query}");
    }
    // On a log without entries, too.
    let empty = Log::create();
    let server = empty.serve();
    let response = retrieve(&mut server.connect(), &query);
    assert_eq!(response.text(), "[]\n");
}

#[test]
fn ten_are_answered_and_eleven_refused() {
    let log = Log::create();
    let server = logged(&log, &submissions());
    let mut connection = server.connect();
    let ten = json!({ "logIndexes": [0, 1, 2, 3, 0, 1, 2, 3, 0, 1] });
    assert_eq!(indexes(&retrieve(&mut connection, &ten)).len(), 10);
    let id = "ab".repeat(32);
    let spread = json!({ "logIndexes": [0, 1, 2, 3, 0], "entryUUIDs": vec![&id; 5] });
    assert_eq!(indexes(&retrieve(&mut connection, &spread)).len(), 5);
    let entry = json!({ "kind": "hashedrekord", "apiVersion": "0.0.1", "spec": {} });
    for (name, list) in [
        ("logIndexes", json!(vec![0; 11])),
        ("entryUUIDs", json!(vec![&id; 11])),
        ("entries", json!(vec![&entry; 11])),
    ] {
        let response = retrieve(&mut connection, &json!({ name: list }));
        refused(&response, 422, 611, name);
        let message = format!("{name} in body should have at most 10 items");
        assert_eq!(response.json()["message"], message);
    }
    let sum = json!({ "logIndexes": vec![0; 6], "entryUUIDs": vec![&id; 5] });
    let response = retrieve(&mut connection, &sum);
    refused(&response, 422, 422, "eleven in all");
    assert_eq!(response.json()["message"], "more than max allowed 10 entries in request");
}

#[test]
fn queries_that_cannot_be_answered_are_refused_whole() {
    let log = Log::create();
    let submissions = submissions();
    let server = logged(&log, &submissions);
    let mut connection = server.connect();
    let id = entry_id(&log, &submissions[0]);
    let unsigned = {
        let mut entry = proposed(&submissions[0]);
        entry["spec"]["data"]["hash"]["value"] = json!("ab".repeat(32));
        entry
    };
    let kind = |kind: &str| json!({ "kind": kind, "apiVersion": "0.0.1", "spec": {} });
    let malformed = "parsing entry body from \"\" failed, because ";
    let pattern = "entryUUIDs.1 in body should match '^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$'";
    for (body, status, code, message) in [
        (json!([]), 400, 400, malformed),
        (json!({ "entries": {} }), 400, 400, malformed),
        (json!({ "entries": ["{}"] }), 400, 400, malformed),
        (json!({ "entries": [{}] }), 400, 400, malformed),
        (json!({ "entries": [null] }), 400, 400, malformed),
        (json!({ "entries": [kind("x")] }), 400, 400, malformed),
        (json!({ "logIndexes": ["0"] }), 400, 400, malformed),
        (json!({ "entryUUIDs": id }), 400, 400, malformed),
        (json!({ "entryUUIDs": [id, "retrieve"] }), 422, 605, pattern),
        (json!({ "logIndexes": [-1] }), 422, 609, "logIndexes.0 in body should be greater"),
        (
            json!({ "entries": [{ "kind": "dsse" }] }),
            422,
            602,
            "entries.0.apiVersion in body is required",
        ),
        (
            json!({ "entries": [proposed(&submissions[0]), { "kind": "dsse", "apiVersion": "0.0.1" }] }),
            422,
            602,
            "entries.1.spec in body is required",
        ),
        (json!({ "entries": [unsigned], "logIndexes": [0] }), 400, 400, "verifying signature"),
        (
            json!({ "entryUUIDs": [id, format!("0000000000000000{}", &id[16..])] }),
            400,
            400,
            "invalid entryID 0000000000000000",
        ),
        (
            json!({ "entryUUIDs": ["f".repeat(80)], "logIndexes": [0] }),
            400,
            400,
            "invalid entryID ffffffffffffffff",
        ),
    ] {
        let response = retrieve(&mut connection, &body);
        refused(&response, status, code, &body.to_string());
        let told = response.json()["message"].as_str().unwrap().to_owned();
        assert!(told.starts_with(message), "{body}: {told}");
        assert_eq!(response.header("expires"), None, "not a GET");
    }
    let empty = connection.post(RETRIEVE, b"").unwrap();
    refused(&empty, 422, 602, "no body");
    assert_eq!(empty.json()["message"], "entry in body is required");
    let huge = connection.post(RETRIEVE, &vec![b' '; (8 << 20) + 1]).unwrap();
    refused(&huge, 413, 413, "too large");
    assert_eq!(huge.json()["message"], "Request Entity Too Large. Limit set to 8388608");
    refused(&connection.get(RETRIEVE).unwrap(), 422, 605, "read as an id");
    let put = connection.ask("PUT", RETRIEVE, "").unwrap();
    refused(&put, 405, 405, "put");
    assert_eq!(put.header("allow"), Some("GET, HEAD, POST"));
    assert_eq!(server.size(), 4, "a search logs nothing");
}

#[test]
fn while_the_log_grows_every_answer_is_of_one_tree() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 20);
    let (watch, _unheard) = Watch::new();
    let address = server.address;
    let load = std::thread::spawn(move || Load { signers: 4, each: 100 }.run(address, &watch));
    let mut connection = server.connect();
    let mut sizes = Vec::new();
    while !load.is_finished() {
        let newest = server.size() - 1;
        let query = json!({ "logIndexes": [0, newest, 7, newest, 19, newest, 3, 0, 11, newest] });
        let response = retrieve(&mut connection, &query);
        assert_eq!(response.status, 200, "{}", response.text());
        let proof = |entry: &Value| {
            let entry = entry.as_object().unwrap().values().next().unwrap();
            entry["verification"]["inclusionProof"].clone()
        };
        let proofs: Vec<Value> = response.json().as_array().unwrap().iter().map(proof).collect();
        assert_eq!(proofs.len(), 10);
        for name in ["treeSize", "rootHash", "checkpoint"] {
            let all = proofs.iter().map(|proof| &proof[name]);
            assert_eq!(all.filter(|value| **value == proofs[0][name]).count(), 10, "{name}");
        }
        history.saw(proofs[0]["checkpoint"].as_str().unwrap());
        for entry in response.json().as_array().unwrap() {
            let bundle = v1_bundle(entry.to_string().as_bytes());
            assert!(bundle.is_some_and(|bundle| bundle.led_to.is_some()), "{entry}");
        }
        sizes.push(proofs[0]["treeSize"].as_u64().unwrap());
    }
    assert!(sizes.is_sorted());
    history.take(load.join().unwrap());
    assert_eq!(history.acknowledged(), 420);
}

#[test]
fn each_id_and_index_counts_as_a_read() {
    let log = Log::create();
    // 40 reads at once, four a second. Each server counts from the beginning.
    let flags = ["--open-writes", "--limit-loopback", "--address-reads", "4"];
    let statuses = |query: &Value| -> Vec<u16> {
        let server = log.serve_with(&flags, None);
        let mut connection = server.connect();
        (0..40).map(|_| retrieve(&mut connection, query).status).collect()
    };
    assert_eq!(statuses(&json!({ "logIndexes": [0] })), [200; 40]);
    for query in
        [json!({ "logIndexes": vec![0; 10] }), json!({ "entryUUIDs": vec!["0".repeat(64); 10] })]
    {
        let statuses = statuses(&query);
        assert_eq!(statuses[..4], [200; 4], "{query}");
        assert!(statuses.contains(&429), "four hundred at once: {query}");
    }
}

#[test]
fn proposed_entries_count_as_the_work_that_they_are() {
    let log = Log::create();
    // 40 reads at once, four a second; ten proposed entries are worth a hundred.
    let flags = ["--open-writes", "--limit-loopback", "--address-reads", "4"];
    let server = log.serve_with(&flags, None);
    let mut connection = server.connect();
    let submission = Submission::hashedrekord(Face::V1, &Signer::new(), b"costly");
    assert_eq!(connection.post(ENTRIES, &submission.request).unwrap().status, 201);
    let query = json!({ "entries": vec![proposed(&submission); 10] });
    let first = retrieve(&mut connection, &query);
    assert_eq!(indexes(&first), [0; 10], "more than there ever is counts as all that there is");
    let answers = (0..20).map(|_| retrieve(&mut connection, &query));
    let refused = answers.into_iter().find(|answer| answer.status == 429);
    let refused = refused.expect("whoever asks on is sent away");
    assert_eq!(refused.header("treering-error"), Some("rate-limited"));
    assert!(refused.header("retry-after").is_some());
}
