//! Chains of certificates in place of a public key, in every kind of Rekor v1.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use serde_json::Value;

use super::intoto::{signature, v001, v002};
use super::rekord::rekord;
use super::*;

/// A signer whose certificate, of this URI, comes with that of its issuer.
struct Certified {
    pair: Pair,
    leaf: String,
    root: String,
}

impl Certified {
    fn new(uri: &str) -> Self {
        let pair = Pair::new();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&key).unwrap().pem();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let leaf = params.signed_by(&pair, &Issuer::new(authority, key)).unwrap().pem();
        Self { pair, leaf, root }
    }

    /// One submission of each kind with this PEM.
    fn submissions(&self, pem: &str) -> [Value; 5] {
        let (pair, payload, key) = (&self.pair, statement(), to_base64(pem.as_bytes()));
        let sign = pair.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload));
        let text = envelope(&payload, &[to_base64(&sign)]);
        let digest = hex::encode(sha2::Sha256::digest(b"model"));
        let read = |text: &str| serde_json::from_str(text).unwrap();
        [
            read(&v1_hashedrekord("sha256", &digest, &pair.sign(b"model"), &key)),
            read(&v1_dsse(&text, std::slice::from_ref(&key))),
            v001(&text, &key),
            v002(IN_TOTO_PAYLOAD_TYPE, &payload, &[signature(&sign, &key)]),
            rekord(b"content", &pair.sign(b"content"), &key),
        ]
    }
}

/// PEM as Go writes it, of PEM that another library wrote.
fn lf(pem: &str) -> String {
    pem.replace("\r\n", "\n")
}

#[test]
fn a_chain_stands_in_every_kind_and_the_leaf_gives_the_facts() {
    let signer = Certified::new("https://ci.example/job");
    let (leaf, root) = (lf(&signer.leaf), lf(&signer.root));
    let odd = format!("\n{}\r\n{root}\n", leaf.replace('\n', "\r\n"));
    let canonical = to_base64(format!("{leaf}{root}").as_bytes());
    for request in signer.submissions(&odd) {
        let entry = VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap();
        let body = String::from_utf8(entry.body().to_vec()).unwrap();
        let is_as_submitted = entry.kind() == EntryKind::IntotoV002;
        let key = if is_as_submitted { to_base64(odd.as_bytes()) } else { canonical.clone() };
        assert!(body.contains(&format!(r#""{key}""#)), "{body}");
        let parsed = Entry::parse(entry.body()).unwrap();
        assert_eq!(entry.verifiers().iter().collect::<Vec<_>>(), parsed.verifiers());
        assert_eq!(parsed.to_body(), entry.body());
        let payload = statement();
        assert_eq!(parsed.facts(Some(&payload)), entry.facts());
        assert_ne!(parsed.recheck(Some(&payload)), Recheck::Invalid);
        let values = |tag| {
            let facts = entry.facts().iter().filter(move |fact| fact.tag == tag);
            facts.map(|fact| String::from_utf8(fact.value.clone()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(values(Tag::Identity), ["https://ci.example/job"]);
        let key = hex::encode(sha2::Sha256::digest(signer.pair.key.spki_der()));
        assert_eq!(values(Tag::PublicKey), [key]);
    }
}

#[test]
fn a_chain_that_leads_nowhere_is_refused_in_every_kind_and_stays_readable_where_it_is_logged() {
    let signer = Certified::new("https://ci.example/job");
    let stranger = Certified::new("https://ci.example/other");
    let (leaf, root) = (lf(&signer.leaf), lf(&signer.root));
    let wrong = format!("{leaf}{}", lf(&stranger.root));
    let right = to_base64(format!("{leaf}{root}").as_bytes());
    for (request, good) in
        signer.submissions(&wrong).into_iter().zip(signer.submissions(&format!("{leaf}{root}")))
    {
        let refused = VerifiedEntry::from_v1_request(request.to_string().as_bytes());
        assert!(matches!(refused, Err(EntryError::Verifier(_))), "{refused:?}");
        let good = VerifiedEntry::from_v1_request(good.to_string().as_bytes()).unwrap();
        let body = String::from_utf8(good.body().to_vec()).unwrap();
        let logged = body.replace(&right, &to_base64(wrong.as_bytes()));
        assert_ne!(logged, body);
        assert!(Entry::parse(logged.as_bytes()).is_ok());
    }
    let backwards = format!("{root}{leaf}");
    for request in signer.submissions(&backwards) {
        assert!(VerifiedEntry::from_v1_request(request.to_string().as_bytes()).is_err());
    }
}
