//! Treering's own face: search, statements, single entries, health and metrics.

use serde_json::{Value, json};
use treering_proto::encoding::{from_base64, to_base64};
use treering_proto::hash::sha256;
use treering_tests::check::check_log;
use treering_tests::history::{Attempt, History};
use treering_tests::http::Connection;
use treering_tests::model::{model_statement, statement};
use treering_tests::server::{Log, Server};
use treering_tests::submission::{Answer, Face, Signer, Submission, submit};

use crate::refusals::write;

fn log_in_order(server: &Server, history: &mut History, submissions: Vec<Submission>) {
    let mut connection = server.connect();
    for submission in submissions {
        match submit(&mut connection, &submission).unwrap() {
            Answer::Logged { index, note } => {
                history.saw(&note);
                history.attempts.push(Attempt { submission, index: Some(index) });
            }
            other => panic!("{other:?}"),
        }
    }
}

fn indexes(answer: &Value) -> Vec<u64> {
    let entries = answer["entries"].as_array().unwrap().iter();
    entries.map(|entry| entry["index"].as_str().unwrap().parse().unwrap()).collect()
}

/// Every page of a search, each no longer than `limit`.
fn pages(connection: &mut Connection, query: &str, limit: usize) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    for _ in 0..100 {
        let path = format!("/api/treering/v1/search?{query}&limit={limit}{cursor}");
        let answer = connection.get(&path).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        pages.push(indexes(&answer));
        match answer["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
    }
    panic!("a search has no end: {pages:?}");
}

#[test]
fn a_search_pages_through_every_hit_in_both_orders() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    let (signer, other) = (Signer::new(), Signer::new());
    // 50 entries, of which the even ones are the signer's.
    let submissions = (0..50_u64).map(|n| {
        let by = if n % 2 == 0 { &signer } else { &other };
        Submission::dsse(Face::V1, by, &statement(if n < 30 { "early" } else { "late" }, n))
    });
    log_in_order(&server, &mut history, submissions.collect());
    let mut connection = server.connect();
    let key = format!("public-key={}", signer.key.fingerprint());
    let oldest: Vec<u64> = (0..50).step_by(2).collect();
    let newest: Vec<u64> = oldest.iter().rev().copied().collect();
    for limit in [1, 10, 24, 25, 26] {
        let found = pages(&mut connection, &format!("{key}&order=oldest"), limit);
        assert_eq!(found.concat(), oldest, "limit {limit}");
        assert!(found.iter().all(|page| page.len() <= limit));
        let found = pages(&mut connection, &format!("{key}&order=newest"), limit);
        assert_eq!(found.concat(), newest, "limit {limit}");
        assert_eq!(found.len(), 25_usize.div_ceil(limit), "no empty pages: {found:?}");
    }
    assert_eq!(pages(&mut connection, &key, 10).concat(), newest, "the newest come first");
    for (first, second) in [(&key[..], "subject-name=early"), ("subject-name=early", &key[..])] {
        let both = format!("{first}&{second}&order=oldest");
        for limit in [4, 15, 100] {
            let found = pages(&mut connection, &both, limit).concat();
            assert_eq!(found, (0..30).step_by(2).collect::<Vec<u64>>(), "{both}");
        }
    }
    let none = format!("{key}&subject-name=never");
    assert_eq!(pages(&mut connection, &none, 10).concat(), Vec::<u64>::new());
}

#[test]
fn every_acknowledged_entry_is_found_at_once_by_each_of_its_facts() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    let signer = Signer::new();
    let model = model_statement(&["config.json", "weights/a"]).to_string();
    let submissions = [
        Submission::hashedrekord(Face::V1, &signer, b"one"),
        Submission::hashedrekord(Face::V2, &signer, b"two"),
        Submission::dsse(Face::V1, &signer, model.as_bytes()),
        Submission::dsse(Face::V2, &signer, &statement("late", 3)),
    ];
    let mut connection = server.connect();
    for submission in submissions {
        log_in_order(&server, &mut history, vec![submission.clone()]);
        let index = history.attempts.last().unwrap().index.unwrap();
        let facts = submission.entry.facts();
        assert!(facts.len() >= 2, "{facts:?}");
        for fact in facts {
            let value: String = fact.value.iter().map(|byte| format!("%{byte:02x}")).collect();
            let name = fact.tag.name();
            let found = pages(&mut connection, &format!("{name}={value}"), 10).concat();
            assert!(found.contains(&index), "{name}: {found:?}");
        }
    }
    check_log(&server, &mut history);
}

#[test]
fn searches_that_make_no_sense_are_refused() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    let nine: String = (0..9).map(|n| format!("subject-name={n}&")).collect();
    for (query, label) in [
        ("", "search-terms"),
        ("limit=5", "search-terms"),
        (&nine, "search-terms"),
        ("colour=red", "unknown-tag"),
        ("subject-name=a&limit=x", "malformed-parameter"),
        ("subject-name=a&limit=-1", "malformed-parameter"),
        ("subject-name=a&cursor=1e3", "malformed-parameter"),
        ("subject-name=a&cursor=99999999999999999999", "malformed-parameter"),
        ("subject-name=a&order=random", "malformed-parameter"),
    ] {
        let response = connection.get(&format!("/api/treering/v1/search?{query}")).unwrap();
        assert_eq!(response.status, 400, "{query}: {}", response.text());
        assert_eq!(response.json()["label"], label, "{query}");
        assert_eq!(response.header("treering-error"), Some(label), "{query}");
    }
    for beyond in ["cursor=18446744073709551615", "limit=99999999", "order=oldest&cursor=7"] {
        let path = format!("/api/treering/v1/search?subject-name=a&{beyond}");
        assert_eq!(indexes(&connection.get(&path).unwrap().json()), [0_u64; 0], "{beyond}");
    }
}

#[test]
fn statements_are_served_by_their_hash_one_by_one_and_many_at_once() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    let signer = Signer::new();
    let payloads: Vec<Vec<u8>> = (0..5).map(|n| statement("served", n)).collect();
    let submissions = payloads.iter().map(|p| Submission::dsse(Face::V2, &signer, p)).collect();
    log_in_order(&server, &mut history, submissions);
    let mut connection = server.connect();
    for payload in &payloads {
        let path = format!("/api/treering/v1/statements/{}", sha256(payload));
        let response = connection.get(&path).unwrap();
        assert_eq!((response.status, &response.body), (200, payload));
        assert_eq!(response.header("content-type"), Some("application/vnd.in-toto+json"));
    }
    let absent = sha256(b"absent").to_hex();
    let response = connection.get(&format!("/api/treering/v1/statements/{absent}")).unwrap();
    assert_eq!((response.status, &response.json()["label"]), (404, &json!("no-statement")));
    let upper = absent.to_uppercase();
    for bad in ["x", &absent[1..], &upper] {
        let response = connection.get(&format!("/api/treering/v1/statements/{bad}")).unwrap();
        assert_eq!((response.status, &response.json()["label"]), (400, &json!("malformed-hash")));
    }
    let mut hashes: Vec<String> = payloads.iter().map(|p| sha256(p).to_hex()).collect();
    hashes.push(absent.clone());
    let request = json!({ "hashes": hashes }).to_string();
    let bulk = connection.post("/api/treering/v1/statements", request.as_bytes()).unwrap();
    assert_eq!(bulk.status, 200, "{}", bulk.text());
    let answer = bulk.json();
    assert_eq!(answer["missing"], json!([absent]));
    for (hash, payload) in hashes.iter().zip(&payloads) {
        assert_eq!(answer["statements"][hash], to_base64(payload));
        assert_eq!(
            from_base64(answer["statements"][hash].as_str().unwrap()).as_ref(),
            Some(payload)
        );
    }
    for (request, label) in [
        (json!({ "hashes": vec![&absent; 257] }), "too-many-hashes"),
        (json!({ "hashes": ["x"] }), "malformed-hash"),
        (json!({ "hashes": [], "more": 1 }), "malformed"),
        (json!([]), "malformed"),
    ] {
        let path = "/api/treering/v1/statements";
        let response = connection.post(path, request.to_string().as_bytes()).unwrap();
        assert_eq!((response.status, &response.json()["label"]), (400, &json!(label)));
    }
}

#[test]
fn indexes_that_are_none_are_told_from_those_beyond_the_tree() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 4);
    let mut connection = server.connect();
    for (index, status, label) in [
        ("4", 404, "no-entry-at-index"),
        ("9007199254740990", 404, "no-entry-at-index"),
        ("9007199254740992", 400, "malformed-index"),
        ("18446744073709551616", 400, "malformed-index"),
        ("-1", 400, "malformed-index"),
        ("03", 400, "malformed-index"),
        ("+3", 400, "malformed-index"),
        ("x", 400, "malformed-index"),
    ] {
        let response = connection.get(&format!("/api/treering/v1/entries/{index}")).unwrap();
        assert_eq!(response.status, status, "{index}: {}", response.text());
        assert_eq!(response.json()["label"], label, "{index}");
        assert_eq!(response.json()["code"], status, "{index}");
    }
    assert_eq!(connection.get("/api/treering/v1/entries/3").unwrap().status, 200);
}

#[test]
fn health_metrics_and_identity_say_what_is_so() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 12);
    let metrics = server.get("/metrics");
    let metrics = metrics.text();
    for line in ["treering_tree_size 12\n", "treering_latched 0\n", "treering_pool_depth 0\n"] {
        assert!(metrics.contains(line), "no {line:?} in {metrics}");
    }
    assert!(metrics.contains("treering_submissions_total{outcome=\"logged\"} 12\n"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["treeSize"]), (200, &json!("12")));
    assert_eq!(server.get("/livez").text(), "ok\n");
    assert_eq!(server.get("/healthz").text(), "{\"status\":\"SERVING\"}\n");
    assert_eq!(server.get("/ping").text(), ".");
    let document = server.get("/api/treering/v1/identity").body;
    let served = treering_proto::identity::LogIdentity::open(&document).unwrap();
    assert_eq!(served, log.identity);
    assert_eq!(server.ready["treeId"], log.identity.tree_id().to_string());
    let missing = server.get("/nothing/here");
    assert_eq!((missing.status, &missing.json()["label"]), (404, &json!("no-path")));
}
