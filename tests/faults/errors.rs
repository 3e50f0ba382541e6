//! A sync or a write fails: each of a short workload in turn, done or not done, once, twice in a
//! row, or from then on.

use treering_tests::checker::Invariant;
use treering_tests::http::Connection;

use crate::shim::{Fail, Shadow, Shared};
use crate::trial::Trial;
use crate::violation::{Checked, Promise, Violation, broken, must};
use crate::workload::Load;

/// The workload whose syncs and writes fail.
const SHORT: Load = Load { signers: 3, each: 6, patience: 3 };

/// Positions that are tried with one log: with few, no log is old enough for what old logs do.
const POSITIONS_OF_A_LOG: u64 = 24;

/// How an error may come.
const WAYS: [(&str, &str); 6] = [
    ("once", "undone"),
    ("once", "done"),
    ("pair", "undone"),
    ("pair", "done"),
    ("on", "undone"),
    ("on", "done"),
];

/// How many calls of each kind the workload makes, the start included.
fn positions(trial: &mut Trial<'_>) -> Checked<[u64; 2]> {
    let counts = Shared::create(trial.log.beside("counts"));
    let mut command = trial.shimmed();
    command.env("TREERING_SHIM_COUNTS", counts.path());
    let server = trial.start(command)?;
    trial.load(&server, SHORT);
    let numbers = counts.numbers();
    trial.kill(server);
    trial.resume()?;
    Ok(numbers)
}

/// Fails at a sample of positions; all of them are covered in `every`.
pub(crate) fn sampled(trial: &mut Trial<'_>) -> Checked {
    let numbers = positions(trial)?;
    for (kind, last) in [("sync", numbers[0]), ("write", numbers[1])] {
        for (way, (span, effect)) in WAYS.into_iter().enumerate() {
            // The later positions are those of the load, where more is at stake.
            let at = match way % 2 {
                0 => 1 + trial.random.below(last),
                _ => last / 2 + 1 + trial.random.below(last.div_ceil(2)),
            };
            fail(trial, Fail { kind, at, error: "EIO", span, effect })?;
        }
    }
    Ok(())
}

/// Fails at every position. Now and then with a new log, because the whole history of a log is
/// judged after each error.
pub(crate) fn every(trial: &mut Trial<'_>) -> Checked {
    let numbers = positions(trial)?;
    for (kind, last) in [("sync", numbers[0]), ("write", numbers[1])] {
        for at in 1..=last {
            if at.is_multiple_of(POSITIONS_OF_A_LOG) {
                drop(trial.move_to(&std::env::temp_dir()));
            }
            for (span, effect) in WAYS {
                let error = if trial.random.below(4) == 0 { "ENOSPC" } else { "EIO" };
                fail(trial, Fail { kind, at, error, span, effect })?;
            }
        }
    }
    Ok(())
}

/// One error. After it the log is latched or gone, or it did not matter; after a restart, which may
/// be one by power loss, all is well.
fn fail(trial: &mut Trial<'_>, fail: Fail) -> Checked {
    let with_power_cut = trial.random.below(2) == 0;
    let shadow = Shadow::of(&trial.log);
    let mut command = trial.shimmed();
    command.env("TREERING_SHIM_FAIL", fail.to_text());
    command.env("TREERING_SHIM_SHADOW", shadow.path());
    let mut has_gone_on = false;
    let ended = match trial.launch(command) {
        Err(ended) => {
            // A start that fails says so, and is not killed by a fault of its own.
            must(Invariant::HonestErrors, ended.code().is_some_and(|code| code != 0), || {
                format!("{}: a failed start ended so: {ended:?}", fail.to_text())
            })?;
            ended
        }
        Ok(server) => {
            trial.load(&server, SHORT);
            let health = Connection::open(server.address).and_then(|mut to| to.get("/readyz"));
            let health = health.or_else(|error| {
                let what = format!("{}: no answer any more: {error}", fail.to_text());
                broken(Promise::Available, what)
            })?;
            let is_latched = health.status == 503;
            if is_latched {
                trial.check_latched(&server)?;
                trial.judge(&server)?;
            }
            let ended = trial.kill(server);
            has_gone_on = !is_latched && fired_at(&ended.stderr).any(matters);
            ended
        }
    };
    if with_power_cut {
        shadow.cut(&trial.log, &mut trial.random);
    }
    if fired_at(&ended.stderr).next().is_some() {
        let Fail { kind, error, span, effect, .. } = fail;
        let then = if with_power_cut { ", then a power cut" } else { "" };
        trial.tally.count(format!("{error} at a {kind}, {span}, {effect}{then}"));
    }
    // What became of the entries says more than that the log went on.
    let then = if with_power_cut { " and a power cut" } else { "" };
    trial.resume().map_err(|violation| {
        let what = format!("after {}{then}: {}", fail.to_text(), violation.what);
        Violation { what, ..violation }
    })?;
    must(Invariant::HonestErrors, !has_gone_on, || {
        format!("{}: the log went on as if nothing had been", fail.to_text())
    })
}

/// The files at which the layer says that it failed.
fn fired_at(stderr: &str) -> impl Iterator<Item = &str> {
    let lines = stderr.lines().filter(|line| line.starts_with("shim: "));
    lines.filter_map(|line| line.split_once(" of ")?.1.split_once(": ").map(|(path, _)| path))
}

/// Whether the log may not go on after an error at this file.
fn matters(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.ends_with(".log") || name.ends_with(".anchor") || name.starts_with("MANIFEST")
}
