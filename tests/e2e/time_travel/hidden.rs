//! A log that hides a revocation from its search, and a verifier with the index of a monitor.

use std::fs;
use std::sync::Arc;

use treering_tests::lying_log::{Branch, Keys, Lie, LyingLog, any_entry, grown};
use treering_tests::person::{ALARM, PROVEN_LOG};
use treering_tests::server::text;

use super::{NOT_VERIFIED, POLICY, Person, UNAVAILABLE};

#[test]
fn a_revocation_that_the_search_hides_is_in_the_index_of_a_monitor() {
    let (log, person) = scene();
    person.sign("llm").passes();
    let index = person.path("state");
    let index = ["--index", text(&index), "--online"];
    person.finds_nothing(&[]);
    person.verify("llm", &index).passes();
    person.verify("llm", &index[..2]).passes();

    let at = revoke(&person);
    person.verify("llm", &["--online"]).fails(POLICY, "rule-revoked");
    log.tell(Lie::Hide(at));
    // What the log hides, nobody notices who only asks the log.
    person.verify("llm", &["--online"]).passes();
    // An index that was read before knows nothing of it, and says up to where it goes.
    let said = person.verify("llm", &index);
    said.passes();
    said.says("history", "passed", &["by the index", "in the tree of 1"]);

    person.finds_nothing(&[]);
    let said = person.verify("llm", &index);
    said.fails(POLICY, "rule-revoked");
    let words = [&*format!("entry {at}, "), "trained on poisoned data", "next: do not use"];
    said.says("rule-revoked", "failed", &words);
    // Without the log the index knows that something was said about the model, and not what.
    let said = person.verify("llm", &index[..2]);
    said.fails(UNAVAILABLE, "rule-revoked");
    let words = [
        &*format!("entry {at} is a notice that this version cannot read"),
        "only the log has its text",
        "next: ",
    ];
    said.says("rule-revoked", "not-checked", &words);
    let said = person.run(&[&["history", text(&person.model("llm"))], &index[..]].concat());
    said.passes();
    let history = said.json();
    assert_eq!(history["entries"][1]["notice"]["kind"], "revoke", "{history:#}");
    assert_eq!(history["entries"][1]["notice"]["counts"], true, "{history:#}");

    // A log that shows something else in its place contradicts what it showed the monitor.
    log.tell(Lie::Entry(at, any_entry().body().to_vec()));
    person.verify("llm", &index).fails(ALARM, "history");
}

#[test]
fn a_status_proof_of_a_tree_without_the_revocation_is_a_fork_to_whoever_saw_the_other() {
    let (log, person) = scene();
    person.sign("llm").passes();
    let without = log.scene().branch.clone();
    revoke(&person);
    let staple = |person: &Person, name: &str| {
        let out = person.path(name);
        person.run(&["staple", text(&person.model("llm")), "--out", text(&out)]).passes();
        out
    };
    let with = staple(&person, "with.status");
    person.verify("llm", &["--status", text(&with)]).fails(POLICY, "rule-revoked");

    // To somebody else the log shows a tree in which another entry stands in its place.
    log.now_shows(grown(without, 1));
    let other = Person::new(&log.scene().branch.keys().clone(), &log.url());
    for (from, to) in [
        (person.model("llm"), other.model("llm")),
        (person.bundle("llm"), other.bundle("llm")),
        (person.trust(), other.trust()),
    ] {
        fs::copy(from, to).unwrap();
    }
    let forked = staple(&other, "forked.status");
    let status = ["--status", text(&forked)];
    other.verify("llm", &status).passes();
    let said = person.verify("llm", &status);
    said.fails(ALARM, "history");
    person.takes_evidence("fork-size", PROVEN_LOG);
    // A file that somebody changed on its way is no status proof.
    let changed = fs::read_to_string(&forked).unwrap();
    fs::write(&forked, changed.replacen("\"searched\":2", "\"searched\":1", 1)).unwrap();
    other.verify("llm", &status).fails(NOT_VERIFIED, "history");
}

/// An honest log, and somebody with the recommended policy.
fn scene() -> (LyingLog, Person) {
    let keys = Arc::new(Keys::generate_dated(0));
    let log = LyingLog::show(Branch::new(&keys));
    let person = Person::new(&keys, &log.url());
    person.run(&["trust", "set-model-policy", "recommended"]).passes();
    (log, person)
}

/// Somebody revokes their model: where that is.
fn revoke(person: &Person) -> u64 {
    let (model, key) = (person.model("llm"), person.path("signer.pem"));
    let out = person.path("revocation.sig");
    let revoke = ["revoke", text(&model), "--reason", "trained on poisoned data", "--yes"];
    let said = person.run(&[&revoke[..], &["--key", text(&key), "--out", text(&out)]].concat());
    said.passes();
    said.json()["index"].as_u64().unwrap()
}
