//! Two servers with one key: a data directory that was copied together with its anchor, and claimed
//! for the copy. Neither server can know; whoever sees both does.

use std::fs;
use std::sync::Arc;

use treering_tests::history::History;
use treering_tests::lying_log::Keys;
use treering_tests::server::{Log, Server, copy_directory, run, text};

use super::{ALARM, PROVEN_LOG, Person};
use crate::refusals::write;

fn url(server: &Server) -> String {
    format!("http://{}", server.address)
}

/// Copies the log and its anchor, and makes the copy one that is served.
fn copied(log: &Log) -> Server {
    let (copy, anchor) = (log.beside("copy"), log.beside("copy.anchor"));
    copy_directory(&log.data, &copy);
    fs::copy(&log.anchor, &anchor).unwrap();
    let claimed = run(&["claim", "--data", text(&copy), "--anchor", text(&anchor)]);
    assert!(claimed.status.success(), "{claimed:?}");
    Server::start(&copy, &["--open-writes"], None).expect("a claimed copy is served")
}

#[test]
fn two_servers_with_one_key_are_noticed_by_whoever_sees_both() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    let keys = Arc::new(Keys::stolen(&log, 0));
    write(&server, &mut history, 8);
    let here = Person::new(&keys, &url(&server));
    here.finds_nothing(&[]);
    assert_eq!(server.terminate().code(), Some(0));
    let second = copied(&log);
    let first = log.serve();
    here.asks(&url(&first));
    let there = Person::new(&keys, &url(&second));

    // Each is a good log to those who see no other.
    here.sign("one").passes();
    there.sign("two").passes();
    for (person, name) in [(&here, "one"), (&there, "two")] {
        person.verify(name, &["--online"]).passes();
        person.finds_nothing(&[]);
        person.run(&["audit"]).passes();
    }

    // They compare what they saw; one gets a bundle of the other; one is led to the other server.
    here.compares(&there, "forked");
    here.takes_evidence("fork-size", PROVEN_LOG);
    let between = [url(&first), url(&second)];
    let said = here.run(&["compare", &between[0], &between[1]]);
    assert_eq!((said.code, said.json()["relation"].as_str()), (Some(ALARM), Some("forked")));
    here.takes_evidence("fork-size", PROVEN_LOG);
    here.receive(&there, "two");
    here.verify("two", &[]).fails(ALARM, "consistency");
    here.takes_evidence("fork-size", PROVEN_LOG);
    let mut other = History::new(&log.identity);
    write(&second, &mut other, 4);
    here.asks(&url(&second));
    here.log_info().ends(ALARM);
    here.takes_evidence("fork-prefix", PROVEN_LOG);
    here.finds(&[], "fork", None);
    here.takes_evidence("fork-prefix", PROVEN_LOG);
    here.verify("one", &["--online"]).fails(ALARM, "consistency");
    here.takes_evidence("fork-prefix", PROVEN_LOG);

    here.asks(&url(&first));
    here.log_info().passes();
    here.verify("one", &["--online"]).passes();
    assert_eq!(first.terminate().code(), Some(0));
}
