//! Keys, certificates, envelopes, statements, submissions of every kind, and the answers and
//! bundles that come of them.

use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use serde_json::{Value, json};
use sha2::Digest as _;
use treering_proto::api::v1::{self, EntryId, InclusionProof, LogEntry, TreeId, Verification};
use treering_proto::api::v2;
use treering_proto::bundle::{Bundle, Content, Material};
use treering_proto::certificate::Certificate;
use treering_proto::dsse_envelope::{Envelope, IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::encoding::to_base64;
use treering_proto::entry::{EntryKind, VerifiedEntry};
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::key::{HashAlgorithm, PublicKey};
use treering_proto::model_statement::ModelStatement;
use treering_proto::notice::{EntryRef, Notice, NoticeKind, Successor};
use treering_proto::statement::Statement;
use treering_proto::tree::{LeafIndex, TreeSize};

use super::{Dated, ECDSA_SPKI, Examples, Tree, decoded, ecdsa_key, note, seed};
use crate::targets::ORIGIN;

/// The statement of a model of three files, as OpenSSF Model Signing has it.
const MODEL: &str = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"llm","digest":{"sha256":"1ea51598cbb9b3744ebfe90ff77cdee9f3c646b25808015c78bb7aa070961c3d"}}],"predicateType":"https://model_signing/signature/v1.0","predicate":{"serialization":{"method":"files","hash_type":"sha256","allow_symlinks":false,"ignore_paths":[".git"]},"resources":[{"name":"config.json","algorithm":"sha256","digest":"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"},{"name":"weights/part-1.safetensors","algorithm":"sha256","digest":"d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"},{"name":"weights/part-2.safetensors","algorithm":"sha256","digest":"4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce"}]}}"#;

/// The ECDSA key's signature over the pre-authentication encoding of [`MODEL`].
const MODEL_SIGNATURE: &str = "MEUCIDwY9Tti1a8+Gb6fLykqqhODXXzIhL392XosDrMnWefzAiEArsckPW6cs+52J02S24qCTNfzzf7owXtPTRmY3KQlfb8=";

/// The ECDSA key's signature over `model`.
const DIGEST_SIGNATURE: &str = "MEQCIAFkAMlUvnWM5jFnMwk1nDVKv82OE6VMVk7wopfAfQytAiBlyHlQgbtV9SarFJCrRcaxvfcy/DNYQQxGlf+DAp/p3g==";

/// Adds the examples of this file.
pub fn add(examples: &mut Examples) {
    let certificate = certificate(&decoded(ECDSA_SPKI));
    let certificate_pem = Certificate::from_der(&certificate).expect("our own").to_pem();
    examples.insert("spki", vec![decoded(ECDSA_SPKI), ed25519_key().spki_der().to_vec()]);
    let pems = [ecdsa_key().to_pem(), ed25519_key().to_pem(), certificate_pem.clone(), chain()];
    examples.insert("pem", pems.map(String::into_bytes).to_vec());
    examples.insert("certificate", vec![certificate.clone()]);
    let json = vec![MODEL.into(), provenance(), br#"[1e21,-0.5,"\u20ac\n",{"b":null}]"#.to_vec()];
    examples.insert("canonical_json", json);
    let statements = vec![MODEL.into(), renewed(), sharded(), provenance(), bill_of_materials()];
    examples.insert("statement", statements);
    examples.insert("notice", notices());
    let envelopes = [envelope(MODEL.as_bytes(), &[decoded(MODEL_SIGNATURE)]), two_signatures()];
    examples.insert("envelope", envelopes.map(String::into_bytes).to_vec());

    let mut v1 = v1_requests(&certificate_pem);
    let v2 = v2_requests(&certificate);
    let logged = v1.iter().map(|request| VerifiedEntry::from_v1_request(request));
    let logged = logged.chain(v2.iter().map(|request| VerifiedEntry::from_v2_request(request)));
    let logged = logged.map(|entry| entry.expect("our own request").body().to_vec());
    let logged: Vec<Vec<u8>> = logged.collect();
    answers(examples, &logged);
    // A search may show envelopes as they are logged.
    let is_shown = |body: &&Vec<u8>| matches!(kind_of(body), Some("dsse" | "intoto"));
    v1.extend(logged[..v1.len()].iter().filter(is_shown).cloned());
    examples.insert("v1_search", v1_searches(&v1, &certificate_pem));
    examples.insert("logged_entry", logged);
    examples.insert("v1_request", v1);
    examples.insert("v2_request", v2);
}

fn ed25519_key() -> PublicKey {
    let der = seed(5).verifying_key().to_public_key_der().expect("a key");
    PublicKey::from_spki_der(der.as_bytes()).expect("a key")
}

fn entry(index: u64) -> EntryRef {
    EntryRef { index: LeafIndex::new(index).expect("an index"), leaf: Hash([7; 32]) }
}

/// The same model, signed again after its key was changed.
fn renewed() -> Vec<u8> {
    let statement = Statement::parse(MODEL.as_bytes()).expect("our own statement");
    let model = ModelStatement::parse(&statement).expect("a model");
    model.with_renewal(entry(17)).to_payload()
}

/// One notice of each kind.
fn notices() -> Vec<Vec<u8>> {
    let by = Successor { entry: entry(18), model_id: Hash([5; 32]) };
    let kinds = [
        NoticeKind::Revoke,
        NoticeKind::Supersede { by },
        NoticeKind::ApproveRollback { instead_of: entry(18) },
        NoticeKind::Approve { role: "qa".to_owned() },
    ];
    let notice = |kind| Notice {
        kind,
        log: ORIGIN.to_owned(),
        about: entry(17),
        model_id: Hash([2; 32]),
        root: Hash([3; 32]),
        name: Some("llm".to_owned()),
        reason: Some("it is bad".to_owned()),
    };
    kinds.map(|kind| notice(kind).to_payload().expect("texts that fit")).to_vec()
}

fn sharded() -> Vec<u8> {
    let digest = treering_proto::hash::sha256(b"1");
    let root = treering_proto::hash::sha256(digest.as_bytes());
    let mut value: Value = serde_json::from_str(MODEL).expect("our own statement");
    value["subject"][0]["digest"]["sha256"] = json!(root.to_hex());
    value["predicate"]["serialization"]["method"] = json!("shards");
    value["predicate"]["serialization"]["shard_size"] = json!(1_000);
    value["predicate"]["resources"] = json!([
        { "name": "weights.bin:0:7", "algorithm": "sha256", "digest": digest.to_hex() },
    ]);
    value.to_string().into_bytes()
}

fn of_type(predicate_type: &str, predicate: Value) -> Vec<u8> {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            { "name": "a", "digest": { "sha256": "ab".repeat(32), "gitCommit": "cd".repeat(20) } },
            { "digest": { "sha512": "ef".repeat(64) }, "annotations": { "k": [1, null] } },
        ],
        "predicateType": predicate_type, "predicate": predicate,
    })
    .to_string()
    .into_bytes()
}

fn provenance() -> Vec<u8> {
    let parents = json!([{ "uri": "x", "digest": { "sha256": "ab".repeat(32) } }, { "uri": "y" }]);
    let predicate = json!({ "buildDefinition": { "resolvedDependencies": parents } });
    of_type("https://slsa.dev/provenance/v1", predicate)
}

fn bill_of_materials() -> Vec<u8> {
    let inner = json!([{ "purl": "pkg:pypi/numpy@2" }]);
    let predicate = json!({ "components": [{ "purl": "pkg:pypi/torch@2", "components": inner }] });
    of_type("https://cyclonedx.org/bom/v1.6", predicate)
}

fn envelope(payload: &[u8], signatures: &[Vec<u8>]) -> String {
    let signatures = signatures.iter().map(|signature| json!({ "sig": to_base64(signature) }));
    let signatures: Vec<Value> = signatures.collect();
    json!({
        "payload": to_base64(payload), "payloadType": IN_TOTO_PAYLOAD_TYPE, "signatures": signatures,
    })
    .to_string()
}

/// The provenance, signed by two Ed25519 keys.
fn two_signatures() -> String {
    let message = pae(IN_TOTO_PAYLOAD_TYPE, &provenance());
    let sign = |byte| seed(byte).sign(&message).to_vec();
    envelope(&provenance(), &[sign(5), sign(6)])
}

fn v1_hashedrekord(algorithm: &str, digest: &[u8], signature: &[u8], pem: &str) -> Vec<u8> {
    let key = json!({ "content": to_base64(pem.as_bytes()) });
    json!({
        "apiVersion": "0.0.1", "kind": "hashedrekord",
        "spec": {
            "data": { "hash": { "algorithm": algorithm, "value": hex::encode(digest) } },
            "signature": { "content": to_base64(signature), "publicKey": key },
        },
    })
    .to_string()
    .into_bytes()
}

fn v1_dsse(envelope: &str, pems: &[String]) -> Vec<u8> {
    let verifiers: Vec<String> = pems.iter().map(|pem| to_base64(pem.as_bytes())).collect();
    let content = json!({ "envelope": envelope, "verifiers": verifiers });
    let spec = json!({ "proposedContent": content, "signatures": null });
    json!({ "apiVersion": "0.0.1", "kind": "dsse", "spec": spec }).to_string().into_bytes()
}

fn v1_intoto(version: &str, content: Value, key: Option<&str>) -> Vec<u8> {
    let key = key.map(|pem| to_base64(pem.as_bytes()));
    let spec = json!({ "content": content, "publicKey": key });
    json!({ "apiVersion": version, "kind": "intoto", "spec": spec }).to_string().into_bytes()
}

/// The provenance, signed by two Ed25519 keys, as `intoto` 0.0.2 has it.
fn twice_encoded() -> Value {
    let again = |text: &str| to_base64(text.as_bytes());
    let envelope: Value = serde_json::from_str(&two_signatures()).expect("our own envelope");
    let keys = [ed25519_key().to_pem(), other_key()];
    let signatures = (0..2).map(|at| {
        let sig = envelope["signatures"][at]["sig"].as_str().expect("a text");
        let keyid = if at == 0 { "" } else { "k" };
        json!({ "keyid": keyid, "publicKey": again(&keys[at]), "sig": again(sig) })
    });
    let signatures: Vec<Value> = signatures.collect();
    let payload = again(envelope["payload"].as_str().expect("a text"));
    let payload_type = &envelope["payloadType"];
    json!({
        "envelope": { "payload": payload, "payloadType": payload_type, "signatures": signatures },
        "hash": { "algorithm": "sha256", "value": "aB".repeat(32) },
    })
}

fn v1_rekord(content: &[u8], signature: &[u8], pem: &str) -> Vec<u8> {
    let key = json!({ "content": to_base64(pem.as_bytes()) });
    let signature = json!({ "content": to_base64(signature), "format": "x509", "publicKey": key });
    let spec = json!({ "data": { "content": to_base64(content) }, "signature": signature });
    json!({ "apiVersion": "0.0.1", "kind": "rekord", "spec": spec }).to_string().into_bytes()
}

/// The kind in canonical bytes.
fn kind_of(body: &[u8]) -> Option<&'static str> {
    EntryKind::of_body(body).ok().map(EntryKind::kind)
}

fn ed25519ph(message: &[u8]) -> Vec<u8> {
    let prehashed = sha2::Sha512::new().chain_update(message);
    seed(5).sign_prehashed(prehashed, None).expect("an empty context").to_vec()
}

fn other_key() -> String {
    let der = seed(6).verifying_key().to_public_key_der().expect("a key");
    PublicKey::from_spki_der(der.as_bytes()).expect("a key").to_pem()
}

fn v1_requests(certificate_pem: &str) -> Vec<Vec<u8>> {
    let signature = decoded(DIGEST_SIGNATURE);
    let sha256 = sha2::Sha256::digest(b"model");
    let sha512 = sha2::Sha512::digest(b"model");
    let model = envelope(MODEL.as_bytes(), &[decoded(MODEL_SIGNATURE)]);
    let pem = ed25519_key().to_pem();
    vec![
        v1_hashedrekord("sha256", &sha256, &signature, &ecdsa_key().to_pem()),
        v1_hashedrekord("sha256", &sha256, &signature, certificate_pem),
        v1_hashedrekord("sha512", &sha512, &ed25519ph(b"model"), &pem),
        v1_dsse(&model, &[ecdsa_key().to_pem()]),
        v1_dsse(&two_signatures(), &[other_key(), pem.clone()]),
        v1_intoto("0.0.1", json!({ "envelope": two_signatures(), "hash": null }), Some(&pem)),
        v1_intoto("0.0.2", twice_encoded(), None),
        v1_rekord(b"model", &signature, &chain()),
        v1_rekord(b"model", &seed(5).sign(b"model").to_vec(), &pem),
    ]
}

fn v2_requests(certificate: &[u8]) -> Vec<Vec<u8>> {
    let raw = |der: &[u8]| json!({ "rawBytes": to_base64(der) });
    let ecdsa = "PKIX_ECDSA_P256_SHA_256";
    let key = json!({ "publicKey": raw(&decoded(ECDSA_SPKI)), "keyDetails": ecdsa });
    let certified = json!({ "x509Certificate": raw(certificate), "keyDetails": 5 });
    let pure = json!({ "publicKey": raw(ed25519_key().spki_der()), "keyDetails": "PKIX_ED25519" });
    let hashedrekord = |verifier: &Value| {
        let digest = to_base64(&sha2::Sha256::digest(b"model"));
        let signature = json!({ "content": DIGEST_SIGNATURE, "verifier": verifier });
        json!({ "hashedRekordRequestV002": { "digest": digest, "signature": signature } })
    };
    let dsse = |envelope: &str, verifier: &Value| {
        let envelope: Value = serde_json::from_str(envelope).expect("our own envelope");
        json!({ "dsse_request_v002": { "envelope": envelope, "verifiers": [verifier] } })
    };
    let model = envelope(MODEL.as_bytes(), &[decoded(MODEL_SIGNATURE)]);
    let one = seed(5).sign(&pae(IN_TOTO_PAYLOAD_TYPE, &provenance())).to_vec();
    let requests = [
        hashedrekord(&key),
        hashedrekord(&certified),
        dsse(&model, &key),
        dsse(&envelope(&provenance(), &[one]), &pure),
    ];
    requests.map(|request| request.to_string().into_bytes()).to_vec()
}

/// Answers of both faces about the first entry, and bundles that carry them.
fn answers(examples: &mut Examples, logged: &[Vec<u8>]) {
    let tree = Tree::grown(7);
    let checkpoint = String::from_utf8(note(tree.head(7), Dated::All)).expect("a note is text");
    let (index, head) = (LeafIndex::new(4).expect("an index"), tree.head(7));
    let hashes = tree.inclusion(4, 7);
    let proof = InclusionProof {
        checkpoint: checkpoint.clone(),
        hashes: hashes.iter().map(Hash::to_hex).collect(),
        log_index: 4,
        root_hash: head.root.to_hex(),
        tree_size: 7,
    };
    let entry = LogEntry {
        attestation: None,
        body: to_base64(&logged[0]),
        integrated_time: 1_700_000_000,
        log_id: "ab".repeat(32),
        log_index: 4,
        verification: Verification {
            inclusion_proof: proof,
            signed_entry_timestamp: to_base64(&[0x30; 70]),
        },
    };
    let tree_id = TreeId::new(4711).expect("a tree id");
    let id = EntryId { tree_id, leaf: hash_leaf(&logged[0]) }.to_string();
    examples.insert("entry_id", vec![id.clone().into_bytes(), id.as_bytes()[16..].to_vec()]);
    let entries = v1::LogEntries::from([(id, entry)]);
    examples.insert("v1_answer", vec![v1::to_json(&entries)]);

    let entry = v2::TransparencyLogEntry {
        log_index: index,
        log_id: Hash([1; 32]),
        kind: "hashedrekord".to_owned(),
        kind_version: "0.0.1".to_owned(),
        integrated_time: 1_700_000_000,
        inclusion_promise: Some(vec![0x30; 70]),
        inclusion_proof: v2::InclusionProof {
            log_index: index,
            tree_size: TreeSize::new(7).expect("a size"),
            root_hash: head.root,
            hashes,
            checkpoint,
        },
        canonicalized_body: logged[0].clone(),
    };
    let without = v2::TransparencyLogEntry { inclusion_promise: None, ..entry.clone() };
    examples.insert("v2_answer", vec![entry.to_json(), without.to_json()]);
    let signed = Envelope::new(IN_TOTO_PAYLOAD_TYPE, MODEL.into(), decoded(MODEL_SIGNATURE));
    let content = Content::Envelope(signed);
    let certificate = certificate(&decoded(ECDSA_SPKI));
    let keyed = Bundle {
        material: Material::PublicKey { hint: Some("ab".repeat(32)) },
        log_entries: vec![entry],
        timestamps: Vec::new(),
        content,
    };
    let digest = (HashAlgorithm::Sha256, sha2::Sha256::digest(b"model").to_vec());
    let signature = decoded(DIGEST_SIGNATURE);
    let certified = Bundle {
        material: Material::Certificate(certificate.clone()),
        log_entries: vec![without],
        timestamps: vec![vec![0x30; 90]],
        content: Content::MessageSignature { digest: Some(digest), signature },
    };
    let chain = Material::CertificateChain(vec![certificate.clone(), certificate]);
    let chained = Bundle { material: chain, ..certified.clone() };
    examples.insert("bundle", [keyed, certified, chained].map(|b| b.to_json()).to_vec());
}

/// A query for entries, one for the index, and one that is both.
fn v1_searches(requests: &[Vec<u8>], certificate_pem: &str) -> Vec<Vec<u8>> {
    let proposed = |request: &Vec<u8>| serde_json::from_slice(request).expect("our own request");
    let proposed: Vec<Value> = requests.iter().take(5).map(proposed).collect();
    let entries = json!({
        "entries": proposed, "entryUUIDs": ["ab".repeat(32), "0c".repeat(40)],
        "logIndexes": [0, 4_711, null],
    });
    let content = to_base64(certificate_pem.as_bytes());
    let index = json!({
        "email": "Alice@example.com", "subject": "https://example.com/workflow@main",
        "hash": "ab".repeat(64), "publicKey": { "format": "x509", "content": content },
        "operator": "and",
    });
    let mut both = entries.clone();
    both.as_object_mut().expect("an object").extend(index.as_object().expect("an object").clone());
    [entries, index, both].map(|query| query.to_string().into_bytes()).to_vec()
}

/// DER of one element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ 0..=0x7f => vec![short as u8],
        byte @ 0x80..=0xff => vec![0x81, byte as u8],
        long => vec![0x82, (long >> 8) as u8, long as u8],
    };
    [vec![tag], length, content.to_vec()].concat()
}

const SEQUENCE: u8 = 0x30;

fn oid(content: &[u8]) -> Vec<u8> {
    der(0x06, content)
}

fn extension(id: &[u8], value: &[u8]) -> Vec<u8> {
    der(SEQUENCE, &[oid(id), der(0x04, value)].concat())
}

/// A certificate as Fulcio shapes them, with a signature that nobody checks.
fn certificate(spki: &[u8]) -> Vec<u8> {
    let algorithm = oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
    certified(spki, &der(SEQUENCE, &algorithm), [&[], &[]], &fulcio_extensions(), |_| vec![0x30, 0])
}

/// PEM of such a certificate of the ECDSA key, and of who certified it, an Ed25519 key.
fn chain() -> String {
    let algorithm = der(SEQUENCE, &oid(&[0x2b, 0x65, 0x70]));
    let name = [oid(&[0x55, 4, 3]), der(0x0c, b"authority")].concat();
    let name = der(0x31, &der(SEQUENCE, &name));
    let sign = |bytes: &[u8]| seed(8).sign(bytes).to_vec();
    let authority = seed(8).verifying_key().to_public_key_der().expect("a key");
    let is_authority = extension(&[0x55, 0x1d, 0x13], &der(SEQUENCE, &der(1, &[0xff])));
    let leaf =
        certified(&decoded(ECDSA_SPKI), &algorithm, [&name, &[]], &fulcio_extensions(), sign);
    let root = certified(authority.as_bytes(), &algorithm, [&name, &name], &is_authority, sign);
    let pem = |der: &[u8]| Certificate::from_der(der).expect("our own").to_pem();
    pem(&leaf) + &pem(&root)
}

fn fulcio_extensions() -> Vec<u8> {
    let fulcio = |last: u8, text: &str| {
        let id = [0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1, last];
        extension(&id, &der(0x0c, text.as_bytes()))
    };
    let names = [
        der(0x86, b"https://example.com/workflow@main"),
        der(0x81, b"alice@example.com"),
        der(0x82, b"host.example.com"),
        der(0x87, &[192, 0, 2, 1]),
    ];
    [
        extension(&[0x55, 0x1d, 0x11], &der(SEQUENCE, &names.concat())),
        fulcio(8, "https://issuer.example.com"),
        fulcio(18, "https://example.com/build.yml@main"),
    ]
    .concat()
}

/// A certificate with these names of issuer and subject.
fn certified(
    spki: &[u8],
    algorithm: &[u8],
    [issuer, subject]: [&[u8]; 2],
    extensions: &[u8],
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let time = |text: &str| der(0x17, text.as_bytes());
    let to_be_signed = [
        der(0xa0, &der(0x02, &[2])),
        der(0x02, &[1]),
        algorithm.to_vec(),
        der(SEQUENCE, issuer),
        der(SEQUENCE, &[time("260101000000Z"), time("260101001000Z")].concat()),
        der(SEQUENCE, subject),
        spki.to_vec(),
        der(0xa3, &der(SEQUENCE, extensions)),
    ];
    let to_be_signed = der(SEQUENCE, &to_be_signed.concat());
    let signature = der(0x03, &[vec![0], sign(&to_be_signed)].concat());
    der(SEQUENCE, &[to_be_signed, algorithm.to_vec(), signature].concat())
}
