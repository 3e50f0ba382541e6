//! A leaf certificate together with those that lead from it to a root, as Rekor v1 takes them in
//! place of a public key.
//!
//! A log knows no authorities: the root is whatever the submitter put last, so a chain proves
//! nothing about who somebody is. It is checked all the same, as Rekor checks it, so that no chain
//! is logged which leads nowhere. It is not checked again when a logged entry is read: what is
//! logged must be readable with every later version of the library.
//!
//! Invariant: a chain that was checked has one way to its root, for no subject but the leaf's
//! occurs twice in it. Where each certificate could be issued by each other one, looking for a way
//! would take a stranger's submission as long as it likes.
//!
//! Two chains that Rekor takes are refused: one whose leaf is a CA, which the library does not take
//! for an end entity, and one that has a subject twice among the issuers.
//!
//! Out of scope: revocation, and whom to believe.

use std::collections::BTreeSet;

use der::{Decode as _, Encode as _};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    anchor_from_trusted_cert,
};
use x509_cert::time::Time;

use super::{CERTIFICATE_LEN_MAX, Certificate, CertificateError, PEM_LABEL, X509, pem};

/// Certificates in one chain, leaf and root included, as in Rekor.
pub const CHAIN_LEN_MAX: usize = 10;

/// A leaf certificate and at least one more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateChain {
    leaf: Certificate,
    /// DER of the others; the root is the last of them.
    issuers: Vec<Vec<u8>>,
}

impl CertificateChain {
    /// Reads 2 to [`CHAIN_LEN_MAX`] certificates in DER, the leaf first and the root last. Whether
    /// they lead from one to the other is for [`Self::check`].
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_ders(ders: &[Vec<u8>]) -> Result<Self, CertificateError> {
        if ders.len() > CHAIN_LEN_MAX {
            return Err(CertificateError::TooManyCertificates);
        }
        let [leaf, issuers @ ..] = ders else { return Err(CertificateError::NotPem) };
        let is_malformed =
            |der: &Vec<u8>| der.len() > CERTIFICATE_LEN_MAX || X509::from_der(der).is_err();
        if issuers.is_empty() || issuers.iter().any(is_malformed) {
            return Err(CertificateError::Malformed);
        }
        Ok(Self { leaf: Certificate::from_der(leaf)?, issuers: issuers.to_vec() })
    }

    /// The certificate of the signer.
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// PEM of all of them, one after the other, each as Go writes it.
    pub fn to_pem(&self) -> String {
        let issuers = self.issuers.iter().map(|der| pem::encode(der, PEM_LABEL));
        std::iter::once(self.leaf.to_pem()).chain(issuers).collect()
    }

    /// Checks that the chain leads from the leaf to the root (RFC 5280) in the first second in
    /// which the leaf is valid, whatever the certificates are meant to be used for. Those between
    /// them may stand in any order.
    ///
    /// # Errors
    /// [`CertificateError::AmbiguousChain`], [`CertificateError::RootNotValid`],
    /// [`CertificateError::Chain`].
    pub fn check(&self) -> Result<(), CertificateError> {
        let time = self.leaf.not_before();
        self.check_root_and_subjects(time)?;
        let (root, between) = self.issuers.split_last().expect("a chain has more than a leaf");
        let root = CertificateDer::from(root.as_slice());
        let anchors = [anchor_from_trusted_cert(&root).map_err(CertificateError::Chain)?];
        let between: Vec<CertificateDer<'_>> =
            between.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let leaf = CertificateDer::from(self.leaf.der());
        let leaf = EndEntityCert::try_from(&leaf).map_err(CertificateError::Chain)?;
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(time));
        leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &between, time, AnyUse, None, None)
            .map(|_| ())
            .map_err(CertificateError::Chain)
    }

    /// What the library does not look at: roots have no validity for it, and subjects may be alike.
    fn check_root_and_subjects(&self, time: u64) -> Result<(), CertificateError> {
        let mut subjects = BTreeSet::new();
        let mut is_valid = false;
        for der in &self.issuers {
            let issuer = X509::from_der(der).map_err(|_| CertificateError::Malformed)?;
            let issuer = issuer.tbs_certificate();
            let subject = issuer.subject().to_der().map_err(|_| CertificateError::Malformed)?;
            if !subjects.insert(subject) {
                return Err(CertificateError::AmbiguousChain);
            }
            let seconds = |time: &Time| time.to_unix_duration().as_secs();
            let validity = issuer.validity();
            // The last one is the root.
            is_valid =
                (seconds(&validity.not_before)..=seconds(&validity.not_after)).contains(&time);
        }
        if is_valid { Ok(()) } else { Err(CertificateError::RootNotValid) }
    }
}

/// Any extended key usage.
struct AnyUse;

impl ExtendedKeyUsageValidator for AnyUse {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        usages.into_iter().try_for_each(|usage| usage.map(|_| ()))
    }
}

#[cfg(test)]
mod tests;
