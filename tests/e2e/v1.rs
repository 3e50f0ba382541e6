//! The Rekor v1 face, byte for byte: its clients cut answers at fixed offsets, take `ETag` for a
//! key, and refuse fields that they do not know.

mod document;
mod duplicates;
mod index;
mod requests;
mod retrieve;

use serde_json::{Value, json};
use treering_proto::api::v1::{EntryId, set_payload};
use treering_proto::encoding::{from_base64, to_base64};
use treering_proto::hash::Hash;
use treering_proto::proof::{check_consistency, check_inclusion};
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize};
use treering_tests::check::check_log;
use treering_tests::history::History;
use treering_tests::http::Response;
use treering_tests::server::Log;
use treering_tests::submission::{Face, Signer, Submission};

use crate::refusals::write;
use crate::tiles::{OPEN_TO_BROWSERS, without_date};

const ENTRIES: &str = "/api/v1/log/entries";

/// The headers of every v1 GET after those that say what it is, errors included.
fn uncached() -> String {
    format!(
        "cache-control: no-cache, no-store, no-transform, must-revalidate, private, max-age=0\r\n\
         {OPEN_TO_BROWSERS}\
         expires: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
         pragma: no-cache\r\n\
         x-accel-expires: 0\r\n"
    )
}

fn entry_id(log: &Log, submission: &Submission) -> String {
    let leaf = submission.entry.leaf();
    EntryId { tree_id: log.identity.tree_id(), leaf }.to_string()
}

/// The text of a v1 answer, written here from its parts: compact, alphabetical, one LF.
fn expected_body(id: &str, log: &Log, submission: &Submission, answer: &Value) -> String {
    let entry = &answer[id];
    let proof = &entry["verification"]["inclusionProof"];
    let hashes: Vec<String> =
        proof["hashes"].as_array().unwrap().iter().map(Value::to_string).collect();
    format!(
        "{{\"{id}\":{{\"body\":\"{}\",\"integratedTime\":{},\"logID\":\"{}\",\"logIndex\":{},\
         \"verification\":{{\"inclusionProof\":{{\"checkpoint\":{},\"hashes\":[{}],\
         \"logIndex\":{},\"rootHash\":{},\"treeSize\":{}}},\"signedEntryTimestamp\":{}}}}}}}\n",
        to_base64(submission.entry.body()),
        entry["integratedTime"].as_u64().unwrap(),
        log.identity.v1_log_id(),
        entry["logIndex"].as_u64().unwrap(),
        proof["checkpoint"],
        hashes.join(","),
        proof["logIndex"].as_u64().unwrap(),
        proof["rootHash"],
        proof["treeSize"].as_u64().unwrap(),
        entry["verification"]["signedEntryTimestamp"],
    )
}

/// What a v1 client verifies: the timestamp, the proof, the checkpoint.
fn verify(id: &str, log: &Log, submission: &Submission, answer: &Value, history: &mut History) {
    let entry = &answer[id];
    let index = entry["logIndex"].as_u64().unwrap();
    let time = entry["integratedTime"].as_u64().unwrap();
    let payload =
        set_payload(entry["body"].as_str().unwrap(), time, entry["logID"].as_str().unwrap(), index);
    let set = entry["verification"]["signedEntryTimestamp"].as_str().unwrap();
    let set = from_base64(set).unwrap();
    assert_eq!(log.identity.v1_key().verify(&payload, &set), Ok(()));
    let proof = &entry["verification"]["inclusionProof"];
    let note = proof["checkpoint"].as_str().unwrap();
    assert_eq!(note.lines().skip(4).count(), 1, "v1 clients refuse a second signature: {note}");
    let head = history.saw(note);
    assert_eq!(proof["treeSize"], head.size.get());
    assert_eq!(proof["rootHash"], head.root.to_hex());
    let at = LeafIndex::new(proof["logIndex"].as_u64().unwrap()).unwrap();
    let leaf = submission.entry.leaf();
    assert_eq!(check_inclusion(at, head, leaf, &hashes(&proof["hashes"])), Ok(()));
}

fn hashes(list: &Value) -> Vec<Hash> {
    let texts = list.as_array().unwrap().iter().map(|hash| hash.as_str().unwrap());
    texts.map(|text| Hash::from_slice(&hex_bytes(text)).unwrap()).collect()
}

fn hex_bytes(text: &str) -> Vec<u8> {
    treering_proto::encoding::from_hex_lower(text).unwrap()
}

#[test]
fn a_created_entry_has_exactly_these_bytes_and_so_has_its_repetition() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    let submission = Submission::hashedrekord(Face::V1, &Signer::new(), b"golden");
    let id = entry_id(&log, &submission);
    let mut connection = server.connect();

    let created = connection.post(ENTRIES, &submission.request).unwrap();
    let length = created.body.len();
    let expected = format!(
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         {OPEN_TO_BROWSERS}etag: {id}\r\nlocation: {ENTRIES}/{id}\r\n\
         content-length: {length}\r\n\r\n"
    );
    assert_eq!(without_date(&created.head), expected);
    assert_eq!(created.text(), expected_body(&id, &log, &submission, &created.json()));
    verify(&id, &log, &submission, &created.json(), &mut history);

    let again = connection.post(ENTRIES, &submission.request).unwrap();
    let message =
        format!("an equivalent entry already exists in the transparency log with UUID {id}");
    let body = format!("{{\"code\":409,\"message\":\"{message}\"}}\n");
    let length = body.len();
    let expected = format!(
        "HTTP/1.1 409 Conflict\r\nlocation: {ENTRIES}/{id}\r\ncontent-type: application/json\r\n\
         treering-error: duplicate\r\ncache-control: no-store\r\n\
         {OPEN_TO_BROWSERS}content-length: {length}\r\n\r\n"
    );
    assert_eq!((without_date(&again.head), again.text()), (expected, body));
}

#[test]
fn an_entry_reads_the_same_by_index_and_by_every_spelling_of_its_id() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    let submission = Submission::hashedrekord(Face::V1, &Signer::new(), b"read");
    let id = entry_id(&log, &submission);
    let mut connection = server.connect();
    let created = connection.post(ENTRIES, &submission.request).unwrap();
    assert_eq!(created.status, 201);
    let leaf = &id[16..];
    for path in [
        format!("{ENTRIES}?logIndex=0"),
        format!("{ENTRIES}/{id}"),
        format!("{ENTRIES}/{leaf}"),
        format!("{ENTRIES}/{}", id.to_uppercase()),
        format!("{ENTRIES}/{id}/"),
        format!("//api/v1//log/entries//{id}"),
        format!("{ENTRIES}/?logIndex=0"),
    ] {
        let read = connection.get(&path).unwrap();
        assert_eq!((read.status, &read.body), (200, &created.body), "{path}");
        let length = created.body.len();
        let expected = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{}\
             content-length: {length}\r\n\r\n",
            uncached()
        );
        assert_eq!(without_date(&read.head), expected, "{path}");
        let head = connection.ask("HEAD", &path, "").unwrap();
        assert_eq!(without_date(&head.head), expected, "HEAD {path}");
    }
    // An entry of the other face gets its timestamp when it is read.
    let other = Submission::hashedrekord(Face::V2, &Signer::new(), b"other face");
    assert_eq!(connection.post(Face::V2.path(), &other.request).unwrap().status, 201);
    let read = connection.get(&format!("{ENTRIES}?logIndex=1")).unwrap();
    verify(&entry_id(&log, &other), &log, &other, &read.json(), &mut history);
}

#[test]
fn absent_entries_have_no_body_and_impossible_ones_a_code() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 4);
    let mut connection = server.connect();
    let absent = "ab".repeat(32);
    let tree = log.identity.tree_id().to_hex();
    for path in [
        format!("{ENTRIES}/{absent}"),
        format!("{ENTRIES}/{tree}{absent}"),
        format!("{ENTRIES}/0000000000000001{absent}"),
        format!("{ENTRIES}/0000000000000000{absent}"),
        format!("{ENTRIES}?logIndex=4"),
        format!("{ENTRIES}?logIndex=9223372036854775807"),
    ] {
        let response = connection.get(&path).unwrap();
        let expected = format!(
            "HTTP/1.1 404 Not Found\r\ntreering-error: no-entry\r\n{}content-length: 0\r\n\r\n",
            uncached()
        );
        assert_eq!(without_date(&response.head), expected, "{path}");
    }
    for (query, code) in [
        ("", 602),
        ("?logIndex=", 602),
        ("?logIndex=one", 601),
        ("?logIndex=-1", 609),
        ("?logIndex=9223372036854775808", 601),
        ("/xyz", 605),
        ("/retrieve", 605),
    ] {
        let response = connection.get(&format!("{ENTRIES}{query}")).unwrap();
        refused(&response, 422, code, query);
    }
    for tree in ["8000000000000000", "ffffffffffffffff"] {
        let response = connection.get(&format!("{ENTRIES}/{tree}{absent}")).unwrap();
        refused(&response, 400, 400, tree);
        let message = format!("validation error: {tree} is not a valid TreeID");
        assert_eq!(response.json()["message"], message);
    }
}

fn refused(response: &Response, status: u16, code: u64, what: &str) {
    assert_eq!(response.status, status, "{what}: {}", response.text());
    assert_eq!(response.json()["code"], code, "{what}");
    assert_eq!(response.json().as_object().unwrap().len(), 2, "{what}");
}

#[test]
fn consistency_proofs_hold_and_sizes_that_make_no_sense_are_refused() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    for _ in 0..7 {
        write(&server, &mut history, 4);
    }
    check_log(&server, &mut history);
    let heads: Vec<TreeHead> = history.heads().collect();
    let current = *heads.last().unwrap();
    let mut connection = server.connect();
    let mut ask = |query: &str| connection.get(&format!("/api/v1/log/proof?{query}")).unwrap();
    for (position, first) in heads.iter().enumerate().filter(|(_, head)| head.size.get() > 0) {
        for last in &heads[position..] {
            let response = ask(&format!("firstSize={}&lastSize={}", first.size, last.size));
            assert_eq!(response.status, 200, "{}", response.text());
            let answer = response.json();
            assert_eq!(answer["rootHash"], current.root.to_hex(), "Rekor says the current root");
            let proof = hashes(&answer["hashes"]);
            assert_eq!(check_consistency(*first, *last, &proof), Ok(()));
            let is_equal = first.size == last.size;
            assert!(!is_equal || proof.is_empty());
        }
    }
    let root = current.root;
    let equal = ask("firstSize=28&lastSize=28").text();
    assert_eq!(equal, format!("{{\"hashes\":[],\"rootHash\":\"{root}\"}}\n"));
    let from_one = ask("lastSize=28").json();
    let explicit = ask("firstSize=1&lastSize=28").json();
    assert_eq!(from_one, explicit, "the first size is 1 unless it is said");
    refused(&ask("firstSize=5&lastSize=4"), 400, 400, "reversed");
    refused(&ask("firstSize=5&lastSize=29"), 400, 400, "beyond");
    refused(&ask("firstSize=5"), 422, 602, "no last size");
    refused(&ask("firstSize=0&lastSize=4"), 422, 609, "from nothing");
    refused(&ask("firstSize=x&lastSize=4"), 422, 601, "no number");
    refused(&ask("firstSize=1&lastSize=4&treeID=x"), 422, 605, "no tree");
    for (query, message) in [
        ("firstSize=5&lastSize=4&treeID=1", "firstSize(5) must be less than lastSize(4)"),
        ("lastSize=4&treeID=1", "no log range found for tree ID 1"),
        ("lastSize=4&treeID=0", "no log range found for tree ID 0"),
        ("lastSize=4&treeID=9223372036854775808", "invalid tree ID specified: 9223372036854775808"),
        (
            "lastSize=29",
            "the tree size requested(29) was greater than what is currently observable(28)",
        ),
    ] {
        let response = ask(query);
        refused(&response, 400, 400, query);
        assert_eq!(response.json()["message"], message, "{query}");
    }
    refused(&ask("lastSize="), 422, 602, "no last size");
    refused(&ask("lastSize=0"), 422, 609, "to nothing");
    let last_counts = ask("lastSize=x&firstSize=&lastSize=28&treeID=").json();
    assert_eq!(last_counts, explicit, "of several values the last one counts");
    let tree = log.identity.tree_id();
    assert_eq!(ask(&format!("firstSize=1&lastSize=4&treeID={tree}")).status, 200);
    assert!(TreeSize::new(28).is_some_and(|size| size == current.size));
}

#[test]
fn log_information_and_public_key_have_exactly_these_bytes() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 4);
    let info = server.get("/api/v1/log");
    let note = info.json()["signedTreeHead"].clone();
    let head = history.saw(note.as_str().unwrap());
    let expected = format!(
        "{{\"inactiveShards\":null,\"rootHash\":\"{}\",\"signedTreeHead\":{note},\
         \"treeID\":\"{}\",\"treeSize\":4}}\n",
        head.root,
        log.identity.tree_id()
    );
    assert_eq!(info.text(), expected);
    let start = format!("127.0.0.1 - {}\n4\n", log.identity.tree_id());
    assert!(note.as_str().unwrap().starts_with(&start), "{note}");

    let pem = log.identity.v1_key().to_pem();
    let mut connection = server.connect();
    let path = "/api/v1/log/publicKey";
    let plain = connection.ask("GET", path, "accept: application/x-pem-file\r\n").unwrap();
    assert_eq!(
        (plain.text(), plain.header("content-type")),
        (pem.clone(), Some("application/x-pem-file"))
    );
    assert_eq!(connection.get(path).unwrap().text(), pem);
    let quoted = connection.ask("GET", path, "accept: application/json\r\n").unwrap();
    assert_eq!(quoted.text(), format!("{}\n", json!(pem)));
    let tree = log.identity.tree_id();
    assert_eq!(connection.get(&format!("{path}?treeID={tree}")).unwrap().text(), pem);
    for tree in ["1", "0", "9223372036854775808"] {
        let response = connection.get(&format!("{path}?treeID={tree}")).unwrap();
        refused(&response, 400, 400, tree);
        assert_eq!(response.json()["message"], "Bad Request");
    }
    refused(&connection.get(&format!("{path}?treeID=-1")).unwrap(), 422, 605, "no number");
}

#[test]
fn browsers_may_read_and_methods_that_make_no_sense_are_refused() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    for path in [ENTRIES, "/checkpoint", "/api/v2/log/entries"] {
        let preflight = connection.ask("OPTIONS", path, "origin: https://a.example\r\n").unwrap();
        assert_eq!(preflight.status, 204, "{path}");
        assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
        assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, HEAD, POST"));
        let headers = "accept, content-type, x-requested-with";
        assert_eq!(preflight.header("access-control-allow-headers"), Some(headers));
    }
    let response = connection.ask("DELETE", "/api/v1/log", "").unwrap();
    refused(&response, 405, 405, "delete");
    assert_eq!(response.header("allow"), Some("GET, HEAD"));
    let message = "method DELETE is not allowed, but [GET, HEAD] are";
    assert_eq!(response.json()["message"], message);
    let response = connection.ask("PUT", "/checkpoint", "").unwrap();
    assert_eq!(
        (response.status, response.json()["label"].as_str()),
        (405, Some("method-not-allowed"))
    );
    let response = connection.get("/api/v2/log/entries").unwrap();
    assert_eq!((response.status, &response.json()["code"]), (501, &json!(12)));
    let response = connection.get("/api/v2/nothing").unwrap();
    assert_eq!((response.status, &response.json()["code"]), (404, &json!(5)));
    let response = connection.get("/api/v1/nothing").unwrap();
    refused(&response, 404, 404, "no path");
    assert_eq!(response.json()["message"], "path /api/v1/nothing was not found");
}
