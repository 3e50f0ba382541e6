//! What Rekor v2 takes from clients that are careless about headers and names, and the exact words,
//! codes and statuses of what it refuses.

use serde_json::{Value, json};
use treering_proto::encoding::to_base64;
use treering_proto::hash::sha256;
use treering_tests::certificate::certificate;
use treering_tests::http::{Connection, Response};
use treering_tests::model::statement;
use treering_tests::server::Log;
use treering_tests::submission::{Face, Signer, Submission, envelope, verifier_v2};

const ENTRIES: &str = "/api/v2/log/entries";

fn hashedrekord(text: &str) -> Submission {
    Submission::hashedrekord(Face::V2, &Signer::new(), text.as_bytes())
}

/// That `response` is exactly this error, as grpc-gateway writes it.
fn expect_error(response: &Response, status: u16, code: u8, message: &str) {
    let message = Value::from(message);
    let body = format!("{{\"code\":{code},\"message\":{message},\"details\":[]}}\n");
    assert_eq!((response.status, response.text()), (status, body), "{}", response.head);
    assert_eq!(response.header("content-type"), Some("application/json"));
}

/// The message of an error with this status and code.
fn message(response: &Response, status: u16, code: u8) -> String {
    let body = response.json();
    assert_eq!((response.status, &body["code"]), (status, &code.into()), "{}", response.text());
    body["message"].as_str().unwrap().to_owned()
}

#[test]
fn headers_do_not_matter_and_names_have_two_spellings() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    for (at, headers) in [
        "",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: text/plain\r\naccept: text/html\r\n",
        "content-type: application/json\r\naccept: application/x-protobuf\r\n",
    ]
    .iter()
    .enumerate()
    {
        let submission = hashedrekord(headers);
        let created = connection.post_with(ENTRIES, headers, &submission.request).unwrap();
        assert_eq!(created.status, 201, "{headers}: {}", created.text());
        assert_eq!(created.header("content-type"), Some("application/json"));
        assert_eq!(created.json()["logIndex"], at.to_string());
        assert!(!created.head.to_ascii_lowercase().contains("grpc-"), "{}", created.head);
    }
    let signer = Signer::new();
    let request = json!({ "hashed_rekord_request_v002": {
        "digest": to_base64(sha256(b"snake").as_bytes()).trim_end_matches('='),
        "signature": {
            "content": to_base64(&signer.sign(b"snake")).replace('+', "-").replace('/', "_"),
            "verifier": {
                "public_key": { "raw_bytes": to_base64(signer.key.spki_der()) },
                "x509_certificate": null, "key_details": 5,
            },
        },
    }});
    let created = connection.post_with(ENTRIES, "", request.to_string().as_bytes()).unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(server.size(), 5);
}

#[test]
fn paths_methods_and_bodies_that_are_none_have_the_words_of_grpc_gateway() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let refused = connection.ask(method, ENTRIES, "").unwrap();
        expect_error(&refused, 501, 12, "Method Not Allowed");
    }
    for path in ["/api/v2/checkpoint", "/api/v2/tile/0/000", "/api/v2/tile/entries/000"] {
        expect_error(&connection.post(path, b"{}").unwrap(), 501, 12, "Method Not Allowed");
    }
    for path in ["/api/v2/log", "/api/v2/log/entries/1", "/api/v2/nonsense"] {
        expect_error(&connection.get(path).unwrap(), 404, 5, "Not Found");
        expect_error(&connection.post(path, b"{}").unwrap(), 404, 5, "Not Found");
    }
    let none = "invalid type, must be either hashedrekord or dsse";
    for body in [&b""[..], b"\n", b"{}", b"{\"dsse_request_v002\":null}"] {
        expect_error(&connection.post(ENTRIES, body).unwrap(), 400, 3, none);
    }
    let large = vec![b' '; (4 << 20) + 1];
    let refused = connection.post(ENTRIES, &large).unwrap();
    expect_error(&refused, 400, 3, "http: request body too large");
    for body in [r#"{"foo":1}"#, "{", "[]", "{}x", r#"{"hashedRekordRequestV002":{"digest":"*"}}"#]
    {
        let refused = connection.post(ENTRIES, body.as_bytes()).unwrap();
        assert!(message(&refused, 400, 3).starts_with("proto: "), "{}", refused.text());
    }
    assert_eq!(server.size(), 0);
}

#[test]
fn a_submission_that_does_not_verify_hears_the_kind_and_the_reason() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    let mut refused = |request: &Value| {
        let refused = connection.post(ENTRIES, request.to_string().as_bytes()).unwrap();
        message(&refused, 400, 3)
    };
    let good: Value = serde_json::from_slice(&hashedrekord("text").request).unwrap();
    for (pointer, value, reason) in [
        ("/signature", json!(null), "missing signature"),
        ("/digest", json!(""), "missing digest"),
        ("/digest", json!("AAAA"), "the digest does not fit"),
        ("/signature/verifier/keyDetails", json!(16), "not allowed"),
        ("/signature/content", json!("AAAA"), "verifying signature"),
    ] {
        let mut request = good.clone();
        *request["hashedRekordRequestV002"].pointer_mut(pointer).unwrap() = value;
        let message = refused(&request);
        assert!(message.starts_with("invalid hashedrekord request: "), "{message}");
        assert!(message.contains(reason), "no {reason:?} in {message}");
    }
    let (signer, other) = (Signer::new(), Signer::new());
    let whole = envelope(&signer, &statement("tested", 1));
    let request = |verifiers: Value| json!({ "dsseRequestV002": { "envelope": whole, "verifiers": verifiers } });
    for verifiers in [json!([]), json!([verifier_v2(&other.key)])] {
        let message = refused(&request(verifiers));
        assert!(message.starts_with("invalid dsse request: "), "{message}");
    }
    // Four certificates of 15 KB do not fit a leaf of 64 KiB.
    let mut whole = whole.clone();
    let signers = [signer, Signer::new(), Signer::new(), Signer::new()];
    for signer in &signers[1..] {
        let signature = envelope(signer, &statement("tested", 1))["signatures"][0].clone();
        whole["signatures"].as_array_mut().unwrap().push(signature);
    }
    let verifiers = signers.iter().map(|signer| {
        let certificate = certificate(signer, "a@b.c", 15_000);
        json!({ "x509Certificate": { "rawBytes": to_base64(&certificate) }, "keyDetails": 5 })
    });
    let verifiers: Vec<Value> = verifiers.collect();
    let message =
        refused(&json!({ "dsseRequestV002": { "envelope": whole, "verifiers": verifiers } }));
    assert!(message.starts_with("invalid entry: ") && message.contains("65535"), "{message}");
    assert_eq!(server.size(), 0);
}

#[test]
fn who_may_not_write_and_who_asks_too_often_get_the_numbers_of_grpc() {
    let log = Log::create();
    let closed = log.serve_with(&[], None);
    let submit = |connection: &mut Connection, headers: &str| {
        connection.post_with(ENTRIES, headers, &hashedrekord("x").request).unwrap()
    };
    let refused = submit(&mut closed.connect(), "");
    assert!(!message(&refused, 403, 7).is_empty());
    let refused = submit(&mut closed.connect(), "authorization: Bearer nonsense\r\n");
    assert!(!message(&refused, 401, 16).is_empty());
    drop(closed);
    let flags = ["--open-writes", "--limit-loopback", "--address-writes", "1"];
    let server = log.serve_with(&flags, None);
    let mut connection = server.connect();
    let answers = (0..40).map(|_| submit(&mut connection, ""));
    let refused: Vec<Response> = answers.filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty(), "forty at once, of one a second");
    assert!(!message(&refused[0], 429, 8).is_empty());
}

#[test]
fn health_is_said_in_the_bytes_of_rekor_tiles() {
    let log = Log::create();
    let health = log.serve().get("/healthz");
    assert_eq!((health.status, health.text()), (200, "{\"status\":\"SERVING\"}\n".to_owned()));
    assert_eq!(health.header("content-type"), Some("application/json"));
}
