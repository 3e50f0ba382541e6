//! `restore --as-new-log`: another log begins with the entries of a backup.

use std::fs;

use treering_tests::check::check_log;
use treering_tests::history::History;
use treering_tests::server::{Server, text};

use crate::refusals::write;
use crate::restore::{INTEGRITY, Lost, USAGE, dies, fails, works};

#[test]
fn a_new_log_begins_with_the_old_entries_under_another_name() {
    let lost = Lost::new(&[]);
    let data = lost.log.beside("second");
    let url =
        |url| ["restore", text(&lost.newer), "--as-new-log", "--url", url, "--data", text(&data)];
    fails(&url("https://127.0.0.1"), USAGE, "another host name");
    assert!(!data.exists());
    works(&url("https://second.corp"));
    let document = fs::read(data.join("identity")).unwrap();
    let identity = treering_proto::identity::LogIdentity::open(&document).unwrap();
    assert_ne!(identity.note_key().public_key(), lost.log.identity.note_key().public_key());
    assert_ne!(identity.tree_id(), lost.log.identity.tree_id());
    let mut history = History::new(&identity);
    history.add(lost.history.attempts.clone());
    let server = Server::start(&data, &["--open-writes"], None).unwrap();
    let old = Server::start(&lost.old, &[], None).unwrap();
    check_log(&server, &mut history);
    for index in [0, 17, 39] {
        let time = |server: &Server| {
            let entry = server.get(&format!("/api/v1/log/entries?logIndex={index}")).json();
            entry.as_object().unwrap().values().next().unwrap()["integratedTime"].clone()
        };
        assert_eq!(time(&server), time(&old), "the time is the old one");
    }
    write(&server, &mut history, 20);
    check_log(&server, &mut history);
}

#[test]
fn a_new_log_that_was_not_finished_says_what_to_remove() {
    let lost = Lost::new(&[]);
    let (data, anchor) = (lost.log.beside("second"), lost.log.beside("second.anchor"));
    let new = ["--as-new-log", "--url", "https://second.corp", "--data", text(&data)];
    let command = |backup| [&["restore", backup][..], &new].concat();
    let works_once = command(text(&lost.newer));
    for flag in [["--keys", text(&lost.keys)], ["--checkpoint", text(&lost.notes[0])]] {
        fails(&[&works_once[..], &flag].concat(), USAGE, flag[0]);
    }
    let cut = lost.log.beside("cut.backup");
    let whole = fs::read(&lost.newer).unwrap();
    fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    fails(&command(text(&cut)), INTEGRITY, &format!("remove {}", text(&data)));
    fails(&works_once, USAGE, "remove both");
    fs::remove_dir_all(&data).unwrap();
    dies(&works_once, "restore-end:1");
    fails(&works_once, USAGE, "remove both");
    fs::remove_dir_all(&data).unwrap();
    assert!(!anchor.exists());
    works(&works_once);
}
