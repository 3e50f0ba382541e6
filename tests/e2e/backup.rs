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
use treering_tests::model::statement;
use treering_tests::random::Random;
use treering_tests::server::{Log, Server, run, text};
use treering_tests::submission::{Answer, Face, Signer, Submission, submit};

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
pub fn rewrite(from: &Path, to: &Path, mut change: impl FnMut(&mut Record) -> bool) {
    let (mut reader, log): (_, LogRecord) = Reader::new(fs::File::open(from).unwrap()).unwrap();
    let mut writer = Writer::new(Vec::new(), &log).unwrap();
    while let Some(mut record) = reader.next().unwrap() {
        if !change(&mut record) {
            continue;
        }
        put(&mut writer, record);
    }
    let (bytes, _) = writer.finish().unwrap();
    fs::File::create(to).unwrap().write_all(&bytes).unwrap();
}

fn put(writer: &mut Writer<Vec<u8>>, record: Record) {
    match record {
        Record::Statement(payload) => writer.statement(&payload).unwrap(),
        Record::Entry(entry) => writer.entry(&entry).unwrap(),
        Record::Notes(size, notes) => writer.notes(size, &notes).unwrap(),
        Record::Log(_) | Record::End(_) => {}
    }
}

#[test]
fn a_backup_of_another_version_and_what_is_none_are_refused_with_the_remedy() {
    let (log, file) = small_log();
    let mut bytes = fs::read(&file).unwrap();
    bytes[15] = b'9';
    let other = log.beside("other.backup");
    fs::write(&other, bytes).unwrap();
    found(&other, "use the version");
    found(&log.data.join("identity"), "not a backup");
    let missing = run(&["backup", "verify", text(&log.beside("missing"))]);
    assert_eq!(missing.status.code(), Some(5));
    let no_log = run(&["backup", "--data", text(&log.beside("x")), "--out", text(&other)]);
    assert_eq!(no_log.status.code(), Some(USAGE));
}

/// A served log of all kinds whose first rows lie in table files: opening puts them there.
fn log_in_tables() -> (Log, Server) {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 32);
    let payload = statement(&"x".repeat(5000), 1);
    let large = Submission::dsse(Face::V1, &Signer::new(), &payload);
    assert!(matches!(submit(&mut server.connect(), &large), Ok(Answer::Logged { .. })));
    assert_eq!(server.terminate().code(), Some(0));
    let server = log.serve();
    (log, server)
}

/// The table file of `column`.
fn table_of(log: &Log, column: &str) -> PathBuf {
    let options = rocksdb::Options::default();
    let columns = rocksdb::DB::list_cf(&options, log.shard()).unwrap();
    let db = rocksdb::DB::open_cf_for_read_only(&options, log.shard(), columns, false).unwrap();
    let files = db.live_files().unwrap();
    let table = files.iter().find(|file| file.column_family_name == column);
    log.shard().join(table.expect("rows were flushed").name.trim_start_matches('/'))
}

/// The server has its files open and serves on; a backup must not leave out what it cannot read.
#[test]
fn a_table_that_is_damaged_or_gone_below_a_healthy_server_fails_the_backup_and_is_named() {
    let (log, server) = log_in_tables();
    let mut files = fs::read_dir(log.shard()).unwrap().map(|entry| entry.unwrap().path());
    let blob = files.find(|path| path.extension().is_some_and(|end| end == "blob"));
    let blob = blob.expect("a large statement was flushed");
    let set_table = table_of(&log, "set_by_index");
    let note_table = table_of(&log, "note_by_size");
    let footer: fn(&Path) = |path| {
        let mut bytes = fs::read(path).unwrap();
        let at = bytes.len() - 1;
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let gone: fn(&Path) = |path| fs::remove_file(path).unwrap();
    let damages = [(&set_table, footer), (&set_table, gone), (&note_table, gone), (&blob, gone)];
    let out = log.beside("damaged.backup");
    let good = log.beside("good");
    for (path, damage) in damages {
        // The server keeps what it has open: the name leads to a copy that can be damaged.
        fs::rename(path, &good).unwrap();
        fs::copy(&good, path).unwrap();
        damage(path);
        let name = path.file_name().unwrap().to_str().unwrap();
        let taken = run(&["backup", "--data", text(&log.data), "--out", text(&out)]);
        let errors = String::from_utf8_lossy(&taken.stderr);
        assert_eq!(taken.status.code(), Some(INTEGRITY), "{name}: {errors}");
        assert!(errors.contains(name), "no {name} in {errors}");
        assert!(!out.exists() && !beside_new(&out).exists(), "{name}: a file was left");
        assert_eq!(server.get("/readyz").status, 200, "{name}");
        fs::rename(&good, path).unwrap();
    }
    assert_eq!(take_backup(&log.data, &out)["treeSize"], "33");
}

fn beside_new(out: &Path) -> PathBuf {
    out.with_extension("backup.new")
}

/// Its start replaces the write-ahead log while it is read.
#[test]
fn backups_beside_a_server_that_restarts_again_and_again_miss_nothing() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    for round in 0..6_u64 {
        let (data, out) = (log.data.clone(), log.beside(&format!("{round}.backup")));
        let before = round * 20;
        let taken = std::thread::spawn(move || (round > 0).then(|| take_backup(&data, &out)));
        let server = log.serve();
        write(&server, &mut history, 20);
        server.kill();
        if let Some(taken) = taken.join().unwrap() {
            let size: u64 = taken["treeSize"].as_str().unwrap().parse().unwrap();
            assert!(size >= before, "{before} entries were acknowledged, {size} saved");
        }
    }
}

#[test]
fn a_backup_writes_through_no_link_and_replaces_nothing() {
    let (log, _file) = small_log();
    let (mine, out) = (log.beside("mine"), log.beside("linked.backup"));
    fs::write(&mine, "mine").unwrap();
    let refuse = |what: &str| {
        let taken = run(&["backup", "--data", text(&log.data), "--out", text(&out)]);
        assert_ne!(taken.status.code(), Some(0), "{what}");
        assert_eq!(fs::read(&mine).unwrap(), b"mine", "{what}");
    };
    std::os::unix::fs::symlink(&mine, beside_new(&out)).unwrap();
    refuse("a symbolic link for the unfinished file");
    fs::remove_file(beside_new(&out)).unwrap();
    fs::hard_link(&mine, beside_new(&out)).unwrap();
    refuse("a hard link for the unfinished file");
    fs::remove_file(beside_new(&out)).unwrap();
    std::os::unix::fs::symlink(log.beside("nowhere"), &out).unwrap();
    refuse("a link for the file itself");
    assert!(!log.beside("nowhere").exists());
    fs::remove_file(&out).unwrap();
    // What a backup that died has left is no obstacle.
    let left = fs::File::create(beside_new(&out)).unwrap();
    left.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    take_backup(&log.data, &out);
}

/// Entries and batches from the future would stop the clock of whoever restores them.
#[test]
fn times_ahead_of_the_clock_are_found_and_not_restored() {
    let (log, file) = small_log();
    let (_old, keys) = lose(&log);
    let changed = log.beside("future.backup");
    let year_5000 = 95_617_584_000;
    let (mut reader, mut record): (_, LogRecord) =
        Reader::new(fs::File::open(&file).unwrap()).unwrap();
    record.time_ms = year_5000 * 1000;
    let mut writer = Writer::new(Vec::new(), &record).unwrap();
    while let Some(record) = reader.next().unwrap() {
        put(&mut writer, record);
    }
    fs::write(&changed, writer.finish().unwrap().0).unwrap();
    found(&changed, "ahead of this machine's clock");
    let restored = run(&restore_command(&log, &changed, &keys));
    assert_eq!(restored.status.code(), Some(INTEGRITY));

    let mut entries = 0;
    rewrite(&file, &changed, |record| {
        if let Record::Entry(entry) = record {
            entries += 1;
            (entry.time, entry.set) = if entries == 32 { (year_5000, None) } else { return true };
        }
        true
    });
    found(&changed, "ahead of this machine's clock");
    let restored = run(&restore_command(&log, &changed, &keys));
    assert_eq!(restored.status.code(), Some(INTEGRITY));
    assert!(!log.data.join("FORMAT").exists());
}

/// A SET can be taken away with the checksum made anew: the report says how many are not there.
#[test]
fn the_report_counts_rekor_v1_entries_without_a_set() {
    let (log, file) = small_log();
    let (_, report) = verify(&file);
    assert_eq!(report["rekorV1WithoutSet"], 0, "{report}");
    let changed = log.beside("stripped.backup");
    let mut is_done = false;
    rewrite(&file, &changed, |record| {
        if let Record::Entry(entry) = record {
            is_done = is_done || entry.set.take().is_some();
        }
        true
    });
    let (code, report) = verify(&changed);
    assert_eq!((code, &report["rekorV1WithoutSet"]), (Some(0), &1.into()), "{report}");
}
