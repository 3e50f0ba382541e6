//! Patterns: text with `*` for any text, matched whole.
//!
//! Invariant: matching takes time linear in value and pattern, whatever both are: each part between
//! two stars is searched for once, where the one before it ended. Taking the first place is never
//! wrong, because a star may stand for what lies between.

/// The longest pattern, in bytes.
pub const PATTERN_LEN_MAX: usize = 256;

/// The longest value that a pattern with a star matches, in bytes.
pub const VALUE_LEN_MAX: usize = 4096;

/// Text with `*` for any text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern that `text` spells: 1 to [`PATTERN_LEN_MAX`] bytes.
    pub fn new(text: &str) -> Option<Self> {
        (1..=PATTERN_LEN_MAX).contains(&text.len()).then(|| Self(text.to_owned()))
    }

    /// How it is spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether all of `value` is what the pattern describes.
    pub fn matches(&self, value: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == value };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        if value.len() > VALUE_LEN_MAX {
            return false;
        }
        let Some(inner) = value.strip_prefix(first) else { return false };
        let Some(mut inner) = inner.strip_suffix(last) else { return false };
        for part in middle.split('*').filter(|part| !part.is_empty()) {
            match inner.find(part) {
                Some(at) => inner = &inner[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(value)
    }

    /// The definition: a star is any text.
    fn by_definition(pattern: &[u8], value: &[u8]) -> bool {
        match pattern.split_first() {
            None => value.is_empty(),
            Some((b'*', rest)) => (0..=value.len()).any(|at| by_definition(rest, &value[at..])),
            Some((c, rest)) => value.first() == Some(c) && by_definition(rest, &value[1..]),
        }
    }

    #[test]
    fn patterns_match_whole_values_only() {
        assert!(matches("llm-*", "llm-7b") && matches("llm-*", "llm-"));
        assert!(!matches("llm-*", "my-llm-7b") && !matches("llm", "llm-7b"));
        assert!(!matches("a*a", "a") && matches("a*a", "aa"));
        assert!(!matches("*", &"x".repeat(VALUE_LEN_MAX + 1)));
        assert_eq!(Pattern::new(""), None);
        assert_eq!(Pattern::new(&"a".repeat(PATTERN_LEN_MAX + 1)), None);
    }

    #[test]
    fn all_short_patterns_agree_with_the_definition() {
        let texts = |letters: &'static [u8], len: u32| {
            let base = letters.len();
            (0..base.pow(len)).map(move |mut number| {
                let letter = |_| {
                    let letter = letters[number % base];
                    number /= base;
                    letter as char
                };
                (0..len).map(letter).collect::<String>()
            })
        };
        for pattern in (1..=5).flat_map(|len| texts(b"ab*", len)) {
            for value in (0..=5).flat_map(|len| texts(b"ab", len)) {
                let expected = by_definition(pattern.as_bytes(), value.as_bytes());
                assert_eq!(matches(&pattern, &value), expected, "{pattern} {value}");
            }
        }
    }
}
