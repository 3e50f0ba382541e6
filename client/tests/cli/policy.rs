//! What the shipped binary does with a model policy.

use serde_json::Value;

use super::{Bench, outcome};

#[test]
fn a_model_policy_is_set_shown_and_taken_away() {
    let bench = Bench::new();
    let set = |policy| bench.expect(0, &["trust", "set-model-policy", policy]);
    let shown = set("recommended");
    assert!(shown.contains("rule      revoked: refuse"), "{shown}");
    assert!(shown.contains("rule      newSigner: warn"), "{shown}");
    bench
        .write("own.json", br#"{"revoked": "warn", "recovery": [{"name": "r", "identity": "a"}]}"#);
    let shown = set("own.json");
    assert!(shown.contains("rule      revoked: warn") && !shown.contains("newSigner"), "{shown}");
    assert!(shown.contains("recovery  1 people"), "{shown}");
    // Recovery keys stay where they are.
    assert!(set("recommended").contains("recovery  1 people"));
    let json = bench.json(0, &["trust", "show"]);
    assert_eq!(json["modelPolicy"]["checkpointAge"]["hours"], 24);
    assert!(!set("none").contains("rule"));

    let before = std::fs::read(bench.path("trust.json")).unwrap();
    for bad in [&br#"{"revoked": "deny"}"#[..], b"{}}", br#"{"later": "refuse"}"#] {
        bench.write("bad.json", bad);
        bench.expect(2, &["trust", "set-model-policy", "bad.json"]);
    }
    bench.expect(2, &["trust", "set-model-policy", "absent.json"]);
    assert_eq!(std::fs::read(bench.path("trust.json")).unwrap(), before);
}

#[test]
fn offline_a_rule_that_refuses_is_5_and_one_that_warns_is_told() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    bench.expect(0, &["verify", "llama"]);
    bench.write("refuse.json", br#"{"revoked": "refuse", "noStatement": "refuse"}"#);
    bench.expect(0, &["trust", "set-model-policy", "refuse.json"]);
    let report = bench.json(5, &["verify", "llama"]);
    assert_eq!(outcome(&report, "rule-revoked"), "not-checked");
    assert_eq!(outcome(&report, "rule-no-statement"), "passed");
    assert_eq!(report["verified"], Value::Bool(false));
    bench.write("warn.json", br#"{"revoked": "warn", "firstSeen": {"action": "warn", "days": 1}}"#);
    bench.expect(0, &["trust", "set-model-policy", "warn.json"]);
    let report = bench.json(0, &["verify", "llama"]);
    assert_eq!(outcome(&report, "rule-revoked"), "not-checked");
    // The rule takes the place of the check.
    let checks = report["checks"].as_array().unwrap();
    let named = |name: &str| checks.iter().any(|check| check["check"] == name);
    assert!(named("newest") && named("rule-first-seen") && !named("first-seen"));
    // Nothing is verified, so nothing is left unsaid either.
    bench.write("llama/model.sig", b"garbage");
    let report = bench.json(1, &["verify", "llama"]);
    assert_eq!(outcome(&report, "rule-revoked"), "not-checked");
}
