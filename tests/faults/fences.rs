//! Two processes that could both sign: on one directory, on a copy of it, paused in between, with
//! one key and two directories, and one whose anchor somebody else wrote. At most one takes
//! entries.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::process::{Signal, kill_process};
use treering_tests::checker::Invariant;
use treering_tests::server::{copy_directory, text};
use treering_tests::witness::{TestWitness, policy};

use crate::trial::{HEARD_TIME_MAX, Running, Trial};
use crate::violation::{Checked, Promise, broken, must};
use crate::workload::{Load, Watch};

const LOAD: Load = Load { signers: 4, each: 12, patience: 2 };

/// A second process while the first one runs.
pub(crate) fn second_process(trial: &mut Trial<'_>) -> Checked {
    let command = trial.command();
    let server = trial.start(command)?;
    trial.load(&server, LOAD);
    let command = trial.command();
    refuses(trial, command, "on the same directory")?;
    trial.tally.count("second process on the same directory");

    let copy = trial.log.beside("copy");
    copy_directory(&trial.log.data, &copy);
    let anchor = trial.log.beside("copy.anchor");
    fs::copy(&trial.log.anchor, &anchor).expect("there is room");
    let of_copy = [
        ("on a copy", None),
        ("on a copy with its anchor", Some(trial.log.anchor.clone())),
        ("on a copy with a copied anchor", Some(anchor)),
    ];
    for (which, anchor) in of_copy {
        let anchor = anchor.as_deref().map(text);
        let mut flags = vec!["--open-writes"];
        flags.extend(anchor.iter().flat_map(|anchor| ["--anchor", *anchor]));
        let command = trial.command_of(&copy, &flags);
        refuses(trial, command, which)?;
        trial.tally.count(format!("second process {which}"));
    }
    trial.load(&server, LOAD);
    trial.kill(server);
    trial.resume()
}

fn refuses(trial: &mut Trial<'_>, command: Command, which: &str) -> Checked {
    match trial.launch(command) {
        Ok(_) => broken(Invariant::Fencing, format!("a second process was let in {which}")),
        Err(ended) => must(Invariant::Fencing, ended.code().is_some_and(|code| code != 0), || {
            format!("a second process {which} ended so: {ended:?}")
        }),
    }
}

/// Stops the process under load, tries a second one meanwhile, and lets it go on.
pub(crate) fn paused(trial: &mut Trial<'_>) -> Checked {
    for _ in 0..3 {
        let command = trial.command();
        let server = trial.start(command)?;
        let (watch, heard) = Watch::new();
        let acks = trial.random.below(60);
        let load = Load { signers: 4, each: 40, patience: 1 };
        let (address, process) = (server.address, server.process);
        let (gathered, refused) = std::thread::scope(|scope| {
            let running = scope.spawn(|| load.run(address, process, &watch));
            for _ in 0..acks {
                if heard.recv_timeout(HEARD_TIME_MAX).is_err() {
                    break;
                }
            }
            let send = |signal| kill_process(server.pid(), signal).expect("it still runs");
            send(Signal::STOP);
            let command = trial.command();
            let refused = refuses(trial, command, "beside a paused one");
            send(Signal::CONT);
            (running.join().expect("a load ends"), refused)
        });
        refused?;
        let asked = gathered.told.len();
        let taken = trial.remember(gathered);
        must(Promise::Available, taken == asked, || {
            format!("a pause lost {} of {asked} submissions", asked - taken)
        })?;
        trial.judge(&server)?;
        trial.kill(server);
        trial.tally.count("paused under load, a second process tried meanwhile");
        trial.resume()?;
    }
    Ok(())
}

/// Somebody else writes the anchor: an older copy of it is put back while the log runs.
pub(crate) fn anchor_written_by_another(trial: &mut Trial<'_>) -> Checked {
    let command = trial.command();
    let server = trial.start(command)?;
    trial.load(&server, LOAD);
    let older = fs::read(&trial.log.anchor).expect("the anchor is there");
    trial.load(&server, LOAD);
    let newest = fs::read(&trial.log.anchor).expect("the anchor is there");
    let anchor = trial.log.anchor.clone();
    let write = |bytes: &[u8]| {
        let file = fs::OpenOptions::new().write(true).open(&anchor);
        file.and_then(|file| file.write_all_at(bytes, 0)).expect("the anchor can be written");
    };
    write(&older);
    let taken = trial.load(&server, LOAD);
    must(Invariant::Fencing, taken == 0, || {
        format!("the anchor was written by another, and {taken} entries were acknowledged")
    })?;
    trial.check_latched(&server)?;
    trial.kill(server);
    write(&newest);
    trial.tally.count("anchor written by another process");
    trial.resume()
}

/// Two servers with one key, each with a directory and an anchor of its own, and one witness: the
/// second starts when the first is ahead, and when they are equal.
pub(crate) fn one_key(trial: &mut Trial<'_>) -> Checked {
    let witness = TestWitness::start("w", 7);
    trial.history.add_witness(witness.note_key());
    let file = trial.log.beside("witnesses.policy");
    fs::write(&file, policy(&[&witness], 1)).expect("there is room");
    let flags = ["--witness-policy", text(&file), "--min-publish-interval", "10ms"];
    trial.flags.extend(flags.map(str::to_owned));
    for is_behind in [true, false] {
        let command = trial.command();
        let server = trial.start(command)?;
        trial.load(&server, LOAD);
        trial.terminate(server);
        let copy = trial.log.beside(if is_behind { "behind" } else { "equal" });
        let anchor = copy.with_extension("anchor");
        copy_and_claim(trial, &copy, &anchor);
        let flags: Vec<String> = trial.flags.clone();
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.extend(["--anchor", text(&anchor)]);

        let command = trial.command();
        let first = trial.start(command)?;
        if is_behind {
            trial.load(&first, LOAD);
        }
        let command = trial.command_of(&copy, &flags);
        let second = trial.start(command)?;
        let taken = trial.load(&first, LOAD);
        must(Promise::Available, taken > 0, || "the first of two did not go on".to_owned())?;
        let (watch, _unheard) = Watch::new();
        let gathered = LOAD.run(second.address, second.process, &watch);
        trial.remember(gathered.of_a_copy());
        wait_until_latched(&second)?;
        trial.check_latched(&second)?;
        trial.kill(second);
        witness.cosigned().into_iter().for_each(|head| trial.history.holds("w", head));
        trial.judge(&first)?;
        trial.kill(first);
        trial.tally.count("second process with one key and a directory of its own");
        trial.resume()?;
    }
    Ok(())
}

/// Copies the log with its anchor, and says of the copy that it is the only one.
fn copy_and_claim(trial: &Trial<'_>, copy: &Path, anchor: &Path) {
    copy_directory(&trial.log.data, copy);
    fs::copy(&trial.log.anchor, anchor).expect("there is room");
    let mut claim = Command::new(&trial.ground.server);
    claim.args(["claim", "--data", text(copy), "--anchor", text(anchor)]);
    let output = claim.output().expect("the server can be run");
    assert!(output.status.success(), "claim: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until the witness has stopped a server; each turn is a request.
fn wait_until_latched(second: &Running) -> Checked {
    let started = Instant::now();
    let mut connection = second.connect();
    while started.elapsed() < HEARD_TIME_MAX {
        match connection.get("/readyz") {
            Ok(ready) if ready.status == 503 && ready.text().contains("\"latched\"") => {
                return Ok(());
            }
            Ok(_) => {}
            Err(error) => return broken(Promise::Available, format!("/readyz: {error}")),
        }
    }
    broken(Invariant::Fencing, "a second server with the same key was not stopped by its witness")
}
