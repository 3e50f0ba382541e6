//! What the log says of its Rekor v1 face: to programs in `swagger.json`, to people on two pages.

use serde_json::Value;
use treering_tests::server::Log;

#[test]
fn the_description_is_json_and_names_what_is_served() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    let response = connection.get("/swagger.json").unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    let document = response.json();
    assert_eq!(document["swagger"], "2.0");
    let paths = document["paths"].as_object().unwrap();
    for (path, operations) in paths {
        assert!(path.starts_with("/api/v1/"), "{path}");
        for method in operations.as_object().unwrap().keys() {
            // Without parameters and body most are refused; what is not served is 404 or 405.
            let path = path.replace("{entryUUID}", "x");
            let answer = match method.as_str() {
                "get" => connection.get(&path).unwrap(),
                "post" => connection.post(&path, b"").unwrap(),
                other => panic!("{other} {path}"),
            };
            assert!(matches!(answer.status, 200 | 422), "{method} {path}: {}", answer.text());
        }
    }
    let head = connection.ask("HEAD", "/swagger.json", "").unwrap();
    assert_eq!(head.header("content-length"), Some(&*response.body.len().to_string()));
}

#[test]
fn pages_need_nothing_but_themselves() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    for path in ["/", "/docs", "/docs/"] {
        let page = connection.ask("GET", path, "accept: text/html\r\n").unwrap();
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        let text = page.text();
        assert!(text.starts_with("<!DOCTYPE html>") && !text.contains("<script"), "{path}");
        for link in text.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(link.starts_with('/'), "{path} leads to {link}");
            assert_eq!(connection.get(link).unwrap().status, expected_of(link), "{link}");
        }
    }
    let post = connection.post("/", b"").unwrap();
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    let unknown: Value = connection.get("/nothing").unwrap().json();
    assert_eq!(unknown["message"], "path /nothing was not found");
}

/// A log without entries has everything that a page leads to, except the first entry.
fn expected_of(link: &str) -> u16 {
    if link.contains("logIndex=") { 404 } else { 200 }
}
