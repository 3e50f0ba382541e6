//! `backup` and `backup verify`: a copy that is taken beside a running server, says what is wrong
//! with itself, and holds neither the anchor nor a private key.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use treering_server::ops::backup::format::{EntryRecord, LogRecord, Reader, Record, Writer};
use treering_tests::check::check_log;
use treering_tests::history::History;
use treering_tests::load::{Load, Watch};
use treering_tests::random::Random;
use treering_tests::server::{Log, run, text};

use crate::refusals::write;

/// What service managers tell apart.
const USAGE: i32 = 2;
const INTEGRITY: i32 = 6;

/// Bits that are flipped, one in each part of the file.
const FLIPS: u64 = 48;

/// Takes a backup of `data`, and expects that it works.
pub fn take_backup(data: &Path, out: &Path) -> Value {
    let taken = run(&["backup", "--data", text(data), "--out", text(out)]);
    let errors = String::from_utf8_lossy(&taken.stderr);
    assert_eq!(taken.status.code(), Some(0), "{errors}");
    serde_json::from_slice(&taken.stdout).unwrap_or_else(|_| panic!("no line of JSON: {errors}"))
}

/// What `backup verify` says of `file`, and its exit code.
pub fn verify(file: &Path) -> (Option<i32>, Value) {
    let verified = run(&["backup", "verify", text(file)]);
    let report = serde_json::from_slice(&verified.stdout);
    let report = report
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&verified.stderr)));
    (verified.status.code(), report)
}

/// The command that restores `backup` as `log`, which must have no directory any more.
pub fn restore_command<'a>(log: &'a Log, backup: &'a Path, keys: &'a Path) -> Vec<&'a str> {
    let (data, anchor) = (text(&log.data), text(&log.anchor));
    let to = ["--data", data, "--anchor", anchor, "--keys", text(keys)];
    [&["restore", text(backup)][..], &to].concat()
}

/// Moves the directory of `log` away, as if its disk was lost. Returns where it is now, and where
/// its keys are kept.
pub fn lose(log: &Log) -> (PathBuf, PathBuf) {
    let (old, keys) = (log.beside("old"), log.beside("kept-keys"));
    fs::rename(&log.data, &old).unwrap();
    fs::create_dir_all(&keys).unwrap();
    for entry in fs::read_dir(old.join("keys")).unwrap().flatten() {
        fs::copy(entry.path(), keys.join(entry.file_name())).unwrap();
    }
    (old, keys)
}

#[test]
fn backups_taken_under_load_are_whole_and_the_last_one_restores_the_log() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    let (watch, heard) = Watch::new();
    let address = server.address;
    let load = std::thread::spawn(move || Load { signers: 8, each: 60 }.run(address, &watch));
    for round in 0..3 {
        for _ in 0..100 {
            heard.recv().expect("the load goes on");
        }
        let acknowledged = server.size();
        let file = log.beside(&format!("{round}.backup"));
        let taken = take_backup(&log.data, &file);
        let (code, report) = verify(&file);
        assert_eq!((code, &report["whole"]), (Some(0), &Value::Bool(true)), "{report}");
        assert_eq!(report["rootHash"], taken["rootHash"]);
        let size: u64 = taken["treeSize"].as_str().unwrap().parse().unwrap();
        assert!(size >= acknowledged, "{acknowledged} entries were published before, {size} saved");
    }
    let outcome = load.join().unwrap();
    outcome.notes.iter().for_each(|note| {
        history.saw(note);
    });
    history.add(outcome.attempts);
    check_log(&server, &mut history);
    let last = log.beside("last.backup");
    let taken = take_backup(&log.data, &last);
    assert_eq!(taken["treeSize"], "480");
    let again = run(&["backup", "--data", text(&log.data), "--out", text(&last)]);
    assert_eq!(again.status.code(), Some(USAGE), "a backup replaces no other");
    assert_eq!(server.terminate().code(), Some(0));
    assert_eq!(take_backup(&log.data, &log.beside("stopped.backup"))["treeSize"], "480");

    let (_old, keys) = lose(&log);
    let anchor = fs::read(&log.anchor).unwrap();
    let restored = run(&restore_command(&log, &last, &keys));
    assert_eq!(restored.status.code(), Some(0), "{}", String::from_utf8_lossy(&restored.stderr));
    assert_eq!(fs::read(&log.anchor).unwrap(), anchor, "restore never writes the anchor");
    let server = log.serve();
    check_log(&server, &mut history);
    write(&server, &mut history, 20);
    check_log(&server, &mut history);
    assert_eq!(server.terminate().code(), Some(0));
    assert_eq!(log.run(&["fsck"]).status.code(), Some(0), "derived rows are made again");
}

/// A log of all kinds, and a backup of it.
fn small_log() -> (Log, PathBuf) {
    let log = Log::create_with(&["--ml-dsa"]);
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 32);
    assert_eq!(server.terminate().code(), Some(0));
    let file = log.beside("whole.backup");
    take_backup(&log.data, &file);
    (log, file)
}

#[test]
fn a_backup_holds_neither_keys_nor_the_anchor() {
    let (log, file) = small_log();
    let bytes = fs::read(&file).unwrap();
    let holds = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
    for key in ["note.pem", "v1.pem", "ml-dsa.pem"] {
        let pem = fs::read_to_string(log.data.join("keys").join(key)).unwrap();
        let line = pem.lines().nth(1).unwrap();
        assert!(!holds(line.as_bytes()), "{key} is in the backup");
    }
    assert!(!holds(b"treering anchor1") && !holds(b"PRIVATE KEY"));
    assert!(!log.beside("whole.backup.new").exists());
    assert!(!log.beside("whole.backup.new.rocksdb").exists(), "nothing is left beside it");
    let permissions = fs::metadata(&file).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777, 0o600);
}

#[test]
fn a_flipped_bit_anywhere_and_a_cut_are_found_and_nothing_is_restored_from_them() {
    let mut random = Random::seeded("flipped_backup");
    let (log, file) = small_log();
    let whole = fs::read(&file).unwrap();
    let (_old, keys) = lose(&log);
    let damaged = log.beside("damaged.backup");
    let refuse = |bytes: &[u8], what: &str| {
        fs::write(&damaged, bytes).unwrap();
        let (code, report) = verify(&damaged);
        assert_eq!((code, &report["whole"]), (Some(INTEGRITY), &Value::Bool(false)), "{what}");
        assert!(!report["problems"].as_array().unwrap().is_empty(), "{what}");
        let restored = run(&restore_command(&log, &damaged, &keys));
        assert_ne!(restored.status.code(), Some(0), "{what}");
        assert!(!log.data.join("FORMAT").exists(), "{what} made a log");
    };
    let part = whole.len() as u64 / FLIPS;
    for region in 0..FLIPS {
        let at = (region * part + random.below(part)) as usize;
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << random.below(8);
        refuse(&bytes, &format!("a bit of byte {at}"));
    }
    for _ in 0..4 {
        let length = random.below(whole.len() as u64) as usize;
        refuse(&whole[..length], &format!("a cut at {length}"));
    }
    refuse(&[&whole[..], b"\n"].concat(), "a surplus byte");
    let restored = run(&restore_command(&log, &file, &keys));
    assert_eq!(restored.status.code(), Some(0), "the whole one still restores");
    log.serve();
}

/// Whoever can write the file can also make its checksum; what the log signed, he cannot.
#[test]
fn a_backup_that_was_changed_with_its_checksum_is_found() {
    let (log, file) = small_log();
    let changed = log.beside("changed.backup");
    let entry = |record: &mut Record, change: &dyn Fn(&mut EntryRecord)| match record {
        Record::Entry(entry) if entry.set.is_some() => {
            change(entry);
            true
        }
        _ => false,
    };
    type Change<'a> = &'a dyn Fn(&mut Record) -> bool;
    let changes: [(&str, Change<'_>); 6] = [
        ("SET", &|record| entry(record, &|entry| entry.time += 1)),
        ("SET", &|record| entry(record, &|entry| entry.set.as_mut().unwrap()[20] ^= 1)),
        ("lead to", &|record| entry(record, &|entry| flip_digit(&mut entry.body))),
        ("dated", &|record| entry(record, &|entry| entry.time = 1)),
        ("commit to its statement", &|record| match record {
            Record::Statement(payload) => {
                payload.push(b' ');
                true
            }
            _ => false,
        }),
        ("note", &|record| match record {
            Record::Notes(_, notes) => {
                notes.note = notes.note.replace("127.0.0.1\n", "127.0.0.2\n");
                true
            }
            _ => false,
        }),
    ];
    for (words, change) in changes {
        let (mut entries, mut is_done) = (0, false);
        rewrite(&file, &changed, |record| {
            entries += u64::from(matches!(record, Record::Entry(_)));
            // Not the first ones: something before it says what the time was.
            if entries > 6 && !is_done {
                is_done = change(record);
            }
            true
        });
        assert!(is_done, "{words}: nothing to change");
        found(&changed, words);
    }
    let mut entries = 0;
    rewrite(&file, &changed, |record| {
        entries += u64::from(matches!(record, Record::Entry(_)));
        entries != 7 || !matches!(record, Record::Entry(_))
    });
    found(&changed, "lead to");
    rewrite(&file, &changed, |record| !matches!(record, Record::Notes(size, _) if size.get() > 30));
    found(&changed, "newest published head is missing");
}

fn found(file: &Path, words: &str) {
    let (code, report) = verify(file);
    assert_eq!(code, Some(INTEGRITY), "{words}: {report}");
    assert!(report["problems"].to_string().contains(words), "no {words:?} in {report}");
}

fn flip_digit(body: &mut [u8]) {
    let at = body.iter().rposition(u8::is_ascii_alphanumeric).unwrap();
    body[at] = if body[at] == b'A' { b'B' } else { b'A' };
}

/// Writes the backup `from` again to `to`: `change` may change each record, or leave it out.
fn rewrite(from: &Path, to: &Path, mut change: impl FnMut(&mut Record) -> bool) {
    let (mut reader, log): (_, LogRecord) = Reader::new(fs::File::open(from).unwrap()).unwrap();
    let mut writer = Writer::new(Vec::new(), &log).unwrap();
    while let Some(mut record) = reader.next().unwrap() {
        if !change(&mut record) {
            continue;
        }
        match record {
            Record::Statement(payload) => writer.statement(&payload).unwrap(),
            Record::Entry(entry) => writer.entry(&entry).unwrap(),
            Record::Notes(size, notes) => writer.notes(size, &notes).unwrap(),
            Record::Log(_) | Record::End(_) => {}
        }
    }
    let (bytes, _) = writer.finish().unwrap();
    fs::File::create(to).unwrap().write_all(&bytes).unwrap();
}

#[test]
fn a_backup_of_another_version_and_what_is_none_are_refused_with_the_remedy() {
    let (log, file) = small_log();
    let mut bytes = fs::read(&file).unwrap();
    bytes[15] = b'2';
    let other = log.beside("other.backup");
    fs::write(&other, bytes).unwrap();
    found(&other, "use the version");
    found(&log.data.join("identity"), "not a backup");
    let missing = run(&["backup", "verify", text(&log.beside("missing"))]);
    assert_eq!(missing.status.code(), Some(5));
    let no_log = run(&["backup", "--data", text(&log.beside("x")), "--out", text(&other)]);
    assert_eq!(no_log.status.code(), Some(USAGE));
}
