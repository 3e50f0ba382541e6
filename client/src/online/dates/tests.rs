use tempfile::TempDir;
use treering_proto::checkpoint::open_checkpoint;
use treering_proto::encoding::to_base64;
use treering_proto::proof::check_inclusion;
use treering_proto::tree::{LeafIndex, TreeSize};

use super::*;
use crate::online::{Asked, Questions};
use crate::report::{Exit, Outcome};
use crate::state::StateDirectory;
use crate::test_log::{Clocks, Kept, Served, TestLog};
use crate::verify::Newest;
use treering_proto::evidence::EvidenceKind;

const INDEX: u64 = 5;

/// A log of 9 entries whose trees one witness cosigned, and a client that asks about entry 5.
struct Client {
    served: Served,
    trust: TrustFile,
    entry: ProvenEntry,
    promised: Option<evidence::Promise>,
    dir: TempDir,
}

impl Client {
    fn new() -> Self {
        let mut log = TestLog::filled(1, 9);
        log.clocks = Some(Clocks::new(700));
        log.witnesses = vec![(5, 800)];
        let served = log.clone().serve();
        let trust = log.trust(&served.url, Vec::new(), &[5]);
        let entry = ProvenEntry {
            index: LeafIndex::new(INDEX).unwrap(),
            leaf: hash_leaf(&log.bodies[INDEX as usize]),
            checkpoint: open(&checkpoint(&log, 9, &[(5, 800)]), &trust),
            witnessed_by: None,
        };
        Self { served, trust, entry, promised: None, dir: TempDir::new().unwrap() }
    }

    /// The log shows these as kept.
    fn keep(&self, kept: &[(u64, String)]) {
        let kept = kept.iter().map(|(size, note)| Kept { size: *size, note: note.clone() });
        self.served.log.lock().unwrap().kept = kept.collect();
    }

    /// The note of a true prefix of the log, cosigned at `time`.
    fn note(&self, size: u64, time: u64) -> String {
        checkpoint(&self.served.log.lock().unwrap(), size, &[(5, time)])
    }

    async fn ask(&self) -> Asked {
        let transport = self.served.transport();
        let log = LogReader::new(&transport, &self.trust);
        let state = StateDirectory::new(self.dir.path().join("state"));
        let promised = self.promised.clone();
        let entry = Some(&self.entry);
        crate::online::ask(&log, &self.trust, &state, entry, promised, Questions::Dates).await
    }

    fn asked_for_kept(&self) -> bool {
        self.served.asked().iter().any(|request| request.contains("/checkpoints?around=5"))
    }
}

fn checkpoint(log: &TestLog, size: u64, witnesses: &[(u8, u64)]) -> String {
    log.checkpoint(TreeSize::new(size).unwrap(), witnesses)
}

fn open(note: &str, trust: &TrustFile) -> SignedCheckpoint {
    open_checkpoint(note.as_bytes(), "log.example", &trust.note_keys()).unwrap()
}

#[tokio::test]
async fn kept_checkpoints_on_both_sides_and_the_promise_are_shown() {
    let client = Client::new();
    // Another of 5 entries ends right before the entry, one of 6 right after it.
    client.keep(&[(3, client.note(3, 600)), (5, client.note(5, 650)), (6, client.note(6, 710))]);
    let asked = client.ask().await;
    let size = |head: &Option<SignedCheckpoint>| head.as_ref().map(|head| head.head().size.get());
    assert_eq!((size(&asked.shown.before), size(&asked.shown.after)), (Some(5), Some(6)));
    assert_eq!(asked.shown.promise.as_ref().map(|promise| promise.time), Some(700));
    let after = asked.shown.after.as_ref().unwrap().head();
    let proof = &asked.shown.after_proof;
    check_inclusion(client.entry.index, after, client.entry.leaf, proof).unwrap();
    assert_eq!(asked.shown.remarks, [""; 0]);
    assert!(matches!(&asked.shown.newest, Newest::Followed(head) if head.head().size.get() == 9));
    assert_eq!(asked.report.outcome("consistency"), Some(Outcome::Passed));
    // One that is larger than the tree of the bundle has the entry as well.
    client.served.log.lock().unwrap().append(b"later".to_vec());
    client.keep(&[(10, client.note(10, 900))]);
    let asked = client.ask().await;
    assert_eq!((size(&asked.shown.before), size(&asked.shown.after)), (None, Some(10)));
}

#[tokio::test]
async fn what_lacks_the_quorum_or_stands_elsewhere_dates_nothing() {
    let client = Client::new();
    let alone = checkpoint(&client.served.log.lock().unwrap(), 4, &[]);
    client.keep(&[(4, alone), (6, client.note(5, 650))]);
    let asked = client.ask().await;
    assert!(asked.shown.before.is_none() && asked.shown.after.is_none());
    let remarks = asked.shown.remarks.join("\n");
    assert!(remarks.contains("of 4 entries lacks the quorum"), "{remarks}");
    assert!(remarks.contains("of 5 entries is on the wrong side"), "{remarks}");
    // A log without such answers is no fault.
    client.keep(&[(4, "no note".to_owned())]);
    let asked = client.ask().await;
    assert!(asked.shown.remarks[0].contains("does not show its checkpoints around the entry"));
    assert_eq!(asked.report.outcome("consistency"), Some(Outcome::Passed));
}

#[tokio::test]
async fn a_kept_checkpoint_of_another_tree_is_an_alarm_with_proof() {
    for (size, kind) in [(9, EvidenceKind::ForkSize), (7, EvidenceKind::ForkPrefix)] {
        let client = Client::new();
        let mut fork = client.served.log.lock().unwrap().clone();
        fork.bodies[0] = b"forged".to_vec();
        client.keep(&[(size, checkpoint(&fork, size, &[(5, 750)]))]);
        let asked = client.ask().await;
        assert_eq!(asked.evidence[0].kind(), kind);
        assert_eq!(asked.report.outcome("consistency"), Some(Outcome::Failed));
        assert_eq!(asked.report.exit(), Exit::Alarm);
        assert!(asked.shown.after.is_none());
    }
}

#[tokio::test]
async fn a_newest_checkpoint_without_quorum_is_not_verified() {
    let client = Client::new();
    client.served.log.lock().unwrap().witnesses.clear();
    let asked = client.ask().await;
    assert!(matches!(asked.shown.newest, Newest::NoQuorum { size: 9 }));
    assert_eq!(asked.report.outcome("consistency"), Some(Outcome::NotChecked));
    assert_eq!(asked.report.exit(), Exit::NotVerified);
    assert!(!client.asked_for_kept());
}

#[tokio::test]
async fn a_promise_about_another_entry_is_none_and_without_keys_nothing_is_asked() {
    let mut client = Client::new();
    client.entry.leaf = hash_leaf(b"never logged");
    let asked = client.ask().await;
    assert!(asked.shown.promise.is_none() && client.asked_for_kept());
    assert!(asked.shown.remarks[0].contains("gives no signed entry timestamp: it denies"));
    let mut client = Client::new();
    client.trust.log.keys.truncate(1);
    client.trust.log.identity = None;
    client.trust.witness_policy = None;
    let asked = client.ask().await;
    assert!(asked.shown.promise.is_none() && asked.shown.remarks.is_empty());
    let tiles_only = |line: &String| line.ends_with(" /checkpoint") || line.contains("/tile/");
    assert!(client.served.asked().iter().all(tiles_only));
}

/// The log's promise of `index` for the entry with these bytes.
fn promise_of(client: &Client, body: &[u8], index: u64) -> evidence::Promise {
    let log = client.served.log.lock().unwrap();
    let clocks = log.clocks.as_ref().unwrap();
    let index_of = LeafIndex::new(index).unwrap();
    let (set, time) = (clocks.set(body, index), clocks.promised);
    evidence::Promise { set, entry: body.to_vec(), time, index: index_of }
}

#[tokio::test]
async fn a_promise_is_broken_only_when_signed_and_when_another_entry_stands_there() {
    let mut client = Client::new();
    let body = client.served.log.lock().unwrap().bodies[INDEX as usize].clone();
    // Kept; not covered yet; of another index; not the log's.
    let mut forged = promise_of(&client, &body, 4);
    forged.time += 1;
    for (promise, broken) in [
        (promise_of(&client, &body, INDEX), false),
        (promise_of(&client, &body, 9), false),
        (promise_of(&client, &body, 4), true),
        (forged, false),
    ] {
        client.promised = Some(promise);
        let asked = client.ask().await;
        let outcome = if broken { Outcome::Failed } else { Outcome::Passed };
        assert_eq!(asked.report.outcome("consistency"), Some(outcome));
        let kinds: Vec<EvidenceKind> = asked.evidence.iter().map(|found| found.kind()).collect();
        assert_eq!(kinds, if broken { vec![EvidenceKind::BrokenPromise] } else { vec![] });
        assert_eq!(asked.report.exit(), if broken { Exit::Alarm } else { Exit::Ok });
    }
    // Nobody could be shown whose key promised: an alarm all the same.
    client.promised = Some(promise_of(&client, &body, 4));
    client.trust.log.identity = None;
    let asked = client.ask().await;
    assert_eq!((asked.report.exit(), asked.evidence.len()), (Exit::Alarm, 0));
}

#[tokio::test]
async fn an_answer_that_promises_the_entry_at_another_index_is_an_alarm_with_evidence() {
    let client = Client::new();
    let body = client.served.log.lock().unwrap().bodies[INDEX as usize].clone();
    let set = to_base64(&promise_of(&client, &body, 4).set);
    *client.served.tamper.lock().unwrap() = Some(Box::new(move |line, answer| {
        if !line.contains("/api/v1/log/entries/") {
            return Some(answer);
        }
        let mut entries: LogEntries = serde_json::from_slice(&answer).unwrap();
        for entry in entries.values_mut() {
            entry.log_index = 4;
            entry.verification.signed_entry_timestamp = set.clone();
        }
        Some(serde_json::to_vec(&entries).unwrap())
    }));
    let asked = client.ask().await;
    assert_eq!(asked.report.exit(), Exit::Alarm);
    assert_eq!(asked.evidence[0].kind(), EvidenceKind::BrokenPromise);
    assert!(asked.shown.promise.is_none());
}
