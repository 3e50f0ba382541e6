use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::api::v1::TreeId;
use crate::encoding::from_base64;
use crate::identity::LogIdentity;
use crate::key::PublicKey;
use crate::note::NoteKey;

/// SubjectPublicKeyInfo of the base point of P-256 (SEC 2), the public key of the number 1.
const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==";

/// A log's key of C2SP, with the first four bytes of its key id.
const VKEY: &str = "log.example+721c73f4+AYqI4911cXrDTWeAgKpwvY/aRS3yjWL5wbeojDXPdmNp";

/// The SHA-256 of [`P256`].
const P256_HASH: &str = "XNJS+wzokyQ2+vjM0QQJgbie5K1rn+niorfnGqyyfNM=";

/// Written by hand from the protocol buffers: a log of both kinds, a key of a log of certificates.
const TRUSTED_ROOT: &str = r#"{
  "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
  "tlogs": [
    {
      "baseUrl": "https://log.example",
      "hashAlgorithm": "SHA2_256",
      "publicKey": {
        "rawBytes": "MCowBQYDK2VwAyEAiojj3XVxesNNZ4CAqnC9j9pFLfKNYvnBt6iMNc92Y2k=",
        "keyDetails": "PKIX_ED25519",
        "validFor": {
          "start": "2000-01-01T00:00:00Z"
        }
      },
      "logId": {
        "keyId": "chxz9IN8sqlbYWf17syxFFgMU3/sAZelZ2fXMJ6J3ew="
      }
    },
    {
      "baseUrl": "https://log.example",
      "hashAlgorithm": "SHA2_256",
      "publicKey": {
        "rawBytes": "P256",
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": {
          "start": "2000-01-01T00:00:00Z"
        }
      },
      "logId": {
        "keyId": "XNJS+wzokyQ2+vjM0QQJgbie5K1rn+niorfnGqyyfNM="
      }
    }
  ],
  "certificateAuthorities": [],
  "ctlogs": [
    {
      "baseUrl": "",
      "hashAlgorithm": "SHA2_256",
      "publicKey": {
        "rawBytes": "P256",
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": {
          "start": "2000-01-01T00:00:00Z"
        }
      },
      "logId": {
        "keyId": "XNJS+wzokyQ2+vjM0QQJgbie5K1rn+niorfnGqyyfNM="
      }
    }
  ],
  "timestampAuthorities": []
}
"#;

/// Written by hand from the protocol buffers.
const SIGNING_CONFIG: &str = r#"{
  "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
  "caUrls": [],
  "oidcUrls": [],
  "rekorTlogUrls": [
    {
      "url": "https://log.example",
      "majorApiVersion": 2,
      "validFor": {
        "start": "2000-01-01T00:00:00Z"
      },
      "operator": "log.example"
    }
  ],
  "tsaUrls": [
    {
      "url": "https://log.example/api/v1/timestamp",
      "majorApiVersion": 1,
      "validFor": {
        "start": "2000-01-01T00:00:00Z"
      },
      "operator": "log.example"
    }
  ],
  "rekorTlogConfig": {
    "selector": "ANY"
  },
  "tsaConfig": {
    "selector": "ANY"
  }
}
"#;

fn p256() -> PublicKey {
    PublicKey::from_spki_der(&from_base64(P256).unwrap()).unwrap()
}

fn trusted_root() -> TrustedRoot {
    let note_key = NoteKey::parse_vkey(VKEY).unwrap();
    let tree = TreeId::new(4711).unwrap();
    let identity = LogIdentity::new("log.example", tree, note_key, p256()).unwrap();
    let url = "https://log.example";
    TrustedRoot {
        tlogs: vec![LogInstance::rekor_v2(url, &identity), LogInstance::rekor_v1(url, &identity)],
        ctlogs: vec![LogInstance::of_certificates("", &p256())],
        ..TrustedRoot::default()
    }
}

fn signing_config() -> SigningConfig {
    let service = |path: &str, version| {
        Service::new(&format!("https://log.example{path}"), version, "log.example")
    };
    SigningConfig {
        rekor_tlog_urls: vec![service("", 2)],
        tsa_urls: vec![service("/api/v1/timestamp", 1)],
        ..SigningConfig::default()
    }
}

/// A document that has an item in every list, with the fields that ours leave out.
fn whole() -> Value {
    let period = json!({"start": "2021-03-07T03:20:29Z", "end": "2022-12-31T23:59:59.999Z"});
    let log = json!({
        "baseUrl": "https://ctfe.example/2022",
        "hashAlgorithm": "SHA2_256",
        "publicKey": {"rawBytes": P256, "keyDetails": "PKCS1_RSA_PKCS1V5", "validFor": period},
        "logId": {"keyId": P256_HASH},
        "checkpointKeyId": {"keyId": "AAECAw=="},
        "operator": "ct.example",
    });
    let authority = json!({
        "subject": {"organization": "o", "commonName": "c"},
        "uri": "https://ca.example",
        "certChain": {"certificates": [{"rawBytes": "MAA="}, {"rawBytes": "MAAB"}]},
        "validFor": period,
        "operator": "ca.example",
    });
    let service = |url: &str| {
        let start = json!({"start": "0001-01-01T00:00:00Z"});
        json!({"url": url, "majorApiVersion": 1, "validFor": start, "operator": "x"})
    };
    json!({
        "mediaType": CLIENT_TRUST_CONFIG_MEDIA_TYPE,
        "trustedRoot": {
            "mediaType": TRUSTED_ROOT_MEDIA_TYPE,
            "tlogs": [log],
            "certificateAuthorities": [authority],
            "ctlogs": [log],
            "timestampAuthorities": [authority],
        },
        "signingConfig": {
            "mediaType": SIGNING_CONFIG_MEDIA_TYPE,
            "caUrls": [service("https://ca.example")],
            "oidcUrls": [service("https://oidc.example/auth")],
            "rekorTlogUrls": [service("https://rekor.example")],
            "tsaUrls": [service("https://tsa.example/api/v1/timestamp")],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaConfig": {"selector": "ANY"},
        },
    })
}

fn parse(value: &Value) -> Result<SigstoreDocument, DocumentError> {
    SigstoreDocument::parse(value.to_string().as_bytes())
}

fn config(value: &Value) -> ClientTrustConfig {
    match parse(value).unwrap() {
        SigstoreDocument::ClientTrustConfig(config) => config,
        other => panic!("not a client trust config: {other:?}"),
    }
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_documents_have_these_golden_bytes() {
    let trusted_root = trusted_root();
    assert_eq!(trusted_root.format(), TRUSTED_ROOT.replace("\"P256\"", &format!("\"{P256}\"")));
    let signing_config = signing_config();
    assert_eq!(signing_config.format(), SIGNING_CONFIG);
    let both = ClientTrustConfig { trusted_root, signing_config };
    let expected = json!({
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": value(&both.trusted_root.format()),
        "signingConfig": value(&both.signing_config.format()),
    });
    assert_eq!(value(&both.format()), expected);
    assert!(both.format().ends_with("\n"));
    let none = SigningConfig { tsa_urls: Vec::new(), ..both.signing_config };
    assert!(value(&none.format()).get("tsaConfig").is_none());
    assert_eq!(value(&none.format())["tsaUrls"], json!([]));
}

#[test]
fn what_was_written_is_read_and_what_was_read_is_written() {
    let read = |text: String| SigstoreDocument::parse(text.as_bytes()).unwrap();
    let (root, signing) = (trusted_root(), signing_config());
    assert_eq!(read(root.format()), SigstoreDocument::TrustedRoot(root.clone()));
    assert_eq!(read(signing.format()), SigstoreDocument::SigningConfig(signing.clone()));
    let both = ClientTrustConfig { trusted_root: root, signing_config: signing };
    assert_eq!(read(both.format()), SigstoreDocument::ClientTrustConfig(both));
    assert_eq!(value(&config(&whole()).format()), whole());
}

#[test]
fn an_authority_is_written_as_its_chain_says() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2025, 1, 2);
    params.not_after = rcgen::date_time_ymd(2030, 1, 2);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let chain = AuthorityChain::of_signers(&root.pem()).unwrap();
    let authority = Authority::new("https://ca.example", &chain);
    assert!(authority.has_chain(&chain));
    assert_eq!(authority.uri(), Some("https://ca.example"));
    let root = TrustedRoot { certificate_authorities: vec![authority], ..Default::default() };
    let written = &value(&root.format())["certificateAuthorities"][0];
    let period = json!({"start": "2025-01-02T00:00:00Z", "end": "2030-01-02T00:00:00Z"});
    assert_eq!(written["validFor"], period);
    assert_eq!(written["uri"], "https://ca.example");
    let der = written["certChain"]["certificates"][0]["rawBytes"].as_str().unwrap();
    assert_eq!(from_base64(der).as_ref(), chain.ders().first());
}

#[test]
fn an_unset_text_is_written_as_an_empty_one() {
    let mut bare = whole();
    for (at, field) in [
        ("/trustedRoot/certificateAuthorities/0/subject", "organization"),
        ("/trustedRoot/certificateAuthorities/0/subject", "commonName"),
        ("/trustedRoot/ctlogs/0", "baseUrl"),
        ("/signingConfig/caUrls/0", "operator"),
    ] {
        bare.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(field);
        let written = value(&config(&bare).format());
        assert_eq!(written.pointer(&format!("{at}/{field}")), Some(&json!("")), "{field}");
    }
}

#[test]
fn authorities_and_services_are_added_once_and_logs_are_not() {
    let other = config(&whole());
    let mut ours =
        ClientTrustConfig { trusted_root: trusted_root(), signing_config: signing_config() };
    for _ in 0..2 {
        ours.trusted_root.add_authorities(other.trusted_root.clone()).unwrap();
        ours.signing_config.add_services(other.signing_config.clone()).unwrap();
    }
    let root = &ours.trusted_root;
    assert_eq!(root.tlogs, trusted_root().tlogs);
    assert_eq!(root.certificate_authorities, other.trusted_root.certificate_authorities);
    assert_eq!(root.timestamp_authorities, other.trusted_root.timestamp_authorities);
    let both = [trusted_root().ctlogs, other.trusted_root.ctlogs.clone()].concat();
    assert_eq!(root.ctlogs, both);
    let signing = &ours.signing_config;
    assert_eq!(signing.rekor_tlog_urls, signing_config().rekor_tlog_urls);
    assert_eq!(signing.ca_urls, other.signing_config.ca_urls);
    assert_eq!(signing.oidc_urls, other.signing_config.oidc_urls);
    let urls: Vec<&str> = signing.tsa_urls.iter().map(Service::url).collect();
    let expected = ["https://log.example/api/v1/timestamp", "https://tsa.example/api/v1/timestamp"];
    assert_eq!(urls, expected);

    let many = (0..DOCUMENT_LIST_MAX).map(|n| Service::new(&n.to_string(), 1, "x")).collect();
    let many = SigningConfig { ca_urls: many, ..SigningConfig::default() };
    assert!(ours.signing_config.add_services(many).is_err());
}

#[test]
fn an_unknown_field_is_refused_wherever_it_stands() {
    for at in [
        "",
        "/trustedRoot",
        "/trustedRoot/tlogs/0",
        "/trustedRoot/ctlogs/0/publicKey",
        "/trustedRoot/ctlogs/0/publicKey/validFor",
        "/trustedRoot/ctlogs/0/logId",
        "/trustedRoot/ctlogs/0/checkpointKeyId",
        "/trustedRoot/certificateAuthorities/0",
        "/trustedRoot/certificateAuthorities/0/subject",
        "/trustedRoot/certificateAuthorities/0/certChain",
        "/trustedRoot/certificateAuthorities/0/certChain/certificates/1",
        "/trustedRoot/timestampAuthorities/0",
        "/signingConfig",
        "/signingConfig/caUrls/0",
        "/signingConfig/tsaUrls/0/validFor",
    ] {
        let mut changed = whole();
        let object = changed.pointer_mut(at).unwrap().as_object_mut().unwrap();
        object.insert("witnesses".to_owned(), json!([]));
        let error = parse(&changed).unwrap_err().to_string();
        assert!(error.contains("unknown field \"witnesses\""), "{at}: {error}");
    }
}

#[test]
fn what_a_client_would_refuse_is_refused_and_named() {
    for (at, new, expected) in [
        (
            "/trustedRoot/ctlogs/0/hashAlgorithm",
            json!("SHA2_512"),
            "ctlogs, item 1: field hashAlgorithm is malformed",
        ),
        (
            "/trustedRoot/ctlogs/0/publicKey/validFor",
            Value::Null,
            "ctlogs, item 1: field validFor is missing",
        ),
        (
            "/trustedRoot/ctlogs/0/publicKey/validFor/start",
            json!("2022-01-01"),
            "ctlogs, item 1: field start is malformed",
        ),
        (
            "/trustedRoot/tlogs/0/publicKey/rawBytes",
            json!("AA"),
            "tlogs, item 1: field rawBytes is malformed",
        ),
        ("/trustedRoot/tlogs/0/logId", Value::Null, "tlogs, item 1: field logId is missing"),
        (
            "/trustedRoot/certificateAuthorities/0/certChain/certificates",
            json!([]),
            "certificateAuthorities, item 1: field certificates is missing",
        ),
        (
            "/trustedRoot/certificateAuthorities/0/subject",
            json!("CN=c"),
            "certificateAuthorities, item 1: field subject is malformed",
        ),
        (
            "/trustedRoot/timestampAuthorities/0/validFor/end",
            json!("never"),
            "timestampAuthorities, item 1: field end is malformed",
        ),
        ("/trustedRoot/timestampAuthorities", json!({}), "field timestampAuthorities is malformed"),
        ("/signingConfig/caUrls/0/url", Value::Null, "caUrls, item 1: field url is missing"),
        (
            "/signingConfig/caUrls/0/majorApiVersion",
            json!(4_294_967_296_u64),
            "caUrls, item 1: field majorApiVersion is malformed",
        ),
        (
            "/signingConfig/oidcUrls/0",
            json!("https://x"),
            "oidcUrls, item 1: field oidcUrls is malformed",
        ),
        ("/signingConfig/tsaConfig", json!("ANY"), "field tsaConfig is malformed"),
        ("/signingConfig", Value::Null, "field signingConfig is missing"),
    ] {
        let mut changed = whole();
        *changed.pointer_mut(at).unwrap() = new;
        assert_eq!(parse(&changed).unwrap_err().to_string(), expected, "{at}");
    }
    let item = whole()["signingConfig"]["caUrls"][0].clone();
    let mut long = whole();
    long["signingConfig"]["caUrls"] = json!(vec![item; DOCUMENT_LIST_MAX + 1]);
    let error = parse(&long).unwrap_err().to_string();
    assert_eq!(error, "field caUrls has too many items");
}

#[test]
fn other_documents_are_refused_by_their_media_type() {
    for (at, other) in [
        ("/mediaType", "application/vnd.dev.sigstore.trustedroot.v0.2+json"),
        ("/mediaType", "application/vnd.dev.sigstore.bundle.v0.3+json"),
        ("/mediaType", ""),
        ("/trustedRoot/mediaType", "application/vnd.dev.sigstore.trustedroot.v0.2+json"),
        ("/trustedRoot/mediaType", SIGNING_CONFIG_MEDIA_TYPE),
        ("/signingConfig/mediaType", "application/vnd.dev.sigstore.signingconfig.v0.1+json"),
    ] {
        let mut changed = whole();
        *changed.pointer_mut(at).unwrap() = json!(other);
        match parse(&changed) {
            Err(DocumentError::MediaType { found, .. }) => assert_eq!(found, other),
            read => panic!("{other}: {read:?}"),
        }
    }
    assert!(matches!(parse(&json!({})), Err(DocumentError::Field(_))));
    assert!(matches!(parse(&json!([])), Err(DocumentError::Field(_))));
    let long = vec![b' '; DOCUMENT_LEN_MAX + 1];
    assert!(matches!(SigstoreDocument::parse(&long), Err(DocumentError::TooLong)));
}

#[test]
fn no_changed_byte_is_lost_on_the_way_through() {
    let text = whole().to_string().into_bytes();
    for at in 0..text.len() {
        assert!(SigstoreDocument::parse(&text[..at]).is_err(), "cut at {at}");
        let mut changed = text.clone();
        changed[at] ^= 1;
        if let Ok(SigstoreDocument::ClientTrustConfig(read)) = SigstoreDocument::parse(&changed) {
            let mut expected = serde_json::from_slice::<Value>(&changed).unwrap();
            // How services are chosen is not kept.
            expected["signingConfig"]["rekorTlogConfig"] = json!({"selector": "ANY"});
            expected["signingConfig"]["tsaConfig"] = json!({"selector": "ANY"});
            assert_eq!(value(&read.format()), expected, "changed at {at}");
        }
    }
}

#[test]
fn a_time_has_the_shape_that_protocol_buffers_give_it() {
    for text in
        ["0001-01-01T00:00:00Z", "2022-12-31T23:59:59.999Z", "9999-12-31T23:59:59.123456789Z"]
    {
        assert!(is_time(text), "{text}");
    }
    for text in [
        "",
        "Z",
        "2022-12-31",
        "2022-12-31T23:59:59",
        "2022-12-31 23:59:59Z",
        "2022-12-31T23:59:59.Z",
        "2022-12-31T23:59:59.1234567890Z",
        "2022-12-31T23:59:59.1x",
        "2022-12-31T23:59:59+00:00",
        "+022-12-31T23:59:59Z",
        "2022-12-31T23:59:59ZZ",
    ] {
        assert!(!is_time(text), "{text}");
    }
}
