//! The processes that are measured: started, heard, asked for their CPU time and memory, and ended
//! each by its own process id.
//!
//! Invariants: none outlives this process when it ends by return, error, panic, SIGINT or SIGTERM;
//! no wait for one has no end.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// Clock ticks a second in `/proc/PID/stat`: Linux shows 100 to programs on every architecture.
pub(crate) const TICKS_PER_SECOND: u64 = 100;

/// How long a child may take until it is ready, and until it has ended when it is told to.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The children that live: what must be ended on a signal.
static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A running child.
pub(crate) struct Running {
    child: Child,
    /// Open while the child is wanted: the bare server ends when it is closed.
    _stdin: ChildStdin,
}

impl Running {
    /// Starts `command` and waits for the first line of its output. Its messages go to `messages`.
    pub(crate) fn start(command: &mut Command, messages: &Path) -> anyhow::Result<(Self, String)> {
        let mut running = Self::spawn(command.stdout(Stdio::piped()), messages)?;
        let stdout = running.child.stdout.take().expect("its output is piped");
        let mut line = String::new();
        let (read, is_late) =
            killed_after(WAIT_MAX, running.pid(), || BufReader::new(stdout).read_line(&mut line));
        let said = || fs::read_to_string(messages).unwrap_or_default().trim().to_owned();
        ensure!(!is_late, "{command:?} was not ready after {WAIT_MAX:?}: {}", said());
        ensure!(read? > 0, "{command:?} ended before it was ready: {}", said());
        Ok((running, line))
    }

    /// Starts `command`, which does not say when it is ready. Its messages go to `messages`.
    pub(crate) fn start_silent(command: &mut Command, messages: &Path) -> anyhow::Result<Self> {
        Self::spawn(command.stdout(Stdio::null()), messages)
    }

    fn spawn(command: &mut Command, messages: &Path) -> anyhow::Result<Self> {
        let stderr = File::options().create(true).append(true).open(messages)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        children().push(Pid::from_child(&child));
        let stdin = child.stdin.take().expect("its input is piped");
        Ok(Self { child, _stdin: stdin })
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Asks the child to end, and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.pid();
        kill_process(pid, Signal::TERM)?;
        // Leaves it a zombie, so that its number is nobody else's while it may yet be killed.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let (ended, is_late) = killed_after(WAIT_MAX, pid, || waitid(WaitId::Pid(pid), options));
        ended?;
        let status = self.child.wait()?;
        ensure!(!is_late, "the server had not ended after {WAIT_MAX:?}, and was killed");
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// Kills the child, which hears nothing of it, and waits until it is gone.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
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
        self.status_bytes("VmRSS:")
    }

    /// The most that it ever had.
    pub(crate) fn most_resident_bytes(&self) -> anyhow::Result<u64> {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, name: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        bytes_in_status(&status, name).with_context(|| format!("no {name} in its status"))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.pid();
        // Both fail when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        // Before its number may be somebody else's.
        children().retain(|child| *child != pid);
        let _ = self.child.wait();
    }
}

/// Does `work`, and kills `pid` when that takes longer than `time`. The second value says that it
/// was. `work` ends when the process does, and does not reap it.
fn killed_after<T>(time: Duration, pid: Pid, work: impl FnOnce() -> T) -> (T, bool) {
    let (done, waited) = channel::<()>();
    let watch = std::thread::spawn(move || {
        let is_late = waited.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
        if is_late {
            // It fails when it has just ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
        is_late
    });
    let result = work();
    drop(done);
    (result, watch.join().unwrap_or(false))
}

/// Ends every child, because this process is about to end.
pub(crate) fn end_with_us() {
    for pid in children().drain(..) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn children() -> MutexGuard<'static, Vec<Pid>> {
    // A list of numbers is whole whatever happened to its last user.
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of kilobytes behind `name` in `/proc/PID/status`, as bytes.
fn bytes_in_status(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The numbers of a `/proc/PID/stat` line after the program's name and state; what is not a
/// non-negative number is 0. User time is at 11, system time at 12, those of children follow.
pub(crate) fn stat_fields(stat: &str) -> Vec<u64> {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_its_line() {
        let status = "Name:\tserver\nVmHWM:\t   20480 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(bytes_in_status(status, "VmRSS:"), Some(1024 * 1024));
        assert_eq!(bytes_in_status(status, "VmHWM:"), Some(20 << 20));
        assert_eq!(bytes_in_status(status, "VmSwap:"), None);
    }

    #[test]
    fn a_child_that_says_nothing_is_killed_in_time() {
        let mut command = Command::new("cat");
        let messages = tempfile::NamedTempFile::new().unwrap();
        let running = Running::start_silent(&mut command, messages.path()).unwrap();
        let (pid, options) = (running.pid(), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let wait = || waitid(WaitId::Pid(pid), options);
        let (ended, is_late) = killed_after(Duration::from_millis(1), pid, wait);
        assert!(is_late && ended.unwrap().is_some_and(|status| status.killed()));
        let (value, is_late) = killed_after(WAIT_MAX, pid, || 7);
        assert_eq!((value, is_late), (7, false), "what is done in time kills nobody");
    }

    #[test]
    fn fields_are_counted_behind_the_name_whatever_is_in_it() {
        let fields = stat_fields("7 (a) b (c)) S 1 2 -3 4");
        assert_eq!(fields, [0, 1, 2, 0, 4]);
    }
}
