//! Places where a test can make a command die as by power loss: `TREERING_CRASH_AT=restore-rows:2`
//! kills a restore after it wrote rows for the second time; `restore-end`, `refill-rows` and
//! `refill-end` are alike, and `timestamps-` is followed by what `timestamps init` did last.
//! Without the variable, a place is one comparison.

use crate::crash_point::VARIABLE;

/// Counts the passings of one command.
#[derive(Debug)]
pub struct StopPoint {
    command: &'static str,
    armed: Option<(String, u64)>,
}

impl StopPoint {
    /// For the command `restore`, `refill` or `timestamps`.
    pub fn new(command: &'static str) -> Self {
        let armed = std::env::var(VARIABLE).ok().and_then(|value| {
            let (name, count) = value.split_once(':')?;
            Some((name.to_owned(), count.parse().ok()?))
        });
        Self { command, armed }
    }

    /// Dies here, if the environment says so.
    pub fn pass(&mut self, place: &str) {
        let Some((name, count)) = &mut self.armed else { return };
        if name.strip_prefix(self.command).and_then(|rest| rest.strip_prefix('-')) != Some(place) {
            return;
        }
        *count = count.saturating_sub(1);
        if *count > 0 {
            return;
        }
        eprintln!("crash point {name}: dying");
        let own = rustix::process::getpid();
        let killed = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        unreachable!("SIGKILL cannot be survived, nor refused to oneself: {killed:?}");
    }
}
