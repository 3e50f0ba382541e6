//! The process dies: at each gap between the steps of an entry's life, and at random, under load.

use treering_server::crash_point::{CrashPoint, VARIABLE};

use crate::trial::Trial;
use crate::violation::Checked;
use crate::workload::Load;

/// Dies once at each gap, in the first to third batch.
pub(crate) fn at_each_gap(trial: &mut Trial<'_>) -> Checked {
    for point in CrashPoint::ALL {
        let name = point.name();
        let count = 1 + trial.random.below(3);
        let mut command = trial.command();
        command.env(VARIABLE, format!("{name}:{count}"));
        let server = trial.start(command)?;
        let load = Load { signers: 6, each: 40, patience: 1 };
        trial.load(&server, load);
        // It is dead already, or the load was too small for so many batches.
        let ended = trial.kill(server);
        if ended.stderr.contains(&format!("crash point {name}: dying with")) {
            trial.tally.count(format!("kill, {name}"));
        }
        trial.resume()?;
    }
    Ok(())
}

/// Dies anywhere.
pub(crate) fn at_random(trial: &mut Trial<'_>) -> Checked {
    for _ in 0..4 {
        let command = trial.command();
        let server = trial.start(command)?;
        let acks = trial.random.below(150);
        let load = Load { signers: 6, each: 400, patience: 1 };
        let in_flight = trial.load_and_kill(server, load, acks);
        if in_flight > 0 {
            trial.tally.count("kill, at random");
        }
        trial.resume()?;
    }
    Ok(())
}
