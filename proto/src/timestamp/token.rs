//! The token: `TSTInfo` (RFC 3161, 2.4.2) in CMS `SignedData` (RFC 5652, 5), and the answer around
//! it.
//!
//! What is signed are attributes: the content's type, its SHA-256, and the SHA-256 of the signer's
//! certificate (RFC 5816), so that no other certificate of the same key can be put in its place.
//! There is no signing time beside the token's own, no accuracy, which nobody here could vouch for,
//! and no name of the authority, which its certificate says.
//!
//! Invariant: every set is in the order of DER, which is that of the encoded members.

use core::time::Duration;

use der::asn1::{Any, AnyRef, GeneralizedTime, Int, ObjectIdentifier, OctetStringRef, SetOfVec};
use der::{Decode as _, Encode as _, Sequence, ValueOrd};
use spki::AlgorithmIdentifierRef;
use x509_cert::Certificate as X509;
use x509_cert::attr::Attribute;
use x509_cert::ext::pkix::ExtendedKeyUsage;

use super::{MessageImprint, POLICY, SHA_256, TimestampRequest, VERSION, algorithm};
use crate::hash::sha256;

/// Bytes of a token's serial number: enough that random ones do not meet, and fewer than the 20
/// that readers must take.
pub const SERIAL_LEN: usize = 16;

/// The version of `SignedData` whose content is not plain data (RFC 5652, 5.1).
const SIGNED_DATA_VERSION: u8 = 3;
/// The version of a `SignerInfo` that names its certificate by issuer and number (5.3).
const SIGNER_INFO_VERSION: u8 = 1;
/// The request is granted as it is.
const GRANTED: u8 = 0;

const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
const ECDSA_WITH_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// Why a certificate cannot stand for a timestamp authority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StampCertificateError {
    /// Not a certificate.
    #[error("not a certificate in DER")]
    Malformed,
    /// For something else, or for timestamps beside other things (RFC 3161, 2.3).
    #[error("the certificate must be for timestamps, critically, and for nothing else")]
    Usage,
}

/// The certificate of who signs tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StampCertificate {
    der: Vec<u8>,
    /// Issuer and serial number, as the certificate spells them.
    name: Vec<u8>,
    subject: String,
}

impl StampCertificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`StampCertificateError`].
    pub fn from_der(der: &[u8]) -> Result<Self, StampCertificateError> {
        let malformed = |_| StampCertificateError::Malformed;
        let x509 = X509::from_der(der).map_err(malformed)?;
        let tbs = x509.tbs_certificate();
        let usage = tbs.get_extension::<ExtendedKeyUsage>().map_err(malformed)?;
        if !usage.is_some_and(|(critical, usage)| critical && usage.0 == [TIME_STAMPING]) {
            return Err(StampCertificateError::Usage);
        }
        let issuer = tbs.issuer().to_der().map_err(malformed)?;
        let serial = tbs.serial_number().to_der().map_err(malformed)?;
        let subject = tbs.subject().to_string();
        Ok(Self { der: der.to_vec(), name: [issuer, serial].concat(), subject })
    }

    /// Whose it is (RFC 4514).
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

/// A token that lacks its signature.
pub struct Token<'a> {
    request: &'a TimestampRequest,
    certificate: &'a StampCertificate,
    content: Vec<u8>,
    attributes: SetOfVec<Attribute>,
    to_sign: Vec<u8>,
}

#[derive(Sequence)]
struct TstInfo<'a> {
    version: u8,
    policy: ObjectIdentifier,
    message_imprint: MessageImprint<'a>,
    serial_number: Int,
    gen_time: GeneralizedTime,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
}

#[derive(Sequence)]
struct SigningCertificateV2<'a> {
    certs: Vec<EssCertIdV2<'a>>,
}

/// The hash is SHA-256, which is not named because it is the default; who issued the certificate
/// stands beside the attributes already.
#[derive(Sequence)]
struct EssCertIdV2<'a> {
    cert_hash: &'a OctetStringRef,
}

#[derive(Sequence)]
struct TimeStampResp<'a> {
    status: PkiStatusInfo,
    time_stamp_token: ContentInfo<'a>,
}

#[derive(Sequence)]
struct PkiStatusInfo {
    status: u8,
}

#[derive(Sequence)]
struct ContentInfo<'a> {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: SignedData<'a>,
}

#[derive(Sequence)]
struct SignedData<'a> {
    version: u8,
    digest_algorithms: SetOfVec<AlgorithmIdentifierRef<'a>>,
    content: EncapsulatedContentInfo<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true", optional = "true")]
    certificates: Option<SetOfVec<AnyRef<'a>>>,
    signer_infos: SetOfVec<SignerInfo<'a>>,
}

#[derive(Sequence)]
struct EncapsulatedContentInfo<'a> {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: &'a OctetStringRef,
}

#[derive(Sequence, ValueOrd)]
struct SignerInfo<'a> {
    version: u8,
    issuer_and_serial_number: AnyRef<'a>,
    digest_algorithm: AlgorithmIdentifierRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true")]
    signed_attributes: SetOfVec<Attribute>,
    signature_algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a OctetStringRef,
}

impl<'a> Token<'a> {
    /// The token for `request` at `time`, Unix seconds, under a serial number that no other token
    /// has; its first bit is not used, because the number is positive.
    ///
    /// `None` after the year 9999, which `GeneralizedTime` cannot say.
    pub fn new(
        request: &'a TimestampRequest,
        certificate: &'a StampCertificate,
        mut serial: [u8; SERIAL_LEN],
        time: u64,
    ) -> Option<Self> {
        // Of one length whatever is drawn, and never 0.
        serial[0] = serial[0] & 0x7f | 0x40;
        let info = TstInfo {
            version: VERSION,
            policy: POLICY,
            message_imprint: request.imprint(),
            serial_number: Int::new(&serial).ok()?,
            gen_time: GeneralizedTime::from_unix_duration(Duration::from_secs(time)).ok()?,
            nonce: request.nonce().cloned(),
        };
        let content = info.to_der().ok()?;
        let attributes = attributes(&content, certificate).ok()?;
        let to_sign = attributes.to_der().ok()?;
        Some(Self { request, certificate, content, attributes, to_sign })
    }

    /// The bytes that are signed: the attributes as a SET OF (RFC 5652, 5.4).
    pub fn to_sign(&self) -> &[u8] {
        &self.to_sign
    }

    /// The answer, `TimeStampResp` in DER, with the ECDSA signature in DER over
    /// [`Token::to_sign`], made with SHA-256 and the key of the certificate.
    ///
    /// `None` if the signature is none.
    pub fn reply(self, signature: &[u8]) -> Option<Vec<u8>> {
        self.encode(signature).ok()
    }

    fn encode(self, signature: &[u8]) -> der::Result<Vec<u8>> {
        let digest_algorithm = algorithm(SHA_256, false);
        let signer_info = SignerInfo {
            version: SIGNER_INFO_VERSION,
            issuer_and_serial_number: AnyRef::new(der::Tag::Sequence, &self.certificate.name)?,
            digest_algorithm,
            signed_attributes: self.attributes,
            signature_algorithm: algorithm(ECDSA_WITH_SHA_256, false),
            signature: OctetStringRef::new(signature)?,
        };
        let certificates = match self.request.wants_certificate() {
            true => Some(set_of(AnyRef::from_der(&self.certificate.der)?)?),
            false => None,
        };
        let content = SignedData {
            version: SIGNED_DATA_VERSION,
            digest_algorithms: set_of(digest_algorithm)?,
            content: EncapsulatedContentInfo {
                content_type: TST_INFO,
                content: OctetStringRef::new(&self.content)?,
            },
            certificates,
            signer_infos: set_of(signer_info)?,
        };
        let time_stamp_token = ContentInfo { content_type: SIGNED_DATA, content };
        TimeStampResp { status: PkiStatusInfo { status: GRANTED }, time_stamp_token }.to_der()
    }
}

fn attributes(content: &[u8], certificate: &StampCertificate) -> der::Result<SetOfVec<Attribute>> {
    let digest = sha256(content);
    let cert_hash = sha256(&certificate.der);
    let certs = vec![EssCertIdV2 { cert_hash: OctetStringRef::new(cert_hash.as_bytes())? }];
    let signer = SigningCertificateV2 { certs };
    SetOfVec::try_from([
        attribute(CONTENT_TYPE, Any::encode_from(&TST_INFO)?)?,
        attribute(MESSAGE_DIGEST, Any::encode_from(&OctetStringRef::new(digest.as_bytes())?)?)?,
        attribute(SIGNING_CERTIFICATE_V2, Any::encode_from(&signer)?)?,
    ])
}

fn attribute(oid: ObjectIdentifier, value: Any) -> der::Result<Attribute> {
    Ok(Attribute { oid, values: set_of(value)? })
}

fn set_of<T: der::DerOrd>(member: T) -> der::Result<SetOfVec<T>> {
    SetOfVec::try_from(vec![member])
}
