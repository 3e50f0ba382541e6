use std::collections::HashSet;

use treering_proto::entry::{Entry, EntryKind};
use treering_proto::facts::Tag;
use treering_proto::key::KeyKind;

use super::*;

const KINDS: [Kind; 4] = [Kind::P256, Kind::Rsa2048, Kind::Ed25519ph, Kind::Dsse { files: 3 }];

fn read(face: Face, request: &[u8]) -> VerifiedEntry {
    let entry = match face {
        Face::RekorV2 => VerifiedEntry::from_v2_request(request),
        Face::RekorV1 => VerifiedEntry::from_v1_request(request),
        Face::Add => panic!("a raw leaf is no request"),
    };
    entry.unwrap()
}

#[test]
fn every_request_is_accepted_as_what_it_says_and_no_two_are_the_same() {
    for (face, hashedrekord, dsse) in [
        (Face::RekorV2, EntryKind::HashedrekordV002, EntryKind::DsseV002),
        (Face::RekorV1, EntryKind::HashedrekordV001, EntryKind::DsseV001),
    ] {
        for kind in KINDS {
            let requests = make_all(Recipe { kind, face, per_key: 2 }, 5, 2);
            assert_eq!(requests.len(), 5);
            let mut leaves = HashSet::new();
            let mut keys = HashSet::new();
            for request in &requests {
                let entry = read(face, request);
                let is_dsse = matches!(kind, Kind::Dsse { .. });
                assert_eq!(entry.kind(), if is_dsse { dsse } else { hashedrekord });
                leaves.insert(entry.leaf());
                let body = Entry::parse(entry.body()).unwrap();
                let key = body.verifiers()[0].key();
                assert_eq!(key.kind(), key_kind(kind), "{kind}");
                keys.insert(key.fingerprint());
            }
            assert_eq!(leaves.len(), 5, "{kind}, {face}");
            // Makers of three and two requests with two keys and one.
            assert_eq!(keys.len(), 3, "{kind}, {face}");
        }
    }
}

fn key_kind(kind: Kind) -> KeyKind {
    match kind {
        Kind::P256 | Kind::Dsse { .. } => KeyKind::EcdsaP256,
        Kind::Rsa2048 => KeyKind::Rsa2048,
        Kind::Ed25519ph => KeyKind::Ed25519,
    }
}

#[test]
fn an_envelope_holds_a_model_statement_that_is_admitted() {
    for face in [Face::RekorV2, Face::RekorV1] {
        let kind = Kind::Dsse { files: 12 };
        let mut maker = Maker::new(Recipe { kind, face, per_key: 1 });
        let (one, two) = (read(face, &maker.make()), read(face, &maker.make()));
        let files = |entry: &VerifiedEntry| {
            let facts = entry.facts().iter().filter(|fact| fact.tag == Tag::FileDigest);
            facts.map(|fact| fact.value.clone()).collect::<HashSet<_>>()
        };
        assert_eq!((files(&one).len(), files(&two).len()), (12, 12));
        assert!(files(&one).is_disjoint(&files(&two)), "no model has a file of another");
    }
}

#[test]
fn a_raw_leaf_is_the_canonical_entry() {
    for kind in KINDS {
        let leaves = make_all(Recipe { kind, face: Face::Add, per_key: 9 }, 3, 1);
        let distinct: HashSet<_> = leaves.iter().collect();
        assert_eq!(distinct.len(), 3);
        for leaf in &leaves {
            assert_eq!(Entry::parse(leaf).unwrap().to_body(), leaf.as_ref());
        }
    }
}

#[test]
fn makers_have_digests_of_their_own() {
    let recipe = Recipe { kind: Kind::P256, face: Face::RekorV2, per_key: 1 };
    let digest = |request: &[u8]| {
        let facts = read(Face::RekorV2, request).facts().to_vec();
        facts.into_iter().find(|fact| fact.tag == Tag::ArtifactDigest).unwrap().value
    };
    let digests: HashSet<_> =
        make_all(recipe, 8, 4).iter().map(|request| digest(request)).collect();
    assert_eq!(digests.len(), 8);
}
