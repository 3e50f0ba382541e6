//! The Rekor v2 face, byte for byte: one `TransparencyLogEntry` in protojson, and errors as
//! grpc-gateway writes them. And what a client hears that hung up and asks again.

use serde_json::Value;
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::encoding::to_base64;
use treering_proto::proof::check_inclusion;
use treering_proto::tree::TreeHead;
use treering_tests::check::check_log;
use treering_tests::history::{Attempt, History};
use treering_tests::server::{Log, Server};
use treering_tests::submission::{Answer, Face, Signer, Submission, submit};
use treering_tests::witness::Manner;

use crate::gate::lines;
use crate::refusals::write;
use crate::tiles::{OPEN_TO_BROWSERS, without_date};
use crate::witnesses::{Witnessed, metric};

const ENTRIES: &str = "/api/v2/log/entries";

#[test]
fn a_created_entry_has_exactly_these_bytes_and_a_repetition_its_index() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 4);
    let submission = Submission::hashedrekord(Face::V2, &Signer::new(), b"golden");
    let mut connection = server.connect();
    let created = connection.post(ENTRIES, &submission.request).unwrap();
    let length = created.body.len();
    let expected = format!(
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         {OPEN_TO_BROWSERS}content-length: {length}\r\n\r\n"
    );
    assert_eq!(without_date(&created.head), expected);
    let answer = created.json();
    let proof = &answer["inclusionProof"];
    let hashes: Vec<String> =
        proof["hashes"].as_array().unwrap().iter().map(Value::to_string).collect();
    let expected = format!(
        "{{\"logIndex\":\"4\",\"logId\":{{\"keyId\":\"{}\"}},\
         \"kindVersion\":{{\"kind\":\"hashedrekord\",\"version\":\"0.0.2\"}},\
         \"integratedTime\":\"0\",\"inclusionPromise\":null,\
         \"inclusionProof\":{{\"logIndex\":\"4\",\"rootHash\":{},\"treeSize\":\"5\",\
         \"hashes\":[{}],\"checkpoint\":{{\"envelope\":{}}}}},\"canonicalizedBody\":\"{}\"}}",
        to_base64(log.identity.note_key().key_id_full().as_bytes()),
        proof["rootHash"],
        hashes.join(","),
        proof["checkpoint"]["envelope"],
        to_base64(submission.entry.body()),
    );
    assert_eq!(created.text(), expected);

    let entry = TransparencyLogEntry::parse(&created.body).unwrap();
    let proof = &entry.inclusion_proof;
    let head = history.saw(&proof.checkpoint);
    assert_eq!(head, TreeHead { size: proof.tree_size, root: proof.root_hash });
    let leaf = submission.entry.leaf();
    assert_eq!(check_inclusion(proof.log_index, head, leaf, &proof.hashes), Ok(()));

    let again = connection.post(ENTRIES, &submission.request).unwrap();
    let message = "an equivalent entry already exists in the transparency log with index 4";
    let body = format!("{{\"code\":6,\"message\":\"{message}\",\"details\":[]}}\n");
    let length = body.len();
    let expected = format!(
        "HTTP/1.1 409 Conflict\r\nx-log-index: 4\r\ncontent-type: application/json\r\n\
         treering-error: duplicate\r\ncache-control: no-store\r\n\
         {OPEN_TO_BROWSERS}content-length: {length}\r\n\r\n"
    );
    assert_eq!((without_date(&again.head), again.text()), (expected, body));
}

#[test]
fn an_entry_is_the_same_whichever_way_it_is_asked_for() {
    let log = Log::create();
    let server = log.serve();
    let submission =
        Submission::dsse(Face::V2, &Signer::new(), &treering_tests::model::statement("asked", 1));
    let mut connection = server.connect();
    let created = connection.post(ENTRIES, &submission.request).unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let read = connection.get("/api/treering/v1/entries/0").unwrap();
    assert_eq!(read.body, created.body);
    let trailing = connection.post("//api/v2/log//entries/", &submission.request).unwrap();
    assert_eq!(trailing.header("x-log-index"), Some("0"));
}

/// Waits until `is_so`; each try asks somebody else something.
fn wait_until(is_so: impl Fn() -> bool, what: &str) {
    assert!((0..TRIES_MAX).any(|_| is_so()), "{what} never happened");
}

/// Waits until so many clients listen for the one entry that is on its way.
fn wait_until_listening(server: &Server, clients: f64) {
    let listen = || metric(server, "treering_pool_listening") == Some(clients);
    wait_until(listen, &format!("{clients} clients that listen"));
    assert_eq!(metric(server, "treering_pool_depth"), Some(1.0), "it is on its way");
}

/// As sigstore-js, which gives up after 5 s and sends the same again: while the quorum is slow its
/// second try must not be told of a duplicate that nobody heard of.
#[test]
fn who_hangs_up_and_sends_the_same_again_hears_that_the_entry_is_logged() {
    let all = Witnessed::new(1, 1);
    let mut history = History::new(&all.log.identity);
    let server = all.serve();
    write(&server, &mut history, 4);
    all.witnesses[0].set_manner(Manner::Silent);
    let submission = Submission::hashedrekord(Face::V2, &Signer::new(), b"slow");
    let mut impatient = server.connect();
    let length = submission.request.len();
    let head = format!("POST {ENTRIES} HTTP/1.1\r\nhost: log\r\ncontent-length: {length}\r\n\r\n");
    impatient.send(&[head.as_bytes(), &submission.request].concat()).unwrap();
    wait_until_listening(&server, 1.0);
    drop(impatient);
    wait_until_listening(&server, 0.0);

    let (mut connection, request) = (server.connect(), submission.request.clone());
    let again = std::thread::spawn(move || connection.post(ENTRIES, &request).unwrap());
    wait_until_listening(&server, 1.0);
    all.witnesses[0].set_manner(Manner::Honest);
    let created = again.join().unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let entry = TransparencyLogEntry::parse(&created.body).unwrap();
    assert_eq!(entry.log_index.get(), 4);
    let later = submit(&mut server.connect(), &submission).unwrap();
    assert!(matches!(later, Answer::Duplicate { index: 4 }), "{later:?}");

    // The line about the first was written by nobody's connection.
    let leaf = submission.entry.leaf().to_hex();
    let about = || lines(&all.log).into_iter().filter(|line| line["leaf"] == leaf.as_str());
    wait_until(|| server.get("/livez").status == 200 && about().count() == 3, "a third line");
    let ends: Vec<(Value, Value)> =
        about().map(|line| (line["outcome"].clone(), line["index"].clone())).collect();
    assert!(ends.iter().all(|(_, index)| *index == 4), "{ends:?}");
    let logged = about().find(|line| line["outcome"] == "logged").expect("who heard 201");
    assert_eq!(logged["request"], created.header("treering-request").unwrap());
    let duplicates = ends.iter().filter(|(outcome, _)| outcome == "duplicate").count();
    assert_eq!((duplicates, ends.len()), (2, 3), "{ends:?}");
    history.attempts.push(Attempt { submission, index: Some(4) });
    check_log(&server, &mut history);
}

/// How often it is looked whether something happened.
const TRIES_MAX: usize = 20_000;
