//! The wall clock steps, forwards and back, while the log runs and before it starts.

use crate::shim::Shared;
use crate::trial::Trial;
use crate::violation::Checked;
use crate::workload::Load;

/// Steps in milliseconds: far, and as far as a time service steps.
const STEPS: [i64; 4] = [-3_600_000, 3_600_000, -1_500, 1_500];

/// Steps while the log takes entries, and once before it starts.
pub(crate) fn steps(trial: &mut Trial<'_>) -> Checked {
    let load = Load { signers: 4, each: 10, patience: 2 };
    for is_before in [false, true] {
        for step in STEPS {
            let clock = Shared::create(trial.log.beside("clock"));
            let mut command = trial.shimmed();
            command.env("TREERING_SHIM_CLOCK", clock.path());
            // A log that starts with a clock far ahead has nothing to compare it with.
            if is_before && step > 60_000 {
                continue;
            }
            if is_before {
                clock.set(step);
            }
            let server = trial.start(command)?;
            trial.load(&server, load);
            if !is_before {
                clock.set(step);
                trial.load(&server, load);
            }
            trial.kill(server);
            let when = if is_before { "before the start" } else { "under load" };
            trial.tally.count(format!("clock step of {step} ms {when}"));
            trial.resume()?;
        }
    }
    Ok(())
}
