use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::certificate::Certificate;
use crate::hash::sha256;
use crate::key::PublicKey;
use crate::model_statement::Resource;
use crate::statement::STATEMENT_TYPE_V1;

const DOCUMENT: &str = include_str!("../../../docs/facts.md");

fn key() -> PublicKey {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    PublicKey::from_spki_der(spki.as_ref()).unwrap()
}

fn of_payload(payload: &[u8]) -> Vec<Fact> {
    let statement = Statement::parse(payload).ok().map(ReadStatement::new);
    extract(&FactSources {
        payload_hash: Some(sha256(payload)),
        statement: statement.as_ref(),
        ..FactSources::default()
    })
}

fn of_statement(kind: &str, subject: Value, predicate: Value) -> Vec<Fact> {
    let statement = json!({
        "_type": STATEMENT_TYPE_V1,
        "subject": subject,
        "predicateType": kind,
        "predicate": predicate,
    });
    of_payload(statement.to_string().as_bytes())
}

fn values(facts: &[Fact], tag: Tag) -> Vec<String> {
    let of_tag = facts.iter().filter(|fact| fact.tag == tag);
    of_tag.map(|fact| String::from_utf8(fact.value.clone()).unwrap()).collect()
}

fn one_subject() -> Value {
    json!([{"name": "a", "digest": {"sha256": "00"}}])
}

/// The rows of the table under `heading` in the document, without back-quotes.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let section = DOCUMENT.split("\n## ").find(|text| text.starts_with(heading)).unwrap();
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim_matches([' ', '`']).to_owned()).collect()
        })
        .collect()
}

#[test]
fn search_keys_are_those_of_the_document() {
    let vectors = rows("Vectors");
    assert!(vectors.len() >= Tag::ALL.len());
    for row in vectors {
        let tag = Tag::from_name(&row[0]).unwrap();
        assert_eq!(search_key(tag, row[1].as_bytes()).to_hex(), row[2], "{row:?}");
    }
}

#[test]
fn tags_and_their_limits_are_those_of_the_document_in_its_order() {
    let documented: Vec<(String, String)> =
        rows("Tags").into_iter().map(|row| (row[0].clone(), row[3].clone())).collect();
    let actual: Vec<(String, String)> = Tag::ALL
        .into_iter()
        .map(|tag| (tag.name().to_owned(), tag.count_max().to_string()))
        .collect();
    assert_eq!(documented, actual);
    assert!(Tag::ALL.is_sorted());
    assert!(Tag::ALL.into_iter().enumerate().all(|(at, tag)| tag as usize == at));
    assert!(DOCUMENT.contains(&format!("{FACTS_MAX} facts")));
    assert_eq!(Tag::from_name("artifact"), None);
}

#[test]
fn a_search_key_hashes_exactly_the_documented_bytes() {
    let expected = sha256(b"treering search v1\nidentity\0alice@example.com");
    assert_eq!(search_key(Tag::Identity, b"alice@example.com"), expected);
}

#[test]
fn an_entry_without_sources_has_no_facts() {
    assert_eq!(extract(&FactSources::default()), []);
}

#[test]
fn keys_artifacts_payloads_and_envelopes_are_found_by_digest() {
    let key = key();
    let verifiers =
        [Verifier::PublicKey(Box::new(key.clone())), Verifier::PublicKey(Box::new(key.clone()))];
    let facts = extract(&FactSources {
        verifiers: &verifiers,
        artifact: Some((HashAlgorithm::Sha512, &[0xab; 64])),
        payload_hash: Some(sha256(b"hello")),
        statement: None,
        envelope_sha256: Some(Hash([0xcd; 32])),
    });
    let hello = sha256(b"hello").to_hex();
    assert_eq!(values(&facts, Tag::ArtifactDigest), [format!("sha512:{}", "ab".repeat(64))]);
    assert_eq!(values(&facts, Tag::PayloadDigest), [format!("sha256:{hello}")]);
    assert_eq!(values(&facts, Tag::EnvelopeDigest), [format!("sha256:{}", "cd".repeat(32))]);
    assert_eq!(values(&facts, Tag::PublicKey), [sha256(key.spki_der()).to_hex()]);
    assert_eq!(facts.len(), 4);
    assert!(facts.is_sorted());
}

#[test]
fn certificates_give_identities_issuer_and_workflow() {
    let key = key();
    let der = certificate(key.spki_der());
    let verifier = Verifier::Certificate(Box::new(Certificate::from_der(&der).unwrap()));
    let facts = extract(&FactSources { verifiers: &[verifier], ..FactSources::default() });
    assert_eq!(
        values(&facts, Tag::Identity),
        ["alice@example.com", "https://example.com/workflow@main"]
    );
    assert_eq!(values(&facts, Tag::Issuer), ["https://issuer.example.com"]);
    assert_eq!(values(&facts, Tag::Workflow), ["https://example.com/build.yml@main"]);
    assert_eq!(values(&facts, Tag::PublicKey), [key.fingerprint().to_hex()]);
}

#[test]
fn every_digest_and_name_of_every_subject_counts_once() {
    let facts = of_statement(
        "https://example.com/p",
        json!([
            {"name": "b", "digest": {"sha256": "AB", "gitCommit": "0123", "dirHash1": "h1:x="}},
            {"name": "a", "digest": {"sha256": "ab"}},
            {"name": "a", "digest": {"sha1": "cd", "odd": "abc", "with space": "00"}},
            {"digest": {"sha256": "ab"}},
        ]),
        Value::Null,
    );
    let digests = ["gitcommit:0123", "sha1:cd", "sha256:ab"];
    assert_eq!(values(&facts, Tag::ArtifactDigest), digests);
    assert_eq!(values(&facts, Tag::SubjectName), ["a", "b"]);
    assert_eq!(values(&facts, Tag::PredicateType), ["https://example.com/p"]);
}

#[test]
fn a_model_gives_id_root_and_the_digests_of_files_that_are_not_empty() {
    let empty = sha256(b"");
    let resource =
        |name: &str, digest: [u8; 32]| Resource { name: name.into(), digest: digest.into() };
    let resources = vec![
        resource("a", [1; 32]),
        resource("same", [1; 32]),
        resource("empty", empty.0),
        resource("z", [2; 32]),
    ];
    let model = ModelStatement::new_files("llm", resources, vec![], None).unwrap();
    let facts = of_payload(&model.to_payload());
    let root = format!("sha256:{}", model.root());
    assert_eq!(values(&facts, Tag::ModelId), [crate::model_id::model_id(&model).to_hex()]);
    assert_eq!(values(&facts, Tag::OmsRoot), [root.as_str()]);
    assert_eq!(values(&facts, Tag::ArtifactDigest), [root.as_str()]);
    assert_eq!(values(&facts, Tag::SubjectName), ["llm"]);
    let digests = [format!("sha256:{}", "01".repeat(32)), format!("sha256:{}", "02".repeat(32))];
    assert_eq!(values(&facts, Tag::FileDigest), digests);
}

#[test]
fn the_digests_of_empty_files_are_those_of_nothing() {
    assert_eq!(empty_digest(ModelHash::Sha256), sha256(b"").to_hex());
    for hash in [ModelHash::Sha256, ModelHash::Blake2b, ModelHash::Blake3] {
        assert_eq!(empty_digest(hash).len(), 2 * hash.digest_len());
    }
}

#[test]
fn files_that_are_empty_or_alike_give_no_facts_of_their_own() {
    for hash in [ModelHash::Sha256, ModelHash::Blake2b, ModelHash::Blake3] {
        let full = |byte: &str| byte.repeat(hash.digest_len());
        let digests = [full("cd"), empty_digest(hash).to_owned(), full("ab"), full("cd")];
        let bytes = hex::decode(digests.concat()).unwrap();
        let resources = (0..).zip(&digests).map(|(number, digest)| {
            json!({"name": format!("f{number}"), "algorithm": hash.name(), "digest": digest})
        });
        let facts = of_statement(
            "https://model_signing/signature/v1.0",
            json!([{"name": "m", "digest": {"sha256": sha256(&bytes).to_hex()}}]),
            json!({
                "serialization": {"method": "files", "hash_type": hash.name()},
                "resources": resources.collect::<Vec<_>>(),
            }),
        );
        let expected = ["ab", "cd"].map(|byte| format!("{}:{}", hash.name(), full(byte)));
        assert_eq!(values(&facts, Tag::FileDigest), expected);
    }
}

#[test]
fn shards_give_no_file_digests() {
    let model = crate::model_statement::tests::shards(4, &[("f:0:4", 1), ("g:0:2", 2)]);
    let facts = of_payload(&model.to_payload());
    assert_eq!(values(&facts, Tag::ModelId).len(), 1);
    assert_eq!(values(&facts, Tag::FileDigest), [] as [&str; 0]);
}

#[test]
fn a_model_statement_that_is_not_admitted_gives_only_what_every_statement_gives() {
    let payload = crate::model_statement::tests::files(&[("a", 1), ("b", 2)]).to_payload();
    let climbing = String::from_utf8(payload).unwrap().replace(r#""name":"a""#, r#""name":"../a""#);
    let facts = of_payload(climbing.as_bytes());
    let tags: BTreeSet<Tag> = facts.iter().map(|fact| fact.tag).collect();
    let expected = [Tag::ArtifactDigest, Tag::PayloadDigest, Tag::SubjectName, Tag::PredicateType];
    assert_eq!(tags, BTreeSet::from(expected));
}

#[test]
fn a_payload_that_is_not_a_statement_is_still_found_by_digest() {
    for payload in [&b"{"[..], b"", b"[]", b"\xff", br#"{"_type":1}"#] {
        let facts = of_payload(payload);
        assert_eq!(facts.len(), 1, "{payload:?}");
        assert_eq!(facts[0].tag, Tag::PayloadDigest);
    }
}

#[test]
fn provenance_of_both_generations_names_parents() {
    let list = json!([
        {"uri": "x", "digest": {"sha256": "aa"}},
        {"uri": "y", "digest": {"gitCommit": "BB"}},
        {"uri": "z"},
        {"digest": {"sha256": 1}},
        7,
    ]);
    let expected = ["gitcommit:bb", "sha256:aa"];
    let v1 = json!({"buildDefinition": {"resolvedDependencies": list}});
    let facts = of_statement("https://slsa.dev/provenance/v1", one_subject(), v1.clone());
    assert_eq!(values(&facts, Tag::ParentDigest), expected);
    let v0_2 = json!({"materials": list});
    let facts = of_statement("https://slsa.dev/provenance/v0.2", one_subject(), v0_2);
    assert_eq!(values(&facts, Tag::ParentDigest), expected);
    let facts = of_statement("https://example.com/p", one_subject(), v1);
    assert_eq!(values(&facts, Tag::ParentDigest), [] as [&str; 0]);
}

#[test]
fn bills_of_materials_of_both_kinds_name_components() {
    let facts = of_statement(
        "https://cyclonedx.org/bom/v1.6",
        one_subject(),
        json!({
            "metadata": {"component": {"purl": "pkg:huggingface/a/b@1"}},
            "components": [
                {"purl": "pkg:pypi/torch@2", "components": [{"purl": "pkg:pypi/numpy@2"}]},
                {"purl": "not a purl"},
                {"name": "none"},
                3,
            ],
        }),
    );
    let expected = ["pkg:huggingface/a/b@1", "pkg:pypi/numpy@2", "pkg:pypi/torch@2"];
    assert_eq!(values(&facts, Tag::ComponentPurl), expected);

    let reference = |kind: &str| json!({"referenceType": kind, "referenceLocator": "pkg:pypi/x@1"});
    let packages =
        json!({"packages": [{"externalRefs": [reference("purl"), reference("cpe")]}, {}]});
    let facts = of_statement("https://spdx.dev/Document", one_subject(), packages.clone());
    assert_eq!(values(&facts, Tag::ComponentPurl), ["pkg:pypi/x@1"]);
    let facts = of_statement("https://spdx.dev/Documents", one_subject(), packages);
    assert_eq!(values(&facts, Tag::ComponentPurl), [] as [&str; 0]);
}

#[test]
fn filling_one_tag_pushes_out_no_other() {
    let purls: Vec<Value> =
        (0..1_001).map(|i| json!({"purl": format!("pkg:pypi/p{i:04}")})).collect();
    let subjects: Vec<Value> = (0..SUBJECTS_MAX)
        .map(|i| json!({"name": format!("n{i}"), "digest": {"a": format!("{i:08x}"), "b": "00"}}))
        .collect();
    let facts =
        of_statement("https://cyclonedx.org/bom", json!(subjects), json!({"components": purls}));
    assert_eq!(values(&facts, Tag::ArtifactDigest).len(), Tag::ArtifactDigest.count_max());
    assert_eq!(values(&facts, Tag::SubjectName).len(), Tag::SubjectName.count_max());
    let purls = values(&facts, Tag::ComponentPurl);
    assert_eq!((purls.len(), purls[999].as_str()), (1_000, "pkg:pypi/p0999"));
    assert_eq!(values(&facts, Tag::PredicateType).len(), 1);
    assert!(facts.is_sorted() && facts.len() <= FACTS_MAX);
}

#[test]
fn values_that_are_empty_or_too_long_are_left_out() {
    let long = "x".repeat(FACT_VALUE_LEN_MAX + 1);
    let subject = |name: &str| json!([{"name": name, "digest": {"sha256": "00"}}]);
    for (name, count) in [("", 0), (long.as_str(), 0), (&long[1..], 1)] {
        let facts = of_statement("p", subject(name), Value::Null);
        assert_eq!(values(&facts, Tag::SubjectName).len(), count);
    }
}

/// DER of one element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut element = vec![tag];
    match length {
        0..=0x7f => element.push(length as u8),
        0x80..=0xff => element.extend([0x81, length as u8]),
        _ => element.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    element.extend_from_slice(content);
    element
}

/// A certificate as Fulcio shapes them, with a signature that nobody checks.
fn certificate(spki: &[u8]) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    const OCTETS: u8 = 0x04;
    const UTF8: u8 = 0x0c;
    let oid = |content: &[u8]| der(0x06, content);
    let extension =
        |id: &[u8], value: &[u8]| der(SEQUENCE, &[oid(id), der(OCTETS, value)].concat());
    let fulcio = |last: u8, text: &str| {
        let id = [0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1, last];
        extension(&id, &der(UTF8, text.as_bytes()))
    };
    let names = [der(0x86, b"https://example.com/workflow@main"), der(0x81, b"alice@example.com")];
    let extensions = [
        extension(&[0x55, 0x1d, 0x11], &der(SEQUENCE, &names.concat())),
        fulcio(8, "https://issuer.example.com"),
        fulcio(18, "https://example.com/build.yml@main"),
    ];
    let algorithm = der(SEQUENCE, &oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
    let time = |text: &str| der(0x17, text.as_bytes());
    let to_be_signed = [
        der(0xa0, &der(0x02, &[2])),
        der(0x02, &[1]),
        algorithm.clone(),
        der(SEQUENCE, &[]),
        der(SEQUENCE, &[time("260101000000Z"), time("260101001000Z")].concat()),
        der(SEQUENCE, &[]),
        spki.to_vec(),
        der(0xa3, &der(SEQUENCE, &extensions.concat())),
    ];
    let signature = der(0x03, &[0, 0x30, 0]);
    der(SEQUENCE, &[der(SEQUENCE, &to_be_signed.concat()), algorithm, signature].concat())
}
