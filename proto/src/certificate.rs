//! X.509 leaf certificates (RFC 5280) as signers present them: the key, the identities, the issuer,
//! the validity.
//!
//! The log takes only the public key from a certificate, as Rekor does; whom to believe is the
//! verifier's business. So reading is lenient about what a certificate says and strict about how it
//! is spelled (DER). Chains that are submitted with a leaf are in `chain`.
//!
//! Out of scope: revocation, SCTs.

use der::asn1::{ObjectIdentifier, Utf8StringRef};
use der::{Decode, Encode};
use x509_cert::Certificate as X509;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::key::{KeyError, PublicKey};
use crate::pem;

mod chain;

pub use chain::{CHAIN_LEN_MAX, CertificateChain};

/// The longest certificate read: Fulcio's are about 2 KB, and the whole leaf entry must stay below
/// 65,536 bytes.
pub const CERTIFICATE_LEN_MAX: usize = 16 * 1024;

/// How many identities of one certificate become facts; Fulcio issues one.
pub const IDENTITIES_MAX: usize = 32;

/// Why bytes are not a usable certificate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not one PEM block labelled `CERTIFICATE`, or not only such blocks where a chain may stand.
    #[error("not PEM of a certificate")]
    NotPem,
    /// Not a certificate in DER.
    #[error("not a certificate in DER")]
    Malformed,
    /// More subject alternative names than a signer has.
    #[error("more than {IDENTITIES_MAX} subject alternative names")]
    TooManyIdentities,
    /// The key inside cannot be used.
    #[error("the certificate's key: {0}")]
    Key(#[from] KeyError),
    /// More certificates than [`CHAIN_LEN_MAX`].
    #[error("more than {CHAIN_LEN_MAX} certificates")]
    TooManyCertificates,
    /// The root of a chain is not valid when its leaf begins to be.
    #[error("the last certificate of the chain is not valid when the first begins to be")]
    RootNotValid,
    /// Two ways may lead to the root, and looking for one could take long.
    #[error("two certificates of the chain have one subject")]
    AmbiguousChain,
    /// The chain leads nowhere.
    #[error("the chain does not lead from its first certificate to its last: {0}")]
    Chain(#[source] webpki::Error),
}

/// A leaf certificate and what was read from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    key: PublicKey,
    identities: Vec<String>,
    issuer: Option<String>,
    workflow: Option<String>,
    not_before: u64,
    not_after: u64,
}

impl Certificate {
    /// Reads certificate DER.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > CERTIFICATE_LEN_MAX {
            return Err(CertificateError::Malformed);
        }
        let x509 = X509::from_der(der).map_err(|_| CertificateError::Malformed)?;
        let tbs = x509.tbs_certificate();
        let spki =
            tbs.subject_public_key_info().to_der().map_err(|_| CertificateError::Malformed)?;
        let identities = identities(&x509)?;
        Ok(Self {
            der: der.to_vec(),
            key: PublicKey::from_spki_der(&spki)?,
            identities,
            issuer: oidc_issuer(&x509),
            workflow: extension(&x509, OID_FULCIO_BUILD_CONFIG).and_then(utf8_string),
            not_before: tbs.validity().not_before.to_unix_duration().as_secs(),
            not_after: tbs.validity().not_after.to_unix_duration().as_secs(),
        })
    }

    /// Reads exactly one `CERTIFICATE` PEM block; white space around it is ignored.
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        Self::from_der(&pem::decode(text, PEM_LABEL).ok_or(CertificateError::NotPem)?)
    }

    /// The DER as it was read.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// PEM as Go writes it: 64 columns, LF, a trailing LF.
    pub fn to_pem(&self) -> String {
        pem::encode(&self.der, PEM_LABEL)
    }

    /// The certified key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Subject alternative names in order: e-mail addresses, URIs, DNS names, IP addresses, and
    /// Fulcio's other name.
    pub fn identities(&self) -> &[String] {
        &self.identities
    }

    /// The OIDC issuer that Fulcio wrote into the certificate, if it did.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The URI of the build configuration (for GitHub: the workflow file at a revision) that Fulcio
    /// wrote into the certificate, if it did.
    pub fn workflow(&self) -> Option<&str> {
        self.workflow.as_deref()
    }

    /// First second of validity, Unix time.
    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// Last second of validity, Unix time.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }
}

fn identities(x509: &X509) -> Result<Vec<String>, CertificateError> {
    let names = match x509.tbs_certificate().get_extension::<SubjectAltName>() {
        Ok(Some((_, names))) => names.0,
        Ok(None) => return Ok(Vec::new()),
        Err(_) => return Err(CertificateError::Malformed),
    };
    if names.len() > IDENTITIES_MAX {
        return Err(CertificateError::TooManyIdentities);
    }
    Ok(names.iter().filter_map(identity).collect())
}

fn identity(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::Rfc822Name(text)
        | GeneralName::DnsName(text)
        | GeneralName::UniformResourceIdentifier(text) => Some(text.to_string()),
        GeneralName::IpAddress(octets) => ip_text(octets.as_bytes()),
        GeneralName::OtherName(other) if other.type_id == OID_FULCIO_OTHER_NAME => {
            other.value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str().to_owned())
        }
        _ => None,
    }
}

fn ip_text(octets: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(core::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(octets).ok().map(|v6| core::net::Ipv6Addr::from(v6).to_string())
}

/// Fulcio's issuer extension: version 2 is a DER UTF8String, version 1 the raw bytes.
fn oidc_issuer(x509: &X509) -> Option<String> {
    if let Some(der) = extension(x509, OID_FULCIO_ISSUER_V2) {
        return utf8_string(der);
    }
    extension(x509, OID_FULCIO_ISSUER_V1).and_then(|raw| String::from_utf8(raw.to_vec()).ok())
}

fn extension(x509: &X509, oid: ObjectIdentifier) -> Option<&[u8]> {
    let extensions = x509.tbs_certificate().extensions()?;
    extensions.iter().find(|e| e.extn_id == oid).map(|e| e.extn_value.as_bytes())
}

fn utf8_string(der: &[u8]) -> Option<String> {
    Utf8StringRef::from_der(der).ok().map(|text| text.as_str().to_owned())
}

const PEM_LABEL: &str = "CERTIFICATE";
const OID_FULCIO_ISSUER_V1: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
const OID_FULCIO_OTHER_NAME: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
const OID_FULCIO_ISSUER_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
const OID_FULCIO_BUILD_CONFIG: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.18");
