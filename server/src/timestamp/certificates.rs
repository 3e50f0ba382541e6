//! Makes a timestamp authority: two keys and two certificates.
//!
//! ```text
//! root   O=HOST, CN=timestamp root       signs itself and the leaf; then its key is gone
//! leaf   O=HOST, CN=timestamp authority  for timestamps, critically, and for nothing else
//! ```
//!
//! Two, because Sigstore's clients want a chain of at least a leaf and a root. The root can certify
//! nothing further: whoever has the leaf's key can stamp, and nobody can make another leaf.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use zeroize::Zeroizing;

use crate::clock::{self, JUMP_MS_MAX};
use crate::signer::{decode_key, generate_p256_key};

/// For how long an authority is certified: ten years. Old timestamps stay good after it, because
/// they are verified at their own time; new ones need a new authority, and every verifier its
/// certificates, so that is not asked for often.
pub const VALIDITY_DAYS: u64 = 3653;

/// The longest organization name (RFC 5280, A.1).
const ORGANIZATION_LEN_MAX: usize = 64;

/// The DER of an extended key usage with id-kp-timeStamping alone.
const TIME_STAMPING_ALONE: [u8; 12] =
    [0x30, 10, 0x06, 8, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];

/// id-ce-extKeyUsage.
const EXTENDED_KEY_USAGE: [u64; 4] = [2, 5, 29, 37];

/// What is written of a new authority.
pub struct NewAuthority {
    /// The private key and its certificates, PEM.
    pub key_file: Zeroizing<String>,
    /// The certificates, PEM, the leaf first.
    pub chain: String,
}

/// A key in the form that certificates are made with. It is never written.
struct CertificateKey(EcdsaKeyPair);

impl PublicKeyData for CertificateKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for CertificateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        signature
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

impl NewAuthority {
    /// A new authority for the log at `host`, certified from now on.
    pub fn for_host(host: &str) -> Self {
        Self::at(host, clock::read().wall_ms / 1000)
    }

    /// The same, certified from `now` on, Unix seconds.
    pub(super) fn at(host: &str, now: u64) -> Self {
        const MAKES: &str = "a certificate of a name and a key can be made";
        let root = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
        let root = CertificateKey(root.expect("the system has randomness"));
        let pem = generate_p256_key();
        let der = decode_key(&pem).expect("it was written on the line above");
        let leaf = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der);
        let leaf = CertificateKey(leaf.expect("it was written two lines above"));

        let mut params = params(host, "timestamp root", now);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = CertifiedIssuer::self_signed(params, root).expect(MAKES);

        let mut params = self::params(host, "timestamp authority", now);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // The one that comes with the library cannot be critical.
        let usage = TIME_STAMPING_ALONE.to_vec();
        let mut usage = CustomExtension::from_oid_content(&EXTENDED_KEY_USAGE, usage);
        usage.set_criticality(true);
        params.custom_extensions = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&leaf, &root).expect(MAKES);

        let chain = [leaf.pem(), root.pem()].concat().replace("\r\n", "\n");
        Self { key_file: Zeroizing::new([pem.as_str(), &chain].concat()), chain }
    }
}

fn params(host: &str, name: &str, now: u64) -> CertificateParams {
    // The end of a long host name says more than its beginning.
    let surplus = host.chars().count().saturating_sub(ORGANIZATION_LEN_MAX);
    let organization: String = host.chars().skip(surplus).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // As far back as the clock may be set while the log goes on.
    let begin = Duration::from_secs(now).saturating_sub(Duration::from_millis(JUMP_MS_MAX));
    params.not_before = epoch + begin;
    params.not_after = epoch + begin + Duration::from_secs(VALIDITY_DAYS * 24 * 60 * 60);
    params
}
