//! What every request of the Rekor v1 face has in common: media types, headers that count and those
//! that do not, and names.

use treering_tests::http::Connection;
use treering_tests::server::Log;
use treering_tests::submission::{Face, Signer, Submission};

use super::{ENTRIES, entry_id, refused};

const RETRIEVE: &str = "/api/v1/log/entries/retrieve";
const INDEX: &str = "/api/v1/index/retrieve";

/// A log with one entry; its submission and its id.
fn one_entry(log: &Log, connection: &mut Connection) -> (Submission, String) {
    let submission = Submission::hashedrekord(Face::V1, &Signer::new(), b"one");
    let created = connection.post(ENTRIES, &submission.request).unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let id = entry_id(log, &submission);
    (submission, id)
}

#[test]
fn bodies_are_json_and_say_so() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    let (submission, id) = one_entry(&log, &mut connection);
    for (path, body, status) in
        [(ENTRIES, &submission.request[..], 409), (RETRIEVE, b"{}", 200), (INDEX, b"{}", 200)]
    {
        for header in [
            "application/json",
            "application/json; charset=utf-8",
            "Application/JSON;charset=UTF-8",
            " application/json ",
        ] {
            let headers = format!("content-type: {header}\r\n");
            let response = connection.post_with(path, &headers, body).unwrap();
            assert_eq!(response.status, status, "{path} {header}: {}", response.text());
        }
        for (headers, named) in [
            ("", "application/octet-stream"),
            ("content-type: text/plain\r\n", "text/plain"),
            ("content-type: application/x-yaml; charset=utf-8\r\n", "application/x-yaml"),
            ("content-type: application/jsonl\r\n", "application/jsonl"),
        ] {
            let response = connection.post_with(path, headers, body).unwrap();
            refused(&response, 415, 415, path);
            let message =
                format!("unsupported media type \"{named}\", only [application/json] are allowed");
            assert_eq!(response.json()["message"], message);
        }
    }
    // Where there is no body, that is what is wrong.
    for (path, name) in [(ENTRIES, "proposedEntry"), (RETRIEVE, "entry"), (INDEX, "query")] {
        let response = connection.post_with(path, "", b"").unwrap();
        refused(&response, 422, 602, path);
        assert_eq!(response.json()["message"], format!("{name} in body is required"));
    }
    assert_eq!(connection.get(&format!("{ENTRIES}/{id}")).unwrap().status, 200);
}

#[test]
fn whoever_reads_gets_json_or_is_told_that_there_is_nothing_else() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    let (submission, id) = one_entry(&log, &mut connection);
    let reads = [
        "/api/v1/log".to_owned(),
        format!("{ENTRIES}?logIndex=0"),
        format!("{ENTRIES}/{id}"),
        "/api/v1/log/proof?lastSize=1".to_owned(),
    ];
    for path in &reads {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for accept in ["*/*", "application/json", "application/*;q=0.1", browser] {
            let headers = format!("accept: {accept}\r\n");
            let response = connection.ask("GET", path, &headers).unwrap();
            assert_eq!(response.status, 200, "{path} {accept}: {}", response.text());
            assert_eq!(response.header("content-type"), Some("application/json"));
        }
        for accept in ["text/html", "application/json;q=0", "application/x-pem-file"] {
            let headers = format!("accept: {accept}\r\n");
            let response = connection.ask("GET", path, &headers).unwrap();
            refused(&response, 406, 406, path);
            let message = "unsupported media type requested, only [application/json] are available";
            assert_eq!(response.json()["message"], message);
            let head = connection.ask("HEAD", path, &headers).unwrap();
            assert_eq!((head.status, head.body.len()), (406, 0), "HEAD {path}");
        }
    }
    let key = "/api/v1/log/publicKey";
    let response = connection.ask("GET", key, "accept: text/html\r\n").unwrap();
    refused(&response, 406, 406, key);
    let both = "unsupported media type requested, only [application/x-pem-file application/json] are available";
    assert_eq!(response.json()["message"], both);
    // What is wrong with the request comes after that; whoever posts JSON gets JSON.
    let response = connection.ask("GET", ENTRIES, "accept: text/html\r\n").unwrap();
    refused(&response, 406, 406, "no index either");
    let html = "content-type: application/json\r\naccept: text/html\r\n";
    for (path, body, status) in
        [(ENTRIES, &submission.request[..], 409), (RETRIEVE, b"{}", 200), (INDEX, b"{}", 200)]
    {
        let response = connection.post_with(path, html, body).unwrap();
        assert_eq!(response.status, status, "{path}: {}", response.text());
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
}

#[test]
fn nothing_is_conditional_and_no_header_or_parameter_changes_an_answer() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    let (_, id) = one_entry(&log, &mut connection);
    let path = format!("{ENTRIES}/{id}");
    let plain = connection.get(&path).unwrap();
    for headers in [
        format!("if-none-match: {id}\r\n"),
        format!("if-none-match: \"{id}\"\r\n"),
        "if-none-match: *\r\n".to_owned(),
        "if-match: \"other\"\r\n".to_owned(),
        "if-modified-since: Fri, 01 Jan 2100 00:00:00 GMT\r\n".to_owned(),
        "if-unmodified-since: Thu, 01 Jan 1970 00:00:00 GMT\r\n".to_owned(),
        format!("etag: {id}\r\nif-range: {id}\r\nrange: bytes=0-1\r\n"),
        "accept-encoding: gzip, br\r\n".to_owned(),
        "x-request-id: of-a-proxy/7\r\n".to_owned(),
        "authorization: Bearer nobody\r\n".to_owned(),
    ] {
        let response = connection.ask("GET", &path, &headers).unwrap();
        assert_eq!((response.status, &response.body), (200, &plain.body), "{headers}");
        assert_eq!(response.header("content-encoding"), None, "{headers}");
        assert_eq!(response.header("x-request-id"), None, "it is for the server's log");
        assert_eq!(response.header("etag"), None, "only the answer to a submission has one");
    }
    let info = connection.get("/api/v1/log").unwrap();
    for query in ["?stable=true", "?stable=x&y", "?apiKey=secret"] {
        let response = connection.get(&format!("/api/v1/log{query}")).unwrap();
        assert_eq!((response.status, response.body), (200, info.body.clone()), "{query}");
    }
}

#[test]
fn where_an_entry_is_does_not_depend_on_how_it_was_submitted() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    for path in [
        "/api/v1/log/entries/",
        "//api/v1//log/entries",
        "/api/v1/log/entries?apiKey=secret",
        "/api/v1/log/entries/?apiKey=secret&other=1",
    ] {
        let submission = Submission::hashedrekord(Face::V1, &Signer::new(), path.as_bytes());
        let id = entry_id(&log, &submission);
        for status in [201, 409] {
            let answer = connection.post(path, &submission.request).unwrap();
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            assert_eq!(answer.header("location"), Some(&*format!("{ENTRIES}/{id}")), "{path}");
            assert_eq!(answer.header("expires"), None, "only a GET says so much");
            let etag = (status == 201).then_some(id.as_str());
            assert_eq!(answer.header("etag"), etag, "bare, and of what was created");
        }
    }
}

#[test]
fn browsers_of_every_site_may_search() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    for path in [RETRIEVE, INDEX] {
        let headers = "origin: https://search.example\r\naccess-control-request-method: POST\r\n\
                       access-control-request-headers: content-type\r\n";
        let preflight = connection.ask("OPTIONS", path, headers).unwrap();
        assert_eq!(preflight.status, 204);
        let allowed = preflight.header("access-control-allow-methods").unwrap();
        assert!(allowed.split(", ").any(|method| method == "POST"));
        let headers = "origin: https://search.example\r\ncontent-type: application/json\r\n";
        let response = connection.post_with(path, headers, b"{}").unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    }
}

#[test]
fn requests_of_the_face_are_counted_by_operation_and_status() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    let (submission, id) = one_entry(&log, &mut connection);
    assert_eq!(connection.post(ENTRIES, &submission.request).unwrap().status, 409);
    for path in [
        "/api/v1/log".to_owned(),
        "/api/v1/log/publicKey".to_owned(),
        "/api/v1/log/proof".to_owned(),
        format!("{ENTRIES}/{id}"),
        format!("{ENTRIES}?logIndex=1"),
        "/api/v1/nothing".to_owned(),
    ] {
        connection.get(&path).unwrap();
    }
    connection.post(RETRIEVE, b"{}").unwrap();
    connection.post(INDEX, b"[]").unwrap();
    let metrics = server.get("/metrics").text();
    let lines = metrics.lines().filter(|line| line.starts_with("treering_v1_requests_total"));
    let mut lines: Vec<&str> = lines.collect();
    lines.sort_unstable();
    let counted = |operation: &str, code: u16| {
        format!("treering_v1_requests_total{{operation=\"{operation}\",code=\"{code}\"}} 1")
    };
    let mut expected = vec![
        counted("createLogEntry", 201),
        counted("createLogEntry", 409),
        counted("getLogInfo", 200),
        counted("getPublicKey", 200),
        counted("getLogProof", 422),
        counted("getLogEntryByUUID", 200),
        counted("getLogEntryByIndex", 404),
        counted("searchLogQuery", 200),
        counted("searchIndex", 400),
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
}
