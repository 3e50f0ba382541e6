//! A bit flips in memory, between the tree and the disk.

use std::process::Command;

use treering_server::seeded_bug::FLIP_VARIABLE;
use treering_tests::checker::Invariant;

use crate::trial::Trial;
use crate::violation::{Checked, must};
use crate::workload::Load;

/// How it is counted.
pub(crate) const FAULT: &str = "entry damaged on its way to the disk";

/// Damages one entry on its way to the disk: the log must notice before anybody is told.
pub(crate) fn flipped_on_its_way(trial: &mut Trial<'_>) -> Checked {
    if !trial.ground.has_fail_points {
        return Ok(());
    }
    for round in 0..2 {
        let mut command = trial.command();
        command.env(FLIP_VARIABLE, (1 + trial.random.below(20)).to_string());
        let server = trial.start(command)?;
        trial.load(&server, Load { signers: 4, each: 10, patience: 2 });
        // A log that did not notice serves what it acknowledged.
        trial.judge(&server)?;
        trial.check_latched(&server)?;
        trial.kill(server);
        // The damaged batch was never signed; the log says how to take it out.
        let mut fsck = Command::new(&trial.ground.server);
        fsck.args(["fsck", "--drop-unsigned", "--data"]).arg(&trial.log.data);
        fsck.arg("--export").arg(trial.log.beside(&format!("dropped.{round}.jsonl")));
        let output = fsck.output().expect("the server can be run");
        must(Invariant::Durable, output.status.success(), || {
            format!("fsck --drop-unsigned: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        trial.tally.count(FAULT);
        trial.resume()?;
    }
    Ok(())
}
