//! The judge: reads a served log from its first entry, rebuilds it, and holds everything that was
//! ever said against it. It does not know what was done to the log, and believes nothing that the
//! server computed.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use treering_proto::audit::{Audit, Finding};
use treering_proto::checkpoint::open_checkpoint;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::identity::LogIdentity;
use treering_proto::proof::check_inclusion;
use treering_proto::tile::{
    TILE_WIDTH, Tile, TileKind, decode_entries, decode_hashes, encode_hashes,
};
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize};
use treering_tests::http::Connection;

use crate::record::{Ack, Asked, Record, Said};
use crate::violation::{Checked, Invariant, broken, must};

/// How far the clocks of client and log may be apart, in milliseconds.
const CLOCKS_APART_MAX: u64 = 3_000;

/// A log as it is served.
pub(crate) struct Served {
    /// Leaves, in order.
    pub(crate) leaves: Vec<Hash>,
}

/// Checks everything.
pub(crate) fn judge(
    address: SocketAddr,
    identity: &LogIdentity,
    record: &mut Record,
) -> Checked<Served> {
    let get = |path: &str| get(address, path);
    let note = String::from_utf8_lossy(&get("/checkpoint")?).into_owned();
    let newest = open(identity, &note)?;
    record.notes.push(note);
    let size = newest.size.get();
    must(Invariant::Monotonic, size >= record.size_seen, || {
        format!("the log shrank from {} to {size}", record.size_seen)
    })?;
    record.size_seen = size;
    let heads = open_all(identity, record)?;
    let entries = read_entries(&get, newest.size)?;
    audit(&get, &entries, heads, newest)?;
    let leaves: Vec<Hash> = entries.iter().map(|entry| hash_leaf(entry)).collect();
    check_tiles(record, &leaves)?;
    check_asked(identity, record, &leaves)?;
    Ok(Served { leaves })
}

/// The bytes at `path`, of a log that must have them. On a connection of its own: between two
/// requests the judge verifies for longer than a server keeps an idle one.
fn get(address: SocketAddr, path: &str) -> Checked<Vec<u8>> {
    match Connection::open(address).and_then(|mut connection| connection.get(path)) {
        Ok(response) if response.status == 200 => Ok(response.body),
        Ok(response) => {
            broken(Invariant::Durable, format!("{path}: {} {}", response.status, response.text()))
        }
        Err(error) => broken(Invariant::Available, format!("{path}: {error}")),
    }
}

fn open(identity: &LogIdentity, note: &str) -> Checked<TreeHead> {
    let is_v1 = note.starts_with(&format!("{}\n", identity.v1_origin()));
    let opened = if is_v1 {
        open_checkpoint(note.as_bytes(), &identity.v1_origin(), &[identity.v1_note_key()])
    } else {
        open_checkpoint(note.as_bytes(), identity.origin(), &[identity.note_key().clone()])
    };
    match opened {
        Ok(checkpoint) => Ok(checkpoint.head()),
        Err(error) => broken(Invariant::Offline, format!("{error}: {note:?}")),
    }
}

/// Every head in the record; one for each size.
fn open_all(identity: &LogIdentity, record: &Record) -> Checked<BTreeMap<u64, TreeHead>> {
    let mut heads = BTreeMap::new();
    let acks = record.asked.iter().filter_map(|asked| match &asked.said {
        Said::Logged(ack) => Some(&ack.note),
        _ => None,
    });
    for note in acks.chain(&record.notes) {
        let head = open(identity, note)?;
        let known = *heads.entry(head.size.get()).or_insert(head);
        must(Invariant::Consistent, known == head, || {
            format!("two checkpoints of size {}: {} and {}", head.size, known.root, head.root)
        })?;
    }
    Ok(heads)
}

fn read_entries(get: &impl Fn(&str) -> Checked<Vec<u8>>, size: TreeSize) -> Checked<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    while (entries.len() as u64) < size.get() {
        let first = entries.len() as u64;
        let width = TILE_WIDTH.min(size.get() - first);
        let tile = Tile { kind: TileKind::Entries, index: first / TILE_WIDTH, width };
        let bytes = get(&format!("/{}", tile.path()))?;
        match decode_entries(&bytes, width) {
            Ok(decoded) => entries.extend(decoded.into_iter().map(<[u8]>::to_vec)),
            Err(error) => {
                return broken(Invariant::Content, format!("{}: {error:?}", tile.path()));
            }
        }
    }
    Ok(entries)
}

/// Holds the tree that the entries make against tiles and heads.
fn audit(
    get: &impl Fn(&str) -> Checked<Vec<u8>>,
    entries: &[Vec<u8>],
    heads: BTreeMap<u64, TreeHead>,
    newest: TreeHead,
) -> Checked {
    let tiles = |tile: Tile| decode_hashes(&get(&format!("/{}", tile.path())).ok()?);
    let mut audit = Audit::new(heads.into_values(), Box::new(tiles));
    entries.iter().for_each(|entry| audit.entry(entry));
    audit.compare_growing();
    let report = audit.finish();
    if let Some(finding) = report.findings.first() {
        let invariant = match finding {
            Finding::HeadBeyondEntries { .. } => Invariant::Durable,
            Finding::EntryUnreadable { .. } => Invariant::Content,
            _ if format!("{finding:?}").starts_with("Tile") => Invariant::Content,
            _ => Invariant::Consistent,
        };
        return broken(invariant, format!("{finding:?}"));
    }
    must(Invariant::Consistent, report.head == newest, || {
        format!("the entries lead to {:?}, the checkpoint says {newest:?}", report.head)
    })
}

/// Every tile of leaves that a reader saw is the one that the entries make.
fn check_tiles(record: &Record, leaves: &[Hash]) -> Checked {
    if let Some(path) = record.changed_tiles.first() {
        return broken(Invariant::Content, format!("{path} changed"));
    }
    for (path, bytes) in &record.tiles {
        let Ok(tile) = Tile::parse_path(path) else { continue };
        let first = (tile.index * TILE_WIDTH) as usize;
        let expected = leaves.get(first..first + tile.width as usize).map(encode_hashes);
        must(Invariant::Content, expected.as_deref() == Some(bytes), || {
            format!("{path} was served with other hashes than its entries have")
        })?;
    }
    Ok(())
}

/// Everything that was said to submitters.
fn check_asked(identity: &LogIdentity, record: &mut Record, leaves: &[Hash]) -> Checked {
    let mut stands = HashMap::new();
    for (index, leaf) in leaves.iter().enumerate() {
        if let Some(earlier) = stands.insert(*leaf, index as u64) {
            return broken(Invariant::Unique, format!("one entry stands at {earlier} and {index}"));
        }
    }
    let mut times = BTreeMap::new();
    for asked in &record.asked {
        let leaf = asked.submission.entry.leaf();
        let index = match &asked.said {
            Said::Logged(ack) => {
                check_ack(identity, asked, ack, leaf)?;
                if let Some(time) = ack.time {
                    times.insert(ack.index, time);
                }
                ack.index
            }
            Said::Duplicate(index) => *index,
            Said::Refused(..) | Said::Unknown => continue,
        };
        let known = *record.index_of.entry(leaf).or_insert(index);
        must(Invariant::Unique, known == index, || {
            format!("an entry was said to be at {known}, and then at {index}")
        })?;
        must(Invariant::Durable, leaves.get(index as usize) == Some(&leaf), || {
            let stands = stands.get(&leaf);
            let size = leaves.len();
            format!("acknowledged at {index}, and stands at {stands:?} of {size} entries")
        })?;
    }
    let is_sorted = times.values().is_sorted();
    must(Invariant::Time, is_sorted, || {
        let wrong = times.iter().zip(times.iter().skip(1)).find(|(a, b)| a.1 > b.1);
        format!("time goes back with the index: {wrong:?}")
    })
}

/// An acknowledgement proves itself.
fn check_ack(identity: &LogIdentity, asked: &Asked, ack: &Ack, leaf: Hash) -> Checked {
    let head = open(identity, &ack.note)?;
    let (size, root, hashes) = &ack.proof;
    must(Invariant::Offline, (*size, *root) == (head.size.get(), head.root), || {
        format!("index {}: the proof is for another tree than the checkpoint", ack.index)
    })?;
    let index = LeafIndex::new(ack.index);
    let proved = index.map(|index| check_inclusion(index, head, leaf, hashes));
    must(Invariant::Offline, proved == Some(Ok(())), || {
        format!("index {}: the proof does not lead to the checkpoint of {size}", ack.index)
    })?;
    let Some(time_ms) = ack.time.map(|time| time * 1000) else { return Ok(()) };
    let from_ms = asked.from_ms.saturating_sub(CLOCKS_APART_MAX);
    let is_within = (from_ms..=asked.to_ms + CLOCKS_APART_MAX).contains(&time_ms);
    must(Invariant::Time, is_within, || {
        let (from, to) = (asked.from_ms / 1000, asked.to_ms / 1000);
        format!("index {}: logged at {time_ms} ms, asked between {from} s and {to} s", ack.index)
    })
}
