//! The disk fills up, to the last byte: on a small file system in memory, where root may mount one.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use treering_tests::checker::Invariant;

use crate::mounts::Mount;
use crate::trial::Trial;
use crate::violation::{Checked, must};
use crate::workload::Load;

/// The ballast, and room for a small log.
const BYTES: u64 = (128 + 40) << 20;

const LOAD: Load = Load { signers: 4, each: 60, patience: 3 };

/// Fills the disk under load and without; deleting the ballast makes room to open the log again.
pub(crate) fn full(trial: &mut Trial<'_>) -> Checked {
    let mount = match Mount::memory(BYTES) {
        Ok(mount) => mount,
        Err(why) => {
            trial.tally.skipped.insert("disk full", why);
            return Ok(());
        }
    };
    let first = trial.move_to(&mount.path());
    let checked = fill_and_recover(trial, &mount.path());
    trial.log = first;
    checked
}

fn fill_and_recover(trial: &mut Trial<'_>, place: &Path) -> Checked {
    let command = trial.command();
    let server = trial.start(command)?;
    trial.load(&server, LOAD);
    // With its usual bound the log stops before the disk is full, and goes on when there is room.
    let filler = place.join("filler");
    leave_free(&filler, 8 << 20);
    // It looks once for each batch, so the first ones may still be taken.
    trial.load(&server, LOAD);
    let taken = trial.load(&server, LOAD);
    let ready = server.get("/readyz");
    must(Invariant::HonestErrors, taken == 0 && ready.text().contains("disk-full"), || {
        let said = ready.text();
        format!("{taken} entries were taken below the bound for free space; readyz: {said}")
    })?;
    trial.judge(&server)?;
    trial.kill(server);
    trial.tally.count("disk nearly full: writes refused in time");
    fs::remove_file(&filler).expect("the filler is there");
    trial.resume()?;

    for free in [64 << 10, 300 << 10] {
        leave_free(&filler, free);
        let command = trial.command_with(&["--min-free-disk", "0"]);
        let when = match trial.launch(command) {
            Ok(server) => {
                trial.load(&server, LOAD);
                trial.check_latched(&server)?;
                trial.kill(server);
                "under load"
            }
            Err(_) => "at the start",
        };
        leave_free(&filler, 0);
        // With no byte free it may or may not start; whatever it does then is no lie.
        let command = trial.command();
        if let Ok(server) = trial.launch(command) {
            trial.kill(server);
        }
        let ballast = trial.log.data.join("ballast");
        let _ = fs::remove_file(&ballast);
        trial.resume()?;
        trial.tally.count(format!("disk full {when}, recovered by deleting the ballast"));
        // The operator makes room and puts the ballast back.
        fs::remove_file(&filler).expect("the filler is there");
        fs::write(&ballast, vec![1; 100 << 20]).expect("there is room again");
    }
    Ok(())
}

/// Writes `filler` until so many bytes are free, or none.
fn leave_free(filler: &Path, free: u64) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(filler).expect("a file");
    let directory = filler.parent().expect("a directory");
    loop {
        let now = rustix::fs::statvfs(directory).expect("the directory is there");
        let now = now.f_bavail * now.f_frsize;
        if now <= free || file.write_all(&vec![1; (now - free).min(1 << 20) as usize]).is_err() {
            return;
        }
    }
}
