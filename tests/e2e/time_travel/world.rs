//! A log that dates its checkpoints, people who sign models in it, and people who verify them.
//!
//! The log's clock only goes forward. So a test that needs old entries starts the server with a
//! clock that is days behind, and later restarts it with the right one.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use treering_tests::binaries;
use treering_tests::person::{Person, Said};
use treering_tests::server::{Log, Server, run, serving, text};
use treering_tests::shim::{Shared, Shim};
use treering_tests::submission::Signer;

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;

/// See the module.
pub(super) struct World {
    pub(super) log: Log,
    server: Option<Server>,
    shim: Shim,
    /// Where everybody signs; accepts nobody.
    signing: Person,
}

/// A signature that is logged, and the model that it is of.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) model: PathBuf,
    pub(super) bundle: PathBuf,
    pub(super) index: u64,
}

impl World {
    /// Everything happens now.
    pub(super) fn new() -> Self {
        Self::begun_days_ago(0)
    }

    /// What happens before [`World::today`] happened so many days ago.
    pub(super) fn begun_days_ago(days: i64) -> Self {
        let log = Log::create_with(&["--ml-dsa"]);
        let shim = Shim::compile().unwrap();
        let server = serve(&log, &shim, days, &["--open-writes"]);
        let signing = Person::with_trust(exported_trust(&log, &server));
        signing.change_trust(|trust| trust["signers"] = serde_json::json!([]));
        Self { log, server: Some(server), shim, signing }
    }

    /// From now on the log has the right clock.
    pub(super) fn today(&mut self) {
        self.restart(&["--open-writes"]);
    }

    /// The log is served anew with these flags, and the right clock.
    pub(super) fn restart(&mut self, flags: &[&str]) {
        self.stop();
        let server = serve(&self.log, &self.shim, 0, flags);
        self.signing.asks(&url(&server));
        self.server = Some(server);
    }

    /// Nobody answers any more.
    pub(super) fn stop(&mut self) {
        let ended = self.server.take().map(Server::terminate);
        assert_eq!(ended.and_then(|ended| ended.code()), Some(0));
    }

    pub(super) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// The key of this name, which is made when it is first asked for.
    pub(super) fn key(&self, who: &str) -> PathBuf {
        let path = self.log.beside(&format!("{who}.pem"));
        if !path.exists() {
            let signer = Signer::new();
            fs::write(&path, signer.to_pkcs8_pem()).unwrap();
            fs::write(self.public_key(who), signer.key.to_pem()).unwrap();
        }
        path
    }

    /// The public key of this name, which must have been made.
    pub(super) fn public_key(&self, who: &str) -> PathBuf {
        self.log.beside(&format!("{who}.pub"))
    }

    fn public_pem(&self, who: &str) -> String {
        self.key(who);
        fs::read_to_string(self.public_key(who)).unwrap()
    }

    /// What a trust file says about somebody.
    pub(super) fn rule(&self, who: &str) -> Value {
        serde_json::json!({ "name": who, "publicKey": self.public_pem(who) })
    }

    /// A model with these files, each with what it holds.
    pub(super) fn model(&self, directory: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.log.beside(directory);
        fs::create_dir_all(&path).unwrap();
        for (name, content) in files {
            fs::write(path.join(name), content).unwrap();
        }
        path
    }

    /// A model with weights and nothing else.
    pub(super) fn weights(&self, content: &str) -> PathBuf {
        self.model(&content.replace(' ', "-"), &[("model.safetensors", content)])
    }

    /// The command with which `who` signs `model` as `name`, and the bundle that it writes.
    pub(super) fn sign_arguments(&self, model: &Path, who: &str, name: &str) -> Vec<String> {
        let count = fs::read_dir(self.log.beside("")).unwrap().count();
        let bundle = self.log.beside(&format!("{count}-by-{who}.sig"));
        let key = self.key(who);
        let arguments = ["sign", text(model), "--name", name, "--key", text(&key)];
        let arguments = [&arguments[..], &["--signature", text(&bundle)]].concat();
        arguments.into_iter().map(str::to_owned).collect()
    }

    /// `who` signs `model` as `name`.
    #[track_caller]
    pub(super) fn sign(&self, model: &Path, who: &str, name: &str, more: &[&str]) -> Signed {
        self.sign_at(0, model, who, name, more)
    }

    /// The same, on a machine whose clock is so many seconds ahead.
    #[track_caller]
    pub(super) fn sign_at(
        &self,
        ahead: i64,
        model: &Path,
        who: &str,
        name: &str,
        more: &[&str],
    ) -> Signed {
        let arguments = self.sign_arguments(model, who, name);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = self.run_at(ahead, &self.signing, &[&arguments, more].concat());
        said.passes();
        let said = said.json();
        assert_eq!(said["new"], true, "a signature of its own: {said}");
        let bundle = PathBuf::from(said["signature"].as_str().unwrap());
        let index = said["index"].as_u64().unwrap();
        Signed { model: model.to_owned(), bundle, index }
    }

    /// `who` says something about a logged model: the kind of notice first.
    pub(super) fn say(&self, who: &str, arguments: &[&str]) -> Said {
        let count = fs::read_dir(self.log.beside("")).unwrap().count();
        let (key, out) = (self.key(who), self.log.beside(&format!("{count}-notice.sig")));
        let more = ["--key", text(&key), "--out", text(&out)];
        self.signing.run(&[arguments, &more].concat())
    }

    /// The same, and the log takes it: where it is.
    #[track_caller]
    pub(super) fn is_said(&self, who: &str, arguments: &[&str]) -> u64 {
        let said = self.say(who, arguments);
        said.passes();
        said.json()["index"].as_u64().unwrap()
    }

    /// Runs another command where everybody signs.
    pub(super) fn run(&self, arguments: &[&str]) -> Said {
        self.signing.run(arguments)
    }

    /// Runs a command of `person`, whose clock is so many seconds ahead.
    pub(super) fn run_at(&self, ahead: i64, person: &Person, arguments: &[&str]) -> Said {
        let mut command = person.command(arguments);
        let clock = Shared::create(self.log.beside("clock-of-a-person"));
        clock.set(ahead * 1000);
        self.shim.set_clock(&mut command, &clock);
        Said::of(command)
    }

    /// Somebody who accepts these signers, each by a rule of the same name, and who has the
    /// recommended policy.
    pub(super) fn verifier(&self, accepted: &[&str]) -> Person {
        let person = Person::with_trust(exported_trust(&self.log, self.server()));
        let rules = accepted.iter().map(|who| self.rule(who)).collect::<Vec<_>>();
        person.change_trust(|trust| trust["signers"] = rules.into());
        person.run(&["trust", "set-model-policy", "recommended"]).passes();
        person
    }
}

impl Signed {
    /// What verifies it: with this command, and more.
    pub(super) fn arguments<'a>(&'a self, command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&[command, text(&self.model), "--signature", text(&self.bundle)], more].concat()
    }

    /// Somebody verifies it.
    pub(super) fn verified_by(&self, person: &Person, more: &[&str]) -> Said {
        person.run(&self.arguments("verify", more))
    }

    /// Its entry, as a notice names it on the command line.
    pub(super) fn entry(&self) -> String {
        self.index.to_string()
    }
}

/// Serves `log` with a clock that is so many days behind.
fn serve(log: &Log, shim: &Shim, days_behind: i64, flags: &[&str]) -> Server {
    let mut command = serving(binaries::server(), &log.data, flags);
    let clock = Shared::create(log.beside("clock-of-the-log"));
    clock.set(-days_behind * DAY * 1000);
    if days_behind != 0 {
        shim.set_clock(&mut command, &clock);
    }
    Server::launch(command).unwrap_or_else(|ended| panic!("it did not start: {ended:?}"))
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address)
}

/// The trust file that the operator hands out, with the address that the log has now.
fn exported_trust(log: &Log, server: &Server) -> Value {
    let directory = log.beside("trust");
    if !directory.exists() {
        let data = text(&log.data);
        let exported = run(&["trust", "export", "--data", data, "--out", text(&directory)]);
        assert!(exported.status.success(), "{exported:?}");
    }
    let trust = fs::read(directory.join("trust.json")).unwrap();
    let mut trust: Value = serde_json::from_slice(&trust).unwrap();
    trust["log"]["url"] = url(server).into();
    trust
}
