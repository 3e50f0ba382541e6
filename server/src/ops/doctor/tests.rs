use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const QUESTION: Question = Question { name: "x", why: "y" };

fn outcome(checks: &[Check], name: &str) -> Outcome {
    checks.iter().find(|check| check.name == name).map(|check| check.outcome).unwrap()
}

fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn file_systems_that_keep_nothing_are_refused() {
    let judge = |magic| disk::judge(magic, "/x".as_ref(), QUESTION).outcome;
    for local in [0xef53, 0x5846_5342] {
        assert_eq!(judge(local), Outcome::Ok);
    }
    for bad in [0x6969, 0x794c_7630, 0x0102_1994, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546] {
        assert_eq!(judge(bad), Outcome::Fail, "{bad:x}");
    }
    assert_eq!(judge(0x1234), Outcome::Warn);
}

#[test]
fn the_machine_is_judged_by_what_it_says() {
    assert_eq!(machine::descriptors(None).outcome, Outcome::Ok);
    assert_eq!(machine::descriptors(Some(65_536)).outcome, Outcome::Ok);
    assert_eq!(machine::descriptors(Some(1024)).outcome, Outcome::Warn);
    assert_eq!(machine::clock(Some("yes\n")).outcome, Outcome::Ok);
    assert_eq!(machine::clock(Some("no\n")).outcome, Outcome::Warn);
    assert_eq!(machine::clock(None).outcome, Outcome::Warn);
}

#[test]
fn plain_http_beyond_this_machine_is_told_of() {
    let check = |address: &str, tls| {
        network::encryption("encryption", address.parse().unwrap(), tls).outcome
    };
    assert_eq!(check("127.0.0.1:3000", false), Outcome::Ok);
    assert_eq!(check("[::1]:3000", false), Outcome::Ok);
    assert_eq!(check("0.0.0.0:3000", false), Outcome::Warn);
    assert_eq!(check("0.0.0.0:3000", true), Outcome::Ok);
}

#[test]
fn files_that_others_may_read_or_change_are_told_of() {
    let top = tempfile::tempdir().unwrap();
    let (data, anchor) = (top.path().join("log"), top.path().join("log.anchor"));
    fs::create_dir_all(data.join("keys")).unwrap();
    let key = data.join("keys/note.pem");
    fs::write(&key, "key").unwrap();
    fs::write(&anchor, "anchor").unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&data).unwrap());
    let owner = format!("treering owner 1\ninode {inode}\nanchor {}\n", anchor.display());
    fs::write(data.join("owner"), &owner).unwrap();
    assert_eq!(files::remembered_anchor(&data), Some(anchor.clone()));
    set_mode(&data, 0o700);
    set_mode(&key, 0o600);
    set_mode(&anchor, 0o600);
    let examine = || {
        let mut checks = Vec::new();
        files::examine(&data, &anchor, &mut checks);
        checks
    };
    let checks = examine();
    for name in ["owner", "directory-mode", "key-mode", "anchor"] {
        assert_eq!(outcome(&checks, name), Outcome::Ok, "{name}");
    }
    assert_eq!(outcome(&checks, "anchor-volume"), Outcome::Warn);
    assert!(!is_failed(&checks));

    set_mode(&data, 0o750);
    assert_eq!(outcome(&examine(), "directory-mode"), Outcome::Fail);
    set_mode(&key, 0o640);
    assert_eq!(outcome(&examine(), "key-mode"), Outcome::Fail);
    set_mode(&anchor, 0o660);
    assert_eq!(outcome(&examine(), "anchor"), Outcome::Fail);
    fs::remove_file(&anchor).unwrap();
    assert_eq!(outcome(&examine(), "anchor"), Outcome::Fail);
    fs::write(data.join("owner"), owner.replace("inode ", "inode 1")).unwrap();
    assert_eq!(outcome(&examine(), "owner"), Outcome::Fail);
    assert!(is_failed(&examine()));
}

#[test]
fn an_authority_that_ends_is_told_of_in_time() {
    const DAY: u64 = 24 * 60 * 60;
    let authority = crate::timestamp::tests::authority(1_700_000_000);
    let last = authority.not_after();
    let check = |now, is_off| timestamps(Ok(Some(&authority)), is_off, now).outcome;
    assert_eq!(check(authority.not_before(), false), Outcome::Ok);
    assert_eq!(check(last - 90 * DAY, false), Outcome::Ok);
    assert_eq!(check(last - 90 * DAY + 1, false), Outcome::Warn);
    assert_eq!(check(last, false), Outcome::Warn);
    assert_eq!(check(last + 1, false), Outcome::Fail);
    assert_eq!(check(authority.not_before() - 1, false), Outcome::Fail);
    assert_eq!(check(last + 1, true), Outcome::Ok, "nobody asks it");
    assert_eq!(timestamps(Ok(None), false, last).outcome, Outcome::Ok);
    let broken = timestamps(Err(&"another key".to_owned()), false, last);
    assert_eq!((broken.outcome, broken.what.as_str()), (Outcome::Fail, "another key"));
}

#[test]
fn backups_that_are_old_or_missing_are_told_of() {
    let top = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(files::backups(top.path(), day).outcome, Outcome::Fail);
    let backup = fs::File::create(top.path().join("backup")).unwrap();
    assert_eq!(files::backups(top.path(), day).outcome, Outcome::Ok);
    backup.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(files::backups(top.path(), day).outcome, Outcome::Warn);
    assert_eq!(files::backups(&top.path().join("missing"), day).outcome, Outcome::Fail);
}

#[tokio::test]
async fn a_directory_without_a_log_fails_and_the_machine_is_still_looked_at() {
    let top = tempfile::tempdir().unwrap();
    let doctor = Doctor {
        data: top.path().to_owned(),
        anchor: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        read_listen: None,
        write_faces: WriteFaces::ALL,
        free_disk_min: 0,
        witness_policy: None,
        tls: None,
        settings: Err("nonsense".to_owned()),
        write_control: WriteControl::Open,
        backups: None,
        timestamps_off: false,
    };
    let checks = examine(&doctor).await;
    assert_eq!(outcome(&checks, "data-directory"), Outcome::Fail);
    assert_eq!(outcome(&checks, "settings"), Outcome::Fail);
    assert_eq!(outcome(&checks, "listen"), Outcome::Ok);
    assert_eq!(outcome(&checks, "write-control"), Outcome::Warn);
    assert_eq!(outcome(&checks, "witness"), Outcome::Warn);
    for check in &checks {
        assert!(!check.what.is_empty() && !check.why.is_empty(), "{check:?}");
        assert_eq!(check.remedy.is_empty(), check.outcome == Outcome::Ok, "{check:?}");
    }
}
