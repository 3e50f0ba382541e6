use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use treering_proto::policy::Policy;

use super::*;
use crate::ops::init::{NewLog, init};

const URL: &str = "https://log.corp";

/// Extended key usage in DER: nothing but timestamps.
const ONLY_TIMESTAMPS: [u8; 12] = [0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8];

/// A log that was made and is not served, and what one may export of it.
struct Made {
    folder: TempDir,
}

impl Made {
    fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Self { folder };
        let new = NewLog {
            data: made.path("log"),
            anchor: made.path("log.anchor"),
            url: url.to_owned(),
            note_key: None,
            v1_key: None,
            ml_dsa: false,
            timestamps: false,
        };
        init(&new).unwrap();
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file beside the log.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn what(&self) -> Export {
        Export {
            data: self.path("log"),
            out: self.path("out"),
            url: None,
            witness_policy: None,
            sigstore: SigstoreOptions {
                rekor: RekorFaces::Both,
                merge: Vec::new(),
                fulcio: None,
                ct_keys: Vec::new(),
                ct_urls: Vec::new(),
                oidc_url: None,
                timestamps: Timestamps::Own,
            },
        }
    }

    /// Exports, and says what a client would not do.
    fn export(&self, change: impl FnOnce(&mut Export)) -> Vec<String> {
        let mut what = self.what();
        change(&mut what);
        let exported = export(&what).unwrap();
        let names: Vec<_> = fs::read_dir(&what.out).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(exported.files.iter().all(|path| names.contains(path)));
        assert!(names.iter().all(|path| path.extension().is_none_or(|e| e != "new")));
        exported.warnings
    }

    /// The error of an export that must leave nothing behind.
    fn error(&self, change: impl FnOnce(&mut Export)) -> String {
        let mut what = self.what();
        what.out = self.path("never");
        change(&mut what);
        let error = export(&what).unwrap_err().to_string();
        assert!(!what.out.exists(), "{error}");
        error
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path("out").join(name)).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }

    /// The members called `name` of the items of a list.
    fn each(&self, file: &str, list: &str, name: &str) -> Vec<Value> {
        let items = self.json(file)[list].as_array().unwrap().clone();
        items.iter().map(|item| item.pointer(name).unwrap().clone()).collect()
    }

    fn urls(&self, list: &str) -> Vec<Value> {
        self.each("signing_config.json", list, "/url")
    }

    fn uris(&self, list: &str) -> Vec<Value> {
        self.each("trusted_root.json", list, "/uri")
    }
}

fn root(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// The chain of a timestamp authority.
fn clock(name: &str) -> String {
    let root = root(name);
    let mut params = CertificateParams::default();
    let mut usage = CustomExtension::from_oid_content(&[2, 5, 29, 37], ONLY_TIMESTAMPS.to_vec());
    usage.set_criticality(true);
    params.custom_extensions = vec![usage];
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &root).unwrap();
    leaf.pem() + &root.pem()
}

#[test]
fn a_log_stands_in_the_files_as_what_it_shall_be() {
    let made = Made::new(URL);
    let identity = DataDirectory::public(&made.path("log")).unwrap().identity;
    let identity = LogIdentity::open(identity.as_bytes()).unwrap();
    let (v1, v2) = (identity.v1_log_id(), identity.note_key().key_id_full());
    for (rekor, ids, versions) in [
        (RekorFaces::V1, vec![v1], json!([1])),
        (RekorFaces::V2, vec![v2], json!([2])),
        (RekorFaces::Both, vec![v2, v1], json!([2, 1])),
    ] {
        made.export(|what| what.sigstore.rekor = rekor);
        let found = made.each("trusted_root.json", "tlogs", "/logId/keyId");
        let ids: Vec<Value> = ids
            .iter()
            .map(|id| json!(treering_proto::encoding::to_base64(id.as_bytes())))
            .collect();
        assert_eq!(found, ids);
        let found = made.each("signing_config.json", "rekorTlogUrls", "/majorApiVersion");
        assert_eq!(json!(found), versions);
        assert!(made.urls("rekorTlogUrls").iter().all(|url| url == URL));
        let both = made.json("client_trust_config.json");
        assert_eq!(both["trustedRoot"], made.json("trusted_root.json"));
        assert_eq!(both["signingConfig"], made.json("signing_config.json"));
    }
    for list in ["certificateAuthorities", "ctlogs", "timestampAuthorities"] {
        assert_eq!(made.json("trusted_root.json")[list], json!([]), "{list}");
    }
    let policy = Policy::parse(made.text("policy").as_bytes()).unwrap();
    assert!(policy.needs_no_witness());
    assert_eq!(policy.logs()[0].key, *identity.note_key());
    assert_eq!(policy.logs()[0].url.as_deref(), Some(URL));
}

#[test]
fn a_log_that_is_reached_elsewhere_is_known_by_its_name() {
    let made = Made::new("http://localhost:3000");
    let bases = || made.each("trusted_root.json", "tlogs", "/baseUrl");
    let reached = |url: &str| {
        assert_eq!(made.json("trust.json")["log"]["url"], url);
        assert!(made.urls("rekorTlogUrls").iter().all(|found| found == url));
        assert!(made.text("policy").contains(&format!(" {url}\n")));
    };
    made.export(|_| {});
    reached("http://localhost:3000");
    assert_eq!(bases(), ["http://localhost:3000"; 2]);
    made.export(|what| what.url = Some("http://LOCALHOST:4000/".to_owned()));
    reached("http://localhost:4000");
    assert_eq!(bases(), ["http://localhost:4000"; 2]);
    made.export(|what| what.url = Some("http://127.0.0.1:4000".to_owned()));
    reached("http://127.0.0.1:4000");
    assert_eq!(bases(), ["http://localhost:3000"; 2]);
    assert_eq!(made.json("trust.json")["log"]["origin"], "localhost");
}

#[test]
fn what_is_named_stands_in_the_files() {
    let made = Made::new(URL);
    let chain = made.file("ca.pem", &root("CA").pem());
    let key = made.file("ct.pub", &made_key());
    let warnings = made.export(|what| {
        what.sigstore.fulcio = Some(("https://ca.corp/".to_owned(), chain));
        what.sigstore.ct_keys = vec![key.clone()];
        what.sigstore.ct_urls = vec!["https://ct.corp/2026".to_owned()];
        what.sigstore.oidc_url = Some("https://login.corp/".to_owned());
        what.sigstore.rekor = RekorFaces::V1;
    });
    assert_eq!(made.urls("caUrls"), ["https://ca.corp"]);
    assert_eq!(made.urls("oidcUrls"), ["https://login.corp/"]);
    assert_eq!(made.uris("certificateAuthorities"), ["https://ca.corp"]);
    let names = made.each("trusted_root.json", "certificateAuthorities", "/subject/commonName");
    assert_eq!(names, ["CA"]);
    assert_eq!(made.each("trusted_root.json", "ctlogs", "/baseUrl"), ["https://ct.corp/2026"]);
    assert_eq!(made.each("signing_config.json", "caUrls", "/operator"), ["ca.corp"]);
    let [only] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(only.contains("timestamp authority"), "{only}");
    // Authorities of signers are for the operator of a verifier to name.
    assert!(made.json("trust.json").get("certificateAuthorities").is_none());
}

/// The public key of a log of certificates.
fn made_key() -> String {
    KeyPair::generate().unwrap().public_key_pem()
}

#[test]
fn the_logs_own_timestamps_are_for_sigstores_clients_only() {
    let made = Made::new(URL);
    let own = clock("Own");
    fs::write(made.path("log/timestamp-chain.pem"), &own).unwrap();
    let url = "https://log.corp/api/v1/timestamp";
    let trusts = |made: &Made| {
        let trust = made.json("trust.json");
        trust.get("timestampAuthorities").map_or(0, |list| list.as_array().unwrap().len())
    };
    made.export(|_| {});
    assert_eq!(
        (made.urls("tsaUrls"), made.uris("timestampAuthorities")),
        (vec![json!(url)], vec![json!(url)])
    );
    assert_eq!(made.text("timestamp-chain.pem"), own);
    assert_eq!(trusts(&made), 0);

    // An earlier export, made when the log was reached elsewhere, names the same authority.
    let earlier = made.file("earlier.json", &made.text("client_trust_config.json"));
    made.export(|what| {
        what.url = Some("https://log.corp:444".to_owned());
        what.sigstore.merge = vec![earlier.clone()];
    });
    let moved = "https://log.corp:444/api/v1/timestamp";
    assert_eq!(made.urls("tsaUrls"), [moved]);
    assert_eq!(made.uris("timestampAuthorities"), [moved]);

    let chain = made.file("tsa.pem", &clock("Other"));
    let other = "https://tsa.corp/api/v1/timestamp";
    made.export(|what| {
        let url = other.to_owned();
        what.sigstore.timestamps = Timestamps::Other { url, chain };
        what.sigstore.merge = vec![earlier.clone()];
    });
    assert_eq!(made.urls("tsaUrls"), [other]);
    assert_eq!(made.uris("timestampAuthorities"), [other]);
    assert_eq!(trusts(&made), 2);

    let warnings = made.export(|what| {
        what.sigstore.timestamps = Timestamps::None;
        what.sigstore.merge = vec![earlier];
    });
    assert_eq!(made.json("trusted_root.json")["timestampAuthorities"], json!([]));
    assert_eq!(made.json("signing_config.json")["tsaUrls"], json!([]));
    assert!(made.json("signing_config.json").get("tsaConfig").is_none());
    assert!(warnings.iter().any(|warning| warning.contains("timestamp authority")));

    assert!(!made.path("out/timestamp-chain.pem").exists(), "an earlier export wrote it");

    let own = made.file("own.pem", &own);
    for own_url in [url, "HTTPS://log.corp:443/api/v1/timestamp/"] {
        let (url, chain) = (own_url.to_owned(), made.path("tsa.pem"));
        let timestamps = Timestamps::Other { url, chain };
        let error = made.error(|what| what.sigstore.timestamps = timestamps);
        assert!(error.contains("is the address of the log's own"), "{error}");
    }
    let inside = Export { out: made.path("log"), ..made.what() };
    let error = export(&inside).unwrap_err().to_string();
    assert!(error.contains("is the data directory of the log"), "{error}");
    let there = fs::read(made.path("log/timestamp-chain.pem")).unwrap();
    assert_eq!(there, fs::read(&own).unwrap());
    let error = made.error(|what| {
        let url = other.to_owned();
        what.sigstore.timestamps = Timestamps::Other { url, chain: own };
    });
    assert!(error.contains("the log's own timestamp authority"), "{error}");
}

#[test]
fn an_earlier_authority_of_the_log_is_believed_and_remarked_on() {
    let made = Made::new(URL);
    let url = "https://log.corp/api/v1/timestamp";
    let own = |name| fs::write(made.path("log/timestamp-chain.pem"), clock(name)).unwrap();
    own("Old");
    made.export(|_| {});
    let earlier = made.file("earlier.json", &made.text("client_trust_config.json"));
    own("New");
    let remarks = |warnings: Vec<String>| {
        warnings.iter().filter(|text| text.contains("an earlier timestamp authority")).count()
    };
    let moved = "https://log.corp:444/api/v1/timestamp";
    let warnings = made.export(|what| {
        what.url = Some("https://log.corp:444".to_owned());
        what.sigstore.merge = vec![earlier.clone()];
    });
    assert_eq!(made.urls("tsaUrls"), [moved]);
    assert_eq!(made.uris("timestampAuthorities"), [moved, url]);
    assert_eq!(remarks(warnings), 1);
    let warnings = made.export(|what| {
        what.sigstore.timestamps = Timestamps::None;
        what.sigstore.merge = vec![earlier];
    });
    assert_eq!(remarks(warnings), 0);
}

#[test]
fn what_other_files_have_is_taken_but_their_logs() {
    let (made, other) = (Made::new(URL), Made::new("https://other.corp"));
    fs::write(made.path("log/timestamp-chain.pem"), clock("Own")).unwrap();
    fs::write(other.path("log/timestamp-chain.pem"), clock("Other")).unwrap();
    let (chain, key) = (other.file("ca.pem", &root("CA").pem()), other.file("ct.pub", &made_key()));
    other.export(|what| {
        what.sigstore.fulcio = Some(("https://ca.corp".to_owned(), chain));
        what.sigstore.ct_keys = vec![key];
        what.sigstore.oidc_url = Some("https://login.corp".to_owned());
    });
    let file = |name: &str| other.path("out").join(name);
    let stamps = "https://other.corp/api/v1/timestamp";
    let split = vec![file("trusted_root.json"), file("signing_config.json")];
    for merge in
        [split.clone(), vec![file("client_trust_config.json")], [&split[..], &split].concat()]
    {
        let warnings = made.export(|what| what.sigstore.merge = merge);
        assert_eq!(made.urls("caUrls"), ["https://ca.corp"]);
        assert_eq!(made.urls("oidcUrls"), ["https://login.corp"]);
        assert_eq!(made.urls("rekorTlogUrls"), [URL, URL]);
        assert_eq!(made.uris("certificateAuthorities"), ["https://ca.corp"]);
        assert_eq!(made.each("trusted_root.json", "ctlogs", "/baseUrl"), [""]);
        assert_eq!(made.each("trusted_root.json", "tlogs", "/baseUrl"), [URL, URL]);
        // Another authority that is named is asked in place of the log's own; both are believed.
        assert_eq!(made.urls("tsaUrls"), [stamps]);
        let own = "https://log.corp/api/v1/timestamp";
        assert_eq!(made.uris("timestampAuthorities"), [own, stamps]);
        assert!(warnings.iter().all(|w| w.contains("its transparency logs (2) are left out")));
        assert!(!warnings.is_empty());
    }
    // A trusted root alone says where nobody shall have times stamped, so the log does it.
    made.export(|what| what.sigstore.merge = vec![file("trusted_root.json")]);
    assert_eq!(made.urls("tsaUrls"), ["https://log.corp/api/v1/timestamp"]);
    assert_eq!(made.uris("timestampAuthorities").len(), 2);
    let warnings = made.export(|what| what.sigstore.merge = vec![file("signing_config.json")]);
    for words in
        ["address of an authority for signers, but", "address of a timestamp authority, but"]
    {
        assert!(warnings.iter().any(|warning| warning.contains(words)), "{warnings:?}");
    }
    // What was exported once can be exported on.
    let own = made.path("out").join("client_trust_config.json");
    let first = made.text("client_trust_config.json");
    made.export(|what| what.sigstore.merge = vec![file("signing_config.json"), own]);
    assert_eq!(made.text("client_trust_config.json"), first);
}

#[test]
fn the_policy_has_the_log_and_the_witnesses() {
    let made = Made::new(URL);
    let vkey = {
        made.export(|_| {});
        made.text("note.vkey").trim().to_owned()
    };
    let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let witness = NoteKey::cosignature("w.corp", key.verifying_key().as_bytes()).unwrap();
    let witnesses = format!("# ours\nwitness w {} https://w.corp\nquorum w\n", witness.to_vkey());
    let file = made.file("witnesses.policy", &witnesses);
    made.export(|what| what.witness_policy = Some(file.clone()));
    let policy = made.text("policy");
    assert_eq!(policy, format!("log {vkey} {URL}\n{witnesses}"));
    assert!(!Policy::parse(policy.as_bytes()).unwrap().needs_no_witness());
    let whole = format!("log {vkey} https://elsewhere.corp\n{witnesses}");
    made.file("witnesses.policy", &whole);
    made.export(|what| what.witness_policy = Some(file));
    assert_eq!(made.text("policy"), whole);
}

#[test]
fn nothing_is_written_if_anything_is_wrong() {
    let made = Made::new(URL);
    let (pem, words) = (made.file("ca.pem", &root("CA").pem()), made.file("words", "words\n"));
    let der = made.path("ca.der");
    fs::write(&der, root("CA").der()).unwrap();
    let swapped = clock("Clock");
    let end = "-----END CERTIFICATE-----\n";
    let (leaf, root) = swapped.split_once(end).unwrap();
    let swapped = made.file("swapped.pem", &format!("{root}{leaf}{end}"));
    let bundle = made
        .file("bundle.json", r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#);
    let long = made.file("long", &" ".repeat(2 << 20));

    let fulcio = |url: &str, file: &Path| {
        let named = Some((url.to_owned(), file.to_owned()));
        made.error(|what| what.sigstore.fulcio = named)
    };
    let clock = |url: &str, file: &Path| {
        let timestamps = Timestamps::Other { url: url.to_owned(), chain: file.to_owned() };
        made.error(|what| what.sigstore.timestamps = timestamps)
    };
    let merge = |file: &Path| made.error(|what| what.sigstore.merge = vec![file.to_owned()]);
    let ct = |key: &Path, urls: &[&str]| {
        made.error(|what| {
            what.sigstore.ct_keys = vec![key.to_owned()];
            what.sigstore.ct_urls = urls.iter().map(|url| (*url).to_owned()).collect();
        })
    };
    let key = made.file("ct.pub", &made_key());
    for (error, words) in [
        (made.error(|what| what.url = Some("log.corp".to_owned())), "--url \"log.corp\": it needs"),
        (fulcio("ca.corp", &pem), "--fulcio-url \"ca.corp\": it needs"),
        (fulcio("https://ca.corp", &words), "words: not PEM blocks of certificates"),
        (fulcio("https://ca.corp", &der), "ca.der: not PEM blocks of certificates"),
        (fulcio("https://ca.corp", &swapped), "swapped.pem: certificate 1 is not issued by"),
        (fulcio("https://ca.corp", &long), "is longer than"),
        (fulcio("https://ca.corp", &made.path("nowhere")), "nowhere: "),
        (
            clock("https://tsa.corp/api/v1/timestamp", &swapped),
            "swapped.pem: certificate 1 is not issued by",
        ),
        (
            clock("https://tsa.corp/api/v1/timestamp", &pem),
            "ca.pem: the first certificate is not one",
        ),
        (clock("tsa.corp", &pem), "--timestamp-url \"tsa.corp\""),
        (merge(&words), "words: not acceptable JSON"),
        (
            merge(&bundle),
            "bundle.json: the media type \"application/vnd.dev.sigstore.bundle.v0.3+json\" is not that of",
        ),
        (merge(&long), "is longer than"),
        (ct(&pem, &[]), "ca.pem: not one PEM block of a public key"),
        (ct(&key, &["https://a", "https://b"]), "--ct-url must be given once for each --ct-key"),
        (ct(&key, &["a"]), "--ct-url \"a\""),
        (made.error(|what| what.sigstore.oidc_url = Some("x".to_owned())), "--oidc-url \"x\""),
        (made.error(|what| what.witness_policy = Some(der.clone())), "ca.der: it is not a text"),
        (made.error(|what| what.data = made.path("nowhere")), "holds no log"),
    ] {
        assert!(error.contains(words), "{error:?} should say {words:?}");
    }
    fs::write(made.path("log/timestamp-chain.pem"), "words").unwrap();
    let error = made.error(|_| {});
    assert!(error.starts_with("timestamp-chain.pem: not PEM"), "{error}");
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_ones() {
    let made = Made::new(URL);
    made.export(|_| {});
    let before = made.text("trust.json");
    // A directory where a file should go.
    fs::create_dir(made.path("out/policy.new")).unwrap();
    let mut what = made.what();
    what.url = Some("https://log.corp:444".to_owned());
    assert!(matches!(export(&what), Err(ExportError::Io { .. })));
    assert_eq!(made.text("trust.json"), before);
    assert!(!made.path("out/trust.json.new").exists());
}
