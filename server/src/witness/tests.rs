use std::sync::Arc;

use ed25519_dalek::SigningKey;
use treering_proto::api::v1::TreeId;
use treering_proto::checkpoint::Checkpoint;
use treering_proto::note::{Note, SignatureLine, sign_cosignature_line, sign_ed25519_line};
use treering_proto::tree::{TreeHead, TreeSize};

use super::asker::{Explained, explain, verified_lines};
use super::collect::{Event, Question};
use super::*;
use crate::anchor::{Anchor, Fenced};
use crate::publisher::{Publisher, Ready, Started, Witnessed};
use crate::selfcheck::SelfCheck;
use crate::signer::{
    KeyPaths, Signer, generate_ml_dsa_key, generate_note_key, generate_p256_key, write_key,
};
use crate::test_log::{TestLog, entries};

const ORIGIN: &str = "log.example";

fn witness_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn note_key(seed: u8) -> NoteKey {
    NoteKey::cosignature(&format!("w{seed}"), witness_key(seed).verifying_key().as_bytes()).unwrap()
}

fn line(seed: u8, text: &str, time: u64) -> SignatureLine {
    sign_cosignature_line(&format!("w{seed}"), &witness_key(seed), text, time)
}

/// Three witnesses at two URLs, of which two must cosign.
fn policy_text() -> String {
    let vkey = |seed| note_key(seed).to_vkey();
    format!(
        "witness a {} http://a.example/\nwitness b {} http://b.example\n\
         witness c {} http://a.example\ngroup g 2 a b c\nquorum g\n",
        vkey(1),
        vkey(2),
        vkey(3)
    )
}

/// A log whose heads can be fenced, and its keys.
struct Heads {
    _directory: tempfile::TempDir,
    log: TestLog,
    anchor: Anchor,
    selfcheck: SelfCheck,
    signer: Signer,
}

impl Heads {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = KeyPaths::of(directory.path());
        write_key(&keys.note, &generate_note_key()).unwrap();
        write_key(&keys.v1, &generate_p256_key()).unwrap();
        write_key(&keys.ml_dsa, &generate_ml_dsa_key()).unwrap();
        let signer = Signer::load(&keys, ORIGIN, TreeId::new(7).unwrap()).unwrap();
        let anchor = directory.path().join("anchor");
        let anchor = Anchor::create(&anchor, [1; 16], TreeHead::EMPTY).unwrap();
        let log = TestLog::new();
        let selfcheck = SelfCheck::new(&log.edge);
        Self { _directory: directory, log, anchor, selfcheck, signer }
    }

    fn grow(&mut self, count: usize) -> Arc<Fenced> {
        let durable = self.log.append(&entries(count));
        let checked = self.selfcheck.check(&self.log.store, durable).unwrap();
        Arc::new(self.anchor.fence(checked).unwrap())
    }
}

/// The collecting side with its askers played by the test.
struct Collecting {
    witnessing: Witnessing,
    asked: tokio::sync::watch::Receiver<Option<Arc<Question>>>,
    tell: std::sync::mpsc::Sender<Event>,
}

impl Collecting {
    fn new(mode: Mode, first: Arc<Fenced>) -> Self {
        let config = Config {
            policy: Policy::parse(policy_text().as_bytes()).unwrap(),
            mode,
            timeout: Duration::from_millis(1000),
            min_interval: Duration::from_millis(200),
        };
        let (witnessing, asked, tell) = Witnessing::new(config, 2, first, 0);
        Self { witnessing, asked, tell }
    }

    fn greeted(mode: Mode, first: Arc<Fenced>) -> Self {
        let collecting = Self::new(mode, first);
        collecting.tell.send(Event::Greeted).unwrap();
        collecting.tell.send(Event::Greeted).unwrap();
        collecting
    }

    fn question(&self) -> Option<Arc<Question>> {
        self.asked.borrow().clone()
    }

    fn cosign(&self, question: &Question, seed: u8) {
        let lines = vec![line(seed, &question.text, 1000 + u64::from(seed))];
        let lines = verified_lines(&[note_key(seed)], &question.text, 1000, lines);
        assert_eq!(lines.len(), 1);
        let (witness, round) = (format!("w{seed}"), question.round);
        self.tell.send(Event::Cosigned { witness, round, lines }).unwrap();
    }

    fn contradict(&self, seed: u8) {
        self.tell.send(Event::Contradicted { witness: format!("w{seed}") }).unwrap();
    }
}

fn published(advance: Advance) -> (u64, usize, Witnessed) {
    match advance {
        Advance::Publish { fenced, cosignatures, witnessed } => {
            (fenced.head().size.get(), cosignatures.len(), witnessed)
        }
        other => panic!("{other:?}"),
    }
}

fn waits(advance: &Advance) -> bool {
    matches!(advance, Advance::Wait)
}

#[test]
fn keys_behind_one_url_are_one_target() {
    let targets = targets(&Policy::parse(policy_text().as_bytes()).unwrap());
    let shown: Vec<_> = targets.iter().map(|t| (t.url.as_str(), t.keys.len())).collect();
    assert_eq!(shown, [("http://a.example", 2), ("http://b.example", 1)]);
}

#[test]
fn nothing_is_proposed_before_every_witness_was_greeted_or_had_its_time() {
    let mut heads = Heads::new();
    let fenced = heads.grow(3);
    let mut all = Collecting::new(Mode::Closed, fenced.clone());
    assert!(waits(&all.witnessing.advance(&heads.signer, 10)));
    all.tell.send(Event::Greeted).unwrap();
    assert!(waits(&all.witnessing.advance(&heads.signer, 20)));
    assert!(all.question().is_none(), "one of two");
    all.tell.send(Event::Greeted).unwrap();
    all.witnessing.advance(&heads.signer, 30);
    assert_eq!(all.question().unwrap().size().get(), 3);

    let mut late = Collecting::new(Mode::Closed, fenced);
    late.witnessing.advance(&heads.signer, 999);
    assert!(late.question().is_none());
    late.witnessing.advance(&heads.signer, 1000);
    assert!(late.question().is_some(), "they had their time");
}

#[test]
fn the_quorum_publishes_and_later_lines_join_the_same_note() {
    let mut heads = Heads::new();
    let mut all = Collecting::greeted(Mode::Closed, heads.grow(3));
    all.witnessing.advance(&heads.signer, 1);
    let question = all.question().unwrap();
    all.cosign(&question, 1);
    assert!(waits(&all.witnessing.advance(&heads.signer, 5000)), "closed waits for ever");
    all.cosign(&question, 2);
    let first = all.witnessing.advance(&heads.signer, 5001);
    assert_eq!(published(first), (3, 2, Witnessed::Quorum));
    all.cosign(&question, 3);
    let more = all.witnessing.advance(&heads.signer, 5002);
    assert_eq!(published(more), (3, 3, Witnessed::Quorum));
    assert!(waits(&all.witnessing.advance(&heads.signer, 5003)));

    // Within the interval the next head waits; then the newest one is proposed.
    all.witnessing.offer(heads.grow(1), 5003);
    all.witnessing.offer(heads.grow(1), 5004);
    all.witnessing.advance(&heads.signer, 5200);
    assert_eq!(all.question().unwrap().round, question.round);
    all.witnessing.advance(&heads.signer, 5201);
    assert_eq!(all.question().unwrap().size().get(), 5, "never a head in between");
    all.cosign(&question, 2);
    let stale = all.witnessing.advance(&heads.signer, 5202);
    assert_eq!(published(stale), (3, 3, Witnessed::Quorum), "for the head that is published");
}

/// Witnesses that remember more than a log which was rolled back may have no way to show it. They
/// refuse its first head, and then nothing newer may be signed.
#[test]
fn a_closed_log_signs_nothing_newer_before_its_first_head_is_cosigned() {
    let mut heads = Heads::new();
    let mut all = Collecting::greeted(Mode::Closed, heads.grow(3));
    all.witnessing.offer(heads.grow(1), 0);
    all.witnessing.advance(&heads.signer, 1);
    let first = all.question().unwrap();
    assert_eq!(first.size().get(), 3, "the head of start-up comes first");
    all.contradict(1);
    for boot_ms in [1_500, 60_000, 600_000] {
        assert!(waits(&all.witnessing.advance(&heads.signer, boot_ms)));
        assert_eq!(all.question().unwrap().round, first.round, "at {boot_ms}");
    }
    let why = all.witnessing.refusal(600_000).unwrap().message();
    assert!(why.contains("w1"), "{why}");
    all.cosign(&first, 1);
    all.cosign(&first, 2);
    let publish = all.witnessing.advance(&heads.signer, 600_001);
    assert_eq!(published(publish), (3, 2, Witnessed::Quorum));
    all.witnessing.advance(&heads.signer, 600_201);
    assert_eq!(all.question().unwrap().size().get(), 4);
}

#[test]
fn a_round_without_a_quorum_gives_way_to_a_newer_head_only() {
    let mut heads = Heads::new();
    let mut all = Collecting::greeted(Mode::Closed, heads.grow(2));
    all.witnessing.advance(&heads.signer, 1);
    let start = all.question().unwrap();
    [1, 2].iter().for_each(|seed| all.cosign(&start, *seed));
    published(all.witnessing.advance(&heads.signer, 2));

    all.witnessing.offer(heads.grow(1), 1000);
    all.witnessing.advance(&heads.signer, 1001);
    let question = all.question().unwrap();
    all.cosign(&question, 1);
    all.witnessing.advance(&heads.signer, 2500);
    assert_eq!(all.question().unwrap().round, question.round, "nothing newer");
    assert!(all.witnessing.refusal(11_000).is_none());
    let refusal = all.witnessing.refusal(11_001).unwrap();
    assert_eq!(refusal.label(), "no-quorum");
    all.witnessing.offer(heads.grow(1), 11_002);
    all.witnessing.advance(&heads.signer, 11_003);
    let newer = all.question().unwrap();
    assert_eq!(newer.size().get(), 4);
    assert!(all.witnessing.refusal(11_004).is_some(), "submitters of the first still wait");
    all.cosign(&question, 2);
    assert!(waits(&all.witnessing.advance(&heads.signer, 11_005)), "given up is given up");
    all.cosign(&newer, 1);
    all.cosign(&newer, 2);
    let publish = all.witnessing.advance(&heads.signer, 11_006);
    assert_eq!(published(publish), (4, 2, Witnessed::Quorum));
    assert!(all.witnessing.refusal(99_999).is_none());
}

/// Failing open is for silence. One liar alone cannot stop such a log, if somebody else cosigns.
#[test]
fn open_mode_does_not_publish_against_a_contradiction_that_nobody_outweighs() {
    let mut heads = Heads::new();
    let mut all = Collecting::greeted(Mode::Open, heads.grow(2));
    all.witnessing.advance(&heads.signer, 1);
    all.contradict(2);
    assert!(waits(&all.witnessing.advance(&heads.signer, 5_000)));
    assert!(all.witnessing.refusal(20_000).is_some());
    all.cosign(&all.question().unwrap(), 1);
    let publish = all.witnessing.advance(&heads.signer, 20_001);
    assert_eq!(published(publish), (2, 1, Witnessed::Missing));
}

#[test]
fn open_mode_publishes_after_the_timeout_and_is_completed_later() {
    let mut heads = Heads::new();
    let mut all = Collecting::greeted(Mode::Open, heads.grow(2));
    all.witnessing.advance(&heads.signer, 1);
    let question = all.question().unwrap();
    all.cosign(&question, 1);
    assert!(waits(&all.witnessing.advance(&heads.signer, 1000)));
    let alone = all.witnessing.advance(&heads.signer, 1001);
    assert_eq!(published(alone), (2, 1, Witnessed::Missing));
    all.cosign(&question, 3);
    let completed = all.witnessing.advance(&heads.signer, 1100);
    assert_eq!(published(completed), (2, 2, Witnessed::Quorum));
    assert!(all.witnessing.refusal(99_999).is_none(), "open never refuses");
}

#[test]
fn an_idle_log_renews_its_cosignatures_and_keeps_those_that_do_not_answer() {
    let mut heads = Heads::new();
    let mut all = Collecting::greeted(Mode::Closed, heads.grow(2));
    all.witnessing.advance(&heads.signer, 1);
    let question = all.question().unwrap();
    [1, 2, 3].iter().for_each(|seed| all.cosign(&question, *seed));
    published(all.witnessing.advance(&heads.signer, 2));
    all.witnessing.advance(&heads.signer, 600_001);
    assert_eq!(all.question().unwrap().round, question.round, "not due yet");
    all.witnessing.advance(&heads.signer, 600_002);
    let renewal = all.question().unwrap();
    assert_eq!((renewal.round, renewal.size().get()), (question.round + 1, 2));
    all.cosign(&renewal, 1);
    assert!(waits(&all.witnessing.advance(&heads.signer, 600_003)), "the quorum is of this round");
    all.cosign(&renewal, 2);
    let renewed = all.witnessing.advance(&heads.signer, 600_004);
    assert_eq!(published(renewed), (2, 3, Witnessed::Quorum), "the third line stays");
}

#[test]
fn an_unexplained_note_latches_whatever_else_is_waiting() {
    let mut heads = Heads::new();
    let mut all = Collecting::greeted(Mode::Closed, heads.grow(2));
    all.tell.send(Event::Unexplained("why".to_owned())).unwrap();
    let latched = all.witnessing.advance(&heads.signer, 1);
    assert!(matches!(latched, Advance::Latch(why) if why == "why"));
    assert!(all.question().is_none(), "nothing was signed");
}

#[test]
fn lines_that_do_not_verify_or_have_another_time_are_dropped() {
    const NOW: u64 = 1_700_000_000;
    let text = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let keys = [note_key(1), note_key(2)];
    let good = line(1, text, NOW + 300);
    let mut other_text = line(2, "log.example\n1\nx\n", NOW);
    other_text.key_id = line(2, text, NOW).key_id;
    let lines = vec![
        other_text,
        line(3, text, NOW),
        line(2, text, 0),
        line(2, text, NOW + 301),
        line(2, text, NOW - 301),
        good.clone(),
        line(1, text, NOW),
    ];
    let kept = verified_lines(&keys, text, NOW, lines);
    assert_eq!(kept.len(), 1, "each key once: {kept:?}");
    assert_eq!(kept[0].0, good);
    assert_eq!(kept[0].1.time, Some(NOW + 300));
}

#[test]
fn only_a_note_of_our_own_that_storage_does_not_have_is_unexplained() {
    let key = SigningKey::from_bytes(&[9; 32]);
    let ours = NoteKey::ed25519(ORIGIN, key.verifying_key().as_bytes()).unwrap();
    let mut log = TestLog::new();
    log.append(&entries(5));
    let note = |key: &SigningKey, head: TreeHead| {
        let text = Checkpoint { origin: ORIGIN.to_owned(), head, extensions: Vec::new() }.format();
        let signatures = vec![sign_ed25519_line(ORIGIN, key, &text)];
        Note { text, signatures }.format().into_bytes()
    };
    let head = log.edge.head();
    let sized = |size| TreeHead { size: TreeSize::new(size).unwrap(), root: head.root };
    let asked = |note: &[u8]| explain(&log.store, &ours, note).unwrap();
    assert_eq!(asked(&note(&key, head)), Explained::Ours(head.size));
    assert!(matches!(asked(&note(&key, sized(6))), Explained::Unknown(_)), "larger");
    assert!(matches!(asked(&note(&key, sized(4))), Explained::Unknown(_)), "another root");
    let stranger = SigningKey::from_bytes(&[8; 32]);
    assert_eq!(asked(&note(&stranger, sized(6))), Explained::NotOurs);
    assert_eq!(asked(b"nothing"), Explained::NotOurs);
}

#[test]
fn the_dated_line_of_the_log_is_its_own_and_stays_out_of_what_witnesses_are_shown() {
    let mut heads = Heads::new();
    let fenced = heads.grow(2);
    let cosignature = line(1, &heads.signer.undated_note(&fenced).text, 9);
    let note = heads.signer.note(&fenced, 1234, std::slice::from_ref(&cosignature));
    assert_eq!(note.signatures.len(), 3);
    assert_eq!(note.signatures[2], cosignature);
    let keys = [heads.signer.identity().note_key().clone(), heads.signer.ml_dsa_key().unwrap()];
    let verified = treering_proto::note::open(&note, &keys).unwrap();
    let times: Vec<_> = verified.iter().map(|signature| signature.time).collect();
    assert_eq!(times, [None, Some(1234)]);
    assert_eq!(heads.signer.undated_note(&fenced).signatures, note.signatures[..1]);
}

#[test]
fn the_first_cosignatures_of_a_size_are_kept_and_only_completed() {
    let Heads { log, mut anchor, mut selfcheck, signer, _directory } = Heads::new();
    let mut log = log;
    let durable = log.append(&entries(2));
    let checked = selfcheck.check(&log.store, durable).unwrap();
    let fenced = anchor.fence(checked).unwrap();
    let (head, text) = (fenced.head(), signer.undated_note(&fenced).text);
    let store = log.store.clone();
    let started = Publisher::start(Arc::new(signer), store.clone(), fenced, None, 1_000_000);
    let started = started.unwrap();
    let Started { mut publisher, fenced, time_ms } = started;
    assert_eq!(time_ms, 1_000_000, "no date is older than the start");
    let mut publish = |lines: &[SignatureLine], time_ms: u64| {
        let (cosignatures, witnessed) = (lines.to_vec(), Witnessed::Quorum);
        let fenced = fenced.clone();
        let ready = Ready { fenced, time_ms, cosignatures, witnessed, is_renewal: false };
        let (snapshot, _) = publisher.publish(ready, &[], 0).unwrap();
        (Note::parse(snapshot.note.as_bytes()).unwrap(), store.notes(head.size).unwrap().unwrap())
    };
    let (first, later, second) = (line(1, &text, 50), line(1, &text, 700), line(2, &text, 60));
    let holds = |note: &str, line: &SignatureLine| note.contains(&line.format());
    let (_, stored) = publish(std::slice::from_ref(&first), 2_000_000);
    assert!(holds(&stored.note, &first), "an unwitnessed note is completed");
    let (shown, stored) = publish(&[later.clone(), second.clone()], 2_100_000);
    assert!(shown.signatures.contains(&later), "a renewal is shown");
    assert!(holds(&stored.note, &first), "and the earlier line stays in storage");
    assert!(holds(&stored.note, &second), "with the line of one who had not cosigned before");
    assert!(!holds(&stored.note, &later));
    assert_eq!((stored.time_ms, store.date().unwrap()), (1_000_000, 2_100_000));
    publish(&[later], 2_000_000);
    assert_eq!(store.date().unwrap(), 2_100_000, "no date goes back");
}

/// The first start with witnesses shows what was shown before; from then on they are waited for.
#[test]
fn a_start_judges_what_it_shows_and_remembers_that_there_are_witnesses() {
    let policy = Policy::parse(policy_text().as_bytes()).unwrap();
    let Heads { log, mut anchor, mut selfcheck, signer, _directory } = Heads::new();
    let mut log = log;
    let (store, signer) = (log.store.clone(), Arc::new(signer));
    let mut fence = |log: &mut TestLog| {
        let durable = log.append(&entries(1));
        anchor.fence(selfcheck.check(&log.store, durable).unwrap()).unwrap()
    };
    let first = fence(&mut log);
    let (head, text) = (first.head(), signer.undated_note(&first).text);
    let start = |fenced, policy| Publisher::start(signer.clone(), store.clone(), fenced, policy, 9);
    let started = start(first, Some(&policy)).unwrap();
    let shown = started.publisher.published().snapshot();
    assert_eq!((shown.head, shown.witnessed), (head, Witnessed::Missing));
    assert_eq!(Note::parse(shown.note.as_bytes()).unwrap().signatures.len(), 1, "undated");
    assert!(store.is_witnessed().unwrap());

    let mut publisher = started.publisher;
    let cosignatures = vec![line(1, &text, 50), line(2, &text, 60)];
    let (fenced, witnessed) = (started.fenced, Witnessed::Quorum);
    let ready = Ready { fenced, time_ms: 70_000, cosignatures, witnessed, is_renewal: false };
    publisher.publish(ready, &[], 0).unwrap();
    let second = fence(&mut log);
    let started = start(second, Some(&policy)).unwrap();
    let shown = started.publisher.published().snapshot();
    assert_eq!((shown.head, shown.witnessed), (head, Witnessed::Quorum), "the second waits");
    assert_eq!(started.time_ms, 70_000, "no date goes back after a start");
}
