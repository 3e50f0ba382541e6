//! For each invariant a falsified history that breaks exactly it; the honest one breaks none.

mod scene;

use std::io::BufReader;

use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::tree::TreeHead;

use super::event::{Answer, Held, Mark, SeenCheckpoint, Source, Span, Who};
use super::{Invariant, Verdict, check, jsonl};
use crate::lying_log::{Cosigning, Dates};
use scene::{FENCED, FIRST, SECOND, SECOND_PROCESS, Scene, UNIX, body};

const BATCH: u64 = 60;
const BATCHES: u64 = 10;

/// An entry that is logged though no answer came, where it stands, and one that is not logged.
const SILENT: u64 = 2 * BATCH + 9;
const GONE: u64 = 1_000_000;
const REFUSED: u64 = 1_000_001;

/// Two processes, one after the other, with everything that can be in a history; `twice` is logged
/// a second time as the last entry.
fn scene(twice: Option<u64>) -> Scene {
    let mut scene = Scene::new(10);
    let first = Mark::Started { process: FIRST, data: "log".into() };
    scene.mark(0, first);
    scene.mark(1, Mark::Ready { process: FIRST });
    for batch in 0..BATCHES {
        let process = if batch < BATCHES / 2 { FIRST } else { SECOND_PROCESS };
        if batch == BATCHES / 2 {
            restart(&mut scene);
        }
        let mut bodies: Vec<Vec<u8>> = (batch * BATCH..(batch + 1) * BATCH).map(body).collect();
        if let (Some(twice), true) = (twice, batch == BATCHES - 1) {
            bodies[BATCH as usize - 1] = body(twice);
        }
        scene.batch(&bodies, process);
        scene.read(process);
    }
    let silent = hash_leaf(&body(SILENT));
    let request = scene.history.requests.iter_mut().find(|request| request.leaf == silent);
    request.unwrap().answer = Answer::Unknown;
    scene.prove_and_search(SECOND_PROCESS);
    let start = SECOND * 3 + 7;
    scene.told(start, FIRST, hash_leaf(&body(GONE)), Answer::Unknown);
    let refused = Answer::Refused { status: 400, label: "bad-signature".into() };
    scene.told(start, FIRST, hash_leaf(&body(REFUSED)), refused);
    scene.told(SECOND * 8 + 1, SECOND_PROCESS, scene.leaves[5], Answer::Duplicate { index: 5 });
    scene
}

/// The first process latches, refuses, and is killed; the second starts, and a third is fenced off.
fn restart(scene: &mut Scene) {
    let at = scene.start() - 10_000;
    scene.mark(at, Mark::Corrupted { file: "000012.sst".into() });
    scene.mark(at + 10, Mark::Latched { process: FIRST, said: "000012.sst is damaged".into() });
    let latched = Answer::Refused { status: 503, label: "latched".into() };
    scene.told(at + 20, FIRST, hash_leaf(&body(GONE)), latched);
    scene.mark(at + 100, Mark::Stopped { process: FIRST });
    scene.mark(at + 110, Mark::Ended { process: FIRST, code: None, said: String::new() });
    scene.mark(at + 120, Mark::Repaired { file: "000012.sst".into() });
    let second = Mark::Started { process: SECOND_PROCESS, data: "log".into() };
    scene.mark(at + 130, second);
    scene.mark(at + 140, Mark::Ready { process: SECOND_PROCESS });
    scene.mark(at + 150, Mark::Started { process: FENCED, data: "log".into() });
    let said = "another process holds the lock".into();
    scene.mark(at + 160, Mark::Ended { process: FENCED, code: Some(6), said });
}

fn judge(scene: &Scene) -> Verdict {
    check(&scene.history, &scene.rebuilt())
}

/// Checks that what `falsify` does breaks exactly this invariant.
#[track_caller]
fn breaks(invariant: Invariant, falsify: impl FnOnce(&mut Scene)) {
    let mut scene = scene(None);
    falsify(&mut scene);
    let verdict = judge(&scene);
    assert_eq!(verdict.violated(), [invariant], "{verdict}");
    assert!(verdict.to_string().contains(&format!("{invariant}: ")), "{verdict}");
}

/// Adds a checkpoint that is not the newest.
fn kept(scene: &mut Scene, note: &str) {
    let span = Span { start: SECOND * 9, end: SECOND * 9 + 1 };
    scene.history.checkpoint(Who::default(), span, Source::Kept, note);
}

/// The answer to the submission of the entry at `index`.
fn answer(scene: &mut Scene, index: u64) -> &mut super::event::Bundle {
    let mut requests = scene.history.requests.iter_mut();
    let found = requests.find_map(|request| match &mut request.answer {
        Answer::Logged(bundle) if bundle.index == index => Some(bundle),
        _ => None,
    });
    found.expect("it was acknowledged")
}

#[test]
fn an_honest_history_breaks_nothing_and_every_invariant_is_decided() {
    let verdict = judge(&scene(None));
    assert_eq!(verdict.violated(), [], "{verdict}");
    assert!(verdict.undecided.is_empty(), "{verdict}");
    for invariant in Invariant::ALL {
        assert!(verdict.decided[&invariant] > 0, "{invariant} was never decided");
    }
}

#[test]
fn an_empty_history_decides_nothing_and_says_so_of_every_invariant() {
    let scene = Scene::new(1);
    let verdict = judge(&scene);
    assert_eq!(verdict.violations_count, 0, "{verdict}");
    for invariant in Invariant::ALL {
        assert!(verdict.undecided.keys().any(|(of, _)| *of == invariant), "{invariant}: {verdict}");
    }
}

#[test]
fn durable_is_broken_by_another_entry_at_the_index() {
    breaks(Invariant::Durable, |scene| {
        // The entry there has an unknown outcome, so that nobody else was promised its place.
        let gone = hash_leaf(&body(GONE + 7));
        scene.told(SECOND * 3 + 9, FIRST, gone, Answer::Duplicate { index: SILENT });
    });
}

#[test]
fn durable_is_broken_by_entries_that_are_gone() {
    let mut scene = scene(None);
    scene.leaves.truncate(scene.leaves.len() - 1);
    let violated = judge(&scene).violated();
    assert!(violated.contains(&Invariant::Durable), "{violated:?}");
}

#[test]
fn unique_is_broken_by_an_entry_that_stands_twice() {
    let mut scene = scene(Some(5));
    let verdict = judge(&scene);
    assert_eq!(verdict.violated(), [Invariant::Unique], "{verdict}");
    // Also when every answer but the first is forgotten.
    scene.history.requests.retain(|request| request.index() != Some(BATCH * BATCHES - 1));
    let verdict = judge(&scene);
    assert_eq!(verdict.violated(), [Invariant::Unique], "{verdict}");
}

#[test]
fn same_size_same_root_is_broken_by_a_fork() {
    breaks(Invariant::SameSizeSameRoot, |scene| {
        let size = scene.heads[1].size;
        let note = scene.keys.v1_note(TreeHead { size, root: Hash([7; 32]) });
        kept(scene, &note);
    });
    breaks(Invariant::SameSizeSameRoot, |scene| {
        let head = TreeHead { size: scene.heads[1].size, root: Hash([7; 32]) };
        scene.history.held.push(Held { at: 0, witness: "w1".into(), head });
    });
}

#[test]
fn pairwise_consistent_is_broken_by_a_head_of_another_tree() {
    breaks(Invariant::PairwiseConsistent, |scene| {
        let size = scene.head_at(BATCH + 1).size;
        let note = scene.keys.v1_note(TreeHead { size, root: Hash([7; 32]) });
        kept(scene, &note);
    });
    breaks(Invariant::PairwiseConsistent, |scene| {
        let size = treering_proto::tree::TreeSize::new(BATCH * BATCHES + 1).unwrap();
        let note = scene.keys.v1_note(TreeHead { size, root: Hash([7; 32]) });
        kept(scene, &note);
    });
}

#[test]
fn monotonic_is_broken_by_an_old_checkpoint_as_the_newest() {
    let stale = |scene: &mut Scene, client: u32, start: u64| {
        let old = scene.history.checkpoints[2].note;
        let (span, who) = (Span { start, end: start + 1 }, Who { client, process: SECOND_PROCESS });
        let seen = SeenCheckpoint { who, span, source: Source::Newest, note: old };
        scene.history.checkpoints.push(seen);
    };
    breaks(Invariant::Monotonic, |scene| stale(scene, 0, SECOND * 11));
    // A client that saw nothing yet: but others were told of entries that this does not cover.
    breaks(Invariant::Monotonic, |scene| stale(scene, 12345, SECOND * 11));
    let mut early = scene(None);
    stale(&mut early, 12345, SECOND * 2 + 1);
    assert_eq!(judge(&early).violated(), [], "it covered all that was acknowledged then");
}

#[test]
fn real_time_order_is_broken_by_a_small_index_late() {
    breaks(Invariant::RealTimeOrder, |scene| {
        let span = &mut scene.history.requests[10].span;
        (span.start, span.end) = (span.start + SECOND, span.end + SECOND);
    });
    let mut again = scene(None);
    let mut early = again.history.requests[10].clone();
    again.history.requests[10].span.end += 2 * SECOND;
    again.history.requests[10].span.start += 2 * SECOND;
    early.answer = Answer::Unknown;
    again.history.requests.push(early);
    assert_eq!(judge(&again).violated(), [], "it had been submitted before, without an answer");
}

#[test]
fn content_is_broken_by_a_tile_or_an_entry_that_changed() {
    breaks(Invariant::Content, |scene| {
        scene.history.tiles[5].digest = Some(Hash([7; 32]));
    });
    breaks(Invariant::Content, |scene| scene.history.tiles[5].digest = None);
    breaks(Invariant::Content, |scene| {
        scene.history.entries[1].bundle.leaf = Hash([7; 32]);
    });
}

#[test]
fn time_is_broken_by_a_time_that_cannot_be() {
    // Before a dated checkpoint that does not have the entry.
    breaks(Invariant::Time, |scene| answer(scene, 5 * BATCH).time = Some(UNIX + 5));
    // After one that has it, and after its answer by the clock of the client.
    breaks(Invariant::Time, |scene| answer(scene, BATCH * BATCHES - 2).time = Some(UNIX + 99));
    // Two times of one entry.
    breaks(Invariant::Time, |scene| {
        scene.history.entries[1].bundle.index = 4;
        scene.history.entries[1].bundle.leaf = scene.leaves[4];
        scene.history.entries[1].bundle.time = Some(UNIX);
    });
    // Backwards, where nothing is dated.
    breaks(Invariant::Time, |scene| {
        scene.history.time_key = None;
        answer(scene, 5 * BATCH).time = Some(UNIX + 4);
    });
}

#[test]
fn times_are_not_held_against_the_client_while_the_clock_of_the_log_is_moved() {
    let mut moved = scene(None);
    moved.history.time_key = None;
    let last = BATCH * BATCHES - 2;
    answer(&mut moved, last).time = Some(UNIX + 99);
    moved.mark(0, Mark::ClockMoved);
    let verdict = judge(&moved);
    assert_eq!(verdict.violated(), [], "{verdict}");
    assert!(
        verdict
            .undecided
            .keys()
            .any(|(of, why)| *of == Invariant::Time && *why == "the clock of the server was moved")
    );
}

#[test]
fn offline_is_broken_by_whatever_does_not_verify() {
    breaks(Invariant::Offline, |scene| answer(scene, 7).led_to = None);
    breaks(Invariant::Offline, |scene| answer(scene, 7).led_to = Some(Hash([7; 32])));
    breaks(Invariant::Offline, |scene| answer(scene, 7).leaf = Hash([7; 32]));
    breaks(Invariant::Offline, |scene| {
        answer(scene, 10).set.as_mut().unwrap().digest = Hash([7; 32]);
    });
    breaks(Invariant::Offline, |scene| scene.history.consistencies[0].hashes.swap(0, 1));
    breaks(Invariant::Offline, |scene| {
        let other = Scene::new(1);
        let note = other.keys.v1_note(scene.heads[0]);
        kept(scene, &note);
    });
    breaks(Invariant::Offline, |scene| {
        let unreadable = Answer::Refused { status: 201, label: "unreadable".into() };
        scene.told(SECOND, FIRST, hash_leaf(&body(GONE)), unreadable);
    });
}

#[test]
fn honest_errors_are_broken_by_what_appears_and_by_success_while_latched() {
    breaks(Invariant::HonestErrors, |scene| {
        let silent = hash_leaf(&body(SILENT));
        let mut requests = scene.history.requests.iter_mut();
        let request = requests.find(|request| request.leaf == silent).unwrap();
        request.answer = Answer::Refused { status: 400, label: "bad-signature".into() };
    });
    breaks(Invariant::HonestErrors, |scene| {
        let silent = hash_leaf(&body(SILENT));
        scene.history.requests.retain(|request| request.leaf != silent);
    });
    breaks(Invariant::HonestErrors, |scene| {
        scene.mark(SECOND * 9 + 5, Mark::Latched { process: SECOND_PROCESS, said: "EIO".into() });
    });
    let mut twice = scene(Some(SILENT));
    let last = BATCH * BATCHES - 1;
    twice.history.requests.retain(|request| request.index() != Some(last));
    let verdict = judge(&twice);
    assert_eq!(verdict.violated(), [Invariant::HonestErrors], "{verdict}");
}

#[test]
fn search_is_broken_by_what_is_missing_and_by_what_is_not_there() {
    breaks(Invariant::Search, |scene| scene.history.searches[0].found.clear());
    breaks(Invariant::Search, |scene| {
        scene.history.searches[0].found.push((9, Hash([7; 32])));
    });
    breaks(Invariant::Search, |scene| {
        scene.history.searches[0].found.push((BATCH * BATCHES, Hash([7; 32])));
    });
}

#[test]
fn the_witness_floor_is_broken_by_a_roll_back_and_by_bad_cosignatures() {
    breaks(Invariant::WitnessFloor, |scene| {
        let size = treering_proto::tree::TreeSize::new(BATCH * BATCHES + 1).unwrap();
        let head = TreeHead { size, root: Hash([7; 32]) };
        scene.history.held.push(Held { at: 0, witness: "w1".into(), head });
    });
    breaks(Invariant::WitnessFloor, |scene| {
        let dates = Dates { log: UNIX + 2, witnesses: UNIX + 2 };
        let note = scene.keys.note(scene.heads[0], dates, &Cosigning::Forged);
        kept(scene, &note);
    });
}

#[test]
fn fencing_is_broken_by_two_writers_and_by_a_fenced_one_that_ends_well() {
    breaks(Invariant::Fencing, |scene| {
        let mut second = scene.history.requests[20].clone();
        second.who.process = FENCED;
        scene.history.requests.push(second);
    });
    breaks(Invariant::Fencing, |scene| {
        for marked in &mut scene.history.marks {
            if let Mark::Ended { process: FENCED, code, .. } = &mut marked.mark {
                *code = Some(0);
            }
        }
    });
}

#[test]
fn refusal_is_broken_by_damage_that_nobody_names() {
    breaks(Invariant::Refusal, |scene| {
        for marked in &mut scene.history.marks {
            match &mut marked.mark {
                Mark::Latched { said, .. } => *said = "something is damaged".into(),
                Mark::Repaired { file } => *file = "another".into(),
                _ => {}
            }
        }
    });
}

#[test]
fn a_history_in_a_file_reads_back_and_gives_the_same_verdict() {
    let mut scene = scene(None);
    scene.history.tiles[5].digest = None;
    let rebuilt = scene.rebuilt();
    let mut file = Vec::new();
    jsonl::write(&scene.history, &rebuilt, &mut file).unwrap();
    let (history, again) = jsonl::read(BufReader::new(file.as_slice())).unwrap();
    let mut copy = Vec::new();
    jsonl::write(&history, &again, &mut copy).unwrap();
    assert!(file == copy, "the copy of a copy differs");
    let verdict = check(&history, &again);
    assert_eq!(verdict.to_string(), judge(&scene).to_string());
    assert_eq!(verdict.violated(), [Invariant::Content]);
    // Whatever is cut or changed is an error or another history, and never a panic.
    let text = String::from_utf8(file).unwrap();
    for line in text.lines().take(60) {
        let broken = text.replacen(line, &line[..line.floor_char_boundary(line.len() / 2)], 1);
        assert!(jsonl::read(broken.as_bytes()).is_err(), "{line}");
    }
    assert!(jsonl::read(&b""[..]).is_err());
}

/// How many entries the long history has, unless `TREERING_CHECKER_ENTRIES` says otherwise.
const MANY: u64 = 100_000;

#[test]
fn a_long_history_is_decided() {
    let said = std::env::var("TREERING_CHECKER_ENTRIES").ok();
    let many = said.map_or(MANY, |text| text.parse().expect("a number of entries"));
    let mut scene = Scene::new(50);
    let made = std::time::Instant::now();
    for first in (0..many).step_by(500) {
        let bodies: Vec<Vec<u8>> = (first..many.min(first + 500)).map(body).collect();
        scene.batch(&bodies, FIRST);
    }
    scene.read(FIRST);
    let rebuilt = scene.rebuilt();
    let began = std::time::Instant::now();
    let verdict = check(&scene.history, &rebuilt);
    println!("{many} entries: made in {:?}, checked in {:?}", began - made, began.elapsed());
    assert_eq!(verdict.violated(), [], "{verdict}");
    assert!(verdict.decided[&Invariant::Durable] == many, "{verdict}");
}
