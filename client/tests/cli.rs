//! The shipped binary, from the making of a key to the exit code of every refusal, against a log in
//! memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
// What the shared log of the unit tests expects to find at the root of its crate.
use treering_client::{hash_model, transport};

#[path = "cli/events.rs"]
mod events;
#[path = "cli/history.rs"]
mod history;
#[path = "cli/notices.rs"]
mod notices;
#[path = "cli/policy.rs"]
mod policy;
#[path = "cli/quorum.rs"]
mod quorum;
#[allow(dead_code)]
#[path = "../src/test_log.rs"]
mod test_log;

use test_log::{Fault, Served, TestLog};

struct Bench {
    dir: TempDir,
    served: Served,
}

impl Bench {
    /// A log, a trust file that accepts nobody, two models and an unencrypted key.
    fn new() -> Self {
        Self::of(TestLog::filled(1, 300))
    }

    fn of(log: TestLog) -> Self {
        let bench = Self { dir: TempDir::new().unwrap(), served: log.serve() };
        let trust = bench.served.trust(Vec::new());
        bench.write("trust.json", trust.format().as_bytes());
        bench.write("llama/config.json", b"{}");
        bench.write("llama/sub/weights.bin", &[7; 70_000]);
        bench.write("llama/.gitignore", b"*.tmp");
        bench.write("model.gguf", b"weights");
        bench.expect(0, &["keygen", "--key", "ci.pem", "--no-password"]);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_treering"));
        command.args(arguments).current_dir(self.dir.path()).env_clear();
        command.env("HOME", self.dir.path()).env("TREERING_TRUST", "trust.json");
        command.envs(environment.iter().copied());
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    /// Runs the command, expects this exit code, and returns stdout.
    fn expect(&self, exit: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments, &[]);
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}\n{stdout}\n{stderr}");
        stdout
    }

    fn json(&self, exit: i32, arguments: &[&str]) -> Value {
        let text = self.expect(exit, &[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    fn accept_ci(&self) {
        self.expect(0, &["trust", "add-signer", "release", "--public-key", "ci.pub"]);
    }

    fn sign_llama(&self) {
        self.expect(0, &["sign", "llama", "--key", "ci.pem"]);
    }

    fn unlogged(&self) -> usize {
        let files = std::fs::read_dir(self.path(".local/state/treering")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".unlogged")).count()
    }
}

fn outcome<'a>(report: &'a Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == name);
    check.unwrap_or_else(|| panic!("{name} is not in {report}"))["outcome"].as_str().unwrap()
}

#[test]
fn a_model_is_signed_logged_and_verified_offline_and_online() {
    let bench = Bench::new();
    bench.accept_ci();
    let signed = bench.json(0, &["sign", "llama", "--key", "ci.pem", "--model-version", "3.1"]);
    assert_eq!((&signed["verified"], &signed["index"]), (&Value::Bool(true), &Value::from(300)));
    assert_eq!(signed["model"]["files"], 2);
    let offline = bench.json(0, &["verify", "llama"]);
    assert_eq!(offline["schema"], "treering.report/v1");
    assert_eq!(offline["signer"], "release");
    assert_eq!(outcome(&offline, "inclusion"), "passed");
    assert_eq!(outcome(&offline, "consistency"), "not-checked");
    for _ in 0..2 {
        let online = bench.json(0, &["verify", "llama", "--online"]);
        assert_eq!(outcome(&online, "consistency"), "passed");
        assert_eq!(outcome(&online, "newest"), "passed");
    }
    let text = bench.expect(0, &["verify", "llama"]);
    assert!(text.contains("verified: llama 3.1, signed by \"release\""), "{text}");
}

#[test]
fn one_file_is_signed_beside_itself() {
    let bench = Bench::new();
    bench.expect(2, &["sign", "model.gguf", "--key", "ci.pem"]);
    bench.expect(0, &["sign", "model.gguf", "--name", "llama-q4", "--key", "ci.pem"]);
    assert!(bench.path("model.gguf.sig").exists());
    bench.expect(0, &["verify", "model.gguf", "--public-key", "ci.pub"]);
    bench.write("model.gguf", b"Weights");
    let report = bench.json(1, &["verify", "model.gguf", "--public-key", "ci.pub"]);
    assert_eq!(outcome(&report, "bytes"), "failed");
}

#[test]
fn each_difference_is_named_and_nothing_is_verified() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    bench.write("llama/added", b"");
    bench.write("llama/config.json", b"[]");
    std::fs::rename(bench.path("llama/sub/weights.bin"), bench.path("llama/sub/w.bin")).unwrap();
    let text = bench.expect(1, &["verify", "llama"]);
    for line in [
        "extra, not signed: added",
        "changed: config.json",
        "extra, not signed: sub/w.bin",
        "missing: sub/weights.bin",
        "NOT VERIFIED: bytes",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    std::fs::remove_file(bench.path("llama/added")).unwrap();
    std::os::unix::fs::symlink("config.json", bench.path("llama/link")).unwrap();
    let text = bench.expect(1, &["verify", "llama"]);
    assert!(text.contains("linked: llama/link"), "{text}");
}

#[test]
fn without_a_signer_rule_it_is_usage_and_a_strangers_signature_is_not_verified() {
    let bench = Bench::new();
    bench.sign_llama();
    bench.expect(2, &["verify", "llama"]);
    bench.expect(0, &["keygen", "--key", "other.pem", "--no-password", "--curve", "p384"]);
    let report = bench.json(1, &["verify", "llama", "--public-key", "other.pub"]);
    assert_eq!(outcome(&report, "signer"), "failed");
    assert_eq!(outcome(&report, "signature"), "passed");
    bench.expect(2, &["verify", "llama", "--identity", "a@b.example"]);
    let identity = ["verify", "llama", "--identity", "a@b.example", "--issuer", "i"];
    assert_eq!(outcome(&bench.json(1, &identity), "signer"), "failed");
}

#[test]
fn bad_input_changes_nothing_and_says_what_it_is() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.write("model.sig", b"{}");
    bench.expect(1, &["verify", "llama", "--signature", "model.sig"]);
    bench.expect(2, &["submit", "model.sig"]);
    assert_eq!(std::fs::read(bench.path("model.sig")).unwrap(), b"{}");
    bench.write("model.sig", &vec![b' '; (16 << 20) + 1]);
    bench.expect(2, &["submit", "model.sig"]);
    bench.expect(1, &["verify", "llama"]);
    bench.expect(2, &["verify", "missing"]);
    bench.expect(2, &["sign", "llama", "--key", "ci.pub"]);
    let trust = std::fs::read_to_string(bench.path("trust.json")).unwrap();
    bench.write("trust.json", trust.replacen('{', "{\"maxAge\": 1,", 1).as_bytes());
    let output = bench.run(&["verify", "llama"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("maxAge"));
    assert_eq!(bench.served.asked(), [""; 0]);
    assert!(!bench.path("llama/model.sig").exists());
}

#[test]
fn keys_are_encrypted_unless_said_and_never_overwritten() {
    let bench = Bench::new();
    bench.expect(2, &["keygen", "--key", "new.pem"]);
    bench.expect(2, &["keygen", "--key", "ci.pem", "--no-password"]);
    let password = [("TREERING_KEY_PASSWORD", "secret")];
    let made = bench.run(&["keygen", "--key", "new.pem"], &password);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let pem = std::fs::read_to_string(bench.path("new.pem")).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    bench.expect(2, &["sign", "llama", "--key", "new.pem"]);
    let wrong = [("TREERING_KEY_PASSWORD", "wrong")];
    assert_eq!(bench.run(&["sign", "llama", "--key", "new.pem"], &wrong).status.code(), Some(2));
    bench.write("password", b"secret\n");
    bench.expect(0, &["sign", "llama", "--key", "new.pem", "--password-file", "password"]);
}

#[test]
fn a_bundle_of_another_tool_is_logged_in_place_and_exported() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    let path = bench.path("llama/model.sig");
    let logged = std::fs::read_to_string(&path).unwrap();
    let mut bundle: Value = serde_json::from_str(&logged).unwrap();
    bundle["verificationMaterial"]["tlogEntries"] = Value::Array(Vec::new());
    std::fs::write(&path, bundle.to_string()).unwrap();
    assert_eq!(outcome(&bench.json(1, &["verify", "llama"]), "logged"), "failed");
    bench.expect(1, &["export", "llama/model.sig", "--tlog-proof"]);
    bench.expect(2, &["submit", "llama/model.sig"]);
    let submitted = bench.json(0, &["submit", "llama/model.sig", "--public-key", "ci.pub"]);
    assert_eq!(submitted["index"], 300);
    bench.expect(0, &["verify", "llama"]);
    let proof = bench.expect(0, &["export", "llama/model.sig", "--tlog-proof"]);
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1\nindex 300\n"), "{proof}");
    // This trust file has no identity document to verify a Rekor v1 proof with.
    bench.expect(5, &["export", "llama/model.sig", "--rekor-v1"]);
    let shown = bench.expect(0, &["inspect", "llama/model.sig"]);
    assert!(shown.starts_with("NOTHING BELOW IS VERIFIED") && shown.contains("sub/weights.bin"));
}

#[test]
fn a_signature_that_was_sent_without_an_answer_is_sent_again_and_logged_once() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.served.faults.lock().unwrap().extend([Fault::LoseAnswer, Fault::HideEntries]);
    let output = bench.run(&["sign", "llama", "--key", "ci.pem"], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("may or may not be logged") && stderr.contains("again"), "{stderr}");
    assert!(!bench.path("llama/model.sig").exists());
    assert_eq!(bench.unlogged(), 1);
    *bench.served.faults.lock().unwrap() = vec![Fault::Take, Fault::HideEntries];
    let output = bench.run(&["sign", "llama", "--key", "ci.pem"], &[]);
    assert!(!output.status.success());
    bench.served.faults.lock().unwrap().clear();
    let signed = bench.json(0, &["sign", "llama", "--key", "ci.pem"]);
    assert_eq!((&signed["index"], &signed["new"]), (&300.into(), &false.into()));
    assert_eq!(bench.served.log.lock().unwrap().bodies.len(), 301);
    assert_eq!(bench.unlogged(), 0);
    bench.expect(0, &["verify", "llama"]);
    // Signing once more is a wish of its own, and another entry.
    assert_eq!(bench.json(0, &["sign", "llama", "--key", "ci.pem"])["index"], 301);
}

#[test]
fn names_make_no_lines_and_output_that_is_lost_is_no_success() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    bench.write("llama/x\nverified: y", b"");
    let text = bench.expect(1, &["verify", "llama"]);
    assert!(text.contains("extra, not signed: x\\nverified: y\n"), "{text}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_treering"));
    command.args(["inspect", "llama/model.sig"]).current_dir(bench.dir.path()).stdout(full);
    assert_eq!(command.status().unwrap().code(), Some(5));
}

#[test]
fn what_is_no_bundle_at_the_place_of_one_is_not_verified_and_not_waited_for() {
    let bench = Bench::new();
    bench.accept_ci();
    let made = Command::new("mkfifo").arg(bench.path("llama/model.sig")).status().unwrap();
    assert!(made.success());
    bench.expect(1, &["verify", "llama"]);
    bench.expect(2, &["inspect", "llama/model.sig"]);
    std::fs::remove_file(bench.path("llama/model.sig")).unwrap();
    bench.write("llama/model.sig", &vec![b' '; (16 << 20) + 1]);
    bench.expect(1, &["verify", "llama"]);
}

#[test]
fn a_proxy_gets_nothing_that_is_for_this_machine() {
    let bench = Bench::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let environment =
        [("http_proxy", &*proxy), ("TREERING_TOKEN", "secret"), ("TREERING_DEADLINE", "5s")];
    let output = bench.run(&["log-info"], &environment);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_not_signed_is_in_the_verdict_and_a_dangling_link_is_not_verified() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    let text = bench.expect(0, &["verify", "llama"]);
    assert!(text.contains("signed by \"release\" (1 paths not signed);"), "{text}");
    let report = bench.json(0, &["verify", "llama", "--ignore-path", "config.json"]);
    assert_eq!(report["skippedByCaller"], serde_json::json!(["config.json"]));
    let ignored = serde_json::json!([".gitignore", "config.json", "model.sig"]);
    assert_eq!(report["ignoredFound"], ignored);
    assert_eq!(outcome(&report, "freshness"), "not-checked");
    std::os::unix::fs::symlink("nowhere", bench.path("llama/link")).unwrap();
    let text = bench.expect(1, &["verify", "llama"]);
    assert!(text.contains("linked to nothing: llama/link"), "{text}");
}

#[test]
fn a_remembered_tree_and_an_unmet_quorum_count_without_the_network() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    // Another client, to whom the log shows another tree of the same size.
    bench.served.log.lock().unwrap().bodies[5] = b"forged".to_vec();
    bench.expect(0, &["log-info", "--state", "other"]);
    bench.expect(0, &["verify", "llama"]);
    let report = bench.json(6, &["verify", "llama", "--state", "other"]);
    assert_eq!(outcome(&report, "consistency"), "failed");
    bench.expect(6, &["export", "llama/model.sig", "--tlog-proof", "--state", "other"]);
    bench.expect(6, &["export", "llama/model.sig", "--rekor-v1"]);
    bench.expect(6, &["search", "subject-name=llama"]);
    let kept = std::fs::read_dir(bench.path("other")).unwrap();
    let kept = kept.filter(|f| f.as_ref().unwrap().path().extension().unwrap() == "evidence");
    assert_eq!(kept.count(), 2);
    let witnessed = bench.served.log.lock().unwrap().trust(&bench.served.url, Vec::new(), &[5]);
    bench.write("witnessed.json", witnessed.format().as_bytes());
    let proof = ["export", "llama/model.sig", "--tlog-proof"];
    bench.expect(0, &proof);
    bench.expect(1, &[&proof[..], &["--trust", "witnessed.json"]].concat());
}

#[test]
fn search_finds_by_name_file_and_key_and_nothing_is_three() {
    let bench = Bench::new();
    bench.sign_llama();
    for facts in [
        vec!["subject-name=llama"],
        vec!["--file", "llama/sub/weights.bin"],
        vec!["--public-key", "ci.pub", "subject-name=llama"],
    ] {
        let found = bench.json(0, &[&["search"], &facts[..]].concat());
        assert_eq!(found["entries"][0]["index"], "300", "{facts:?}");
    }
    bench.expect(3, &["search", "subject-name=bert"]);
    bench.expect(2, &["search", "colour=blue"]);
    bench.expect(2, &["search"]);
}

#[test]
fn a_rewritten_log_is_exit_six_with_evidence_and_an_absent_one_is_five() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.sign_llama();
    let info = bench.json(0, &["log-info"]);
    assert_eq!((&info["treeSize"], &info["firstContact"]), (&301.into(), &false.into()));
    bench.served.log.lock().unwrap().bodies[5] = b"forged".to_vec();
    bench.expect(6, &["log-info"]);
    let report = bench.json(6, &["verify", "llama", "--online"]);
    assert_eq!(outcome(&report, "consistency"), "failed");
    bench.expect(0, &["verify", "llama"]);
    bench.expect(6, &["sign", "model.gguf", "--name", "q4", "--key", "ci.pem"]);
    assert!(!bench.path("model.gguf.sig").exists());
    let state = bench.path(".local/state/treering");
    let files = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let evidence: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "evidence")).collect();
    assert_eq!(evidence.len(), 3);
    for path in evidence {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("tlog-evidence@v1\nkind fork-"), "{text}");
    }
    absent(&bench);
}

fn absent(bench: &Bench) {
    let trust = std::fs::read_to_string(bench.path("trust.json")).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let elsewhere = trust.replace(&bench.served.url, &format!("http://{nobody}"));
    bench.write("trust.json", elsewhere.as_bytes());
    bench.expect(5, &["log-info", "--deadline", "1s"]);
    let report = bench.json(5, &["verify", "llama", "--online", "--deadline", "1s"]);
    assert_eq!(outcome(&report, "consistency"), "not-checked");
    assert_eq!(report["verified"], false);
}

#[test]
fn a_hugging_face_cache_is_signed_and_verified_through_its_links_when_asked() {
    let bench = Bench::new();
    bench.accept_ci();
    bench.write("hub/blobs/aa", b"weights");
    let snapshot = bench.path("hub/snapshots/0123456789abcdef0123456789abcdef01234567");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::os::unix::fs::symlink("../../blobs/aa", snapshot.join("model.safetensors")).unwrap();
    let model = snapshot.to_str().unwrap();
    let sign = ["sign", model, "--key", "ci.pem", "--name", "llama"];
    bench.expect(2, &sign);
    bench.expect(0, &[&sign[..], &["--allow-symlinks"]].concat());
    bench.expect(0, &["verify", model, "--allow-symlinks"]);
    bench.expect(1, &["verify", model]);
    std::os::unix::fs::symlink("../../blobs", snapshot.join("linked")).unwrap();
    let text = bench.expect(1, &["verify", model, "--allow-symlinks"]);
    assert!(text.contains("linked directory: "), "{text}");
    assert!(Path::new(model).join("model.sig").exists());
}
