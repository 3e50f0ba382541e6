//! `fsck` and `claim`: what they find, what they mend, and what they refuse to touch.

use std::fs;
use std::process::Output;

use serde_json::Value;
use treering_proto::hash::Hash;
use treering_tests::check::check_log;
use treering_tests::history::History;
use treering_tests::load::{Load, Watch};
use treering_tests::server::{Log, copy_directory, replace_contents, run, text};
use treering_tests::submission::{Answer, submit};

use crate::refusals::write;

/// A stopped log of 260 entries: one full tile, and a growing one.
fn stopped_log() -> (Log, History) {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 260);
    check_log(&server, &mut history);
    assert_eq!(server.terminate().code(), Some(0));
    (log, history)
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Changes one row behind the log's back, with its checksums renewed.
fn change_row(log: &Log, column: &str, key: &[u8], change: impl Fn(Vec<u8>) -> Option<Vec<u8>>) {
    let options = rocksdb::Options::default();
    let columns = rocksdb::DB::list_cf(&options, log.shard()).unwrap();
    let db = rocksdb::DB::open_cf(&options, log.shard(), columns).unwrap();
    let column = db.cf_handle(column).unwrap();
    let value = db.get_cf(column, key).unwrap().expect("the row is there");
    match change(value) {
        Some(changed) => db.put_cf(column, key, changed).unwrap(),
        None => db.delete_cf(column, key).unwrap(),
    }
}

#[test]
fn a_whole_log_is_clean() {
    let (log, _) = stopped_log();
    let checked = log.run(&["fsck"]);
    assert_eq!(checked.status.code(), Some(0));
    let report = report(&checked);
    assert_eq!(report["clean"], true, "{report}");
    assert_eq!((&report["treeSize"], &report["anchoredSize"]), (&"260".into(), &"260".into()));
    assert_eq!(report["unsignedEntries"], 0);
}

#[test]
fn fsck_finds_every_kind_of_damaged_row_and_names_it() {
    let (log, mut history) = stopped_log();
    let whole = log.beside("whole");
    copy_directory(&log.data, &whole);
    let flip = |mut value: Vec<u8>| {
        let middle = value.len() / 2;
        value[middle] ^= 1;
        Some(value)
    };
    let leaf = history.attempts.iter().find(|attempt| attempt.index == Some(5));
    let leaf = leaf.expect("somebody wrote entry 5").submission.entry.leaf();
    let (five, tile) = (5_u64.to_be_bytes(), [0; 9]);
    let damage: [(&str, &[u8], bool, &str); 8] = [
        ("entry_by_index", &five, false, "index_by_leaf does not lead to entry 5"),
        ("entry_by_index", &five, true, "entry 5 is missing"),
        ("tile_by_coordinate", &tile, false, "tile/0/000 does not hold"),
        ("tile_by_coordinate", &tile, true, "tile/0/000 is missing"),
        ("index_by_leaf", leaf.as_bytes(), true, "index_by_leaf does not lead to entry 5"),
        ("time_by_index", &five, true, "entry 5 has no time"),
        ("note_by_size", &260_u64.to_be_bytes(), false, "notes stored for size 260"),
        ("meta", b"head", false, "head"),
    ];
    for (column, key, is_deleted, words) in damage {
        change_row(&log, column, key, |value| if is_deleted { None } else { flip(value) });
        let checked = log.run(&["fsck"]);
        let said = [checked.stdout, checked.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(checked.status.code(), Some(6), "{column}: {said}");
        assert!(said.contains(words), "{column}: {said}");
        replace_contents(&whole, &log.data);
    }
    check_log(&log.serve(), &mut history);
}

#[test]
fn damage_at_the_edge_of_the_tree_is_never_served() {
    let (log, mut history) = stopped_log();
    let whole = log.beside("whole");
    copy_directory(&log.data, &whole);
    let fixed = log.fixed_files();
    let last = 259_u64.to_be_bytes();
    let damage: [(&str, &[u8]); 3] =
        [("entry_by_index", &last), ("tile_by_coordinate", &[0; 9]), ("meta", b"head")];
    for (column, key) in damage {
        change_row(&log, column, key, |mut value| {
            value[20] ^= 1;
            Some(value)
        });
        let ended = log.refused();
        assert_eq!(ended.code(), Some(6), "{column}: {}", ended.stderr);
        assert!(ended.stderr.contains(text(&log.shard())), "{column}: {}", ended.stderr);
        assert_eq!(log.fixed_files(), fixed);
        replace_contents(&whole, &log.data);
    }
    check_log(&log.serve(), &mut history);
}

#[test]
fn entries_that_were_never_signed_can_be_taken_out_and_submitted_again() {
    let (log, mut history) = stopped_log();
    for point in ["committed:2", "checked:1"] {
        let server = log.serve_until_crash(point);
        let (watch, _unheard) = Watch::new();
        let outcome = Load { signers: 8, each: 100 }.run(server.address, &watch);
        assert!(server.wait().is_killed());
        let first = history.attempts.len();
        history.take(outcome);

        let export = log.beside(&format!("{point}.jsonl"));
        let dropped = log.run(&["fsck", "--drop-unsigned", "--export", text(&export)]);
        let report = report(&dropped);
        assert_eq!(dropped.status.code(), Some(0), "{report}");
        assert_eq!(report["treeSize"], report["anchoredSize"], "{report}");
        assert_eq!((&report["clean"], &report["unsignedEntries"]), (&true.into(), &0.into()));
        let lines = fs::read_to_string(&export).unwrap();
        let unsigned = lines.lines().count();
        assert!(unsigned > 0, "{point} left entries above the anchor");
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let body = line["body"].as_str().unwrap().as_bytes();
            let attempts = &mut history.attempts[first..].iter();
            let attempt = attempts.find(|attempt| attempt.submission.entry.body() == body);
            assert_eq!(attempt.expect("an entry of ours").index, None, "it was acknowledged");
        }

        let server = log.serve();
        let size = check_log(&server, &mut history).entries.len();
        assert_eq!(report["treeSize"], size.to_string());
        for attempt in &mut history.attempts[first..] {
            let index = match submit(&mut server.connect(), &attempt.submission).unwrap() {
                Answer::Logged { index, .. } | Answer::Duplicate { index } => index,
                Answer::Refused(response) => panic!("{response:?}"),
            };
            assert_eq!(*attempt.index.get_or_insert(index), index);
        }
        check_log(&server, &mut history);
        assert_eq!(server.terminate().code(), Some(0));
    }
    let again = log.run(&["fsck", "--drop-unsigned"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing was dropped"));
    check_log(&log.serve(), &mut history);
}

/// Found by the fault matrix: what finds an entry was taken out by the damaged bytes of the entry,
/// so that the entry that had been submitted answered for ever as one that is not published.
#[test]
fn a_damaged_entry_that_was_never_signed_is_taken_out_with_all_that_finds_it() {
    let (log, mut history) = stopped_log();
    let server = log.serve_until_crash("committed");
    let (watch, _unheard) = Watch::new();
    let outcome = Load { signers: 1, each: 1 }.run(server.address, &watch);
    assert!(server.wait().is_killed());
    let submission = outcome.attempts[0].submission.clone();
    history.take(outcome);
    let index = history.attempts.len() as u64 - 1;
    change_row(&log, "entry_by_index", &index.to_be_bytes(), |mut body| {
        let middle = body.len() / 2;
        body[middle] ^= 1;
        Some(body)
    });
    let dropped = log.run(&["fsck", "--drop-unsigned"]);
    assert_eq!(report(&dropped)["treeSize"], index.to_string());
    assert_eq!(dropped.status.code(), Some(0));
    let server = log.serve();
    let answer = submit(&mut server.connect(), &submission).unwrap();
    let Answer::Logged { index: again, .. } = answer else { panic!("not logged: {answer:?}") };
    assert_eq!(again, index);
    history.attempts[index as usize].index = Some(index);
    check_log(&server, &mut history);
}

#[test]
fn dropping_needs_a_place_to_save_what_it_drops() {
    let (log, mut history) = stopped_log();
    let server = log.serve_until_crash("committed");
    let (watch, _unheard) = Watch::new();
    let outcome = Load { signers: 4, each: 10 }.run(server.address, &watch);
    assert!(server.wait().is_killed());
    history.take(outcome);
    let taken = log.beside("taken.jsonl");
    fs::write(&taken, "somebody's").unwrap();
    let refused = log.run(&["fsck", "--drop-unsigned", "--export", text(&taken)]);
    assert_eq!(refused.status.code(), Some(5));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(text(&taken)) && said.contains("Nothing was dropped"), "{said}");
    assert_eq!(fs::read_to_string(&taken).unwrap(), "somebody's");
    // Without dropping, the same entries are checked and signed.
    assert!(check_log(&log.serve(), &mut history).entries.len() > 260);
}

#[test]
fn a_lost_anchor_is_made_anew_from_the_newest_checkpoint_only() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 20);
    assert_eq!(server.terminate().code(), Some(0));
    let older = log.beside("older");
    copy_directory(&log.data, &older);
    let server = log.serve();
    write(&server, &mut history, 20);
    let newest = log.beside("newest");
    fs::write(&newest, server.get("/checkpoint").body).unwrap();
    assert_eq!(server.terminate().code(), Some(0));
    let claim = ["claim", "--new-anchor", "--checkpoint", text(&newest)];

    let exists = log.run(&claim);
    assert_eq!(exists.status.code(), Some(6), "an anchor that is there is not replaced");
    fs::remove_file(&log.anchor).unwrap();
    assert_ne!(log.run(&claim[..2]).status.code(), Some(0), "not without a checkpoint");
    assert_eq!(log.run(&["claim"]).status.code(), Some(6), "not without --new-anchor");
    let unused = log.run(&["claim", "--checkpoint", text(&newest)]);
    assert_eq!(unused.status.code(), Some(2), "a checkpoint is for a new anchor");
    let foreign = Log::create().serve().get("/checkpoint");
    let other = log.beside("foreign");
    fs::write(&other, foreign.body).unwrap();
    let refused = log.run(&["claim", "--new-anchor", "--checkpoint", text(&other)]);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(!log.anchor.exists());

    let current = log.beside("current");
    copy_directory(&log.data, &current);
    replace_contents(&older, &log.data);
    let refused = log.run(&claim);
    assert_eq!(refused.status.code(), Some(6), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(!log.anchor.exists(), "an older copy gets no anchor");

    replace_contents(&current, &log.data);
    let claimed = log.run(&claim);
    assert_eq!(claimed.status.code(), Some(0), "{}", String::from_utf8_lossy(&claimed.stderr));
    let server = log.serve();
    write(&server, &mut history, 20);
    check_log(&server, &mut history);
}

#[test]
fn a_claim_takes_no_anchor_of_another_log() {
    let (log, other) = (Log::create(), Log::create());
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 20);
    server.kill();
    let copy = log.beside("copy");
    copy_directory(&log.data, &copy);
    // The other log is empty, so its head is one that every log has had.
    let claimed = run(&["claim", "--data", text(&copy), "--anchor", text(&other.anchor)]);
    let said = String::from_utf8_lossy(&claimed.stderr).into_owned();
    assert_eq!(claimed.status.code(), Some(6), "{said}");
    assert!(said.contains("another log"), "{said}");
}

#[test]
fn a_lost_index_of_a_search_key_is_found() {
    let (log, history) = stopped_log();
    let attempt = &history.attempts[0];
    let fact = &attempt.submission.entry.facts()[0];
    let key: Hash = treering_proto::facts::search_key(fact.tag, &fact.value);
    let index = attempt.index.expect("it was acknowledged");
    let posting = [&key.0[..], &index.to_be_bytes()].concat();
    change_row(&log, "posting_by_search_key", &posting, |_| None);
    let checked = log.run(&["fsck"]);
    assert_eq!(checked.status.code(), Some(6));
    let problems = report(&checked)["problems"].to_string();
    assert!(problems.contains(&format!("entry {index} cannot be found")), "{problems}");
}

#[test]
fn derived_rows_are_written_again_and_entries_are_not() {
    let (log, mut history) = stopped_log();
    let attempt = history.attempts.iter().find(|attempt| attempt.index == Some(5));
    let entry = attempt.expect("somebody wrote entry 5").submission.entry.clone();
    let fact = &entry.facts()[0];
    let key = treering_proto::facts::search_key(fact.tag, &fact.value);
    let posting = [&key.0[..], &5_u64.to_be_bytes()].concat();
    change_row(&log, "index_by_leaf", entry.leaf().as_bytes(), |_| None);
    change_row(&log, "posting_by_search_key", &posting, |_| None);
    change_row(&log, "tile_by_coordinate", &[0; 9], |_| None);
    assert_eq!(log.run(&["fsck"]).status.code(), Some(6));
    let rebuilt = log.run(&["fsck", "--rebuild"]);
    assert_eq!(rebuilt.status.code(), Some(0), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    assert_eq!(report(&rebuilt)["clean"], true);
    let server = log.serve();
    check_log(&server, &mut history);
    assert_eq!(server.terminate().code(), Some(0));

    change_row(&log, "entry_by_index", &5_u64.to_be_bytes(), |mut value| {
        value[20] ^= 1;
        Some(value)
    });
    assert_eq!(log.run(&["fsck", "--rebuild"]).status.code(), Some(6), "not what was signed");
    assert_eq!(log.refused().code(), Some(6));
}

#[test]
fn the_checker_of_these_tests_hears_a_log_that_lies() {
    let (log, mut history) = stopped_log();
    let hears = |history: &mut History| {
        let server = log.serve();
        let check = std::panic::AssertUnwindSafe(|| drop(check_log(&server, history)));
        let heard = std::panic::catch_unwind(check).is_err();
        assert_eq!(server.terminate().code(), Some(0));
        heard
    };
    assert!(!hears(&mut history), "nothing is wrong yet");
    // An acknowledgement that the log does not keep: another index, and an entry that is not there.
    let (first, second) = (history.attempts[0].index, history.attempts[1].index);
    history.attempts[0].index = second;
    assert!(hears(&mut history), "an entry that moved");
    history.attempts[0].index = first;
    let gone = history.attempts.pop();
    assert!(hears(&mut history), "an entry that nobody submitted");
    history.attempts.extend(gone);
    assert!(!hears(&mut history));
    // An entry below the growing tile, which start-up does not read.
    change_row(&log, "entry_by_index", &5_u64.to_be_bytes(), |mut value| {
        value[20] ^= 1;
        Some(value)
    });
    assert!(hears(&mut history), "an entry that changed");
}
