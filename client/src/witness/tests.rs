use std::path::Path;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::AtomicU64;

use ed25519_dalek::SigningKey;
use treering_proto::checkpoint::Checkpoint;
use treering_proto::cosignature::ml_dsa_44::MlDsa44SigningKey;
use treering_proto::hash::{EMPTY_ROOT, hash_leaf, hash_node};
use treering_proto::note::{Note, sign_ed25519_line, sign_ml_dsa_44_line};
use treering_proto::tree::{TreeHead, TreeSize};
use treering_proto::witness::AddCheckpoint;

use super::*;
use crate::witness::keys::KeyFiles;

const ORIGIN: &str = "log.example";
const TIME: u64 = 1_700_000_000;

struct Bench {
    directory: tempfile::TempDir,
    time: Arc<AtomicU64>,
    told: Arc<StdMutex<Vec<String>>>,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            directory: tempfile::TempDir::new().unwrap(),
            time: Arc::new(AtomicU64::new(TIME)),
            told: Arc::default(),
        };
        let key = bench.directory.path().join("key");
        let keys = WitnessKeys::generate("w.example", files(&key)).unwrap();
        WitnessDirectory::create(&bench.state(), keys.public()).unwrap();
        bench
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn checkpoint_file(&self) -> PathBuf {
        self.state().join(format!("{}.checkpoint", sha256(ORIGIN.as_bytes())))
    }

    fn start(&self, logs: &str) -> Result<Arc<Witness>, StartError> {
        let time = self.time.clone();
        self.start_with_clock(logs, Box::new(move || time.load(Ordering::Relaxed)))
    }

    fn start_with_clock(&self, logs: &str, clock: Clock) -> Result<Arc<Witness>, StartError> {
        let key = self.directory.path().join("key");
        let keys = WitnessKeys::load("w.example", files(&key)).unwrap();
        let told = self.told.clone();
        let tell = Box::new(move |event: &Event| told.lock().unwrap().push(format!("{event:?}")));
        let logs = LogList::parse(format!("logs/v0\n{logs}").as_bytes()).unwrap();
        let directory = WitnessDirectory::open(&self.state())?;
        Witness::start(keys, directory, &logs, clock, tell).map(Arc::new)
    }

    fn started(&self) -> Arc<Witness> {
        self.start(&listed()).unwrap()
    }

    fn set_time(&self, time: u64) {
        self.time.store(time, Ordering::Relaxed);
    }

    fn evidence(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.state().join("evidence")).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }
}

fn files(path: &Path) -> KeyFiles<'_> {
    KeyFiles { ed25519: path, ml_dsa_44: None }
}

fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn listed() -> String {
    let key = NoteKey::ed25519(ORIGIN, log_key().verifying_key().as_bytes()).unwrap();
    format!("vkey {}\n", key.to_vkey())
}

/// A tree of 1, 2 or 3 leaves, all made of `seed`: a fork has another seed.
fn head(size: u64, seed: u8) -> TreeHead {
    let leaf = hash_leaf(&[seed]);
    let root = match size {
        0 => EMPTY_ROOT,
        1 => leaf,
        2 => hash_node(&leaf, &leaf),
        3 => hash_node(&hash_node(&leaf, &leaf), &leaf),
        4 => hash_node(&head(2, seed).root, &head(2, seed).root),
        _ => panic!("trees are small here"),
    };
    TreeHead { size: TreeSize::new(size).unwrap(), root }
}

fn proof(old: u64, new: u64, seed: u8) -> Vec<Hash> {
    let leaf = hash_leaf(&[seed]);
    match (old, new) {
        (1, 2) => vec![leaf],
        (2, 3) => vec![leaf],
        (3, 4) => vec![leaf, leaf, head(2, seed).root],
        (2, 4) => vec![head(2, seed).root],
        _ => Vec::new(),
    }
}

fn body_with(old: u64, new: TreeHead, proof: Vec<Hash>) -> Vec<u8> {
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), head: new, extensions: Vec::new() };
    let text = checkpoint.format();
    let signatures = vec![sign_ed25519_line(ORIGIN, &log_key(), &text)];
    let note = Note { text, signatures }.format();
    let old_size = TreeSize::new(old).unwrap();
    AddCheckpoint { old_size, proof, note }.format().into_bytes()
}

fn body(old: u64, new: u64, seed: u8) -> Vec<u8> {
    body_with(old, head(new, seed), proof(old, new, seed))
}

fn status(answer: Result<String, NotCosigned>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(NotCosigned::Refused(refusal)) => refusal.status(),
        Err(NotCosigned::NotPersisted) => 503,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_state_is_on_disk_and_shown_when_the_answer_is_there() {
    let bench = Bench::new();
    let witness = bench.started();
    assert_eq!(witness.checkpoint(sha256(ORIGIN.as_bytes())), None);
    for (old, new) in [(0, 1), (1, 2), (2, 3), (3, 4)] {
        bench.set_time(TIME + new);
        let lines = witness.add_checkpoint(&body(old, new, 1)).await.unwrap();
        let stored = std::fs::read_to_string(bench.checkpoint_file()).unwrap();
        assert!(stored.ends_with(&format!("=\n{lines}")), "{stored}");
        let shown = witness.checkpoint(sha256(ORIGIN.as_bytes())).unwrap();
        assert_eq!(shown, stored.as_bytes());
        let cosigned = Cosigned::parse(&shown, witness.public_keys()).unwrap();
        assert_eq!((cosigned.last().head, cosigned.last().time), (head(new, 1), TIME + new));
    }
}

/// A client that goes away must not make room for work beside that which it began.
#[tokio::test]
async fn room_is_taken_until_the_work_is_over_not_until_the_client_has_gone() {
    let bench = Bench::new();
    let (entered, (go, wait)) = (Arc::new(tokio::sync::Notify::new()), std::sync::mpsc::channel());
    let (at_clock, wait) = (entered.clone(), StdMutex::new(wait));
    let clock = Box::new(move || {
        at_clock.notify_one();
        let _: Result<(), _> = wait.lock().unwrap().recv();
        TIME
    });
    let witness = bench.start_with_clock(&listed(), clock).unwrap();
    let room = Arc::new(tokio::sync::Semaphore::new(1));
    let place = room.clone().acquire_owned().await.unwrap();
    let asking = tokio::spawn(async move {
        let _ = witness.add_checkpoint_holding(&body(0, 2, 1), place).await;
    });
    entered.notified().await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    assert_eq!(room.available_permits(), 0);
    drop(go);
    drop(room.acquire().await.unwrap());
    assert!(bench.checkpoint_file().exists());
}

#[tokio::test]
async fn the_same_within_seconds_costs_no_disk_and_a_clock_behind_gives_no_signature() {
    let bench = Bench::new();
    let witness = bench.started();
    let first = witness.add_checkpoint(&body(0, 2, 1)).await.unwrap();
    std::fs::remove_file(bench.checkpoint_file()).unwrap();
    for seconds in [0, limits::REFRESH_SECONDS_MIN - 1] {
        bench.set_time(TIME + seconds);
        assert_eq!(witness.add_checkpoint(&body(2, 2, 1)).await.unwrap(), first);
        assert!(!bench.checkpoint_file().exists());
    }
    bench.set_time(TIME - 1);
    for again in [body(2, 2, 1), body(2, 3, 1)] {
        let refused = witness.add_checkpoint(&again).await;
        let behind = Refusal::ClockBehind { behind: 1 };
        assert!(matches!(refused, Err(NotCosigned::Refused(refusal)) if refusal == behind));
    }
    let later = TIME + limits::REFRESH_SECONDS_MIN;
    bench.set_time(later);
    let refreshed = witness.add_checkpoint(&body(2, 2, 1)).await.unwrap();
    assert_ne!(refreshed, first);
    let stored = std::fs::read(bench.checkpoint_file()).unwrap();
    let stored = Cosigned::parse(&stored, witness.public_keys()).unwrap();
    assert_eq!((stored.last().time, stored.own_lines()), (later, &*refreshed));
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_cosigned_and_not_shown() {
    let bench = Bench::new();
    let witness = bench.started();
    witness.add_checkpoint(&body(0, 2, 1)).await.unwrap();
    let before = witness.checkpoint(sha256(ORIGIN.as_bytes()));
    let obstacle = bench.checkpoint_file().with_extension("checkpoint.new");
    std::fs::create_dir(&obstacle).unwrap();
    let refused = witness.add_checkpoint(&body(2, 3, 1)).await;
    assert!(matches!(refused, Err(NotCosigned::NotPersisted)));
    assert_eq!(witness.checkpoint(sha256(ORIGIN.as_bytes())), before);
    assert!(!witness.is_healthy());
    assert!(bench.told.lock().unwrap()[0].starts_with("NotPersisted"));
    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(status(witness.add_checkpoint(&body(3, 4, 1)).await), 409);
    assert_eq!(status(witness.add_checkpoint(&body(2, 3, 1)).await), 200);
    assert!(witness.is_healthy());
}

/// A write that failed may be there all the same. Nobody has its signature, so whichever is found
/// after a restart, nobody can be contradicted.
#[tokio::test]
async fn first_contact_that_failed_halfway_is_whole_after_a_restart() {
    let bench = Bench::new();
    let witness = bench.started();
    witness.add_checkpoint(&body(0, 2, 1)).await.unwrap();
    drop(witness);
    let header = "treering.witness-origins/v1\n";
    for torn in ["", &sha256(ORIGIN.as_bytes()).to_hex()[..20]] {
        let origins = bench.state().join("origins");
        std::fs::write(&origins, format!("{header}{torn}")).unwrap();
        assert_eq!(status(bench.started().add_checkpoint(&body(0, 2, 2)).await), 409);
        let line = format!("{}\n", sha256(ORIGIN.as_bytes()));
        assert_eq!(std::fs::read_to_string(&origins).unwrap(), format!("{header}{line}"));
    }
}

#[tokio::test]
async fn a_log_that_is_taken_off_the_list_is_not_forgotten() {
    let bench = Bench::new();
    bench.started().add_checkpoint(&body(0, 2, 1)).await.unwrap();
    let without = bench.start("").unwrap();
    assert_eq!(status(without.add_checkpoint(&body(2, 3, 1)).await), 404);
    assert!(without.checkpoint(sha256(ORIGIN.as_bytes())).is_some());
    drop(without);
    let again = bench.started();
    assert_eq!(status(again.add_checkpoint(&body(0, 2, 2)).await), 409);
    assert_eq!(status(again.add_checkpoint(&body(2, 3, 1)).await), 200);
}

#[tokio::test]
async fn contradictions_are_kept_once_told_once_and_counted_each_time() {
    let bench = Bench::new();
    let witness = bench.started();
    witness.add_checkpoint(&body(0, 3, 1)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(status(witness.add_checkpoint(&body(3, 3, 2)).await), 422);
        // A fork is one, whatever the old size says.
        assert_eq!(status(witness.add_checkpoint(&body(2, 3, 2)).await), 409);
        assert_eq!(status(witness.add_checkpoint(&body(3, 4, 2)).await), 422);
        let garbage = body_with(3, head(4, 1), vec![EMPTY_ROOT]);
        assert_eq!(status(witness.add_checkpoint(&garbage).await), 422);
        assert_eq!(status(witness.add_checkpoint(&body(2, 2, 2)).await), 409);
    }
    let mut kinds: Vec<String> =
        bench.evidence().iter().map(|text| text.lines().nth(1).unwrap().to_owned()).collect();
    kinds.sort();
    assert_eq!(kinds, ["kind fork-prefix", "kind fork-size", "kind inconsistent-unproven"]);
    assert_eq!(bench.told.lock().unwrap().len(), 3);
    let metrics = witness.render_metrics();
    for line in ["fork-size\"} 6", "fork-prefix\"} 3", "inconsistent-unproven\"} 3"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    drop(witness);
    // The files, not the process, remember.
    assert_eq!(status(bench.started().add_checkpoint(&body(3, 3, 2)).await), 422);
    assert_eq!(bench.evidence().len(), 3);
}

/// An old checkpoint is sent by every mirror that lags. Only a log that dates it anew went back.
#[tokio::test]
async fn a_smaller_tree_is_evidence_only_if_the_log_dated_it_later() {
    let bench = Bench::new();
    let dating = MlDsa44SigningKey::from_seed(&[3; 32]);
    let key = NoteKey::ml_dsa_44(ORIGIN, dating.public_key()).unwrap();
    let witness = bench.start(&format!("{}vkey {}\n", listed(), key.to_vkey())).unwrap();
    let dated = |old, size, time| {
        let mut body = body(old, size, 1);
        let line = sign_ml_dsa_44_line(ORIGIN, &dating, ORIGIN, head(size, 1), time);
        body.extend_from_slice(line.format().as_bytes());
        body
    };
    assert_eq!(status(witness.add_checkpoint(&dated(0, 3, TIME)).await), 200);
    for old in [dated(2, 2, TIME - 9), dated(2, 2, TIME), body(2, 2, 1)] {
        assert_eq!(status(witness.add_checkpoint(&old).await), 409);
    }
    assert_eq!(bench.evidence().len(), 0);
    assert!(!witness.render_metrics().contains("rollback"));
    assert_eq!(status(witness.add_checkpoint(&dated(2, 2, TIME + 1)).await), 409);
    let [evidence] = &bench.evidence()[..] else { panic!("one file") };
    assert!(evidence.starts_with("tlog-evidence@v1\nkind rollback\n"), "{evidence}");
    assert!(witness.render_metrics().contains("kind=\"rollback\"} 1"));
}

#[tokio::test]
async fn strangers_cannot_fill_the_disk_with_wrong_proofs_nor_hide_a_fork() {
    let bench = Bench::new();
    let witness = bench.started();
    witness.add_checkpoint(&body(0, 2, 1)).await.unwrap();
    let suspicions = limits::SUSPICIONS_PER_LOG_MAX;
    for seed in 0..=suspicions + 3 {
        let other = TreeHead { root: sha256(&[seed as u8]), ..head(3, 1) };
        assert_eq!(status(witness.add_checkpoint(&body_with(2, other, Vec::new())).await), 422);
    }
    assert_eq!(bench.evidence().len(), suspicions);
    assert_eq!(bench.told.lock().unwrap().len(), suspicions + 1);
    assert_eq!(status(witness.add_checkpoint(&body(2, 2, 2)).await), 422);
    assert_eq!(bench.evidence().len(), suspicions + 1);
}

#[tokio::test]
async fn a_log_fills_the_room_of_one_kind_of_its_own_and_no_other() {
    let bench = Bench::new();
    let witness = bench.started();
    witness.add_checkpoint(&body(0, 3, 1)).await.unwrap();
    let proofs = limits::PROOFS_PER_LOG_MAX;
    for seed in 2..10 + proofs as u8 {
        assert_eq!(status(witness.add_checkpoint(&body(3, 3, seed)).await), 422);
    }
    assert_eq!(bench.evidence().len(), proofs);
    // Each file, and once that there is no room.
    assert_eq!(bench.told.lock().unwrap().len(), proofs + 1);
    assert_eq!(status(witness.add_checkpoint(&body(3, 4, 2)).await), 422);
    assert_eq!(bench.evidence().len(), proofs + 1);
}

#[tokio::test]
async fn without_any_room_each_log_and_kind_is_told_once() {
    let bench = Bench::new();
    for number in 0..limits::PROOFS_MAX {
        let name = format!("{number:016x}-fork-size-{number:016x}.evidence");
        std::fs::write(bench.state().join("evidence").join(name), "").unwrap();
    }
    let witness = bench.started();
    witness.add_checkpoint(&body(0, 3, 1)).await.unwrap();
    for seed in 2..5 {
        assert_eq!(status(witness.add_checkpoint(&body(3, 3, seed)).await), 422);
        assert_eq!(status(witness.add_checkpoint(&body(3, 4, seed)).await), 422);
    }
    assert_eq!(bench.evidence().len(), limits::PROOFS_MAX);
    let told = bench.told.lock().unwrap();
    let [size, prefix] = &told[..] else { panic!("{told:?}") };
    assert!(size.contains("ForkSize, evidence: None"), "{size}");
    assert!(prefix.contains("ForkPrefix") && prefix.contains("evidence: None"), "{prefix}");
}

#[tokio::test]
async fn evidence_that_cannot_be_written_is_told_once_for_each_kind_as_what_it_is() {
    let bench = Bench::new();
    let witness = bench.started();
    witness.add_checkpoint(&body(0, 2, 1)).await.unwrap();
    std::fs::remove_dir(bench.state().join("evidence")).unwrap();
    for seed in 2..5 {
        assert_eq!(status(witness.add_checkpoint(&body(2, 2, seed)).await), 422);
        let other = TreeHead { root: sha256(&[seed]), ..head(3, 1) };
        assert_eq!(status(witness.add_checkpoint(&body_with(2, other, Vec::new())).await), 422);
    }
    let told = bench.told.lock().unwrap();
    let [fork, unproven] = &told[..] else { panic!("{told:?}") };
    assert!(fork.contains("NoEvidence") && fork.contains("what: ForkSize"), "{fork}");
    assert!(unproven.contains("NoEvidence") && unproven.contains("Unproven"), "{unproven}");
}

#[tokio::test]
async fn a_log_that_could_pass_for_the_witness_is_skipped_and_no_other() {
    let bench = Bench::new();
    let own = WitnessDirectory::open(&bench.state()).unwrap().identity()[0].clone();
    let own_key: [u8; 32] = own.public_key().try_into().unwrap();
    let same_key = NoteKey::ed25519("other.example", &own_key).unwrap();
    let same_name = NoteKey::ed25519("w.example", log_key().verifying_key().as_bytes()).unwrap();
    let good = listed();
    for (logs, count) in [
        (format!("vkey {}\n{good}", same_key.to_vkey()), 1),
        // A wrong key does not take the log's own away.
        (format!("vkey {}\norigin {ORIGIN}\n{good}", same_key.to_vkey()), 1),
        (format!("vkey {}\n{good}", same_name.to_vkey()), 1),
        (format!("vkey {}\norigin other.example\n{good}", same_name.to_vkey()), 1),
        (format!("{good}origin w.example\n"), 0),
    ] {
        let witness = bench.start(&logs).unwrap();
        assert_eq!((witness.logs(), witness.skipped_keys()), (count, 1), "{logs}");
        assert!(bench.told.lock().unwrap().pop().unwrap().starts_with("OwnName"), "{logs}");
        assert!(witness.render_metrics().contains("treering_witness_skipped_keys 1\n"));
    }
    let witness = bench.start(&format!("vkey {}\n{good}", same_key.to_vkey())).unwrap();
    assert_eq!(status(witness.add_checkpoint(&body(0, 2, 1)).await), 200);
}

#[test]
fn keys_of_another_witness_are_refused() {
    let bench = Bench::new();
    let key = bench.directory.path().join("key");
    std::fs::remove_file(&key).unwrap();
    WitnessKeys::generate("w.example", files(&key)).unwrap();
    assert!(matches!(bench.start(""), Err(StartError::OtherKeys(_))));
}
