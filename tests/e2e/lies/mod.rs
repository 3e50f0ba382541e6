//! What a log can lie about, one lie after the other, against the shipped client over a socket: how
//! the client ends, which check says so, and what the evidence that it keeps is worth.
//!
//! Each test first shows the same command passing on the honest log. Two people who are shown
//! different trees are two addresses with the same keys.
//!
//! Out of scope: what an honest log may do wrong by accident (`refusals`, `recovery`).

mod answers;
mod audit;
mod copied;
mod evidence;
mod forks;
mod honest;
mod monitor;
mod proofs;
mod times;
mod witnesses;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use treering_proto::entry::VerifiedEntry;
use treering_tests::binaries;
use treering_tests::load::any_submission;
use treering_tests::lying_log::{Branch, Keys};
use treering_tests::server::text;
use treering_tests::submission::Signer;

const NOT_VERIFIED: i32 = 1;
const USAGE: i32 = 2;
const UNAVAILABLE: i32 = 5;
const ALARM: i32 = 6;
const POLICY: i32 = 7;

/// What evidence is worth, as `evidence verify` says it.
const PROVEN_LOG: &str = "proven-log";
const PROVEN_WITNESS: &str = "proven-witness";
const SUSPICIOUS: &str = "suspicious";

/// Somebody who uses a log: a trust file, a memory, a signing key, and models.
struct Person {
    directory: TempDir,
    /// Who signs this person's models.
    signer: Signer,
}

/// What a command said and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A file of evidence that was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Kept {
    path: PathBuf,
    kind: String,
}

impl Person {
    /// Somebody who trusts the log with these keys at `url`, and asks for no witness.
    fn new(keys: &Keys, url: &str) -> Self {
        Self::with_quorum(keys, url, 0)
    }

    /// The same, who asks for the cosignatures of `quorum` witnesses.
    fn with_quorum(keys: &Keys, url: &str, quorum: usize) -> Self {
        let person = Self { directory: TempDir::new().unwrap(), signer: Signer::new() };
        let mut trust = keys.trust(url, quorum.max(1));
        if quorum == 0 {
            trust.as_object_mut().unwrap().remove("witnessPolicy");
        }
        let public = person.signer.key.to_pem();
        trust["signers"] = serde_json::json!([{ "name": "release", "publicKey": public }]);
        fs::write(person.trust(), trust.to_string()).unwrap();
        fs::write(person.path("signer.pem"), person.signer.to_pkcs8_pem()).unwrap();
        fs::write(person.path("signer.pub"), &public).unwrap();
        person
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn trust(&self) -> PathBuf {
        self.path("trust.json")
    }

    /// The trust file with a change.
    fn change_trust(&self, change: impl FnOnce(&mut Value)) {
        let mut trust = serde_json::from_slice(&fs::read(self.trust()).unwrap()).unwrap();
        change(&mut trust);
        fs::write(self.trust(), trust.to_string()).unwrap();
    }

    /// From now on the log is asked at this address.
    fn asks(&self, url: &str) {
        self.change_trust(|trust| trust["log"]["url"] = url.into());
    }

    /// Runs the client with this person's trust file and memory; its data is JSON.
    fn run(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(binaries::client());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TREERING_") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.directory.path()).env("NO_PROXY", "*");
        command.env("TREERING_STATE", self.path("state")).env("TREERING_DEADLINE", "20s");
        command.env("TREERING_TRUST", self.trust()).env("TREERING_OUTPUT", "json");
        let output = command.args(arguments).stdin(Stdio::null()).output();
        let output = output.expect("the client can be run");
        Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn log_info(&self) -> Said {
        self.run(&["log-info"])
    }

    /// Signs a model of this name, whose only file holds the name.
    fn sign(&self, name: &str) -> Said {
        let model = self.model(name);
        fs::write(&model, name).unwrap();
        let key = self.path("signer.pem");
        self.run(&["sign", text(&model), "--name", name, "--key", text(&key)])
    }

    /// Verifies the model of this name.
    fn verify(&self, name: &str, more: &[&str]) -> Said {
        self.run(&[&["verify", text(&self.model(name))], more].concat())
    }

    fn model(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.gguf"))
    }

    /// The bundle of the model of this name.
    fn bundle(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.gguf.sig"))
    }

    /// Gets a model and its bundle from somebody else, whose signer this person accepts.
    fn receive(&self, other: &Self, name: &str) {
        fs::copy(other.model(name), self.model(name)).unwrap();
        fs::copy(other.bundle(name), self.bundle(name)).unwrap();
        let key = other.signer.key.to_pem();
        self.change_trust(|trust| {
            let signers = trust["signers"].as_array_mut().unwrap();
            signers.push(serde_json::json!({ "name": format!("for {name}"), "publicKey": key }));
        });
    }

    /// Every file of evidence in this person's memory, oldest name first.
    fn evidence(&self) -> Vec<Kept> {
        let mut kept = Vec::new();
        collect_evidence(&self.path("state"), &mut kept);
        kept.sort_by(|a, b| a.path.cmp(&b.path));
        kept
    }

    /// The one file of evidence that there is now, which is of this kind and found to be worth
    /// this much by whoever has the trust file; it is taken out of the memory, so that the next one
    /// is again the only one.
    #[track_caller]
    fn takes_evidence(&self, kind: &str, verdict: &str) -> Kept {
        let kept = self.evidence();
        let [only] = kept.as_slice() else { panic!("not one file of evidence: {kept:?}") };
        assert_eq!(only.kind, kind, "{}", fs::read_to_string(&only.path).unwrap());
        let taken = self.path(&format!("taken-{}", only.path.file_name().unwrap().display()));
        fs::rename(&only.path, &taken).unwrap();
        self.judges(&taken, verdict);
        Kept { path: taken, kind: only.kind.clone() }
    }

    /// `evidence verify` gives this verdict on the file, and ends accordingly.
    #[track_caller]
    fn judges(&self, file: &Path, verdict: &str) {
        let said = self.run(&["evidence", "verify", text(file)]);
        assert_eq!(said.json()["verdict"], verdict, "{said:?}");
        let code = match verdict {
            PROVEN_LOG | PROVEN_WITNESS => 0,
            "malformed" => USAGE,
            _ => NOT_VERIFIED,
        };
        assert_eq!(said.code, Some(code), "{said:?}");
    }

    /// `compare` of what this person and another remember says that they are related like this.
    #[track_caller]
    fn compares(&self, other: &Self, relation: &str) {
        let [mine, others] = [self, other].map(|person| person.path("state"));
        let said = self.run(&["compare", text(&mine), text(&others)]);
        assert_eq!(said.json()["relation"], relation, "{said:?}");
        let code = match relation {
            "same" | "consistent" => 0,
            "unknown" => UNAVAILABLE,
            _ => ALARM,
        };
        assert_eq!(said.code, Some(code), "{said:?}");
    }
}

impl Said {
    /// Data as JSON.
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The command did what it was asked, and said nothing of an alarm.
    #[track_caller]
    fn passes(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(!self.stderr.contains("ALARM"), "{self:?}");
    }

    /// The command ended like this, before there was a report.
    #[track_caller]
    fn ends(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.json()["exit"], code, "{self:?}");
    }

    /// The command ended like this, and its report says that this check stands in the way.
    #[track_caller]
    fn fails(&self, code: i32, name: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let report = self.json();
        assert_eq!((&report["verified"], &report["exit"]), (&false.into(), &code.into()));
        let checks = report["checks"].as_array().unwrap_or_else(|| panic!("no report: {self:?}"));
        let check = checks.iter().find(|check| check["check"] == name);
        let check = check.unwrap_or_else(|| panic!("no check {name}: {self:?}"));
        let stands_in_the_way = check["outcome"] != "passed" && check["required"] == true;
        assert!(stands_in_the_way, "{name} does not stand in the way: {self:?}");
    }
}

fn collect_evidence(directory: &Path, kept: &mut Vec<Kept>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_evidence(&path, kept);
            continue;
        }
        let content = fs::read(&path).unwrap();
        let content = String::from_utf8_lossy(&content);
        let mut lines = content.lines();
        if lines.next() == Some("tlog-evidence@v1") {
            let kind = lines.next().and_then(|line| line.strip_prefix("kind ")).unwrap().to_owned();
            kept.push(Kept { path, kind });
        }
    }
}

/// New keys of a log without witnesses, and its tree of `count` entries.
fn log_of(count: u64) -> (Arc<Keys>, Branch) {
    let keys = Arc::new(Keys::generate(0));
    let branch = grown(Branch::new(&keys), count);
    (keys, branch)
}

/// The branch with `count` more entries like no others.
fn grown(mut branch: Branch, count: u64) -> Branch {
    for _ in 0..count {
        branch.append(&any_entry());
    }
    branch
}

/// An entry like no other.
fn any_entry() -> VerifiedEntry {
    any_submission(&Signer::new()).entry
}
