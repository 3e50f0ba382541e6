//! The log and its witnesses: nothing is shown or acknowledged without their quorum, and a witness
//! that remembers more than the log does stops it for good.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::note::NoteKey;
use treering_proto::policy::Policy;
use treering_tests::check::check_log;
use treering_tests::history::{Attempt, History};
use treering_tests::http::Response;
use treering_tests::load::any_submission;
use treering_tests::server::{Log, Server, copy_directory, replace_contents, text};
use treering_tests::submission::{Answer, Face, Signer, Submission, submit};
use treering_tests::witness::{Manner, TestWitness, policy};

use crate::refusals::write;

/// A log with witnesses, and the policy that it is served with.
pub struct Witnessed {
    pub log: Log,
    pub witnesses: Vec<TestWitness>,
    policy: Policy,
    file: PathBuf,
}

impl Witnessed {
    /// A log whose checkpoints `quorum` of `count` witnesses must cosign.
    pub fn new(count: u8, quorum: usize) -> Self {
        Self::of(Log::create(), count, quorum)
    }

    fn of(log: Log, count: u8, quorum: usize) -> Self {
        let witnesses: Vec<TestWitness> =
            (1..=count).map(|n| TestWitness::start(&format!("w{n}"), n)).collect();
        let references: Vec<&TestWitness> = witnesses.iter().collect();
        let written = policy(&references, quorum);
        let file = log.beside("witnesses.policy");
        fs::write(&file, &written).unwrap();
        let policy = Policy::parse(written.as_bytes()).unwrap();
        Self { log, witnesses, policy, file }
    }

    fn flags<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let common = ["--open-writes", "--witness-policy", text(&self.file)];
        let quick = ["--witness-timeout", "2s", "--min-publish-interval", "10ms"];
        [&common[..], &quick, more].concat()
    }

    pub fn serve(&self) -> Server {
        self.log.serve_with(&self.flags(&[]), None)
    }

    fn open(&self, note: &str) -> SignedCheckpoint {
        let mut keys: Vec<NoteKey> = self.policy.witness_keys();
        keys.push(self.log.identity.note_key().clone());
        open_checkpoint(note.as_bytes(), self.log.identity.origin(), &keys).unwrap()
    }

    fn has_quorum(&self, note: &str) -> bool {
        self.policy.is_met(self.open(note).verified())
    }

    fn cosigners(&self, note: &str) -> usize {
        self.open(note).verified().len() - 1
    }
}

/// Waits until what the server says of itself is as wanted; each turn is a request.
///
/// # Panics
/// If that has not happened in a minute: then it never will.
fn wait_until(server: &Server, is_so: impl Fn(&Response) -> bool) -> Response {
    let started = Instant::now();
    let mut connection = server.connect();
    loop {
        let response = connection.get("/readyz").unwrap();
        if is_so(&response) {
            return response;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "still {response:?}");
    }
}

/// The value of a metric, with its labels as they are written.
pub fn metric(server: &Server, name: &str) -> Option<f64> {
    let text = server.get("/metrics").text();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines.next().map(|value| value.parse().unwrap())
}

fn answers(server: &Server, witness: &str, outcome: &str) -> f64 {
    let labels = format!("{{witness=\"{witness}\",outcome=\"{outcome}\"}}");
    metric(server, &format!("treering_witness_requests_total{labels}")).unwrap_or(0.0)
}

/// Submits on a connection and a thread of its own.
fn submit_aside(server: &Server, submission: Submission) -> std::thread::JoinHandle<Answer> {
    let mut connection = server.connect();
    std::thread::spawn(move || submit(&mut connection, &submission).expect("an answer"))
}

#[test]
fn what_is_acknowledged_is_cosigned_and_the_log_is_whole() {
    let all = Witnessed::new(3, 2);
    let mut history = History::new(&all.log.identity);
    let server = all.serve();
    write(&server, &mut history, 40);
    let rebuilt = check_log(&server, &mut history);
    assert_eq!(rebuilt.entries.len(), 40);
    let answer = submit(&mut server.connect(), &any_submission(&Signer::new())).unwrap();
    let Answer::Logged { index, note } = answer else { panic!("{answer:?}") };
    assert_eq!(index, 40);
    assert!(note.starts_with(all.log.identity.origin()), "{note}");
    let newest = server.get("/checkpoint").text();
    assert!(all.has_quorum(&newest), "{newest}");
    assert_eq!(server.get("/readyz").json()["witnessed"], "quorum");
    // Never a head in between, and each witness from the size that it had.
    for witness in &all.witnesses {
        let sizes = witness.asked();
        assert!(sizes.is_sorted(), "{sizes:?}");
    }
    let around = server.get("/api/treering/v1/checkpoints?from=0&limit=1000").json();
    for checkpoint in around["checkpoints"].as_array().unwrap() {
        let note = checkpoint["note"].as_str().unwrap();
        assert!(checkpoint["size"] == "0" || all.has_quorum(note), "{note}");
    }
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn without_a_quorum_nothing_is_published_or_acknowledged_until_it_is_back() {
    let all = Witnessed::new(3, 2);
    let mut history = History::new(&all.log.identity);
    let server = all.serve();
    write(&server, &mut history, 4);
    let before = server.size();
    for witness in &all.witnesses[..2] {
        witness.set_manner(Manner::Down);
    }
    let submission = any_submission(&Signer::new());
    let waiting = submit_aside(&server, submission.clone());
    all.witnesses[2].wait_until_cosigned(before + 1);
    assert_eq!(server.size(), before, "one of three cosigned");
    assert_eq!(server.get(&format!("/api/treering/v1/entries/{before}")).status, 404);
    assert!(!waiting.is_finished(), "nobody was told anything");

    let refused = wait_until(&server, |ready| ready.status == 503).json();
    assert_eq!(refused["label"], "no-quorum");
    let answer = submit(&mut server.connect(), &any_submission(&Signer::new())).unwrap();
    let Answer::Refused(response) = answer else { panic!("{answer:?}") };
    assert_eq!(response.status, 503);
    assert!(response.header("retry-after").is_some());
    assert_eq!(response.header("treering-error"), Some("no-quorum"));

    all.witnesses[0].set_manner(Manner::Honest);
    wait_until(&server, |ready| ready.status == 200);
    assert!(all.has_quorum(&server.get("/checkpoint").text()));
    assert_eq!(server.size(), before + 1);
    drop(waiting.join());
    let again = submit(&mut server.connect(), &submission).unwrap();
    assert!(matches!(again, Answer::Duplicate { index } if index == before), "{again:?}");
    history.attempts.push(Attempt { submission, index: Some(before) });
    check_log(&server, &mut history);
}

/// Without witnesses such a submitter is sent away after 4 s, because one client waits only 5.
#[test]
fn who_submits_through_rekor_v2_waits_for_a_slow_quorum() {
    let all = Witnessed::new(1, 1);
    let policy = text(&all.file);
    let patient = ["--open-writes", "--witness-policy", policy, "--witness-timeout", "10s"];
    let server = all.log.serve_with(&patient, None);
    wait_until(&server, |ready| ready.json()["witnessed"] == "quorum");
    all.witnesses[0].set_manner(Manner::Silent);
    let submission = Submission::hashedrekord(Face::V2, &Signer::new(), b"slow");
    let waiting = submit_aside(&server, submission);
    all.witnesses[0].wait_until_held();
    let held = Instant::now();
    while held.elapsed() < Duration::from_millis(4500) {
        server.get("/livez");
    }
    assert!(!waiting.is_finished(), "it was sent away");
    all.witnesses[0].set_manner(Manner::Honest);
    let answer = waiting.join().unwrap();
    assert!(matches!(answer, Answer::Logged { index: 0, .. }), "{answer:?}");
}

#[test]
fn failing_open_publishes_after_the_timeout_and_says_so() {
    let all = Witnessed::new(2, 2);
    let server = all.log.serve_with(&all.flags(&["--witness-mode", "open"]), None);
    all.witnesses[1].set_manner(Manner::Down);
    let answer = submit(&mut server.connect(), &any_submission(&Signer::new())).unwrap();
    let Answer::Logged { note, .. } = answer else { panic!("{answer:?}") };
    assert!(!note.is_empty());
    let newest = server.get("/checkpoint").text();
    assert_eq!(all.cosigners(&newest), 1, "the one that answered is in the note: {newest}");
    assert_eq!(server.get("/readyz").json()["witnessed"], "missing");
    assert!(metric(&server, "treering_unwitnessed_checkpoints_total").unwrap() >= 1.0);

    // The one that is back completes the note of the same tree.
    all.witnesses[1].set_manner(Manner::Honest);
    wait_until(&server, |ready| ready.json()["witnessed"] == "quorum");
    let completed = server.get("/checkpoint").text();
    assert_eq!(all.open(&completed).head(), all.open(&newest).head());
    assert_eq!(all.cosigners(&completed), 2);
}

#[test]
fn only_lines_that_verify_are_kept_and_counted() {
    let all = Witnessed::new(3, 2);
    all.witnesses[0].set_manner(Manner::Forged);
    all.witnesses[1].set_manner(Manner::OtherText);
    let server = all.log.serve_with(&all.flags(&["--witness-mode", "open"]), None);
    let answer = submit(&mut server.connect(), &any_submission(&Signer::new())).unwrap();
    assert!(matches!(answer, Answer::Logged { .. }), "{answer:?}");
    let note = server.get("/checkpoint").text();
    assert_eq!(all.cosigners(&note), 1, "{note}");
    assert_eq!(note.lines().filter(|line| line.starts_with('\u{2014}')).count(), 2, "{note}");
    assert_eq!(server.get("/readyz").json()["witnessed"], "missing");
    assert!(answers(&server, "w1", "BadSignature") >= 1.0);
    assert!(answers(&server, "w2", "BadSignature") >= 1.0);
}

#[test]
fn a_bare_number_from_a_witness_stops_nothing() {
    let all = Witnessed::new(3, 2);
    all.witnesses[0].set_manner(Manner::Claims(1_000_000));
    let mut history = History::new(&all.log.identity);
    let server = all.serve();
    write(&server, &mut history, 8);
    assert!(all.has_quorum(&server.get("/checkpoint").text()));
    assert_eq!(server.get("/readyz").status, 200);
    assert!(answers(&server, "w1", "Contradiction") >= 1.0, "the operator hears of it");
}

/// An older copy of directory and anchor together: the log itself cannot know, its witnesses do.
#[test]
fn a_log_that_was_rolled_back_latches_before_it_signs() {
    let all = Witnessed::new(3, 2);
    let mut history = History::new(&all.log.identity);
    let server = all.serve();
    write(&server, &mut history, 8);
    assert_eq!(server.terminate().code(), Some(0));
    let older = all.log.beside("older");
    copy_directory(&all.log.data, &older);
    let anchor = fs::read(&all.log.anchor).unwrap();
    let server = all.serve();
    write(&server, &mut history, 8);
    all.witnesses.iter().for_each(|witness| witness.wait_until_cosigned(16));
    assert_eq!(server.terminate().code(), Some(0));

    replace_contents(&older, &all.log.data);
    fs::write(&all.log.anchor, &anchor).unwrap();
    let server = all.serve();
    let latched = wait_until(&server, |ready| ready.json()["label"] == "latched").json();
    assert!(latched["reason"].as_str().unwrap().contains("witness"), "{latched}");
    let answer = submit(&mut server.connect(), &any_submission(&Signer::new())).unwrap();
    assert!(matches!(answer, Answer::Refused(response) if response.status == 503));
    assert_eq!(server.size(), 8, "reads go on");
    assert_eq!(metric(&server, "treering_latched"), Some(1.0));
    for witness in &all.witnesses {
        assert_eq!(witness.asked().last(), Some(&16), "nothing was proposed after the roll-back");
    }
    let ended = server.terminate();
    assert!(ended.stderr.contains("16 entries with this log's signature"), "{}", ended.stderr);
}

/// Public witnesses take and compare checkpoints, and show nothing. A log that was rolled back does
/// not learn why they refuse it, and still signs nothing new.
#[test]
fn a_log_that_was_rolled_back_signs_nothing_new_when_witnesses_only_refuse() {
    let all = Witnessed::new(2, 2);
    all.witnesses.iter().for_each(|witness| witness.set_manner(Manner::Discreet));
    let mut history = History::new(&all.log.identity);
    let server = all.serve();
    write(&server, &mut history, 8);
    assert_eq!(server.terminate().code(), Some(0));
    let older = all.log.beside("older");
    copy_directory(&all.log.data, &older);
    let anchor = fs::read(&all.log.anchor).unwrap();
    let server = all.serve();
    write(&server, &mut history, 8);
    assert_eq!(server.terminate().code(), Some(0));

    replace_contents(&older, &all.log.data);
    fs::write(&all.log.anchor, &anchor).unwrap();
    let before: Vec<usize> = all.witnesses.iter().map(|witness| witness.asked().len()).collect();
    let server = all.serve();
    let unheard = submit_aside(&server, any_submission(&Signer::new()));
    let refused = wait_until(&server, |ready| ready.status == 503).json();
    assert_eq!(refused["label"], "no-quorum");
    assert!(matches!(unheard.join().unwrap(), Answer::Refused(answer) if answer.status == 503));
    assert_eq!(server.size(), 8);
    for (witness, before) in all.witnesses.iter().zip(before) {
        let asked = witness.asked()[before..].to_vec();
        assert!(!asked.is_empty() && asked.iter().all(|size| *size == 8), "{asked:?}");
    }
    assert!(answers(&server, "w1", "Contradiction") >= 1.0);
}

#[test]
fn a_witnessed_log_is_not_served_without_witnesses_by_mistake() {
    let all = Witnessed::new(1, 1);
    let server = all.serve();
    wait_until(&server, |ready| ready.json()["witnessed"] == "quorum");
    assert_eq!(server.terminate().code(), Some(0));
    let ended = all.log.refused();
    assert_eq!(ended.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("--without-witnesses"), "{}", ended.stderr);
    let server = all.log.serve_with(&["--open-writes", "--without-witnesses"], None);
    assert_eq!(server.get("/readyz").json()["witnessed"], "not-asked");
    assert_eq!(server.terminate().code(), Some(0));
    assert_eq!(all.log.serve().get("/readyz").status, 200, "and from then on without saying so");
}

/// Two servers with one key: the one that comes second to a witness stops.
#[test]
fn of_two_copies_that_both_serve_one_latches() {
    let all = Witnessed::new(2, 2);
    let mut history = History::new(&all.log.identity);
    let server = all.serve();
    write(&server, &mut history, 8);
    assert_eq!(server.terminate().code(), Some(0));
    let (copy, copied_anchor) = (all.log.beside("copy"), all.log.beside("copy.anchor"));
    copy_directory(&all.log.data, &copy);
    fs::copy(&all.log.anchor, &copied_anchor).unwrap();
    let claimed = treering_tests::server::run(&[
        "claim",
        "--data",
        text(&copy),
        "--anchor",
        text(&copied_anchor),
    ]);
    assert!(claimed.status.success(), "{claimed:?}");

    let (first, second) = (all.serve(), Server::start(&copy, &all.flags(&[]), None).unwrap());
    write(&first, &mut history, 4);
    let answer = submit_aside(&second, any_submission(&Signer::new()));
    wait_until(&second, |ready| ready.json()["label"] == "latched");
    assert!(matches!(answer.join().unwrap(), Answer::Refused(response) if response.status == 503));
    assert_eq!(first.get("/readyz").status, 200, "the first goes on");
    assert_eq!(second.size(), 8, "the second never showed its own tree");
}

#[test]
fn a_head_that_was_fenced_and_never_cosigned_is_published_after_a_restart() {
    let all = Witnessed::new(2, 2);
    let mut history = History::new(&all.log.identity);
    let server = all.serve();
    write(&server, &mut history, 4);
    all.witnesses[1].set_manner(Manner::Silent);
    let submission = any_submission(&Signer::new());
    let mut connection = server.connect();
    let sent = submission.clone();
    let unheard = std::thread::spawn(move || submit(&mut connection, &sent).is_err());
    all.witnesses[0].wait_until_cosigned(5);
    server.kill();
    assert!(unheard.join().unwrap(), "the submitter heard nothing");

    let server = all.serve();
    assert_eq!(server.size(), 4, "what was published is shown, and nothing more");
    let answer = submit_aside(&server, submission.clone());
    all.witnesses[1].set_manner(Manner::Honest);
    wait_until(&server, |ready| ready.json()["treeSize"] == "5");
    assert!(all.has_quorum(&server.get("/checkpoint").text()));
    match answer.join().unwrap() {
        Answer::Duplicate { index } => assert_eq!(index, 4),
        Answer::Refused(response) => {
            assert_eq!(response.header("treering-error"), Some("not-published"));
        }
        other => panic!("{other:?}"),
    }
    let answer = submit(&mut server.connect(), &submission).unwrap();
    assert!(matches!(answer, Answer::Duplicate { index: 4 }), "{answer:?}");
    history.attempts.push(Attempt { submission, index: Some(4) });
    check_log(&server, &mut history);
}

#[test]
fn policies_that_cannot_work_are_refused_at_start() {
    let all = Witnessed::new(1, 1);
    let own = all.log.identity.note_key().to_vkey();
    let other = Log::create().identity.note_key().to_vkey();
    let line = all.witnesses[0].policy_line();
    let no_url = format!("witness w1 {}\nquorum w1\n", all.witnesses[0].note_key().to_vkey());
    for (policy, words) in [
        ("quorum".to_owned(), "line 1"),
        (format!("{line}quorum none\n"), "quorum none"),
        (format!("{}quorum w1\n", line.replace("http://", "ftp://")), "URL"),
        (no_url, "no witness with a URL"),
        (format!("log {other}\n{line}quorum w1\n"), "none of them"),
        (
            format!("log {own}\n{line}witness w9 {}\ngroup g all w1 w9\nquorum g\n", {
                TestWitness::start("w9", 9).note_key().to_vkey()
            }),
            "cannot be met",
        ),
    ] {
        fs::write(&all.file, policy).unwrap();
        let ended = treering_tests::server::refused(&all.log.data, &all.flags(&[]));
        assert_eq!(ended.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "no {words:?} in {}", ended.stderr);
    }
}

/// The time that the log's own line gives a checkpoint, and its size.
fn own_date(log: &Log, note: &str) -> (u64, u64) {
    let vkey = fs::read_to_string(log.data.join("ml-dsa.vkey")).unwrap();
    let keys = [log.identity.note_key().clone(), NoteKey::parse_vkey(vkey.trim()).unwrap()];
    let opened = open_checkpoint(note.as_bytes(), log.identity.origin(), &keys).unwrap();
    let times: Vec<u64> = opened.verified().iter().filter_map(|signed| signed.time).collect();
    let [time] = times[..] else { panic!("one dated line: {note}") };
    (time, opened.head().size.get())
}

#[test]
fn a_log_with_an_ml_dsa_key_dates_its_own_checkpoints_and_never_goes_back() {
    let log = Log::create_with(&["--ml-dsa"]);
    let mut history = History::new(&log.identity);
    let mut dates = Vec::new();
    for round in 0..3 {
        let server = log.serve();
        dates.push(own_date(&log, &server.get("/checkpoint").text()));
        write(&server, &mut history, 4);
        dates.push(own_date(&log, &server.get("/checkpoint").text()));
        assert_eq!(dates.last().unwrap().1, 4 * (round + 1));
        if round == 1 {
            server.kill();
        } else {
            assert_eq!(server.terminate().code(), Some(0));
        }
    }
    assert!(dates.is_sorted(), "neither times nor sizes go back: {dates:?}");
}

/// While a head waits for its witnesses, later entries get their times. A date after theirs would
/// say that they were not logged yet.
#[test]
fn a_head_that_is_not_the_newest_is_not_dated_after_later_entries() {
    let all = Witnessed::of(Log::create_with(&["--ml-dsa"]), 1, 1);
    let policy = text(&all.file);
    let patient = ["--open-writes", "--witness-policy", policy, "--witness-timeout", "10s"];
    let server = all.log.serve_with(&patient, None);
    wait_until(&server, |ready| ready.json()["witnessed"] == "quorum");
    all.witnesses[0].set_manner(Manner::Silent);
    let signer = Signer::new();
    let hashedrekord = |text: &[u8]| Submission::hashedrekord(Face::V1, &signer, text);
    let first = submit_aside(&server, hashedrekord(b"first"));
    let depth = |count: f64| metric(&server, "treering_pool_depth") == Some(count);
    all.witnesses[0].wait_until_held();
    let second = submit_aside(&server, hashedrekord(b"second"));
    while !depth(2.0) {}
    // Past the second in which the second entry was sequenced.
    let sequenced = std::time::SystemTime::now();
    while sequenced.elapsed().unwrap().as_millis() < 2100 {
        server.get("/livez");
    }
    all.witnesses[0].set_manner(Manner::Honest);
    assert!(matches!(first.join().unwrap(), Answer::Logged { index: 0, .. }));
    assert!(matches!(second.join().unwrap(), Answer::Logged { index: 1, .. }));
    let kept = server.get("/api/treering/v1/checkpoints?around=1").json();
    let (date, size) = own_date(&all.log, kept["before"]["note"].as_str().unwrap());
    assert_eq!(size, 1, "the first head was published alone");
    let entry = server.get("/api/v1/log/entries?logIndex=1").json();
    let entry = entry.as_object().unwrap().values().next().unwrap();
    let time = entry["integratedTime"].as_u64().unwrap();
    assert!(date <= time, "dated {date}, after {time}");
}
