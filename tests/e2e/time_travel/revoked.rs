//! A revoked model: with the log, with a status proof of before and of after, and when somebody
//! revokes who may not.

use std::fs;
use std::path::{Path, PathBuf};

use treering_tests::server::text;

use super::{DAY, NOT_AUTHORISED, POLICY, Person, Said, Signed, UNAVAILABLE, World};

const REVOKE: [&str; 6] =
    ["revoke", "--entry", "0", "--yes", "--reason", "trained on poisoned data"];

/// What the log knows about a model now, in a file.
#[track_caller]
fn staple(world: &World, person: &Person, signed: &Signed, name: &str) -> PathBuf {
    let file = world.log.beside(name);
    person.run(&signed.arguments("staple", &["--out", text(&file)])).passes();
    file
}

fn offline(person: &Person, signed: &Signed, status: &Path) -> Said {
    signed.verified_by(person, &["--status", text(status)])
}

#[test]
fn a_revoked_model_is_refused_online_and_by_a_fresh_status_proof_without_a_network() {
    let mut world = World::new();
    let model = world.sign(&world.weights("the weights"), "alice", "llm", &[]);
    let verifier = world.verifier(&["alice"]);
    let before = staple(&world, &verifier, &model, "before.status");
    let at = world.is_said("alice", &REVOKE);
    let after = staple(&world, &verifier, &model, "after.status");

    let refused = |said: &Said| {
        said.fails(POLICY, "rule-revoked");
        let words = ["the model is revoked", "next: do not use this model, under any name"];
        said.says("rule-revoked", "failed", &words);
        said.cites("rule-revoked", at, "revokes the model: trained on poisoned data");
    };
    refused(&model.verified_by(&verifier, &["--online"]));

    // From here on there is no network.
    world.stop();
    refused(&offline(&verifier, &model, &after));
    // Within the age that the policy allows, what was known then decides, and the report says what
    // that was.
    let said = offline(&verifier, &model, &before);
    said.passes();
    said.says("history", "passed", &["by the status proof", "in the tree of 1"]);
    said.says("rule-checkpoint-age", "passed", &["the newest tree that is known was so at"]);
    // Without any it cannot be checked, and is not skipped.
    let said = model.verified_by(&verifier, &[]);
    said.fails(UNAVAILABLE, "rule-revoked");
    said.says("rule-revoked", "not-checked", &["next: verify with --online", "--status FILE"]);
}

#[test]
fn a_stale_status_proof_is_refused_for_its_age_where_the_policy_says_so() {
    let mut world = World::new();
    let model = world.sign(&world.weights("the weights"), "alice", "llm", &[]);
    let verifier = world.verifier(&["alice"]);
    let before = staple(&world, &verifier, &model, "before.status");
    world.is_said("alice", &REVOKE);
    world.stop();

    let later = |person: &Person, hours: i64| {
        let status = model.arguments("verify", &["--status", text(&before)]);
        world.run_at(hours * 3600, person, &status)
    };
    later(&verifier, 23).passes();
    let said = later(&verifier, 25);
    said.fails(POLICY, "rule-checkpoint-age");
    let words = ["the policy allows 24 hours", "next: ", "a newer status proof: treering staple"];
    said.says("rule-checkpoint-age", "failed", &words);
    // On a machine whose clock is behind, the proof is from the future: no age is known.
    let said = later(&verifier, -25);
    said.fails(UNAVAILABLE, "rule-checkpoint-age");
    said.says("rule-checkpoint-age", "not-checked", &["this machine's clock is behind"]);

    // Whoever set no such rule is told as of when nobody had revoked it.
    verifier.change_trust(|trust| {
        trust["modelPolicy"].as_object_mut().unwrap().remove("checkpointAge");
    });
    let said = later(&verifier, 25);
    said.passes();
    said.says("history", "passed", &["in the tree of 1"]);
}

#[test]
fn a_revocation_by_a_stranger_is_taken_by_no_log_and_believed_by_no_verifier() {
    let mut world = World::new();
    let model = world.sign(&world.weights("the weights"), "alice", "llm", &[]);
    let verifier = world.verifier(&["alice"]);
    let said = world.say("mallory", &REVOKE);
    said.ends(NOT_AUTHORISED);
    assert!(said.stderr.contains("notice-signer"), "{said:?}");
    assert_eq!(world.server().size(), 1, "the log did not take it");
    model.verified_by(&verifier, &["--online"]).passes();

    // An operator who lets mallory revoke everything, or who is mallory.
    recover_by(&mut world, "mallory");
    verifier.asks(&format!("http://{}", world.server().address));
    let at = world.is_said("mallory", &REVOKE);
    let said = model.verified_by(&verifier, &["--online"]);
    said.passes();
    let ignored = format!("remark: the revocation in entry {at} does not count");
    said.says("rule-revoked", "passed", &[&ignored, "neither signed the model nor may speak"]);
    // The same without a network.
    let status = staple(&world, &verifier, &model, "stranger.status");
    offline(&verifier, &model, &status).passes();

    // Whoever names the key as a recovery key believes it.
    let rule = world.rule("mallory");
    verifier.change_trust(|trust| trust["modelPolicy"]["recovery"] = serde_json::json!([rule]));
    let refused =
        [model.verified_by(&verifier, &["--online"]), offline(&verifier, &model, &status)];
    for said in refused {
        said.fails(POLICY, "rule-revoked");
        said.cites("rule-revoked", at, "trained on poisoned data");
    }
}

/// The log is served with a policy that lets this key speak for every model.
fn recover_by(world: &mut World, who: &str) {
    world.key(who);
    let pem = fs::read_to_string(world.public_key(who)).unwrap();
    let key = treering_proto::key::PublicKey::from_pem(&pem).unwrap().fingerprint();
    let policy = format!("[[recovery]]\nname='r'\nkeys=['sha256:{key}']\n");
    let path = world.log.beside("access.toml");
    fs::write(&path, policy).unwrap();
    world.restart(&["--open-writes", "--access-policy", text(&path)]);
}

#[test]
fn a_revocation_holds_for_every_signer_and_name_and_not_for_other_models() {
    let world = World::new();
    let weights = world.weights("the weights");
    world.sign(&weights, "alice", "llm", &[]);
    let copy = world.sign(&weights, "bob", "fresh-llm", &[]);
    let next = world.sign(&world.weights("better weights"), "alice", "llm", &[]);
    let verifier = world.verifier(&["alice", "bob"]);
    copy.verified_by(&verifier, &["--online"]).passes();
    // A stranger's signature of the same bytes lets nobody revoke it.
    let theirs = world.sign(&weights, "mallory", "mine", &[]).entry();
    world.is_said("mallory", &["revoke", "--entry", &theirs, "--yes", "--reason", "mine"]);
    copy.verified_by(&verifier, &["--online"]).passes();

    world.is_said("alice", &REVOKE);
    let said = copy.verified_by(&verifier, &["--online"]);
    said.fails(POLICY, "rule-revoked");
    said.says("rule-revoked", "failed", &["trained on poisoned data"]);
    next.verified_by(&verifier, &["--online"]).passes();
    // What is said does not wear off.
    let arguments = copy.arguments("verify", &["--online"]);
    world.run_at(DAY / 2, &verifier, &arguments).fails(POLICY, "rule-revoked");
}
