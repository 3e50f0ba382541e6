//! The process that is measured: started, heard, asked for its CPU time and memory, and ended by
//! its own process id.
//!
//! Invariant: there is one child at a time, and none outlives this process when it ends by return,
//! error, panic, SIGINT or SIGTERM.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Clock ticks a second in `/proc/PID/stat`: Linux shows 100 to programs on every architecture.
pub(crate) const TICKS_PER_SECOND: u64 = 100;

/// The child that lives, 0 when there is none: what a signal handler must end.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// A running child.
pub(crate) struct Running {
    child: Child,
    /// Open while the child is wanted: the bare server ends when it is closed.
    _stdin: ChildStdin,
}

impl Running {
    /// Starts `command` and waits for the first line of its output. Its messages go to `messages`.
    pub(crate) fn start(command: &mut Command, messages: &Path) -> anyhow::Result<(Self, String)> {
        let stderr = File::options().create(true).append(true).open(messages)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        CHILD.store(child.id().cast_signed(), Ordering::SeqCst);
        let stdout = child.stdout.take().expect("its output is piped");
        let stdin = child.stdin.take().expect("its input is piped");
        let running = Self { child, _stdin: stdin };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            let said = fs::read_to_string(messages).unwrap_or_default();
            bail!("{command:?} ended before it was ready: {}", said.trim());
        }
        Ok((running, line))
    }

    /// Asks the child to end, and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill_process(self.pid(), Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// CPU time of all its threads so far.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let ticks: u64 = stat_fields(&stat).iter().skip(11).take(2).sum();
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// Memory that it has in RAM, in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        Ok(kib.and_then(|kib| kib.parse::<u64>().ok()).context("no VmRSS in its status")? * 1024)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CHILD.store(0, Ordering::SeqCst);
        // Both fail when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends the child, if there is one, because this process is about to end.
pub(crate) fn end_with_us() {
    if let Some(pid) = Pid::from_raw(CHILD.swap(0, Ordering::SeqCst)) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// The numbers of a `/proc/PID/stat` line after the program's name and state; what is not a
/// non-negative number is 0. User time is at 11, system time at 12, those of children follow.
pub(crate) fn stat_fields(stat: &str) -> Vec<u64> {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect()
}
