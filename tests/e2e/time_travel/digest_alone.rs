//! A model that is logged as a digest alone, so that nobody who watches names can see it.

use std::fs;

use serde_json::{Value, json};
use treering_proto::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::encoding::from_base64;
use treering_proto::hash::sha256;
use treering_proto::key::PublicKey;
use treering_tests::server::text;
use treering_tests::submission::hashedrekord_v2;

use super::{POLICY, Signed, UNAVAILABLE, World};

/// Signs as everybody does, for another log; and logs the digest of what was signed here.
fn log_digest(world: &World, elsewhere: &World, who: &str, weights: &str, name: &str) -> Signed {
    // The other log gets the same key.
    for (from, to) in [
        (world.key(who), elsewhere.log.beside(&format!("{who}.pem"))),
        (world.public_key(who), elsewhere.public_key(who)),
    ] {
        fs::copy(from, to).unwrap();
    }
    let signed = elsewhere.sign(&world.weights(weights), who, name, &[]);
    let mut bundle: Value = serde_json::from_slice(&fs::read(&signed.bundle).unwrap()).unwrap();
    let bytes = |at: &str| from_base64(bundle.pointer(at).unwrap().as_str().unwrap()).unwrap();
    let signed_bytes = pae(IN_TOTO_PAYLOAD_TYPE, &bytes("/dsseEnvelope/payload"));
    let pem = fs::read_to_string(world.public_key(who)).unwrap();
    let request = hashedrekord_v2(
        sha256(&signed_bytes).as_bytes(),
        &bytes("/dsseEnvelope/signatures/0/sig"),
        &PublicKey::from_pem(&pem).unwrap(),
    );
    let request = request.to_string();
    let answer = world.server().connect().post("/api/v2/log/entries", request.as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let entry = answer.json();
    let index = entry["logIndex"].as_str().unwrap().parse().unwrap();
    bundle["verificationMaterial"]["tlogEntries"] = json!([entry]);
    let path = world.log.beside(&format!("{name}-digest.sig"));
    fs::write(&path, bundle.to_string()).unwrap();
    Signed { bundle: path, index, ..signed }
}

#[test]
fn a_digest_alone_dodges_no_rule_and_showing_the_bundle_makes_it_good() {
    let (world, elsewhere) = (World::new(), World::new());
    let old = log_digest(&world, &elsewhere, "alice", "old weights", "llm");
    let verifier = world.verifier(&["alice"]);
    let said = old.verified_by(&verifier, &["--online"]);
    // Nothing says what it stands among.
    said.fails(UNAVAILABLE, "rule-not-newest");
    said.fails(UNAVAILABLE, "rule-version-not-rising");
    let words = ["the digest of the signature alone", "next: ", "treering submit"];
    said.says("rule-no-statement", "warned", &words);

    // Names count although the log does not know that of this entry.
    world.sign(&world.weights("new weights"), "alice", "llm", &[]);
    let said = old.verified_by(&verifier, &["--online"]);
    said.fails(POLICY, "rule-not-newest");
    said.cites("rule-not-newest", 1, "is newer");

    // Whoever wants to see everything refuses it, until the log is shown what was signed.
    let newest = log_digest(&world, &elsewhere, "alice", "newest weights", "llm");
    verifier.change_trust(|trust| trust["modelPolicy"]["noStatement"] = "refuse".into());
    newest.verified_by(&verifier, &["--online"]).fails(POLICY, "rule-no-statement");
    let (shown, key) = (world.log.beside("shown.sig"), world.public_key("alice"));
    fs::copy(&newest.bundle, &shown).unwrap();
    world.run(&["submit", text(&shown), "--public-key", text(&key)]).passes();
    let said = newest.verified_by(&verifier, &["--online"]);
    said.passes();
    let words = ["the same signer showed it to the log as entry 3"];
    said.says("rule-no-statement", "passed", &words);
    let shown = Signed { bundle: shown, index: 3, ..newest };
    shown.verified_by(&verifier, &["--online"]).passes();
}

#[test]
fn a_stranger_who_shows_the_same_bytes_does_not_speak_for_the_signer() {
    let (world, elsewhere) = (World::new(), World::new());
    let digest = log_digest(&world, &elsewhere, "alice", "the weights", "llm");
    world.sign(&world.weights("the weights"), "mallory", "llm", &[]);
    let verifier = world.verifier(&["alice"]);
    verifier.change_trust(|trust| trust["modelPolicy"]["noStatement"] = "refuse".into());
    digest.verified_by(&verifier, &["--online"]).fails(POLICY, "rule-no-statement");
}
