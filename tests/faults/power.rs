//! The power goes: what was not synced is lost, or some of it.

use std::path::Path;

use treering_tests::checker::event::now;

use crate::mounts::{self, Mount};
use crate::shim::Shadow;
use crate::trial::Trial;
use crate::violation::Checked;
use crate::workload::Load;

/// Cuts the power by the layer that drops what was not synced; it needs no privileges.
pub(crate) fn cut_by_shim(trial: &mut Trial<'_>) -> Checked {
    for _ in 0..3 {
        let shadow = Shadow::of(&trial.log);
        let mut command = trial.shimmed();
        command.env("TREERING_SHIM_SHADOW", shadow.path());
        let server = trial.start(command)?;
        let acks = 1 + trial.random.below(100);
        let load = Load { signers: 6, each: 400, patience: 1 };
        let in_flight = trial.load_and_kill(server, load, acks);
        shadow.cut(&trial.log, &mut trial.random);
        if in_flight > 0 {
            trial.tally.count("power cut, unsynced data dropped");
        }
        trial.resume()?;
    }
    Ok(())
}

/// Cuts the power of a real ext4.
pub(crate) fn cut_of_ext4(trial: &mut Trial<'_>) -> Checked {
    cut_of(trial, "ext4")
}

/// Cuts the power of a real XFS.
pub(crate) fn cut_of_xfs(trial: &mut Trial<'_>) -> Checked {
    cut_of(trial, "xfs")
}

/// Shuts down a file system in a loop device under load, and mounts it again.
fn cut_of(trial: &mut Trial<'_>, kind: &'static str) -> Checked {
    let mount = Mount::image(kind, 512 << 20);
    let godown = mounts::compile_godown(trial.log.beside("x").parent().expect("a directory"));
    let (mount, godown) = match (mount, godown) {
        (Ok(mount), Ok(godown)) => (mount, godown),
        (Err(why), _) | (_, Err(why)) => {
            trial.tally.skipped.insert(kind, why);
            return Ok(());
        }
    };
    // The helper lies beside the first log.
    let first = trial.move_to(&mount.path());
    let checked = cut_again_and_again(trial, kind, &mount, &godown);
    trial.log = first;
    checked
}

fn cut_again_and_again(trial: &mut Trial<'_>, kind: &str, mount: &Mount, godown: &Path) -> Checked {
    for _ in 0..3 {
        let command = trial.command();
        let server = trial.start(command)?;
        let acks = 1 + trial.random.below(150);
        let load = Load { signers: 6, each: 400, patience: 1 };
        let before_kill = || {
            // What is said from now on may be said by a disk that is gone.
            let at = now();
            mount.go_down(godown).map(|()| at)
        };
        let (mut gathered, in_flight, cut) = trial.load_until(server, load, acks, before_kill);
        let cut = cut.unwrap_or_else(|why| panic!("{kind} was mounted and: {why}"));
        gathered.forget_since(cut);
        trial.remember(gathered);
        mount.mount_again().unwrap_or_else(|why| panic!("{kind}: {why}"));
        if in_flight > 0 {
            trial.tally.count(format!("power cut of {kind}"));
        }
        trial.resume()?;
    }
    Ok(())
}
