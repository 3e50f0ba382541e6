//! A history as a file: one JSON array a line, the first item its kind, so that a violation can be
//! judged again where there is no log.
//!
//! ```text
//! ["log",1,"<origin>","<tree>","<vkey>","<v1 key>",<unix us at 0>,<whole>,null,["<vkey>",...]]
//! ["note",0,"<text>"]
//! ["request",<client>,<process>,<start>,<end>,"v1-dsse","<leaf>",["duplicate",7]]
//! ["leaves",<at>,"<base64 of up to 4096 leaves>"]
//! ```
//!
//! Invariants: what is written reads back equal; a file that is not a whole history is an error,
//! with its line.

mod parse;

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};
use treering_proto::encoding::to_base64;
use treering_proto::hash::Hash;
use treering_proto::tile::encode_hashes;
use treering_proto::tree::TreeHead;

use super::Rebuilt;
use super::event::{Answer, Bundle, Kind, Mark, Request, Source, Span, Who};
use super::history::History;

/// The version of the format.
const VERSION: u64 = 1;

/// Leaves in one line.
const LEAVES: usize = 4096;

/// Why a file is not a history.
#[derive(Debug)]
pub enum ReadError {
    /// It could not be read.
    Io(io::Error),
    /// A line is none of a history.
    Line(
        /// Counted from 1.
        usize,
    ),
}

/// Writes a history, and the rebuilt log that it was judged with.
///
/// # Errors
/// Those of the writer.
pub fn write(history: &History, rebuilt: &Rebuilt, to: &mut impl Write) -> io::Result<()> {
    let mut line = |value: Value| writeln!(to, "{value}");
    line(log(history))?;
    for (number, text) in history.notes.iter().enumerate() {
        line(json!(["note", number, text]))?;
    }
    for one in &history.requests {
        line(request(one))?;
    }
    for seen in &history.checkpoints {
        let source = match seen.source {
            Source::Newest => "newest",
            Source::Kept => "kept",
        };
        line(event("checkpoint", seen.who, seen.span, &[json!(source), json!(seen.note.0)]))?;
    }
    for seen in &history.tiles {
        let digest = seen.digest.map(|digest| digest.to_hex());
        line(event("tile", seen.who, seen.span, &[json!(seen.tile.path()), json!(digest)]))?;
    }
    for seen in &history.entries {
        line(event("entry", seen.who, seen.span, &[bundle(&seen.bundle)]))?;
    }
    for seen in &history.consistencies {
        let rest = [head(seen.old), head(seen.new), json!(hashes(&seen.hashes))];
        line(event("consistency", seen.who, seen.span, &rest))?;
    }
    for seen in &history.searches {
        let found: Vec<Value> =
            seen.found.iter().map(|(index, leaf)| json!([index, leaf.to_hex()])).collect();
        let rest = [json!(hashes(&seen.wanted)), json!(found), json!(seen.is_whole)];
        line(event("search", seen.who, seen.span, &rest))?;
    }
    for held in &history.held {
        line(json!(["held", held.at, held.witness, head(held.head)]))?;
    }
    for marked in &history.marks {
        line(json!(["mark", marked.at, mark(&marked.mark)]))?;
    }
    line(json!(["leaves", rebuilt.at, ""]))?;
    for leaves in rebuilt.leaves().chunks(LEAVES) {
        line(json!(["leaves", rebuilt.at, to_base64(&encode_hashes(leaves))]))?;
    }
    Ok(())
}

/// Reads what `write` wrote.
///
/// # Errors
/// [`ReadError`].
pub fn read(from: impl BufRead) -> Result<(History, Rebuilt), ReadError> {
    let mut lines = from.lines();
    let first = lines.next().ok_or(ReadError::Line(1))?.map_err(ReadError::Io)?;
    let mut reader = parse::Reader::start(&first).ok_or(ReadError::Line(1))?;
    for (number, line) in (2..).zip(lines) {
        let line = line.map_err(ReadError::Io)?;
        reader.line(&line).ok_or(ReadError::Line(number))?;
    }
    Ok(reader.finish())
}

fn log(history: &History) -> Value {
    let identity = &history.identity;
    let v1_key = to_base64(identity.v1_key().spki_der());
    let witnesses: Vec<String> = history.witnesses.iter().map(|key| key.to_vkey()).collect();
    let time_key = history.time_key.as_ref().map(|key| key.to_vkey());
    json!([
        "log",
        VERSION,
        identity.origin(),
        identity.tree_id().get(),
        identity.note_key().to_vkey(),
        v1_key,
        history.unix_at_zero,
        history.is_whole,
        time_key,
        witnesses
    ])
}

fn event(name: &str, who: Who, span: Span, rest: &[Value]) -> Value {
    let mut items = vec![
        json!(name),
        json!(who.client),
        json!(who.process),
        json!(span.start),
        json!(span.end),
    ];
    items.extend_from_slice(rest);
    Value::Array(items)
}

fn request(request: &Request) -> Value {
    let answer = match &request.answer {
        Answer::Logged(logged) => json!(["logged", bundle(logged)]),
        Answer::Duplicate { index } => json!(["duplicate", index]),
        Answer::Refused { status, label } => json!(["refused", status, label]),
        Answer::Unknown => json!(["unknown"]),
    };
    let rest = [json!(kind(request.kind)), json!(request.leaf.to_hex()), answer];
    event("request", request.who, request.span, &rest)
}

fn bundle(bundle: &Bundle) -> Value {
    let set =
        bundle.set.as_ref().map(|set| json!([set.digest.to_hex(), to_base64(&set.signature)]));
    let led_to = bundle.led_to.map(|root| root.to_hex());
    json!([bundle.index, bundle.leaf.to_hex(), bundle.time, bundle.note.0, led_to, set])
}

fn mark(mark: &Mark) -> Value {
    match mark {
        Mark::Started { process, data } => json!(["started", process, data]),
        Mark::Ready { process } => json!(["ready", process]),
        Mark::Stopped { process } => json!(["stopped", process]),
        Mark::Ended { process, code, said } => json!(["ended", process, code, said]),
        Mark::Latched { process, said } => json!(["latched", process, said]),
        Mark::Writable { process } => json!(["writable", process]),
        Mark::ClockMoved => json!(["clock-moved"]),
        Mark::ClockRight => json!(["clock-right"]),
        Mark::Corrupted { file } => json!(["corrupted", file]),
        Mark::Complained { said } => json!(["complained", said]),
        Mark::Repaired { file } => json!(["repaired", file]),
    }
}

fn head(head: TreeHead) -> Value {
    json!([head.size.get(), head.root.to_hex()])
}

fn hashes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_hex).collect()
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::HashedRekordV1 => "v1-hashedrekord",
        Kind::HashedRekordV2 => "v2-hashedrekord",
        Kind::DsseV1 => "v1-dsse",
        Kind::DsseV2 => "v2-dsse",
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Line(line) => write!(f, "line {line} is none of a history"),
        }
    }
}

impl std::error::Error for ReadError {}
