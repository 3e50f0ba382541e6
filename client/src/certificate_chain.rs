//! Whether a trusted authority certifies a signer's certificate (RFC 5280, by rustls-webpki).
//!
//! The leaf must not be an authority itself, and if it lists extended key usages, code signing must
//! be among them. Chain and leaf must be valid at one given time.
//! Out of scope: revocation, name constraints beyond the library's, certificate transparency.

use rustls_pki_types::{CertificateDer, UnixTime};
use treering_proto::certificate::Certificate;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// id-kp-codeSigning, 1.3.6.1.5.5.7.3.3, without tag and length.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

/// Why a certificate is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The trust file has no authorities.
    #[error("the trust file has no certificateAuthorities")]
    NoAuthorities,
    /// Not usable as a certificate of a signer.
    #[error("the certificate cannot be used: {0}")]
    Leaf(#[source] webpki::Error),
    /// An authority of the trust file cannot be used.
    #[error("an authority of the trust file cannot be used: {0}")]
    Authority(#[source] webpki::Error),
    /// No chain leads to an authority.
    #[error("no chain to a trusted authority: {0}")]
    NoChain(#[source] webpki::Error),
}

/// Checks that one of `authorities` certifies `leaf` at `time`, in Unix seconds, through any of
/// `intermediates` (DER).
///
/// # Errors
/// [`ChainError`].
pub fn check_chain(
    leaf: &Certificate,
    intermediates: &[Vec<u8>],
    authorities: &[Certificate],
    time: u64,
) -> Result<(), ChainError> {
    if authorities.is_empty() {
        return Err(ChainError::NoAuthorities);
    }
    let roots: Vec<CertificateDer<'_>> =
        authorities.iter().map(|root| CertificateDer::from(root.der())).collect();
    let anchors = roots
        .iter()
        .map(anchor_from_trusted_cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(ChainError::Authority)?;
    let intermediates: Vec<CertificateDer<'_>> =
        intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let der = CertificateDer::from(leaf.der());
    let end_entity = EndEntityCert::try_from(&der).map_err(ChainError::Leaf)?;
    end_entity
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &intermediates,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(time)),
            KeyUsage::required_if_present(CODE_SIGNING),
            None,
            None,
        )
        .map(|_| ())
        .map_err(ChainError::NoChain)
}

#[cfg(test)]
pub(crate) mod tests;
