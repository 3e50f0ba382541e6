//! Who signed which name and which bytes before, and which bytes had which name: what rules with
//! `known-*` ask.
//!
//! Three relations, as rows `relation (1) || left (16) || right (16)`:
//!
//! | relation | left | right |
//! |---|---|---|
//! | 0 | name | signer |
//! | 1 | digest | name |
//! | 2 | digest | signer |
//!
//! A digest is a model id, an OMS root or the digest of an artifact; not that of a file of a model,
//! because a licence text is in many of them.
//!
//! Invariant: an entry is compared with all entries below it, and with none above. Out of scope:
//! what rules make of it.

use treering_proto::facts::{Fact, Tag};

use super::record::{Record, SignerId, short};
use super::rules::News;

/// Rows of one relation that one entry makes. A model makes two; a statement about thousands of
/// artifacts is compared by the first of them.
const ROWS_MAX: usize = 65_536;

/// A row: relation, left, right.
pub type Row = [u8; 33];

/// What is known so far.
pub trait Known {
    /// What goes wrong when it is asked.
    type Error;

    /// Whether the row is there.
    fn has(&self, row: &Row) -> Result<bool, Self::Error>;

    /// Whether any row starts with relation and left of `row`.
    fn has_left(&self, row: &Row) -> Result<bool, Self::Error>;
}

/// The terms of one entry that stand in relations, each with the fact that it came from.
#[derive(Clone, Default, Debug)]
pub struct Terms<'a> {
    names: Vec<(SignerId, &'a Fact)>,
    digests: Vec<(SignerId, &'a Fact)>,
    signers: Vec<SignerId>,
}

/// What is new about an entry, with the facts that were known.
#[derive(Clone, Default, Debug)]
pub struct Newness<'a> {
    /// Which conditions hold.
    pub news: News,
    /// The names and digests that were known.
    pub known: Vec<&'a Fact>,
}

impl<'a> Terms<'a> {
    /// The terms of an entry.
    pub fn of(record: &'a Record) -> Self {
        let term = |fact: &'a Fact| (short(&String::from_utf8_lossy(&fact.value)), fact);
        let with = |tag: Tag| record.facts.iter().filter(move |fact| fact.tag == tag).map(term);
        // Models first: what they say is always compared.
        let mut digests: Vec<(SignerId, &Fact)> = with(Tag::ModelId).collect();
        for (id, fact) in with(Tag::OmsRoot).chain(with(Tag::ArtifactDigest)) {
            // Artifacts are many, the others two at most.
            if !digests.iter().take(2).any(|(known, _)| *known == id) {
                digests.push((id, fact));
            }
        }
        Self { names: with(Tag::SubjectName).collect(), digests, signers: record.signers.clone() }
    }

    /// The rows that the entry makes.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let names = self.names.iter().map(|(id, _)| *id);
        let digests = self.digests.iter().map(|(id, _)| *id);
        let name_of = self.names.iter().map(|(id, _)| id);
        pairs(0, names, self.signers.iter()).chain(pairs(1, digests.clone(), name_of)).chain(pairs(
            2,
            digests,
            self.signers.iter(),
        ))
    }

    /// What is new about the entry, compared with what is `known`.
    ///
    /// # Errors
    /// Those of `known`.
    pub fn news<K: Known>(&self, known: &K) -> Result<Newness<'a>, K::Error> {
        let mut newness = Newness::default();
        let names: Vec<SignerId> = self.names.iter().map(|(id, _)| *id).collect();
        let mut look = |relation, left: &[(SignerId, &'a Fact)], right: &[SignerId]| {
            for (id, fact) in left.iter().take(ROWS_MAX / right.len().max(1)) {
                if is_known_and_new(known, relation, id, right)? {
                    newness.known.push(*fact);
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let news = News {
            name_new_signer: look(0, &self.names, &self.signers)?,
            bytes_new_name: look(1, &self.digests, &names)?,
            bytes_new_signer: look(2, &self.digests, &self.signers)?,
        };
        newness.news = news;
        Ok(newness)
    }
}

impl News {
    /// Whether everything that `asked` asks for holds.
    pub fn covers(self, asked: Self) -> bool {
        (self.name_new_signer || !asked.name_new_signer)
            && (self.bytes_new_name || !asked.bytes_new_name)
            && (self.bytes_new_signer || !asked.bytes_new_signer)
    }
}

/// Whether `left` is known, and with none of `right`. Without any `right` there is nothing new.
fn is_known_and_new<K: Known>(
    known: &K,
    relation: u8,
    left: &SignerId,
    right: &[SignerId],
) -> Result<bool, K::Error> {
    for id in right {
        if known.has(&row(relation, left, id))? {
            return Ok(false);
        }
    }
    Ok(!right.is_empty() && known.has_left(&row(relation, left, &SignerId::default()))?)
}

fn pairs<'a>(
    relation: u8,
    left: impl Iterator<Item = SignerId> + 'a,
    right: impl Iterator<Item = &'a SignerId> + Clone + 'a,
) -> impl Iterator<Item = Row> + 'a {
    left.flat_map(move |left| right.clone().map(move |right| row(relation, &left, right)))
        .take(ROWS_MAX)
}

fn row(relation: u8, left: &SignerId, right: &SignerId) -> Row {
    let mut row = [relation; 33];
    row[1..17].copy_from_slice(left);
    row[17..].copy_from_slice(right);
    row
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use treering_proto::entry::EntryKind;

    use super::*;

    impl Known for BTreeSet<Row> {
        type Error = Infallible;

        fn has(&self, row: &Row) -> Result<bool, Infallible> {
            Ok(self.contains(row))
        }

        fn has_left(&self, row: &Row) -> Result<bool, Infallible> {
            Ok(self.range::<Row, _>(row..).next().is_some_and(|next| next[..17] == row[..17]))
        }
    }

    fn record(name: &str, digest: &str, signer: u8) -> Record {
        let fact = |tag, value: &str| Fact { tag, value: value.as_bytes().to_vec() };
        Record {
            kind: Some(EntryKind::DsseV001),
            is_incomplete: false,
            signers: vec![[signer; 16]],
            facts: vec![fact(Tag::ArtifactDigest, digest), fact(Tag::SubjectName, name)],
        }
    }

    /// What is new about each of `records`, one after the other, as three letters.
    fn news(records: &[Record]) -> Vec<String> {
        let mut known = BTreeSet::new();
        let mut all = Vec::new();
        for record in records {
            let terms = Terms::of(record);
            let Ok(found) = terms.news(&known);
            let News { name_new_signer, bytes_new_name, bytes_new_signer } = found.news;
            let letters = [(name_new_signer, 'N'), (bytes_new_name, 'n'), (bytes_new_signer, 's')];
            all.push(letters.iter().filter(|(holds, _)| *holds).map(|(_, c)| c).collect());
            known.extend(terms.rows());
        }
        all
    }

    #[test]
    fn only_what_was_known_can_have_something_new() {
        let first = record("a", "sha256:aa", 1);
        assert_eq!(news(&[first.clone(), first.clone()]), ["", ""]);
        assert_eq!(news(&[first.clone(), record("a", "sha256:bb", 2)]), ["", "N"]);
        assert_eq!(news(&[first.clone(), record("b", "sha256:aa", 1)]), ["", "n"]);
        assert_eq!(news(&[first.clone(), record("b", "sha256:aa", 2)]), ["", "ns"]);
        assert_eq!(news(&[first.clone(), record("a", "sha256:aa", 2)]), ["", "Ns"]);
        let again =
            [first.clone(), record("a", "sha256:bb", 2), record("a", "sha256:cc", 2), first];
        assert_eq!(news(&again), ["", "N", "", ""]);
    }

    #[test]
    fn a_known_signer_among_others_is_no_news_and_no_signer_is_none_either() {
        let mut both = record("a", "sha256:bb", 1);
        both.signers.push([2; 16]);
        assert_eq!(news(&[record("a", "sha256:aa", 2), both]), ["", ""]);
        let mut nobody = record("a", "sha256:bb", 1);
        nobody.signers.clear();
        assert_eq!(news(&[record("a", "sha256:aa", 2), nobody]), ["", ""]);
    }
}
