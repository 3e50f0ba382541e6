//! Two processes that could both sign: on one directory, on a copy of it, paused in between, and
//! one whose anchor somebody else wrote. At most one takes entries.

use std::fs;
use std::os::unix::fs::FileExt as _;

use rustix::process::{Signal, kill_process};
use treering_tests::server::{Server, copy_directory, serving, text};

use crate::record::Said;
use crate::trial::{HEARD_TIME_MAX, Trial};
use crate::violation::{Checked, Invariant, broken, must};
use crate::workload::{Load, Watch};

const LOAD: Load = Load { signers: 4, each: 12, patience: 2 };

/// A second process while the first one runs.
pub(crate) fn second_process(trial: &mut Trial<'_>) -> Checked {
    let server = trial.start(trial.command())?;
    trial.load(&server, LOAD);
    refuses(trial.command(), "on the same directory")?;
    trial.tally.count("second process on the same directory");

    let copy = trial.log.beside("copy");
    copy_directory(&trial.log.data, &copy);
    let of_copy = |flags: &[&str]| {
        let flags = [&["--open-writes"], flags].concat();
        serving(&trial.ground.server, &copy, &flags)
    };
    refuses(of_copy(&[]), "on a copy")?;
    refuses(of_copy(&["--anchor", text(&trial.log.anchor)]), "on a copy, with its anchor")?;
    let anchor = trial.log.beside("copy.anchor");
    fs::copy(&trial.log.anchor, &anchor).expect("there is room");
    refuses(of_copy(&["--anchor", text(&anchor)]), "on a copy, with a copied anchor")?;
    for name in ["second process on a copy", "second process on a copy with a copied anchor"] {
        trial.tally.count(name);
    }
    trial.load(&server, LOAD);
    server.kill();
    trial.resume()
}

fn refuses(command: std::process::Command, which: &str) -> Checked {
    match Server::launch(command) {
        Ok(_) => broken(Invariant::Fencing, format!("a second process was let in {which}")),
        Err(ended) => must(Invariant::Fencing, ended.code().is_some_and(|code| code != 0), || {
            format!("a second process {which} ended so: {ended:?}")
        }),
    }
}

/// Stops the process under load, tries a second one meanwhile, and lets it go on.
pub(crate) fn paused(trial: &mut Trial<'_>) -> Checked {
    for _ in 0..3 {
        let server = trial.start(trial.command())?;
        let (watch, heard) = Watch::new();
        let acks = trial.random.below(60);
        let load = Load { signers: 4, each: 40, patience: 1 };
        let address = server.address;
        let (record, refused) = std::thread::scope(|scope| {
            let running = scope.spawn(|| load.run(address, &watch));
            for _ in 0..acks {
                if heard.recv_timeout(HEARD_TIME_MAX).is_err() {
                    break;
                }
            }
            let send = |signal| kill_process(server.pid(), signal).expect("it still runs");
            send(Signal::STOP);
            let refused = refuses(trial.command(), "beside a paused one");
            send(Signal::CONT);
            (running.join().expect("a load ends"), refused)
        });
        refused?;
        let is_served = record.asked.iter().all(|asked| matches!(asked.said, Said::Logged(_)));
        trial.record.add(record);
        must(Invariant::Available, is_served, || "a pause lost a submission".to_owned())?;
        trial.judge(&server)?;
        server.kill();
        trial.tally.count("paused under load, a second process tried meanwhile");
        trial.resume()?;
    }
    Ok(())
}

/// Somebody else writes the anchor: an older copy of it is put back while the log runs.
pub(crate) fn anchor_written_by_another(trial: &mut Trial<'_>) -> Checked {
    let server = trial.start(trial.command())?;
    trial.load(&server, LOAD);
    let older = fs::read(&trial.log.anchor).expect("the anchor is there");
    trial.load(&server, LOAD);
    let newest = fs::read(&trial.log.anchor).expect("the anchor is there");
    let write = |bytes: &[u8]| {
        let file = fs::OpenOptions::new().write(true).open(&trial.log.anchor);
        file.and_then(|file| file.write_all_at(bytes, 0)).expect("the anchor can be written");
    };
    write(&older);
    let before = trial.record.asked.len();
    trial.load(&server, LOAD);
    let taken = trial.record.asked[before..].iter();
    let taken = taken.filter(|asked| matches!(asked.said, Said::Logged(_))).count();
    must(Invariant::Fencing, taken == 0, || {
        format!("the anchor was written by another, and {taken} entries were acknowledged")
    })?;
    trial.check_latched(&server)?;
    server.kill();
    let file = fs::OpenOptions::new().write(true).open(&trial.log.anchor);
    file.and_then(|file| file.write_all_at(&newest, 0)).expect("the anchor can be written");
    trial.tally.count("anchor written by another process");
    trial.resume()
}
