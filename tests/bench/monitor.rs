//! The client's monitor, reading a whole log from its server: hashes, tiles, roots, facts and the
//! index of them on disk; and the same with every submitter's signature.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::desk;
use crate::server::Live;

/// How long the monitor took by its own summary.
pub(crate) struct Reading {
    /// Entries that were read, hashed, verified and indexed.
    pub(crate) entries: u64,
    /// Seconds, from the first request to the last commit.
    pub(crate) seconds: f64,
    /// Submitters' signatures that were verified.
    pub(crate) signatures: u64,
}

/// Lets `client` read a whole log from its server into a new index; every entry must be verified,
/// and nothing found.
pub(crate) fn read(client: &Path, live: &Live, signatures: bool) -> anyhow::Result<Reading> {
    let beside = live.log.data().parent().context("a log lies in a directory")?;
    let work = tempfile::tempdir_in(beside)?;
    let trust = live.log.export_trust(&live.server, work.path())?;
    let mut command = desk::command(client);
    command.args(["monitor", "--once", "--output", "json", "--deadline", "10m", "--trust"]);
    command.arg(&trust).arg("--state").arg(work.path().join("state"));
    if !signatures {
        command.arg("--no-signatures");
    }
    let output = command.stdin(Stdio::null()).output().context("cannot start the client")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "monitor: {stdout} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let summary = stdout.lines().last().context("the monitor says nothing")?;
    let summary: Value = serde_json::from_str(summary)?;
    let round = &summary["logs"][0];
    let number = |value: &Value| value.as_u64().with_context(|| format!("no number in {summary}"));
    let entries = number(&round["entries"])?;
    ensure!(entries == number(&round["size"])?, "not all was read: {summary}");
    ensure!(number(&round["findings"])? == 0, "something was found: {summary}");
    let verified = number(&round["signatures"]["verified"])?;
    ensure!(verified == if signatures { entries } else { 0 }, "signatures: {summary}");
    let seconds = round["seconds"].as_f64().context("no seconds in the summary")?;
    Ok(Reading { entries, seconds, signatures: verified })
}
