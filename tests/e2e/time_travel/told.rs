//! What is told of models that travelled: verification events, `history`, and status proofs.

use std::fs;

use serde_json::{Value, json};
use treering_tests::server::text;

use super::{POLICY, UNAVAILABLE, World};

#[test]
fn a_pass_and_a_refusal_are_a_line_each_with_every_check() {
    let mut world = World::begun_days_ago(40);
    let weights = world.weights("the weights");
    let first = world.sign(&weights, "alice", "llm", &["--model-version", "1"]);
    world.today();
    let again = world.sign(&weights, "alice", "llm", &["--model-version", "2"]);
    let verifier = world.verifier(&["alice"]);
    let events = world.log.beside("events.jsonl");
    let tell = ["--online", "--events", text(&events)];
    let (passed, refused) =
        (first.verified_by(&verifier, &tell), again.verified_by(&verifier, &tell));
    passed.passes();
    refused.fails(POLICY, "rule-first-seen");

    let lines = fs::read_to_string(&events).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for (line, said, exit, version) in
        [(&lines[0], &passed, 0, "1"), (&lines[1], &refused, POLICY, "2")]
    {
        assert_eq!(line["schema"], "treering.event/v1");
        assert_eq!((&line["exit"], &line["verified"]), (&json!(exit), &json!(exit == 0)));
        assert_eq!(line["path"], text(&weights));
        assert_eq!(line["log"], world.log.identity.origin());
        assert_eq!((&line["online"], &line["cut"]), (&json!(true), &json!(false)));
        assert_eq!((&line["error"], &line["evidence"]), (&Value::Null, &json!([])));
        let report = said.json();
        for member in ["checks", "model", "signer", "publicKey", "entry"] {
            assert_eq!(line[member], report[member], "{member} of {line:#}");
        }
        assert_eq!(line["model"]["version"], version);
    }
    let checks = lines[1]["checks"].as_array().unwrap();
    let rule = checks.iter().find(|check| check["check"] == "rule-first-seen").unwrap();
    let details = rule["details"].as_array().unwrap();
    let says = |words: &str| details.iter().any(|line| line.as_str().unwrap().contains(words));
    assert!(says("entry 0, ") && says("treering sign --renews 0"), "{rule:#}");
}

#[test]
fn history_tells_who_signed_what_when_and_whose_word_counts() {
    let mut world = World::begun_days_ago(40);
    let weights = world.weights("the weights");
    let first = world.sign(&weights, "alice", "llm", &["--model-version", "1"]);
    world.today();
    world.sign(&weights, "bob", "copied", &[]);
    world.sign(&weights, "alice", "llm", &["--renews", "0"]);
    world.sign(&world.weights("better weights"), "alice", "llm", &["--model-version", "2"]);
    world.is_said("alice", &["approve-rollback", "--entry", "0", "--reason", "2 leaks prompts"]);
    world.is_said("mallory", &["approve", "--entry", "0", "--role", "qa"]);
    world.is_said("alice", &["revoke", "--entry", "0", "--reason", "so does 1", "--yes"]);

    let verifier = world.verifier(&["alice"]);
    let said = verifier.run(&["history", text(&weights)]);
    said.passes();
    let history = said.json();
    assert_eq!(history["schema"], "treering.history/v1");
    assert_eq!((&history["source"]["kind"], &history["treeSize"]), (&json!("log"), &json!(7)));
    let rows: Vec<Value> = history["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let notice = &row["notice"];
            let more = if notice.is_null() { &row["name"] } else { &notice["kind"] };
            json!([row["index"], row["relation"], more, row["acceptedAs"], notice["counts"]])
        })
        .collect();
    let alice = ["alice"];
    assert_eq!(
        json!(rows),
        json!([
            [0, "signed", "llm", alice, null],
            [1, "signed", "copied", [], null],
            [2, "signed", "llm", alice, null],
            [3, "newer", "llm", alice, null],
            [4, "notice", "approve-rollback", alice, true],
            [5, "notice", "approve", [], false],
            [6, "notice", "revoke", alice, true],
        ]),
        "{history:#}"
    );
    assert_eq!(history["entries"][2]["renews"]["index"], 0, "{history:#}");
    assert_eq!(history["entries"][3]["version"], "2", "{history:#}");
    let times: Vec<u64> = history["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["time"].as_u64())
        .collect();
    assert!((40..=41).contains(&((times[1] - times[0]) / 86_400)), "{times:?}");

    // For people: where it was first seen, and whose word does not count.
    let said = verifier.run(&["history", text(&weights), "--output", "text"]);
    said.passes();
    assert!(said.stdout.starts_with("first seen  entry 0, "), "{said:?}");
    assert_eq!(said.stdout.matches("DOES NOT COUNT").count(), 1, "{said:?}");
    assert!(said.stderr.contains("is the log's word"), "{said:?}");

    // The same from a status proof, without a network.
    let status = world.log.beside("the.status");
    verifier.run(&first.arguments("staple", &["--out", text(&status)])).passes();
    world.stop();
    let said = verifier.run(&["history", text(&weights), "--status", text(&status)]);
    said.passes();
    let offline = said.json();
    assert_eq!(offline["source"]["kind"], "status");
    assert_eq!(offline["entries"], history["entries"]);
}

#[test]
fn a_status_proof_carries_every_verdict_to_a_machine_without_a_network() {
    let mut world = World::begun_days_ago(40);
    let weights = world.weights("the weights");
    let first = world.sign(&weights, "alice", "llm", &["--model-version", "1"]);
    world.today();
    let again = world.sign(&weights, "alice", "copy", &["--model-version", "1"]);
    let next = world.sign(&world.weights("better"), "alice", "llm", &["--model-version", "2"]);
    let verifier = world.verifier(&["alice"]);
    let mut carried = Vec::new();
    for (signed, code) in [(&first, POLICY), (&again, POLICY), (&next, 0)] {
        let status = world.log.beside(&format!("{}.status", signed.index));
        verifier.run(&signed.arguments("staple", &["--out", text(&status)])).passes();
        let online = signed.verified_by(&verifier, &["--online"]);
        assert_eq!(online.code, Some(code), "{online:?}");
        carried.push((signed, online, status));
    }
    // Somebody who never saw the log.
    let isolated = world.verifier(&[]);
    fs::copy(verifier.trust(), isolated.trust()).unwrap();
    world.stop();
    // A proof about one model says nothing about another.
    let swapped = next.verified_by(&isolated, &["--status", text(&carried[0].2)]);
    swapped.fails(UNAVAILABLE, "rule-revoked");
    swapped.says("rule-revoked", "not-checked", &["it was not asked for", "next: "]);
    for (signed, online, status) in carried {
        let said = signed.verified_by(&isolated, &["--status", text(&status)]);
        assert_eq!(said.code, online.code, "{said:?}");
        let rules = |said: &super::Said| -> Vec<Value> {
            let report = said.json();
            let checks = report["checks"].as_array().unwrap().iter();
            let is_rule = |check: &&Value| check["check"].as_str().unwrap().starts_with("rule-");
            let timeless = |check: &&Value| check["check"] != "rule-checkpoint-age";
            checks.filter(is_rule).filter(timeless).cloned().collect()
        };
        assert_eq!(rules(&said), rules(&online), "the same code judges both");
        assert_eq!(rules(&said).len(), 9, "{said:?}");
    }
}
