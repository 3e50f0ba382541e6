//! What the machine gives a process: file descriptors and the time.

use std::process::{Command, Stdio};

use rustix::process::{Resource, getrlimit};

use super::{Check, Question};
use crate::limits::CONNECTIONS_MAX;

/// Descriptors that the database, the journal and requests to others need beside connections.
const DESCRIPTORS_BESIDE: u64 = 1024;

pub(super) fn examine(checks: &mut Vec<Check>) {
    checks.push(descriptors(getrlimit(Resource::Nofile).current));
    checks.push(clock(asked_timedatectl().as_deref()));
}

/// Judges the soft limit of open files; `None` is no limit.
pub(super) fn descriptors(limit: Option<u64>) -> Check {
    let question = Question {
        name: "open-files",
        why: "each connection takes a file descriptor, and fewer connections are served without",
    };
    let needed = CONNECTIONS_MAX as u64 + DESCRIPTORS_BESIDE;
    match limit {
        Some(limit) if limit < needed => question.warn(
            format!("{limit} files may be open in this shell, and {needed} are needed for all connections"),
            "ulimit -n 65536, or LimitNOFILE=65536 in the unit",
        ),
        Some(limit) => question.ok(format!("{limit} files may be open in this shell")),
        None => question.ok("any number of files may be open in this shell"),
    }
}

/// Judges what `timedatectl show --property=NTPSynchronized --value` printed.
pub(super) fn clock(answer: Option<&str>) -> Check {
    let question = Question {
        name: "clock",
        why: "entries carry the machine's time, and a clock that jumps stops the log",
    };
    let remedy = "run chrony or systemd-timesyncd";
    match answer.map(str::trim) {
        Some("yes") => question.ok("the clock is synchronised"),
        Some("no") => question.warn("the clock is not synchronised", remedy),
        _ => question.warn("nobody could tell whether the clock is synchronised", remedy),
    }
}

/// The kernel knows it (adjtimex(2)), and this is who asks it without unsafe code. In a container
/// there is nobody to ask.
fn asked_timedatectl() -> Option<String> {
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
