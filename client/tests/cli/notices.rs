//! What is said about logged models by the shipped binary, and signing anew.

use serde_json::{Value, json};
use treering_proto::bundle::Bundle;
use treering_proto::notice::{Notice, NoticeKind};
use treering_proto::statement::Statement;

use super::test_log::Fault;
use super::{Bench, outcome};

const REVOKE: [&str; 6] = ["revoke", "llama", "--key", "ci.pem", "--reason", "poisoned"];
const APPROVE: [&str; 6] = ["approve", "llama", "--key", "ci.pem", "--role", "qa"];

impl Bench {
    /// The notice in a bundle, which has a proof.
    fn notice(&self, path: &str) -> Notice {
        let bundle = Bundle::parse(&std::fs::read(self.path(path)).unwrap()).unwrap();
        assert_eq!(bundle.log_entries.len(), 1);
        let statement = Statement::parse(&bundle.envelope().unwrap().payload).unwrap();
        Notice::parse(&statement).unwrap().unwrap()
    }

    /// Another version of llama, signed with the same key.
    fn sign_next(&self, directory: &str, version: &str) -> u64 {
        self.write(&format!("{directory}/weights.bin"), version.as_bytes());
        let sign = ["sign", directory, "--name", "llama", "--key", "ci.pem"];
        let signed = self.json(0, &[&sign[..], &["--model-version", version]].concat());
        signed["index"].as_u64().unwrap()
    }

    fn keygen(&self, name: &str) {
        self.expect(0, &["keygen", "--key", name, "--no-password"]);
    }

    /// Gives the trust file a model policy.
    fn model_policy(&self, policy: Value) {
        let text = std::fs::read_to_string(self.path("trust.json")).unwrap();
        let mut trust: Value = serde_json::from_str(&text).unwrap();
        trust["modelPolicy"] = policy;
        self.write("trust.json", trust.to_string().as_bytes());
    }

    fn stderr(&self, exit: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments, &[]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}\n{stderr}");
        stderr
    }

    fn size(&self) -> usize {
        self.served.log.lock().unwrap().bodies.len()
    }
}

#[test]
fn a_revocation_is_sent_only_when_it_is_meant() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    let asked = bench.stderr(2, &REVOKE);
    assert!(asked.contains("cannot be taken back") && asked.contains("--yes"), "{asked}");
    assert!(asked.contains("\"llama\" of entry 300, model id "), "{asked}");
    assert_eq!((bench.size(), bench.unlogged()), (301, 0));
    let said = bench.json(0, &[&REVOKE[..], &["--yes"]].concat());
    assert_eq!((&said["index"], &said["new"]), (&json!(301), &json!(true)));
    assert_eq!(said["signature"], "llama.revoke.301.sig");
    assert_eq!(said["notice"]["entry"]["index"], 300);
    for check in ["logged", "checkpoint", "inclusion", "consistency"] {
        assert_eq!(outcome(&said, check), "passed", "{check}");
    }
    let notice = bench.notice("llama.revoke.301.sig");
    assert_eq!((notice.kind, notice.about.index.get()), (NoticeKind::Revoke, 300));
    assert_eq!((&*notice.log, notice.name.as_deref()), ("log.example", Some("llama")));
    assert_eq!(notice.reason.as_deref(), Some("poisoned"));
    assert_eq!(said["notice"]["modelId"], notice.model_id.to_hex());
    assert_eq!(bench.unlogged(), 0);
    let shown = bench.expect(0, &["inspect", "llama.revoke.301.sig"]);
    assert!(shown.starts_with("NOTHING BELOW IS VERIFIED\nrevoke: llama, entry 300"), "{shown}");
    let shown = bench.json(0, &["inspect", "llama.revoke.301.sig"]);
    assert_eq!(shown["notice"], said["notice"]);
    // The bundle is beside the model, not in it, and a notice is no newer model.
    bench.expect(0, &["verify", "llama"]);
    let online = bench.json(0, &["verify", "llama", "--online"]);
    assert_eq!(outcome(&online, "newest"), "passed");
}

#[test]
fn whoever_is_not_the_signer_is_told_where_it_counts() {
    let bench = Bench::new();
    bench.sign_llama();
    bench.keygen("vault.pem");
    let revoke = ["revoke", "--entry", "300", "--key", "vault.pem", "--reason", "r", "--yes"];
    let told = bench.stderr(0, &revoke);
    assert!(told.contains("warning: ") && told.contains("modelPolicy.recovery"), "{told}");
    assert!(bench.path("entry-300.revoke.301.sig").exists());
    let key = std::fs::read_to_string(bench.path("vault.pub")).unwrap();
    let vault = json!([{"name": "vault", "publicKey": key}]);
    bench.model_policy(json!({
        "recovery": vault,
        "approvals": {"action": "warn", "count": 1, "roles": {"qa": vault}},
    }));
    assert_eq!(bench.stderr(0, &revoke), "");
    let approve = ["approve", "--entry", "300", "--key", "vault.pem", "--role", "qa"];
    assert_eq!(bench.stderr(0, &approve), "");
    let told = bench.stderr(0, &APPROVE);
    assert!(told.contains("does not name this key as an approver for \"qa\""), "{told}");
}

#[test]
fn another_model_takes_the_place() {
    let bench = Bench::new();
    bench.sign_llama();
    let supersede = ["supersede", "llama", "--key", "ci.pem", "--reason", "better"];
    bench.expect(2, &supersede);
    let same = bench.stderr(2, &[&supersede[..], &["--by-entry", "300"]].concat());
    assert!(same.contains("cannot take its own place"), "{same}");
    let next = bench.sign_next("next", "2");
    let by_entry = bench.json(0, &[&supersede[..], &["--by-entry", "301"]].concat());
    let by_model = bench.json(0, &[&supersede[..], &["--by", "next"]].concat());
    let by_bundle =
        bench.json(0, &[&supersede[..], &["--by-signature", "next/model.sig"]].concat());
    assert_eq!(by_entry["notice"], by_model["notice"]);
    assert_eq!(by_entry["notice"], by_bundle["notice"]);
    let notice = bench.notice("llama.supersede.302.sig");
    let NoticeKind::Supersede { by } = notice.kind else { panic!("{notice:?}") };
    assert_eq!(by.entry.index.get(), next);
    assert_ne!(by.model_id, notice.model_id);
    bench.write("next/more", b"");
    let by_changed = [&supersede[..], &["--by", "next"]].concat();
    assert!(bench.stderr(1, &by_changed).contains("not those that were signed"));
    bench.expect(2, &[&supersede[..], &["--by", "next", "--by-entry", "301"]].concat());
}

#[test]
fn a_rollback_names_the_newest_that_is_known() {
    let bench = Bench::new();
    bench.sign_llama();
    let rollback = ["approve-rollback", "llama", "--key", "ci.pem", "--reason", "3 leaks"];
    assert!(bench.stderr(2, &rollback).contains("nothing newer"));
    bench.sign_next("two", "2");
    let newest = bench.sign_next("three", "3");
    bench.expect(0, &APPROVE);
    let said = bench.json(0, &rollback);
    assert_eq!(said["notice"]["insteadOf"]["index"], newest);
    let notice = bench.notice("llama.approve-rollback.304.sig");
    let NoticeKind::ApproveRollback { instead_of } = notice.kind else { panic!("{notice:?}") };
    assert_eq!((instead_of.index.get(), notice.about.index.get()), (newest, 300));
    let two = bench.json(0, &[&rollback[..], &["--instead-of", "301"]].concat());
    assert_eq!(two["notice"]["insteadOf"]["index"], 301);
    bench.expect(0, &["sign", "model.gguf", "--name", "bert", "--key", "ci.pem"]);
    for (index, why) in [("300", "same model"), ("306", "another name"), ("304", "not the sig")] {
        let refused = bench.stderr(2, &[&rollback[..], &["--instead-of", index]].concat());
        assert!(refused.contains(why), "{index}: {refused}");
    }
    assert_eq!(bench.size(), 307);
}

#[test]
fn only_the_files_that_were_signed_are_approved() {
    let bench = Bench::new();
    bench.sign_llama();
    bench.write("llama/config.json", b"[]");
    assert!(bench.stderr(1, &APPROVE).contains("not those that were signed"));
    let alone = ["approve", "--signature", "llama/model.sig", "--key", "ci.pem", "--role", "qa"];
    assert_eq!(bench.json(0, &alone)["notice"]["role"], "qa");
    assert!(bench.path("entry-300.approve.301.sig").exists());
    let out = [&alone[..], &["--out", "said.sig", "--reason", "suite 12"]].concat();
    assert_eq!(bench.json(0, &out)["signature"], "said.sig");
    assert_eq!(bench.notice("said.sig").reason.as_deref(), Some("suite 12"));
}

#[test]
fn what_makes_no_sense_is_not_sent() {
    let bench = Bench::new();
    bench.sign_llama();
    let long = "x".repeat(1_025);
    for reason in ["", "two\nlines", "\u{1b}[2J", &long] {
        bench.expect(2, &["revoke", "llama", "--key", "ci.pem", "--yes", "--reason", reason]);
    }
    bench.expect(2, &["revoke", "llama", "--key", "ci.pem", "--yes"]);
    bench.expect(2, &["revoke", "--key", "ci.pem", "--yes", "--reason", "r"]);
    bench.expect(2, &["approve", "llama", "--key", "ci.pem", "--role", "QA"]);
    bench.expect(2, &["approve", "llama", "--entry", "300", "--key", "ci.pem", "--role", "qa"]);
    bench.expect(2, &["approve", "nowhere", "--key", "ci.pem", "--role", "qa"]);
    bench.expect(2, &["approve", "model.gguf", "--key", "ci.pem", "--role", "qa"]);
    let entry = |index| ["approve", "--key", "ci.pem", "--role", "qa", "--entry", index];
    bench.expect(3, &entry("301"));
    bench.expect(2, &entry("-1"));
    // An entry that no reader of entries can read.
    bench.expect(1, &entry("5"));
    assert_eq!((bench.size(), bench.unlogged()), (301, 0));
}

#[test]
fn a_notice_that_was_sent_without_an_answer_is_sent_again_and_logged_once() {
    let bench = Bench::new();
    bench.sign_llama();
    let by_entry = ["approve", "--signature", "llama/model.sig", "--key", "ci.pem"];
    let approve = [&by_entry[..], &["--role", "qa"]].concat();
    bench.served.faults.lock().unwrap().extend([Fault::LoseAnswer, Fault::HideEntries]);
    let told = bench.stderr(4, &approve);
    assert!(told.contains("may or may not be logged") && told.contains("again"), "{told}");
    assert_eq!((bench.size(), bench.unlogged()), (302, 1));
    bench.served.faults.lock().unwrap().clear();
    let said = bench.json(0, &approve);
    assert_eq!((&said["index"], &said["new"]), (&json!(301), &json!(false)));
    assert_eq!((bench.size(), bench.unlogged()), (302, 0));
}

#[test]
fn a_notice_that_the_log_does_not_take_is_not_kept() {
    let bench = Bench::new();
    bench.sign_llama();
    bench.served.faults.lock().unwrap().push(Fault::Refuse(422));
    bench.expect(7, &APPROVE);
    assert_eq!((bench.size(), bench.unlogged()), (301, 0));
}

#[test]
fn nothing_is_said_to_a_log_that_rewrote_itself() {
    let bench = Bench::new();
    bench.sign_llama();
    bench.expect(0, &["log-info"]);
    bench.served.log.lock().unwrap().bodies[5] = b"forged".to_vec();
    for which in [&APPROVE[1..2], &["--entry", "300"]] {
        let told = bench.stderr(6, &[&["approve"], which, &APPROVE[2..]].concat());
        assert!(told.contains("nothing was said") && told.contains("evidence"), "{told}");
    }
    assert_eq!(bench.size(), 301);
}

#[test]
fn a_renewal_is_of_the_same_files_and_says_what_it_renews() {
    let bench = Bench::new();
    bench.sign_llama();
    bench.keygen("new.pem");
    let renew = |index| ["sign", "llama", "--key", "new.pem", "--renews", index];
    bench.expect(3, &renew("400"));
    bench.expect(1, &renew("5"));
    bench.expect(0, &APPROVE);
    assert!(bench.stderr(2, &renew("301")).contains("not the signature of a model"));
    let other = bench.sign_next("next", "2").to_string();
    let told = bench.stderr(1, &renew(&other));
    assert!(told.contains("entry 302 is about other files"), "{told}");
    assert_eq!((bench.size(), bench.unlogged()), (303, 0));
    for (index, renewed) in [("300", 303), ("303", 304)] {
        assert_eq!(bench.json(0, &renew(index))["index"], renewed);
        let bytes = std::fs::read(bench.path("llama/model.sig")).unwrap();
        let bundle = Bundle::parse(&bytes).unwrap();
        let statement: Value = serde_json::from_slice(&bundle.envelope().unwrap().payload).unwrap();
        let renews = &statement["subject"][0]["annotations"]["treering.renews"];
        assert_eq!(renews["index"].to_string(), index);
        bench.expect(0, &["verify", "llama", "--public-key", "new.pub"]);
    }
    let own = bench.stderr(0, &["sign", "llama", "--key", "new.pem", "--renews", "304"]);
    assert!(own.contains("this key made the signature that is renewed"), "{own}");
    let named = ["sign", "llama", "--name", "alpaca", "--key", "ci.pem", "--renews", "304"];
    assert!(bench.stderr(0, &named).contains("calls the model \"llama\""));
}

#[test]
fn a_revoked_model_is_not_renewed() {
    let bench = Bench::new();
    bench.sign_llama();
    bench.keygen("new.pem");
    bench.expect(0, &[&REVOKE[..], &["--yes"]].concat());
    let told = bench.stderr(7, &["sign", "llama", "--key", "new.pem", "--renews", "300"]);
    assert!(told.contains("nothing was signed") && told.contains("entry 301"), "{told}");
    assert!(told.contains("poisoned"), "{told}");
    assert_eq!((bench.size(), bench.unlogged()), (302, 0));
}

#[test]
fn a_version_that_has_no_order_is_told_of() {
    let bench = Bench::new();
    let sign = ["sign", "llama", "--key", "ci.pem", "--model-version"];
    for version in ["3", "3.1.0", "4.0.0-rc.1"] {
        assert_eq!(bench.stderr(0, &[&sign[..], &[version]].concat()), "", "{version}");
    }
    let told = bench.stderr(0, &[&sign[..], &["v3", "--quiet"]].concat());
    assert!(told.starts_with("warning: the version \"v3\" is neither a whole number"), "{told}");
}
