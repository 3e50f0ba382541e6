//! Logs that must not be served: damaged, incomplete, older than what was signed, copied, or not
//! logs at all. Each is refused at start with the right exit code, the file and the remedy, and
//! nothing is changed.

use std::fs;
use std::path::{Path, PathBuf};

use treering_tests::check::check_log;
use treering_tests::history::History;
use treering_tests::load::{Load, Watch};
use treering_tests::random::Random;
use treering_tests::server::{
    Ended, Log, Server, all_files, copy_directory, refused, replace_contents, run, text,
};

/// What callers and service managers tell apart.
const USAGE: i32 = 2;
const UNAVAILABLE: i32 = 5;
const INTEGRITY: i32 = 6;

/// Adds `count` entries.
pub fn write(server: &Server, history: &mut History, count: u64) {
    let (watch, _unheard) = Watch::new();
    let outcome = Load { signers: 4, each: count / 4 }.run(server.address, &watch);
    assert_eq!((outcome.unanswered, outcome.refused), (0, 0));
    history.take(outcome);
}

/// A log of 40 entries whose server was killed: all of them are in the write-ahead log.
fn killed_log() -> (Log, History) {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 40);
    check_log(&server, &mut history);
    server.kill();
    (log, history)
}

/// The same after a restart: opening has moved the first entries into table files.
fn twice_killed_log() -> (Log, History) {
    let (log, mut history) = killed_log();
    let server = log.serve();
    write(&server, &mut history, 40);
    server.kill();
    (log, history)
}

fn says(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code(), Some(code), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
    }
}

/// The newest file of the database with this ending.
fn newest(log: &Log, ending: &str) -> PathBuf {
    let files = fs::read_dir(log.shard()).unwrap().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files.filter(|path| text(path).ends_with(ending)).collect();
    files.sort();
    files.pop().unwrap_or_else(|| panic!("the database has no {ending}"))
}

fn flip_bit(path: &Path, byte: usize, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

#[test]
fn one_flipped_bit_in_the_write_ahead_log_is_refused() {
    let mut random = Random::seeded("one_flipped_bit");
    let (log, mut history) = killed_log();
    let (wal, fixed, whole) = (newest(&log, ".log"), log.fixed_files(), log.beside("whole"));
    copy_directory(&log.data, &whole);
    let length = fs::metadata(&wal).unwrap().len();
    for _ in 0..8 {
        // Not the last record, which has only what start-up makes again.
        let byte = random.below(length * 9 / 10) as usize;
        flip_bit(&wal, byte, random.below(8) as u8);
        let before = fs::read(&wal).unwrap();
        says(&log.refused(), INTEGRITY, &[text(&wal), "put back", "Nothing was changed"]);
        assert_eq!(fs::read(&wal).unwrap(), before, "the evidence is kept");
        assert_eq!(log.fixed_files(), fixed);
        replace_contents(&whole, &log.data);
    }
    check_log(&log.serve(), &mut history);
}

#[test]
fn a_cut_write_ahead_log_is_refused_unless_nothing_signed_is_lost() {
    let (log, _) = killed_log();
    let (wal, fixed) = (newest(&log, ".log"), log.fixed_files());
    let bytes = fs::read(&wal).unwrap();
    fs::write(&wal, &bytes[..bytes.len() / 2]).unwrap();
    says(&log.refused(), INTEGRITY, &[text(&log.shard()), text(&log.anchor), "older copy"]);
    assert_eq!(log.fixed_files(), fixed);
}

#[test]
fn a_deleted_write_ahead_log_is_refused() {
    for (log, _) in [killed_log(), twice_killed_log()] {
        let fixed = log.fixed_files();
        fs::remove_file(newest(&log, ".log")).unwrap();
        says(&log.refused(), INTEGRITY, &[text(&log.shard())]);
        // Once more: the first try must not have made it look whole.
        says(&log.refused(), INTEGRITY, &[text(&log.shard())]);
        assert_eq!(log.fixed_files(), fixed);
    }
}

#[test]
fn a_deleted_or_damaged_database_file_is_refused() {
    let (log, mut history) = twice_killed_log();
    let (fixed, whole) = (log.fixed_files(), log.beside("whole"));
    copy_directory(&log.data, &whole);
    let manifest = fs::read_to_string(log.shard().join("CURRENT")).unwrap();
    for ending in [".sst", manifest.trim(), "CURRENT"] {
        let victim = newest(&log, ending);
        fs::remove_file(&victim).unwrap();
        says(&log.refused(), INTEGRITY, &[text(&log.shard()), "put back"]);
        assert_eq!(log.fixed_files(), fixed);
        replace_contents(&whole, &log.data);
    }
    for ending in [".sst", manifest.trim()] {
        let victim = newest(&log, ending);
        let length = fs::metadata(&victim).unwrap().len() as usize;
        // Behind the middle: the index of a table, an edit of the manifest.
        flip_bit(&victim, length * 3 / 4, 3);
        says(&log.refused(), INTEGRITY, &[text(&log.shard())]);
        assert_eq!(log.fixed_files(), fixed);
        replace_contents(&whole, &log.data);
    }
    check_log(&log.serve(), &mut history);
}

#[test]
fn an_older_copy_under_its_anchor_is_refused() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 20);
    assert_eq!(server.terminate().code(), Some(0));
    let (older, newer) = (log.beside("older"), log.beside("newer"));
    copy_directory(&log.data, &older);
    let server = log.serve();
    write(&server, &mut history, 20);
    assert_eq!(server.terminate().code(), Some(0));
    copy_directory(&log.data, &newer);

    replace_contents(&older, &log.data);
    let fixed = log.fixed_files();
    let shard = log.shard();
    let words = [text(&shard), text(&log.anchor), "20 entries", "40", "newest copy"];
    says(&log.refused(), INTEGRITY, &words);
    says(&log.refused(), INTEGRITY, &words);
    assert_eq!(log.fixed_files(), fixed);
    // Neither `fsck --drop-unsigned` nor `claim` is a way around the anchor.
    assert_eq!(log.run(&["fsck", "--drop-unsigned"]).status.code(), Some(INTEGRITY));
    assert_eq!(log.run(&["claim"]).status.code(), Some(INTEGRITY));
    assert_eq!(log.fixed_files(), fixed);

    replace_contents(&newer, &log.data);
    check_log(&log.serve(), &mut history);
}

#[test]
fn a_copied_directory_is_refused_until_it_is_claimed_and_then_the_original_is() {
    let (log, mut history) = killed_log();
    let copy = log.beside("copy");
    copy_directory(&log.data, &copy);
    let before = all_files(&copy);
    let claim = format!("claim --data {}", text(&copy));
    says(&refused(&copy, &[]), INTEGRITY, &[text(&copy), &claim]);
    assert_eq!(all_files(&copy), before, "nothing was changed");

    let claimed = run(&["claim", "--data", text(&copy), "--anchor", text(&log.anchor)]);
    assert_eq!(claimed.status.code(), Some(0), "{}", String::from_utf8_lossy(&claimed.stderr));
    let server = Server::start(&copy, &["--open-writes"], None).unwrap();
    write(&server, &mut history, 20);
    check_log(&server, &mut history);
    // While the copy is served, and after it has grown.
    says(&log.refused(), UNAVAILABLE, &[text(&log.anchor), "locked"]);
    assert_eq!(server.terminate().code(), Some(0));
    says(&log.refused(), INTEGRITY, &[text(&log.shard()), text(&log.anchor), "older copy"]);
}

#[test]
fn a_missing_damaged_or_foreign_anchor_is_refused() {
    let (log, mut history) = killed_log();
    let kept = fs::read(&log.anchor).unwrap();
    let before = all_files(&log.data);

    fs::remove_file(&log.anchor).unwrap();
    says(&log.refused(), INTEGRITY, &[text(&log.anchor), "missing", "claim --new-anchor"]);
    assert!(!log.anchor.exists(), "no anchor was made");

    let mut damaged = kept.clone();
    damaged[45] ^= 1;
    damaged[4096 + 45] ^= 1;
    fs::write(&log.anchor, &damaged).unwrap();
    says(&log.refused(), INTEGRITY, &[text(&log.anchor), "damaged", "claim --new-anchor"]);
    assert_eq!(fs::read(&log.anchor).unwrap(), damaged);

    let other = Log::create();
    let foreign = fs::read(&other.anchor).unwrap();
    fs::write(&log.anchor, &foreign).unwrap();
    says(&log.refused(), INTEGRITY, &[text(&log.anchor), "another log"]);
    says(
        &refused(&log.data, &["--anchor", text(&other.anchor)]),
        INTEGRITY,
        &[text(&other.anchor), "another log"],
    );
    assert_eq!(fs::read(&log.anchor).unwrap(), foreign);
    assert_eq!(all_files(&log.data), before, "nothing was changed");

    fs::write(&log.anchor, &kept).unwrap();
    check_log(&log.serve(), &mut history);
}

#[test]
fn an_older_anchor_is_refused() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let older = fs::read(&log.anchor).unwrap();
    let server = log.serve();
    write(&server, &mut history, 20);
    assert_eq!(server.terminate().code(), Some(0));
    let newer = fs::read(&log.anchor).unwrap();
    fs::write(&log.anchor, &older).unwrap();
    let before = log.fixed_files();
    says(&log.refused(), INTEGRITY, &[text(&log.anchor)]);
    assert_eq!(log.fixed_files(), before);
    let dropped = log.run(&["fsck", "--drop-unsigned"]);
    assert_ne!(dropped.status.code(), Some(0), "published entries are not dropped");
    fs::write(&log.anchor, &newer).unwrap();
    check_log(&log.serve(), &mut history);
}

#[test]
fn an_anchor_inside_its_data_directory_is_refused() {
    let log = Log::create();
    let data = log.beside("inside");
    let anchor = data.join("anchor");
    let arguments = ["init", "--url", "http://127.0.0.1", "--data", text(&data), "--anchor"];
    let made = run(&[&arguments[..], &[text(&anchor)]].concat());
    assert_eq!(made.status.code(), Some(USAGE), "it would be restored with the directory");
    assert_eq!(all_files(&data), [], "nothing was made");
    let made = run(&[&arguments[..], &[text(&log.beside("outside"))]].concat());
    assert_eq!(made.status.code(), Some(0), "the mended command works");
}

#[test]
fn what_is_no_log_of_ours_is_refused_and_not_made_one() {
    let log = Log::create();
    let missing = log.beside("missing");
    let remedy = format!("init --data {}", text(&missing));
    says(&refused(&missing, &[]), USAGE, &[text(&missing), &remedy]);
    assert!(!missing.exists(), "serve never creates");

    let format = log.data.join("FORMAT");
    let before = all_files(&log.data);
    fs::write(&format, "treering data 2\n").unwrap();
    says(&log.refused(), USAGE, &[text(&format), "treering data 2", "use that version"]);
    fs::remove_file(&format).unwrap();
    says(&log.refused(), USAGE, &[text(&log.data), "init"]);
    let again = ["init", "--data", text(&log.data), "--url", "http://127.0.0.1"];
    let anchor = log.beside("new.anchor");
    let again = run(&[&again[..], &["--anchor", text(&anchor)]].concat());
    assert_eq!(again.status.code(), Some(USAGE), "init overwrites nothing");
    fs::write(&format, "treering data 1\n").unwrap();
    assert_eq!(all_files(&log.data), before, "nothing was changed");
    log.serve();
}

#[test]
fn a_log_in_use_is_refused() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 20);
    says(&log.refused(), UNAVAILABLE, &[text(&log.data.join("LOCK")), "in use"]);
    assert_eq!(log.run(&["fsck"]).status.code(), Some(UNAVAILABLE));
    assert_eq!(log.run(&["claim"]).status.code(), Some(UNAVAILABLE));
    write(&server, &mut history, 20);
    check_log(&server, &mut history);
}

#[test]
fn keys_of_another_log_are_refused() {
    let (log, other) = (Log::create(), Log::create());
    for key in ["keys/note.pem", "keys/v1.pem"] {
        let own = fs::read(log.data.join(key)).unwrap();
        fs::copy(other.data.join(key), log.data.join(key)).unwrap();
        says(&log.refused(), INTEGRITY, &[text(&log.data.join("keys"))]);
        fs::write(log.data.join(key), own).unwrap();
    }
    log.serve();
}
