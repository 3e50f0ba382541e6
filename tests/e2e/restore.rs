//! `restore`: a log made from a backup is read-only until it holds everything that it is known to
//! have signed. Its anchor, its witnesses and checkpoints that somebody kept say how much that is.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use treering_server::ops::backup::format::Record;
use treering_tests::check::{check_log, fetch};
use treering_tests::history::History;
use treering_tests::server::{Log, Server, refused, run, text};
use treering_tests::submission::{Answer, Face, Signer, Submission, submit};
use treering_tests::witness::{Manner, TestWitness, policy};

use crate::backup::{lose, restore_command, rewrite, take_backup};
use crate::refusals::write;

pub const USAGE: i32 = 2;
const UNAVAILABLE: i32 = 5;
pub const INTEGRITY: i32 = 6;

/// A log that lost its disk after 40 entries, with a backup of its first 20.
pub struct Lost {
    pub log: Log,
    pub history: History,
    /// The directory as it was.
    pub old: PathBuf,
    pub keys: PathBuf,
    /// Of 20 entries.
    backup: PathBuf,
    /// Of 40 entries.
    pub newer: PathBuf,
    /// The anchor as it was when the backup was made.
    old_anchor: Vec<u8>,
    /// Checkpoints of 20 and 40 entries.
    pub notes: [PathBuf; 2],
}

impl Lost {
    pub fn new(flags: &[&str]) -> Self {
        let log = Log::create();
        let mut history = History::new(&log.identity);
        let names = ["20", "40"].map(|size| log.beside(size));
        let server = log.serve_with(&[&["--open-writes"], flags].concat(), None);
        let mut grow = |name: &Path| {
            write(&server, &mut history, 20);
            let note = fetch(&mut server.connect(), "/checkpoint");
            fs::write(name.with_extension("note"), note).unwrap();
            take_backup(&log.data, &name.with_extension("backup"));
            fs::read(&log.anchor).unwrap()
        };
        let old_anchor = grow(&names[0]);
        grow(&names[1]);
        check_log(&server, &mut history);
        assert_eq!(server.terminate().code(), Some(0));
        let (old, keys) = lose(&log);
        let [backup, newer] = names.clone().map(|name| name.with_extension("backup"));
        let notes = names.map(|name| name.with_extension("note"));
        Self { log, history, old, keys, backup, newer, old_anchor, notes }
    }

    /// Restores the backup of 20 entries.
    fn restore(&self, flags: &[&str]) {
        works(&[&restore_command(&self.log, &self.backup, &self.keys)[..], flags].concat());
    }

    fn refill(&self, source: &Path) {
        works(&["restore", "--refill", text(source), "--data", text(&self.log.data)]);
    }

    /// Expects that the log is whole, grows, and is like any other.
    fn must_be_whole_again(mut self, flags: &[&str]) {
        let server = self.log.serve_with(&[&["--open-writes"], flags].concat(), None);
        assert!(!self.log.data.join("restored").exists(), "the mark is gone");
        check_log(&server, &mut self.history);
        write(&server, &mut self.history, 20);
        check_log(&server, &mut self.history);
        assert_eq!(server.terminate().code(), Some(0));
        let checked = self.log.run(&["fsck"]);
        assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
    }
}

pub fn works(arguments: &[&str]) -> serde_json::Value {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

pub fn fails(arguments: &[&str], code: i32, words: &str) {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert!(errors.contains(words), "no {words:?} in {errors}");
}

/// Serves a restored log that is behind, holds it against every promise of that state, and stops
/// it: reads work, writes are refused, nothing is signed and the anchor is not touched.
fn is_read_only(lost: &Lost, flags: &[&str], words: &str) {
    let anchor = fs::read(&lost.log.anchor).unwrap();
    let server = lost.log.serve_with(&[&["--open-writes"], flags].concat(), None);
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["label"]), (503, &"restored-behind".into()));
    let reason = ready.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(words), "no {words:?} in {reason}");

    let note = fs::read(&lost.notes[0]).unwrap();
    assert_eq!(server.get("/checkpoint").body, note, "the newest note of the backup is shown");
    assert_eq!(server.size(), 20);
    for index in [0, 19] {
        assert_eq!(server.get(&format!("/api/treering/v1/entries/{index}")).status, 200);
    }
    assert_eq!(server.get("/api/treering/v1/entries/20").status, 404);
    for index in 0..20 {
        // An entry without a SET would need a signature.
        let answer = server.get(&format!("/api/v1/log/entries?logIndex={index}"));
        let label = answer.header("treering-error");
        assert!(answer.status == 200 || label == Some("restored-behind"), "{answer:?}");
    }
    for face in [Face::V1, Face::V2] {
        let submission = Submission::hashedrekord(face, &Signer::new(), b"too early");
        let answer = submit(&mut server.connect(), &submission).unwrap();
        let Answer::Refused(response) = answer else { panic!("taken while behind: {answer:?}") };
        assert_eq!(response.status, 503);
        assert_eq!(response.header("treering-error"), Some("restored-behind"));
    }
    let kept = server.get("/api/treering/v1/checkpoints?from=0&limit=1000").json();
    let kept = kept["checkpoints"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(kept["size"], "20", "no note was added");
    assert_eq!(server.terminate().code(), Some(0));
    assert_eq!(fs::read(&lost.log.anchor).unwrap(), anchor, "the anchor is as it was");
    assert!(lost.log.data.join("restored").exists());
}

#[test]
fn a_log_restored_behind_its_anchor_is_read_only_until_it_is_refilled_from_the_old_directory() {
    let lost = Lost::new(&[]);
    lost.restore(&[]);
    for _ in 0..2 {
        is_read_only(&lost, &[], "20 entries are missing");
    }
    let anchor = fs::read(&lost.log.anchor).unwrap();
    lost.refill(&lost.old);
    assert_eq!(fs::read(&lost.log.anchor).unwrap(), anchor);
    let again = ["restore", "--refill", text(&lost.old), "--data", text(&lost.log.data)];
    fails(&again, USAGE, "nothing is missing");
    lost.must_be_whole_again(&[]);
}

#[test]
fn a_newer_backup_refills_and_times_and_sets_are_the_old_ones() {
    let lost = Lost::new(&[]);
    let old = Server::start(&lost.old, &[], None).unwrap();
    let read = |server: &Server| -> Vec<serde_json::Value> {
        let entry = |index| server.get(&format!("/api/v1/log/entries?logIndex={index}")).json();
        let entries =
            (0..40).map(|index| entry(index).as_object().unwrap().values().next().cloned());
        entries.map(Option::unwrap).collect()
    };
    let before = read(&old);
    assert_eq!(old.terminate().code(), Some(0));

    lost.restore(&["--checkpoint", text(&lost.notes[1])]);
    is_read_only(&lost, &[], "20 entries are missing");
    lost.refill(&lost.newer);
    let server = lost.log.serve();
    let after = read(&server);
    for (before, after) in before.iter().zip(&after) {
        for field in ["body", "integratedTime", "logIndex"] {
            assert_eq!(before[field], after[field]);
        }
        let kind = before["body"].as_str().unwrap();
        let set = |entry: &serde_json::Value| entry["verification"]["signedEntryTimestamp"].clone();
        // The log made those of Rekor v1 when it logged them; others are made on reading.
        if is_rekor_v1(kind) {
            assert_eq!(set(before), set(after), "a SET was made anew");
        }
    }
    assert_eq!(server.terminate().code(), Some(0));
    lost.must_be_whole_again(&[]);
}

fn is_rekor_v1(body: &str) -> bool {
    let body = treering_proto::encoding::from_base64(body).unwrap();
    String::from_utf8_lossy(&body).contains(r#""apiVersion":"0.0.1""#)
}

/// The anchor was put back together with the backup: only somebody else knows what was signed.
#[test]
fn a_checkpoint_given_by_hand_holds_a_log_back_whose_anchor_is_old_too() {
    let lost = Lost::new(&[]);
    fs::write(&lost.log.anchor, &lost.old_anchor).unwrap();
    let stranger = Log::create().serve().get("/checkpoint").body;
    let foreign = lost.log.beside("foreign.note");
    fs::write(&foreign, stranger).unwrap();
    let command = restore_command(&lost.log, &lost.backup, &lost.keys);
    fails(&with_checkpoint(&command, &foreign), USAGE, "not a checkpoint of this log");
    works(&with_checkpoint(&command, &lost.notes[1]));
    is_read_only(&lost, &[], "20 entries are missing");
    lost.refill(&lost.newer);
    // The anchor does not know of what is here now; it is not believed, and not written over.
    let ended = lost.log.refused();
    assert_eq!(ended.code(), Some(INTEGRITY), "{}", ended.stderr);
    assert!(ended.stderr.contains("claim --new-anchor"), "{}", ended.stderr);
    assert_eq!(fs::read(&lost.log.anchor).unwrap(), lost.old_anchor);
    fs::rename(&lost.log.anchor, lost.log.beside("older.anchor")).unwrap();
    let data = text(&lost.log.data);
    works(&["claim", "--data", data, "--new-anchor", "--checkpoint", text(&lost.notes[1])]);
    lost.must_be_whole_again(&[]);
}

/// Only a witness knows, or nobody answers: nothing is signed either way.
#[test]
fn a_witness_holds_a_log_back_whose_anchor_is_old_too() {
    let witness = TestWitness::start("w1", 1);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("witnesses.policy");
    fs::write(&file, policy(&[&witness], 1)).unwrap();
    let flags = ["--witness-policy", text(&file)];
    let lost = Lost::new(&flags);
    fs::write(&lost.log.anchor, &lost.old_anchor).unwrap();
    lost.restore(&[]);
    let asked = witness.asked().len();
    for manner in [Manner::Down, Manner::Refusing, Manner::Page, Manner::Stranger] {
        witness.set_manner(manner);
        is_read_only(&lost, &flags, "all of its witnesses");
    }
    witness.set_manner(Manner::Honest);
    is_read_only(&lost, &flags, "20 entries are missing");
    // What it said once is remembered, whatever it says later.
    witness.set_manner(Manner::Discreet);
    is_read_only(&lost, &flags, "20 entries are missing");
    assert_eq!(witness.asked().len(), asked, "nothing was proposed");
    witness.set_manner(Manner::Honest);
    let ended = refused(&lost.log.data, &[]);
    assert_eq!(ended.code(), Some(USAGE), "the policy is still needed: {}", ended.stderr);

    lost.refill(&lost.old);
    fs::rename(&lost.log.anchor, lost.log.beside("older.anchor")).unwrap();
    let data = text(&lost.log.data);
    works(&["claim", "--data", data, "--new-anchor", "--checkpoint", text(&lost.notes[1])]);
    lost.must_be_whole_again(&flags);
    assert!(witness.asked().is_sorted(), "no witness was asked for less than before");
}

/// It takes no entries, so nobody has to say who may write until it is whole.
#[test]
fn a_restored_log_that_is_behind_is_served_without_its_access_policy() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("access.toml");
    let policy = format!("[[recovery]]\nname='r'\nkeys=['sha256:{}']\n", "0".repeat(64));
    fs::write(&file, policy).unwrap();
    let flags = ["--access-policy", text(&file)];
    let lost = Lost::new(&flags);
    lost.restore(&[]);
    is_read_only(&lost, &[], "20 entries are missing");
    lost.refill(&lost.newer);
    let ended = refused(&lost.log.data, &["--open-writes"]);
    assert_eq!(ended.code(), Some(USAGE), "{}", ended.stderr);
    assert!(ended.stderr.contains("--without-access-policy"), "{}", ended.stderr);
    lost.must_be_whole_again(&flags);
}

#[test]
fn a_log_whose_anchor_is_lost_is_held_back_by_the_newest_checkpoint() {
    let lost = Lost::new(&[]);
    fs::remove_file(&lost.log.anchor).unwrap();
    let (data, keys, backup) = (text(&lost.log.data), text(&lost.keys), text(&lost.backup));
    let with_anchor = restore_command(&lost.log, &lost.backup, &lost.keys);
    fails(&with_anchor, INTEGRITY, "--lost-anchor");
    let without = ["restore", backup, "--data", data, "--keys", keys];
    fails(&without, USAGE, "--anchor");
    works(&[&without[..], &["--lost-anchor", "--checkpoint", text(&lost.notes[1])]].concat());
    let ended = lost.log.refused();
    assert_eq!(ended.code(), Some(INTEGRITY), "{}", ended.stderr);
    assert!(ended.stderr.contains("claim --new-anchor"), "{}", ended.stderr);
    works(&["claim", "--data", data, "--new-anchor", "--checkpoint", text(&lost.notes[1])]);
    is_read_only(&lost, &[], "20 entries are missing");
    lost.refill(&lost.newer);
    lost.must_be_whole_again(&[]);
}

#[test]
fn what_does_not_lead_to_a_signed_root_refills_nothing() {
    let lost = Lost::new(&[]);
    lost.restore(&[]);
    let data = text(&lost.log.data);
    let rows = |lost: &Lost| take_backup(&lost.log.data, &lost.log.beside("check.backup"));
    fails(&refill_command(&lost.backup, data), USAGE, "20 entries");
    let other = Log::create();
    let server = other.serve();
    write(&server, &mut History::new(&other.identity), 40);
    fails(&refill_command(&other.data, data), USAGE, "another log");
    assert_eq!(server.terminate().code(), Some(0));

    // A time that is gone is not made up.
    let time = 30_u64.to_be_bytes();
    let damaged = lost.log.beside("damaged");
    treering_tests::server::copy_directory(&lost.old, &damaged);
    let shard = damaged.join("shards").join(lost.log.identity.tree_id().to_hex());
    change(&shard, "time_by_index", &time, None);
    fails(&refill_command(&damaged, data), INTEGRITY, "time_by_index");
    // An entry that was changed leads elsewhere, whatever its own checksums say.
    let entry = get(&shard, "entry_by_index", &29_u64.to_be_bytes());
    change(&shard, "entry_by_index", &time, Some(&entry));
    change(
        &shard,
        "time_by_index",
        &time,
        Some(&get(&shard, "time_by_index", &29_u64.to_be_bytes())),
    );
    fails(&refill_command(&damaged, data), INTEGRITY, "take another copy");
    assert_eq!(rows(&lost)["treeSize"], "20", "nothing was written");
    lost.refill(&lost.old);
    lost.must_be_whole_again(&[]);
}

fn with_checkpoint<'a>(command: &[&'a str], note: &'a Path) -> Vec<&'a str> {
    [command, &["--checkpoint", text(note)]].concat()
}

fn refill_command<'a>(source: &'a Path, data: &'a str) -> [&'a str; 5] {
    ["restore", "--refill", text(source), "--data", data]
}

fn database(shard: &Path) -> rocksdb::DB {
    let options = rocksdb::Options::default();
    let columns = rocksdb::DB::list_cf(&options, shard).unwrap();
    rocksdb::DB::open_cf(&options, shard, columns).unwrap()
}

fn get(shard: &Path, column: &str, key: &[u8]) -> Vec<u8> {
    let db = database(shard);
    db.get_cf(db.cf_handle(column).unwrap(), key).unwrap().unwrap()
}

fn change(shard: &Path, column: &str, key: &[u8], value: Option<&[u8]>) {
    let db = database(shard);
    let column = db.cf_handle(column).unwrap();
    match value {
        Some(value) => db.put_cf(column, key, value).unwrap(),
        None => db.delete_cf(column, key).unwrap(),
    }
}

/// Dies while it writes, before and after; the next run of the same command ends what it began.
#[test]
fn a_restore_and_a_refill_that_die_can_be_repeated() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    let names = ["first.backup", "second.backup"].map(|name| log.beside(name));
    for name in &names {
        write(&server, &mut history, 520);
        take_backup(&log.data, name);
    }
    assert_eq!(server.terminate().code(), Some(0));
    let (_old, keys) = lose(&log);
    let anchor = fs::read(&log.anchor).unwrap();
    let restore = restore_command(&log, &names[0], &keys);
    for point in ["restore-rows:1", "restore-rows:3", "restore-end:1"] {
        dies(&restore, point);
        let ended = log.refused();
        assert_eq!(ended.code(), Some(USAGE), "{point}: {}", ended.stderr);
    }
    works(&restore);
    let refill = ["restore", "--refill", text(&names[1]), "--data", text(&log.data)];
    for point in ["refill-rows:1", "refill-rows:3", "refill-end:1"] {
        dies(&refill, point);
        let server = log.serve();
        assert_eq!(server.size(), 520, "{point}");
        assert_eq!(server.get("/readyz").json()["label"], "restored-behind", "{point}");
        let found = server.get("/api/treering/v1/checkpoints?from=521").json();
        assert_eq!(found["checkpoints"].as_array().map(Vec::len), Some(0), "{point}");
        assert_eq!(server.terminate().code(), Some(0));
    }
    works(&refill);
    assert_eq!(fs::read(&log.anchor).unwrap(), anchor);
    let server = log.serve();
    check_log(&server, &mut history);
    assert_eq!(server.terminate().code(), Some(0));
    assert_eq!(log.run(&["fsck"]).status.code(), Some(0));
}

/// What is there is removed when a restore is repeated; the keys must not be what is there.
#[test]
fn keys_inside_the_directory_to_make_are_refused_and_stay() {
    let lost = Lost::new(&[]);
    dies(&restore_command(&lost.log, &lost.backup, &lost.keys), "restore-rows:1");
    let inside = lost.log.data.join("keys");
    let keys = treering_tests::server::all_files(&inside);
    assert_eq!(keys.len(), 3, "{keys:?}");
    let (roundabout, link) = (lost.log.data.join("shards/../keys"), lost.log.beside("link"));
    std::os::unix::fs::symlink(&inside, &link).unwrap();
    for directory in [&inside, &roundabout, &link] {
        fails(&restore_command(&lost.log, &lost.backup, directory), USAGE, "lies inside");
        assert_eq!(treering_tests::server::all_files(&inside), keys, "{directory:?}");
    }
    for name in ["note.pem", "v1.pem"] {
        let (kept, away) = (lost.keys.join(name), lost.log.beside(name));
        fs::rename(&kept, &away).unwrap();
        fails(&restore_command(&lost.log, &lost.backup, &lost.keys), UNAVAILABLE, name);
        assert_eq!(treering_tests::server::all_files(&inside), keys, "{name}");
        fs::rename(&away, &kept).unwrap();
    }
    lost.restore(&[]);
}

/// The source is another one each time that it is opened.
#[test]
fn a_source_that_changes_between_the_passes_refills_nothing() {
    let lost = Lost::new(&[]);
    lost.restore(&[]);
    let (whole, changed) = (fs::read(&lost.newer).unwrap(), lost.log.beside("changed.backup"));
    let other = Submission::hashedrekord(Face::V1, &Signer::new(), b"another entry").entry;
    let (mut entries, mut has_statement, mut is_done) = (0, false, false);
    rewrite(&lost.newer, &changed, |record| {
        if let Record::Entry(entry) = record {
            entries += 1;
            if entries > 20 && !has_statement && !is_done {
                (entry.set, entry.body, is_done) = (None, other.body().to_vec(), true);
            }
        }
        has_statement = matches!(record, Record::Statement(_));
        // Notes would say it sooner.
        !matches!(record, Record::Notes(size, _) if size.get() > 20)
    });
    assert!(is_done);
    // Opened for its log record, for the first pass, and for the second.
    let contents = [whole.clone(), whole, fs::read(&changed).unwrap()];
    let pipes = ["pipe", "pipe2", "pipe3"].map(|name| lost.log.beside(name));
    for pipe in &pipes {
        assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    }
    let pipe = pipes[0].clone();
    let fed = std::thread::spawn(move || {
        for (at, bytes) in contents.iter().enumerate() {
            // Waits for the reader, whose next opening then finds the next pipe.
            let mut open = fs::OpenOptions::new().write(true).open(&pipes[0]).unwrap();
            pipes.get(at + 1).map_or(Ok(()), |next| fs::rename(next, &pipes[0])).unwrap();
            // Whoever has enough closes early.
            let _ = open.write_all(bytes);
        }
    });
    fails(&refill_command(&pipe, text(&lost.log.data)), INTEGRITY, "changed while it was read");
    fed.join().unwrap();
    is_read_only(&lost, &[], "20 entries are missing");
    lost.refill(&lost.newer);
    let server = lost.log.serve();
    assert_eq!(server.size(), 40);
}

pub fn dies(arguments: &[&str], point: &str) {
    let mut command = std::process::Command::new(treering_tests::binaries::server());
    let output = command.args(arguments).env("TREERING_CRASH_AT", point).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(point.split(':').next().unwrap()), "{point}: {errors}");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(9), "{point}");
}
