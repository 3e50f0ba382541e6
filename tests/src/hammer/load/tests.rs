use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use tokio::runtime::Runtime;

use super::*;
use crate::hammer::face::Face;
use crate::hammer::kind::Kind;
use crate::hammer::maker::{Recipe, make_all};
use crate::hammer::requests::Question;
use crate::lying_log::{Answer, Lie, LyingLog, log_of};

/// Longer than any of these loads.
const LONG: Duration = Duration::from_secs(600);

fn run(load: Load) -> anyhow::Result<Measured> {
    Runtime::new().unwrap().block_on(load.run())
}

fn submissions(count: usize) -> Requests {
    let recipe = Recipe { kind: Kind::P256, face: Face::RekorV2, per_key: 1 };
    Requests::submit(Face::RekorV2, Arc::new(make_all(recipe, count, 2)))
}

fn questions() -> Requests {
    Requests::ask(Arc::new(vec![Question::Get("/x".to_owned())]))
}

fn kinds(measured: &Measured) -> Vec<(String, usize)> {
    measured.failures.iter().map(|(kind, counted)| (kind.to_string(), counted.count)).collect()
}

#[test]
fn a_closed_loop_sends_each_request_once_and_ends_when_they_are_used_up() {
    let log = LyingLog::show(log_of(0).1);
    let load = Load::closed(Target::new(log.address()), 4, submissions(20));
    let answered = load.answered.clone();
    let measured = run(Load { time: LONG, kept_one_in: 1, ..load }).unwrap().faultless().unwrap();
    assert_eq!((measured.answers, log.scene().branch.size()), (20, 20));
    assert_eq!(answered.load(Ordering::Relaxed), 20);
    let mut numbers: Vec<usize> = measured.kept.iter().map(|kept| kept.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    assert!(measured.time < LONG && measured.time == measured.whole);
}

#[test]
fn an_open_loop_counts_from_when_each_request_was_due() {
    let log = LyingLog::show(log_of(0).1);
    let schedule = Schedule::new(1000).unwrap();
    let load = Load::closed(Target::new(log.address()), 4, submissions(30));
    let load = Load { pace: Pace::Open(schedule), time: LONG, kept_one_in: 3, ..load };
    let measured = run(load).unwrap().faultless().unwrap();
    assert_eq!((measured.answers, measured.kept.len()), (30, 10));
    assert_eq!(measured.time, schedule.due(30), "it ends when the last one was due");
    for kept in &measured.kept {
        assert_eq!(kept.sample.due, schedule.due(kept.number));
        assert!(kept.sample.end >= kept.sample.due, "nothing is sent before it is due");
    }
}

#[test]
fn an_open_loop_sends_no_more_than_is_due_in_its_time() {
    let log = LyingLog::show(log_of(1).1);
    log.tell(Lie::Instead("/x".to_owned(), Answer::ok("text/plain", "x")));
    let schedule = Schedule::new(1000).unwrap();
    let load = Load::closed(Target::new(log.address()), 2, questions());
    let time = Duration::from_millis(20);
    let load = Load { pace: Pace::Open(schedule), warm_up: time, time, ..load };
    let measured = run(load).unwrap().faultless().unwrap();
    assert_eq!((measured.answers, log.asked().len(), measured.time), (40, 40, time));
}

#[test]
fn a_refusal_is_counted_under_its_status_and_label_and_nothing_is_tried_again() {
    let log = LyingLog::show(log_of(1).1);
    log.tell(Lie::Instead("/x".to_owned(), Answer::error(503, "overloaded", "busy")));
    let load = Load::closed(Target::new(log.address()), 3, questions().at_most(10));
    let measured = run(Load { time: LONG, ..load }).unwrap();
    assert_eq!(kinds(&measured), [("503 overloaded".to_owned(), 10)]);
    assert_eq!((measured.answers, log.asked().len()), (0, 10));
    let (_, counted) = measured.failures.iter().next().unwrap();
    assert!(counted.said.contains("busy"), "{}", counted.said);
    assert!(measured.faultless().is_err());
}

#[test]
fn a_server_that_never_answers_times_out_each_request_and_ends_the_load() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::new(silent.local_addr().unwrap());
    let limit = Duration::from_millis(50);
    let load = Load::closed(target.clone(), 2, questions().at_most(20));
    let schedule = Schedule::new(1000).unwrap();
    let open = Load { pace: Pace::Open(schedule), answer_time_max: limit, ..load };
    let measured = run(open).unwrap();
    assert_eq!(measured.failures.total(), 20, "all are accounted for, sent or not");
    for (kind, _) in kinds(&measured) {
        assert!(["timeout", "unsent"].contains(&&*kind), "{kind}");
    }
    let load = Load::closed(target, 2, questions().at_most(1000));
    let measured = run(Load { answer_time_max: limit, time: LONG, ..load }).unwrap();
    assert_eq!(kinds(&measured), [("timeout".to_owned(), 6)], "each connection gives up");
}

/// A server that answers each connection once with `answer`, or hangs up where there is none.
fn once_each(answer: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                head.push(byte[0]);
            }
            let _ = stream.write_all(answer.unwrap_or_default().as_bytes());
        }
    });
    address
}

#[test]
fn a_server_that_hangs_up_breaks_requests_until_the_connection_gives_up() {
    let load = Load::closed(Target::new(once_each(None)), 1, questions().at_most(1000));
    let measured = run(Load { time: LONG, ..load }).unwrap();
    assert_eq!(kinds(&measured), [("broken".to_owned(), 3)]);
}

#[test]
fn a_connection_that_the_server_ended_after_an_answer_is_opened_again() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx";
    let load = Load::closed(Target::new(once_each(Some(answer))), 1, questions().at_most(5));
    let measured = run(Load { time: LONG, ..load }).unwrap().faultless().unwrap();
    assert_eq!(measured.answers, 5);
}

#[test]
fn loads_that_cannot_be_measured_say_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = Target::new(listener.local_addr().unwrap());
    drop(listener);
    let error = run(Load::closed(gone, 1, questions())).unwrap_err();
    assert!(error.to_string().contains("cannot connect"), "{error}");

    let log = LyingLog::show(log_of(0).1);
    let load = |requests| Load::closed(Target::new(log.address()), 1, requests);
    let error = run(load(Requests::ask(Arc::default()))).unwrap_err();
    assert!(error.to_string().contains("nothing to ask"), "{error}");
    let error = run(Load { warm_up: LONG, ..load(submissions(2)) }).unwrap_err();
    assert!(error.to_string().contains("warming up"), "{error}");
}
