//! What is read, and whether it is right.
//!
//! | what | Rekor v2, and the log's own face | Rekor v1 | a server of `/add` |
//! |---|---|---|---|
//! | hash tiles, entry tiles | `tile/...` | the same | the same |
//! | proofs | `api/treering/v1/entries/{index}` | `log/entries?logIndex=` | none |
//! | search by digest | `api/treering/v1/search` | `index/retrieve` | none |
//!
//! The questions come from the log itself: its newest checkpoint and, for searches, digests out of
//! its entry tiles.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use treering_proto::entry::Entry;
use treering_proto::facts::{Fact, Tag};
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::tile::{TILE_WIDTH, Tile, TileKind, decode_entries, decode_hashes};
use treering_proto::tree::LeafIndex;

use super::check::{Verdict, open_v1, open_v2};
use super::face::Face;
use super::log_key::LogKey;
use super::measured::Kept;
use super::requests::{Question, Requests};
use super::served_tree::ServedTree;
use super::target::Target;

/// Different questions of one load: enough that no server has all answers at hand for having been
/// asked a moment ago, except one that keeps everything.
const QUESTIONS_MAX: u64 = 4096;

/// What is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    /// Full hash tiles of level 0.
    Tiles,
    /// Full entry tiles.
    Entries,
    /// Single entries with their proofs.
    Proofs,
    /// The entries with a digest.
    Search,
}

/// Questions, and what answers must be.
pub struct Plan {
    requests: Requests,
    wanted: Wanted,
    tree: ServedTree,
    key: LogKey,
}

enum Wanted {
    /// Indexes of tiles.
    Tiles(Vec<u64>),
    Entries(Vec<u64>),
    Proofs(Face, Vec<LeafIndex>),
    Search(Face, Vec<Logged>),
}

/// An entry that must be found.
struct Logged {
    index: LeafIndex,
    leaf: Hash,
    fact: Fact,
}

impl Plan {
    /// What to ask the log at `target`.
    ///
    /// # Errors
    /// If it is too small, or has no such face.
    pub async fn new(
        reads: Reads,
        face: Face,
        target: Target,
        key: LogKey,
    ) -> anyhow::Result<Self> {
        let tree = ServedTree::open(target.clone(), &key).await?;
        let size = tree.head().size.get();
        let (wanted, questions) = match reads {
            Reads::Tiles | Reads::Entries => {
                ensure!(size >= TILE_WIDTH, "the log has {size} entries, and no full tile yet");
                let tiles = spread(size / TILE_WIDTH, QUESTIONS_MAX);
                let kind =
                    if reads == Reads::Tiles { TileKind::Hashes(0) } else { TileKind::Entries };
                let path = |index: &u64| tile_path(kind, *index, TILE_WIDTH);
                let questions = tiles.iter().map(|index| Question::Get(path(index))).collect();
                let is_hashes = reads == Reads::Tiles;
                (if is_hashes { Wanted::Tiles(tiles) } else { Wanted::Entries(tiles) }, questions)
            }
            Reads::Proofs => {
                ensure!(size > 0, "the log has no entry yet");
                let indexes: Vec<_> =
                    spread(size, QUESTIONS_MAX).into_iter().filter_map(LeafIndex::new).collect();
                let ask = |index: &LeafIndex| proof_question(face, *index);
                let questions = indexes.iter().map(ask).collect::<anyhow::Result<_>>()?;
                (Wanted::Proofs(face, indexes), questions)
            }
            Reads::Search => {
                let logged = some_entries(face, &target, size).await?;
                let ask = |logged: &Logged| search_question(face, &logged.fact);
                let questions = logged.iter().map(ask).collect::<anyhow::Result<_>>()?;
                (Wanted::Search(face, logged), questions)
            }
        };
        Ok(Self { requests: Requests::ask(Arc::new(questions)), wanted, tree, key })
    }

    /// The questions, over and over.
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// How many different questions there are.
    pub fn question_count(&self) -> usize {
        match &self.wanted {
            Wanted::Tiles(tiles) | Wanted::Entries(tiles) => tiles.len(),
            Wanted::Proofs(_, indexes) => indexes.len(),
            Wanted::Search(_, logged) => logged.len(),
        }
    }

    /// Checks answers that were kept.
    pub async fn check(&mut self, kept: &[Kept]) -> Verdict {
        let mut verdict = Verdict::default();
        for kept in kept {
            let checked = self.check_one(kept.number, &kept.body).await;
            verdict.add(kept.number, checked);
        }
        verdict
    }

    async fn check_one(&mut self, number: usize, answer: &[u8]) -> anyhow::Result<()> {
        let at = number % self.question_count();
        match &self.wanted {
            Wanted::Tiles(tiles) => {
                let hashes = decode_hashes(answer).context("not a row of hashes")?;
                self.tree.check_tile(tiles[at], &hashes).await
            }
            Wanted::Entries(tiles) => {
                let entries = decode_entries(answer, TILE_WIDTH)?;
                let hashes: Vec<Hash> = entries.into_iter().map(hash_leaf).collect();
                self.tree.check_tile(tiles[at], &hashes).await
            }
            Wanted::Proofs(face, indexes) => {
                let proved = match face {
                    Face::RekorV1 => open_v1(&self.key, answer)?,
                    Face::RekorV2 | Face::Add => open_v2(&self.key, answer)?,
                };
                ensure!(
                    proved.index == indexes[at],
                    "asked for {}, not {}",
                    indexes[at],
                    proved.index
                );
                Ok(())
            }
            Wanted::Search(face, logged) => check_found(*face, &logged[at], answer),
        }
    }
}

/// Up to `most` numbers below `end`, each once, all over it and in an order that no read-ahead
/// helps, but always the same. `end` is not 0.
pub fn spread(end: u64, most: u64) -> Vec<u64> {
    // Steps of nearly the golden section of the range come back to no number soon.
    let step = (end as f64 * 0.618_033_988_75) as u64;
    let step = (step..).find(|step| are_coprime(*step, end)).unwrap_or(1);
    (0..end.min(most))
        .map(|n| (u128::from(n) * u128::from(step) % u128::from(end)) as u64)
        .collect()
}

/// Whether no factor but 1 is in both.
pub fn are_coprime(mut a: u64, mut b: u64) -> bool {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

fn tile_path(kind: TileKind, index: u64, width: u64) -> String {
    format!("/{}", Tile { kind, index, width }.path())
}

fn proof_question(face: Face, index: LeafIndex) -> anyhow::Result<Question> {
    Ok(Question::Get(match face {
        Face::RekorV2 => format!("/api/treering/v1/entries/{index}"),
        Face::RekorV1 => format!("/api/v1/log/entries?logIndex={index}"),
        Face::Add => bail!("a server of /add gives no proofs; read its tiles"),
    }))
}

fn search_question(face: Face, fact: &Fact) -> anyhow::Result<Question> {
    let value = str::from_utf8(&fact.value).context("a digest is ASCII")?;
    Ok(match face {
        Face::RekorV2 => {
            Question::Get(format!("/api/treering/v1/search?{}={value}&limit=10", fact.tag.name()))
        }
        Face::RekorV1 => Question::Post {
            path: "/api/v1/index/retrieve",
            json: json!({ "hash": value }).to_string(),
        },
        Face::Add => bail!("a server of /add has no search; read its tiles"),
    })
}

/// Entries out of some entry tiles, each with a digest that it is found by.
async fn some_entries(face: Face, target: &Target, size: u64) -> anyhow::Result<Vec<Logged>> {
    ensure!(size > 0, "the log has no entry yet");
    let mut logged = Vec::new();
    for tile in spread(size.div_ceil(TILE_WIDTH), QUESTIONS_MAX) {
        let first = tile * TILE_WIDTH;
        let width = TILE_WIDTH.min(size - first);
        let bytes = target.fetch(&tile_path(TileKind::Entries, tile, width)).await?;
        for (at, body) in decode_entries(&bytes, width)?.into_iter().enumerate() {
            let Ok(entry) = Entry::parse(body) else { continue };
            let facts = entry.facts(None).into_iter();
            let mut digests = facts.filter(|fact| {
                // Rekor v1 takes no SHA-384 in a search.
                let is_taken = face != Face::RekorV1 || !fact.value.starts_with(b"sha384:");
                is_taken && matches!(fact.tag, Tag::ArtifactDigest | Tag::PayloadDigest)
            });
            let index = LeafIndex::new(first + at as u64);
            if let (Some(fact), Some(index)) = (digests.next(), index) {
                logged.push(Logged { index, leaf: hash_leaf(body), fact });
            }
        }
        if logged.len() as u64 >= QUESTIONS_MAX {
            break;
        }
    }
    ensure!(!logged.is_empty(), "the log has no entry with a digest to search for");
    Ok(logged)
}

/// Whether the answer to a search has the entry. Others may have the same digest.
fn check_found(face: Face, logged: &Logged, answer: &[u8]) -> anyhow::Result<()> {
    let answer: Value = serde_json::from_slice(answer)?;
    let leaf = logged.leaf.to_hex();
    let is_named = |id: &Value| id.as_str().is_some_and(|id| id.ends_with(&leaf));
    let is_found = match face {
        Face::RekorV1 => answer.as_array().is_some_and(|ids| ids.iter().any(is_named)),
        Face::RekorV2 | Face::Add => {
            let index = logged.index.to_string();
            let mut hits = answer["entries"].as_array().into_iter().flatten();
            hits.any(|hit| is_named(&hit["entryId"]) && hit["index"] == index.as_str())
        }
    };
    ensure!(is_found, "entry {} is not found by its digest", logged.index);
    Ok(())
}

#[cfg(test)]
mod tests;
