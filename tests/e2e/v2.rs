//! The Rekor v2 face, byte for byte: one `TransparencyLogEntry` in protojson, and errors as
//! grpc-gateway writes them.

use serde_json::Value;
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::encoding::to_base64;
use treering_proto::proof::check_inclusion;
use treering_proto::tree::TreeHead;
use treering_tests::history::History;
use treering_tests::server::Log;
use treering_tests::submission::{Face, Signer, Submission};

use crate::refusals::write;
use crate::tiles::{OPEN_TO_BROWSERS, without_date};

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
