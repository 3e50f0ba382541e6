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
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|hex| u8::from_str_radix(hex, 16).ok()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_broken_ones_kept() {
        let query = Query::parse("identity=a%40b.c&x=1+2&bad=%zz%4&&empty=&flag");
        assert_eq!(query.one("identity"), Some("a@b.c"));
        assert_eq!(query.one("x"), Some("1 2"));
        assert_eq!(query.one("bad"), Some("%zz%4"));
        assert_eq!(query.one("empty"), Some(""));
        assert_eq!(query.one("flag"), Some(""));
        assert_eq!(query.one("none"), None);
        assert_eq!(query.all().len(), 5);
    }
}
