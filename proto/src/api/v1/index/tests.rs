use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use serde_json::{Value, json};

use super::*;
use crate::encoding::to_base64;
use crate::facts::{FactSources, ReadStatement, extract};
use crate::hash::sha256;
use crate::key::{HashAlgorithm, PublicKey};
use crate::statement::Statement;

fn key() -> PublicKey {
    let spki = SigningKey::from_bytes(&[7; 32]).verifying_key().to_public_key_der().unwrap();
    PublicKey::from_spki_der(spki.as_bytes()).unwrap()
}

fn parse(query: &Value) -> Result<SearchIndex, QueryError> {
    SearchIndex::parse(query.to_string().as_bytes())
}

fn criteria(query: &Value) -> Vec<Vec<Hash>> {
    let criteria = parse(query).unwrap().criteria().unwrap();
    assert!(criteria.len() <= CRITERIA_MAX);
    assert!(criteria.iter().all(|keys| (1..=KEYS_OF_ONE_MAX).contains(&keys.len())));
    criteria
}

fn x509(content: &str) -> Value {
    json!({ "format": "x509", "content": to_base64(content.as_bytes()) })
}

#[track_caller]
fn refused(query: &Value, code: u32, message: &str) {
    let expected = QueryError::Invalid { code, message: message.to_owned() };
    assert_eq!(parse(query), Err(expected), "{query}");
}

#[test]
fn nothing_is_asked_for_in_as_many_ways_as_go_has() {
    for query in [
        json!({}),
        json!({ "email": null, "subject": null, "hash": null, "publicKey": null, "operator": null }),
        json!({ "email": "", "subject": "", "hash": "", "operator": "" }),
        json!({ "url": "https://a.example", "operator": "and" }),
    ] {
        assert_eq!(criteria(&query), Vec::<Vec<Hash>>::new(), "{query}");
    }
}

#[test]
fn operators_are_two_words() {
    let operator = |word: &str| parse(&json!({ "operator": word })).map(|query| query.operator());
    assert_eq!(operator("and"), Ok(Operator::And));
    assert_eq!(operator("or"), Ok(Operator::Or));
    assert_eq!(parse(&json!({})).unwrap().operator(), Operator::Or);
    for other in ["AND", "xor"] {
        refused(&json!({ "operator": other }), 606, "operator in body should be one of [and or]");
    }
}

#[test]
fn a_hash_gets_its_algorithm_by_its_length_and_lower_case() {
    for (digits, algorithm) in [(40, "sha1"), (64, "sha256"), (128, "sha512")] {
        let hash = "aB".repeat(digits / 2);
        let bare = criteria(&json!({ "hash": hash }));
        let named = criteria(&json!({ "hash": format!("{algorithm}:{hash}") }));
        assert_eq!(bare, named, "{algorithm}");
        let value = format!("{algorithm}:{}", hash.to_lowercase());
        for tag in [Tag::ArtifactDigest, Tag::PayloadDigest, Tag::EnvelopeDigest, Tag::ParentDigest]
        {
            assert!(bare[0].contains(&search_key(tag, value.as_bytes())), "{algorithm} {tag}");
        }
    }
    let hash = "ab".repeat(32);
    for bad in [
        &hash[1..],
        &format!("{hash}0"),
        &format!("SHA256:{hash}"),
        &format!("sha1:{hash}"),
        &format!("sha384:{}", "ab".repeat(48)),
        &"ab".repeat(48),
        &format!(":{hash}"),
        &format!("sha256:sha256:{hash}"),
        &format!("{}g", &hash[1..]),
    ] {
        refused(
            &json!({ "hash": bad }),
            605,
            "hash in body should match '^(sha512:)?[0-9a-fA-F]{128}$|^(sha256:)?[0-9a-fA-F]{64}$|^(sha1:)?[0-9a-fA-F]{40}$'",
        );
    }
}

#[test]
fn every_digest_and_key_of_an_entry_is_found_by_what_a_rekor_client_sends() {
    let verifier = Verifier::from_pem(&key().to_pem()).unwrap();
    let payload = br#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"2D711642B726B04401627CA9FBAC32F5C8530FB1903CC4DB02258717921A4881"}}],"predicateType":"https://slsa.dev/provenance/v0.2","predicate":{"materials":[{"uri":"b","digest":{"sha1":"1e5dcbb59b753cb1d46e234d8f6180285b8b86ad"}}]}}"#;
    let statement = Statement::parse(payload).ok().map(ReadStatement::new);
    let facts = extract(&FactSources {
        verifiers: &[verifier],
        artifact: Some((HashAlgorithm::Sha512, &[0xcd; 64])),
        payload_hash: Some(sha256(payload)),
        statement: statement.as_ref(),
        envelope_sha256: Some(sha256(b"envelope")),
    });
    let mut keys: Vec<Hash> = Vec::new();
    for hash in [
        "cd".repeat(64),
        sha256(payload).to_hex(),
        sha256(b"envelope").to_hex().to_uppercase(),
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881".to_owned(),
        "1e5dcbb59b753cb1d46e234d8f6180285b8b86ad".to_owned(),
    ] {
        keys.extend(criteria(&json!({ "hash": hash })).concat());
    }
    keys.extend(criteria(&json!({ "publicKey": x509(&key().to_pem()) })).concat());
    let of_no_interest = [Tag::SubjectName, Tag::PredicateType];
    for fact in facts.iter().filter(|fact| !of_no_interest.contains(&fact.tag)) {
        let found = keys.contains(&search_key(fact.tag, &fact.value));
        assert!(found, "{}: {}", fact.tag, String::from_utf8_lossy(&fact.value));
    }
    let fingerprint = key().fingerprint();
    let by_hash = criteria(&json!({ "hash": format!("sha256:{fingerprint}") }));
    let by_key = criteria(&json!({ "publicKey": x509(&key().to_pem()) }));
    assert!(by_hash[0].contains(&by_key[0][0]), "the hash of a key finds the key, too");
}

#[test]
fn names_are_looked_up_as_spelled_and_in_lower_case() {
    let identity = |text: &str| search_key(Tag::Identity, text.as_bytes());
    let both = vec![vec![identity("Alice@Example.com"), identity("alice@example.com")]];
    for field in ["email", "subject"] {
        assert_eq!(criteria(&json!({ field: "Alice@Example.com" })), both, "{field}");
        let lower = vec![vec![identity("alice@example.com")]];
        assert_eq!(criteria(&json!({ field: "alice@example.com" })), lower, "{field}");
    }
    let uri = "https://github.com/o/r/.github/workflows/b.yml@refs/heads/main";
    assert_eq!(criteria(&json!({ "subject": uri })), [[identity(uri)]]);
    let digest = format!("sha384:{}", "0a".repeat(48));
    let keys = criteria(&json!({ "subject": digest })).concat();
    assert!(keys.contains(&search_key(Tag::ArtifactDigest, digest.as_bytes())));
    let longest = "\u{e9}".repeat(512);
    assert_eq!(criteria(&json!({ "subject": longest })).len(), 1);
    let message = "subject in body should be at most 512 chars long";
    refused(&json!({ "subject": format!("{longest}x") }), 603, message);
    for bad in ["alice", "@example.com", "alice@", "al ice@example.com", "a@b\n"] {
        let message = format!("email in body must be of type email: {bad:?}");
        refused(&json!({ "email": bad }), 601, &message);
    }
}

#[test]
fn criteria_are_apart_so_that_they_can_be_asked_for_together() {
    let query = json!({
        "email": "a@b.c", "subject": "S", "hash": "ab".repeat(20),
        "publicKey": x509(&key().to_pem()), "operator": "and",
    });
    assert_eq!(criteria(&query).len(), CRITERIA_MAX);
}

#[test]
fn keys_that_cannot_be_searched_by_are_refused_as_rekor_refuses_them() {
    let required = "publicKey.format in body is required";
    refused(&json!({ "publicKey": {} }), 602, required);
    refused(&json!({ "publicKey": { "format": null, "content": "" } }), 602, required);
    let formats = "publicKey.format in body should be one of [pgp x509 minisign ssh tuf]";
    refused(&json!({ "publicKey": { "format": "pkcs7" } }), 606, formats);
    for format in ["pgp", "minisign", "ssh", "tuf"] {
        let query = parse(&json!({ "publicKey": { "format": format } })).unwrap();
        let why = "the PKI format requested is not supported by this server";
        assert_eq!(query.criteria(), Err(QueryError::Key(why)), "{format}");
    }
    let unreadable = QueryError::Key("public key provided could not be parsed");
    for content in ["", "key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        let query = parse(&json!({ "publicKey": x509(content) })).unwrap();
        assert_eq!(query.criteria(), Err(unreadable.clone()), "{content}");
    }
    let bytes = json!({ "format": "x509", "content": to_base64(&[0xff; 8]) });
    let query = parse(&json!({ "publicKey": bytes })).unwrap();
    assert_eq!(query.criteria(), Err(unreadable));
    for bad in [
        json!({ "publicKey": { "format": "x509", "content": "?" } }),
        json!({ "publicKey": "key" }),
        json!({ "hash": 5 }),
        json!([]),
        Value::Null,
    ] {
        let error = parse(&bad).unwrap_err();
        assert!(matches!(error, QueryError::Malformed { name: "query", .. }), "{bad}: {error}");
    }
    assert_eq!(
        SearchIndex::parse(b""),
        Err(QueryError::Invalid { code: 602, message: "query in body is required".to_owned() })
    );
}

#[test]
fn of_several_faults_the_first_in_rekors_order_is_told() {
    let query = json!({
        "subject": "x".repeat(513), "publicKey": {}, "operator": "x", "hash": "x", "email": "x",
    });
    let mut query = query.as_object().unwrap().clone();
    for (field, code) in
        [("email", 601), ("hash", 605), ("operator", 606), ("publicKey", 602), ("subject", 603)]
    {
        let error = parse(&Value::Object(query.clone())).unwrap_err();
        assert!(matches!(error, QueryError::Invalid { code: given, .. } if given == code));
        query.remove(field);
    }
    assert_eq!(parse(&Value::Object(query)), Ok(SearchIndex::default()));
}
