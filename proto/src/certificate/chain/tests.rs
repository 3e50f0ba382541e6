use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::*;
use crate::verifier::{Verifier, VerifierError};

type Authority = Issuer<'static, KeyPair>;

/// What to put into a certificate with this name, valid in some years.
fn params(name: &str, from: i32, until: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

fn authority_params(name: &str, from: i32, until: i32) -> CertificateParams {
    let mut params = params(name, from, until);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn root(from: i32, until: i32) -> (Vec<u8>, Authority) {
    let (key, params) = (KeyPair::generate().unwrap(), authority_params("root", from, until));
    let der = params.self_signed(&key).unwrap().der().to_vec();
    (der, Issuer::new(params, key))
}

fn authority(name: &str, by: &Authority) -> (Vec<u8>, Authority) {
    let (key, params) = (KeyPair::generate().unwrap(), authority_params(name, 2020, 2030));
    let der = params.signed_by(&key, by).unwrap().der().to_vec();
    (der, Issuer::new(params, key))
}

fn leaf(params: CertificateParams, by: &Authority) -> Vec<u8> {
    params.signed_by(&KeyPair::generate().unwrap(), by).unwrap().der().to_vec()
}

fn check(ders: &[&Vec<u8>]) -> Result<(), CertificateError> {
    let ders: Vec<Vec<u8>> = ders.iter().map(|der| (*der).clone()).collect();
    CertificateChain::from_ders(&ders)?.check()
}

#[test]
fn a_chain_leads_from_leaf_to_root_when_the_leaf_begins_to_be_valid() {
    let (root_der, root) = root(2020, 2030);
    let (middle_der, middle) = authority("middle", &root);
    let (inner_der, inner) = authority("inner", &middle);
    // A server's certificate, long expired, is as good as any: nobody asks what it is for.
    let mut server = params("leaf", 2021, 2022);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf_der = leaf(server, &inner);
    assert_eq!(check(&[&leaf_der, &inner_der, &middle_der, &root_der]), Ok(()));
    assert_eq!(check(&[&leaf_der, &middle_der, &inner_der, &root_der]), Ok(()));
    // Whoever is last is believed, a root or not.
    assert_eq!(check(&[&leaf_der, &inner_der]), Ok(()));

    for wrong in [
        vec![&leaf_der, &middle_der, &root_der],
        vec![&leaf_der, &inner_der, &root_der],
        vec![&leaf_der, &root_der, &middle_der],
        vec![&leaf_der, &root_der],
    ] {
        assert!(matches!(check(&wrong), Err(CertificateError::Chain(_))));
    }
    let (_, stranger) = self::root(2020, 2030);
    let forged = leaf(params("leaf", 2021, 2022), &stranger);
    assert!(matches!(check(&[&forged, &root_der]), Err(CertificateError::Chain(_))));
}

#[test]
fn those_above_the_leaf_must_be_authorities_and_valid_then() {
    let (root_der, root) = root(2020, 2030);
    let early = leaf(params("leaf", 2019, 2022), &root);
    assert_eq!(check(&[&early, &root_der]), Err(CertificateError::RootNotValid));
    let (middle_der, middle) = authority("middle", &root);
    let old_root = authority_params("root", 2000, 2040).self_signed(root.key()).unwrap();
    let early = leaf(params("leaf", 2019, 2022), &middle);
    let refused = check(&[&early, &middle_der, &old_root.der().to_vec()]);
    assert!(matches!(refused, Err(CertificateError::Chain(_))), "{refused:?}");

    let key = KeyPair::generate().unwrap();
    let no_authority = params("signer", 2020, 2030);
    let signer_der = no_authority.signed_by(&key, &root).unwrap().der().to_vec();
    let below = leaf(params("leaf", 2021, 2022), &Issuer::new(no_authority, key));
    let refused = check(&[&below, &signer_der, &root_der]);
    assert!(matches!(refused, Err(CertificateError::Chain(_))), "{refused:?}");
}

#[test]
fn there_is_one_way_to_the_root() {
    let (root_der, root) = root(2020, 2030);
    let (one_der, one) = authority("middle", &root);
    let (other_der, _) = authority("middle", &root);
    let leaf_der = leaf(params("leaf", 2021, 2022), &one);
    assert_eq!(check(&[&leaf_der, &one_der, &root_der]), Ok(()));
    for ambiguous in
        [[&leaf_der, &one_der, &other_der, &root_der], [&leaf_der, &one_der, &root_der, &root_der]]
    {
        assert_eq!(check(&ambiguous), Err(CertificateError::AmbiguousChain));
    }
}

#[test]
fn pem_of_a_chain_is_that_of_its_certificates() {
    let (root_der, root) = root(2020, 2030);
    let leaf_der = leaf(params("leaf", 2021, 2022), &root);
    let pems = [pem::encode(&leaf_der, PEM_LABEL), pem::encode(&root_der, PEM_LABEL)];
    let text = format!(" leaf:\r\n{}\nroot:\n{}\n", pems[0].replace('\n', "\r\n"), pems[1]);
    let verifier = Verifier::from_pem(&text).unwrap();
    assert_eq!(verifier.to_pem(), pems.concat());
    assert_eq!(verifier.check(), Ok(()));
    let leaf = Certificate::from_der(&leaf_der).unwrap();
    assert_eq!((verifier.certificate(), verifier.key()), (Some(&leaf), leaf.key()));

    let single = Verifier::from_pem(&pems[0]).unwrap();
    assert!(matches!(single, Verifier::Certificate(_)) && single.check().is_ok());
    let many = pems[1].repeat(CHAIN_LEN_MAX);
    assert!(Verifier::from_pem(&many).is_ok());
    let refused = Verifier::from_pem(&format!("{many}{}", pems[1]));
    assert_eq!(refused, Err(VerifierError::Certificate(CertificateError::TooManyCertificates)));
    let key = leaf.key().to_pem();
    for mixed in [format!("{}{key}", pems[0]), format!("{key}{}", pems[0]), key.repeat(2)] {
        assert_eq!(Verifier::from_pem(&mixed), Err(VerifierError::NotPem));
    }
    let broken = pem::encode(&root_der[1..], PEM_LABEL);
    let refused = Verifier::from_pem(&format!("{}{broken}", pems[0]));
    assert_eq!(refused, Err(VerifierError::Certificate(CertificateError::Malformed)));
}
