//! The shipped binary on the way to a log: TLS that is wrong in each way, client certificates, a
//! proxy, tokens, and that no secret is ever shown.

mod road;

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
// What the shared log of the unit tests expects to find at the root of its crate.
use treering_client::{hash_model, transport};

#[allow(dead_code)]
#[path = "../../src/test_log.rs"]
mod test_log;

use road::{Authority, Proxy, TlsFront, Wants};
use test_log::{Served, TestLog};

/// Nowhere in what the program prints.
const SECRET: &str = "s3cr3t-t0ken-of-the-signer";

/// A log, TLS in front of it, and somebody who asks it.
struct Bench {
    dir: TempDir,
    served: Served,
    authority: Authority,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let bench =
            Self { dir, served: TestLog::filled(1, 5).serve(), authority: Authority::new() };
        bench.write("ca.pem", &bench.authority.pem());
        bench.write("other-ca.pem", &Authority::new().pem());
        bench.write("token", SECRET);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file that only its owner may read.
    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(self.path(name), text).unwrap();
        let only_owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.path(name), only_owner).unwrap();
    }

    /// TLS in front of the log, and a trust file that names it `host`.
    fn front(&self, host: &str, wants: Wants) -> TlsFront {
        let front = TlsFront::new(&self.authority, &self.served.url, wants);
        let url = format!("https://{host}:{}", front.address.port());
        let trust = self.served.log.lock().unwrap().trust(&url, Vec::new(), &[]);
        self.write("trust.json", &trust.format());
        front
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_treering"));
        command.args(["log-info", "--output", "json", "--deadline", "30s"]).args(arguments);
        command.current_dir(self.dir.path()).env_clear();
        command.env("HOME", self.dir.path()).env("TREERING_TRUST", "trust.json");
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
        command.envs(environment.iter().copied()).stdin(std::process::Stdio::null());
        let output = command.output().unwrap();
        let printed = [&output.stdout[..], &output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        assert!(!printed.contains(SECRET), "a secret was shown: {printed}");
        output
    }

    fn passes(&self, arguments: &[&str], environment: &[(&str, &str)]) {
        let output = self.run(arguments, environment);
        assert!(output.status.success(), "{output:?}");
    }

    /// Expects this exit code, and words in why and in what to do next.
    fn fails(&self, exit: i32, why: &str, next: &str, run: Output) {
        assert_eq!(run.status.code(), Some(exit), "{run:?}");
        let error: Value = serde_json::from_slice(&run.stdout).unwrap();
        let text = |member: &str| error[member].as_str().unwrap_or_default().to_owned();
        assert!(text("why").contains(why), "{why:?} is not in {error}");
        assert!(text("next").contains(next), "{next:?} is not in {error}");
        assert!(!text("what").is_empty());
    }
}

const CA: [&str; 2] = ["--ca-file", "ca.pem"];
const TOKEN: [&str; 2] = ["--token-file", "token"];

#[test]
fn an_authority_of_a_file_is_trusted_beside_those_of_the_system_and_no_other() {
    let bench = Bench::new();
    let _front = bench.front("localhost", Wants::Nothing);
    bench.passes(&CA, &[]);
    bench.passes(&[], &[("TREERING_CA_FILE", "ca.pem")]);
    // What the flag was called before.
    bench.passes(&["--tls-ca", "ca.pem"], &[]);
    let unknown = "no authority trusted here";
    bench.fails(5, unknown, "--ca-file", bench.run(&["--ca-file", "other-ca.pem"], &[]));
    bench.fails(2, "not PEM", "--ca-file", bench.run(&["--ca-file", "token"], &[]));
}

#[test]
fn a_certificate_that_expired_or_has_another_name_is_told_apart() {
    let bench = Bench::new();
    let _front = bench.front("localhost", Wants::ExpiredCertificate);
    bench.fails(5, "has expired", "renew", bench.run(&CA, &[]));
    let _front = bench.front("127.0.0.1", Wants::Nothing);
    bench.fails(5, "another name", "log.url", bench.run(&CA, &[]));
}

#[test]
fn a_client_certificate_is_shown_when_it_is_wanted() {
    let bench = Bench::new();
    let (certificate, key) = bench.authority.client();
    bench.write("ci.crt", &certificate);
    bench.write("ci.key", &key);
    let (theirs, their_key) = Authority::new().client();
    bench.write("their.crt", &theirs);
    bench.write("their.key", &their_key);
    let _front = bench.front("localhost", Wants::ClientCertificate);
    let with = |certificate: &'static str, key: &'static str| {
        let pair = ["--client-certificate", certificate, "--client-key", key];
        bench.run(&[&CA[..], &pair].concat(), &[])
    };
    let shown = with("ci.crt", "ci.key");
    assert!(shown.status.success(), "{shown:?}");
    bench.fails(4, "requires a client certificate", "--client-cert", bench.run(&CA, &[]));
    bench.fails(4, "does not accept", "authorities", with("their.crt", "their.key"));
    bench.fails(2, "do not belong together", "--client-key", with("ci.crt", "their.key"));
    let alone = bench.run(&["--client-certificate", "ci.crt"], &[]);
    assert_eq!(alone.status.code(), Some(2), "{alone:?}");
}

#[test]
fn a_proxy_leads_to_the_log_and_reads_nothing() {
    let bench = Bench::new();
    let front = bench.front("log.test", Wants::Nothing);
    let proxy = Proxy::to(front.address);
    let environment = [("HTTPS_PROXY", proxy.url.as_str())];
    bench.passes(&[CA, TOKEN].concat(), &environment);
    let heard = proxy.heard();
    let text = String::from_utf8_lossy(&heard);
    assert!(text.starts_with("CONNECT log.test:"), "{text}");
    assert!(!text.contains(SECRET) && !text.contains("authorization: Bearer"), "{text}");
    let requests = front.requests();
    assert!(requests.iter().any(|request| request.contains(SECRET)), "the log has the token");
}

#[test]
fn a_proxy_that_refuses_is_told_of_and_its_password_is_not() {
    let bench = Bench::new();
    let _front = bench.front("log.test", Wants::Nothing);
    for (status, why, next) in [
        ("403 Forbidden", "does not connect", "NO_PROXY"),
        ("407 Proxy Authentication Required", "name and a password", "HTTPS_PROXY"),
    ] {
        let proxy = Proxy::refusing(status);
        let url = proxy.url.replace("http://", &format!("http://ci:{SECRET}@"));
        let run = bench.run(&[CA, TOKEN].concat(), &[("HTTPS_PROXY", &url)]);
        bench.fails(5, why, next, run);
    }
}

#[test]
fn a_host_in_no_proxy_is_asked_itself() {
    let bench = Bench::new();
    let _front = bench.front("localhost", Wants::Nothing);
    let proxy = Proxy::refusing("403 Forbidden");
    let url = proxy.url.as_str();
    bench.passes(&CA, &[("HTTPS_PROXY", url), ("NO_PROXY", "localhost")]);
    assert!(proxy.heard().is_empty());
}

#[test]
fn a_refused_token_is_not_shown_and_neither_is_one_that_cannot_be_sent() {
    let bench = Bench::new();
    let _front = bench.front("localhost", Wants::AnotherToken);
    let run = bench.run(&[CA, TOKEN].concat(), &[]);
    bench.fails(4, "token unknown (unauthorized)", "--token-file", run);
    bench.fails(4, "(unauthorized)", "--token", bench.run(&CA, &[("TREERING_TOKEN", SECRET)]));
    let control = format!("{SECRET}\u{7}");
    bench.write("token", &control);
    bench.fails(2, "characters", "", bench.run(&[CA, TOKEN].concat(), &[]));
    // There is no flag for the token itself, because everybody may read command lines.
    let flag = bench.run(&["--token", "word"], &[]);
    assert_eq!(flag.status.code(), Some(2), "{flag:?}");
    // Nor is it sent in clear text to another machine.
    bench.write("token", SECRET);
    let trust = bench.served.log.lock().unwrap().trust("http://log.test", Vec::new(), &[]);
    bench.write("trust.json", &trust.format());
    bench.fails(2, "not sent over http", "", bench.run(&TOKEN, &[]));
}

#[test]
fn secrets_that_others_may_read_are_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    let _front = bench.front("localhost", Wants::Nothing);
    let warning = |output: &Output| String::from_utf8_lossy(&output.stderr).contains("chmod 600");
    assert!(!warning(&bench.run(&[CA, TOKEN].concat(), &[])));
    let everybody = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(bench.path("token"), everybody).unwrap();
    let output = bench.run(&[CA, TOKEN].concat(), &[]);
    assert!(output.status.success() && warning(&output), "{output:?}");
}
