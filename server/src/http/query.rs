//! Query strings, decoded. Bounded by the length of the request line, which hyper bounds.

use std::borrow::Cow;

/// The parameters of a query, in order.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a query; what is not UTF-8 becomes replacement characters, which match nothing.
    pub fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name).into_owned(), decode(value).into_owned())
        });
        Self(pairs.collect())
    }

    /// The first value of `name`.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The last value of `name`: which of several counts in Rekor.
    pub fn last(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Every parameter.
    pub fn all(&self) -> &[(String, String)] {
        &self.0
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => {
                hex_digit(*high).zip(hex_digit(*low)).map(|(h, l)| h * 16 + l)
            }
            _ => None,
        };
        match escaped {
            Some(value) => {
                bytes.push(value);
                rest = &after[2..];
            }
            None => {
                bytes.push(if *byte == b'+' { b' ' } else { *byte });
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_broken_ones_kept() {
        let query = Query::parse("identity=a%40b.c&x=1+2&bad=%zz%4%+5&&empty=&flag");
        assert_eq!(query.one("identity"), Some("a@b.c"));
        assert_eq!(query.one("x"), Some("1 2"));
        assert_eq!(query.one("bad"), Some("%zz%4% 5"));
        assert_eq!(query.one("empty"), Some(""));
        assert_eq!(query.one("flag"), Some(""));
        assert_eq!(query.one("none"), None);
        let twice = Query::parse("a=1&b=2&a=3");
        assert_eq!((twice.one("a"), twice.last("a")), (Some("1"), Some("3")));
        assert_eq!(query.all().len(), 5);
    }
}
