//! Somebody who uses a log through the shipped client: runs a command, reads what it says, and
//! takes the evidence that it keeps.
//!
//! Invariant: no variable of the environment reaches the client but those that are set here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::binaries;
use crate::lying_log::Keys;
use crate::server::text;
use crate::submission::Signer;

/// Not verified, and not malformed.
pub const NOT_VERIFIED: i32 = 1;
/// Wrong usage, or a file that makes no sense.
pub const USAGE: i32 = 2;
/// The log does not let this caller.
pub const NOT_AUTHORISED: i32 = 4;
/// A check that is required could not run.
pub const UNAVAILABLE: i32 = 5;
/// The log said what no honest log says.
pub const ALARM: i32 = 6;
/// Refused by a policy.
pub const POLICY: i32 = 7;

/// The verdict on evidence that convicts the log.
pub const PROVEN_LOG: &str = "proven-log";
/// That on evidence that convicts a witness.
pub const PROVEN_WITNESS: &str = "proven-witness";
/// That on evidence that convicts nobody.
pub const SUSPICIOUS: &str = "suspicious";

/// Somebody who uses a log: a trust file, a memory, a signing key, and models.
pub struct Person {
    directory: TempDir,
    /// Who signs this person's models.
    pub signer: Signer,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Words for people.
    pub stderr: String,
}

/// A file of evidence that was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Where it is.
    pub path: PathBuf,
    /// Its kind.
    pub kind: String,
}

impl Person {
    /// Somebody who trusts the log with these keys at `url`, and asks for no witness.
    pub fn new(keys: &Keys, url: &str) -> Self {
        Self::with_quorum(keys, url, 0)
    }

    /// The same, who asks for the cosignatures of `quorum` witnesses.
    ///
    /// # Panics
    /// If there is no room for files.
    pub fn with_quorum(keys: &Keys, url: &str, quorum: usize) -> Self {
        let mut trust = keys.trust(url, quorum.max(1));
        if quorum == 0 {
            trust.as_object_mut().expect("an object").remove("witnessPolicy");
        }
        Self::with_trust(trust)
    }

    /// Somebody with this trust file, who accepts their own models and no others.
    ///
    /// # Panics
    /// If there is no room for files.
    pub fn with_trust(mut trust: Value) -> Self {
        let person =
            Self { directory: TempDir::new().expect("there is room"), signer: Signer::new() };
        let public = person.signer.key.to_pem();
        trust["signers"] = serde_json::json!([{ "name": "release", "publicKey": public }]);
        write(&person.trust(), &trust.to_string());
        write(&person.path("signer.pem"), &person.signer.to_pkcs8_pem());
        write(&person.path("signer.pub"), &public);
        person
    }

    /// A file of this person.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The trust file.
    pub fn trust(&self) -> PathBuf {
        self.path("trust.json")
    }

    /// The trust file with a change.
    ///
    /// # Panics
    /// If it is not JSON any more.
    pub fn change_trust(&self, change: impl FnOnce(&mut Value)) {
        let bytes = fs::read(self.trust()).expect("a person has a trust file");
        let mut trust = serde_json::from_slice(&bytes).expect("which is JSON");
        change(&mut trust);
        write(&self.trust(), &trust.to_string());
    }

    /// From now on the log has other keys, too, under which nothing is known of its other face.
    ///
    /// # Panics
    /// If the trust file is not JSON any more.
    pub fn trusts_also(&self, later: &Keys) {
        self.change_trust(|trust| {
            let log = trust["log"].as_object_mut().expect("a log");
            log.remove("identity");
            let keys = log["keys"].as_array_mut().expect("a list");
            keys.truncate(1);
            keys.push(later.identity().note_key().to_vkey().into());
        });
    }

    /// From now on the log is asked at this address.
    pub fn asks(&self, url: &str) {
        self.change_trust(|trust| trust["log"]["url"] = url.into());
    }

    /// Runs the client with this person's trust file and memory; its data is JSON.
    ///
    /// # Panics
    /// If the client cannot be run.
    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments))
    }

    /// The command that [`Person::run`] runs.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binaries::client());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TREERING_") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.directory.path()).env("NO_PROXY", "*");
        command.env("TREERING_STATE", self.path("state")).env("TREERING_DEADLINE", "20s");
        command.env("TREERING_TRUST", self.trust()).env("TREERING_OUTPUT", "json");
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Looks at the newest checkpoint.
    pub fn log_info(&self) -> Said {
        self.run(&["log-info"])
    }

    /// Signs a model of this name, whose only file holds the name.
    pub fn sign(&self, name: &str) -> Said {
        let model = self.model(name);
        write(&model, name);
        let key = self.path("signer.pem");
        self.run(&["sign", text(&model), "--name", name, "--key", text(&key)])
    }

    /// Verifies the model of this name.
    pub fn verify(&self, name: &str, more: &[&str]) -> Said {
        self.run(&[&["verify", text(&self.model(name))], more].concat())
    }

    /// The model of this name.
    pub fn model(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.gguf"))
    }

    /// The bundle of the model of this name.
    pub fn bundle(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.gguf.sig"))
    }

    /// Gets a model and its bundle from somebody else, whose signer this person accepts.
    ///
    /// # Panics
    /// If the other has neither.
    pub fn receive(&self, other: &Self, name: &str) {
        for (from, to) in
            [(other.model(name), self.model(name)), (other.bundle(name), self.bundle(name))]
        {
            fs::copy(from, to).expect("the other has it");
        }
        let key = other.signer.key.to_pem();
        self.change_trust(|trust| {
            let signers = trust["signers"].as_array_mut().expect("a list");
            signers.push(serde_json::json!({ "name": format!("for {name}"), "publicKey": key }));
        });
    }

    /// Every file of evidence in this person's memory, oldest name first.
    pub fn evidence(&self) -> Vec<Kept> {
        let mut kept = Vec::new();
        collect_evidence(&self.path("state"), &mut kept);
        kept.sort_by(|a, b| a.path.cmp(&b.path));
        kept
    }

    /// The one file of evidence that there is now, which is of this kind and found to be worth
    /// this much by whoever has the trust file; it is taken out of the memory, so that the next one
    /// is again the only one.
    ///
    /// # Panics
    /// If it is otherwise.
    #[track_caller]
    pub fn takes_evidence(&self, kind: &str, verdict: &str) -> Kept {
        let kept = self.evidence();
        assert_eq!(kept.len(), 1, "not one file of evidence: {kept:?}");
        self.takes_evidence_of(kind, verdict)
    }

    /// Takes the one file of evidence of this kind, which `evidence verify` judges as it should.
    ///
    /// # Panics
    /// If it is otherwise.
    #[track_caller]
    pub fn takes_evidence_of(&self, kind: &str, verdict: &str) -> Kept {
        let mut kept = self.evidence();
        kept.retain(|kept| kept.kind == kind);
        let [only] = kept.as_slice() else { panic!("not one file of {kind}: {kept:?}") };
        let taken =
            self.path(&format!("taken-{}", only.path.file_name().expect("a file").display()));
        fs::rename(&only.path, &taken).expect("it can be moved");
        self.judges(&taken, verdict);
        Kept { path: taken, kind: only.kind.clone() }
    }

    /// `evidence verify` gives this verdict on the file, and ends accordingly.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn judges(&self, file: &Path, verdict: &str) {
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
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn compares(&self, other: &Self, relation: &str) {
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

    /// Looks once. Every finding that is new, with the entry that it is about.
    ///
    /// # Panics
    /// If a line is not JSON.
    pub fn monitors(&self, more: &[&str]) -> (Option<i32>, Vec<(String, Option<u64>)>) {
        let said = self.run(&[&["monitor", "--once"], more].concat());
        let mut findings = Vec::new();
        for line in said.stdout.lines() {
            let line: Value = serde_json::from_str(line).expect("each line is JSON");
            if line["schema"] == "treering.finding/v1" {
                let finding = line["finding"].as_str().expect("a finding has a kind");
                findings.push((finding.to_owned(), line["index"].as_u64()));
            }
        }
        (said.code, findings)
    }

    /// Looks once, and finds nothing.
    ///
    /// # Panics
    /// If it finds something.
    #[track_caller]
    pub fn finds_nothing(&self, more: &[&str]) {
        assert_eq!(self.monitors(more), (Some(0), Vec::new()));
    }

    /// Looks once, and finds this, whatever else there is: of the promises of the v1 face it reads
    /// a sample.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn finds_among(&self, finding: &str) {
        let (code, findings) = self.monitors(&[]);
        let is_found = findings.iter().any(|(found, _)| found == finding);
        assert!(code == Some(ALARM) && is_found, "{code:?} {findings:?}");
    }

    /// Looks once, and finds this and nothing else.
    ///
    /// # Panics
    /// If it finds something else.
    #[track_caller]
    pub fn finds(&self, more: &[&str], finding: &str, index: Option<u64>) {
        assert_eq!(self.monitors(more), (Some(ALARM), vec![(finding.to_owned(), index)]));
    }
}

impl Said {
    /// The check names this entry as evidence for `what`, with the time by the log's word and with
    /// the key of who signed it.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn cites(&self, name: &str, index: u64, what: &str) {
        let check = self.check(name);
        let mut details =
            check["details"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let start = format!("entry {index}, ");
        let has_all = |line: &str| {
            let signer = line.find("Z (the log's word), by key sha256:");
            line.starts_with(&start) && signer.is_some() && line.contains(what)
        };
        assert!(details.any(has_all), "{name} does not cite entry {index} as {what:?}: {check:#}");
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn of(mut command: Command) -> Self {
        let output = command.output().expect("the client can be run");
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Data as JSON.
    ///
    /// # Panics
    /// If it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The command did what it was asked, and said nothing of an alarm.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn passes(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(!self.stderr.contains("ALARM"), "{self:?}");
    }

    /// The command ended like this, before there was a report.
    ///
    /// # Panics
    /// If it ended otherwise.
    #[track_caller]
    pub fn ends(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.json()["exit"], code, "{self:?}");
    }

    /// The command ended like this, and its report says that this check stands in the way.
    ///
    /// # Panics
    /// If it ended otherwise, or for another reason.
    #[track_caller]
    pub fn fails(&self, code: i32, name: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let report = self.json();
        assert_eq!((&report["verified"], &report["exit"]), (&false.into(), &code.into()));
        let check = self.check(name);
        let stands_in_the_way = check["outcome"] != "passed" && check["required"] == true;
        assert!(stands_in_the_way, "{name} does not stand in the way: {self:?}");
    }

    /// The check of this name in the report.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn check(&self, name: &str) -> Value {
        let report = self.json();
        let checks = report["checks"].as_array().unwrap_or_else(|| panic!("no report: {self:?}"));
        let check = checks.iter().find(|check| check["check"] == name);
        check.unwrap_or_else(|| panic!("no check {name}: {self:?}")).clone()
    }

    /// The check came out like this, and its sentence and details say all of `words`.
    ///
    /// # Panics
    /// If it did not, or they do not.
    #[track_caller]
    pub fn says(&self, name: &str, outcome: &str, words: &[&str]) {
        let check = self.check(name);
        assert_eq!(check["outcome"], outcome, "{check:#}");
        let details = check["details"].as_array().into_iter().flatten();
        let lines = std::iter::once(&check["why"]).chain(details).filter_map(Value::as_str);
        let text = lines.collect::<Vec<_>>().join("\n");
        for words in words {
            assert!(text.contains(words), "no {words:?} in {name}:\n{text}");
        }
    }
}

fn collect_evidence(directory: &Path, kept: &mut Vec<Kept>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_evidence(&path, kept);
            continue;
        }
        let content = fs::read(&path).expect("the file can be read");
        let content = String::from_utf8_lossy(&content);
        let mut lines = content.lines();
        if lines.next() == Some("tlog-evidence@v1") {
            let kind = lines.next().and_then(|line| line.strip_prefix("kind "));
            let kind = kind.expect("evidence has a kind").to_owned();
            kept.push(Kept { path, kind });
        }
    }
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).expect("a temporary file can be written");
}
