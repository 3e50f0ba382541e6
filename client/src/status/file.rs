//! The file of a status proof: JSON, read strictly.
//!
//! ```json
//! {
//!   "schema": "treering.status/v1",
//!   "checkpoint": "log.example\n20\n...",
//!   "answers": [
//!     {"asked": {"model": "<model id>"}, "searched": 20, "all": [7, 12]},
//!     {"asked": {"noticesAbout": "<model id>"}, "searched": 20, "all": []},
//!     {"asked": {"name": "llm-7b"}, "searched": 20, "oldest": [7]},
//!     {"asked": {"name": "llm-7b", "by": {"publicKey": "<hex>"}}, "searched": 20, "all": [7]},
//!     {"asked": {"weight": "sha256:<hex>"}, "searched": 0, "unknown": "no answer in time"}
//!   ],
//!   "entries": [{"index": 7, "body": "<base64>", "proof": ["<base64>"], "time": 1700000000}],
//!   "statements": ["<base64>"],
//!   "sum": "<SHA-256 of the RFC 8785 form of all the rest>"
//! }
//! ```
//!
//! `by` may also be `{"identity": "...", "issuer": "..."}`; `issuer` and `time` may be absent.
//!
//! Invariants: unknown, duplicate and missing members are refused; lists are sorted and bounded; no
//! question stands twice. The sum is for accidents: whoever changes a file can make another.
//! Out of scope: what is proven by it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use treering_proto::canonical::{parse, to_canonical};
use treering_proto::encoding::{from_base64, from_hex_lower, to_base64};
use treering_proto::hash::{Hash, sha256};
use treering_proto::note::NOTE_LEN_MAX;
use treering_proto::proof::PROOF_HASHES_MAX;
use treering_proto::protojson::{FieldError, Object};
use treering_proto::tile::ENTRY_LEN_MAX;
use treering_proto::tree::{LeafIndex, TreeSize};

use super::{
    CONTENT_BYTES_MAX, ENTRIES_MAX, Evident, QUESTIONS_MAX, REASON_LEN_MAX, Reply, STATUS_LEN_MAX,
    STATUS_SCHEMA, Status, StatusError, TIME_MAX,
};
use crate::history::{Answer, By, HITS_MAX, Question};

use FieldError::{Malformed, Missing};

impl Status {
    /// Reads a file strictly.
    ///
    /// # Errors
    /// [`StatusError::TooLong`], [`StatusError::Json`], [`StatusError::Schema`],
    /// [`StatusError::Sum`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatusError> {
        if bytes.len() > STATUS_LEN_MAX {
            return Err(StatusError::TooLong);
        }
        let mut value = parse(bytes).map_err(FieldError::Json)?;
        let sum = value.as_object_mut().and_then(|members| members.remove("sum"));
        let schema = value.get("schema").and_then(Value::as_str);
        if schema != Some(STATUS_SCHEMA) {
            let found = schema.unwrap_or_default().chars().take(100).collect();
            return Err(StatusError::Schema { found });
        }
        if sum.ok_or(Missing("sum"))? != sha256(&to_canonical(&value)).to_hex() {
            return Err(StatusError::Sum);
        }
        let mut file = Object::from_value(value, "(the file)")?;
        file.text("schema")?;
        let status = Self {
            note: file.text("checkpoint")?,
            replies: replies(file.list("answers", QUESTIONS_MAX)?)?,
            entries: entries(file.list("entries", ENTRIES_MAX)?)?,
            statements: statements(file.list("statements", ENTRIES_MAX)?)?,
        };
        file.finish()?;
        if status.note.len() > NOTE_LEN_MAX {
            return Err(Malformed("checkpoint").into());
        }
        if status.content_bytes() > CONTENT_BYTES_MAX {
            return Err(StatusError::TooLong);
        }
        Ok(status)
    }

    /// The text of the file, which [`Status::parse`] reads back: one line, and a line feed.
    pub fn format(&self) -> Vec<u8> {
        let entries = self.entries.iter().map(|(index, entry)| {
            let proof: Vec<String> =
                entry.proof.iter().map(|hash| to_base64(hash.as_bytes())).collect();
            let mut json = json!({
                "index": index.get(),
                "body": to_base64(&entry.body),
                "proof": proof,
            });
            if let Some(time) = entry.time {
                json["time"] = time.into();
            }
            json
        });
        let mut json = json!({
            "schema": STATUS_SCHEMA,
            "checkpoint": self.note,
            "answers": self.replies.iter().map(reply_json).collect::<Vec<_>>(),
            "entries": entries.collect::<Vec<_>>(),
            "statements": self.statements.values().map(|s| to_base64(s)).collect::<Vec<_>>(),
        });
        json["sum"] = sha256(&to_canonical(&json)).to_hex().into();
        let mut text = to_canonical(&json);
        text.push(b'\n');
        text
    }

    /// Bytes of entries and statements: of a statement once for each entry that has it.
    pub(super) fn content_bytes(&self) -> usize {
        self.entries.values().map(|entry| self.bytes_of(entry)).sum()
    }

    /// Bytes of an entry and its statement.
    pub(super) fn bytes_of(&self, entry: &Evident) -> usize {
        entry.body.len() + self.statement_of(entry).map_or(0, Vec::len)
    }

    /// The statement of an entry, if it is there.
    pub(super) fn statement_of(&self, entry: &Evident) -> Option<&Vec<u8>> {
        self.statements.get(&entry.payload_hash?)
    }
}

fn reply_json((question, reply): (&Question, &Reply)) -> Value {
    let list = |hits: &[LeafIndex]| hits.iter().map(|index| index.get()).collect::<Vec<_>>();
    let mut json = json!({"asked": question_json(question), "searched": reply.searched});
    match &reply.answer {
        Answer::All(hits) => json["all"] = list(hits).into(),
        Answer::Oldest(hits) => json["oldest"] = list(hits).into(),
        Answer::Unknown(why) => json["unknown"] = why.as_str().into(),
    }
    json
}

fn question_json(question: &Question) -> Value {
    let (mut json, by) = match question {
        Question::Model(id) => (json!({"model": id.to_hex()}), None),
        Question::Notices { model_id, by } => {
            (json!({"noticesAbout": model_id.to_hex()}), by.as_ref())
        }
        Question::Named { name, by } => (json!({"name": name}), by.as_ref()),
        Question::Weight(digest) => (json!({"weight": digest}), None),
        Question::Signed(digest) => (json!({"signed": digest.to_hex()}), None),
    };
    match by {
        None => {}
        Some(By::Key(key)) => json["by"] = json!({"publicKey": key.to_hex()}),
        Some(By::Identity { identity, issuer: None }) => json["by"] = json!({"identity": identity}),
        Some(By::Identity { identity, issuer: Some(issuer) }) => {
            json["by"] = json!({"identity": identity, "issuer": issuer});
        }
    }
    json
}

fn replies(list: Vec<Value>) -> Result<BTreeMap<Question, Reply>, FieldError> {
    let mut replies = BTreeMap::new();
    for value in list {
        let mut object = Object::from_value(value, "answers")?;
        let question = question(object.object("asked")?)?;
        let searched = number(&mut object, "searched")?;
        TreeSize::new(searched).ok_or(Malformed("searched"))?;
        let all = object.optional("all").map(|hits| indexes(hits, "all")).transpose()?;
        let oldest = object.optional("oldest").map(|hits| indexes(hits, "oldest")).transpose()?;
        let answer = match (all, oldest, object.optional_text("unknown")?) {
            (Some(hits), None, None) => Answer::All(hits),
            (None, Some(hits), None) => Answer::Oldest(hits),
            (None, None, Some(why)) if is_reason(&why) => Answer::Unknown(why),
            _ => return Err(Malformed("answers")),
        };
        object.finish()?;
        if replies.insert(question, Reply { searched, answer }).is_some() {
            return Err(Malformed("asked"));
        }
    }
    Ok(replies)
}

fn question(mut object: Object) -> Result<Question, FieldError> {
    let model = object.optional_text("model")?;
    let notices = object.optional_text("noticesAbout")?;
    let name = object.optional_text("name")?;
    let weight = object.optional_text("weight")?;
    let signed = object.optional_text("signed")?;
    let by = object.optional_object("by")?.map(by).transpose()?;
    object.finish()?;
    let asked = match (model, notices, name, weight, signed, by) {
        (Some(id), None, None, None, None, None) => Question::Model(hex(&id, "model")?),
        (None, Some(id), None, None, None, by) => {
            Question::Notices { model_id: hex(&id, "noticesAbout")?, by }
        }
        (None, None, Some(name), None, None, by) => Question::Named { name, by },
        (None, None, None, Some(digest), None, None) => Question::Weight(digest),
        (None, None, None, None, Some(digest), None) => Question::Signed(hex(&digest, "signed")?),
        _ => return Err(Malformed("asked")),
    };
    Ok(asked)
}

fn by(mut object: Object) -> Result<By, FieldError> {
    let key = object.optional_text("publicKey")?;
    let identity = object.optional_text("identity")?;
    let issuer = object.optional_text("issuer")?;
    object.finish()?;
    match (key, identity, issuer) {
        (Some(key), None, None) => Ok(By::Key(hex(&key, "publicKey")?)),
        (None, Some(identity), issuer) => Ok(By::Identity { identity, issuer }),
        _ => Err(Malformed("by")),
    }
}

fn entries(list: Vec<Value>) -> Result<BTreeMap<LeafIndex, Evident>, FieldError> {
    let mut entries = BTreeMap::new();
    for value in list {
        let mut object = Object::from_value(value, "entries")?;
        let index = LeafIndex::new(number(&mut object, "index")?).ok_or(Malformed("index"))?;
        let body = object.bytes("body")?;
        let hash = |value: &Value| Hash::from_slice(&from_base64(value.as_str()?)?);
        let proof = object.list("proof", PROOF_HASHES_MAX)?;
        let proof: Option<Vec<Hash>> = proof.iter().map(hash).collect();
        let time = object.optional("time").map(|time| time.as_u64().ok_or(Malformed("time")));
        let time = time.transpose()?;
        object.finish()?;
        if body.len() > ENTRY_LEN_MAX || time.is_some_and(|time| time > TIME_MAX) {
            return Err(Malformed("entries"));
        }
        let is_next = entries.last_key_value().is_none_or(|(last, _)| *last < index);
        let evident = Evident::new(body, proof.ok_or(Malformed("proof"))?, time);
        if !is_next || entries.insert(index, evident).is_some() {
            return Err(Malformed("index"));
        }
    }
    Ok(entries)
}

fn statements(list: Vec<Value>) -> Result<BTreeMap<Hash, Vec<u8>>, FieldError> {
    let mut statements = BTreeMap::new();
    for value in list {
        let payload = value.as_str().and_then(from_base64).ok_or(Malformed("statements"))?;
        if statements.insert(sha256(&payload), payload).is_some() {
            return Err(Malformed("statements"));
        }
    }
    Ok(statements)
}

/// A list of ascending indexes.
fn indexes(value: Value, name: &'static str) -> Result<Vec<LeafIndex>, FieldError> {
    let Value::Array(list) = value else { return Err(Malformed(name)) };
    if list.len() > HITS_MAX {
        return Err(FieldError::TooMany(name));
    }
    let index = |value: &Value| value.as_u64().and_then(LeafIndex::new);
    let indexes: Option<Vec<LeafIndex>> = list.iter().map(index).collect();
    indexes.filter(|indexes| indexes.is_sorted_by(|a, b| a < b)).ok_or(Malformed(name))
}

fn number(object: &mut Object, name: &'static str) -> Result<u64, FieldError> {
    object.optional(name).ok_or(Missing(name))?.as_u64().ok_or(Malformed(name))
}

fn hex(text: &str, name: &'static str) -> Result<Hash, FieldError> {
    from_hex_lower(text).and_then(|bytes| Hash::from_slice(&bytes)).ok_or(Malformed(name))
}

fn is_reason(text: &str) -> bool {
    (1..=REASON_LEN_MAX).contains(&text.len()) && !text.contains(char::is_control)
}
