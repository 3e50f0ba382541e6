//! Input that must not be logged, over plain sockets: each gets the right status, in the shape of
//! its face, with a stable label, and the log does not grow.

use serde_json::{Value, json};
use treering_proto::encoding::to_base64;
use treering_proto::hash::sha256;
use treering_proto::key::PublicKey;
use treering_tests::certificate::certificate_pem;
use treering_tests::check::check_log;
use treering_tests::history::History;
use treering_tests::http::Response;
use treering_tests::model::{model_statement, statement};
use treering_tests::server::{Log, Server};
use treering_tests::submission::{
    Face, Signer, Submission, dsse_v1, envelope, hashedrekord_v1, hashedrekord_v2, verifier_v2,
};

use crate::refusals::write;

/// A served log of a few entries that must stay as it is.
struct Target {
    log: Log,
    server: Server,
    history: History,
}

impl Target {
    fn new() -> Self {
        let log = Log::create();
        let mut history = History::new(&log.identity);
        let server = log.serve();
        write(&server, &mut history, 8);
        Self { log, server, history }
    }

    /// Posts `body` and expects this status and label, in the shape of the face.
    fn refuses(&self, what: &str, face: Face, body: &[u8], status: u16, label: &str) -> Response {
        let response = self.server.connect().post(face.path(), body);
        let response = response.unwrap_or_else(|error| panic!("{what}: {error}"));
        expect_refusal(what, face, &response, status, label);
        response
    }

    /// The log has what it had, and works.
    fn must_be_unharmed(mut self) {
        assert_eq!(self.server.size(), 8, "something was logged");
        write(&self.server, &mut self.history, 4);
        check_log(&self.server, &mut self.history);
        assert_eq!(self.log.identity.origin(), "127.0.0.1");
    }
}

fn expect_refusal(what: &str, face: Face, response: &Response, status: u16, label: &str) {
    let text = response.text();
    assert_eq!(response.status, status, "{what}: {text}");
    assert_eq!(response.header("treering-error"), Some(label), "{what}: {text}");
    assert_eq!(response.header("content-type"), Some("application/json"), "{what}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{what}");
    let body = response.json();
    let members: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {text}");
    match face {
        Face::V1 => {
            assert_eq!(members, ["code", "message"], "{what}");
            let code = body["code"].as_u64().unwrap();
            assert!(code == u64::from(status) || code > 600, "{what}: {text}");
        }
        Face::V2 => {
            let code = body["code"].as_u64().unwrap();
            assert!((1..=16).contains(&code), "{what}: a gRPC code: {text}");
            assert_eq!((members.len(), &body["details"]), (3, &json!([])), "{what}");
        }
    }
}

fn good(face: Face) -> Submission {
    Submission::hashedrekord(face, &Signer::new(), b"good")
}

#[test]
fn json_that_is_not_what_it_should_be_is_refused() {
    let target = Target::new();
    let deep = format!(r#"{{"kind":"hashedrekord","apiVersion":"0.0.1","spec":{}}}"#, nested(9000));
    let deep_spec = format!(r#"{{"hashedRekordRequestV002":{}}}"#, nested(9000));
    for face in [Face::V1, Face::V2] {
        let whole = good(face).request;
        for cut in [1, 10, whole.len() / 2, whole.len() - 1] {
            let what = format!("truncated at {cut}");
            target.refuses(&what, face, &whole[..cut], 400, "malformed");
        }
        let text = String::from_utf8(whole).unwrap();
        let twice = match face {
            Face::V1 => text.replacen("\"kind\"", "\"kind\":\"dsse\",\"kind\"", 1),
            Face::V2 => text.replacen("\"digest\"", "\"digest\":\"\",\"digest\"", 1),
        };
        assert_ne!(twice, text);
        target.refuses("duplicate key", face, twice.as_bytes(), 400, "malformed");
        let surplus = format!("{text} x");
        target.refuses("trailing text", face, surplus.as_bytes(), 400, "malformed");
        target.refuses("not UTF-8", face, b"{\"kind\":\"\xff\"}", 400, "malformed");
        target.refuses("a number", face, b"7", 400, "malformed");
        target.refuses("a bomb of arrays", face, nested(100_000).as_bytes(), 400, "malformed");
    }
    target.refuses("deep", Face::V1, deep.as_bytes(), 400, "malformed");
    target.refuses("deep", Face::V2, deep_spec.as_bytes(), 400, "malformed");
    let empty = target.refuses("empty", Face::V1, b"", 422, "missing-field");
    assert_eq!(empty.json()["code"], 602);
    target.refuses("empty", Face::V2, b"", 400, "unknown-kind");
    target.must_be_unharmed();
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

#[test]
fn bodies_beyond_the_limit_are_refused() {
    let target = Target::new();
    for surplus in [1, 1 << 20] {
        let v1 = vec![b' '; (8 << 20) + surplus];
        target.refuses("oversized", Face::V1, &v1, 413, "body-too-large");
        let v2 = vec![b' '; (4 << 20) + surplus];
        target.refuses("oversized", Face::V2, &v2, 400, "body-too-large");
    }
    target.must_be_unharmed();
}

#[test]
fn other_content_types_and_compressed_bodies_are_refused() {
    let target = Target::new();
    let v1 = good(Face::V1).request;
    for headers in ["", "content-type: application/x-yaml\r\n", "content-type: text/plain\r\n"] {
        let response = target.server.connect().post_with(Face::V1.path(), headers, &v1).unwrap();
        expect_refusal(headers, Face::V1, &response, 415, "media-type");
    }
    for face in [Face::V1, Face::V2] {
        for coding in ["gzip", "br", "zstd", "deflate"] {
            let headers =
                format!("content-type: application/json\r\ncontent-encoding: {coding}\r\n");
            let body = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
            let response = target.server.connect().post_with(face.path(), &headers, body).unwrap();
            expect_refusal(coding, face, &response, 415, "content-encoding");
        }
    }
    // A charset does no harm.
    let headers = "content-type: application/json; charset=utf-8\r\n";
    let mut connection = target.server.connect();
    assert_eq!(connection.post_with(Face::V1.path(), headers, b"{").unwrap().status, 400);
    target.must_be_unharmed();
}

#[test]
fn a_body_that_ends_early_is_not_logged() {
    let target = Target::new();
    for face in [Face::V1, Face::V2] {
        let body = good(face).request;
        let mut connection = target.server.connect();
        let (path, length) = (face.path(), body.len() + 1);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: log\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        connection.send(head.as_bytes()).unwrap();
        connection.send(&body).unwrap();
        connection.finish_sending().unwrap();
        // An answer, or none: in no case a success.
        if let Ok(response) = connection.receive(true) {
            expect_refusal("cut off", face, &response, 400, "body-cut-off");
        }
    }
    target.must_be_unharmed();
}

#[test]
fn a_hashedrekord_that_does_not_hold_together_is_refused() {
    let target = Target::new();
    let (signer, other) = (Signer::new(), Signer::new());
    let (signature, digest) = (signer.sign(b"model"), sha256(b"model"));
    let (hex, key) = (digest.to_hex(), signer.pem_base64());
    let v1 = |digest: &str, algorithm: &str, signature: &[u8], key: &str| {
        hashedrekord_v1(digest, algorithm, signature, key).to_string()
    };
    let sha512 = "ab".repeat(64);
    let refused = [
        ("digest", v1(&sha256(b"x").to_hex(), "sha256", &signature, &key)),
        ("short digest", v1(&hex[2..], "sha256", &signature, &key)),
        ("digest of another length", v1(&sha512, "sha256", &signature, &key)),
        ("digest not hexadecimal", v1(&"xy".repeat(32), "sha256", &signature, &key)),
        ("hash that is not the curve's", v1(&sha512, "sha512", &signature, &key)),
        ("unknown hash", v1(&hex, "md5", &signature, &key)),
        ("another's signature", v1(&hex, "sha256", &other.sign(b"model"), &key)),
        ("another's key", v1(&hex, "sha256", &signature, &other.pem_base64())),
        ("no signature", v1(&hex, "sha256", b"", &key)),
        ("garbage for a signature", v1(&hex, "sha256", b"garbage", &key)),
        ("key not base64", v1(&hex, "sha256", &signature, "*")),
        ("key not PEM", v1(&hex, "sha256", &signature, &to_base64(b"no PEM"))),
        ("two keys", v1(&hex, "sha256", &signature, &two_keys(&signer.key, &other.key))),
    ];
    for (what, request) in &refused {
        target.refuses(what, Face::V1, request.as_bytes(), 400, "invalid-entry");
    }
    let mut bad = hashedrekord_v1(&hex, "sha256", &signature, &key);
    bad["spec"]["signature"]["content"] = json!("not base64!");
    target.refuses("bad base64", Face::V1, bad.to_string().as_bytes(), 400, "invalid-entry");

    let v2 =
        |digest: &[u8], signature: &[u8], key: &PublicKey| hashedrekord_v2(digest, signature, key);
    let good = v2(digest.as_bytes(), &signature, &signer.key);
    let with = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(&format!("/hashedRekordRequestV002{pointer}")).unwrap() = value;
        changed
    };
    let curve = json!("PKIX_ECDSA_P384_SHA_384");
    for (what, request) in [
        ("digest", v2(sha256(b"x").as_bytes(), &signature, &signer.key)),
        ("short digest", v2(&digest.as_bytes()[1..], &signature, &signer.key)),
        ("another's signature", v2(digest.as_bytes(), &other.sign(b"model"), &signer.key)),
        ("another's key", v2(digest.as_bytes(), &signature, &other.key)),
        ("another curve", with("/signature/verifier/keyDetails", curve)),
        ("no algorithm", with("/signature/verifier/keyDetails", json!(0))),
        ("bad key", with("/signature/verifier/publicKey/rawBytes", json!("AAAA"))),
    ] {
        target.refuses(what, Face::V2, request.to_string().as_bytes(), 400, "invalid-entry");
    }
    for (what, request) in [
        ("unknown field", with("/signature", json!({ "contents": "" }))),
        ("bad base64", with("/digest", json!("*"))),
    ] {
        target.refuses(what, Face::V2, request.to_string().as_bytes(), 400, "malformed");
    }
    target.must_be_unharmed();
}

fn two_keys(one: &PublicKey, other: &PublicKey) -> String {
    to_base64((one.to_pem() + &other.to_pem()).as_bytes())
}

#[test]
fn kinds_that_are_not_taken_are_refused_by_name() {
    let target = Target::new();
    for (kind, status, label) in [
        ("jar", 400, "refused-kind"),
        ("rpm", 400, "refused-kind"),
        ("cose", 400, "refused-kind"),
        ("nonsense", 422, "unknown-kind"),
    ] {
        let body = json!({ "kind": kind, "apiVersion": "0.0.1", "spec": {} }).to_string();
        let response = target.refuses(kind, Face::V1, body.as_bytes(), status, label);
        assert!(response.text().contains(kind), "{}", response.text());
    }
    let version = json!({ "kind": "dsse", "apiVersion": "9.9.9", "spec": {} }).to_string();
    target.refuses("version", Face::V1, version.as_bytes(), 400, "invalid-entry");
    target.refuses("no kind", Face::V2, b"{}", 400, "unknown-kind");
    target.must_be_unharmed();
}

#[test]
fn envelopes_that_do_not_hold_together_are_refused() {
    let target = Target::new();
    let (signer, other) = (Signer::new(), Signer::new());
    let payload = statement("tested", 1);
    let whole = envelope(&signer, &payload);
    let key = [signer.pem_base64()];
    let with = |pointer: &str, value: Value| {
        let mut changed = whole.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    let twice = whole.to_string().replacen("\"payload\"", "\"payload\":\"\",\"payload\"", 1);
    let ten_more = vec![whole["signatures"][0].clone(); 11];
    let texts = [
        ("payload", with("/payload", json!(to_base64(&statement("tested", 2)))).to_string()),
        ("bad base64", with("/payload", json!("*")).to_string()),
        ("type", with("/payloadType", json!("text/plain")).to_string()),
        ("no signature", with("/signatures", json!([])).to_string()),
        ("eleven signatures", with("/signatures", json!(ten_more)).to_string()),
        ("truncated", whole.to_string()[..40].to_owned()),
        ("deep", with("/payload", serde_json::from_str(&nested(100)).unwrap()).to_string()),
        ("duplicate key", twice),
    ];
    for (what, text) in texts {
        let request = dsse_v1(&text, &key).to_string();
        target.refuses(what, Face::V1, request.as_bytes(), 400, "invalid-entry");
    }
    let others = dsse_v1(&whole.to_string(), &[other.pem_base64()]).to_string();
    target.refuses("another's key", Face::V1, others.as_bytes(), 400, "invalid-entry");
    let none = dsse_v1(&whole.to_string(), &[]).to_string();
    target.refuses("no key", Face::V1, none.as_bytes(), 400, "invalid-entry");
    let request = json!({ "dsseRequestV002": {
        "envelope": whole, "verifiers": [verifier_v2(&other.key)],
    }});
    target.refuses("another", Face::V2, request.to_string().as_bytes(), 400, "invalid-entry");
    for payload in [&b"no statement"[..], b"{}", br#"{"_type":"x","_type":"y"}"#] {
        let request = dsse_v1(&envelope(&signer, payload).to_string(), &key).to_string();
        target.refuses("no statement", Face::V1, request.as_bytes(), 400, "invalid-entry");
    }
    target.must_be_unharmed();
}

#[test]
fn model_statements_that_mean_nothing_or_two_things_are_refused() {
    let target = Target::new();
    let signer = Signer::new();
    let with = |pointer: &str, value: Value| {
        let mut changed = model_statement(&["a", "b"]);
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    let root = json!(sha256(b"another").to_hex());
    let statements = [
        ("empty", model_statement(&[])),
        ("ignores everything", with("/predicate/serialization/ignore_paths", json!(["."]))),
        ("repeats a name", model_statement(&["a", "a"])),
        ("climbs out", model_statement(&["../a"])),
        ("climbs out further in", model_statement(&["a/../../b"])),
        ("is absolute", model_statement(&["/etc/passwd"])),
        ("another root", with("/subject/0/digest/sha256", root)),
        ("another algorithm", with("/predicate/resources/0/algorithm", json!("blake2b"))),
        ("an ignored resource", with("/predicate/serialization/ignore_paths", json!(["a"]))),
        ("unknown method", with("/predicate/serialization/method", json!("magic"))),
    ];
    for (what, statement) in statements {
        let envelope = envelope(&signer, statement.to_string().as_bytes());
        let v1 = dsse_v1(&envelope.to_string(), &[signer.pem_base64()]).to_string();
        target.refuses(what, Face::V1, v1.as_bytes(), 400, "invalid-entry");
        let v2 = json!({ "dsseRequestV002": {
            "envelope": envelope, "verifiers": [verifier_v2(&signer.key)],
        }});
        target.refuses(what, Face::V2, v2.to_string().as_bytes(), 400, "invalid-entry");
    }
    target.must_be_unharmed();
}

#[test]
fn an_entry_that_does_not_fit_a_tile_is_refused() {
    let target = Target::new();
    let signers: Vec<Signer> = (0..3).map(|_| Signer::new()).collect();
    let payload = statement("tested", 1);
    let mut whole = envelope(&signers[0], &payload);
    for signer in &signers[1..] {
        let signature = envelope(signer, &payload)["signatures"][0].clone();
        whole["signatures"].as_array_mut().unwrap().push(signature);
    }
    let request = |padding: usize| {
        let certificates: Vec<String> = signers
            .iter()
            .map(|signer| to_base64(certificate_pem(signer, "a@b.c", padding).as_bytes()))
            .collect();
        dsse_v1(&whole.to_string(), &certificates).to_string()
    };
    let response =
        target.refuses("too long", Face::V1, request(15_000).as_bytes(), 400, "invalid-entry");
    assert!(response.text().contains("65535"), "{}", response.text());
    assert_eq!(target.server.size(), 8);
    // The same with shorter certificates is an entry.
    let logged = target.server.connect().post(Face::V1.path(), request(5_000).as_bytes()).unwrap();
    assert_eq!(logged.status, 201, "{}", logged.text());
}

#[test]
fn writes_are_closed_unless_they_were_opened() {
    let log = Log::create();
    let server = log.serve_with(&[], None);
    for face in [Face::V1, Face::V2] {
        let response = server.connect().post(face.path(), &good(face).request).unwrap();
        expect_refusal("closed", face, &response, 403, "writes-closed");
    }
    assert_eq!(server.size(), 0);
    assert_eq!(server.get("/readyz").json()["writes"], "closed");
    assert_eq!(server.get("/checkpoint").status, 200, "reads are open");
}

#[test]
fn a_connection_that_says_nothing_is_closed_and_others_are_served_meanwhile() {
    let target = Target::new();
    let mut silent = std::net::TcpStream::connect(target.server.address).unwrap();
    // Far above the server's own limit: what ends the read is the server.
    silent.set_read_timeout(Some(std::time::Duration::from_secs(120))).unwrap();
    assert_eq!(target.server.size(), 8, "others are served");
    let read = std::io::Read::read(&mut silent, &mut [0]);
    assert_eq!(read.unwrap(), 0, "the server ends the connection");
    target.must_be_unharmed();
}
