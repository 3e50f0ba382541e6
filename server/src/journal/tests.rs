use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use tempfile::TempDir;
use treering_proto::hash::Hash;

use super::*;

/// 2026-01-02T03:04:05.678Z
const NOON: u64 = 1_767_323_045_678;

fn line(request: &str) -> Line<'_> {
    Line {
        request,
        act: Act::Submit,
        principal: "ci",
        source: Some([192, 0, 2, 7].into()),
        project: None,
        rule: None,
        kind: Some("dsse"),
        leaf: None,
        index: Some(7),
        outcome: "logged",
        repeated: 0,
    }
}

fn chained(line: &Line<'_>, sequence: u64, time_ms: u64, previous: Hash) -> Vec<u8> {
    line.text().chained(sequence, &timestamp(time_ms), &previous.to_hex())
}

fn place() -> (TempDir, PathBuf) {
    let top = tempfile::tempdir().unwrap();
    let directory = top.path().join("journal");
    (top, directory)
}

fn first_segment(directory: &Path) -> PathBuf {
    segment::path_of(directory, 1)
}

fn records(directory: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    read(directory, |_, record| {
        records.push(record.clone());
        true
    })
    .unwrap();
    records
}

fn acts(directory: &Path) -> Vec<String> {
    records(directory).into_iter().map(|record| record.act).collect()
}

fn problems(directory: &Path) -> Vec<Problem> {
    verify(directory, None).unwrap().findings.into_iter().map(|found| found.problem).collect()
}

fn assert_whole(directory: &Path) -> Report {
    let report = verify(directory, None).unwrap();
    assert!(report.is_whole(), "{report:?}");
    report
}

#[test]
fn a_line_has_these_golden_bytes() {
    let full = Line {
        principal: "ci\n\u{202e}\"",
        project: Some("llm"),
        rule: Some("ci-writes"),
        leaf: Some(&Hash([0xab; 32])),
        ..line("8f3c")
    };
    let bytes = chained(&full, 2, NOON, Hash([0xcd; 32]));
    let record = Record::parse(&bytes).unwrap();
    let golden = GOLDEN.replace("{ab}", &"ab".repeat(32)).replace("{cd}", &"cd".repeat(32));
    assert_eq!(String::from_utf8(bytes).unwrap(), golden);
    assert_eq!(Record::parse(golden.as_bytes()), Some(record.clone()));
    assert_eq!(record.time_ms(), Some(NOON));

    let least = chained(&own_line("journal-started", 0), 1, 0, Hash([0; 32]));
    let golden = GOLDEN_LEAST.replace("{00}", &"00".repeat(32));
    assert_eq!(String::from_utf8(least).unwrap(), golden);
}

const GOLDEN: &str = r#"{"v":1,"sequence":2,"time":"2026-01-02T03:04:05.678Z","request":"8f3c","act":"submit","principal":"ci\n\u202e\"","source":"192.0.2.7","project":"llm","rule":"ci-writes","kind":"dsse","leaf":"{ab}","index":7,"outcome":"logged","repeated":0,"previous":"{cd}","check":"adc941eb633308db"}"#;
const GOLDEN_LEAST: &str = r#"{"v":1,"sequence":1,"time":"1970-01-01T00:00:00.000Z","request":"-","act":"admin:journal-started","principal":"treering-server","outcome":"ok","repeated":0,"previous":"{00}","check":"4f947ded177e8dfc"}"#;

#[test]
fn a_line_is_short_and_printable_whatever_a_stranger_sends() {
    let long = "\u{10ffff}".repeat(5000);
    let stranger = Line {
        request: &long,
        principal: &long,
        project: Some(&long),
        rule: Some(&long),
        kind: Some(&long),
        outcome: &long,
        ..line("")
    };
    let bytes = chained(&stranger, u64::MAX, u64::MAX, Hash([0; 32]));
    assert!(bytes.len() < LINE_BYTES_MAX, "{}", bytes.len());
    assert!(bytes.iter().all(|byte| matches!(byte, b' '..=b'~')));
    let record = Record::parse(&bytes).unwrap();
    assert_eq!(record.principal.chars().count(), 200);
    assert!(record.principal.ends_with('\u{2026}'));
}

#[test]
fn lines_are_chained_across_restarts_and_days() {
    let (_top, directory) = place();
    let journal = Journal::open(&directory).unwrap();
    journal.write_all_at(&[line("1").text()], clock::read().wall_ms).unwrap();
    drop(journal);
    let journal = Journal::open(&directory).unwrap();
    let tomorrow = clock::read().wall_ms + DAY_MS;
    journal.write_all_at(&[line("2").text()], tomorrow).unwrap();
    journal.write_all_at(&[line("3").text()], tomorrow - DAY_MS).unwrap();
    journal.sync().unwrap();
    assert_eq!(acts(&directory), ["admin:journal-started", "submit", "submit", "submit"]);
    let report = assert_whole(&directory);
    assert_eq!((report.segments, report.lines, report.first), (2, 4, Some(1)));
    assert_eq!(report.head, journal.head());
    assert_eq!(report.whole_up_to, journal.head());

    // The operator archives the older segment; the newest goes on.
    fs::rename(first_segment(&directory), directory.join("000001.jsonl.kept")).unwrap();
    let report = assert_whole(&directory);
    assert_eq!((report.segments, report.first), (1, Some(3)));
    journal.write(&line("4")).unwrap();
    assert!(verify(&directory, Some(journal.head())).unwrap().is_whole());
}

#[test]
fn every_flipped_byte_of_a_journal_is_found() {
    let (_top, directory) = place();
    let journal = Journal::open(&directory).unwrap();
    for request in ["1", "2", "3"] {
        journal.write(&line(request)).unwrap();
    }
    let path = first_segment(&directory);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let sequence = 1 + whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        // One bit, another one in each byte, and the one that makes small letters of large ones.
        for mask in [1 << (at % 8), 0x20] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            let report = verify::verify_bytes(1, &bytes);
            assert!(!report.is_whole(), "{mask:x} of byte {at}");
            assert!(report.whole_up_to.sequence < sequence, "{mask:x} of byte {at}");
        }
    }
}

#[test]
fn missing_reordered_and_cut_lines_are_found() {
    let (_top, directory) = place();
    let journal = Journal::open(&directory).unwrap();
    for request in ["1", "2", "3", "4"] {
        journal.write(&line(request)).unwrap();
    }
    let known = journal.head();
    drop(journal);
    let path = first_segment(&directory);
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let write = |lines: &[&str]| fs::write(&path, lines.concat()).unwrap();

    write(&[lines[0], lines[1], lines[3], lines[4]]);
    assert_eq!(problems(&directory), [Problem::Missing]);
    assert_eq!(verify(&directory, None).unwrap().whole_up_to.sequence, 2);
    write(&lines[1..]);
    assert_eq!(problems(&directory), [Problem::Missing]);
    write(&[lines[0], lines[2], lines[1], lines[3], lines[4]]);
    assert_eq!(problems(&directory), [Problem::Missing, Problem::Reordered, Problem::Missing]);
    write(&[lines[0], lines[1], lines[1], lines[2], lines[3], lines[4]]);
    assert_eq!(problems(&directory)[0], Problem::Reordered);
    write(&[lines[0], lines[1], lines[2], lines[3], &lines[4][..40]]);
    assert_eq!(problems(&directory), [Problem::Cut]);
    // A whole line that somebody made anew, hash and all.
    let record = Record::parse(lines[2].trim_end().as_bytes()).unwrap();
    let mut forged = record;
    forged.principal = "somebody".to_owned();
    let forged = String::from_utf8(forged.to_bytes()).unwrap() + "\n";
    write(&[lines[0], lines[1], &forged, lines[3], lines[4]]);
    assert_eq!(problems(&directory), [Problem::Unchained]);
    // Nothing tells that the last lines are gone, but a head that was noted.
    write(&lines[..4]);
    assert_eq!(problems(&directory), []);
    let report = verify(&directory, Some(known)).unwrap();
    assert_eq!(report.findings[0].problem, Problem::HeadMissing);
}

#[test]
fn a_missing_segment_is_found() {
    let (_top, directory) = place();
    let journal = Journal::open(&directory).unwrap();
    for day in 1..=2 {
        journal.write_all_at(&[line("1").text()], clock::read().wall_ms + day * DAY_MS).unwrap();
    }
    assert_eq!(assert_whole(&directory).segments, 3);
    fs::remove_file(segment::path_of(&directory, 2)).unwrap();
    assert_eq!(problems(&directory), [Problem::SegmentMissing]);
}

#[test]
fn opening_cuts_off_a_torn_line_and_says_so() {
    let (_top, directory) = place();
    let journal = Journal::open(&directory).unwrap();
    journal.write(&line("1")).unwrap();
    drop(journal);
    let path = first_segment(&directory);
    let whole = fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in last + 1..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        drop(Journal::open(&directory).unwrap());
        assert_eq!(acts(&directory), ["admin:journal-started", "admin:journal-repaired"], "{cut}");
        assert_whole(&directory);
    }
    // Not even the first line of a segment was whole.
    fs::write(&path, &whole).unwrap();
    fs::write(segment::path_of(&directory, 2), &whole[..9]).unwrap();
    let journal = Journal::open(&directory).unwrap();
    journal.write(&line("2")).unwrap();
    assert_eq!(records(&directory).last().unwrap().sequence, 4);
    assert_eq!(assert_whole(&directory).segments, 2);
}

#[test]
fn opening_refuses_a_last_line_that_is_not_as_it_was_written() {
    let (_top, directory) = place();
    drop(Journal::open(&directory).unwrap());
    let path = first_segment(&directory);
    let mut bytes = fs::read(&path).unwrap();
    bytes[30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(Journal::open(&directory), Err(JournalError::Broken { .. })));
    assert_eq!(fs::read(&path).unwrap(), bytes, "nothing was touched");
}

/// A disk that has room for so many bytes more; `usize::MAX` for always.
fn full_after(room: &Arc<AtomicUsize>, is_written: bool) -> Box<Append> {
    let room = room.clone();
    Box::new(move |mut file, bytes| {
        let left = room.load(Ordering::Relaxed);
        if left == usize::MAX {
            return io::Write::write(&mut file, bytes);
        }
        let fits = bytes.len().min(left);
        room.store(left - fits, Ordering::Relaxed);
        let written = if is_written { bytes.len() } else { fits };
        io::Write::write_all(&mut file, &bytes[..written])?;
        match fits {
            0 => Err(io::ErrorKind::StorageFull.into()),
            fits if is_written && fits < bytes.len() => Err(io::ErrorKind::StorageFull.into()),
            fits => Ok(fits),
        }
    })
}

#[test]
fn a_full_disk_fails_the_line_and_the_chain_goes_on() {
    let length = chained(&line("lost"), 2, NOON, Hash([0; 32])).len() + 1;
    for is_written in [false, true] {
        for left in (0..length - 1).step_by(7).chain([1, length - 2]) {
            let (_top, directory) = place();
            let room = Arc::new(AtomicUsize::new(usize::MAX));
            let append = full_after(&room, is_written);
            let journal = Journal::open_with(&directory, append).unwrap();
            room.store(left, Ordering::Relaxed);
            for _ in 0..2 {
                let lost = journal.write_all_at(&[line("lost").text()], NOON);
                assert_eq!(lost.unwrap_err().label(), "io", "{left}");
                assert!(journal.is_failing());
                assert_whole(&directory);
            }
            room.store(usize::MAX, Ordering::Relaxed);
            journal.write_all_at(&[line("kept").text()], NOON).unwrap();
            assert!(!journal.is_failing());
            let lines = records(&directory);
            let acts: Vec<&str> = lines.iter().map(|line| line.act.as_str()).collect();
            assert_eq!(acts, ["admin:journal-started", "admin:journal-resumed", "submit"]);
            assert_eq!((lines[1].repeated, lines[2].request.as_str()), (2, "kept"));
            assert_whole(&directory);
        }
    }
}

#[test]
fn of_a_group_that_does_not_fit_no_line_stays_and_all_are_counted() {
    let group = ["1", "2", "3"].map(|request| line(request).text());
    let length = chained(&line("1"), 2, NOON, Hash([0; 32])).len() + 1;
    for is_written in [false, true] {
        // In the middle of each line, and at the ends of the first two.
        for left in
            (0..group.len() * length).step_by(length.div_ceil(3)).chain([length, 2 * length])
        {
            let (_top, directory) = place();
            let room = Arc::new(AtomicUsize::new(usize::MAX));
            let append = full_after(&room, is_written);
            let journal = Journal::open_with(&directory, append).unwrap();
            room.store(left, Ordering::Relaxed);
            assert_eq!(journal.write_all_at(&group, NOON).unwrap_err().label(), "io", "{left}");
            assert_eq!(acts(&directory), ["admin:journal-started"], "{left}");
            room.store(usize::MAX, Ordering::Relaxed);
            journal.write_all_at(&[line("kept").text()], NOON).unwrap();
            let lines = records(&directory);
            assert_eq!(acts(&directory)[1..], ["admin:journal-resumed", "submit"]);
            assert_eq!((lines[1].repeated, lines[2].request.as_str()), (3, "kept"));
            assert_whole(&directory);
        }
    }
}

#[test]
fn a_segment_that_is_taken_away_fails_the_line() {
    let (_top, directory) = place();
    let journal = Journal::open(&directory).unwrap();
    journal.write(&line("1")).unwrap();
    let path = first_segment(&directory);
    let away = directory.join("away");
    fs::rename(&path, &away).unwrap();
    assert_eq!(journal.write(&line("2")).unwrap_err().label(), "removed");
    fs::rename(&away, &path).unwrap();
    journal.write(&line("3")).unwrap();
    let length = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
    assert_eq!(journal.write(&line("4")).unwrap_err().label(), "removed");
}

#[test]
fn what_another_process_left_unfinished_is_cut_off_by_the_next_writer() {
    let (_top, directory) = place();
    let journal = Journal::open(&directory).unwrap();
    let mut other = fs::OpenOptions::new().append(true).open(first_segment(&directory)).unwrap();
    io::Write::write_all(&mut other, b"{\"v\":1,\"sequence\":2,").unwrap();
    journal.write(&line("1")).unwrap();
    assert_eq!(acts(&directory)[1..], ["admin:journal-repaired", "submit"]);
    io::Write::write_all(&mut other, b"not a line\n").unwrap();
    assert_eq!(journal.write(&line("2")).unwrap_err().label(), "broken");
}

#[test]
fn a_lock_that_somebody_keeps_fails_the_line_in_the_end() {
    let (_top, directory) = place();
    let journal = Journal::open(&directory).unwrap();
    let other = File::open(directory.join(LOCK)).unwrap();
    other.lock().unwrap();
    for _ in 0..3 {
        assert_eq!(journal.write(&line("1")).unwrap_err().label(), "busy");
    }
    other.unlock().unwrap();
    journal.write(&line("2")).unwrap();
    assert_eq!(acts(&directory)[1..], ["admin:journal-resumed", "submit"]);
}

const CHILD: &str = "TREERING_JOURNAL_TEST_CHILD";
const CHILD_LINES: usize = 60;

/// Not a test by itself: the other process of the next one.
#[test]
fn is_a_process_that_writes() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    // A machine that is busy with other things may stop a process that holds the lock for long.
    let opened = (0..60).find_map(|_| Journal::open(Path::new(&directory)).ok());
    let mut journal = opened.unwrap();
    journal.patience = Duration::from_secs(120);
    for count in 0..CHILD_LINES {
        // Every process crosses the same midnights, so that each meets segments of others.
        let time_ms = clock::read().wall_ms + DAY_MS * (count as u64 / 20);
        let request = format!("{}-{count}", std::process::id());
        journal.write_all_at(&[line(&request).text()], time_ms).unwrap();
    }
    journal.sync().unwrap();
}

#[test]
fn three_processes_write_one_chain() {
    let (_top, directory) = place();
    let child = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "journal::tests::is_a_process_that_writes"]);
        command.env(CHILD, &directory).stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut children = [child(), child(), child()];
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let report = assert_whole(&directory);
    assert_eq!(report.lines as usize, 1 + 3 * CHILD_LINES);
    assert!(report.segments >= 3, "{report:?}");
    let mut requests: Vec<String> =
        records(&directory).into_iter().map(|record| record.request).collect();
    requests.sort_unstable();
    requests.dedup();
    assert_eq!(requests.len(), 1 + 3 * CHILD_LINES, "each line is there once");
}

/// An operator's command runs as root, and the server does not.
#[test]
fn what_root_begins_belongs_to_whom_the_directory_belongs() {
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root can give files away");
        return;
    }
    let top = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(top.path(), Some(12_345), Some(12_345)).unwrap();
    let directory = top.path().join("journal");
    Journal::open(&directory).unwrap();
    let files = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let made: Vec<_> = files.chain([directory.clone()]).collect();
    assert_eq!(made.len(), 3);
    for path in made {
        assert_eq!(fs::metadata(&path).unwrap().uid(), 12_345, "{}", path.display());
    }
}

/// A disk that says when a write begins, and goes on when it is told to; always, once nobody can
/// tell it any more.
fn held_up() -> (Box<Append>, Receiver<()>, Sender<()>) {
    let (begins, begun) = channel();
    let (go_on, goes_on) = channel();
    let goes_on = Mutex::new(goes_on);
    let append = move |mut file: &File, bytes: &[u8]| {
        begins.send(()).unwrap();
        let _ = goes_on.lock().unwrap().recv();
        io::Write::write(&mut file, bytes)
    };
    (Box::new(append), begun, go_on)
}

#[tokio::test]
async fn lines_that_come_while_one_is_written_are_one_write_and_a_long_one_is_noticed() {
    let (_top, directory) = place();
    let (append, begun, go_on) = held_up();
    go_on.send(()).unwrap();
    let journal = Journal::open_with(&directory, append).unwrap();
    begun.recv().unwrap();
    let lines = Lines::to(Arc::new(journal));
    assert!(!lines.is_stalled_at(u64::MAX), "nothing is written");
    let before_ms = clock::read().boot_ms;
    let all: Vec<_> = (0..40).map(|_| lines.write(line("1").text())).collect();
    begun.recv().unwrap();
    let after_ms = clock::read().boot_ms;
    assert!(!lines.is_stalled_at(before_ms + group::STALLED_MS));
    assert!(lines.is_stalled_at(after_ms + group::STALLED_MS + 1));
    drop(go_on);
    for written in all {
        written.await.unwrap();
    }
    assert!(!lines.is_stalled_at(u64::MAX), "nothing is written any more");
    assert!(begun.try_iter().count() <= 1, "all that came during the first write are the second");
    assert_eq!(assert_whole(&directory).lines, 1 + 40);
}

#[tokio::test]
async fn lines_that_were_handed_over_before_the_end_are_written_and_no_others() {
    let (_top, directory) = place();
    let lines = Lines::to(Arc::new(Journal::open(&directory).unwrap()));
    let before = lines.write(line("1").text());
    lines.end().unwrap().join().unwrap();
    let after = lines.write(line("2").text());
    assert_eq!(acts(&directory), ["admin:journal-started", "submit"]);
    before.await.unwrap();
    assert_eq!(after.await.unwrap_err().label(), "ended");
    assert!(lines.end().is_none());
}

#[tokio::test]
async fn a_group_is_one_chain_and_its_writers_hear_of_it_together() {
    let (_top, directory) = place();
    let journal = Arc::new(Journal::open(&directory).unwrap());
    let lines = Lines::to(journal.clone());
    let numbers: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let all: Vec<_> = numbers.iter().map(|number| lines.write(line(number).text())).collect();
    for written in all {
        written.await.unwrap();
    }
    let requests: Vec<_> =
        records(&directory).into_iter().skip(1).map(|record| record.request).collect();
    assert_eq!(requests, numbers);
    assert_whole(&directory);

    fs::remove_file(first_segment(&directory)).unwrap();
    let failed = lines.write(line("lost").text()).await.unwrap_err();
    assert!(matches!(*failed, JournalError::Removed { .. }), "{failed}");
    assert!(journal.is_failing());
}
