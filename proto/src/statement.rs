//! in-toto statements (Attestation Framework v1, and v0.1 which cosign still writes): who is spoken
//! about, and a predicate of some type.
//!
//! Invariant: a statement that was read has at least one subject, each with at least one digest.
//! As the framework demands, fields that it does not know are ignored; what predicates mean is for
//! other files (`model_statement` for models). Digest values stay text: some algorithms of in-toto
//! are not hexadecimal.

use serde_json::{Map, Value};

use crate::canonical::{self, JsonError};

/// The longest payload read. The model statement of 20,000 files takes about 3.3 MB.
pub const STATEMENT_LEN_MAX: usize = 4 * 1024 * 1024;

/// Subjects of one statement: as many as files in a model, for predicates with a subject per file.
pub const SUBJECTS_MAX: usize = 20_000;

/// Digests of one subject; in-toto names about twenty algorithms.
pub const SUBJECT_DIGESTS_MAX: usize = 32;

/// The `_type` of statements of version 1.
pub const STATEMENT_TYPE_V1: &str = "https://in-toto.io/Statement/v1";

/// The `_type` of statements of version 0.1.
pub const STATEMENT_TYPE_V0_1: &str = "https://in-toto.io/Statement/v0.1";

/// Which version of the framework a statement follows. The fields read here are the same in both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatementVersion {
    /// Version 0.1.
    V0_1,
    /// Version 1.
    V1,
}

/// An in-toto statement.
#[derive(Clone, PartialEq, Debug)]
pub struct Statement {
    /// Version of the framework.
    pub version: StatementVersion,
    /// What kind of predicate it is: a URI, not empty.
    pub predicate_type: String,
    /// What the statement is about: 1 to [`SUBJECTS_MAX`].
    pub subjects: Vec<Subject>,
    /// What it says; null when absent.
    pub predicate: Value,
}

/// One artifact that a statement is about.
#[derive(Clone, PartialEq, Debug)]
pub struct Subject {
    /// A name chosen by the signer.
    pub name: Option<String>,
    /// Pairs of algorithm and value, sorted by algorithm: 1 to [`SUBJECT_DIGESTS_MAX`].
    pub digests: Vec<(String, String)>,
    /// Further facts stated by the signer; empty when absent.
    pub annotations: Map<String, Value>,
}

/// Why a payload is not a statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Longer than any statement that is read.
    #[error("statement longer than {STATEMENT_LEN_MAX} bytes")]
    TooLong,
    /// Not acceptable JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Not a JSON object.
    #[error("statement is not a JSON object")]
    NotObject,
    /// `_type` is not that of a version which is read.
    #[error("_type is not an in-toto statement of version 1 or 0.1")]
    Type,
    /// `predicateType` is absent or empty.
    #[error("predicateType is missing")]
    PredicateType,
    /// No subject, or too many.
    #[error("a statement has 1 to {SUBJECTS_MAX} subjects")]
    SubjectCount,
    /// A subject is not an object, or its name, digests or annotations are malformed.
    #[error("subject {0} is malformed")]
    Subject(usize),
}

impl Statement {
    /// Reads a DSSE payload of type `application/vnd.in-toto+json`.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        if payload.len() > STATEMENT_LEN_MAX {
            return Err(StatementError::TooLong);
        }
        let Value::Object(mut members) = canonical::parse(payload)? else {
            return Err(StatementError::NotObject);
        };
        let version = match members.get("_type").and_then(Value::as_str) {
            Some(STATEMENT_TYPE_V1) => StatementVersion::V1,
            Some(STATEMENT_TYPE_V0_1) => StatementVersion::V0_1,
            _ => return Err(StatementError::Type),
        };
        let predicate_type = match members.remove("predicateType") {
            Some(Value::String(text)) if !text.is_empty() => text,
            _ => return Err(StatementError::PredicateType),
        };
        let subjects = match members.remove("subject") {
            Some(Value::Array(list)) if (1..=SUBJECTS_MAX).contains(&list.len()) => list,
            _ => return Err(StatementError::SubjectCount),
        };
        let subjects = subjects
            .into_iter()
            .enumerate()
            .map(|(at, value)| Subject::from_value(value).ok_or(StatementError::Subject(at)))
            .collect::<Result<_, _>>()?;
        let predicate = members.remove("predicate").unwrap_or(Value::Null);
        Ok(Self { version, predicate_type, subjects, predicate })
    }
}

impl Subject {
    /// The value of the digest made with `algorithm`.
    pub fn digest(&self, algorithm: &str) -> Option<&str> {
        self.digests.iter().find(|(name, _)| name == algorithm).map(|(_, value)| value.as_str())
    }

    fn from_value(value: Value) -> Option<Self> {
        let Value::Object(mut members) = value else { return None };
        let name = match members.remove("name") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => return None,
        };
        let annotations = match members.remove("annotations") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(annotations)) => annotations,
            Some(_) => return None,
        };
        let digests = digest_set(members.get("digest")?)?;
        (!digests.is_empty()).then_some(Self { name, digests, annotations })
    }
}

/// The pairs of an in-toto DigestSet; `None` unless every value is text and there are at most
/// [`SUBJECT_DIGESTS_MAX`].
pub(crate) fn digest_set(value: &Value) -> Option<Vec<(String, String)>> {
    let members = value.as_object().filter(|members| members.len() <= SUBJECT_DIGESTS_MAX)?;
    let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    let mut pairs = members.iter().map(pair).collect::<Option<Vec<_>>>()?;
    pairs.sort();
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> Result<Statement, StatementError> {
        Statement::parse(value.to_string().as_bytes())
    }

    fn sample() -> Value {
        json!({
            "_type": STATEMENT_TYPE_V1,
            "subject": [{"name": "a", "digest": {"sha512": "00", "sha256": "11"}, "uri": "x"}],
            "predicateType": "https://example.com/p",
            "predicate": {"k": 1},
            "later": true,
        })
    }

    #[test]
    fn reads_subjects_and_predicate_and_ignores_unknown_fields() {
        let statement = parse(&sample()).unwrap();
        assert_eq!(statement.version, StatementVersion::V1);
        assert_eq!(statement.predicate_type, "https://example.com/p");
        assert_eq!(statement.predicate, json!({"k": 1}));
        assert_eq!(statement.subjects[0].name.as_deref(), Some("a"));
        assert_eq!(statement.subjects[0].digest("sha256"), Some("11"));
        assert_eq!(statement.subjects[0].digest("sha1"), None);
    }

    #[test]
    fn reads_version_0_1_and_a_statement_without_predicate() {
        let mut value = sample();
        value["_type"] = json!(STATEMENT_TYPE_V0_1);
        value.as_object_mut().unwrap().remove("predicate");
        let statement = parse(&value).unwrap();
        assert_eq!((statement.version, statement.predicate), (StatementVersion::V0_1, Value::Null));
    }

    #[test]
    fn refuses_a_statement_that_lacks_what_the_framework_requires() {
        let with = |key: &str, new: Value| {
            let mut value = sample();
            value[key] = new;
            parse(&value)
        };
        assert!(matches!(with("_type", json!("x")), Err(StatementError::Type)));
        assert!(matches!(with("predicateType", json!("")), Err(StatementError::PredicateType)));
        assert!(matches!(with("subject", json!([])), Err(StatementError::SubjectCount)));
        for subject in [
            json!("a"),
            json!({"name": "a"}),
            json!({"digest": {}}),
            json!({"digest": {"sha256": 1}}),
            json!({"name": 1, "digest": {"sha256": "00"}}),
            json!({"annotations": [], "digest": {"sha256": "00"}}),
        ] {
            let refused = with("subject", json!([subject]));
            assert!(matches!(refused, Err(StatementError::Subject(0))), "{refused:?}");
        }
    }

    #[test]
    fn refuses_one_subject_or_digest_or_byte_beyond_the_limits() {
        let mut value = sample();
        value["subject"] = vec![json!({"digest": {"sha256": "00"}}); SUBJECTS_MAX + 1].into();
        assert!(matches!(parse(&value), Err(StatementError::SubjectCount)));
        value["subject"].as_array_mut().unwrap().pop();
        assert_eq!(parse(&value).unwrap().subjects.len(), SUBJECTS_MAX);

        let digests = |n: usize| (0..n).map(|i| (format!("a{i}"), json!("00"))).collect();
        let mut value = sample();
        value["subject"] = json!([{"digest": Value::Object(digests(SUBJECT_DIGESTS_MAX + 1))}]);
        assert!(matches!(parse(&value), Err(StatementError::Subject(0))));

        let spaces = vec![b' '; STATEMENT_LEN_MAX + 1];
        assert!(matches!(Statement::parse(&spaces), Err(StatementError::TooLong)));
    }

    #[test]
    fn refuses_duplicate_keys() {
        let text = sample().to_string().replacen('{', r#"{"predicate":0,"#, 1);
        assert!(matches!(Statement::parse(text.as_bytes()), Err(StatementError::Json(_))));
    }
}
