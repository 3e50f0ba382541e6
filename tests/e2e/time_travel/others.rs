//! The same bytes under another name or by another signer, and models that honestly share files.

use super::{POLICY, World};

/// What is in many models.
const SHARED: [(&str, &str); 3] =
    [("tokenizer.json", "{\"a\": 1}"), ("config.json", "{}"), ("LICENSE", "free")];

#[test]
fn the_same_bytes_under_another_name_or_by_another_signer_are_not_new() {
    let mut world = World::begun_days_ago(40);
    let weights = world.weights("the weights");
    world.sign(&weights, "alice", "llm", &[]);
    world.today();
    let renamed = world.sign(&weights, "alice", "fresh", &[]);
    let taken = world.sign(&weights, "bob", "bobs-llm", &[]);
    for signed in [&renamed, &taken] {
        let said = signed.verified_by(&world.verifier(&["alice", "bob"]), &["--online"]);
        said.fails(POLICY, "rule-first-seen");
        said.says("rule-first-seen", "failed", &["treering sign --renews 0"]);
        said.cites("rule-first-seen", 0, "the same bytes, logged first");
    }
    // Whoever accepts bob alone is told that the bytes are somebody else's, or refuses them.
    let bobs = world.verifier(&["bob"]);
    let said = taken.verified_by(&bobs, &["--online"]);
    said.passes();
    said.says("rule-other-signer", "warned", &["the same bytes were signed before"]);
    said.cites("rule-other-signer", 0, "the same bytes by another");
    bobs.change_trust(|trust| trust["modelPolicy"]["otherSigner"] = "refuse".into());
    taken.verified_by(&bobs, &["--online"]).fails(POLICY, "rule-other-signer");

    // The signer says that the model has a new name.
    let by = renamed.entry();
    world.is_said(
        "alice",
        &["supersede", "--entry", "0", "--by-entry", &by, "--reason", "it is called fresh now"],
    );
    let said = renamed.verified_by(&world.verifier(&["alice"]), &["--online"]);
    said.passes();
    said.says("rule-superseded", "passed", &[]);
}

#[test]
fn a_name_that_others_signed_before_is_told_and_so_is_a_successor() {
    let world = World::new();
    let old = world.sign(&world.weights("the weights"), "alice", "llm", &[]);
    let taken = world.sign(&world.weights("other weights"), "bob", "llm", &[]);
    let said = taken.verified_by(&world.verifier(&["bob"]), &["--online"]);
    said.passes();
    said.says("rule-new-signer", "warned", &["others signed before", "next: ask"]);
    said.cites("rule-new-signer", 0, "was signed under this name by another");
    let verifier = world.verifier(&["alice"]);
    let said = old.verified_by(&verifier, &["--online"]);
    said.passes();
    said.says("rule-new-signer", "passed", &[]);

    let next = world.sign(&world.weights("better weights"), "alice", "llm-next", &[]);
    let by = next.entry();
    let at = world.is_said(
        "alice",
        &["supersede", "--entry", "0", "--by-entry", &by, "--reason", "fixes the tokenizer"],
    );
    let said = old.verified_by(&verifier, &["--online"]);
    said.passes();
    let next_step = format!("next: use the model of entry {by}");
    said.says("rule-superseded", "warned", &[&next_step]);
    said.cites("rule-superseded", at, "takes its place: fixes the tokenizer");
    let said = next.verified_by(&verifier, &["--online"]);
    said.passes();
    said.says("rule-superseded", "passed", &[]);
}

#[test]
fn an_adapter_shares_files_with_its_base_and_only_weights_are_told() {
    let mut world = World::begun_days_ago(40);
    let base = [&[("model.safetensors", "base weights")][..], &SHARED].concat();
    world.sign(&world.model("base", &base), "alice", "base", &[]);
    world.today();
    let verifier = world.verifier(&["alice", "bob"]);

    let adapter = [&[("adapter.safetensors", "adapter weights")][..], &SHARED].concat();
    let adapter = world.sign(&world.model("adapter", &adapter), "bob", "base-lora", &[]);
    let said = adapter.verified_by(&verifier, &["--online"]);
    said.passes();
    let report = said.json();
    let checks = report["checks"].as_array().unwrap().iter();
    let warned: Vec<_> = checks.filter(|check| check["outcome"] == "warned").collect();
    assert!(warned.is_empty(), "{warned:#?}");
    said.says("rule-weights-first-seen", "passed", &["one of the 1 weight files"]);

    // The base's weights in another coat: another model, which the policy tells and lets pass.
    let coat = [("model.safetensors", "base weights"), ("config.json", "{\"new\": 1}")];
    let coat = world.sign(&world.model("coat", &coat), "bob", "brand-new", &[]);
    let said = coat.verified_by(&verifier, &["--online"]);
    said.passes();
    said.says("rule-weights-first-seen", "warned", &["next: ask the signer"]);
    said.cites("rule-weights-first-seen", 0, "has a weight file of this model");
}
