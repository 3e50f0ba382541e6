//! Strict reading of the JSON mapping of protocol buffers (protojson), which Sigstore's messages
//! use.
//!
//! An object is taken apart field by field; whatever nobody asked for is an error when it is
//! finished. So a reader cannot forget the unknown fields, and no two readers of one text disagree.
//!
//! Rules: duplicate keys are refused; `null` means unset; bytes are canonical padded base64; 64-bit
//! integers are decimal strings or JSON integers. Out of scope: snake_case names, numeric enums.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::canonical::{self, JsonError};
use crate::encoding::{from_base64, to_base64};
use crate::hash::Hash;

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// Not acceptable JSON at all.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A required field is absent or null.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// A field has the wrong type or a value out of range.
    #[error("field {0} is malformed")]
    Malformed(&'static str),
    /// A list has more items than allowed.
    #[error("field {0} has too many items")]
    TooMany(&'static str),
    /// A field that the message does not have.
    #[error("unknown field {0:?}")]
    Unknown(String),
}

/// A JSON object of which fields are taken one by one.
#[derive(Debug)]
pub struct Object(Map<String, Value>);

impl Object {
    /// Reads one JSON object that fills `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, FieldError> {
        Self::from_value(canonical::parse(bytes)?, "(the message)")
    }

    /// Takes `value`, the content of field `name`, as an object.
    pub fn from_value(value: Value, name: &'static str) -> Result<Self, FieldError> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(FieldError::Malformed(name)),
        }
    }

    /// Takes any field; `None` when it is unset.
    pub fn optional(&mut self, name: &'static str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a text field; `None` when it is unset.
    pub fn optional_text(&mut self, name: &'static str) -> Result<Option<String>, FieldError> {
        match self.optional(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(FieldError::Malformed(name)),
        }
    }

    /// Takes a text field that must be set.
    pub fn text(&mut self, name: &'static str) -> Result<String, FieldError> {
        self.optional_text(name)?.ok_or(FieldError::Missing(name))
    }

    /// Takes a bytes field that must be set.
    pub fn bytes(&mut self, name: &'static str) -> Result<Vec<u8>, FieldError> {
        from_base64(&self.text(name)?).ok_or(FieldError::Malformed(name))
    }

    /// Takes a bytes field that must hold a SHA-256 value.
    pub fn hash(&mut self, name: &'static str) -> Result<Hash, FieldError> {
        Hash::from_slice(&self.bytes(name)?).ok_or(FieldError::Malformed(name))
    }

    /// Takes a 64-bit integer that is not negative; unset is 0.
    pub fn int64(&mut self, name: &'static str) -> Result<u64, FieldError> {
        let value = match self.optional(name) {
            None => return Ok(0),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => {
                text.parse::<u64>().ok().filter(|number| number.to_string() == text)
            }
            Some(_) => None,
        };
        value.filter(|number| i64::try_from(*number).is_ok()).ok_or(FieldError::Malformed(name))
    }

    /// Takes a message field; `None` when it is unset.
    pub fn optional_object(&mut self, name: &'static str) -> Result<Option<Self>, FieldError> {
        self.optional(name).map(|value| Self::from_value(value, name)).transpose()
    }

    /// Takes a message field that must be set.
    pub fn object(&mut self, name: &'static str) -> Result<Self, FieldError> {
        self.optional_object(name)?.ok_or(FieldError::Missing(name))
    }

    /// Takes a list of at most `max` items; unset is empty.
    pub fn list(&mut self, name: &'static str, max: usize) -> Result<Vec<Value>, FieldError> {
        match self.optional(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) if items.len() <= max => Ok(items),
            Some(Value::Array(_)) => Err(FieldError::TooMany(name)),
            Some(_) => Err(FieldError::Malformed(name)),
        }
    }

    /// Refuses the message if a field is left that nobody took.
    pub fn finish(self) -> Result<(), FieldError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(FieldError::Unknown(name)),
        }
    }
}

/// Bytes that are written as canonical padded base64.
pub(crate) struct Base64<'a>(pub &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.serialize_str(&to_base64(self.0))
    }
}

/// A 64-bit integer that is written as a decimal string.
pub(crate) struct Int64(pub u64);

impl Serialize for Int64 {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.collect_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_canonical_decimal_strings_or_numbers_and_not_negative() {
        let read = |text: &str| {
            Object::parse(format!(r#"{{"n":{text}}}"#).as_bytes()).unwrap().int64("n").ok()
        };
        assert_eq!(read("7"), Some(7));
        assert_eq!(read(r#""7""#), Some(7));
        assert_eq!(read("null"), Some(0));
        assert_eq!(read(r#""9223372036854775807""#), Some(i64::MAX as u64));
        for text in [r#""07""#, r#""+7""#, r#""""#, "-1", "7.0", r#""9223372036854775808""#, "[]"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_field_nobody_took_is_an_error() {
        let mut object = Object::parse(br#"{"a":"x","b":null}"#).unwrap();
        assert_eq!(object.text("a").unwrap(), "x");
        assert!(matches!(object.finish(), Err(FieldError::Unknown(name)) if name == "b"));
    }

    #[test]
    fn an_array_is_not_a_message() {
        assert!(matches!(Object::parse(b"[]"), Err(FieldError::Malformed(_))));
    }
}
