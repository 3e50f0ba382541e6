//! One line of the journal: its JSON, and the two hashes that hold the chain together.
//!
//! ```text
//! {"v":1,"sequence":2,"time":"2026-01-02T03:04:05.678Z","request":"8f3c","act":"submit",
//!  "principal":"ci","source":"192.0.2.7","kind":"dsse","leaf":"ab..","index":7,
//!  "outcome":"logged","repeated":0,"previous":"cd..","check":"0123456789abcdef"}
//! ```
//!
//! It is one line without spaces. `previous` is SHA-256 of the line before, its line feed left out;
//! 64 zeros in the very first line. `check` is the first 8 bytes of SHA-256 of everything before
//! `,"check"`, so that a damaged line is found even when none follows it.
//!
//! Invariants: one record has one text, and no other text parses; a line is printable ASCII: what a
//! stranger chose cannot move a terminal's cursor or look like a second line; a line has at most
//! [`LINE_BYTES_MAX`] bytes. Hashes without a key prove damage and clumsy hands, not malice:
//! whoever may rewrite the files may rewrite the chain, unless its head was noted elsewhere.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use treering_proto::hash::{Hash, sha256};

/// The version of the format.
const VERSION: u8 = 1;

/// Characters of a field that is kept; more are cut off, and an ellipsis says so.
const FIELD_CHARS_MAX: usize = 200;

/// Bytes of a line: seven fields of characters that take twelve bytes each, and the rest.
pub const LINE_BYTES_MAX: usize = 20 << 10;

const _: () = assert!(LINE_BYTES_MAX > 7 * 12 * FIELD_CHARS_MAX + 1024, "a line always fits");

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// An entry was logged, or was there already.
    Submit,
    /// A request to write was refused.
    Refuse,
    /// Somebody with access to the machine changed something; the stable name of it.
    Admin(&'static str),
}

/// What is written about it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The request's id, as the server's log and the answer name it.
    pub request: &'a str,
    /// What happened.
    pub act: Act,
    /// Who did it.
    pub principal: &'a str,
    /// From where.
    pub source: Option<IpAddr>,
    /// For which project.
    pub project: Option<&'a str>,
    /// The rule of the policy that decided.
    pub rule: Option<&'a str>,
    /// The kind of the entry.
    pub kind: Option<&'a str>,
    /// The hash of its leaf.
    pub leaf: Option<&'a Hash>,
    /// Its index.
    pub index: Option<u64>,
    /// How it ended: a stable label.
    pub outcome: &'a str,
    /// How many more like this one stand for in this line.
    pub repeated: u64,
}

/// A line as it is read back.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    v: u8,
    /// Counts the lines from 1.
    pub sequence: u64,
    /// When it was written: RFC 3339, UTC, milliseconds.
    pub time: String,
    /// The request's id.
    pub request: String,
    /// `submit`, `refuse`, or `admin:` and what it was.
    pub act: String,
    /// Who did it.
    pub principal: String,
    /// From which address.
    #[serde(default)]
    pub source: Option<String>,
    /// For which project.
    #[serde(default)]
    pub project: Option<String>,
    /// The rule that decided.
    #[serde(default)]
    pub rule: Option<String>,
    /// The kind of the entry.
    #[serde(default)]
    pub kind: Option<String>,
    /// The hash of its leaf, in hexadecimal.
    #[serde(default)]
    pub leaf: Option<String>,
    /// Its index.
    #[serde(default)]
    pub index: Option<u64>,
    /// How it ended.
    pub outcome: String,
    /// How many more like this one it stands for.
    pub repeated: u64,
    /// SHA-256 of the line before, in hexadecimal.
    pub previous: String,
}

/// A line without what its place in the chain decides: number, time, and the hash before it.
#[derive(Clone, Debug)]
pub struct Text(Vec<u8>);

/// The members of a line that say what happened, in their order.
#[derive(Serialize)]
struct Fields<'a> {
    request: Cow<'a, str>,
    act: Cow<'a, str>,
    principal: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    outcome: Cow<'a, str>,
    repeated: u64,
}

impl Line<'_> {
    /// The line, ready to be given its place.
    pub fn text(&self) -> Text {
        let act = match self.act {
            Act::Submit => Cow::Borrowed("submit"),
            Act::Refuse => Cow::Borrowed("refuse"),
            Act::Admin(what) => Cow::Owned(capped(&format!("admin:{what}")).into_owned()),
        };
        let fields = Fields {
            request: capped(self.request),
            act,
            principal: capped(self.principal),
            source: self.source.map(|address| address.to_string().into()),
            project: self.project.map(capped),
            rule: self.rule.map(capped),
            kind: self.kind.map(capped),
            leaf: self.leaf.map(|leaf| leaf.to_hex().into()),
            index: self.index,
            outcome: capped(self.outcome),
            repeated: self.repeated,
        };
        fields.text()
    }
}

impl Fields<'_> {
    fn text(&self) -> Text {
        let mut bytes = Vec::with_capacity(384);
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Ascii);
        self.serialize(&mut serializer).expect("text and numbers always have a JSON form");
        bytes.pop();
        bytes.remove(0);
        Text(bytes)
    }
}

impl Text {
    /// The line in its place, without its line feed. `time` is of the form of [`timestamp`],
    /// `previous` the hash of the line before in hexadecimal.
    pub(super) fn chained(&self, sequence: u64, time: &str, previous: &str) -> Vec<u8> {
        let head = format!("{{\"v\":{VERSION},\"sequence\":{sequence},\"time\":\"{time}\",");
        let mut bytes = Vec::with_capacity(head.len() + self.0.len() + 160);
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(b",\"previous\":\"");
        bytes.extend_from_slice(previous.as_bytes());
        bytes.push(b'"');
        let check = sha256(&bytes);
        bytes.extend_from_slice(CHECK_KEY);
        bytes.extend_from_slice(hex::encode(&check.as_bytes()[..CHECK_BYTES]).as_bytes());
        bytes.extend_from_slice(b"\"}");
        bytes
    }
}

impl Record {
    /// The line, without its line feed.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let optional = |field: &'_ Option<String>| field.clone().map(Cow::Owned);
        let fields = Fields {
            request: Cow::Borrowed(&self.request),
            act: Cow::Borrowed(&self.act),
            principal: Cow::Borrowed(&self.principal),
            source: optional(&self.source),
            project: optional(&self.project),
            rule: optional(&self.rule),
            kind: optional(&self.kind),
            leaf: optional(&self.leaf),
            index: self.index,
            outcome: Cow::Borrowed(&self.outcome),
            repeated: self.repeated,
        };
        fields.text().chained(self.sequence, &self.time, &self.previous)
    }

    /// Reads a line without its line feed; `None` if it is not exactly as it was written.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let is_printable = line.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let mut json = line.get(..line.len().checked_sub(CHECK_LEN)?)?.to_vec();
        json.push(b'}');
        let record: Self = serde_json::from_slice(&json).ok()?;
        (is_printable && record.v == VERSION && record.to_bytes() == line).then_some(record)
    }

    /// When it was written, Unix milliseconds; `None` if the time is none.
    pub fn time_ms(&self) -> Option<u64> {
        let time: jiff::Timestamp = self.time.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok()
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn timestamp(time_ms: u64) -> String {
    let time =
        i64::try_from(time_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    // A clock beyond the year 9999 is wrong; the line is written all the same.
    time.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn capped(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(FIELD_CHARS_MAX) {
        None => Cow::Borrowed(text),
        Some(_) => text.chars().take(FIELD_CHARS_MAX - 1).chain(['\u{2026}']).collect(),
    }
}

/// Compact JSON in which everything but printable ASCII is escaped.
struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if matches!(character, ' '..='~') {
                writer.write_all(&[character as u8])?;
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

const CHECK_KEY: &[u8] = b",\"check\":\"";
const CHECK_BYTES: usize = 8;
/// Key, 16 hexadecimal digits, quote and bracket.
const CHECK_LEN: usize = CHECK_KEY.len() + 2 * CHECK_BYTES + 2;
