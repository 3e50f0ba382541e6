//! The golden data directory: written once by the first version with this format, opened by every
//! version after it.
//!
//! `tests/golden/data-1` is never changed. It was made by the second test here, which makes such a
//! directory again on each run, to show that it can:
//!
//! ```text
//! TREERING_GOLDEN=DIR cargo test -p treering-tests --test e2e golden
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use treering_proto::identity::LogIdentity;
use treering_tests::check::check_log;
use treering_tests::history::{Attempt, History};
use treering_tests::model::statement;
use treering_tests::server::{Log, Server, all_files, copy_directory, refused, run, text};
use treering_tests::submission::{Answer, Face, Signer, Submission, submit};

/// What the golden directory holds: never changed.
const SIZE: u64 = 6;
const ROOT: &str = "e41bfafc9fcd852961210052d0ee529d54029e171e202dbadecf1cef19234294";

/// Bytes of all its files together.
const BYTES_MAX: usize = 200_000;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/data-1")
}

/// A copy of the golden directory in `top` with its anchor, claimed: an owner record holds an
/// inode.
fn open_copy(top: &Path) -> PathBuf {
    let (data, anchor) = (top.join("log"), top.join("log.anchor"));
    copy_directory(&golden(), &data);
    fs::rename(data.join("anchor-beside-it"), &anchor).unwrap();
    fs::create_dir_all(data.join("keys")).unwrap();
    let claim = ["claim", "--data", text(&data), "--anchor", text(&anchor)];
    let claimed = run(&claim);
    assert_eq!(claimed.status.code(), Some(0), "{}", String::from_utf8_lossy(&claimed.stderr));
    data
}

#[test]
fn the_golden_directory_of_the_first_version_opens_verifies_and_grows() {
    let files = all_files(&golden());
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < BYTES_MAX, "the golden directory has {bytes} bytes");

    let top = tempfile::tempdir().unwrap();
    let data = open_copy(top.path());
    let document = fs::read(data.join("identity")).unwrap();
    let mut history = History::new(&LogIdentity::open(&document).unwrap());
    let server = Server::start(&data, &["--open-writes"], None).unwrap();
    let info = server.get("/api/v1/log").json();
    assert_eq!((&info["treeSize"], &info["rootHash"]), (&SIZE.into(), &ROOT.into()));
    check_content(&server);
    check_notes(&server, &mut history);
    let submission = Submission::hashedrekord(Face::V1, &Signer::new(), b"a new one");
    assert!(matches!(
        submit(&mut server.connect(), &submission),
        Ok(Answer::Logged { index: SIZE, .. })
    ));
    assert_eq!(server.terminate().code(), Some(0));
    let checked = run(&["fsck", "--data", text(&data)]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));

    fs::write(data.join("FORMAT"), "treering data 2\n").unwrap();
    let ended = refused(&data, &[]);
    assert_eq!(ended.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("treering data 2") && ended.stderr.contains("use that version"));
    fs::write(data.join("FORMAT"), "treering data 1\n").unwrap();
    raise_row_format(&data);
    let ended = refused(&data, &[]);
    assert_eq!(ended.code(), Some(6), "{}", ended.stderr);
    assert!(ended.stderr.contains("format 2") && ended.stderr.contains("use the version"));
}

/// Entries of each kind, what they are found by, and their statements.
fn check_content(server: &Server) {
    let mut kinds = Vec::new();
    for index in 0..SIZE {
        let entry = server.get(&format!("/api/treering/v1/entries/{index}")).json();
        let kind = &entry["kindVersion"];
        kinds.push(format!("{}/{}", kind["kind"], kind["version"]).replace('"', ""));
        let found = server.get(&format!("/api/v1/log/entries?logIndex={index}"));
        assert_eq!(found.status, 200, "{}", found.text());
    }
    let expected = ["hashedrekord/0.0.1", "hashedrekord/0.0.2", "dsse/0.0.1", "dsse/0.0.2"];
    assert_eq!(kinds[..4], expected);
    let found = server.get("/api/treering/v1/search?subject-name=golden").json();
    assert_eq!(found["entries"].as_array().map(Vec::len), Some(4), "{found}");
}

/// The published notes, the first ones too.
fn check_notes(server: &Server, history: &mut History) {
    let kept = server.get("/api/treering/v1/checkpoints?from=0&limit=1000").json();
    let kept = kept["checkpoints"].as_array().unwrap();
    assert!(kept.len() >= 2, "there are at least two notes");
    for notes in kept {
        for name in ["note", "v1Note"] {
            history.saw(notes[name].as_str().unwrap());
        }
    }
    history.saw_newest(&server.get("/checkpoint").text());
}

/// Another version of the rows, as a later program may write it.
fn raise_row_format(data: &Path) {
    let shard = fs::read_dir(data.join("shards")).unwrap().flatten().next().unwrap().path();
    let options = rocksdb::Options::default();
    let columns = rocksdb::DB::list_cf(&options, &shard).unwrap();
    let db = rocksdb::DB::open_cf(&options, &shard, columns).unwrap();
    db.put_cf(db.cf_handle("meta").unwrap(), b"format", 2_u32.to_be_bytes()).unwrap();
}

#[test]
fn a_golden_directory_can_be_made_and_opened() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let signer = Signer::new();
    let submissions = [
        Submission::hashedrekord(Face::V1, &signer, b"golden 0"),
        Submission::hashedrekord(Face::V2, &signer, b"golden 1"),
        Submission::dsse(Face::V1, &signer, &statement("golden", 2)),
        Submission::dsse(Face::V2, &signer, &statement("golden", 3)),
        Submission::dsse(Face::V1, &signer, &statement("golden", 4)),
        Submission::dsse(Face::V1, &signer, &statement("golden", 5)),
    ];
    for part in submissions.chunks(3) {
        let server = log.serve();
        for submission in part {
            let answer = submit(&mut server.connect(), submission).unwrap();
            let Answer::Logged { index, note } = answer else { panic!("not taken: {answer:?}") };
            history.saw(&note);
            history.add(vec![Attempt { submission: submission.clone(), index: Some(index) }]);
        }
        assert_eq!(server.terminate().code(), Some(0));
    }
    let server = log.serve();
    check_content(&server);
    let head = check_log(&server, &mut history).head;
    assert_eq!(server.terminate().code(), Some(0));
    if let Some(out) = std::env::var_os("TREERING_GOLDEN") {
        let out = PathBuf::from(out);
        copy_directory(&log.data, &out);
        fs::copy(&log.anchor, out.join("anchor-beside-it")).unwrap();
        for name in ["LOCK", "ballast"] {
            let _ = fs::remove_file(out.join(name));
        }
        trim(&out.join("shards"));
        println!("ROOT {} SIZE {}", head.root, head.size);
    }
}

/// Removes what RocksDB writes about itself and does not need to open.
fn trim(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            trim(&entry.path());
        } else if name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}
