//! `POST /api/v1/index/retrieve`: entries by digest, key and signer, as Rekor's clients ask.

use serde_json::{Value, json};
use treering_proto::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::encoding::to_base64;
use treering_proto::entry::VerifiedEntry;
use treering_proto::hash::sha256;
use treering_tests::certificate::certificate_pem;
use treering_tests::http::{Connection, Response};
use treering_tests::load::any_submission;
use treering_tests::server::{Log, Server};
use treering_tests::submission::{Face, Signer, Submission, dsse_v1, hashedrekord_v1};
use treering_tests::witness::Manner;

use super::{ENTRIES, entry_id, refused};
use crate::tiles::{OPEN_TO_BROWSERS, without_date};
use crate::witnesses::Witnessed;

const INDEX: &str = "/api/v1/index/retrieve";

fn ask(connection: &mut Connection, query: &Value) -> Response {
    connection.post(INDEX, query.to_string().as_bytes()).unwrap()
}

fn x509(pem: &str) -> Value {
    json!({ "format": "x509", "content": to_base64(pem.as_bytes()) })
}

fn of_v1(request: &Value) -> Submission {
    let request = request.to_string().into_bytes();
    let entry = VerifiedEntry::from_v1_request(&request).expect("a good submission");
    Submission { face: Face::V1, entry, request }
}

/// A digest, signed with a certificate.
fn certified(signer: &Signer, name: &str, artifact: &[u8]) -> Submission {
    let pem = to_base64(certificate_pem(signer, name, 0).as_bytes());
    let digest = sha256(artifact).to_hex();
    of_v1(&hashedrekord_v1(&digest, "sha256", &signer.sign(artifact), &pem))
}

/// An envelope with provenance, and its text.
fn provenance(signer: &Signer, subject: &str, material: &str) -> (Submission, String, Vec<u8>) {
    let payload = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "built", "digest": { "sha256": subject } }],
        "predicateType": "https://slsa.dev/provenance/v0.2",
        "predicate": { "materials": [{ "uri": "from", "digest": { "sha1": material } }] },
    })
    .to_string()
    .into_bytes();
    let signature = to_base64(&signer.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload)));
    let envelope = json!({
        "payload": to_base64(&payload), "payloadType": IN_TOTO_PAYLOAD_TYPE,
        "signatures": [{ "sig": signature }],
    })
    .to_string();
    (of_v1(&dsse_v1(&envelope, &[signer.pem_base64()])), envelope, payload)
}

/// A served log, and what was logged in order.
struct Indexed {
    log: Log,
    server: Server,
    submissions: Vec<Submission>,
}

impl Indexed {
    fn new(submissions: Vec<Submission>) -> Self {
        let log = Log::create();
        let server = log.serve();
        let mut connection = server.connect();
        for submission in &submissions {
            let answer = connection.post(submission.face.path(), &submission.request).unwrap();
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
        Self { log, server, submissions }
    }

    /// The answer that has these entries, in this order.
    fn answer(&self, indexes: &[usize]) -> String {
        let id = |at: &usize| format!("\"{}\"", entry_id(&self.log, &self.submissions[*at]));
        format!("[{}]\n", indexes.iter().map(id).collect::<Vec<String>>().join(","))
    }

    #[track_caller]
    fn finds(&self, query: &Value, indexes: &[usize]) {
        let response = ask(&mut self.server.connect(), query);
        assert_eq!(response.status, 200, "{query}: {}", response.text());
        assert_eq!(response.text(), self.answer(indexes), "{query}");
        assert_eq!(response.header("treering-cut"), None, "{query}: the answer is complete");
    }
}

#[test]
fn entries_are_found_by_what_rekor_finds_them_by_and_by_more() {
    let (signer, other) = (Signer::new(), Signer::new());
    let (subject, material) = (sha256(b"subject").to_hex(), "0c".repeat(20));
    let (built, envelope, payload) = provenance(&signer, &subject, &material);
    let log = Indexed::new(vec![
        Submission::hashedrekord(Face::V1, &signer, b"artifact"),
        built,
        certified(&other, "Alice@Example.com", b"artifact"),
        certified(&other, "bob@example.com", b"other"),
        Submission::hashedrekord(Face::V2, &signer, b"artifact"),
    ]);
    let artifact = sha256(b"artifact").to_hex();
    for hash in [artifact.clone(), format!("sha256:{artifact}"), artifact.to_uppercase()] {
        log.finds(&json!({ "hash": hash }), &[4, 2, 0]);
    }
    log.finds(&json!({ "hash": subject }), &[1]);
    log.finds(&json!({ "hash": sha256(&payload).to_hex() }), &[1]);
    log.finds(&json!({ "hash": sha256(envelope.as_bytes()).to_hex() }), &[1]);
    log.finds(&json!({ "hash": material }), &[1]);
    log.finds(&json!({ "hash": format!("sha1:{}", material.to_uppercase()) }), &[1]);
    // A key, in every kind of entry and on every face; a certificate stands for its key.
    log.finds(&json!({ "publicKey": x509(&signer.key.to_pem()) }), &[4, 1, 0]);
    log.finds(&json!({ "publicKey": x509(&other.key.to_pem()) }), &[3, 2]);
    let pem = certificate_pem(&other, "bob@example.com", 0);
    log.finds(&json!({ "publicKey": x509(&pem) }), &[3, 2]);
    log.finds(&json!({ "hash": signer.key.fingerprint().to_hex() }), &[4, 1, 0]);
    for field in ["email", "subject"] {
        log.finds(&json!({ field: "Alice@Example.com" }), &[2]);
        log.finds(&json!({ field: "bob@example.com" }), &[3]);
        log.finds(&json!({ field: "BOB@example.com" }), &[3]);
        log.finds(&json!({ field: "carol@example.com" }), &[]);
    }
    // Several criteria.
    let both = json!({ "hash": artifact, "publicKey": x509(&signer.key.to_pem()) });
    log.finds(&both, &[4, 2, 1, 0]);
    let with = |operator: &str| {
        let mut query = both.clone();
        query["operator"] = json!(operator);
        query
    };
    log.finds(&with("or"), &[4, 2, 1, 0]);
    log.finds(&with("and"), &[4, 0]);
    let all = json!({
        "hash": artifact, "publicKey": x509(&other.key.to_pem()), "email": "Alice@Example.com",
        "subject": "alice@example.com", "operator": "and",
    });
    log.finds(&all, &[]);
    let all = json!({
        "hash": artifact, "publicKey": x509(&other.key.to_pem()), "email": "Alice@Example.com",
        "subject": "Alice@Example.com", "operator": "and",
    });
    log.finds(&all, &[2]);
    for nothing in [
        json!({}),
        json!({ "operator": "and" }),
        json!({ "email": null, "hash": "", "publicKey": null, "subject": null, "operator": null }),
        json!({ "hash": "ab".repeat(64) }),
    ] {
        log.finds(&nothing, &[]);
    }
}

#[test]
fn an_answer_has_exactly_these_headers_under_every_spelling_of_the_path() {
    let signer = Signer::new();
    let log = Indexed::new(vec![Submission::hashedrekord(Face::V1, &signer, b"x")]);
    let query = json!({ "publicKey": x509(&signer.key.to_pem()) }).to_string();
    let mut connection = log.server.connect();
    for path in [INDEX, "/api/v1/index/retrieve/", "//api//v1/index/retrieve"] {
        let response = connection.post(path, query.as_bytes()).unwrap();
        assert_eq!(response.text(), log.answer(&[0]), "{path}");
        let length = response.body.len();
        let expected = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
             {OPEN_TO_BROWSERS}content-length: {length}\r\n\r\n"
        );
        assert_eq!(without_date(&response.head), expected, "{path}");
    }
}

#[test]
fn queries_that_make_no_sense_are_refused_with_rekors_numbers() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    let key = |format: &str, content: &str| json!({ "format": format, "content": content });
    let parsing = "parsing query body from \"\" failed, because ";
    let hash = "hash in body should match '^(sha512:)?[0-9a-fA-F]{128}$|^(sha256:)?[0-9a-fA-F]{64}$|^(sha1:)?[0-9a-fA-F]{40}$'";
    let formats = "publicKey.format in body should be one of [pgp x509 minisign ssh tuf]";
    for (query, status, code, message) in [
        (json!([]), 400, 400, parsing),
        (json!({ "hash": 5 }), 400, 400, parsing),
        (json!({ "publicKey": key("x509", "?") }), 400, 400, parsing),
        (json!({ "email": "nobody" }), 422, 601, "email in body must be of type email: \"nobody\""),
        (json!({ "hash": "abcd" }), 422, 605, hash),
        (json!({ "hash": format!("sha384:{}", "ab".repeat(48)) }), 422, 605, hash),
        (json!({ "operator": "xor" }), 422, 606, "operator in body should be one of [and or]"),
        (json!({ "publicKey": {} }), 422, 602, "publicKey.format in body is required"),
        (json!({ "publicKey": key("jwk", "") }), 422, 606, formats),
        (
            json!({ "subject": "x".repeat(513) }),
            422,
            603,
            "subject in body should be at most 512 chars long",
        ),
        (
            json!({ "publicKey": key("pgp", "AAAA") }),
            400,
            400,
            "the PKI format requested is not supported by this server",
        ),
        (
            json!({ "publicKey": key("x509", "AAAA") }),
            400,
            400,
            "public key provided could not be parsed",
        ),
    ] {
        let response = ask(&mut connection, &query);
        refused(&response, status, code, &query.to_string());
        let told = response.json()["message"].as_str().unwrap().to_owned();
        assert!(told.starts_with(message), "{query}: {told}");
    }
    let empty = connection.post(INDEX, b"").unwrap();
    refused(&empty, 422, 602, "no body");
    assert_eq!(empty.json()["message"], "query in body is required");
    let huge = json!({ "subject": "x".repeat(64 << 10) });
    refused(&ask(&mut connection, &huge), 413, 413, "too large");
    let get = connection.get(INDEX).unwrap();
    refused(&get, 405, 405, "get");
    assert_eq!(get.header("allow"), Some("POST"));
}

#[test]
fn an_entry_is_found_when_it_is_published_and_not_before() {
    let all = Witnessed::new(1, 1);
    let server = all.serve();
    let signer = Signer::new();
    let first = Submission::hashedrekord(Face::V1, &signer, b"first");
    assert_eq!(server.connect().post(ENTRIES, &first.request).unwrap().status, 201);
    all.witnesses[0].set_manner(Manner::Silent);
    let second = Submission::hashedrekord(Face::V1, &signer, b"second");
    let waiting = {
        let (mut connection, request) = (server.connect(), second.request.clone());
        std::thread::spawn(move || connection.post(ENTRIES, &request).unwrap().status)
    };
    all.witnesses[0].wait_until_held();
    let mut connection = server.connect();
    let query = json!({ "publicKey": x509(&signer.key.to_pem()) });
    let (old, new) = (entry_id(&all.log, &first), entry_id(&all.log, &second));
    assert_eq!(ask(&mut connection, &query).text(), format!("[\"{old}\"]\n"));
    assert!(!waiting.is_finished());
    all.witnesses[0].set_manner(Manner::Honest);
    assert_eq!(waiting.join().unwrap(), 201);
    assert_eq!(ask(&mut connection, &query).text(), format!("[\"{new}\",\"{old}\"]\n"));
}

#[test]
fn an_answer_that_leaves_older_entries_out_says_so() {
    const HITS_MAX: usize = 10_000;
    let log = Log::create();
    let server = log.serve();
    let artifact = sha256(b"popular").to_hex();
    // Each signature is another one, so each entry is.
    let submit = |count: usize| {
        let (signer, mut connection) = (Signer::new(), server.connect());
        for _ in 0..count {
            let submission = Submission::hashedrekord(Face::V1, &signer, b"popular");
            assert_eq!(connection.post(ENTRIES, &submission.request).unwrap().status, 201);
        }
    };
    let query = json!({ "hash": artifact });
    let found = || {
        let response = ask(&mut server.connect(), &query);
        assert_eq!(response.status, 200, "{}", response.text());
        let ids: Vec<String> = serde_json::from_slice(&response.body).unwrap();
        (ids, response.header("treering-cut").map(str::to_owned))
    };
    let signers = 50;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..signers).map(|_| scope.spawn(|| submit(HITS_MAX / signers))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let (all, cut) = found();
    assert_eq!((all.len(), cut), (HITS_MAX, None), "all of them fit");
    submit(3);
    let (newest, cut) = found();
    assert_eq!((newest.len(), cut.as_deref()), (HITS_MAX, Some("10000")));
    assert_eq!(newest[3..], all[..HITS_MAX - 3], "the oldest are left out");
    // Together with something rare, what is left out of the popular one does no harm.
    let oldest = server.get(&format!("{ENTRIES}/{}", all[HITS_MAX - 1])).json();
    let body = oldest[&all[HITS_MAX - 1]]["body"].as_str().unwrap();
    let body: Value =
        serde_json::from_slice(&treering_proto::encoding::from_base64(body).unwrap()).unwrap();
    let key = body["spec"]["signature"]["publicKey"]["content"].as_str().unwrap();
    let both = json!({
        "hash": artifact, "publicKey": { "format": "x509", "content": key }, "operator": "and",
    });
    let response = ask(&mut server.connect(), &both);
    let ids: Vec<String> = serde_json::from_slice(&response.body).unwrap();
    assert_eq!((ids.len(), response.header("treering-cut")), (HITS_MAX / signers, None));
    assert_eq!(ids.last(), all.last());
}

#[test]
fn searches_go_on_while_the_log_grows_and_show_only_what_can_be_read() {
    let log = Log::create();
    let server = log.serve();
    let signer = Signer::new();
    let query = json!({ "publicKey": x509(&signer.key.to_pem()) });
    let mut seen = 0;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut connection = server.connect();
            for _ in 0..200 {
                let submission = any_submission(&signer);
                let answer = connection.post(submission.face.path(), &submission.request).unwrap();
                assert_eq!(answer.status, 201, "{}", answer.text());
            }
        });
        let mut connection = server.connect();
        while !writer.is_finished() {
            let answer = ask(&mut connection, &query);
            let ids: Vec<String> = serde_json::from_slice(&answer.body).unwrap();
            assert!(ids.len() >= seen, "an entry that was found is found again");
            seen = ids.len();
            if let Some(newest) = ids.first() {
                let entry = connection.get(&format!("{ENTRIES}/{newest}")).unwrap();
                assert_eq!(entry.status, 200, "{newest}");
            }
        }
    });
    let ids: Vec<String> =
        serde_json::from_slice(&ask(&mut server.connect(), &query).body).unwrap();
    assert_eq!(ids.len(), 200);
}

#[test]
fn a_search_counts_as_twenty_reads_and_one_that_is_refused_as_its_request_alone() {
    let log = Log::create();
    // A hundred reads at once, ten a second. Each server counts from the beginning.
    let flags = ["--open-writes", "--limit-loopback", "--address-reads", "10"];
    let statuses = |query: &str| -> Vec<u16> {
        let server = log.serve_with(&flags, None);
        let mut connection = server.connect();
        (0..40).map(|_| connection.post(INDEX, query.as_bytes()).unwrap().status).collect()
    };
    assert_eq!(statuses("nonsense"), [400; 40]);
    let searched = statuses(&json!({ "hash": sha256(b"nothing").to_hex() }).to_string());
    assert_eq!(searched[..4], [200; 4], "four times twenty-one");
    assert!(searched.contains(&429), "forty times twenty-one: {searched:?}");
}
