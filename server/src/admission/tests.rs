use rcgen::{CertificateParams, CustomExtension, KeyPair, PublicKeyData as _, SanType, SigningKey};
use serde_json::{Value, json};
use treering_proto::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::encoding::to_base64;
use treering_proto::hash::sha256;
use treering_proto::model_id::model_id;
use treering_proto::model_statement::Resource;
use treering_proto::notice::{MODEL_ID_ALGORITHM, NOTICE_TYPES, Successor};
use treering_proto::tree::LeafIndex;

use super::*;
use crate::access::policy::Policy;
use crate::test_log::{TestLog, entries};

const ORIGIN: &str = "log.example";

/// Somebody with a key, and perhaps a certificate over it.
struct Signer {
    key: KeyPair,
    certificate: Option<Vec<u8>>,
}

impl Signer {
    fn new() -> Self {
        Self { key: KeyPair::generate().unwrap(), certificate: None }
    }

    /// With a certificate of these names, from this OIDC issuer, over a key of its own.
    fn certified(names: &[&str], issuer: Option<&str>) -> Self {
        let signer = Self::new();
        let mut params = CertificateParams::default();
        let name = |name: &&str| SanType::Rfc822Name((*name).try_into().unwrap());
        params.subject_alt_names = names.iter().map(name).collect();
        params.custom_extensions = issuer.into_iter().map(issued_by).collect();
        let certificate = params.self_signed(&signer.key).unwrap();
        Self { certificate: Some(certificate.der().to_vec()), ..signer }
    }

    fn fingerprint(&self) -> String {
        sha256(&self.key.subject_public_key_info()).to_hex()
    }

    fn verifier(&self) -> Value {
        let raw = |bytes: &[u8]| json!({ "rawBytes": to_base64(bytes) });
        let details = "PKIX_ECDSA_P256_SHA_256";
        match &self.certificate {
            Some(der) => json!({"x509Certificate": raw(der), "keyDetails": details}),
            None => {
                let key = raw(&self.key.subject_public_key_info());
                json!({"publicKey": key, "keyDetails": details})
            }
        }
    }
}

/// Fulcio's issuer extension, 1.3.6.1.4.1.57264.1.8.
fn issued_by(issuer: &str) -> CustomExtension {
    let utf8 = [&[0x0c, issuer.len() as u8], issuer.as_bytes()].concat();
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, 8], utf8)
}

/// An envelope with `payload`, signed by all of these.
fn entry(payload: &[u8], by: &[&Signer]) -> VerifiedEntry {
    typed_entry(IN_TOTO_PAYLOAD_TYPE, payload, by)
}

/// The same, which calls its payload `payload_type`.
fn typed_entry(payload_type: &str, payload: &[u8], by: &[&Signer]) -> VerifiedEntry {
    let message = pae(payload_type, payload);
    let signatures: Vec<Value> = by
        .iter()
        .map(|signer| json!({"sig": to_base64(&signer.key.sign(&message).unwrap())}))
        .collect();
    let verifiers: Vec<Value> = by.iter().map(|signer| signer.verifier()).collect();
    let request = json!({"dsseRequestV002": {
        "envelope": {
            "payload": to_base64(payload),
            "payloadType": payload_type,
            "signatures": signatures,
        },
        "verifiers": verifiers,
    }});
    VerifiedEntry::from_v2_request(request.to_string().as_bytes()).unwrap()
}

/// A model of one file, of this name; none if it is empty.
fn model(name: &str, content: &str) -> ModelStatement {
    let digest = sha256(content.as_bytes()).as_bytes().to_vec();
    let file = Resource { name: "weights.gguf".to_owned(), digest };
    ModelStatement::new_files(name, vec![file], Vec::new(), None).unwrap()
}

/// A log with some models in it.
struct Scene {
    log: TestLog,
    policy: Policy,
    signer: Signer,
    model: ModelStatement,
    about: EntryRef,
}

impl Scene {
    /// A log in which somebody has logged the model `llm-7b`.
    fn new() -> Self {
        Self::signed_by(Signer::new())
    }

    fn signed_by(signer: Signer) -> Self {
        let model = model("llm-7b", "weights");
        let logged = entry(&model.to_payload(), &[&signer]);
        let about = EntryRef { index: LeafIndex::new(0).unwrap(), leaf: logged.leaf() };
        let mut log = TestLog::new();
        log.append(&[logged]);
        Self { log, policy: Policy::default(), signer, model, about }
    }

    /// Logs an entry.
    fn append(&mut self, entry: VerifiedEntry) -> EntryRef {
        let index = self.log.edge.size().next_index().unwrap();
        let at = EntryRef { index, leaf: entry.leaf() };
        self.log.append(&[entry]);
        at
    }

    /// Logs a model.
    fn append_model(&mut self, model: &ModelStatement, by: &[&Signer]) -> EntryRef {
        self.append(entry(&model.to_payload(), by))
    }

    fn recovery(&mut self, text: &str) {
        self.policy = Policy::parse(text.as_bytes()).unwrap();
    }

    /// A notice about the model of the scene.
    fn notice(&self, kind: NoticeKind) -> Notice {
        Notice {
            kind,
            log: ORIGIN.to_owned(),
            about: self.about,
            model_id: model_id(&self.model),
            root: self.model.root(),
            name: self.model.name().map(str::to_owned),
            reason: Some("it is time".to_owned()),
        }
    }

    fn logged(&self) -> Logged<'_> {
        Logged { store: &self.log.store, size: self.log.edge.size(), origin: ORIGIN }
    }

    /// The label of the refusal.
    fn outcome(&self, entry: &VerifiedEntry) -> &'static str {
        let checked = check(self.logged(), &self.policy.recovery, entry);
        if let Err(refused) = &checked {
            assert!(refused.to_string().len() < 400, "{refused}");
        }
        checked.map_or_else(|refused| refused.label(), |()| ADMITTED)
    }

    fn outcome_of(&self, notice: &Notice, by: &[&Signer]) -> &'static str {
        self.outcome(&entry(&notice.to_payload().unwrap(), by))
    }

    /// The outcome of a revocation of the scene's model.
    fn revoked_by(&self, by: &[&Signer]) -> &'static str {
        self.outcome_of(&self.notice(NoticeKind::Revoke), by)
    }

    /// The outcome of the scene's model renewed with this annotation.
    fn renewed(&self, model: &ModelStatement, renews: EntryRef) -> &'static str {
        let renewal = model.clone().with_renewal(renews);
        self.outcome(&entry(&renewal.to_payload(), &[&Signer::new()]))
    }
}

const ADMITTED: &str = "admitted";

fn approval() -> NoticeKind {
    NoticeKind::Approve { role: "qa".to_owned() }
}

#[test]
fn each_notice_is_admitted_from_the_signer_and_only_approvals_from_others() {
    let mut scene = Scene::new();
    let next = model("llm-8b", "more weights");
    let newer = scene.append_model(&next, &[&Signer::new()]);
    let by = Successor { entry: newer, model_id: model_id(&next) };
    for (kind, from_others) in [
        (NoticeKind::Revoke, "notice-signer"),
        (NoticeKind::Supersede { by }, "notice-signer"),
        (NoticeKind::ApproveRollback { instead_of: newer }, "notice-signer"),
        (approval(), ADMITTED),
    ] {
        let notice = scene.notice(kind);
        assert_eq!(scene.outcome_of(&notice, &[&scene.signer]), ADMITTED, "{notice:?}");
        assert_eq!(scene.outcome_of(&notice, &[&Signer::new()]), from_others, "{notice:?}");
    }
}

#[test]
fn every_signature_counts_and_one_of_several_signers_does_not_speak_for_all() {
    let mut scene = Scene::new();
    let (other, stranger) = (Signer::new(), Signer::new());
    assert_eq!(scene.revoked_by(&[&scene.signer, &stranger]), "notice-signer");
    // A stranger puts a signature of their own beside the public one.
    let both = entry(&scene.model.to_payload(), &[&scene.signer, &other]);
    scene.about = scene.append(both);
    assert_eq!(scene.revoked_by(&[&other]), "notice-signer");
    assert_eq!(scene.revoked_by(&[&scene.signer]), "notice-signer");
    assert_eq!(scene.revoked_by(&[&other, &scene.signer]), ADMITTED);
    assert_eq!(scene.revoked_by(&[&other, &scene.signer, &stranger]), "notice-signer");
}

#[test]
fn recovery_keys_speak_about_the_models_that_they_are_for() {
    let mut scene = Scene::new();
    let (recovery, stranger) = (Signer::new(), Signer::new());
    let policy = |names: &str| {
        format!("[[recovery]]\nname='r'\nkeys=['sha256:{}']\n{names}", recovery.fingerprint())
    };
    assert_eq!(scene.revoked_by(&[&recovery]), "notice-signer");
    for (names, outcome) in [
        ("", ADMITTED),
        ("names=['llm-*']", ADMITTED),
        ("names=['vision-*']", "notice-signer"),
        ("names=['llm']", "notice-signer"),
    ] {
        scene.recovery(&policy(names));
        assert_eq!(scene.revoked_by(&[&recovery]), outcome, "{names}");
        assert_eq!(scene.revoked_by(&[&stranger]), "notice-signer");
        assert_eq!(scene.revoked_by(&[&recovery, &stranger]), "notice-signer");
        assert_eq!(scene.revoked_by(&[&recovery, &scene.signer]), outcome, "{names}");
    }
    // Without a name nothing says that the names of the key are meant.
    scene.about = scene.append_model(&model("", "weights"), &[&scene.signer.copy()]);
    let nameless = Notice { name: None, ..scene.notice(NoticeKind::Revoke) };
    scene.recovery(&policy("names=['llm-*']"));
    assert_eq!(scene.outcome_of(&nameless, &[&recovery]), "notice-signer");
    assert_eq!(scene.outcome_of(&nameless, &[&scene.signer]), ADMITTED);
    scene.recovery(&policy(""));
    assert_eq!(scene.outcome_of(&nameless, &[&recovery]), ADMITTED);
}

/// Else it would get past every rule that asks for names, where models without one are allowed.
#[test]
fn a_notice_has_the_name_that_its_entry_has() {
    let mut scene = Scene::new();
    let named = scene.notice(NoticeKind::Revoke);
    let nameless = Notice { name: None, ..named.clone() };
    assert_eq!(scene.outcome_of(&nameless, &[&scene.signer]), "notice-model");
    let approval = Notice { kind: approval(), ..nameless.clone() };
    assert_eq!(scene.outcome_of(&approval, &[&Signer::new()]), "notice-model");
    // The same files, signed without a name.
    let about = scene.append_model(&model("", "weights"), &[&scene.signer.copy()]);
    assert_eq!(scene.outcome_of(&Notice { about, ..nameless }, &[&scene.signer]), ADMITTED);
    assert_eq!(scene.outcome_of(&Notice { about, ..named }, &[&scene.signer]), "notice-model");
}

/// Somebody whose answer was lost asks again, and hears of the entry that there is.
#[test]
fn what_is_logged_already_is_not_refused_whatever_changed_since() {
    let mut scene = Scene::new();
    let recovery = Signer::new();
    let policy = format!("[[recovery]]\nname='r'\nkeys=['sha256:{}']", recovery.fingerprint());
    let payload = scene.notice(NoticeKind::Revoke).to_payload().unwrap();
    let revocation = entry(&payload, &[&recovery]);
    scene.recovery(&policy);
    assert_eq!(scene.outcome(&revocation), ADMITTED);
    scene.append(revocation.clone());
    scene.policy = Policy::default();
    assert_eq!(scene.outcome(&revocation), ADMITTED);
    assert_eq!(scene.outcome(&entry(&payload, &[&Signer::new()])), "notice-signer");
    // So with a renewal, whatever it names.
    let beyond = EntryRef { index: LeafIndex::new(9).unwrap(), ..scene.about };
    let renewal = entry(&scene.model.clone().with_renewal(beyond).to_payload(), &[&recovery]);
    assert_eq!(scene.outcome(&renewal), "renewal-entry");
    scene.append(renewal.clone());
    assert_eq!(scene.outcome(&renewal), ADMITTED);
}

#[test]
fn a_certificate_with_the_same_names_and_issuer_is_the_same_signer() {
    const ISSUER: Option<&str> = Some("https://issuer.example");
    let names = ["ci@corp.example", "cd@corp.example"];
    let scene = Scene::signed_by(Signer::certified(&names, ISSUER));
    for (names, issuer, outcome) in [
        (&names[..], ISSUER, ADMITTED),
        (&["cd@corp.example", "ci@corp.example"], ISSUER, ADMITTED),
        (&names, Some("https://other.example"), "notice-signer"),
        (&names, None, "notice-signer"),
        (&names[..1], ISSUER, "notice-signer"),
        (&["ci@corp.example", "cd@corp.example", "x@corp.example"], ISSUER, "notice-signer"),
        (&[], ISSUER, "notice-signer"),
    ] {
        let by = Signer::certified(names, issuer);
        assert_eq!(scene.revoked_by(&[&by]), outcome, "{names:?} {issuer:?}");
    }
    assert_eq!(scene.revoked_by(&[&scene.signer]), ADMITTED, "the same key");
    let key = KeyPair::try_from(scene.signer.key.serialize_der()).unwrap();
    assert_eq!(scene.revoked_by(&[&Signer { key, certificate: None }]), ADMITTED, "and bare");
    // Two certificates without names have nothing in common.
    let nameless = Scene::signed_by(Signer::certified(&[], ISSUER));
    assert_eq!(nameless.revoked_by(&[&Signer::certified(&[], ISSUER)]), "notice-signer");
    let private = Scene::signed_by(Signer::certified(&names, None));
    assert_eq!(private.revoked_by(&[&Signer::certified(&names, None)]), ADMITTED);
}

#[test]
fn what_a_notice_is_about_is_published_here_and_is_that_model() {
    let mut scene = Scene::new();
    let digest_only = scene.append(entries(1).remove(0));
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://example.com/v1",
        "subject": [{"name": "llm-7b", "digest": {"sha256": scene.model.root().to_hex()}}],
    });
    let no_model = entry(statement.to_string().as_bytes(), &[&scene.signer]);
    let no_model = scene.append(no_model);
    let good = scene.notice(NoticeKind::Revoke);
    let beyond = EntryRef { index: LeafIndex::new(3).unwrap(), ..scene.about };
    let other_leaf = EntryRef { leaf: Hash([7; 32]), ..scene.about };
    let other_index = EntryRef { index: digest_only.index, ..scene.about };
    for (notice, outcome) in [
        (Notice { log: "log.example.evil".into(), ..good.clone() }, "notice-other-log"),
        (Notice { log: "LOG.example".into(), ..good.clone() }, "notice-other-log"),
        (Notice { about: beyond, ..good.clone() }, "notice-entry"),
        (Notice { about: other_leaf, ..good.clone() }, "notice-entry"),
        (Notice { about: other_index, ..good.clone() }, "notice-entry"),
        (Notice { about: digest_only, ..good.clone() }, "notice-model"),
        (Notice { about: no_model, ..good.clone() }, "notice-model"),
        (Notice { model_id: Hash([7; 32]), ..good.clone() }, "notice-model"),
        (Notice { root: Hash([7; 32]), ..good.clone() }, "notice-model"),
        (Notice { name: Some("llm-70b".into()), ..good.clone() }, "notice-model"),
        (good.clone(), ADMITTED),
    ] {
        assert_eq!(scene.outcome_of(&notice, &[&scene.signer]), outcome, "{notice:?}");
        let approval = Notice { kind: approval(), ..notice };
        assert_eq!(scene.outcome_of(&approval, &[&Signer::new()]), outcome, "{approval:?}");
    }
    // On disk, and not published yet.
    let revocation = entry(&good.to_payload().unwrap(), &[&scene.signer]);
    let logged = Logged { size: TreeSize::ZERO, ..scene.logged() };
    let refused = check(logged, &[], &revocation).unwrap_err();
    assert_eq!((refused.label(), refused.status().as_u16()), ("notice-entry", 400));
}

#[test]
fn the_other_entry_that_a_notice_names_is_published_too() {
    let mut scene = Scene::new();
    let next = model("llm-8b", "more weights");
    let newer = scene.append_model(&next, &[&scene.signer.copy()]);
    let id = model_id(&next);
    let beyond = EntryRef { index: LeafIndex::new(2).unwrap(), ..newer };
    let other_leaf = EntryRef { leaf: Hash([7; 32]), ..newer };
    for (entry, id, outcome) in [
        (newer, id, ADMITTED),
        (beyond, id, "notice-entry"),
        (other_leaf, id, "notice-entry"),
        (newer, model_id(&scene.model), "notice-model"),
    ] {
        let by = Successor { entry, model_id: id };
        let notice = scene.notice(NoticeKind::Supersede { by });
        assert_eq!(scene.outcome_of(&notice, &[&scene.signer]), outcome, "{notice:?}");
    }
    for (instead_of, outcome) in
        [(newer, ADMITTED), (beyond, "notice-entry"), (other_leaf, "notice-entry")]
    {
        let notice = scene.notice(NoticeKind::ApproveRollback { instead_of });
        assert_eq!(scene.outcome_of(&notice, &[&scene.signer]), outcome, "{notice:?}");
    }
    // The same model under another name.
    let renamed = model("llm-seven", "weights");
    let by = scene.append_model(&renamed, &[&scene.signer.copy()]);
    let by = Successor { entry: by, model_id: model_id(&renamed) };
    assert_eq!(by.model_id, model_id(&scene.model));
    let notice = scene.notice(NoticeKind::Supersede { by });
    assert_eq!(scene.outcome_of(&notice, &[&scene.signer]), ADMITTED);
}

#[test]
fn types_that_are_kept_for_notices_and_what_only_looks_like_one_are_refused() {
    let scene = Scene::new();
    let good = scene.notice(NoticeKind::Revoke).to_payload().unwrap();
    let good: Value = serde_json::from_slice(&good).unwrap();
    let with = |place: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(place).unwrap() = value;
        scene.outcome(&entry(changed.to_string().as_bytes(), &[&scene.signer]))
    };
    let long = format!("{NOTICE_TYPES}{}", "x".repeat(2_000));
    for unknown in [
        "urn:treering:predicate:",
        "urn:treering:predicate:revoke",
        "urn:treering:predicate:revoke:v2",
        "urn:treering:predicate:Revoke:v1",
        "urn:treering:predicate:unrevoke:v1",
        &long,
    ] {
        assert_eq!(with("/predicateType", json!(unknown)), "notice-unknown", "{unknown:.60}");
    }
    for other in ["urn:treering:other", "x-urn:treering:predicate:revoke:v1"] {
        assert_eq!(with("/predicateType", json!(other)), ADMITTED, "{other}");
    }
    let supersede = "urn:treering:predicate:supersede:v1";
    assert_eq!(with("/predicateType", json!(supersede)), "notice-malformed", "without by");
    for (place, value) in [
        ("/_type", json!("https://in-toto.io/Statement/v0.1")),
        ("/predicate/reason", json!("")),
        ("/predicate/reason", json!("x".repeat(1_025))),
        ("/predicate/reason", json!("x".repeat(NOTICE_LEN_MAX))),
        ("/predicate/entry/leaf", json!("ab")),
        ("/predicate", json!({"log": ORIGIN})),
        ("/subject/0/digest", json!({MODEL_ID_ALGORITHM: model_id(&scene.model).to_hex()})),
    ] {
        assert_eq!(with(place, value.clone()), "notice-malformed", "{place}: {value:.60}");
    }
    let mut more = good.clone();
    more["predicate"]["until"] = json!("tomorrow");
    let more = entry(more.to_string().as_bytes(), &[&scene.signer]);
    assert_eq!(scene.outcome(&more), "notice-malformed");
}

/// No verifier reads it as a statement, so it would look said and count nowhere.
#[test]
fn a_notice_under_another_payload_type_is_none() {
    let scene = Scene::new();
    let notice = scene.notice(NoticeKind::Revoke).to_payload().unwrap();
    for payload_type in ["application/json", "application/vnd.in-toto+JSON", ""] {
        let other = typed_entry(payload_type, &notice, &[&scene.signer]);
        assert_eq!(scene.outcome(&other), "notice-malformed", "{payload_type:?}");
    }
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://example.com/v1",
        "subject": [{"digest": {"sha256": "00"}}],
    });
    let other = typed_entry("text/plain", statement.to_string().as_bytes(), &[&scene.signer]);
    assert_eq!(scene.outcome(&other), ADMITTED, "what is no notice may be called anything");
}

#[test]
fn a_renewal_names_an_earlier_entry_of_the_same_model() {
    let mut scene = Scene::new();
    let other = model("vision-2", "other weights");
    let at_other = scene.append_model(&other, &[&Signer::new()]);
    let digest_only = scene.append(entries(1).remove(0));
    let beyond = EntryRef { index: LeafIndex::new(3).unwrap(), ..scene.about };
    let other_leaf = EntryRef { leaf: Hash([7; 32]), ..scene.about };
    let model = scene.model.clone();
    for (renews, outcome) in [
        (scene.about, ADMITTED),
        (beyond, "renewal-entry"),
        (other_leaf, "renewal-entry"),
        (at_other, "renewal-model"),
        (digest_only, "renewal-model"),
    ] {
        assert_eq!(scene.renewed(&model, renews), outcome, "{renews:?}");
    }
    assert_eq!(scene.renewed(&other, scene.about), "renewal-model");
    let renewal = entry(&model.with_renewal(scene.about).to_payload(), &[&scene.signer]);
    let logged = Logged { size: TreeSize::ZERO, ..scene.logged() };
    assert_eq!(check(logged, &[], &renewal).unwrap_err().label(), "renewal-entry");
}

/// The name of the annotation may be written in more ways than one.
#[test]
fn a_renewal_does_not_hide_behind_an_escape() {
    let scene = Scene::new();
    let beyond = EntryRef { index: LeafIndex::new(3).unwrap(), ..scene.about };
    let payload = scene.model.clone().with_renewal(beyond).to_payload();
    let payload = String::from_utf8(payload).unwrap();
    for spelled in ["treering\\u002erenews", "\\u0074reering.renews", "treering.renew\\u0073"] {
        let hidden = payload.replace(RENEWAL_ANNOTATION, spelled);
        assert_ne!(hidden, payload);
        let hidden = entry(hidden.as_bytes(), &[&scene.signer]);
        assert_eq!(scene.outcome(&hidden), "renewal-entry", "{spelled}");
    }
}

#[test]
fn entries_that_say_nothing_of_others_are_not_read_again() {
    let scene = Scene::new();
    let payload = scene.model.to_payload();
    assert!(!is_asked(&entry(&payload, &[&scene.signer])));
    assert!(!is_asked(&entries(1)[0]));
    assert_eq!(scene.outcome(&entry(&payload, &[&scene.signer])), ADMITTED);
    assert_eq!(scene.outcome(&entries(1)[0]), ADMITTED);
}

impl Signer {
    fn copy(&self) -> Self {
        let key = KeyPair::try_from(self.key.serialize_der()).unwrap();
        Self { key, certificate: self.certificate.clone() }
    }
}
