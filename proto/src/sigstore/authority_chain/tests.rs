use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// Extended key usage, critical: nothing but timestamps (RFC 5280, 4.2.1.12, in DER by hand).
const ONLY_TIMESTAMPS: [u8; 12] = [0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8];

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2025, 1, 2);
    params.not_after = date_time_ymd(2035, 1, 2);
    params
}

fn authority(common_name: &str) -> CertificateParams {
    let mut params = named(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn root() -> Issuer {
    let mut params = authority("Root");
    params.distinguished_name.push(DnType::OrganizationName, "Corp");
    params.not_before = date_time_ymd(2024, 1, 2);
    params.not_after = date_time_ymd(2030, 1, 2);
    Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn intermediate(root: &Issuer) -> Issuer {
    Issuer::signed_by(authority("Intermediate"), KeyPair::generate().unwrap(), root).unwrap()
}

fn leaf(issuer: &Issuer, mut params: CertificateParams, usage: Option<(&[u8], bool)>) -> String {
    params.custom_extensions = usage.map_or(Vec::new(), |(usage, is_critical)| {
        let mut usage = CustomExtension::from_oid_content(&[2, 5, 29, 37], usage.to_vec());
        usage.set_criticality(is_critical);
        vec![usage]
    });
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().pem()
}

fn stamps(issuer: &Issuer) -> String {
    leaf(issuer, named("Clock"), Some((&ONLY_TIMESTAMPS, true)))
}

#[test]
fn a_chain_says_who_it_is_and_when_all_of_it_is_valid() {
    let root = root();
    let intermediate = intermediate(&root);
    let pem = format!("words\n{}\nsubject=Root\n{}\n", intermediate.pem(), root.pem());
    let chain = AuthorityChain::of_signers(&pem).unwrap();
    assert_eq!(chain.ders(), [intermediate.der().to_vec(), root.der().to_vec()]);
    assert_eq!((chain.organization(), chain.common_name()), ("Corp", "Root"));
    assert_eq!(chain.valid(), ("2025-01-02T00:00:00Z", "2030-01-02T00:00:00Z"));

    let alone = AuthorityChain::of_signers(&intermediate.pem()).unwrap();
    assert_eq!((alone.organization(), alone.common_name()), ("", "Intermediate"));
    assert_eq!(alone.valid(), ("2025-01-02T00:00:00Z", "2035-01-02T00:00:00Z"));

    let of_three = stamps(&intermediate) + &intermediate.pem() + &root.pem();
    let chain = AuthorityChain::of_timestamps(&of_three).unwrap();
    assert_eq!((chain.ders().len(), chain.common_name()), (3, "Root"));
    AuthorityChain::of_timestamps(&(stamps(&root) + &root.pem())).unwrap();
}

#[test]
fn a_chain_that_is_upside_down_or_not_one_is_refused() {
    let (root, other) = (root(), root());
    let intermediate = intermediate(&root);
    let error = |pem: &str| AuthorityChain::of_signers(pem).unwrap_err();
    let (i, r) = (intermediate.pem(), root.pem());
    assert_eq!(error(&format!("{r}{i}")), ChainError::Order { at: 1 });
    assert_eq!(error(&format!("{i}{r}{r}")), ChainError::Order { at: 2 });
    assert_eq!(error(&format!("{i}{i}")), ChainError::Order { at: 1 });
    // Names are compared, not keys; whoever verifies a signature does the rest.
    AuthorityChain::of_signers(&format!("{i}{}", other.pem())).unwrap();
    let leaf = leaf(&intermediate, named("Signer"), None);
    assert_eq!(error(&format!("{leaf}{i}{r}")), ChainError::NotAuthority { at: 1 });

    let mut past = authority("Past");
    past.not_before = date_time_ymd(2010, 1, 1);
    past.not_after = date_time_ymd(2011, 1, 1);
    let past = Issuer::signed_by(past, KeyPair::generate().unwrap(), &root).unwrap();
    assert_eq!(error(&format!("{}{r}", past.pem())), ChainError::NeverValid);
}

#[test]
fn what_is_not_certificates_in_pem_is_refused() {
    let root = root();
    let pem = root.pem();
    let error = |pem: &str| AuthorityChain::of_signers(pem).unwrap_err();
    let key = KeyPair::generate().unwrap().serialize_pem();
    let cut = pem.trim_end().strip_suffix("-----").unwrap();
    for text in ["", "words", &key, &(key.clone() + &pem), &(pem.clone() + &key), cut] {
        assert_eq!(error(text), ChainError::NotPem, "{text}");
    }
    let der = String::from_utf8_lossy(root.der()).into_owned();
    assert_eq!(error(&der), ChainError::NotPem);
    let hollow = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert_eq!(error(hollow), ChainError::Malformed { at: 1 });
    assert_eq!(error(&(pem.clone() + hollow)), ChainError::Malformed { at: 2 });
    let long = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        "AAAA".repeat(CERTIFICATE_LEN_MAX)
    );
    assert_eq!(error(&long), ChainError::Malformed { at: 1 });
    assert_eq!(error(&pem.repeat(CHAIN_MAX + 1)), ChainError::TooMany);
}

#[test]
fn only_what_signs_timestamps_and_nothing_else_begins_a_chain_for_them() {
    let root = root();
    let with_root = |leaf: String| AuthorityChain::of_timestamps(&(leaf + &root.pem()));
    let usage = Some((&ONLY_TIMESTAMPS[..], true));
    with_root(leaf(&root, named("Clock"), usage)).unwrap();
    let mut two_usages = named("Clock");
    two_usages.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::TimeStamping, ExtendedKeyUsagePurpose::CodeSigning];
    for wrong in [
        leaf(&root, named("Clock"), None),
        leaf(&root, named("Clock"), Some((&ONLY_TIMESTAMPS, false))),
        leaf(&root, two_usages, None),
        leaf(&root, authority("Clock"), usage),
        String::new(),
    ] {
        assert_eq!(with_root(wrong).unwrap_err(), ChainError::NotForTimestamps);
    }
    assert_eq!(AuthorityChain::of_timestamps(&stamps(&root)), Err(ChainError::NoRoot));
    let signer = leaf(&root, named("Signer"), None);
    let not_authority = format!("{}{signer}", stamps(&root));
    assert!(AuthorityChain::of_timestamps(&not_authority).is_err());
}
