//! What the index keeps of each entry: kind, signers, facts.
//!
//! ```text
//! run    = record, record, ...                          of consecutive entries
//! record = length (u32) || kind (u8) || flags (u8)
//!          || signer count (u8) || signer (16) ...
//!          || fact count (u32) || tag (u8) length (u16) value ...            big-endian
//! ```
//!
//! Kinds: 0 and 1 are `hashedrekord` 0.0.1 and 0.0.2, 2 and 3 `dsse`, 4 and 5 `intoto`, 6 `rekord`
//! 0.0.1, 255 what cannot be read.
//! Flag 1: the statement was not there, so that facts may be missing.
//!
//! Invariant: a record is at most what the facts of one entry make it (`docs/facts.md`).

use treering_proto::certificate::Certificate;
use treering_proto::dsse_envelope::IN_TOTO_PAYLOAD_TYPE;
use treering_proto::entry::{Entry, EntryKind};
use treering_proto::facts::{Fact, Tag};
use treering_proto::hash::sha256;
use treering_proto::verifier::Verifier;

use crate::certificate_chain::check_chain;

/// A signer: a hash of what it is known by.
pub type SignerId = [u8; 16];

/// What is kept of one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// `None` for what cannot be read.
    pub kind: Option<EntryKind>,
    /// The statement was not there.
    pub is_incomplete: bool,
    /// Who signed, sorted.
    pub signers: Vec<SignerId>,
    /// What the entry can be found by.
    pub facts: Vec<Fact>,
}

/// By number; what is stored keeps its number.
const KINDS: [EntryKind; 7] = [
    EntryKind::HashedrekordV001,
    EntryKind::HashedrekordV002,
    EntryKind::DsseV001,
    EntryKind::DsseV002,
    EntryKind::IntotoV001,
    EntryKind::IntotoV002,
    EntryKind::RekordV001,
];
const KIND_UNREADABLE: u8 = 255;
const FLAG_INCOMPLETE: u8 = 1;

impl Record {
    /// What is kept of an entry that cannot be read.
    pub const UNREADABLE: Self =
        Self { kind: None, is_incomplete: true, signers: Vec::new(), facts: Vec::new() };

    /// Appends the record to a run.
    pub fn encode(&self, run: &mut Vec<u8>) {
        let start = run.len();
        run.extend_from_slice(&[0; 4]);
        let code = |kind| KINDS.iter().position(|known| *known == kind);
        run.push(self.kind.and_then(code).map_or(KIND_UNREADABLE, |code| code as u8));
        run.push(if self.is_incomplete { FLAG_INCOMPLETE } else { 0 });
        run.push(u8::try_from(self.signers.len()).expect("an entry has few signers"));
        self.signers.iter().for_each(|signer| run.extend_from_slice(signer));
        run.extend_from_slice(&(self.facts.len() as u32).to_be_bytes());
        for fact in &self.facts {
            run.push(fact.tag as u8);
            let len = u16::try_from(fact.value.len()).expect("values of facts are short");
            run.extend_from_slice(&len.to_be_bytes());
            run.extend_from_slice(&fact.value);
        }
        let len = (run.len() - start - 4) as u32;
        run[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }

    /// The records of a run, in order; `None` where it is damaged.
    pub fn decode_run(run: &[u8]) -> impl Iterator<Item = Option<Self>> + '_ {
        split_run(run).map(|bytes| Self::decode(bytes?))
    }

    /// How many records of a run are of entries in which there is more than facts can tell: without
    /// a statement, or unreadable. `None` where the run is damaged.
    pub fn count_without_statement(run: &[u8]) -> Option<u64> {
        let mut count = 0;
        for record in split_run(run) {
            let (&[kind, flags], _) = record?.split_first_chunk::<2>()?;
            let is_digest = KINDS.get(usize::from(kind)).is_none_or(|kind| is_digest(*kind));
            count += u64::from(is_digest || flags & FLAG_INCOMPLETE != 0);
        }
        Some(count)
    }

    /// The record at `position` of a run; `None` if there is none.
    pub fn at(run: &[u8], position: usize) -> Option<Self> {
        Self::decode(split_run(run).nth(position)??)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[kind, flags, signers], mut rest) = bytes.split_first_chunk::<3>()?;
        let kind = match kind {
            KIND_UNREADABLE => None,
            code => Some(*KINDS.get(usize::from(code))?),
        };
        let mut record = Self {
            kind,
            is_incomplete: flags & FLAG_INCOMPLETE != 0,
            signers: Vec::with_capacity(usize::from(signers)),
            facts: Vec::new(),
        };
        for _ in 0..signers {
            let (signer, after) = rest.split_first_chunk::<16>()?;
            record.signers.push(*signer);
            rest = after;
        }
        let (count, mut rest) = rest.split_first_chunk::<4>()?;
        for _ in 0..u32::from_be_bytes(*count) {
            let (&[tag, high, low], after) = rest.split_first_chunk::<3>()?;
            let len = usize::from(u16::from_be_bytes([high, low]));
            let (value, after) = after.split_at_checked(len)?;
            let tag = *Tag::ALL.get(usize::from(tag))?;
            record.facts.push(Fact { tag, value: value.to_vec() });
            rest = after;
        }
        rest.is_empty().then_some(record)
    }
}

/// Whether entries of `kind` are about a digest, and have no statement.
pub fn is_digest(kind: EntryKind) -> bool {
    matches!(
        kind,
        EntryKind::HashedrekordV001 | EntryKind::HashedrekordV002 | EntryKind::RekordV001
    )
}

/// Whether an honest log need not have the payload of the entry: it says itself that it is no
/// in-toto statement, or it is `intoto` 0.0.1, which does not say what the payload is called and
/// keeps no signature over that either.
pub fn may_lack_statement(entry: &Entry) -> bool {
    let is_other = |payload_type: &str| payload_type != IN_TOTO_PAYLOAD_TYPE;
    entry.payload_type().is_some_and(is_other) || !entry.keeps_signatures()
}

/// The certificates in `entry` that one of `authorities` vouches for, when they begin: the leaf
/// does not say when it was logged. What other certificates say about their holders is anybody's
/// word; and where no signature is kept, that the holder signed is the log's.
pub fn vouched<'a>(entry: &'a Entry, authorities: &[Certificate]) -> Vec<&'a Certificate> {
    if authorities.is_empty() || !entry.keeps_signatures() {
        return Vec::new();
    }
    let certificates = entry.verifiers().into_iter().filter_map(Verifier::certificate);
    let holds =
        |leaf: &&Certificate| check_chain(leaf, &[], authorities, leaf.not_before()).is_ok();
    certificates.filter(holds).collect()
}

/// Who signed `entry`, sorted: each identity of a certificate that is `vouched` for, with its
/// issuer; a key where there is no such certificate, or it names nobody. A key in a certificate is
/// made for one signature, so it says nothing about who signs next time. Whom only the log calls a
/// signer is nobody else's equal.
pub fn signers(entry: &Entry, vouched: &[&Certificate]) -> Vec<SignerId> {
    let mut ids = Vec::new();
    for verifier in entry.verifiers() {
        match entry.keeps_signatures() {
            true => add_signers(verifier, vouched, &mut ids),
            false => ids.push(short(&format!("unproven key {}", verifier.key().fingerprint()))),
        }
    }
    ids.sort_unstable();
    ids.dedup();
    // The record counts them in one byte; ten certificates with more names than that are a trick.
    ids.truncate(usize::from(u8::MAX));
    ids
}

fn add_signers(verifier: &Verifier, vouched: &[&Certificate], ids: &mut Vec<SignerId>) {
    let is_vouched =
        |certificate: &&Certificate| vouched.iter().any(|known| known.der() == certificate.der());
    let certificate = verifier.certificate().filter(is_vouched);
    let identities = certificate.map_or(&[][..], |certificate| certificate.identities());
    if identities.is_empty() {
        ids.push(short(&format!("key {}", verifier.key().fingerprint())));
    }
    let issuer = certificate.and_then(|certificate| certificate.issuer()).unwrap_or_default();
    // With the length, so that no two pairs make one text.
    let text = |identity: &String| format!("identity {} {issuer}{identity}", issuer.len());
    ids.extend(identities.iter().map(|identity| short(&text(identity))));
}

/// The first half of the SHA-256: nobody finds two texts that share it.
pub fn short(text: &str) -> SignerId {
    let mut id = SignerId::default();
    id.copy_from_slice(&sha256(text.as_bytes()).as_bytes()[..16]);
    id
}

fn split_run(run: &[u8]) -> impl Iterator<Item = Option<&[u8]>> + '_ {
    let mut rest = run;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = rest.split_first_chunk::<4>().and_then(|(len, after)| {
            let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
            let (record, after) = after.split_at_checked(len)?;
            rest = after;
            Some(record)
        });
        if record.is_none() {
            rest = &[];
        }
        Some(record)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_these_bytes_and_reads_back() {
        let record = Record {
            kind: Some(EntryKind::DsseV001),
            is_incomplete: true,
            signers: vec![[7; 16]],
            facts: vec![Fact { tag: Tag::SubjectName, value: b"ab".to_vec() }],
        };
        let mut run = Vec::new();
        record.encode(&mut run);
        Record::UNREADABLE.encode(&mut run);
        let expected = [
            &[0, 0, 0, 28, 2, 1, 1][..],
            &[7; 16],
            &[0, 0, 0, 1, 6, 0, 2, b'a', b'b'],
            &[0, 0, 0, 7, 255, 1, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(run, expected);
        let read: Vec<_> = Record::decode_run(&run).collect();
        assert_eq!(read, [Some(record.clone()), Some(Record::UNREADABLE)]);
        assert_eq!(Record::at(&run, 0), Some(record.clone()));
        assert_eq!(Record::at(&run, 2), None);
        assert_eq!(Record::count_without_statement(&run), Some(2));
        let whole = Record { is_incomplete: false, ..record };
        let digest = Record { kind: Some(EntryKind::HashedrekordV002), ..whole.clone() };
        let mut others = Vec::new();
        [&whole, &digest, &whole].into_iter().for_each(|record| record.encode(&mut others));
        assert_eq!(Record::count_without_statement(&others), Some(1));
        assert_eq!(Record::count_without_statement(&others[..9]), None);
        let (mut kinds, mut codes) = (Vec::new(), Vec::new());
        for kind in EntryKind::ALL {
            let (facts, signers) = (Vec::new(), Vec::new());
            let of_kind = Record { kind: Some(kind), is_incomplete: false, signers, facts };
            codes.push((kinds.len() + 4, kind));
            of_kind.encode(&mut kinds);
            assert_eq!(Record::decode_run(&kinds).last(), Some(Some(of_kind)));
        }
        // What a directory has stored keeps its meaning.
        let code = |kind| codes.iter().find(|(_, known)| *known == kind).map(|(at, _)| kinds[*at]);
        assert_eq!(code(EntryKind::DsseV002), Some(3));
        assert_eq!(code(EntryKind::IntotoV001), Some(4));
        assert_eq!(code(EntryKind::IntotoV002), Some(5));
        assert_eq!(code(EntryKind::RekordV001), Some(6));
        assert_eq!(Record::count_without_statement(&kinds), Some(3));
        for end in 1..run.len() {
            let whole = end == 32;
            assert_eq!(Record::decode_run(&run[..end]).all(|r| r.is_some()), whole, "{end}");
        }
    }
}
