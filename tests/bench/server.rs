//! The shipped server and one log of it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use tokio::runtime::Runtime;
use treering_proto::identity::LogIdentity;
use treering_tests::binaries;

use crate::child::Running;
use crate::load;

/// A log on disk.
pub(crate) struct Log {
    program: PathBuf,
    data: PathBuf,
    messages: PathBuf,
    identity: LogIdentity,
}

/// The server of a log, ready for requests.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    /// What its ready line says about how long it took to start.
    pub(crate) start: Duration,
}

/// What a log takes on disk, in bytes.
pub(crate) struct DiskUse {
    /// Sorted tables and blobs.
    pub(crate) tables: u64,
    /// The write-ahead log, which has a bound of its own.
    pub(crate) wal: u64,
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
        let identity = LogIdentity::open(&fs::read(data.join("identity"))?)?;
        let messages = work.join(format!("{name}.messages"));
        Ok(Self { program: program.to_owned(), data, messages, identity })
    }

    /// Starts the server of this log, after checking that it is built from these sources.
    pub(crate) fn serve(&self) -> anyhow::Result<Server> {
        check_program(&self.program)?;
        let mut command = Command::new(&self.program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--open-writes", "--data"]);
        let (running, line) = Running::start(command.arg(&self.data), &self.messages)?;
        let ready: serde_json::Value = serde_json::from_str(&line)?;
        let address = ready["listen"].as_str().and_then(|address| address.parse().ok());
        let start = ready["startMilliseconds"].as_u64().map(Duration::from_millis);
        let (Some(address), Some(start)) = (address, start) else {
            bail!("the ready line is {line}");
        };
        Ok(Server { running, address, start })
    }

    /// Writes its trust file below `out`; returns where.
    pub(crate) fn export_trust(&self, out: &Path) -> anyhow::Result<PathBuf> {
        let mut command = Command::new(&self.program);
        command.args(["trust", "export", "--data"]).arg(&self.data).arg("--out").arg(out);
        let exported = command.output()?;
        let said = String::from_utf8_lossy(&exported.stderr);
        ensure!(exported.status.success(), "trust export: {}", said.trim());
        Ok(out.join("trust.json"))
    }

    /// Who the log is.
    pub(crate) fn identity(&self) -> &LogIdentity {
        &self.identity
    }

    /// Where it is.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// What its database takes on disk. Small files of the database count as tables.
    pub(crate) fn disk_use(&self) -> anyhow::Result<DiskUse> {
        let mut used = DiskUse { tables: 0, wal: 0 };
        for shard in fs::read_dir(self.data.join("shards"))? {
            for file in fs::read_dir(shard?.path())? {
                let file = file?;
                // Blocks count, not the length: the write-ahead log is allocated ahead.
                let bytes = file.metadata()?.blocks() * 512;
                let is_wal = file.path().extension().is_some_and(|extension| extension == "log");
                *if is_wal { &mut used.wal } else { &mut used.tables } += bytes;
            }
        }
        Ok(used)
    }
}

impl Server {
    /// What the server has counted about its batches so far.
    pub(crate) fn batches(&self, runtime: &Runtime) -> anyhow::Result<Batches> {
        let text = load::get(runtime, self.address, "/metrics")?;
        let value = |name: &str| metric(&text, name).with_context(|| format!("no metric {name}"));
        Ok(Batches {
            count: value("treering_batch_entries_count")?,
            entries: value("treering_batch_entries_sum")?,
            seconds: value("treering_batch_seconds_sum")?,
        })
    }
}

impl Batches {
    /// Mean entries and milliseconds of a batch since `before`.
    pub(crate) fn mean_since(&self, before: &Self) -> (f64, f64) {
        let count = (self.count - before.count).max(1.0);
        let entries = (self.entries - before.entries) / count;
        (entries, (self.seconds - before.seconds) / count * 1e3)
    }
}

fn metric(text: &Bytes, name: &str) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

/// Several clones may build in one target directory: what is measured must be what is here.
fn check_program(program: &Path) -> anyhow::Result<()> {
    let version = binaries::version_of(program);
    let checked = binaries::check_version(&version, &binaries::hash_of_this_tree());
    checked.map_err(|why| anyhow::anyhow!("{}: {why}", program.display()))
}
