//! Reads: tiles of hashes and of entries, proofs by index, searches by digest. Each sort over many
//! connections beside a bare server, and the last two over one connection for their times.
//!
//! Invariants: what is read is spread over the whole log, in an order that is always the same; a
//! load repeats a question only after all of a small log, or very many entries, were asked for;
//! kept answers are checked against the tree.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::entry::Entry;
use treering_proto::facts::Tag;
use treering_proto::hash::Hash;
use treering_proto::tile::{TILE_WIDTH, Tile, TileKind, decode_hashes};
use treering_tests::hammer::check;
use treering_tests::hammer::load::{KEPT_ONE_IN, Load};
use treering_tests::hammer::log_key::LogKey;
use treering_tests::hammer::measured::Kept;
use treering_tests::hammer::reads::{are_coprime, spread};
use treering_tests::hammer::requests::{Question, Requests};

use crate::bare::Sample;
use crate::figures::ReadBack;
use crate::loads::{Runs, counted};
use crate::quantity::{Times, Unit, grouped};
use crate::report::{Counts, Part, Row};
use crate::run::Bench;
use crate::server::Live;
use crate::targets::{HASH_TILES, MANY};

/// Tiles that are read in turn: all of them up to 12,800,000 entries.
const TILES_MAX: u64 = 50_000;

/// Entries that are read by index in turn: more than a load of the usual length asks for.
const PROOFS_MAX: u64 = 500_000;

/// Entries that are searched for in turn. Each is read once before, for its digest.
const SEARCHES_MAX: u64 = 100_000;

/// Entries that are read for their digests at once, which bounds the memory for them, and how long
/// that may take.
const DIGESTS_AT_ONCE: usize = 10_000;
const DIGESTS_TIME_MAX: Duration = Duration::from_secs(60);

/// What is asked about single entries.
pub(crate) struct EntryReads {
    proofs: Reading,
    searches: Reading,
}

/// Reads of one sort: questions in turn, and how their answers are checked.
struct Reading {
    what: &'static str,
    paths: Vec<String>,
    expected: Expected,
}

/// What right answers are.
enum Expected {
    /// Tiles, each of which leads to its hash among these.
    HashTiles(Vec<Hash>),
    /// The same of entries.
    EntryTiles(Vec<Hash>),
    /// Proofs of the entries at these indexes.
    Proofs(Vec<u64>),
    /// The entry at its index among these, and no other.
    Hits(Vec<u64>),
}

impl Bench<'_> {
    /// All sorts, over many connections.
    pub(crate) fn read(&mut self, live: &Live, entries: &EntryReads) -> anyhow::Result<()> {
        let tiles = self.tiles(live)?;
        for reading in tiles.iter().chain([&entries.proofs, &entries.searches]) {
            let what = format!("{}, {}", reading.what, counted(MANY));
            eprintln!("reads, {what}");
            let (runs, sample) = self.ask(live, reading, MANY)?;
            let requests = Requests::ask(Arc::new(vec![Question::Get(reading.paths[0].clone())]));
            let bare = self.answer_bare(Part::Reads, reading.what, &sample, MANY, requests)?;
            let row = Row::new(what, runs.rate, Unit::PerSecond("answers")).times(runs.times);
            let row = row.over(runs.rate.median / bare.median, "bare hyper");
            let cpu = Unit::Seconds.show(runs.cpu_each);
            self.report
                .push(Part::Reads, row.note(format!("server {cpu} of CPU; {}", runs.others())));
            let (what, rate) = (reading.what, runs.rate);
            self.report.figures.reads.push(ReadBack { what, rate, bare });
        }
        Ok(())
    }

    /// Times of proofs by index and of searches over one connection: what a client sees that waits
    /// for nobody else, which is more than what they take in the server.
    pub(crate) fn read_alone(
        &mut self,
        live: &Live,
        entries: &EntryReads,
    ) -> anyhow::Result<(Times, Times)> {
        eprintln!("reads over one connection");
        let (proofs, _) = self.ask(live, &entries.proofs, 1)?;
        let (searches, _) = self.ask(live, &entries.searches, 1)?;
        Ok((proofs.times, searches.times))
    }

    /// What to ask about single entries all over the log.
    pub(crate) fn entry_reads(&mut self, live: &Live) -> anyhow::Result<EntryReads> {
        Ok(EntryReads { proofs: proofs(live.size), searches: self.searches(live)? })
    }

    /// Asks as often as wanted and checks the answers; and one answer as a bare server repeats it.
    fn ask(
        &mut self,
        live: &Live,
        reading: &Reading,
        connections: usize,
    ) -> anyhow::Result<(Runs, Sample)> {
        let questions = reading.paths.iter().cloned().map(Question::Get).collect();
        let requests = Requests::ask(Arc::new(questions));
        let address = live.server.address;
        let load = match connections {
            1 => self.short(address, connections, requests),
            _ => self.closed(address, connections, requests),
        };
        let runs = self.repeat(&live.server.running, &load)?;
        for run in &runs {
            let measured = &run.measured;
            reading
                .check(live.log.key(), live.size, &measured.kept)
                .with_context(|| format!("reads of {}", reading.what))?;
            let (answers, verified) = (measured.answers, measured.kept.len());
            self.report.count(Counts { answers, verified, ..Counts::default() });
        }
        Ok((Runs::of(&runs)?, Sample::take(address, &reading.paths[0], None)?))
    }

    /// Full tiles of hashes and of entries, all over the log.
    fn tiles(&self, live: &Live) -> anyhow::Result<[Reading; 2]> {
        let full = live.size / TILE_WIDTH;
        ensure!(full > 0, "the log has no full tile yet");
        let mut above = Vec::new();
        for index in 0..full.div_ceil(TILE_WIDTH) {
            let width = TILE_WIDTH.min(full - index * TILE_WIDTH);
            let tile = tile_path(TileKind::Hashes(1), index, width);
            let hashes = decode_hashes(&live.server.fetch(&self.runtime, &tile)?);
            above.extend(hashes.context("a tile is not a row of hashes")?);
        }
        ensure!(above.len() as u64 == full, "the tiles above are about {} tiles", above.len());
        let tiles = in_turn(spread(full, TILES_MAX));
        let parents: Vec<Hash> = tiles.iter().map(|tile| above[*tile as usize]).collect();
        let paths = |kind| tiles.iter().map(|tile| tile_path(kind, *tile, TILE_WIDTH)).collect();
        Ok([
            Reading {
                what: HASH_TILES,
                paths: paths(TileKind::Hashes(0)),
                expected: Expected::HashTiles(parents.clone()),
            },
            Reading {
                what: "entry tiles",
                paths: paths(TileKind::Entries),
                expected: Expected::EntryTiles(parents),
            },
        ])
    }

    /// Searches for the digests of entries all over the log.
    fn searches(&mut self, live: &Live) -> anyhow::Result<Reading> {
        let indexes = in_turn(spread(live.size, SEARCHES_MAX));
        eprintln!("reading {} entries for their digests", grouped(indexes.len() as u64));
        let mut paths = Vec::new();
        for some in indexes.chunks(DIGESTS_AT_ONCE) {
            let questions = some.iter().map(|index| Question::Get(proof_path(*index))).collect();
            let requests = Requests::ask(Arc::new(questions)).at_most(some.len());
            let load = self.closed(live.server.address, MANY, requests);
            let (warm_up, time) = (Duration::ZERO, DIGESTS_TIME_MAX);
            let load = Load { warm_up, time, kept_one_in: 1, ..load };
            let mut answers = self.load(&live.server.running, &load)?.measured.kept;
            ensure!(answers.len() == some.len(), "{} entries were read", answers.len());
            answers.sort_unstable_by_key(|answer| answer.number);
            for answer in answers {
                paths.push(search_path(&answer.body)?);
            }
        }
        Ok(Reading { what: "searches by digest", paths, expected: Expected::Hits(indexes) })
    }
}

impl Reading {
    fn check(&self, key: &LogKey, size: u64, kept: &[Kept]) -> anyhow::Result<()> {
        let place = |kept: &Kept| kept.number % self.paths.len();
        let tiles = || kept.iter().map(|kept| (place(kept), kept.body.clone())).collect::<Vec<_>>();
        match &self.expected {
            Expected::HashTiles(above) => check::check_tiles(&tiles(), above),
            Expected::EntryTiles(above) => check::check_entry_tiles(&tiles(), above),
            Expected::Proofs(indexes) => kept.iter().try_for_each(|kept| {
                let proved = check::open_v2(key, &kept.body)?;
                let index = indexes[place(kept)];
                ensure!(proved.index.get() == index, "entry {index} is another one");
                ensure!(proved.head.size.get() == size, "the proof is for another size");
                Ok(())
            }),
            Expected::Hits(indexes) => {
                kept.iter().try_for_each(|kept| check_hit(&kept.body, indexes[place(kept)]))
            }
        }
    }
}

/// Checks that a search found the entry at `index` and nothing else.
fn check_hit(answer: &[u8], index: u64) -> anyhow::Result<()> {
    let answer: Value = serde_json::from_slice(answer)?;
    match answer["entries"].as_array().map(Vec::as_slice) {
        Some([hit]) if hit["index"].as_str() == Some(&index.to_string()) => Ok(()),
        _ => bail!("a search for the entry at {index} found {answer}"),
    }
}

fn proofs(size: u64) -> Reading {
    let indexes = in_turn(spread(size, PROOFS_MAX));
    let paths = indexes.iter().copied().map(proof_path).collect();
    Reading { what: "proofs by index", paths, expected: Expected::Proofs(indexes) }
}

/// `questions`, of which there is one, without the last few: so many that in the end the answers to
/// all of them are kept, when they are asked over and over.
fn in_turn(mut questions: Vec<u64>) -> Vec<u64> {
    while questions.len() > 1 && !are_coprime(questions.len() as u64, KEPT_ONE_IN as u64) {
        questions.pop();
    }
    questions
}

fn tile_path(kind: TileKind, index: u64, width: u64) -> String {
    format!("/{}", Tile { kind, index, width }.path())
}

fn proof_path(index: u64) -> String {
    format!("/api/treering/v1/entries/{index}")
}

/// The search that must find the entry in `answer`. That the answer is right need not be checked:
/// the search must find the entry at this index, whatever its digest is.
fn search_path(answer: &[u8]) -> anyhow::Result<String> {
    let answer = TransparencyLogEntry::parse(answer)?;
    let facts = Entry::parse(&answer.canonicalized_body)?.facts(None);
    let fact = facts.iter().find(|fact| fact.tag == Tag::ArtifactDigest);
    let digest = str::from_utf8(&fact.context("an entry without a digest")?.value)?;
    Ok(format!("/api/treering/v1/search?artifact-digest={digest}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_questions_have_their_answers_kept_in_turn() {
        for count in [1, 2, 3, 17, 18, 50, 51, 256, 3_906, PROOFS_MAX, SEARCHES_MAX] {
            let asked = in_turn((0..count).collect()).len();
            assert!(asked > 0 && asked as u64 + 2 >= count, "{asked} of {count}");
            let kept: BTreeSet<usize> = (0..asked).map(|n| n * KEPT_ONE_IN % asked).collect();
            assert_eq!(kept.len(), asked, "{count}");
        }
    }

    #[test]
    fn a_search_must_find_its_entry_and_nothing_else() {
        let found = |entries: &str| format!("{{\"treeSize\":\"9\",\"entries\":[{entries}]}}");
        let one = r#"{"index":"7"}"#;
        assert!(check_hit(found(one).as_bytes(), 7).is_ok());
        assert!(check_hit(found(one).as_bytes(), 8).is_err());
        assert!(check_hit(found("").as_bytes(), 7).is_err());
        assert!(check_hit(found(&format!("{one},{one}")).as_bytes(), 7).is_err());
    }
}
