//! JSON read strictly and written canonically (RFC 8785, JCS).
//!
//! Bytes that are hashed or signed are compared by machines that disagree about sloppy JSON: which
//! of two equal keys counts, how deep is too deep. So nothing sloppy gets in.
//!
//! Invariant: `to_canonical(parse(text))` depends on the meaning of `text` alone, and no object
//! read here has lost a duplicate key on the way.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may nest. No format that Treering reads needs more than 10; more is
/// an attack on the stack.
pub const JSON_DEPTH_MAX: usize = 32;

/// How many characters of a key an error repeats.
const DUPLICATE_SHOWN_MAX: usize = 64;

/// Why a text is not acceptable JSON.
#[derive(Debug, thiserror::Error)]
#[error("not acceptable JSON: {0}")]
pub struct JsonError(#[from] serde_json::Error);

/// Reads one JSON value that fills `bytes`.
///
/// Refuses duplicate keys, nesting beyond [`JSON_DEPTH_MAX`], trailing bytes, and what is not
/// UTF-8.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Writes `value` as RFC 8785 bytes.
pub fn to_canonical(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value)
        .expect("a parsed JSON value has finite numbers and text keys")
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {JSON_DEPTH_MAX} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(inner)?;
            if members.contains_key(&key) {
                // Whoever sent it chose it, and how long it is.
                let start: String = key.chars().take(DUPLICATE_SHOWN_MAX).collect();
                return Err(de::Error::custom(format_args!("duplicate key {start:?}")));
            }
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        String::from_utf8(to_canonical(&parse(text.as_bytes()).unwrap())).unwrap()
    }

    #[test]
    fn writes_keys_in_utf16_order_and_numbers_as_ecmascript_does() {
        assert_eq!(
            canonical(r#"{ "b":1, "a" : [ 1e9, 4.0, 1e-7, -0 ] }"#),
            r#"{"a":[1000000000,4,1e-7,0],"b":1}"#
        );
        // U+FB33 sorts after the emoji in UTF-16 code units, before it in code points.
        assert_eq!(
            canonical("{\"\u{fb33}\":1,\"\u{1f600}\":2}"),
            "{\"\u{1f600}\":2,\"\u{fb33}\":1}"
        );
        assert_eq!(canonical(r#""\u0007\n\u20ac\/""#), "\"\\u0007\\n\u{20ac}/\"");
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"[{"a":{"b":1,"b":2}}]"#,
            "1 2",
            "",
            "{",
            "[1,]",
            "NaN",
            "\u{feff}1",
            "1e999",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn an_error_does_not_repeat_a_long_key() {
        let key = "\u{7f}".repeat(1 << 20);
        let error = parse(format!(r#"{{"{key}":1,"{key}":2}}"#).as_bytes()).unwrap_err();
        assert!(error.to_string().len() < 1_024);
    }

    #[test]
    fn refuses_depth_beyond_the_limit_and_takes_the_limit() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        assert!(parse(nested(JSON_DEPTH_MAX + 1).as_bytes()).is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
