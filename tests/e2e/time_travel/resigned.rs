//! The same bytes signed again long after, and shown as new.

use super::{POLICY, World};

#[test]
fn old_bytes_signed_again_are_not_new_and_a_renewal_says_so() {
    let mut world = World::begun_days_ago(40);
    let weights = world.weights("the weights");
    let first = world.sign(&weights, "old-key", "llm", &["--model-version", "1"]);
    world.today();

    // By the same key, and by the next one: new to whoever looks at the signature alone.
    let verifier = world.verifier(&["old-key", "new-key"]);
    for (who, version) in [("old-key", "2"), ("new-key", "3")] {
        let shown = world.sign(&weights, who, "llm", &["--model-version", version]);
        let said = shown.verified_by(&verifier, &["--online"]);
        said.fails(POLICY, "rule-first-seen");
        let found = format!("first logged as entry 0, 40 days before entry {}", shown.index);
        let words = [
            &*found,
            "by the log's word",
            "the policy allows 30 days",
            "next: use the bundle of entry 0",
            "treering sign --renews 0",
        ];
        said.says("rule-first-seen", "failed", &words);
        said.cites("rule-first-seen", 0, "the same bytes, logged first");
    }
    // The signature of then is right, and so is one that says what it is.
    first.verified_by(&verifier, &["--online"]).passes();
    let renewed = world.sign(&weights, "new-key", "llm", &["--renews", "0"]);
    renewed.verified_by(&verifier, &["--online"]).passes();
    // The old key was lost in the meantime, or is not accepted any more.
    let later = world.verifier(&["new-key"]);
    let said = renewed.verified_by(&later, &["--online"]);
    said.passes();
    let continued = format!("entry 0, which entry {} continues", renewed.index);
    said.says("rule-first-seen", "passed", &[&continued]);
}

#[test]
fn a_renewal_of_something_else_is_none() {
    let mut world = World::begun_days_ago(40);
    let weights = world.weights("the weights");
    world.sign(&weights, "alice", "llm", &[]);
    let other = world.sign(&world.weights("other weights"), "alice", "llm-other", &[]);
    world.today();
    // The client does not sign it, the log does not take it.
    let arguments = world.sign_arguments(&weights, "alice", "llm");
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let other = other.entry();
    arguments.extend(["--renews", &other]);
    let said = world.run(&arguments);
    said.ends(super::NOT_VERIFIED);
    assert!(said.stderr.contains("about other files"), "{said:?}");
    assert_eq!(world.server().size(), 2);

    // Under another name only the old one's signer says that it is the same.
    let renamed = world.sign(&weights, "alice", "llm-new", &["--renews", "0"]);
    let verifier = world.verifier(&["alice"]);
    let said = renamed.verified_by(&verifier, &["--online"]);
    said.fails(POLICY, "rule-first-seen");
    said.says("rule-first-seen", "failed", &["only `supersede` announces a new one"]);
    let by = renamed.entry();
    let renames = ["supersede", "--entry", "0", "--by-entry", &by, "--reason", "renamed"];
    world.is_said("alice", &renames);
    renamed.verified_by(&verifier, &["--online"]).passes();
}
