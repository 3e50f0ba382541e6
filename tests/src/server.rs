//! Logs on disk, and server processes that serve them.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;
use treering_proto::identity::LogIdentity;

use crate::binaries;
use crate::http::{Connection, Response};

/// A log that was made for one test; its files go when the test ends.
pub struct Log {
    directory: TempDir,
    /// The data directory.
    pub data: PathBuf,
    /// The anchor.
    pub anchor: PathBuf,
    /// Who the log is.
    pub identity: LogIdentity,
}

/// A server process.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// The line that it printed when it was ready.
    pub ready: Value,
    errors: Option<JoinHandle<String>>,
}

/// A process that ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// What it wrote for people.
    pub stderr: String,
}

impl Ended {
    /// The exit code; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Whether SIGKILL ended it.
    pub fn is_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }
}

impl Log {
    /// Makes a log in a new directory.
    ///
    /// # Panics
    /// If `init` fails.
    pub fn create() -> Self {
        Self::create_with(&[])
    }

    /// Makes a log in a new directory, with these flags of `init`.
    ///
    /// # Panics
    /// If `init` fails.
    pub fn create_with(flags: &[&str]) -> Self {
        Self::create_below(&std::env::temp_dir(), flags)
    }

    /// Makes a log in a new directory below `place`, with these flags of `init`.
    ///
    /// # Panics
    /// If `init` fails.
    pub fn create_below(place: &Path, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir_in(place).expect("there is room for a directory");
        let data = directory.path().join("log");
        let anchor = directory.path().join("log.anchor");
        let common = ["init", "--data", text(&data), "--url", "http://127.0.0.1:3000"];
        let output = run(&[&common, flags].concat());
        assert!(output.status.success(), "init: {}", String::from_utf8_lossy(&output.stderr));
        let document = fs::read(data.join("identity")).expect("init wrote the identity document");
        let identity = LogIdentity::open(&document).expect("init signed it");
        Self { directory, data, anchor, identity }
    }

    /// Serves it with open writes.
    ///
    /// # Panics
    /// If it does not start.
    pub fn serve(&self) -> Server {
        self.serve_with(&["--open-writes"], None)
    }

    /// Serves it with open writes; the process dies when it passes the crash point.
    ///
    /// # Panics
    /// If it does not start.
    pub fn serve_until_crash(&self, point: &str) -> Server {
        self.serve_with(&["--open-writes"], Some(point))
    }

    /// Serves it with these flags.
    ///
    /// # Panics
    /// If it does not start.
    pub fn serve_with(&self, flags: &[&str], crash_at: Option<&str>) -> Server {
        match Server::start(&self.data, flags, crash_at) {
            Ok(server) => server,
            Err(ended) => panic!("the server did not start: {ended:?}"),
        }
    }

    /// Tries to serve it, and expects that it is refused.
    ///
    /// # Panics
    /// If it starts.
    pub fn refused(&self) -> Ended {
        refused(&self.data, &[])
    }

    /// Runs an operation of the server on this log: `--data` is added.
    ///
    /// # Panics
    /// If the binary cannot be run.
    pub fn run(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &["--data", text(&self.data)]].concat())
    }

    /// The database of its one shard.
    pub fn shard(&self) -> PathBuf {
        self.data.join("shards").join(self.identity.tree_id().to_hex())
    }

    /// Leaves everything where it is when the test ends, and says where.
    pub fn keep(&mut self) -> &Path {
        self.directory.disable_cleanup(true);
        self.directory.path()
    }

    /// A path beside the data directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The files of the data directory that no refused start may touch, with their bytes.
    pub fn fixed_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let names = ["FORMAT", "owner", "url", "identity", "keys/note.pem", "keys/v1.pem"];
        let paths = names.iter().map(|name| self.data.join(name)).chain([self.anchor.clone()]);
        paths.filter_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes))).collect()
    }
}

impl Server {
    /// Starts a server on `data` and waits until it listens, or ends.
    ///
    /// # Errors
    /// How it ended, if it did not get as far as listening.
    ///
    /// # Panics
    /// If the binary cannot be run.
    pub fn start(data: &Path, flags: &[&str], crash_at: Option<&str>) -> Result<Self, Ended> {
        let mut command = serving(binaries::server(), data, flags);
        if let Some(point) = crash_at {
            command.env("TREERING_CRASH_AT", point);
        }
        Self::launch(command)
    }

    /// Runs a command of [`serving`] and waits until it listens, or ends.
    ///
    /// # Errors
    /// How it ended, if it did not get as far as listening.
    ///
    /// # Panics
    /// If the binary cannot be run.
    pub fn launch(mut command: Command) -> Result<Self, Ended> {
        let mut child = command.spawn().expect("the server can be run");
        let mut errors = child.stderr.take().expect("stderr is a pipe");
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = errors.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        stdout.read_line(&mut line).expect("the server writes text");
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = ready["listen"].as_str().and_then(|address| address.parse().ok());
        let is_ready = address.is_some();
        let address = address.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let server = Self { child, address, ready, errors: Some(errors) };
        if is_ready { Ok(server) } else { Err(server.wait()) }
    }

    /// Starts a server on `data` and kills it as soon as it logs `words`, or has started.
    ///
    /// # Panics
    /// If it ends before that.
    pub fn kill_when_it_says(data: &Path, words: &str) {
        let mut command = Command::new(binaries::server());
        command.args(["serve", "--data", text(data), "--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server can be run");
        let mut errors = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let mut said = String::new();
        let mut line = 0;
        while !said[line..].contains(words) && !said[line..].contains("\"serving\"") {
            line = said.len();
            let length = errors.read_line(&mut said).expect("the server writes text");
            assert!(length > 0, "it ended by itself: {said}");
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Panics
    /// If the system cannot say how.
    pub fn wait(mut self) -> Ended {
        let status = self.child.wait().expect("a child can be waited for");
        let errors = self.errors.take().map(|errors| errors.join().unwrap_or_default());
        Ended { status, stderr: errors.unwrap_or_default() }
    }

    /// Ends the process as by power loss.
    pub fn kill(mut self) -> Ended {
        let _ = self.child.kill();
        self.wait()
    }

    /// Asks the process to end, and waits until it has.
    ///
    /// # Panics
    /// If the process is gone already.
    pub fn terminate(self) -> Ended {
        self.ask_to_end();
        self.wait()
    }

    /// Asks the process to end.
    ///
    /// # Panics
    /// If the process is gone already.
    pub fn ask_to_end(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it still runs");
    }

    /// Its process id.
    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Where it listens for reads alone.
    ///
    /// # Panics
    /// If it has no such address.
    pub fn read_address(&self) -> SocketAddr {
        let address = self.ready["readListen"].as_str().and_then(|text| text.parse().ok());
        address.expect("it was started with --read-listen")
    }

    /// A connection to it.
    ///
    /// # Panics
    /// If it does not listen any more.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address).expect("the server listens")
    }

    /// `GET path` on a connection of its own.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn get(&self, path: &str) -> Response {
        self.connect().get(path).expect("the server answers")
    }

    /// How many entries are published.
    ///
    /// # Panics
    /// If the server does not say.
    pub fn size(&self) -> u64 {
        let size = self.get("/readyz").json()["treeSize"].as_str().and_then(|t| t.parse().ok());
        size.expect("readyz says the size")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that serves `data` with these flags, on a port that the system chooses.
///
/// # Panics
/// If the path is not UTF-8.
pub fn serving(server: &Path, data: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(server);
    command.args(["serve", "--data", text(data)]);
    if !flags.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    if !flags.contains(&"--min-free-disk") {
        command.args(["--min-free-disk", "16777216"]);
    }
    command.args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("TREERING_CRASH_AT");
    command
}

/// Runs the server binary with `arguments` to its end.
///
/// # Panics
/// If it cannot be run.
pub fn run(arguments: &[&str]) -> Output {
    let output = Command::new(binaries::server()).args(arguments).stdin(Stdio::null()).output();
    output.expect("the server can be run")
}

/// Tries to serve `data`, and expects that it is refused.
///
/// # Panics
/// If it starts.
pub fn refused(data: &Path, flags: &[&str]) -> Ended {
    match Server::start(data, flags, None) {
        Ok(server) => panic!("a log was served that must not be: {}", server.ready),
        Err(ended) => ended,
    }
}

/// A path as text.
///
/// # Panics
/// If it is not UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have UTF-8 names")
}

/// Copies a directory and everything below it, except the ballast, which is only room.
///
/// # Panics
/// If a file cannot be copied.
pub fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the copy can be made");
    for entry in fs::read_dir(from).expect("the directory is there").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &target);
        } else if entry.file_name() != "ballast" {
            fs::copy(entry.path(), target).expect("the file can be copied");
        }
    }
}

/// Replaces what is in the directory `to` by what is in `from`; the directory itself stays.
///
/// # Panics
/// If a file cannot be removed or copied.
pub fn replace_contents(from: &Path, to: &Path) {
    for entry in fs::read_dir(to).expect("the directory is there").flatten() {
        let path = entry.path();
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("the old file can be removed");
    }
    copy_directory(from, to);
}

/// Every file below `directory` with its bytes, the ballast not counted.
///
/// # Panics
/// If a file cannot be read.
pub fn all_files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("the directory is there").flatten() {
        if entry.path().is_dir() {
            files.extend(all_files(&entry.path()));
        } else if entry.file_name() != "ballast" {
            files.push((entry.path(), fs::read(entry.path()).expect("the file can be read")));
        }
    }
    files.sort();
    files
}
