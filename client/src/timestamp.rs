//! RFC 3161 timestamps over a signature: a third party's word that the signature existed at a time.
//!
//! The cryptography is that of `sigstore-tsa`, and this module is the only one that names it. What
//! is verified, and by whom:
//!
//! ```text
//! the crate   the answer was granted; the imprint is that of the signature (SHA-256, 384, 512);
//!             the token's own digest and its ECDSA signature (P-256, P-384) under the certificate
//!             that we name; its chain to the root that we name, valid at the token's time, with
//!             the extended key usage for timestamps
//! here        exactly one signer; the signed content type is that of a token; the certificate is
//!             for timestamps, critically, and for nothing else (RFC 3161, 2.3); which certificate
//!             and which root are tried
//! ```
//!
//! The signer's certificate may come with the token or stand in the trust file; either way it
//! counts only if an authority of the trust file certifies it.
//!
//! Invariant: what is not understood here is refused. Unchecked by the crate and here, so out of
//! scope: the version of the token's content, its critical extensions, and whether the root that
//! the trust file names is still valid (it is trusted because it is named); revocation, the
//! accuracy that a token claims, its policy and its signing-certificate attribute (RFC 5816); RSA;
//! and what the crate cannot read, which are times with fractions of a second, and an accuracy with
//! milliseconds or microseconds (it expects them under explicit tags, RFC 3161 has implicit ones).

use der::asn1::ObjectIdentifier;
use der::{AnyRef, Decode, Encode, Reader as _, SliceReader, Tag, TagNumber};
use sigstore_tsa::{TsaAuthority, verify_timestamp_for_authority};
use treering_proto::certificate::Certificate;
use x509_cert::Certificate as X509;
use x509_cert::ext::pkix::ExtendedKeyUsage;

/// The longest token: certificates of ten authorities, and as much again.
pub const TOKEN_LEN_MAX: usize = 256 * 1024;

/// Certificates in one token: a deeper hierarchy does not stamp times.
const CERTIFICATES_MAX: usize = 10;

/// Values in one structure of a token.
const ELEMENTS_MAX: usize = 64;

/// Pairs of certificate and root that are tried for one token; each costs a signature or two.
const TRIES_MAX: usize = 32;

/// id-kp-timeStamping (RFC 5280, 4.2.1.12).
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
/// id-ecPublicKey (RFC 5480).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// The content-type attribute (RFC 5652, 11.1).
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
/// id-ct-TSTInfo (RFC 3161, 2.4.2).
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

/// Why a token is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TimestampError {
    /// Not a token in DER, or one with what no token has.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// No certificate of a timestamp authority comes into question.
    #[error("no authority of the trust file certifies a signer of this token")]
    NoSigner,
    /// The authority signs with something else than ECDSA.
    #[error("the authority's key is not ECDSA, and this version checks no other")]
    UnsupportedKey,
    /// The token does not verify.
    #[error("{0}")]
    Invalid(#[from] sigstore_tsa::Error),
    /// Before 1970.
    #[error("the token's time cannot be written in Unix seconds")]
    Time,
}

/// What a token says about who signed it. Nothing in it is verified.
struct Claims {
    /// Issuer and serial number of the signer's certificate, in DER; `None` when the token names
    /// it by its key.
    signer: Option<Vec<u8>>,
    certificates: Vec<Vec<u8>>,
}

/// The time, in Unix seconds, at which `signature` existed by the word of one of `authorities`.
/// `token` is an answer of a timestamp authority, or the token in one, in DER.
///
/// # Errors
/// [`TimestampError`]; of several tries the one that came furthest.
pub fn check_timestamp(
    token: &[u8],
    signature: &[u8],
    authorities: &[Certificate],
) -> Result<u64, TimestampError> {
    let claims = Claims::read(token)?;
    let authorities: Vec<&[u8]> = authorities.iter().map(Certificate::der).collect();
    let sent = claims.certificates.iter().map(Vec::as_slice);
    let mut signers: Vec<&[u8]> = authorities.iter().copied().chain(sent).collect();
    signers.retain(|der| claims.names(der) && is_for_timestamps(der));
    let mut failure = TimestampError::NoSigner;
    let mut tries = 0;
    for signer in signers {
        for root in anchors(signer, &claims.certificates, &authorities) {
            if tries == TRIES_MAX {
                return Err(failure);
            }
            tries += 1;
            match check_under(token, signature, signer, &claims.certificates, root) {
                Ok(time) => return Ok(time),
                Err(error) => failure = further(failure, error),
            }
        }
    }
    Err(failure)
}

fn check_under(
    token: &[u8],
    signature: &[u8],
    signer: &[u8],
    sent: &[Vec<u8>],
    root: &[u8],
) -> Result<u64, TimestampError> {
    let intermediates = sent.iter().filter(|der| *der != signer);
    let intermediates = intermediates.map(|der| der.as_slice().into()).collect();
    let authority = TsaAuthority::new(signer.into(), intermediates, root.into(), None);
    let time = verify_timestamp_for_authority(&token.into(), &signature.into(), &authority)
        .map_err(|error| told(error, is_ecdsa(signer)))?;
    u64::try_from(time.as_second()).map_err(|_| TimestampError::Time)
}

/// What an error of the crate means: under a key that it does not know a signature may be good, but
/// a token about something else, or from outside the certificate's time, is false under any key.
fn told(error: sigstore_tsa::Error, is_ecdsa: bool) -> TimestampError {
    use sigstore_tsa::Error;
    let is_about_the_key = matches!(
        error,
        Error::SignatureVerificationError(_)
            | Error::CertificateValidationError(_)
            | Error::Verification(_)
            | Error::Asn1(_)
            | Error::Parse(_)
    );
    match is_about_the_key && !is_ecdsa {
        true => TimestampError::UnsupportedKey,
        false => TimestampError::Invalid(error),
    }
}

/// The error that says more: that of a signer who was found, over that of one who was not.
fn further(one: TimestampError, other: TimestampError) -> TimestampError {
    match (&one, &other) {
        (TimestampError::NoSigner, _) => other,
        (TimestampError::Invalid(_), TimestampError::UnsupportedKey) => other,
        _ => one,
    }
}

/// The authorities that may be at the end of a chain from `signer`: those whose name the signer or
/// a certificate in the token names as its issuer.
fn anchors<'a>(signer: &[u8], sent: &[Vec<u8>], authorities: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let issuer = |der: &[u8]| X509::from_der(der).ok()?.tbs_certificate().issuer().to_der().ok();
    let subject = |der: &[u8]| X509::from_der(der).ok()?.tbs_certificate().subject().to_der().ok();
    let mut issuers: Vec<Vec<u8>> = issuer(signer).into_iter().collect();
    issuers.extend(sent.iter().filter_map(|der| issuer(der)));
    let is_issuer = |der: &&&[u8]| subject(der).is_some_and(|subject| issuers.contains(&subject));
    authorities.iter().filter(is_issuer).copied().collect()
}

/// Whether a certificate is for timestamps, critically, and for nothing else.
fn is_for_timestamps(der: &[u8]) -> bool {
    let Ok(certificate) = X509::from_der(der) else { return false };
    match certificate.tbs_certificate().get_extension::<ExtendedKeyUsage>() {
        Ok(Some((critical, usage))) => critical && usage.0 == [TIME_STAMPING],
        _ => false,
    }
}

fn is_ecdsa(der: &[u8]) -> bool {
    X509::from_der(der).is_ok_and(|certificate| {
        certificate.tbs_certificate().subject_public_key_info().algorithm.oid == EC_PUBLIC_KEY
    })
}

impl Claims {
    /// Reads the shape of a token: `TimeStampResp`, or the `ContentInfo` in it (RFC 3161, 2.4.2;
    /// RFC 5652).
    fn read(token: &[u8]) -> Result<Self, TimestampError> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(TimestampError::Malformed("it is too long"));
        }
        let shape = || TimestampError::Malformed("it is not a signed token in DER");
        let outer = elements(AnyRef::from_der(token).map_err(|_| shape())?.value())?;
        let content_info = match outer.as_slice() {
            [first, ..] if first.header().tag() == Tag::ObjectIdentifier => outer,
            [_status, token] => elements(token.value())?,
            _ => return Err(shape()),
        };
        let [_oid, content] = content_info.as_slice() else { return Err(shape()) };
        let [signed_data] = elements(content.value())?[..] else { return Err(shape()) };
        let signed_data = elements(signed_data.value())?;
        let signers = elements(signed_data.last().ok_or_else(shape)?.value())?;
        let [signer] = signers.as_slice() else {
            return Err(TimestampError::Malformed("it does not have exactly one signer"));
        };
        let signer = elements(signer.value())?;
        check_content_type(&signer)?;
        let tagged = signed_data.iter().find(|element| has_number(**element, TagNumber(0)));
        let sent = tagged.map_or(Ok(Vec::new()), |tagged| elements(tagged.value()))?;
        if sent.len() > CERTIFICATES_MAX {
            return Err(TimestampError::Malformed("it has too many certificates"));
        }
        let encode = |certificate: &AnyRef<'_>| certificate.to_der().map_err(|_| shape());
        let name = signer.get(1).filter(|name| name.header().tag() == Tag::Sequence);
        Ok(Self {
            signer: name.map(|name| name.value().to_vec()),
            certificates: sent.iter().map(encode).collect::<Result<_, _>>()?,
        })
    }

    /// Whether the certificate `der` may be the signer's.
    fn names(&self, der: &[u8]) -> bool {
        let Some(signer) = &self.signer else { return true };
        X509::from_der(der).is_ok_and(|certificate| {
            let tbs = certificate.tbs_certificate();
            let mut name = Vec::new();
            let parts = [
                tbs.issuer().encode_to_vec(&mut name),
                tbs.serial_number().encode_to_vec(&mut name),
            ];
            parts.iter().all(Result::is_ok) && *signer == name
        })
    }
}

/// The signer must have signed that the content is a token, so that no signature over something
/// else passes for one.
fn check_content_type(signer: &[AnyRef<'_>]) -> Result<(), TimestampError> {
    let missing = || TimestampError::Malformed("its content type is not signed as that of a token");
    let attributes = signer.iter().skip(3).find(|element| has_number(**element, TagNumber(0)));
    let attributes = elements(attributes.ok_or_else(missing)?.value())?;
    let expected = [TST_INFO.to_der().expect("an object identifier has a DER form")];
    let mut types = attributes.iter().filter_map(|attribute| {
        let attribute = elements(attribute.value()).ok()?;
        let [name, values] = attribute.as_slice() else { return None };
        let is_type = name.decode_as::<ObjectIdentifier>().is_ok_and(|oid| oid == CONTENT_TYPE);
        is_type.then(|| values.value().to_vec())
    });
    if types.next().is_some_and(|value| expected == [value]) && types.next().is_none() {
        Ok(())
    } else {
        Err(missing())
    }
}

/// The values that stand one after the other in `bytes`.
fn elements(bytes: &[u8]) -> Result<Vec<AnyRef<'_>>, TimestampError> {
    let malformed = |_: der::Error| TimestampError::Malformed("it is not DER");
    let mut reader = SliceReader::new(bytes).map_err(malformed)?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        if found.len() == ELEMENTS_MAX {
            return Err(TimestampError::Malformed("it has too many parts"));
        }
        found.push(AnyRef::decode(&mut reader).map_err(malformed)?);
    }
    Ok(found)
}

fn has_number(element: AnyRef<'_>, wanted: TagNumber) -> bool {
    matches!(element.header().tag(), Tag::ContextSpecific { number, .. } if number == wanted)
}

#[cfg(test)]
pub(crate) mod tests;
