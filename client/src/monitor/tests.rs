use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;
use treering_proto::facts::Tag;
use treering_proto::hash::sha256;
use treering_proto::tree::TreeSize;

use super::findings::Line;
use super::rules::Rules;
use super::search::LocalIndex;
use super::*;
use crate::search_check::SearchOrder;
use crate::test_author::Author;
use crate::test_log::{ORIGIN, Served, TestLog};

mod faults;
mod heads;
mod lies;

const NOW: u64 = 1_800_000_000;

/// A served log, and a monitor's directory.
struct Watch {
    served: Served,
    author: Author,
    dir: TempDir,
    lines: Arc<Mutex<Vec<String>>>,
    rules: Rules,
    witnesses: Vec<u8>,
    max_age: Option<u64>,
    chunk_entries: usize,
    chunks_max: usize,
    start: Option<SignedCheckpoint>,
    other_payloads: bool,
    with_identity: bool,
}

impl Watch {
    /// A log of `count` entries.
    fn new(count: usize) -> Self {
        let author = Author::new();
        let mut log = TestLog::new(1);
        author.fill(&mut log, count);
        Self {
            served: log.serve(),
            author,
            dir: TempDir::new().unwrap(),
            lines: Arc::default(),
            rules: Rules::default(),
            witnesses: Vec::new(),
            max_age: None,
            chunk_entries: 100,
            chunks_max: usize::MAX,
            start: None,
            other_payloads: false,
            with_identity: true,
        }
    }

    fn rules(mut self, text: &str) -> Self {
        self.rules = Rules::parse(text.as_bytes()).unwrap();
        self
    }

    /// A monitor, as after a restart.
    fn monitor(&self) -> Monitor {
        let log = self.served.log.lock().unwrap();
        let mut trust = log.trust(&self.served.url, Vec::new(), &self.witnesses);
        if self.with_identity {
            trust.log.identity = Some(log.identity_document());
        }
        let source = Source {
            transport: self.served.transport(),
            trust,
            answer_time: std::time::Duration::from_secs(60),
            signatures: true,
            other_payloads: self.other_payloads,
            rules: Arc::new(self.rules.clone()),
        };
        let pace =
            Pace { tiles: 3, chunk_entries: self.chunk_entries, chunks_max: self.chunks_max };
        let directory = self.dir.path().join("log");
        let options = Options { directory, start: self.start.clone(), max_age: self.max_age, pace };
        let lines = self.lines.clone();
        let listener = Arc::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()));
        Monitor::new(source, options, listener)
    }

    async fn round(&self) -> Round {
        self.monitor().round(NOW).await
    }

    fn grow(&self, count: usize) {
        self.author.fill(&mut self.served.log.lock().unwrap(), count);
    }

    /// Changes the answers whose request contains `part`; with a `$` at its end, ends with it.
    fn tamper(
        &self,
        part: &'static str,
        change: impl Fn(Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
    ) {
        *self.served.tamper.lock().unwrap() = Some(Box::new(move |line, body| {
            let is_meant = match part.strip_suffix('$') {
                Some(end) => line.ends_with(end),
                None => line.contains(part),
            };
            if is_meant { change(body) } else { Some(body) }
        }));
    }

    fn checkpoint(&self, size: u64) -> SignedCheckpoint {
        let log = self.served.log.lock().unwrap();
        let note = log.checkpoint(TreeSize::new(size).unwrap(), &[]);
        open_checkpoint(note.as_bytes(), ORIGIN, &[log.note_key()]).unwrap()
    }

    fn show(&self, note: String, always: bool) {
        *self.served.shown.lock().unwrap() = Some((note, always));
    }

    /// The findings that were told, as kind and index.
    fn told(&self) -> Vec<(String, Option<u64>)> {
        let lines = self.lines.lock().unwrap();
        let line = |line: &String| serde_json::from_str::<Line>(line).unwrap();
        lines.iter().map(line).map(|line| (line.finding, line.index)).collect()
    }

    fn evidence(&self) -> Vec<String> {
        let directory = self.dir.path().join("log/evidence");
        let Ok(files) = std::fs::read_dir(directory) else { return Vec::new() };
        let mut texts: Vec<String> =
            files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        texts.sort();
        texts
    }

    fn index(&self) -> LocalIndex {
        LocalIndex::open(&self.dir.path().join("log"), ORIGIN).unwrap()
    }

    /// What the index says, and what the log says, about a name and a digest.
    fn assert_index_is_complete(&self) {
        let index = self.index();
        let bodies = self.served.log.lock().unwrap().bodies.clone();
        let (start, end) = index.read();
        assert_eq!(end, bodies.len() as u64);
        let claims: BTreeSet<u64> = (start..end).filter(|at| at % 3 == 0).collect();
        assert_eq!(index.matching(&[(Tag::SubjectName, "model")]).unwrap(), claims);
        for at in (start..end).step_by(37).chain([end - 1]) {
            let digest = format!("sha256:{}", sha256(format!("bytes {at}").as_bytes()));
            let found = index.matching(&[(Tag::ArtifactDigest, digest.as_str())]).unwrap();
            assert_eq!(found, BTreeSet::from([at]));
            let page = index.page(&found, SearchOrder::Newest, None, 10).unwrap();
            let leaf = treering_proto::hash::hash_leaf(&bodies[at as usize]);
            assert_eq!(page.hits[0].leaf, leaf);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_log_is_read_to_its_end_and_nothing_is_told() {
    let watch = Watch::new(0);
    let mut monitor = watch.monitor();
    let mut size = 0;
    for growth in [0, 1, 0, 254, 1, 1, 300] {
        watch.grow(growth);
        size += growth as u64;
        let round = monitor.round(NOW).await;
        assert_eq!(round.exit(), Exit::Ok, "{:?} {:?}", round.told, round.failure);
        assert_eq!((round.size, round.verified), (Some(size), size));
        assert_eq!((round.entries, round.tally.verified), (growth as u64, growth as u64));
        assert_eq!((round.success, round.v1_unknown), (NOW, None));
    }
    drop(monitor);
    assert_eq!(watch.told(), []);
    watch.assert_index_is_complete();
    let again = watch.round().await;
    assert_eq!((again.exit(), again.entries, again.verified), (Exit::Ok, 0, size));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tile_is_asked_for_that_the_checkpoint_does_not_imply() {
    let watch = Watch::new(300);
    watch.round().await;
    let tiles: Vec<String> = watch.served.asked();
    let tiles: BTreeSet<&str> =
        tiles.iter().filter_map(|line| line.strip_prefix("GET /tile/")).collect();
    let expected = ["0/000", "0/001.p/44", "1/000.p/1", "entries/000", "entries/001.p/44"];
    assert_eq!(tiles, BTreeSet::from(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_tile_that_was_dropped_is_read_from_the_full_one() {
    let watch = Watch::new(20);
    let note = watch.checkpoint(10);
    watch.show(String::from_utf8(note.note_bytes().to_vec()).unwrap(), true);
    watch.grow(300);
    watch.tamper(".p/10", |_| None);
    // The v1 face is ahead, because the log hides its newest checkpoint.
    let watch = Watch { with_identity: false, ..watch };
    let round = watch.round().await;
    assert_eq!((round.exit(), round.verified), (Exit::Ok, 10), "{:?}", round.unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_start_reads_nothing_before_it_and_everything_after() {
    for pinned in [1, 256, 300] {
        let mut watch = Watch::new(350);
        watch.start = Some(watch.checkpoint(pinned));
        let round = watch.round().await;
        assert_eq!(round.exit(), Exit::Ok, "{:?} {:?}", round.told, round.failure);
        assert_eq!((round.start, round.verified), (pinned, 350));
        assert_eq!(round.entries, 350 - pinned);
        watch.assert_index_is_complete();
        watch.grow(100);
        // The pin is for the first start only.
        watch.start = Some(watch.checkpoint(450));
        assert_eq!(watch.round().await.start, pinned);
        watch.assert_index_is_complete();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_checkpoint_of_another_tree_is_a_fork() {
    let mut watch = Watch::new(10);
    watch.start = Some(watch.checkpoint(9));
    watch.round().await;
    let mut log = TestLog::new(1);
    watch.author.fill(&mut log, 20);
    *watch.served.log.lock().unwrap() = log;
    let round = Watch { with_identity: false, ..watch }.round().await;
    assert_eq!(round.told.new[0].kind, FindingKind::Fork);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_floor_of_the_trust_file_is_held_against_the_log() {
    let watch = Watch::new(9);
    let floor = watch.checkpoint(4);
    let mut other = TestLog::new(1);
    watch.author.fill(&mut other, 12);
    *watch.served.log.lock().unwrap() = other;
    let mut monitor = watch.monitor();
    let source = Arc::get_mut(&mut monitor.source).unwrap();
    source.trust.floor = Some(floor);
    let round = monitor.round(NOW).await;
    assert_eq!(round.told.new[0].kind, FindingKind::Fork);
    assert!(watch.evidence()[0].contains("kind fork-prefix"));
    assert_eq!(round.verified, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_is_a_line_of_json_with_the_entry_that_it_is_about() {
    let watch = Watch::new(4);
    watch.served.log.lock().unwrap().append(b"nonsense".to_vec());
    watch.round().await;
    let line: Value = serde_json::from_str(&watch.lines.lock().unwrap()[0]).unwrap();
    assert_eq!(line["schema"], "treering.finding/v1");
    assert_eq!((&line["finding"], &line["index"]), (&"entry-unparseable".into(), &4.into()));
    assert_eq!(line["log"], ORIGIN);
    let leaf = treering_proto::hash::hash_leaf(b"nonsense");
    assert_eq!(line["entryId"], format!("0000000000001267{leaf}"));
    let file = std::fs::read_to_string(watch.dir.path().join("log/findings.jsonl")).unwrap();
    assert_eq!(file.trim_end(), watch.lines.lock().unwrap()[0]);
}
