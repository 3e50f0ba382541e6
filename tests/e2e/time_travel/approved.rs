//! Approvals: as many people as the policy asks for, and not one of them twice.

use std::fs;

use serde_json::json;
use treering_tests::server::text;

use super::{POLICY, World};

#[test]
fn an_approver_counts_once_however_often_and_two_people_are_two() {
    let world = World::new();
    let model = world.sign(&world.weights("the weights"), "alice", "llm", &[]);
    let verifier = world.verifier(&["alice"]);
    // Sam has two keys and two roles, and is one person.
    let mut second = world.rule("sams-second");
    second["name"] = "sam".into();
    let approvals = json!({"action": "refuse", "count": 2, "roles": {
        "security": [world.rule("sam")],
        "safety": [world.rule("sam")],
        "qa": [second, world.rule("kim")],
    }});
    let policy = world.log.beside("policy.json");
    fs::write(&policy, json!({ "approvals": approvals }).to_string()).unwrap();
    verifier.run(&["trust", "set-model-policy", text(&policy)]).passes();
    // The recommended rules beside them.
    verifier.run(&["trust", "set-model-policy", "recommended"]).passes();
    let approve = |who: &str, role: &str, reason: &str| {
        world.is_said(who, &["approve", "--entry", "0", "--role", role, "--reason", reason])
    };
    let refused = |cited: &[u64], have: usize, words: &[&str]| {
        let said = model.verified_by(&verifier, &["--online"]);
        said.fails(POLICY, "rule-approvals");
        let found = format!("{have} distinct people approved, and 2 are needed");
        let words = [words, &[&found, "next: let others approve", "treering approve"]].concat();
        said.says("rule-approvals", "failed", &words);
        for at in cited {
            said.cites("rule-approvals", *at, "approves as ");
        }
    };
    refused(&[], 0, &[]);
    let cited = [
        approve("sam", "security", "looked at it"),
        approve("sam", "security", "looked again"),
        approve("sam", "safety", "and tested it"),
        approve("sams-second", "qa", "with my other key"),
    ];
    refused(&cited, 1, &[]);
    // Whoever signs a model is nobody who approves it, and neither is a stranger.
    let by_alice = approve("alice", "qa", "it is mine");
    let by_nobody = approve("mallory", "security", "trust me");
    let in_no_role = approve("kim", "design", "nice");
    let ignored = [
        format!("the approval in entry {by_alice} is by nobody who may as \"qa\""),
        format!("the approval in entry {by_nobody} is by nobody who may as \"security\""),
        format!("the approval in entry {in_no_role} is in the role \"design\", which no rule has"),
    ];
    refused(&cited, 1, &ignored.each_ref().map(|text| &**text));

    let by_kim = approve("kim", "qa", "passed suite 12");
    let said = model.verified_by(&verifier, &["--online"]);
    said.passes();
    said.says("rule-approvals", "passed", &["2 people approved"]);
    said.cites("rule-approvals", by_kim, "approves as \"qa\"");
    // Approvals are of bytes: those of another model are none of this.
    let other = world.sign(&world.weights("other weights"), "alice", "llm-other", &[]);
    other.verified_by(&verifier, &["--online"]).fails(POLICY, "rule-approvals");
}
