//! Wrong clocks on the machines of signers: nothing depends on them.

use super::{DAY, POLICY, World};

#[test]
fn the_clock_of_the_signer_makes_nothing_older_or_newer() {
    let mut world = World::begun_days_ago(40);
    let (weights, other) = (world.weights("the weights"), world.weights("other weights"));
    // Ten years ahead, and ten years behind.
    let years = 10 * 365 * DAY;
    let first = world.sign_at(years, &weights, "alice", "llm", &["--model-version", "1"]);
    world.today();
    let verifier = world.verifier(&["alice"]);

    // A signer whose clock says that it is long ago does not make the old bytes young ...
    let again = world.sign_at(-years, &weights, "alice", "again", &[]);
    let said = again.verified_by(&verifier, &["--online"]);
    said.fails(POLICY, "rule-first-seen");
    said.says("rule-first-seen", "failed", &["40 days before"]);
    first.verified_by(&verifier, &["--online"]).passes();
    // ... and a new model is the newest, whatever it was signed by.
    let next = world.sign_at(-years, &other, "alice", "llm", &["--model-version", "2"]);
    next.verified_by(&verifier, &["--online"]).passes();
    first.verified_by(&verifier, &["--online"]).fails(POLICY, "rule-not-newest");

    // The times are the log's: nobody else was asked.
    let said = verifier.run(&["history", "--name", "llm"]);
    said.passes();
    let history = said.json();
    let times: Vec<u64> = history["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            assert_eq!(entry["timeWord"], "log", "{history:#}");
            entry["time"].as_u64().unwrap()
        })
        .collect();
    let [old, new] = times[..] else { panic!("two models: {history:#}") };
    let days = (new - old) / DAY.unsigned_abs();
    assert_eq!(days, 40, "{history:#}");
    let head = history["headTime"].as_u64().unwrap();
    assert!(new <= head, "{history:#}");
}
