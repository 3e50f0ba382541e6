use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::*;
use crate::api::v1::TreeId;
use crate::checkpoint::Checkpoint;
use crate::cosignature::ml_dsa_44::MlDsa44SigningKey;
use crate::key::PublicKey;
use crate::note::{Note, SignatureLine, sign_cosignature_line, sign_ed25519_line};
use crate::tree::TreeHead;

const SIGNER: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAiojj3XVxesNNZ4CAqnC9j9pFLfKNYvnBt6iMNc92Y2k=
-----END PUBLIC KEY-----
";

fn log_key(seed: u8) -> NoteKey {
    let key = SigningKey::from_bytes(&[seed; 32]);
    NoteKey::ed25519("log.example", key.verifying_key().as_bytes()).unwrap()
}

fn checkpoint(seed: u8) -> String {
    let origin = "log.example".to_owned();
    let text = Checkpoint { origin, head: TreeHead::EMPTY, extensions: vec![] }.format();
    let key = SigningKey::from_bytes(&[seed; 32]);
    let signatures = vec![sign_ed25519_line("log.example", &key, &text)];
    Note { text, signatures }.format()
}

fn identity(seed: u8) -> String {
    let v1 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let spki = v1.public_key().as_der().unwrap();
    let v1_key = PublicKey::from_spki_der(spki.as_ref()).unwrap();
    let tree = TreeId::new(4711).unwrap();
    let identity = LogIdentity::new("log.example", tree, log_key(seed), v1_key).unwrap();
    let text = identity.text();
    let signature = v1.sign(&SystemRandom::new(), text.as_bytes()).unwrap().as_ref().to_vec();
    let key_id = identity.v1_note_key().key_id();
    let v1_line = SignatureLine { name: "log.example".to_owned(), key_id, signature };
    let key = SigningKey::from_bytes(&[seed; 32]);
    let signatures = vec![sign_ed25519_line("log.example", &key, &text), v1_line];
    Note { text, signatures }.format()
}

fn witness_vkey() -> String {
    let key = SigningKey::from_bytes(&[9; 32]);
    NoteKey::cosignature("w.example", key.verifying_key().as_bytes()).unwrap().to_vkey()
}

fn sample() -> Value {
    json!({
        "schema": TRUST_SCHEMA,
        "log": {
            "url": "https://log.example",
            "origin": "log.example",
            "keys": [log_key(1).to_vkey()],
            "identity": identity(1),
        },
        "floor": checkpoint(1),
        "witnessPolicy": format!("witness w {}\nquorum w\n", witness_vkey()),
        "maxCheckpointAgeSeconds": 86_400,
        "signers": [
            {"name": "ci", "identity": "https://ci.example/job", "issuer": "https://i.example"},
            {"name": "internal", "identity": "a@b.example"},
        ],
        "modelPolicy": {"revoked": "refuse", "firstSeen": {"action": "warn", "days": 7}},
    })
}

fn parse(value: &Value) -> Result<TrustFile, TrustError> {
    TrustFile::parse(value.to_string().as_bytes())
}

fn error_with(path: &str, new: Value) -> TrustError {
    let mut value = sample();
    *value.pointer_mut(path).unwrap() = new;
    parse(&value).unwrap_err()
}

#[test]
fn a_file_survives_reading_and_writing() {
    let sample = sample();
    let file = parse(&sample).unwrap();
    assert_eq!(file.log.origin, "log.example");
    assert_eq!(file.log.v1_log_ids().len(), 1);
    assert_eq!(file.note_keys().len(), 2);
    assert_eq!(file.signers.len(), 2);
    assert_eq!(file.max_checkpoint_age, Some(86_400));
    let text = file.format();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), sample);
    assert_eq!(TrustFile::parse(text.as_bytes()).unwrap().format(), text);
}

#[test]
fn the_least_file_names_a_log_and_accepts_nobody() {
    let mut value = sample();
    for optional in ["floor", "witnessPolicy", "maxCheckpointAgeSeconds", "signers", "modelPolicy"]
    {
        value.as_object_mut().unwrap().remove(optional);
    }
    value["log"].as_object_mut().unwrap().remove("identity");
    let file = parse(&value).unwrap();
    assert!(file.signers.is_empty() && file.witness_policy.is_none());
    assert_eq!(file.max_checkpoint_age, None);
    assert_eq!(file.model_policy, ModelPolicy::default());
    assert!(!file.format().contains("modelPolicy"));
}

#[test]
fn unknown_and_duplicate_fields_are_refused_at_every_level() {
    for path in ["", "/log", "/signers/0", "/modelPolicy", "/modelPolicy/firstSeen"] {
        let mut value = sample();
        let object = value.pointer_mut(path).unwrap().as_object_mut().unwrap();
        object.insert("maxAge".to_owned(), json!(1));
        assert!(matches!(parse(&value), Err(TrustError::Fields(_))), "{path}");
    }
    let twice = sample().to_string().replacen('{', r#"{"schema":"x","#, 1);
    assert!(matches!(TrustFile::parse(twice.as_bytes()), Err(TrustError::Json(_))));
    assert!(matches!(error_with("/schema", json!("v2")), TrustError::Schema { .. }));
}

#[test]
fn a_log_needs_a_checkpoint_key_of_its_name() {
    assert!(matches!(error_with("/log/keys", json!([])), TrustError::NoLogKey));
    assert!(matches!(error_with("/log/keys/0", json!("x")), TrustError::LogKey { at: 0, .. }));
    let witness = error_with("/log/keys/0", json!(witness_vkey()));
    assert!(matches!(witness, TrustError::WitnessKey { at: 0 }));
    assert!(matches!(error_with("/log/url", json!("ftp://log.example")), TrustError::Url));
    let mut value = sample();
    value["log"]["origin"] = json!("other.example");
    assert!(matches!(parse(&value), Err(TrustError::NoLogKey)));
}

#[test]
fn an_identity_of_another_log_or_without_signatures_is_refused() {
    let other = error_with("/log/identity", json!(identity(2)));
    assert!(matches!(other, TrustError::OtherIdentity), "{other}");
    assert!(matches!(error_with("/log/identity", json!("x")), TrustError::Identity(_)));
}

#[test]
fn a_floor_that_another_key_signed_is_refused() {
    assert!(matches!(error_with("/floor", json!(checkpoint(2))), TrustError::Floor(_)));
    assert!(matches!(error_with("/floor", json!("")), TrustError::Floor(_)));
}

/// Else nothing could show that the log was rolled back to below it.
#[test]
fn the_lines_of_all_who_date_the_floor_are_verified() {
    let witness = SigningKey::from_bytes(&[5; 32]);
    let key = NoteKey::cosignature("w.example", witness.verifying_key().as_bytes()).unwrap();
    let floor = |seed| {
        let mut note = Note::parse(checkpoint(1).as_bytes()).unwrap();
        let signer = SigningKey::from_bytes(&[seed; 32]);
        let mut line = sign_cosignature_line("w.example", &signer, &note.text, 1_700_000_000);
        line.key_id = key.key_id();
        note.signatures.push(line);
        note.format()
    };
    let mut value = sample();
    value["witnessPolicy"] = json!(format!("witness w {}\nquorum w\n", key.to_vkey()));
    value["floor"] = json!(floor(5));
    let times = parse(&value).unwrap().floor.unwrap();
    assert_eq!(times.verified()[1].time, Some(1_700_000_000));
    value["floor"] = json!(floor(6));
    assert!(matches!(parse(&value), Err(TrustError::Floor(_))));
}

#[test]
fn a_policy_that_lists_logs_must_list_this_one() {
    let policy = |key: &NoteKey| json!(format!("log {}\nquorum none\n", key.to_vkey()));
    assert!(matches!(error_with("/witnessPolicy", policy(&log_key(2))), TrustError::PolicyLog));
    assert!(matches!(error_with("/witnessPolicy", json!("x\n")), TrustError::Policy(_)));
    let mut value = sample();
    value["witnessPolicy"] = policy(&log_key(1));
    assert!(parse(&value).is_ok());
}

#[test]
fn signers_have_unique_names_and_one_way_to_be_known() {
    let key = json!({"name": "release", "publicKey": SIGNER});
    let mut value = sample();
    value["signers"].as_array_mut().unwrap().push(key.clone());
    assert!(matches!(&parse(&value).unwrap().signers[2].who, Signer::Key(_)));
    value["signers"].as_array_mut().unwrap().push(key);
    let duplicate = parse(&value).unwrap_err();
    assert!(matches!(duplicate, TrustError::DuplicateSigner { name, .. } if name == "release"));
    for wrong in [
        json!({"name": "a"}),
        json!({"name": "a", "issuer": "i"}),
        json!({"name": "a", "identity": "x", "publicKey": SIGNER}),
    ] {
        let error = error_with("/signers/0", wrong);
        assert!(matches!(error, TrustError::SignerRule { list: "signers", at: 0 }), "{error}");
    }
    let empty = error_with("/signers/0", json!({"name": "a", "identity": ""}));
    assert!(matches!(empty, TrustError::Text(_)));
}

#[test]
fn the_age_of_a_checkpoint_is_one_second_to_ten_years() {
    for age in [1, MAX_AGE_MAX] {
        let mut value = sample();
        value["maxCheckpointAgeSeconds"] = json!(age);
        assert_eq!(parse(&value).unwrap().max_checkpoint_age, Some(age));
    }
    for age in [0, MAX_AGE_MAX + 1] {
        let error = error_with("/maxCheckpointAgeSeconds", json!(age));
        assert!(matches!(error, TrustError::MaxAge), "{age}");
    }
    for wrong in [json!(-1), json!(1.5), json!("1d")] {
        let error = error_with("/maxCheckpointAgeSeconds", wrong);
        assert!(matches!(error, TrustError::Fields(_)), "{error}");
    }
}

#[test]
fn a_log_is_not_its_own_witness_under_any_name() {
    let key = SigningKey::from_bytes(&[1; 32]);
    for name in ["log.example", "w.example"] {
        let witness = NoteKey::cosignature(name, key.verifying_key().as_bytes()).unwrap();
        for quorum in ["w", "none"] {
            let text = format!("witness w {}\nquorum {quorum}\n", witness.to_vkey());
            let error = error_with("/witnessPolicy", json!(text));
            assert!(matches!(error, TrustError::OwnWitness { .. }), "{name}: {error}");
        }
    }
    // Nor is anybody a witness in its name.
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let stranger = NoteKey::cosignature("log.example", stranger.verifying_key().as_bytes());
    let text = format!("witness w {}\nquorum w\n", stranger.unwrap().to_vkey());
    let error = error_with("/witnessPolicy", json!(text));
    assert!(matches!(error, TrustError::OwnWitness { .. }), "{error}");
}

#[test]
fn a_log_may_have_one_ml_dsa_44_key_of_its_name_and_no_witness_has_it() {
    let key = |name: &str, seed| {
        let key = MlDsa44SigningKey::from_seed(&[seed; 32]);
        NoteKey::ml_dsa_44(name, key.public_key()).unwrap().to_vkey()
    };
    let with = |keys: &[String]| {
        let mut value = sample();
        value["log"]["keys"].as_array_mut().unwrap().extend(keys.iter().map(|key| json!(key)));
        parse(&value)
    };
    let file = with(&[key("log.example", 1)]).unwrap();
    assert_eq!(file.log.time_key().unwrap().to_vkey(), key("log.example", 1));
    assert_eq!((file.note_keys().len(), file.log.checkpoint_keys().len()), (3, 1));
    assert_eq!(TrustFile::parse(file.format().as_bytes()).unwrap().log, file.log);
    let second = with(&[key("log.example", 1), key("log.example", 2)]);
    assert!(matches!(second, Err(TrustError::SecondTimeKey { at: 2 })));
    let witness = with(&[key("w.example", 1)]);
    assert!(matches!(witness, Err(TrustError::WitnessKey { at: 1 })));
    let alone = error_with("/log/keys/0", json!(key("log.example", 1)));
    assert!(matches!(alone, TrustError::NoLogKey), "{alone}");
    let mut value = sample();
    value["log"]["keys"].as_array_mut().unwrap().push(json!(key("log.example", 1)));
    value["witnessPolicy"] = json!(format!("witness w {}\nquorum w\n", key("w.example", 1)));
    assert!(matches!(parse(&value), Err(TrustError::OwnWitness { .. })));
}
