//! What the shipped binary knows of the history of a model: asked of the log, read from a status
//! proof, and from the index of a monitor.

use treering_client::log::LogReader;
use treering_client::private_key::PrivateKey;
use treering_client::submit::submit;
use treering_client::verify::Opened;
use treering_proto::dsse_envelope::{Envelope, IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::hash::hash_leaf;
use treering_proto::notice::{EntryRef, Notice, NoticeKind};
use treering_proto::tree::LeafIndex;
use treering_proto::verifier::Verifier;

use super::test_log::{ORIGIN, TestLog};
use super::{Bench, outcome};

const POLICY: &[u8] = br#"{"revoked": "refuse", "notNewest": "refuse", "newSigner": "warn",
    "firstSeen": {"action": "refuse", "days": 30}}"#;

/// Logs a revocation of the model whose signature is in `signature`, by the holder of `key`.
fn revoke(bench: &Bench, signature: &str, key: &str) -> u64 {
    let opened = Opened::open(&std::fs::read(bench.path(signature)).unwrap()).unwrap();
    let logged = &opened.bundle().log_entries[0];
    let notice = Notice {
        kind: NoticeKind::Revoke,
        log: ORIGIN.to_owned(),
        about: EntryRef {
            index: LeafIndex::new(logged.log_index.get()).unwrap(),
            leaf: hash_leaf(&logged.canonicalized_body),
        },
        model_id: opened.model_id(),
        root: opened.statement().root(),
        name: opened.statement().name().map(str::to_owned),
        reason: Some("bad data".to_owned()),
    };
    let key = PrivateKey::load(&bench.path(key), || unreachable!("it has no password")).unwrap();
    let payload = notice.to_payload().unwrap();
    let signature = key.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload)).unwrap();
    let envelope = Envelope::new(IN_TOTO_PAYLOAD_TYPE, payload, signature);
    let verifier = Verifier::PublicKey(Box::new(key.public_key().clone()));
    let (transport, trust) = (bench.served.transport(), bench.served.trust(Vec::new()));
    let log = LogReader::new(&transport, &trust);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let submitted = runtime.block_on(submit(&log, &envelope, &verifier)).unwrap();
    submitted.entry.log_index.get()
}

/// A bench with a policy, and a logged model that it has nothing against.
fn signed() -> Bench {
    let bench = Bench::of(TestLog::new(1));
    bench.accept_ci();
    bench.write("policy.json", POLICY);
    bench.expect(0, &["trust", "set-model-policy", "policy.json"]);
    bench.sign_llama();
    bench
}

#[test]
fn a_revocation_refuses_a_model_online_and_by_a_status_proof_made_since() {
    let bench = signed();
    let online = bench.json(0, &["verify", "llama", "--online"]);
    assert_eq!(outcome(&online, "history"), "passed");
    assert_eq!(outcome(&online, "rule-revoked"), "passed");
    let stapled = bench.json(0, &["staple", "llama", "--out", "before.status"]);
    assert_eq!((&stapled["treeSize"], &stapled["entries"]), (&1.into(), &1.into()));
    bench.expect(5, &["verify", "llama"]);
    let offline = bench.json(0, &["verify", "llama", "--status", "before.status"]);
    assert_eq!(outcome(&offline, "history"), "passed");
    assert_eq!(outcome(&offline, "rule-first-seen"), "passed");

    bench.expect(0, &["keygen", "--key", "stranger.pem", "--no-password"]);
    revoke(&bench, "llama/model.sig", "stranger.pem");
    let online = bench.json(0, &["verify", "llama", "--online"]);
    assert_eq!(outcome(&online, "rule-revoked"), "passed", "a stranger revokes nothing");
    revoke(&bench, "llama/model.sig", "ci.pem");
    let online = bench.json(7, &["verify", "llama", "--online"]);
    assert_eq!(outcome(&online, "rule-revoked"), "failed");
    bench.expect(0, &["staple", "llama"]);
    let text = bench.expect(7, &["verify", "llama", "--status", "llama.status"]);
    assert!(text.contains("FAILED       rule-revoked"), "{text}");
    assert!(text.contains("revokes the model: bad data"), "{text}");
    // A proof speaks of its own time, which a maximum age bounds.
    bench.expect(0, &["verify", "llama", "--status", "before.status"]);
}

#[test]
fn a_status_proof_that_was_changed_or_is_of_another_model_lets_nothing_pass() {
    let bench = signed();
    bench.expect(0, &["sign", "model.gguf", "--name", "gguf", "--key", "ci.pem"]);
    bench.expect(0, &["staple", "model.gguf"]);
    let report = bench.json(5, &["verify", "llama", "--status", "model.gguf.status"]);
    assert_eq!(outcome(&report, "rule-revoked"), "not-checked");
    bench.expect(0, &["staple", "llama"]);
    let text = String::from_utf8(std::fs::read(bench.path("llama.status")).unwrap()).unwrap();
    bench.write("changed.status", text.replace("\"all\":[0]", "\"all\":[]").as_bytes());
    let report = bench.json(1, &["verify", "llama", "--status", "changed.status"]);
    assert_eq!(outcome(&report, "history"), "failed");
    assert_eq!(outcome(&report, "rule-revoked"), "not-checked");
    bench.expect(2, &["verify", "llama", "--status", "absent.status"]);
    bench.expect(2, &["verify", "llama", "--status", "llama.status", "--online"]);
    // Another tree of this size was remembered: somebody was shown a fork.
    *bench.served.log.lock().unwrap() = TestLog::filled(1, 2);
    let state = ["--state", "other-state"];
    bench.expect(0, &[&["log-info"][..], &state].concat());
    let arguments = ["verify", "llama", "--status", "llama.status"];
    let report = bench.json(6, &[&arguments[..], &state].concat());
    assert_eq!(outcome(&report, "history"), "failed");
    let arguments = ["history", "llama", "--status", "llama.status"];
    bench.expect(6, &[&arguments[..], &state].concat());
}

#[test]
fn a_log_that_searched_less_makes_no_status_proof() {
    let bench = signed();
    bench.served.log.lock().unwrap().searched = Some(0);
    bench.expect(5, &["staple", "llama"]);
    assert!(!bench.path("llama.status").exists());
    let report = bench.json(5, &["verify", "llama", "--online"]);
    assert_eq!(outcome(&report, "history"), "not-checked");
    let text = bench.expect(5, &["history", "llama"]);
    assert!(text.contains("the log searched only 0 entries of 1"), "{text}");
    // Nor does one that answers, and has lost what one of the entries says.
    bench.served.log.lock().unwrap().searched = None;
    bench.expect(0, &["staple", "llama", "--out", "whole.status"]);
    bench.served.log.lock().unwrap().statements.clear();
    bench.expect(5, &["staple", "llama"]);
    assert!(!bench.path("llama.status").exists());
    bench.write("llama/model.sig", b"garbage");
    bench.expect(2, &["staple", "llama"]);
}

#[test]
fn the_history_of_a_model_names_who_signed_and_who_said_what() {
    let bench = signed();
    bench.expect(0, &["keygen", "--key", "other.pem", "--no-password"]);
    std::fs::remove_file(bench.path("llama/model.sig")).unwrap();
    bench.expect(0, &["sign", "llama", "--key", "other.pem", "--signature", "other.sig"]);
    bench.sign_llama();
    bench.write("llama/config.json", b"{\"new\":1}");
    let newer = ["sign", "llama", "--name", "llama", "--key", "ci.pem"];
    bench.expect(
        0,
        &[&newer[..], &["--signature", "new.sig", "--ignore-path", "model.sig"]].concat(),
    );
    bench.write("llama/config.json", b"{}");
    let first = revoke(&bench, "llama/model.sig", "ci.pem");
    let stranger = revoke(&bench, "llama/model.sig", "other.pem");
    let history = bench.json(0, &["history", "llama"]);
    let relation = |index: u64| {
        let mut entries = history["entries"].as_array().unwrap().iter();
        entries.find(|entry| entry["index"] == index).unwrap().clone()
    };
    assert_eq!(relation(0)["relation"], "signed");
    assert_eq!(relation(0)["acceptedAs"], serde_json::json!(["release"]));
    assert_eq!(relation(1)["acceptedAs"], serde_json::json!([]));
    assert_eq!(relation(3)["relation"], "newer");
    assert_eq!(relation(first)["notice"]["counts"], true);
    // To who holds a signature of their own, it counts.
    assert_eq!(relation(stranger)["notice"]["counts"], serde_json::Value::Null);
    let text = bench.expect(0, &["history", "llama"]);
    assert!(text.starts_with("first seen  entry 0, "), "{text}");
    assert!(text.contains("MAY COUNT: they did not sign entry"), "{text}");
    assert!(text.contains("counts: \"release\" signed entry"), "{text}");
    let id = relation(0)["modelId"].as_str().unwrap().to_owned();
    assert_eq!(bench.expect(0, &["history", "--model-id", &id]), text);
    let named = bench.json(0, &["history", "--name", "llama"]);
    assert_eq!(named["entries"].as_array().unwrap().len(), 6);
    let file = bench.json(0, &["history", "--file", "llama/sub/weights.bin"]);
    assert_eq!(file["entries"].as_array().unwrap().len(), 6);
    bench.expect(0, &["staple", "llama"]);
    let read = bench.json(0, &["history", "llama", "--status", "llama.status"]);
    assert_eq!(read["source"]["kind"], "status");
    assert_eq!(read["entries"].as_array().unwrap().len(), 6);
    // Somebody else's model of this name is not a newer one of this signer.
    bench.expect(0, &["keygen", "--key", "third.pem", "--no-password"]);
    bench.write("llama/config.json", b"{\"other\":1}");
    let third = ["sign", "llama", "--name", "llama", "--key", "third.pem"];
    bench
        .expect(0, &[&third[..], &["--signature", "x.sig", "--ignore-path", "model.sig"]].concat());
    bench.write("llama/config.json", b"{}");
    bench.expect(0, &["staple", "llama"]);
    let read = bench.json(0, &["history", "llama", "--status", "llama.status"]);
    let entries = read["entries"].as_array().unwrap();
    let relations: Vec<&str> = entries.iter().map(|e| e["relation"].as_str().unwrap()).collect();
    let expected = ["signed", "signed", "signed", "newer", "notice", "notice", "related"];
    assert_eq!(relations, expected);
    bench.expect(3, &["history", "model.gguf"]);
    bench.expect(3, &["history", "--name", "nobody"]);
    bench.expect(2, &["history", "llama", "--name", "llama"]);
    bench.expect(2, &["history"]);
}

#[test]
fn the_index_of_a_monitor_answers_without_the_log_and_says_what_it_cannot() {
    let bench = signed();
    revoke(&bench, "llama/model.sig", "ci.pem");
    bench.expect(0, &["monitor", "--once", "--trust", "trust.json", "--state", "monitor"]);
    let arguments = ["history", "llama", "--index", "monitor"];
    let online = [&arguments[..], &["--online"]].concat();
    let known = bench.json(0, &online);
    assert_eq!(known["source"]["withoutStatement"], 0);
    assert_eq!(known["entries"][1]["notice"]["counts"], true);
    let verify = ["verify", "llama", "--index", "monitor"];
    let report = bench.json(7, &[&verify[..], &["--online"]].concat());
    assert_eq!(outcome(&report, "rule-revoked"), "failed");
    assert_eq!(outcome(&report, "rule-not-newest"), "passed");
    let report = bench.json(5, &verify);
    assert_eq!(outcome(&report, "rule-revoked"), "not-checked", "the notice is not in the index");
    assert_eq!(outcome(&report, "rule-first-seen"), "passed");
    bench.expect(2, &["verify", "llama", "--index", "absent"]);
    bench.served.log.lock().unwrap().bodies.clear();
    let output = bench.run(&arguments, &[]);
    assert_eq!(output.status.code(), Some(0));
    let [text, remarks] = [output.stdout, output.stderr].map(|t| String::from_utf8(t).unwrap());
    assert!(text.contains("version and renewals not known"), "{text}");
    assert!(
        text.contains("unreadable  entry 1  a notice that cannot be read: only the log has"),
        "{text}"
    );
    let complete = "complete among entries with a statement, from entry 0 to before 2; 0 without";
    assert!(remarks.contains(complete), "{remarks}");
    bench.expect(3, &["history", "--name", "nobody", "--index", "monitor"]);
    bench.expect(2, &["history", "llama", "--index", "absent"]);
}

#[test]
fn another_entry_where_the_signature_stands_is_an_alarm_by_status_proof_and_index() {
    let bench = signed();
    // Other faces of the same log, whose trees are larger.
    let [stapled, read] = [(); 2].map(|()| Bench::of(TestLog::new(1)));
    stapled.accept_ci();
    stapled.sign_llama();
    stapled.expect(0, &["sign", "model.gguf", "--name", "gguf", "--key", "ci.pem"]);
    stapled.expect(0, &["staple", "llama"]);
    // Nothing that is asked about the model brings the entry of this one.
    read.expect(0, &["sign", "model.gguf", "--name", "gguf", "--key", "ci.pem"]);
    read.expect(0, &["monitor", "--once", "--trust", "trust.json", "--state", "monitor"]);
    for (option, place) in
        [("--status", stapled.path("llama.status")), ("--index", read.path("monitor"))]
    {
        let report = bench.json(6, &["verify", "llama", option, place.to_str().unwrap()]);
        assert_eq!(outcome(&report, "history"), "failed");
        assert_eq!(outcome(&report, "rule-revoked"), "not-checked");
    }
    let kept = std::fs::read_dir(bench.path(".local/state/treering")).unwrap();
    let names = kept.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.contains("inconsistent-unproven")).count(), 1);
}
