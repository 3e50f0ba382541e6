//! `monitor`, `search --index` and `audit` as shipped: what they print, and how they end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
// What the shared log of the unit tests expects to find at the root of its crate.
use treering_client::{hash_model, transport};

#[allow(dead_code)]
#[path = "../src/test_log.rs"]
mod test_log;

use test_log::{Served, TestLog};

struct Bench {
    dir: TempDir,
    served: Served,
}

impl Bench {
    /// A log with two signed models, called `one` and `two`, and a trust file.
    fn new() -> Self {
        let bench = Self { dir: TempDir::new().unwrap(), served: TestLog::new(1).serve() };
        let trust = bench.served.trust(Vec::new());
        bench.write("trust.json", &trust.format());
        bench.expect(0, &["keygen", "--key", "ci.pem", "--no-password"]);
        for name in ["one", "two"] {
            bench.write(&format!("{name}/weights"), name);
            bench.expect(0, &["sign", name, "--name", name, "--key", "ci.pem"]);
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_treering"));
        command.args(arguments).current_dir(self.dir.path()).env_clear();
        command.env("HOME", self.dir.path()).env("TREERING_TRUST", "trust.json");
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, exit: i32, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(exit), "{arguments:?} {output:?}");
        output
    }

    fn expect(&self, exit: i32, arguments: &[&str]) -> String {
        String::from_utf8(self.run(exit, arguments).stdout).unwrap()
    }

    fn json(&self, exit: i32, arguments: &[&str]) -> Vec<Value> {
        let text = self.expect(exit, &[arguments, &["--output", "json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

const RULES: &str = "[[rule]]\nname = \"one\"\nnames = [\"on*\"]\n";

#[test]
fn it_looks_once_tells_each_hit_once_and_sums_up() {
    let bench = Bench::new();
    bench.write("rules.toml", RULES);
    let monitor = ["monitor", "--once", "--rules", "rules.toml", "--state", "state"];
    let lines = bench.json(7, &monitor);
    let [finding, summary] = &lines[..] else { panic!("a hit and a summary, not {lines:?}") };
    assert_eq!((&finding["finding"], &finding["index"]), (&"rule:one".into(), &0.into()));
    assert_eq!(summary["schema"], "treering.monitor/v1");
    let log = &summary["logs"][0];
    assert_eq!((&log["entries"], &log["verified"]), (&2.into(), &2.into()));
    assert_eq!(log["signatures"]["verified"], 2);
    assert_eq!(log["v1NotCompared"], "the trust file has no identity document");
    let lines = bench.json(0, &monitor);
    assert_eq!((lines.len(), &lines[0]["logs"][0]["entries"]), (1, &0.into()));
    let file = std::fs::read_to_string(bench.path("state/log.example/findings.jsonl")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&file).unwrap(), *finding);
}

#[test]
fn an_index_answers_and_knows_what_the_log_hides() {
    let bench = Bench::new();
    bench.expect(0, &["monitor", "--once", "--state", "state"]);
    let search = ["search", "subject-name=two", "--index", "state"];
    let answer = &bench.json(0, &search)[0];
    assert_eq!((&answer["source"], &answer["treeSize"]), (&"index".into(), &"2".into()));
    assert_eq!(answer["entries"][0]["index"], "1");
    let online = [&search[..], &["--online"]].concat();
    bench.expect(0, &online);
    bench.expect(3, &["search", "subject-name=three", "--index", "state"]);
    *bench.served.tamper.lock().unwrap() = Some(Box::new(|line, body| {
        if !line.contains("/search") {
            return Some(body);
        }
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        answer["entries"] = serde_json::json!([]);
        Some(answer.to_string().into_bytes())
    }));
    let hidden = bench.run(6, &online);
    let stderr = String::from_utf8(hidden.stderr).unwrap();
    assert!(stderr.contains("search-hides") && stderr.contains("entries: 1"), "{stderr}");
    bench.expect(0, &search);
    bench.expect(2, &["search", "subject-name=two", "--index", "nowhere"]);
}

#[test]
fn an_audit_reports_every_check() {
    let bench = Bench::new();
    let report = &bench.json(0, &["audit", "--seed", "7"])[0];
    assert_eq!((&report["schema"], &report["seed"]), (&"treering.audit/v1".into(), &7.into()));
    assert_eq!((&report["entries"], &report["signaturesVerified"]), (&2.into(), &2.into()));
    assert_eq!(report["checks"].as_array().unwrap().len(), 12);
    bench.served.log.lock().unwrap().append(b"nonsense".to_vec());
    let text = bench.expect(6, &["audit"]);
    assert!(text.contains("FAILED") && text.contains("entry 2 is not"), "{text}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_asked() {
    let bench = Bench::new();
    bench.write("rules.toml", "[[rule]]\nname = \"x\"\nnmaes = [\"a\"]\n");
    let asked = bench.served.asked().len();
    for arguments in [
        &["--rules", "rules.toml"][..],
        &["--webhook", "http://example.com/"],
        &["--from-floor"],
        &["--from-checkpoint", "trust.json"],
        &["--trust", "trust.json", "--trust", "trust.json"],
        &["--max-age", "1w"],
        &["--parallel", "65"],
    ] {
        let refused = bench.run(2, &[&["monitor", "--once"], arguments].concat());
        assert!(!refused.stderr.is_empty(), "{arguments:?}");
    }
    let stderr = bench.run(2, &["monitor", "--once", "--rules", "rules.toml"]).stderr;
    assert!(String::from_utf8(stderr).unwrap().contains("nmaes"));
    assert_eq!(bench.served.asked().len(), asked);
}

/// A process that is ended with the test, however that ends.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_daemon_tells_serves_metrics_sends_and_ends_when_it_is_asked_to() {
    let bench = Bench::new();
    bench.write("rules.toml", RULES);
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = format!("http://{}/hook", receiver.local_addr().unwrap());
    // A port that was free a moment ago.
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = metrics.port().to_string();
    let arguments = ["monitor", "--rules", "rules.toml", "--interval", "1s", "--metrics", &port];
    let more = ["--webhook", &hook, "--state", "state"];
    let mut command = bench.command(&[&arguments[..], &more].concat());
    let mut daemon = Daemon(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut stdout = BufReader::new(daemon.0.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let finding: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(finding["finding"], "rule:one");

    let (mut socket, _) = receiver.accept().unwrap();
    let mut sent = Vec::new();
    let mut buffer = [0; 4096];
    while sent.last() != Some(&b'}') {
        let count = socket.read(&mut buffer).unwrap();
        sent.extend_from_slice(&buffer[..count]);
    }
    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(String::from_utf8(sent).unwrap().ends_with(line.trim_end()));

    // The webhook is called after the first round, so its figures are there.
    let mut scraped = TcpStream::connect(metrics).unwrap();
    scraped.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    scraped.read_to_string(&mut text).unwrap();
    assert!(text.contains("treering_monitor_verified_size{log=\"log.example\"} 2\n"), "{text}");
    assert!(text.contains("finding=\"rule:one\"} 1\n"), "{text}");

    let pid = rustix::process::Pid::from_child(&daemon.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
}
