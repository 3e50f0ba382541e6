//! `treering compare` and `treering evidence verify` as people run them, against logs in memory
//! that fork.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
// What the shared log of the unit tests expects to find at the root of its crate.
use treering_client::{hash_model, transport};
use treering_proto::tree::TreeSize;

#[allow(dead_code)]
#[path = "../src/test_log.rs"]
mod test_log;

use test_log::{Served, TestLog};

/// A log of 300 entries with its trust file.
struct Bench {
    dir: TempDir,
    served: Served,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: TempDir::new().unwrap(), served: TestLog::filled(1, 300).serve() };
        bench.write("trust.json", bench.served.trust(Vec::new()).format().as_bytes());
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Writes the checkpoint of `size` of `log`.
    fn checkpoint(&self, name: &str, log: &TestLog, size: u64) {
        let note = log.checkpoint(TreeSize::new(size).unwrap(), &[]);
        self.write(name, note.as_bytes());
    }

    /// Runs the command, expects this exit code, and returns stdout.
    fn expect(&self, exit: i32, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_treering"));
        command.args(arguments).current_dir(self.dir.path()).env_clear();
        command.env("HOME", self.dir.path());
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}\n{stdout}\n{stderr}");
        stdout
    }

    fn json(&self, exit: i32, arguments: &[&str]) -> Value {
        let text = self.expect(exit, &[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    fn compare(&self, exit: i32, a: &str, b: &str, more: &[&str]) -> Value {
        let arguments = [&["compare", a, b, "--trust", "trust.json"], more].concat();
        self.json(exit, &arguments)
    }
}

/// The first entries of [`Bench`]'s log, and others from index `from` on.
fn forked(from: usize, count: usize) -> TestLog {
    let mut log = TestLog::filled(1, from);
    for at in from..count {
        log.append(format!("forged {at}").into_bytes());
    }
    log
}

#[test]
fn a_fork_between_two_urls_leaves_evidence_that_anybody_can_check() {
    let bench = Bench::new();
    let honest = bench.served.url.clone();
    let same = TestLog::filled(1, 300).serve();
    let json = bench.compare(0, &honest, &same.url, &[]);
    assert_eq!(
        (&json["schema"], &json["relation"]),
        (&"treering.compare/v1".into(), &"same".into())
    );
    let longer = TestLog::filled(1, 700).serve();
    assert_eq!(bench.compare(0, &honest, &longer.url, &[])["relation"], "consistent");
    for (lying, kind) in [(forked(200, 300), "fork-size"), (forked(200, 700), "fork-prefix")] {
        let lying = lying.serve();
        let json = bench.compare(6, &honest, &lying.url, &[]);
        assert_eq!((&json["relation"], &json["a"]["treeSize"]), (&"forked".into(), &300.into()));
        let kept = json["evidence"].as_str().unwrap();
        assert!(kept.contains(kind), "{kept}");
        let text = std::fs::read_to_string(kept).unwrap();
        assert!(text.lines().last().unwrap().ends_with(&format!("{honest} {}", lying.url)));
        let verified = bench.json(0, &["evidence", "verify", kept]);
        assert_eq!(verified["schema"], "treering.evidence/v1");
        assert_eq!((&verified["verdict"], &verified["kind"]), (&"proven-log".into(), &kind.into()));
        let trusted = bench.json(0, &["evidence", "verify", kept, "--trust", "trust.json"]);
        assert_eq!(trusted["keysBy"], "trust-file");
        assert_eq!(trusted["convicted"].as_array().unwrap().len(), 1);
        bench.write("damaged", text.replacen("note 1 ", "note 1 A", 1).as_bytes());
        let damaged = bench.json(2, &["evidence", "verify", "damaged"]);
        assert_eq!(damaged["verdict"], "malformed");
        bench.write(
            "other.json",
            TestLog::new(2).trust(&honest, Vec::new(), &[]).format().as_bytes(),
        );
        let other = bench.json(1, &["evidence", "verify", kept, "--trust", "other.json"]);
        assert_eq!(other["verdict"], "not-proven");
        assert!(other["why"].as_str().unwrap().contains("trust file does not list"), "{other}");
        let own = ["evidence", "verify", kept, "--trust", "other.json", "--no-trust"];
        assert_eq!(bench.json(0, &own)["keysBy"], "evidence-file");
    }
}

#[test]
fn files_and_states_are_compared_with_the_network_only_where_it_is_needed() {
    let bench = Bench::new();
    bench.checkpoint("mine", &TestLog::filled(1, 9), 9);
    bench.checkpoint("theirs", &forked(3, 9), 9);
    bench.checkpoint("later", &TestLog::filled(1, 40), 40);
    let forged = bench.compare(6, "mine", "theirs", &["--offline", "--state", "kept"]);
    assert!(forged["evidence"].as_str().unwrap().starts_with("kept/"), "{forged}");
    assert_eq!(bench.compare(0, "mine", "mine", &["--offline"])["relation"], "same");
    let unknown = bench.compare(5, "mine", "later", &["--offline"]);
    assert_eq!((&unknown["relation"], &unknown["evidence"]), (&"unknown".into(), &Value::Null));
    // The log of the trust file has the tiles.
    assert_eq!(bench.compare(0, "mine", "later", &[])["relation"], "consistent");
    assert_eq!(bench.compare(6, "later", "theirs", &[])["relation"], "forked");
    assert!(bench.served.asked().iter().any(|line| line.contains("/tile/")));

    let log_info = ["log-info", "--trust", "trust.json", "--state", "state"];
    bench.expect(0, &log_info);
    let json = bench.compare(0, "state", "mine", &[]);
    assert_eq!((&json["relation"], &json["a"]["treeSize"]), (&"consistent".into(), &300.into()));
    let text = bench.expect(0, &["compare", "state", "mine", "--trust", "trust.json"]);
    assert!(text.starts_with("relation  consistent\n"), "{text}");
}

#[test]
fn what_is_no_checkpoint_of_the_log_is_refused() {
    let bench = Bench::new();
    bench.checkpoint("mine", &TestLog::filled(1, 9), 9);
    bench.checkpoint("stranger", &TestLog::filled(2, 9), 9);
    bench.write("nothing", b"");
    bench.write("bundle", b"{}");
    std::fs::create_dir(bench.path("empty")).unwrap();
    bench.compare(1, "mine", "stranger", &["--offline"]);
    bench.compare(1, "nothing", "mine", &["--offline"]);
    bench.compare(1, "bundle", "mine", &["--offline"]);
    bench.compare(2, "mine", "empty", &["--offline"]);
    bench.compare(2, "mine", "missing", &["--offline"]);
    let url = bench.served.url.clone();
    bench.compare(2, "mine", &url, &["--offline"]);
    let stranger = TestLog::filled(2, 9).serve();
    let refused = bench.compare(6, "mine", &stranger.url, &[]);
    assert_eq!(refused["what"], format!("{} cannot be read", stranger.url));
}
