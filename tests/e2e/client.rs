//! The client against a served log, as people and pipelines run it: sign, verify, submit, and every
//! way in which a model, a signer or a log can be wrong.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use treering_tests::binaries;
use treering_tests::check::check_log;
use treering_tests::history::History;
use treering_tests::server::{Log, Server, copy_directory, replace_contents, run, text};
use treering_tests::submission::Signer;

use crate::refusals::write;

const NOT_VERIFIED: i32 = 1;
const USAGE: i32 = 2;
const UNAVAILABLE: i32 = 5;
const ALARM: i32 = 6;

/// A served log, a model, and a signer that the trust file accepts.
struct Bench {
    log: Log,
    server: Option<Server>,
    model: PathBuf,
    trust: PathBuf,
    key: PathBuf,
    state: PathBuf,
}

/// What a command said and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Everything that was said, for people and programs.
    fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Bench {
    fn new() -> Self {
        Self::served_with(&["--open-writes"])
    }

    fn served_with(flags: &[&str]) -> Self {
        let log = Log::create();
        let server = log.serve_with(flags, None);
        let model = log.beside("tested-model");
        write_model(&model);
        let bench = Self {
            trust: log.beside("trust/trust.json"),
            key: log.beside("signer.pem"),
            state: log.beside("state"),
            log,
            server: Some(server),
            model,
        };
        bench.export_trust();
        bench.make_signer(&bench.key);
        bench.accept("release", &bench.key);
        bench
    }

    /// The trust file of the log, with the address that it has in this test.
    fn export_trust(&self) {
        let directory = self.trust.parent().unwrap();
        let exported =
            run(&["trust", "export", "--data", text(&self.log.data), "--out", text(directory)]);
        assert!(exported.status.success(), "{exported:?}");
        let mut trust: Value = serde_json::from_slice(&fs::read(&self.trust).unwrap()).unwrap();
        trust["log"]["url"] = format!("http://{}", self.server().address).into();
        fs::write(&self.trust, trust.to_string()).unwrap();
    }

    fn make_signer(&self, key: &Path) {
        let made = self.treering(&["keygen", "--key", text(key), "--no-password"]);
        assert_eq!(made.code, Some(0), "{made:?}");
    }

    fn accept(&self, name: &str, key: &Path) {
        let public = format!("{}.pub", text(key));
        let public = if Path::new(&public).exists() {
            public
        } else {
            text(&key.with_extension("pub")).to_owned()
        };
        let trust = text(&self.trust);
        let said = self.treering(&[
            "trust",
            "add-signer",
            "--trust",
            trust,
            name,
            "--public-key",
            &public,
        ]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }

    /// Runs the client; trust and state come from the environment.
    fn treering(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(binaries::client());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TREERING_") {
                command.env_remove(name);
            }
        }
        command.env("TREERING_STATE", &self.state).env("TREERING_DEADLINE", "20s");
        command.env("HOME", self.state.parent().unwrap()).env("NO_PROXY", "*");
        command.args(arguments).stdin(Stdio::null());
        let output = command.output().expect("the client can be run");
        Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn sign(&self, model: &Path, more: &[&str]) -> Said {
        let common = ["sign", text(model), "--trust", text(&self.trust), "--key", text(&self.key)];
        self.treering(&[&common, more].concat())
    }

    fn verify(&self, model: &Path, more: &[&str]) -> Said {
        let common = ["verify", text(model), "--trust", text(&self.trust)];
        self.treering(&[&common, more].concat())
    }
}

fn write_model(directory: &Path) {
    fs::create_dir_all(directory.join("weights")).unwrap();
    fs::write(directory.join("config.json"), "{\"layers\": 2}").unwrap();
    fs::write(directory.join("weights/one.bin"), vec![1; 5000]).unwrap();
    fs::write(directory.join("weights/two.bin"), vec![2; 70_000]).unwrap();
}

#[test]
fn a_signed_model_is_logged_and_verified_directory_and_file() {
    let bench = Bench::new();
    let signed = bench.sign(&bench.model, &["--name", "tested"]);
    assert_eq!(signed.code, Some(0), "{signed:?}");
    assert_eq!(bench.server().size(), 1);
    for more in [&[][..], &["--online"]] {
        let verified = bench.verify(&bench.model, more);
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }
    let verified = bench.verify(&bench.model, &["--output", "json"]);
    assert_eq!(verified.json()["verified"], true, "{verified:?}");

    let file = bench.log.beside("single.gguf");
    fs::write(&file, "one file").unwrap();
    let signed = bench.sign(&file, &["--name", "single"]);
    assert_eq!(signed.code, Some(0), "{signed:?}");
    let verified = bench.verify(&file, &["--online"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    fs::write(&file, "one File").unwrap();
    let verified = bench.verify(&file, &[]);
    assert_eq!(verified.code, Some(NOT_VERIFIED), "{verified:?}");
    assert_eq!(bench.server().size(), 2);
}

#[test]
fn a_log_that_takes_rekor_v2_alone_gets_models_logged_and_one_that_takes_nothing_says_so() {
    let bench = Bench::served_with(&["--open-writes", "--write-faces", "v2"]);
    let signed = bench.sign(&bench.model, &["--name", "tested"]);
    assert_eq!(signed.code, Some(0), "{signed:?}");
    let verified = bench.verify(&bench.model, &["--online"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let entry = bench.server().get("/api/treering/v1/entries/0").json();
    assert_eq!(entry["kindVersion"], serde_json::json!({ "kind": "dsse", "version": "0.0.2" }));
    let found = bench.server().get("/api/treering/v1/search?subject-name=tested").json();
    assert_eq!(found["entries"][0]["index"], "0", "the log saw the statement: {found}");

    let bench = Bench::served_with(&["--open-writes", "--read-only"]);
    let signed = bench.sign(&bench.model, &[]);
    assert!(signed.code.is_some_and(|code| code != 0), "{signed:?}");
    assert!(signed.all().contains("frozen") && signed.all().contains("read-only"), "{signed:?}");
}

#[test]
fn a_model_that_is_not_what_was_signed_is_refused_and_the_file_named() {
    let bench = Bench::new();
    let signed = bench.sign(&bench.model, &[]);
    assert_eq!(signed.code, Some(0), "{signed:?}");
    let whole = bench.log.beside("whole");
    copy_directory(&bench.model, &whole);
    let one = bench.model.join("weights/one.bin");
    type Change<'a> = Box<dyn Fn() + 'a>;
    let changes: [(&str, &str, Change<'_>); 5] = [
        ("changed", "weights/one.bin", Box::new(|| fs::write(&one, vec![3; 5000]).unwrap())),
        ("missing", "weights/one.bin", Box::new(|| fs::remove_file(&one).unwrap())),
        (
            "extra",
            "extra.bin",
            Box::new(|| {
                fs::write(bench.model.join("extra.bin"), "more").unwrap();
            }),
        ),
        (
            "renamed",
            "weights/three.bin",
            Box::new(|| {
                fs::rename(&one, bench.model.join("weights/three.bin")).unwrap();
            }),
        ),
        (
            "linked",
            "weights/one.bin",
            Box::new(|| {
                fs::rename(&one, bench.log.beside("elsewhere.bin")).unwrap();
                symlink(bench.log.beside("elsewhere.bin"), &one).unwrap();
            }),
        ),
    ];
    for (what, file, change) in &changes {
        change();
        let verified = bench.verify(&bench.model, &[]);
        assert_eq!(verified.code, Some(NOT_VERIFIED), "{what}: {verified:?}");
        assert!(verified.all().contains(file), "{what}: {verified:?}");
        replace_contents(&whole, &bench.model);
        assert_eq!(bench.verify(&bench.model, &[]).code, Some(0), "{what}: mended");
    }
}

#[test]
fn signers_and_trust_files_that_do_not_fit_are_refused() {
    let bench = Bench::new();
    assert_eq!(bench.sign(&bench.model, &[]).code, Some(0));
    let other = bench.log.beside("other.pem");
    bench.make_signer(&other);
    let other_public = bench.log.beside("other.pub");
    fs::write(&other_public, Signer::new().key.to_pem()).unwrap();
    let said = bench.verify(&bench.model, &["--public-key", text(&other_public)]);
    assert_eq!(said.code, Some(NOT_VERIFIED), "another signer: {said:?}");

    let trust: Value = serde_json::from_slice(&fs::read(&bench.trust).unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = trust.clone();
        change(&mut changed);
        fs::write(&bench.trust, changed.to_string()).unwrap();
        bench.verify(&bench.model, &[])
    };
    let foreign: Value = Signer::new().key.to_pem().into();
    let said = with(&|trust| trust["signers"][0]["publicKey"] = foreign.clone());
    assert_eq!(said.code, Some(NOT_VERIFIED), "another rule: {said:?}");
    let said = with(&|trust| {
        trust.as_object_mut().unwrap().remove("signers");
    });
    assert_eq!(said.code, Some(USAGE), "no rule: {said:?}");
    let said = with(&|trust| trust["surprise"] = 1.into());
    assert_eq!(said.code, Some(USAGE), "unknown field: {said:?}");
    assert!(said.all().contains("surprise"), "{said:?}");
    let said = with(&|trust| trust["signers"][0]["surprise"] = 1.into());
    assert_eq!(said.code, Some(USAGE), "unknown field in a rule: {said:?}");
    let said = with(&|trust| trust["log"]["keys"] = serde_json::json!([]));
    assert_eq!(said.code, Some(USAGE), "no key: {said:?}");
    let stranger = Log::create();
    let vkey = stranger.identity.note_key().to_vkey();
    let said = with(&|trust| {
        trust["log"]["keys"] = serde_json::json!([vkey]);
        trust["log"].as_object_mut().unwrap().remove("identity");
    });
    assert_eq!(said.code, Some(NOT_VERIFIED), "the key of another log: {said:?}");
}

#[test]
fn a_bundle_submitted_twice_has_one_index() {
    let bench = Bench::new();
    let mut history = History::new(&bench.log.identity);
    assert_eq!(bench.sign(&bench.model, &[]).code, Some(0));
    let bundle = bench.model.join("model.sig");
    let signed = fs::read(&bundle).unwrap();
    let mut bare: Value = serde_json::from_slice(&signed).unwrap();
    bare["verificationMaterial"]["tlogEntries"] = serde_json::json!([]);
    let public = bench.log.beside("public.pem");
    let trust: Value = serde_json::from_slice(&fs::read(&bench.trust).unwrap()).unwrap();
    fs::write(&public, trust["signers"][0]["publicKey"].as_str().unwrap()).unwrap();
    for _ in 0..2 {
        fs::write(&bundle, bare.to_string()).unwrap();
        let said = bench.verify(&bench.model, &[]);
        assert_eq!(said.code, Some(NOT_VERIFIED), "not logged: {said:?}");
        let said = bench.treering(&[
            "submit",
            text(&bundle),
            "--trust",
            text(&bench.trust),
            "--public-key",
            text(&public),
        ]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(bench.server().size(), 1, "the same envelope is the same entry");
        let bundle: Value = serde_json::from_slice(&fs::read(&bundle).unwrap()).unwrap();
        let index = &bundle["verificationMaterial"]["tlogEntries"][0]["logIndex"];
        assert_eq!(index, "0");
        assert_eq!(bench.verify(&bench.model, &["--online"]).code, Some(0));
    }
    let note = bench.server().get("/checkpoint").text();
    history.saw(&note);
}

#[test]
fn a_log_that_is_down_is_unavailable_and_offline_verification_goes_on() {
    let mut bench = Bench::new();
    assert_eq!(bench.sign(&bench.model, &[]).code, Some(0));
    bench.stop();
    let said = bench.treering(&["log-info", "--trust", text(&bench.trust), "--deadline", "2s"]);
    assert_eq!(said.code, Some(UNAVAILABLE), "{said:?}");
    let said = bench.sign(&bench.model, &["--deadline", "2s"]);
    assert_eq!(said.code, Some(UNAVAILABLE), "{said:?}");
    let said = bench.verify(&bench.model, &["--online", "--deadline", "2s"]);
    assert_eq!(said.code, Some(UNAVAILABLE), "{said:?}");
    let said = bench.verify(&bench.model, &[]);
    assert_eq!(said.code, Some(0), "a bundle verifies offline: {said:?}");
}

#[test]
fn a_log_put_back_with_its_anchor_is_noticed_by_whoever_remembers() {
    let mut bench = Bench::new();
    let mut history = History::new(&bench.log.identity);
    write(bench.server(), &mut history, 8);
    let anchor = fs::read(&bench.log.anchor).unwrap();
    let (older, flags) = (bench.log.beside("older"), ["--open-writes"]);
    bench.restart(&flags, |log| copy_directory(&log.data, &older));
    write(bench.server(), &mut history, 8);
    check_log(bench.server(), &mut history);
    assert_eq!(bench.sign(&bench.model, &[]).code, Some(0));
    let said = bench.treering(&["log-info", "--trust", text(&bench.trust)]);
    assert_eq!(said.code, Some(0), "{said:?}");

    // The operator, or a thief of the keys, puts back both: the log itself cannot know.
    bench.restart(&flags, |log| {
        replace_contents(&older, &log.data);
        fs::write(&log.anchor, &anchor).unwrap();
    });
    assert_eq!(bench.server().size(), 8, "the server believes its anchor");
    let evidence = || {
        let mut files = Vec::new();
        collect(&bench.state, &mut files);
        files.iter().any(|file| {
            fs::read_to_string(file).is_ok_and(|text| text.starts_with("tlog-evidence@v1"))
        })
    };
    assert!(!evidence(), "nothing is wrong yet");
    let said = bench.treering(&["log-info", "--trust", text(&bench.trust)]);
    assert_eq!(said.code, Some(ALARM), "{said:?}");
    assert!(evidence(), "the alarm leaves evidence: {said:?}");
    let said = bench.verify(&bench.model, &["--online"]);
    assert_eq!(said.code, Some(ALARM), "{said:?}");
    let another = bench.log.beside("another.gguf");
    fs::write(&another, "another").unwrap();
    let said = bench.sign(&another, &[]);
    assert_eq!(said.code, Some(ALARM), "signing onto it: {said:?}");
    assert!(!bench.log.beside("another.gguf.sig").exists(), "no bundle was written");

    // It grows past what was seen, as a fork: nothing hides that either.
    write(bench.server(), &mut History::new(&bench.log.identity), 20);
    let said = bench.treering(&["log-info", "--trust", text(&bench.trust)]);
    assert_eq!(said.code, Some(ALARM), "{said:?}");
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

impl Bench {
    fn server(&self) -> &Server {
        self.server.as_ref().expect("it was not stopped")
    }

    fn stop(&mut self) {
        let ended = self.server.take().map(Server::terminate);
        assert_eq!(ended.and_then(|ended| ended.code()), Some(0));
    }

    /// Stops the server, lets `change` happen to its files, and serves them again; the trust file
    /// follows to the new address.
    fn restart(&mut self, flags: &[&str], change: impl Fn(&Log)) {
        self.stop();
        change(&self.log);
        self.server = Some(self.log.serve_with(flags, None));
        let mut trust: Value = serde_json::from_slice(&fs::read(&self.trust).unwrap()).unwrap();
        trust["log"]["url"] = format!("http://{}", self.server().address).into();
        fs::write(&self.trust, trust.to_string()).unwrap();
    }
}
