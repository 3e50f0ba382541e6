//! What the service manager is told: the `sd_notify` protocol of systemd, datagrams of `NAME=value`
//! lines to the socket that `NOTIFY_SOCKET` names, a path or `@` and an abstract name (man
//! sd_notify(3)).
//!
//! ```text
//! READY=1        the log is open and the address listens
//! STATUS=...     one line for `systemctl status`: serving, or why writes are refused
//! WATCHDOG=1     the sequencer went round since the last one
//! STOPPING=1     no new connections; open requests may end
//! ```
//!
//! Invariants: without a socket everything here does nothing; a message that cannot be sent is no
//! reason to fail; the watchdog is fed only while the sequencer goes round, so a process whose
//! loop hangs is restarted even if it still answers reads. A latched log goes round: it needs a
//! person, not a restart.
//!
//! Out of scope: socket activation, and the messages that carry file descriptors.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Messages for each time that the manager allows between two: one may come late.
const FEEDS_PER_TIMEOUT: u32 = 4;

/// The manager's socket, if this process has a manager.
#[derive(Clone, Debug, Default)]
pub struct Manager {
    socket: Option<Arc<UnixDatagram>>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The manager that started this process, by `NOTIFY_SOCKET`, `WATCHDOG_USEC` and
    /// `WATCHDOG_PID`.
    pub fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET");
        let text = |name| std::env::var(name).ok();
        let (timeout, pid) = (text("WATCHDOG_USEC"), text("WATCHDOG_PID"));
        Self::new(socket.as_deref(), timeout.as_deref(), pid.as_deref(), std::process::id())
    }

    /// A manager at this address, for tests.
    #[cfg(test)]
    pub(crate) fn at(address: &OsStr) -> Self {
        Self::new(Some(address), None, None, 0)
    }

    fn new(
        socket: Option<&OsStr>,
        timeout_us: Option<&str>,
        watched_pid: Option<&str>,
        own_pid: u32,
    ) -> Self {
        let Some(address) = socket.filter(|address| !address.is_empty()) else {
            return Self::default();
        };
        let socket = connect(address).inspect_err(|error| {
            let address = address.display();
            tracing::warn!(%error, %address, "the service manager cannot be reached");
        });
        // Without a process id it is meant for whoever reads it.
        let is_ours = watched_pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
        let timeout = timeout_us.and_then(|timeout| timeout.parse().ok()).filter(|us| *us > 0);
        let watchdog = timeout.filter(|_| is_ours).map(Duration::from_micros);
        Self { socket: socket.ok().map(Arc::new), watchdog }
    }

    /// The log is served.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// One line for people who ask how it goes.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// The process is about to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping: open requests may end");
    }

    /// What must be fed, and how often, if the manager watches; `heartbeat` is the sequencer's.
    pub fn watchdog(&self, heartbeat: &Heartbeat) -> Option<Watchdog> {
        let every = self.watchdog? / FEEDS_PER_TIMEOUT;
        self.socket.as_ref()?;
        Some(Watchdog { manager: self.clone(), every, heartbeat: heartbeat.clone(), fed_at: 0 })
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

/// Feeds the manager's watchdog.
#[derive(Debug)]
pub struct Watchdog {
    manager: Manager,
    every: Duration,
    heartbeat: Heartbeat,
    fed_at: u64,
}

impl Watchdog {
    /// How often [`Watchdog::feed`] is to be called.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// Feeds it if the heart beat since the last time, and says whether it did.
    pub fn feed(&mut self) -> bool {
        let beats = self.heartbeat.beats();
        let alive = beats != self.fed_at;
        if alive {
            self.fed_at = beats;
            self.manager.send("WATCHDOG=1");
        } else {
            tracing::error!("the sequencer does not go round; the watchdog is not fed");
        }
        alive
    }
}

/// Shared by the sequencer, which beats once in each turn, and the watchdog.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    /// One turn more.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many turns there were.
    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match address.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(Path::new(address))?,
    }
    // A manager that does not read must not hold up the log.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A line feed would begin another assignment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn managed(address: &OsStr, timeout_us: &str) -> Manager {
        Manager::new(Some(address), Some(timeout_us), Some("7"), 7)
    }

    #[test]
    fn a_manager_at_a_path_hears_every_message() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = managed(path.as_os_str(), "60000000");
        manager.ready("serving\nREADY=0");
        assert_eq!(heard(&socket), "READY=1\nSTATUS=serving READY=0");
        manager.status("latched");
        assert_eq!(heard(&socket), "STATUS=latched");
        manager.stopping();
        assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=stopping: open requests may end");
        drop(socket);
        manager.status("nobody listens, and nothing fails");
    }

    #[test]
    fn a_manager_at_an_abstract_address_hears_beats_while_the_loop_goes_round() {
        let name = format!("treering-systemd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let manager = managed(OsStr::new(&format!("@{name}")), "60000000");
        let heartbeat = Heartbeat::default();
        let mut watchdog = manager.watchdog(&heartbeat).unwrap();
        assert_eq!(watchdog.every(), Duration::from_secs(15));
        assert!(!watchdog.feed(), "the loop has not begun");
        heartbeat.beat();
        assert!(watchdog.feed());
        assert_eq!(heard(&socket), "WATCHDOG=1");
        assert!(!watchdog.feed(), "the loop hangs");
        heartbeat.beat();
        assert!(watchdog.feed());
    }

    #[test]
    fn without_a_manager_nothing_is_said_and_nothing_fails() {
        let heartbeat = Heartbeat::default();
        let nobody = Manager::new(None, Some("1000"), None, 7);
        nobody.ready("serving");
        assert!(nobody.watchdog(&heartbeat).is_none());
        let gone = managed(OsStr::new("/nonexistent/notify"), "1000");
        gone.ready("serving");
        assert!(gone.watchdog(&heartbeat).is_none());
        for (timeout, pid) in [(None, None), (Some("0"), None), (Some("x"), None)] {
            let manager = Manager::new(Some(OsStr::new("@x")), timeout, pid, 7);
            assert_eq!(manager.watchdog, None);
        }
        let other = Manager::new(Some(OsStr::new("@x")), Some("1000"), Some("8"), 7);
        assert_eq!(other.watchdog, None, "another process is watched");
    }
}
