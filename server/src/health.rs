//! Health: why the log does not take entries, if it does not. Read by `/readyz`, metrics and every
//! write.
//!
//! Invariant: a latch is never released. What caused it needs a restart, which verifies the tail
//! again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::systemd::Manager;

/// Why the log has stopped for good, in a word that alarms can match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LatchReason {
    /// A storage error whose outcome is unknown.
    Storage,
    /// The appended range read back differently.
    SelfCheck,
    /// The anchor holds another head than this process last wrote.
    Anchor,
    /// The clock jumped.
    Clock,
    /// A witness knows a checkpoint that this log signed and does not know of.
    Witness,
}

impl LatchReason {
    /// Every reason, for metrics.
    pub const ALL: [Self; 5] =
        [Self::Storage, Self::SelfCheck, Self::Anchor, Self::Clock, Self::Witness];

    /// The stable label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::SelfCheck => "self-check",
            Self::Anchor => "anchor",
            Self::Clock => "clock",
            Self::Witness => "witness",
        }
    }
}

/// Why writes are refused right now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// For good: see the sentence.
    Latched(LatchReason, String),
    /// Until the clock catches up.
    ClockBehind(String),
    /// Until there is room on the disk.
    DiskFull(String),
    /// Until enough witnesses cosign again.
    NoQuorum(String),
    /// Until the log holds again what it is known to have signed, and was restarted.
    RestoredBehind {
        /// How many entries are missing.
        missing: u64,
        /// Who knows of them.
        why: String,
    },
    /// The server is stopping.
    Stopping,
}

impl Refusal {
    /// Every label, for metrics.
    pub const LABELS: [&str; 6] =
        ["latched", "clock-behind", "disk-full", "no-quorum", "restored-behind", "stopping"];

    /// The stable label, in answers and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Latched(..) => "latched",
            Self::ClockBehind(_) => "clock-behind",
            Self::DiskFull(_) => "disk-full",
            Self::NoQuorum(_) => "no-quorum",
            Self::RestoredBehind { .. } => "restored-behind",
            Self::Stopping => "stopping",
        }
    }

    /// Whether it says nothing of what is stored, only that no entries can be added now.
    pub fn is_about_writes(&self) -> bool {
        matches!(self, Self::ClockBehind(_) | Self::DiskFull(_) | Self::NoQuorum(_))
    }

    /// Whether no timestamp may be given either: the clock is not trusted, or something went wrong
    /// that a person has not looked at. Everything else is about entries, of which a timestamp says
    /// nothing.
    pub fn stops_timestamps(&self) -> bool {
        matches!(self, Self::Latched(..) | Self::ClockBehind(_))
    }

    /// The sentence for whoever asks; what lies inside the machine stays in the log.
    pub fn public_message(&self) -> String {
        match self {
            Self::Latched(reason, _) => format!(
                "the log is read-only until it is restarted ({}); the server's log has the cause",
                reason.label()
            ),
            Self::ClockBehind(_) => "the log's clock is behind its last entry; retry".to_owned(),
            Self::DiskFull(_) => "the log is short of disk space; retry later".to_owned(),
            Self::NoQuorum(_) => {
                "too few witnesses cosign the log's checkpoints; retry later".to_owned()
            }
            Self::RestoredBehind { missing: 0, .. } => {
                "the log was restored from a backup and is read-only until all of its witnesses \
                 have said what they remember"
                    .to_owned()
            }
            Self::RestoredBehind { missing, .. } => format!(
                "the log was restored from a backup and is behind what it signed: {missing} entries are missing; it is \
                 read-only until its operator puts them back (treering-server restore --refill)"
            ),
            Self::Stopping => self.message(),
        }
    }

    /// The sentence for the log.
    pub fn message(&self) -> String {
        match self {
            Self::Latched(reason, why) => {
                format!("the log is read-only until it is restarted ({}): {why}", reason.label())
            }
            Self::ClockBehind(why) | Self::DiskFull(why) | Self::NoQuorum(why) => why.clone(),
            Self::RestoredBehind { missing: 0, why } => {
                format!("this log was restored and is read-only: {why}")
            }
            Self::RestoredBehind { missing, why } => format!(
                "this log was restored and is read-only, because {missing} entries are missing: {why}. Put them back from a \
                 newer backup or another copy of the directory: treering-server restore --refill SOURCE --data DIR"
            ),
            Self::Stopping => "the server is stopping; retry".to_owned(),
        }
    }
}

/// Shared by the sequencer, which writes it, and everybody who asks.
#[derive(Clone, Debug, Default)]
pub struct Health {
    refusal: Arc<Mutex<Option<Refusal>>>,
    behind: Arc<AtomicBool>,
    manager: Arc<OnceLock<Manager>>,
}

impl Health {
    /// Tells the service manager of every refusal and its end from now on, and at once of what is
    /// refused now.
    pub fn report_to(&self, manager: Manager) {
        let refusal = self.lock();
        if self.manager.set(manager).is_ok() && refusal.is_some() {
            self.report(refusal.as_ref());
        }
    }

    /// One line for `systemctl status`. Sent at once and not waited for, so that it is said even
    /// if what latched the log hangs.
    fn report(&self, refusal: Option<&Refusal>) {
        let Some(manager) = self.manager.get() else { return };
        match refusal {
            // The manager hears of it from whoever stops the server.
            Some(Refusal::Stopping) => {}
            Some(Refusal::Latched(reason, why)) => {
                manager.status(&format!("latched ({}), read-only: {why}", reason.label()));
            }
            Some(refusal) => {
                manager.status(&format!("{}: {}", refusal.label(), refusal.message()));
            }
            None => manager.status("serving"),
        }
    }

    /// Why writes are refused, if they are.
    pub fn refusal(&self) -> Option<Refusal> {
        self.lock().clone()
    }

    /// Whether the log has stopped for good.
    pub fn is_latched(&self) -> bool {
        matches!(*self.lock(), Some(Refusal::Latched(..)))
    }

    /// Refuses writes until a restart, because the log was restored and is behind.
    pub fn set_behind(&self, missing: u64, why: String) {
        self.behind.store(true, Ordering::SeqCst);
        let refusal = Refusal::RestoredBehind { missing, why };
        tracing::error!(label = refusal.label(), missing, why = refusal.message(), "read-only");
        *self.lock() = Some(refusal);
    }

    /// Whether the log is restored and behind: then nothing about entries is signed, not even on
    /// reading, whatever else happens.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::SeqCst)
    }

    /// Stops the log for good. The first reason stays.
    pub fn latch(&self, reason: LatchReason, why: String) {
        let mut refusal = self.lock();
        if !matches!(*refusal, Some(Refusal::Latched(..))) {
            tracing::error!(reason = reason.label(), why, "the log latched read-only");
            *refusal = Some(Refusal::Latched(reason, why));
            self.report(refusal.as_ref());
        }
    }

    /// Refuses writes for a while, or takes them again; a latch stays.
    pub fn set_passing(&self, passing: Option<Refusal>) {
        // What was restored and is behind stays so until a restart.
        if self.is_behind() && passing != Some(Refusal::Stopping) {
            return;
        }
        let mut refusal = self.lock();
        if matches!(*refusal, Some(Refusal::Latched(..))) || *refusal == passing {
            return;
        }
        match &passing {
            Some(why) => tracing::warn!(label = why.label(), why = why.message(), "writes refused"),
            None => tracing::info!("writes accepted again"),
        }
        *refusal = passing;
        self.report(refusal.as_ref());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Refusal>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_behind_stays_so_and_says_what_to_do() {
        let health = Health::default();
        health.set_behind(7, "somebody knows more".into());
        health.set_passing(None);
        let refusal = health.refusal().unwrap();
        assert_eq!(refusal.label(), "restored-behind");
        for message in [refusal.message(), refusal.public_message()] {
            assert!(message.contains("7 entries are missing") && message.contains("--refill"));
        }
        health.latch(LatchReason::Storage, "a disk".into());
        assert!(health.is_behind(), "and signs nothing, whatever else happens");
    }

    #[test]
    fn the_service_manager_hears_why_writes_are_refused_and_that_they_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let heard = || {
            let mut bytes = [0; 512];
            let length = socket.recv(&mut bytes).ok()?;
            Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
        };
        let health = Health::default();
        health.set_passing(Some(Refusal::DiskFull("3 bytes are free".into())));
        health.report_to(Manager::at(path.as_os_str()));
        assert_eq!(heard().unwrap(), "STATUS=disk-full: 3 bytes are free", "what is so already");
        health.set_passing(None);
        assert_eq!(heard().unwrap(), "STATUS=serving");
        health.latch(LatchReason::Storage, "the disk said no\nREADY=1".into());
        let latched = "STATUS=latched (storage), read-only: the disk said no READY=1";
        assert_eq!(heard().unwrap(), latched);
        health.latch(LatchReason::Clock, "later".into());
        health.set_passing(Some(Refusal::Stopping));
        assert_eq!(heard(), None, "the first reason stays");

        let sound = Health::default();
        sound.report_to(Manager::at(path.as_os_str()));
        sound.set_passing(Some(Refusal::Stopping));
        assert_eq!(heard(), None, "the manager knows both already");
    }

    #[test]
    fn a_latch_keeps_its_first_reason_and_is_never_released() {
        let health = Health::default();
        health.set_passing(Some(Refusal::Stopping));
        assert_eq!(health.refusal(), Some(Refusal::Stopping));
        health.set_passing(None);
        assert_eq!(health.refusal(), None);
        health.latch(LatchReason::Storage, "first".into());
        health.latch(LatchReason::Clock, "second".into());
        health.set_passing(None);
        assert_eq!(health.refusal(), Some(Refusal::Latched(LatchReason::Storage, "first".into())));
    }
}
