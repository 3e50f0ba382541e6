//! What a witness refuses to start with, and what its other commands do.

use serde_json::Value;
use treering_proto::hash::sha256;

use super::bench::Bench;
use super::log::Log;

fn file_of(bench: &Bench) -> std::path::PathBuf {
    bench.path("state").join(format!("{}.checkpoint", sha256(bench.log.origin.as_bytes())))
}

/// A witness that cosigned five entries and stopped.
fn stopped() -> Bench {
    let bench = Bench::new();
    let running = bench.start();
    assert_eq!(running.post(&bench.log.body(0, 5)).status, 200);
    assert!(running.terminate().success());
    bench
}

#[test]
fn damaged_or_missing_state_is_refused_with_the_remedy_and_not_taken_for_new() {
    let bench = stopped();
    let good = std::fs::read(file_of(&bench)).unwrap();
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    let mut log_line = String::from_utf8(good.clone()).unwrap();
    // A byte of the log's signature, which the cosignature does not cover.
    let at = log_line.find('\u{2014}').unwrap() + 30;
    let other = if &log_line[at..=at] == "A" { "B" } else { "A" };
    log_line.replace_range(at..=at, other);
    for bytes in [&b""[..], b"garbage", &good[..good.len() / 2], &flipped, log_line.as_bytes()] {
        std::fs::write(file_of(&bench), bytes).unwrap();
        let (out, why) = bench.expect(2, &["serve"]);
        assert!(out.is_empty(), "{out}");
        assert!(why.contains("is damaged") && why.contains("retire the key"), "{why}");
    }
    std::fs::remove_file(file_of(&bench)).unwrap();
    let (_, why) = bench.expect(2, &["serve"]);
    assert!(why.contains("is gone") && why.contains("retire the key"), "{why}");
    std::fs::write(file_of(&bench), &good).unwrap();
    let running = bench.start();
    assert_eq!(running.size(&bench.log), 5);
}

#[test]
fn a_second_process_on_the_same_state_is_refused() {
    let bench = stopped();
    let running = bench.start();
    let (_, why) = bench.expect(5, &["serve"]);
    assert!(why.contains("held by another process"), "{why}");
    bench.expect(2, &["add-key", "--ml-dsa-key", "second.pem"]);
    assert!(!bench.path("second.pem").exists());
    assert_eq!(running.post(&bench.log.body(5, 6)).status, 200);
}

#[test]
fn a_copy_of_the_state_with_the_same_key_is_refused_while_the_first_runs() {
    let bench = stopped();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([bench.path("state"), bench.path("copy")])
        .status()
        .unwrap();
    assert!(copied.success());
    let running = bench.start();
    let (_, why) = bench.expect(5, &["serve", "--state", "copy"]);
    assert!(why.contains("witness.pem is held by another process"), "{why}");
    assert_eq!(running.post(&bench.log.body(5, 6)).status, 200);
}

#[test]
fn init_makes_everything_once_and_nothing_makes_a_new_state_for_an_old_key() {
    let bench = stopped();
    let init = ["init", "--name", "w.example"];
    let (_, why) = bench.expect(2, &init);
    assert!(why.contains("never overwritten"), "{why}");
    bench.expect(2, &[&init[..], &["--state", "elsewhere"]].concat());
    assert!(!bench.path("elsewhere").exists());
    let (_, why) = bench.expect(2, &[&init[..], &["--key", "other.pem"]].concat());
    assert!(why.contains("is not empty"), "{why}");
    assert!(!bench.path("other.pem").exists());
    let both = ["--key", "2.pem", "--ml-dsa-key", "2m.pem", "--state", "2", "--output", "json"];
    let (out, _) = bench.expect(0, &[&init[..], &both].concat());
    let made: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(made["schema"], "treering.witness/v1");
    assert_eq!(made["vkeys"].as_array().unwrap().len(), 2);
    // A key that cannot be written: the state directory is there by then.
    let nowhere = ["--key", "nowhere/5.pem", "--state", "5"];
    let (_, why) = bench.expect(2, &[&init[..], &nowhere].concat());
    assert!(why.contains("remove the new key files, and 5 with what is in it"), "{why}");
    for name in ["", "a b", "a+b"] {
        bench.expect(2, &["init", "--name", name, "--key", "3.pem", "--state", "3"]);
    }
    // The key of one witness with the state of another.
    bench.expect(2, &["serve", "--state", "2"]);
}

#[test]
fn the_list_of_logs_is_read_strictly() {
    let bench = stopped();
    for (list, word) in
        [("", "logs/v0"), ("logs/v0\nvkey x\n", "line 2"), ("logs/v0\norigin x\n", "line 2")]
    {
        std::fs::write(bench.path("logs.txt"), list).unwrap();
        let (_, why) = bench.expect(2, &["serve"]);
        assert!(why.contains(word), "{why}");
    }
    bench.list_logs(&[&Log::honest("w.example"), &bench.log]);
    let running = bench.start();
    assert_eq!((&running.ready["logs"], &running.ready["skippedKeys"]), (&1.into(), &1.into()));
    let told = bench.stderr();
    assert!(told.contains("keys of the log w.example are skipped"), "{told}");
    drop(running);
    std::fs::remove_file(bench.path("logs.txt")).unwrap();
    bench.expect(2, &["serve"]);
}

#[test]
fn the_list_command_shows_what_was_cosigned_while_the_witness_runs() {
    let bench = stopped();
    let running = bench.start();
    let (out, _) = bench.expect(0, &["list", "--output", "json"]);
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(list["schema"], "treering.witness-list/v1");
    assert_eq!(list["logs"][0]["origin"], "log.example");
    assert_eq!(list["logs"][0]["treeSize"], "5");
    assert_eq!(list["vkeys"], running.ready["vkeys"]);
    assert_eq!(list["vkeys"][0], bench.identity()[0].to_vkey());
    let (out, _) = bench.expect(0, &["list"]);
    assert!(out.contains("log   log.example  5 entries, cosigned 20"), "{out}");
    assert!(!out.contains("ALARM"), "{out}");
    assert_eq!(running.post(&bench.log.forked_at(1).body(5, 5)).status, 422);
    let (out, _) = bench.expect(0, &["list"]);
    assert!(out.contains("ALARM 1 files of evidence in state/evidence"), "{out}");
    bench.expect(2, &["list", "--state", "nowhere"]);
}
