//! Versions of models, as far as they can be compared: whole numbers, and semantic versions
//! (semver.org 2.0.0). A whole number `N` is `N.0.0`, so that a signer may go over to semantic
//! versions.
//!
//! Invariant: the order is total over all versions that were read. Build metadata does not count.
//! Out of scope: every other spelling, `v1`, `1.2` and dates among them: guessing would be wrong
//! for somebody.

use std::cmp::Ordering;

/// A version that can be compared.
#[derive(Clone, Debug)]
pub(crate) struct Version(semver::Version);

impl Version {
    /// `None` for what is neither a whole number nor a semantic version.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let whole =
            text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if whole {
            return text.parse().ok().map(|major| Self(semver::Version::new(major, 0, 0)));
        }
        semver::Version::parse(text).ok().map(Self)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp_precedence(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_semantic_versions_are_in_one_order() {
        let ascending = [
            "0",
            "0.0.1",
            "0.9.0",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1",
            "1.0.1",
            "1.10.0",
            "2",
            "10.0.0",
            "11",
            "18446744073709551615",
        ];
        let read = ascending.map(|text| Version::parse(text).unwrap_or_else(|| panic!("{text}")));
        assert!(read.is_sorted_by(|a, b| a < b));
        assert_eq!(Version::parse("1"), Version::parse("1.0.0"));
        assert_eq!(Version::parse("1.0.0+build.1"), Version::parse("1.0.0+build.2"));
    }

    #[test]
    fn what_is_neither_cannot_be_compared() {
        for text in [
            "",
            "v1",
            "1.2",
            "01",
            "1.0.0.0",
            "-1",
            "+1",
            "1e3",
            "2024-05-01",
            "spring",
            " 1",
            "1.0.0-",
            "1.0.0-01",
            "18446744073709551616",
            "\u{661}",
        ] {
            assert!(Version::parse(text).is_none(), "{text:?}");
        }
    }
}
