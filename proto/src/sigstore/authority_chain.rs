//! The chain of an authority as its operator hands it out: certificates in PEM, the authority's own
//! first, the root last.
//!
//! The order, the names and the purpose are checked, because a chain that is upside down or of
//! another kind is a mistake that clients notice late and report badly. Out of scope: the
//! signatures in the chain, which every client verifies; whether it is valid now.

use std::time::Duration;

use der::asn1::ObjectIdentifier;
use der::{DateTime, Decode};
use x509_cert::Certificate as X509;
use x509_cert::ext::pkix::name::DirectoryString;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage};

use crate::bundle::CHAIN_MAX;
use crate::certificate::CERTIFICATE_LEN_MAX;
use crate::pem;

/// Certificates that lead from an authority to a root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorityChain {
    ders: Vec<Vec<u8>>,
    organization: String,
    common_name: String,
    start: String,
    end: String,
}

/// Why certificates are not the chain of an authority. Certificates are counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChainError {
    /// Not one PEM block after the other, all of certificates.
    #[error("not PEM blocks of certificates and nothing else")]
    NotPem,
    /// More than [`CHAIN_MAX`] certificates.
    #[error("more than {CHAIN_MAX} certificates")]
    TooMany,
    /// Not a certificate in DER.
    #[error("certificate {at} is malformed")]
    Malformed {
        /// Which certificate.
        at: usize,
    },
    /// A certificate does not name the next one as its issuer.
    #[error(
        "certificate {at} is not issued by the one that follows it: the authority's own comes first, \
         who certified it next, and the root last"
    )]
    Order {
        /// Which certificate.
        at: usize,
    },
    /// A certificate that must be an authority's is not.
    #[error("certificate {at} is not that of a certificate authority")]
    NotAuthority {
        /// Which certificate.
        at: usize,
    },
    /// The first certificate is not one that signs timestamps.
    #[error(
        "the first certificate is not one that signs timestamps and nothing else (extended key usage, critical)"
    )]
    NotForTimestamps,
    /// No root for the certificate that signs timestamps.
    #[error("the root is missing: clients want it after the certificate that signs timestamps")]
    NoRoot,
    /// The certificates are not valid at any one time.
    #[error("there is no time at which all certificates are valid")]
    NeverValid,
}

impl AuthorityChain {
    /// Reads the chain of an authority that certifies signers: its intermediates if there are any,
    /// and the root.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn of_signers(pem: &str) -> Result<Self, ChainError> {
        let (ders, certificates) = read(pem)?;
        check_authorities(&certificates, 0)?;
        Self::new(ders, &certificates)
    }

    /// Reads the chain of an authority for timestamps: the certificate that signs them, and those
    /// that lead to the root (RFC 3161, 2.3).
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn of_timestamps(pem: &str) -> Result<Self, ChainError> {
        let (ders, certificates) = read(pem)?;
        let usage = certificates[0].tbs_certificate().get_extension::<ExtendedKeyUsage>();
        let is_for_timestamps =
            matches!(usage, Ok(Some((true, usage))) if usage.0 == [TIME_STAMPING]);
        if !is_for_timestamps || is_authority(&certificates[0]) {
            return Err(ChainError::NotForTimestamps);
        }
        if certificates.len() == 1 {
            return Err(ChainError::NoRoot);
        }
        check_authorities(&certificates, 1)?;
        Self::new(ders, &certificates)
    }

    fn new(ders: Vec<Vec<u8>>, certificates: &[X509]) -> Result<Self, ChainError> {
        let root = certificates.last().ok_or(ChainError::NotPem)?;
        let name = root.tbs_certificate().subject();
        let text = |part: der::Result<Option<DirectoryString>>| {
            part.ok().flatten().map(|text| text.value().to_string()).unwrap_or_default()
        };
        let validities = || certificates.iter().map(|one| one.tbs_certificate().validity());
        let start = validities().map(|one| one.not_before.to_unix_duration()).max();
        let end = validities().map(|one| one.not_after.to_unix_duration()).min();
        let (start, end) = start.zip(end).filter(|(s, e)| s <= e).ok_or(ChainError::NeverValid)?;
        Ok(Self {
            ders,
            organization: text(name.organization()),
            common_name: text(name.common_name()),
            start: time(start)?,
            end: time(end)?,
        })
    }

    /// The certificates in DER, at least one, the authority's own first.
    pub fn ders(&self) -> &[Vec<u8>] {
        &self.ders
    }

    /// The organisation in the name of the root; empty if it has none.
    pub fn organization(&self) -> &str {
        &self.organization
    }

    /// The common name of the root; empty if it has none.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// The first and the last second in which all certificates are valid (RFC 3339).
    pub fn valid(&self) -> (&str, &str) {
        (&self.start, &self.end)
    }
}

/// The certificates of a file, at least one, each issued by the next.
fn read(pem: &str) -> Result<(Vec<Vec<u8>>, Vec<X509>), ChainError> {
    let ders = blocks(pem)?;
    let parse = |(index, der): (usize, &Vec<u8>)| {
        let malformed = ChainError::Malformed { at: index + 1 };
        if der.len() > CERTIFICATE_LEN_MAX {
            return Err(malformed);
        }
        X509::from_der(der).map_err(|_| malformed)
    };
    let certificates: Vec<X509> = ders.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
    for (index, pair) in certificates.windows(2).enumerate() {
        let (one, next) = (pair[0].tbs_certificate(), pair[1].tbs_certificate());
        // A root issued itself, so it is in its place only at the end.
        if one.issuer() != next.subject() || one.issuer() == one.subject() {
            return Err(ChainError::Order { at: index + 1 });
        }
    }
    Ok((ders, certificates))
}

/// The DER of each block. Text around blocks, such as OpenSSL writes, is passed over; a block of
/// another kind is not.
fn blocks(pem: &str) -> Result<Vec<Vec<u8>>, ChainError> {
    let mut ders = Vec::new();
    let mut rest = pem;
    while let Some(begin) = rest.find(BEGIN) {
        let block = &rest[begin..];
        let end = block.find(END).map(|end| end + END.len()).ok_or(ChainError::NotPem)?;
        if ders.len() == CHAIN_MAX {
            return Err(ChainError::TooMany);
        }
        ders.push(pem::decode(&block[..end], "CERTIFICATE").ok_or(ChainError::NotPem)?);
        rest = &block[end..];
    }
    if ders.is_empty() { Err(ChainError::NotPem) } else { Ok(ders) }
}

fn check_authorities(certificates: &[X509], from: usize) -> Result<(), ChainError> {
    let other = certificates.iter().skip(from).position(|one| !is_authority(one));
    other.map_or(Ok(()), |index| Err(ChainError::NotAuthority { at: from + index + 1 }))
}

fn is_authority(certificate: &X509) -> bool {
    let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    matches!(constraints, Ok(Some((_, constraints))) if constraints.ca)
}

fn time(since_1970: Duration) -> Result<String, ChainError> {
    let time = DateTime::from_unix_duration(since_1970).map_err(|_| ChainError::NeverValid)?;
    Ok(time.to_string())
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END CERTIFICATE-----";

/// id-kp-timeStamping (RFC 5280, 4.2.1.12).
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

#[cfg(test)]
mod tests;
