//! What the shipped binary does about witnesses and ages.

use serde_json::Value;
use treering_proto::note::NoteKey;

use super::{Bench, outcome};

impl Bench {
    /// The log's one witness cosigns everything at these seconds from now.
    fn witnessed(&self, from_now: i64) {
        self.served.log.lock().unwrap().witnesses = vec![(5, seconds(from_now))];
    }
}

/// A trust file that asks for one witness.
fn ask_for_witness(bench: &Bench) {
    let trust = bench.served.log.lock().unwrap().trust(&bench.served.url, Vec::new(), &[5]);
    bench.write("trust.json", trust.format().as_bytes());
    bench.accept_ci();
}

fn seconds(from_now: i64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_secs().checked_add_signed(from_now).unwrap()
}

#[test]
fn without_the_quorum_nothing_is_verified_and_running_again_finishes() {
    let bench = Bench::new();
    ask_for_witness(&bench);
    let sign = ["sign", "llama", "--key", "ci.pem"];
    let report = bench.json(1, &sign);
    assert_eq!(outcome(&report, "witnesses"), "failed");
    assert_eq!((&report["verified"], &report["signature"]), (&false.into(), &Value::Null));
    assert!(!bench.path("llama/model.sig").exists());
    assert_eq!(bench.unlogged(), 1);
    bench.expect(1, &["log-info"]);
    bench.expect(1, &["search", "subject-name=llama"]);
    bench.witnessed(0);
    let signed = bench.json(0, &sign);
    assert_eq!((&signed["index"], &signed["new"]), (&300.into(), &false.into()));
    assert_eq!(outcome(&signed, "witnesses"), "passed");
    assert_eq!(bench.unlogged(), 0);
    let verified = bench.json(0, &["verify", "llama", "--online"]);
    assert_eq!(outcome(&verified, "time"), "passed");
    // The bundle has its quorum, and the newest checkpoint lost it.
    bench.served.log.lock().unwrap().witnesses.clear();
    bench.expect(0, &["verify", "llama"]);
    let report = bench.json(1, &["verify", "llama", "--online"]);
    assert_eq!(outcome(&report, "witnesses"), "failed");
    assert_eq!(outcome(&report, "consistency"), "not-checked");
    bench.expect(1, &["export", "llama/model.sig", "--rekor-v1"]);
    // A bundle of another tool stays as it was until the quorum is back.
    let path = bench.path("llama/model.sig");
    let mut bundle: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    bundle["verificationMaterial"]["tlogEntries"] = Value::Array(Vec::new());
    bench.write("other.sig", bundle.to_string().as_bytes());
    let submit = ["submit", "other.sig", "--public-key", "ci.pub"];
    assert_eq!(outcome(&bench.json(1, &submit), "witnesses"), "failed");
    assert_eq!(std::fs::read(bench.path("other.sig")).unwrap(), bundle.to_string().as_bytes());
    bench.witnessed(0);
    assert_eq!(bench.json(0, &submit)["index"], 300);
}

#[test]
fn a_log_that_stands_still_is_refused_by_policy() {
    let bench = Bench::new();
    ask_for_witness(&bench);
    bench.expect(0, &["trust", "set-max-age", "1h"]);
    bench.witnessed(-7200);
    let sign = ["sign", "llama", "--key", "ci.pem"];
    assert_eq!(outcome(&bench.json(7, &sign), "freshness"), "failed");
    assert!(!bench.path("llama/model.sig").exists());
    for refused in [&["log-info"][..], &["search", "subject-name=llama"]] {
        bench.expect(7, refused);
    }
    bench.witnessed(0);
    assert_eq!(outcome(&bench.json(0, &sign), "freshness"), "passed");
    assert_eq!(outcome(&bench.json(0, &["verify", "llama"]), "freshness"), "passed");
    // It shows the same tree two hours later.
    bench.witnessed(-7200);
    bench.expect(0, &["verify", "llama"]);
    assert_eq!(outcome(&bench.json(7, &["verify", "llama", "--online"]), "freshness"), "failed");
    bench.expect(7, &["export", "llama/model.sig", "--rekor-v1"]);
    bench.expect(0, &["export", "llama/model.sig", "--tlog-proof"]);
    bench.witnessed(1000);
    // The witnesses are ahead of this machine: its own clock is in doubt, not the log.
    bench.expect(5, &["log-info"]);
    bench.expect(0, &["trust", "set-max-age", "none"]);
    assert!(bench.json(0, &["log-info"])["time"].as_u64().unwrap() > seconds(900));
}

#[test]
fn witnesses_and_ages_are_set_and_shown_and_a_log_is_not_its_own_witness() {
    let bench = Bench::new();
    let policy = {
        let trust = bench.served.log.lock().unwrap().trust(&bench.served.url, Vec::new(), &[5, 6]);
        trust.witness_policy.unwrap().text
    };
    bench.write("two.policy", policy.as_bytes());
    let shown = bench.json(0, &["trust", "set-witnesses", "two.policy"]);
    assert_eq!((&shown["witnesses"], &shown["maxCheckpointAgeSeconds"]), (&2.into(), &Value::Null));
    // Both have one name: two keys of one operator, as far as anybody can tell.
    let output = bench.run(&["trust", "set-witnesses", "two.policy"], &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("count as two witnesses"));
    let shown = bench.json(0, &["trust", "set-max-age", "7d"]);
    assert_eq!(shown["maxCheckpointAgeSeconds"], 604_800);
    let text = bench.expect(0, &["trust", "show"]);
    assert!(text.contains("witnesses 2 known") && text.contains("max age   604800 s"), "{text}");
    let own = {
        let log = bench.served.log.lock().unwrap();
        let key =
            NoteKey::cosignature("w.example", log.note_key().public_key().try_into().unwrap());
        format!("witness w {}\nquorum w\n", key.unwrap().to_vkey())
    };
    bench.write("own.policy", own.as_bytes());
    let before = std::fs::read(bench.path("trust.json")).unwrap();
    bench.expect(2, &["trust", "set-witnesses", "own.policy"]);
    bench.expect(2, &["trust", "set-witnesses", "missing.policy"]);
    bench.expect(2, &["trust", "set-max-age", "1w"]);
    assert_eq!(std::fs::read(bench.path("trust.json")).unwrap(), before);
    // Nobody is left who could say how old a checkpoint is.
    bench.write("none.policy", b"quorum none\n");
    let output = bench.run(&["trust", "set-witnesses", "none.policy"], &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no checkpoint can pass"));
    bench.expect(5, &["log-info"]);
}
