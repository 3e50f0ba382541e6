//! A directory with a witness in it, the process that serves it, and HTTP as bytes.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::hash::sha256;
use treering_proto::note::{self, Note, NoteKey, parse_signature_lines};

use super::log::Log;

/// No answer takes as long; a test that waits longer fails.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Bench {
    dir: TempDir,
    pub log: Log,
}

/// A serving process; killed when dropped.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    pub ready: Value,
}

/// An answer of HTTP/1.1.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Bench {
    /// A witness with an Ed25519 key that knows one log.
    pub fn new() -> Self {
        let bench = Self { dir: TempDir::new().unwrap(), log: Log::honest("log.example") };
        bench.expect(0, &["init", "--name", "w.example"]);
        bench.list_logs(&[&bench.log]);
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn list_logs(&self, logs: &[&Log]) {
        let mut text = "logs/v0\n".to_owned();
        for log in logs {
            let vkey = log.note_key().to_vkey();
            text.push_str(&format!("\nvkey {vkey}\norigin {}\nqpd 86400\n", log.origin));
        }
        std::fs::write(self.path("logs.txt"), text).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_treering"));
        command.arg("witness").args(arguments);
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command.current_dir(self.dir.path()).env_clear().stdin(Stdio::null());
        command.env("TREERING_KEY", "witness.pem").env("TREERING_STATE", "state");
        command.env("TREERING_LOGS", "logs.txt").env("TREERING_LISTEN", "127.0.0.1:0");
    }

    /// Runs the command, expects this exit code, and returns stdout and stderr.
    pub fn expect(&self, exit: i32, arguments: &[&str]) -> (String, String) {
        self.expect_of(exit, self.command(arguments))
    }

    pub fn expect_of(&self, exit: i32, mut command: Command) -> (String, String) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while lines.read_line(&mut stdout).unwrap() > 0 {
            // A witness that serves where it should refuse would do so for ever.
            if stdout.contains("\"event\":\"ready\"") {
                child.kill().unwrap();
            }
        }
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(exit), "{stdout}\n{stderr}");
        (stdout, stderr)
    }

    pub fn start(&self) -> Running {
        Running::start(self.command(&["serve"]), &self.path("stderr"))
    }

    pub fn start_with(&self, variable: &str, value: &str) -> Running {
        let mut command = self.command(&["serve"]);
        command.env(variable, value);
        Running::start(command, &self.path("stderr"))
    }

    /// Serves on a disk that takes no more byte.
    pub fn start_on_full_disk(&self) -> Running {
        let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" witness serve";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_treering")]);
        self.prepare(&mut command);
        Running::start(command, &self.path("stderr"))
    }

    /// What the witness said to its operator.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.path("stderr")).unwrap()
    }

    pub fn identity(&self) -> Vec<NoteKey> {
        let text = std::fs::read_to_string(self.path("state/witness")).unwrap();
        text.lines().skip(1).map(|line| NoteKey::parse_vkey(line).unwrap()).collect()
    }

    /// The time at which every key of the witness cosigned `note` in the answer.
    pub fn cosigned_at(&self, note: &Note, answer: &Answer) -> u64 {
        assert_eq!(answer.status, 200, "{answer:?}");
        let lines = parse_signature_lines(answer.body.as_bytes()).unwrap();
        let identity = self.identity();
        assert_eq!(lines.len(), identity.len());
        let signatures = [&note.signatures[..], &lines].concat();
        let verified = note::open(&Note { text: note.text.clone(), signatures }, &identity);
        let times: Vec<u64> = verified.unwrap().iter().map(|one| one.time.unwrap()).collect();
        assert!(times.len() == identity.len() && times.iter().all(|time| *time == times[0]));
        times[0]
    }

    /// The newest cosigned checkpoint, verified with the keys of the log and of the witness.
    pub fn shown(&self, running: &Running, log: &Log) -> SignedCheckpoint {
        let answer = running.get(&checkpoint_path(&log.origin));
        assert_eq!(answer.status, 200, "{answer:?}");
        let keys = [vec![log.note_key()], self.identity()].concat();
        let signed = open_checkpoint(answer.body.as_bytes(), &log.origin, &keys).unwrap();
        assert_eq!(signed.verified().len(), keys.len());
        signed
    }
}

impl Running {
    fn start(mut command: Command, stderr: &Path) -> Self {
        let stderr = File::options().create(true).append(true).open(stderr).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{error}: the witness does not start: {line:?}"));
        assert_eq!(ready["event"], "ready");
        let address = ready["listen"].as_str().unwrap().parse().unwrap();
        Self { child, address, ready }
    }

    pub fn post(&self, body: &[u8]) -> Answer {
        self.try_post(body).unwrap()
    }

    /// As a log asks: again when the witness was busy or its disk slow.
    pub fn post_until_answered(&self, body: &[u8]) -> Answer {
        loop {
            let answer = self.post(body);
            if answer.status != 503 {
                return answer;
            }
        }
    }

    /// The answer, if there is a whole one.
    pub fn try_post(&self, body: &[u8]) -> io::Result<Answer> {
        post_to(self.address, body)
    }

    pub fn get(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n");
        exchange(self.address, request.as_bytes()).unwrap()
    }

    /// The size that was cosigned last, as the witness says it to a log that does not know it.
    pub fn size(&self, log: &Log) -> u64 {
        // A size that nobody reaches here.
        let far = 1_000;
        let answer = self.post(&super::log::body(far, &[], &log.note(far)));
        assert_eq!(answer.status, 409, "{answer:?}");
        assert!(answer.head.contains("content-type: text/x.tlog.size\r\n"), "{answer:?}");
        answer.body.strip_suffix('\n').unwrap().parse().unwrap()
    }

    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    /// Waits for a process that kills itself.
    pub fn wait_for_crash(mut self) {
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{status}");
    }

    pub fn terminate(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn checkpoint_path(origin: &str) -> String {
    format!("/{}/checkpoint", sha256(origin.as_bytes()))
}

pub fn post_to(address: SocketAddr, body: &[u8]) -> io::Result<Answer> {
    let length = body.len();
    let head = format!(
        "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    exchange(address, &[head.as_bytes(), body].concat())
}

/// Sends bytes and reads one answer; the request must ask for the connection to be closed.
pub fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request)?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| io::Error::other("no whole answer"))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let head = format!("{}\r\n", head.to_ascii_lowercase());
    let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?;
    let is_whole = head.starts_with("http/1.1 ") && length.parse::<usize>().ok()? == body.len();
    is_whole.then(|| Answer { status, head, body: body.to_owned() })
}
