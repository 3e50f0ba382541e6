//! An older version where a newer one is logged, and versions that do not rise.

use super::{POLICY, Signed, World};

#[test]
fn an_older_version_is_refused_until_its_signer_says_that_it_is_right_again() {
    let world = World::new();
    let sign = |version: &str| {
        let weights = world.weights(&format!("weights of {version}"));
        world.sign(&weights, "alice", "llm", &["--model-version", version])
    };
    let verifier = world.verifier(&["alice"]);
    let old = sign("1");
    old.verified_by(&verifier, &["--online"]).passes();
    let new = sign("2");
    let refused = |newest: &Signed, version: &str, ended: &[&str]| {
        let said = old.verified_by(&verifier, &["--online"]);
        said.fails(POLICY, "rule-not-newest");
        let words = ["stands at entry 0", "next: use the newest", "treering approve-rollback"];
        said.says("rule-not-newest", "failed", &[&words, ended].concat());
        let what = format!("is newer, version \"{version}\"");
        said.cites("rule-not-newest", newest.index, &what);
    };
    refused(&new, "2", &["1 newer models are logged as \"llm\""]);
    new.verified_by(&verifier, &["--online"]).passes();

    // A stranger says that the old one is right again: the log does not take it.
    let roll_back = ["approve-rollback", "--entry", "0", "--reason", "2 leaks prompts"];
    let said = world.say("mallory", &roll_back);
    assert_eq!(said.code, Some(super::NOT_AUTHORISED), "{said:?}");
    assert!(said.stderr.contains("notice-signer"), "{said:?}");
    refused(&new, "2", &[]);

    let at = world.is_said("alice", &roll_back);
    let said = old.verified_by(&verifier, &["--online"]);
    said.passes();
    let approved = format!("entry {at} approves this one again");
    said.says("rule-not-newest", "passed", &[&approved]);

    // It ends when something newer is logged.
    let newest = sign("3");
    let ended = format!("the roll-back that entry {at} approves has ended");
    refused(&newest, "3", &[&ended]);
    newest.verified_by(&verifier, &["--online"]).passes();
}

#[test]
fn neither_a_renewal_nor_a_new_version_makes_old_bytes_the_newest() {
    let world = World::new();
    let (old, new) = (world.weights("old weights"), world.weights("new weights"));
    let verifier = world.verifier(&["alice", "new-key"]);
    let first = world.sign(&old, "alice", "llm", &["--model-version", "1"]);
    let newest = world.sign(&new, "alice", "llm", &["--model-version", "2"]);
    // Within the days that old bytes may be: the same bytes as a newer version, or by a newer key.
    for shown in [
        world.sign(&old, "alice", "llm", &["--model-version", "3"]),
        world.sign(&old, "new-key", "llm", &["--model-version", "1", "--renews", "0"]),
        world.sign(&old, "new-key", "llm", &["--model-version", "4"]),
    ] {
        let said = shown.verified_by(&verifier, &["--online"]);
        said.fails(POLICY, "rule-not-newest");
        said.says("rule-not-newest", "failed", &["stands at entry 0"]);
        said.cites("rule-not-newest", 1, "is newer");
    }
    newest.verified_by(&verifier, &["--online"]).passes();
    // All of it renewed with the next key is in the order that it had, and a person may still say
    // that an older one is wanted.
    let renewed = world.sign(&new, "new-key", "llm", &["--model-version", "2", "--renews", "1"]);
    let later = world.verifier(&["new-key"]);
    renewed.verified_by(&later, &["--online"]).passes();
    let said = first.verified_by(&verifier, &["--online", "--allow-older"]);
    said.passes();
    said.says("rule-not-newest", "warned", &["stands at entry 0"]);
    said.cites("rule-not-newest", 1, "is newer");
}

#[test]
fn a_lowered_version_is_refused_and_a_new_major_version_passes() {
    let world = World::new();
    let verifier = world.verifier(&["alice"]);
    let sign = |weights: &str, version: &str| {
        world.sign(&world.weights(weights), "alice", "llm", &["--model-version", version])
    };
    sign("good weights", "2.1.0").verified_by(&verifier, &["--online"]).passes();
    for lowered in ["2.0.9", "2.1.0-rc.1", "2.1.0"] {
        let lowered = sign(&format!("old weights {lowered}"), lowered);
        let said = lowered.verified_by(&verifier, &["--online"]);
        said.fails(POLICY, "rule-version-not-rising");
        let words = ["next: let the signer", "--model-version"];
        said.says("rule-version-not-rising", "failed", &words);
        said.cites("rule-version-not-rising", 0, "came before, version \"2.1.0\"");
    }
    // Without a version nothing can be said, which is no way around the rule.
    let without = world.sign(&world.weights("no version"), "alice", "llm", &[]);
    let said = without.verified_by(&verifier, &["--online"]);
    said.fails(super::UNAVAILABLE, "rule-version-not-rising");
    let words = ["gives no version, and those before it do", "next: let the signer"];
    said.says("rule-version-not-rising", "not-checked", &words);

    sign("next weights", "3.0.0-rc.1").verified_by(&verifier, &["--online"]).passes();
    let said = sign("major weights", "3.0.0").verified_by(&verifier, &["--online"]);
    said.passes();
    said.says("rule-version-not-rising", "passed", &["above all that were logged before"]);
}
