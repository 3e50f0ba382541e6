//! Reading the lines of a history. `None` is a line that is none.

use serde_json::Value;
use treering_proto::api::v1::TreeId;
use treering_proto::encoding::{from_base64, from_hex_lower};
use treering_proto::hash::Hash;
use treering_proto::identity::LogIdentity;
use treering_proto::key::PublicKey;
use treering_proto::note::NoteKey;
use treering_proto::tile::Tile;
use treering_proto::tree::{TreeHead, TreeSize};

use super::super::Rebuilt;
use super::super::event::{
    Answer, Bundle, Held, Kind, Mark, Marked, Moment, NoteId, Request, SeenCheckpoint,
    SeenConsistency, SeenEntry, SeenSearch, SeenTile, Set, Source, Span, Who,
};
use super::super::history::History;

/// A history under way.
pub(super) struct Reader {
    history: History,
    at: Moment,
    leaves: Vec<Hash>,
}

/// What is left of the items of a line.
struct Items<'a>(std::slice::Iter<'a, Value>);

impl Reader {
    /// From the first line.
    pub(super) fn start(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let mut items = Items::of(&value)?;
        if items.text()? != "log" || items.number()? != super::VERSION {
            return None;
        }
        let origin = items.text()?;
        let tree_id = TreeId::new(items.number()?)?;
        let note_key = NoteKey::parse_vkey(items.text()?).ok()?;
        let v1_key = PublicKey::from_spki_der(&from_base64(items.text()?)?).ok()?;
        let identity = LogIdentity::new(origin, tree_id, note_key, v1_key).ok()?;
        let mut history = History::new(&identity);
        history.unix_at_zero = items.number()?;
        history.is_whole = items.flag()?;
        if let Some(vkey) = items.perhaps(Items::text)? {
            history.set_time_key(NoteKey::parse_vkey(vkey).ok()?);
        }
        for vkey in items.0.next()?.as_array()? {
            history.add_witness(NoteKey::parse_vkey(vkey.as_str()?).ok()?);
        }
        Some(Self { history, at: 0, leaves: Vec::new() })
    }

    /// Takes the next line.
    pub(super) fn line(&mut self, line: &str) -> Option<()> {
        let value: Value = serde_json::from_str(line).ok()?;
        let mut items = Items::of(&value)?;
        let history = &mut self.history;
        match items.text()? {
            "note" => {
                let number = items.number()?;
                let id = history.note(items.text()?);
                return (u64::from(id.0) == number).then_some(());
            }
            "held" => {
                let (at, witness) = (items.number()?, items.text()?.to_owned());
                history.held.push(Held { at, witness, head: items.head()? });
            }
            "mark" => history.marks.push(Marked { at: items.number()?, mark: items.mark()? }),
            "leaves" => {
                self.at = items.number()?;
                let bytes = from_base64(items.text()?)?;
                let leaves = bytes.chunks(Hash::LEN).map(Hash::from_slice);
                self.leaves.extend(leaves.collect::<Option<Vec<_>>>()?);
            }
            name => event(history, name, &mut items)?,
        }
        items.end()
    }

    /// After the last line.
    pub(super) fn finish(self) -> (History, Rebuilt) {
        (self.history, Rebuilt::new(self.at, self.leaves))
    }
}

/// Takes something that has a client, a process, a start and an end.
fn event(history: &mut History, name: &str, items: &mut Items<'_>) -> Option<()> {
    let who = Who { client: items.small()?, process: items.small()? };
    let span = Span { start: items.number()?, end: items.number()? };
    match name {
        "request" => {
            let (kind, leaf) = (items.kind()?, items.hash()?);
            let answer = items.answer()?;
            history.requests.push(Request { who, span, kind, leaf, answer });
        }
        "checkpoint" => {
            let source = match items.text()? {
                "newest" => Source::Newest,
                "kept" => Source::Kept,
                _ => return None,
            };
            let note = NoteId(items.small()?);
            history.checkpoints.push(SeenCheckpoint { who, span, source, note });
        }
        "tile" => {
            let tile = Tile::parse_path(items.text()?).ok()?;
            let digest = items.perhaps(Items::hash)?;
            history.tiles.push(SeenTile { who, span, tile, digest });
        }
        "entry" => {
            let bundle = items.bundle()?;
            history.entries.push(SeenEntry { who, span, bundle });
        }
        "consistency" => {
            let (old, new, hashes) = (items.head()?, items.head()?, items.hashes()?);
            history.consistencies.push(SeenConsistency { who, span, old, new, hashes });
        }
        "search" => {
            let wanted = items.hashes()?;
            let found = items.0.next()?.as_array()?.iter();
            let found = found.map(|hit| {
                let mut hit = Items::of(hit)?;
                Some((hit.number()?, hit.hash()?))
            });
            let found = found.collect::<Option<Vec<_>>>()?;
            let is_whole = items.flag()?;
            history.searches.push(SeenSearch { who, span, wanted, found, is_whole });
        }
        _ => return None,
    }
    Some(())
}

impl<'a> Items<'a> {
    fn of(value: &'a Value) -> Option<Self> {
        value.as_array().map(|items| Self(items.iter()))
    }

    fn end(mut self) -> Option<()> {
        self.0.next().is_none().then_some(())
    }

    fn text(&mut self) -> Option<&'a str> {
        self.0.next()?.as_str()
    }

    fn number(&mut self) -> Option<u64> {
        self.0.next()?.as_u64()
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn flag(&mut self) -> Option<bool> {
        self.0.next()?.as_bool()
    }

    fn hash(&mut self) -> Option<Hash> {
        Hash::from_slice(&from_hex_lower(self.text()?)?)
    }

    fn hashes(&mut self) -> Option<Vec<Hash>> {
        let mut all = Items::of(self.0.next()?)?;
        let mut hashes = Vec::new();
        while all.0.len() > 0 {
            hashes.push(all.hash()?);
        }
        Some(hashes)
    }

    fn head(&mut self) -> Option<TreeHead> {
        let mut head = Items::of(self.0.next()?)?;
        Some(TreeHead { size: TreeSize::new(head.number()?)?, root: head.hash()? })
    }

    /// The next item by `read`, or `None` for null.
    fn perhaps<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.0.as_slice().first()?.is_null() {
            self.0.next();
            return Some(None);
        }
        read(self).map(Some)
    }

    fn kind(&mut self) -> Option<Kind> {
        Some(match self.text()? {
            "v1-hashedrekord" => Kind::HashedRekordV1,
            "v2-hashedrekord" => Kind::HashedRekordV2,
            "v1-dsse" => Kind::DsseV1,
            "v2-dsse" => Kind::DsseV2,
            _ => return None,
        })
    }

    fn answer(&mut self) -> Option<Answer> {
        let mut items = Items::of(self.0.next()?)?;
        Some(match items.text()? {
            "logged" => Answer::Logged(items.bundle()?),
            "duplicate" => Answer::Duplicate { index: items.number()? },
            "refused" => {
                let status = items.number()?.try_into().ok()?;
                Answer::Refused { status, label: items.text()?.to_owned() }
            }
            "unknown" => Answer::Unknown,
            _ => return None,
        })
    }

    fn bundle(&mut self) -> Option<Bundle> {
        let mut items = Items::of(self.0.next()?)?;
        Some(Bundle {
            index: items.number()?,
            leaf: items.hash()?,
            time: items.perhaps(Items::number)?,
            note: NoteId(items.small()?),
            led_to: items.perhaps(Items::hash)?,
            set: items.perhaps(Items::set)?,
        })
    }

    fn set(&mut self) -> Option<Set> {
        let mut items = Items::of(self.0.next()?)?;
        let digest = items.hash()?;
        Some(Set { digest, signature: from_base64(items.text()?)?.into() })
    }

    fn mark(&mut self) -> Option<Mark> {
        let mut items = Items::of(self.0.next()?)?;
        let name = items.text()?;
        let file = |items: &mut Self| items.text().map(str::to_owned);
        Some(match name {
            "clock-moved" => Mark::ClockMoved,
            "clock-right" => Mark::ClockRight,
            "corrupted" => Mark::Corrupted { file: file(&mut items)? },
            "complained" => Mark::Complained { said: file(&mut items)? },
            "repaired" => Mark::Repaired { file: file(&mut items)? },
            _ => {
                let process = items.small()?;
                match name {
                    "started" => Mark::Started { process, data: file(&mut items)? },
                    "ready" => Mark::Ready { process },
                    "stopped" => Mark::Stopped { process },
                    "ended" => {
                        let code = items.perhaps(|items| items.0.next()?.as_i64())?;
                        let code = code.map(i32::try_from).transpose().ok()?;
                        Mark::Ended { process, code, said: file(&mut items)? }
                    }
                    "latched" => Mark::Latched { process, said: file(&mut items)? },
                    "writable" => Mark::Writable { process },
                    _ => return None,
                }
            }
        })
    }
}
