//! The shipped server and one log of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use tokio::runtime::Runtime;
use treering_server::data_directory::default_anchor;
use treering_tests::binaries;
use treering_tests::hammer::log_key::LogKey;
use treering_tests::hammer::target::Target;

use crate::child::Running;

/// A log on disk.
pub(crate) struct Log {
    program: PathBuf,
    data: PathBuf,
    messages: PathBuf,
    key: LogKey,
}

/// The server of a log, ready for requests.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    /// From starting the program to its ready line.
    pub(crate) start: Duration,
}

/// A log that is served, and how many entries it must have.
pub(crate) struct Live {
    pub(crate) log: Log,
    pub(crate) server: Server,
    pub(crate) size: u64,
}

/// What the server counted about its batches, since it started.
#[derive(Clone, Copy)]
pub(crate) struct Batches {
    count: f64,
    entries: f64,
    seconds: f64,
}

impl Log {
    /// Makes a log called `name` below `work` with the server at `program`.
    pub(crate) fn create(program: &Path, work: &Path, name: &str) -> anyhow::Result<Self> {
        let data = work.join(name);
        let made = Command::new(program)
            .args(["init", "--url", "http://localhost", "--data"])
            .arg(&data)
            .output()
            .with_context(|| format!("cannot start {}", program.display()))?;
        ensure!(made.status.success(), "init: {}", String::from_utf8_lossy(&made.stderr).trim());
        let key = LogKey::read(&fs::read_to_string(data.join("identity"))?)?;
        let messages = work.join(format!("{name}.messages"));
        Ok(Self { program: program.to_owned(), data, messages, key })
    }

    /// Starts the server of this log.
    pub(crate) fn serve(&self) -> anyhow::Result<Server> {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--open-writes", "--data"]);
        let begun = Instant::now();
        let (running, line) = Running::start(command.arg(&self.data), &self.messages)?;
        let start = begun.elapsed();
        let ready: serde_json::Value = serde_json::from_str(&line)?;
        let address = ready["listen"].as_str().and_then(|address| address.parse().ok());
        let Some(address) = address else { bail!("the ready line is {line}") };
        Ok(Server { running, address, start })
    }

    /// Starts the server of this log, which has `size` entries.
    pub(crate) fn live(self, size: u64) -> anyhow::Result<Live> {
        let server = self.serve()?;
        Ok(Live { log: self, server, size })
    }

    /// Writes its trust file below `out`, with the address of its server; returns where.
    pub(crate) fn export_trust(&self, server: &Server, out: &Path) -> anyhow::Result<PathBuf> {
        let mut command = Command::new(&self.program);
        command.args(["trust", "export", "--data"]).arg(&self.data).arg("--out").arg(out);
        let exported = command.output()?;
        let said = String::from_utf8_lossy(&exported.stderr);
        ensure!(exported.status.success(), "trust export: {}", said.trim());
        let path = out.join("trust.json");
        let mut trust: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
        trust["log"]["url"] = format!("http://{}", server.address).into();
        fs::write(&path, trust.to_string())?;
        Ok(path)
    }

    /// Who the log is.
    pub(crate) fn key(&self) -> &LogKey {
        &self.key
    }

    /// Where it is.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Removes it with its anchor.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.data)?;
        Ok(fs::remove_file(default_anchor(&self.data))?)
    }
}

impl Live {
    /// Ends the server, and starts it again.
    pub(crate) fn restart(self) -> anyhow::Result<Self> {
        let Self { log, server, size } = self;
        server.running.stop()?;
        log.live(size)
    }

    /// Ends the server, and removes the log.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        self.server.running.stop()?;
        self.log.remove()
    }
}

impl Server {
    /// The body of the answer to one GET.
    pub(crate) fn fetch(&self, runtime: &Runtime, path: &str) -> anyhow::Result<Bytes> {
        runtime.block_on(Target::new(self.address).fetch(path))
    }

    /// What the server has counted about its batches so far.
    pub(crate) fn batches(&self, runtime: &Runtime) -> anyhow::Result<Batches> {
        let text = self.fetch(runtime, "/metrics")?;
        let value = |name: &str| metric(&text, name).with_context(|| format!("no metric {name}"));
        Ok(Batches {
            count: value("treering_batch_entries_count")?,
            entries: value("treering_batch_entries_sum")?,
            seconds: value("treering_batch_seconds_sum")?,
        })
    }
}

impl Batches {
    /// Mean entries and seconds of a batch since `before`.
    pub(crate) fn mean_since(self, before: Self) -> (f64, f64) {
        let count = (self.count - before.count).max(1.0);
        ((self.entries - before.entries) / count, (self.seconds - before.seconds) / count)
    }
}

fn metric(text: &Bytes, name: &str) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

/// Checks that `program` is built from the sources with this hash. Several clones may build in one
/// target directory: what is measured must be what is here.
pub(crate) fn check_program(program: &Path, sources: &str) -> anyhow::Result<()> {
    let version = binaries::version_of(program);
    let checked = binaries::check_version(&version, sources);
    checked.map_err(|why| anyhow::anyhow!("{}: {why}", program.display()))
}
