//! The timestamp authority of a log (RFC 3161): signs the time at which it was shown a digest.
//!
//! Sigstore's clients need one: what Rekor v2 logs carries no time, and a certificate of ten
//! minutes proves nothing without. Its word is that of the machine that the log runs on, by the
//! log's own clock; it is no third party. Witnesses are, and bound the same times.
//!
//! Invariants: a time is signed only when the log may date entries, too (`crate::clock`), never one
//! before another that this process signed, and only while every certificate of the chain is valid;
//! the key never leaves this module; the key of the root signed two certificates and is gone.
//! Nothing is remembered of a request, and nothing of it is logged: it shows a digest, and takes no
//! room. Out of scope: revocation, more than one policy, other algorithms than ECDSA P-256.

mod certificates;

use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use treering_proto::certificate::{Certificate, CertificateError};
use treering_proto::hash::{Hash, sha256};
use treering_proto::timestamp::{
    SERIAL_LEN, StampCertificate, StampCertificateError, TimestampRequest, Token,
};

pub use self::certificates::{NewAuthority, VALIDITY_DAYS};
use crate::clock::{self, BatchClock, ClockError};
use crate::data_directory::{DataDirectory, DirectoryError};
use crate::signer::{KeyFileError, decode_key, read_key};

/// The longest chain that is read: a leaf, its root, and some between.
const CHAIN_MAX: usize = 10;

/// Why a log has no usable timestamp authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The file of the key cannot be read.
    #[error("the log has certificates of a timestamp authority, and its key cannot be read: {0}")]
    Key(#[from] KeyFileError),
    /// The key is none.
    #[error("an unencrypted PKCS#8 PEM key of kind ECDSA P-256, and its certificates, are needed")]
    NotAKey,
    /// The certificates are none.
    #[error("the certificates are not PEM, or fewer than two, or more than {CHAIN_MAX}")]
    Chain,
    /// A certificate cannot be used.
    #[error("a certificate cannot be used: {0}")]
    Certificate(#[from] CertificateError),
    /// The first certificate is not for timestamps.
    #[error("the first certificate cannot be used: {0}")]
    Leaf(#[from] StampCertificateError),
    /// Key and certificate do not belong together.
    #[error("the first certificate is of another key")]
    OtherKey,
    /// The two copies of the certificates differ.
    #[error(
        "{path} is not the chain that stands with the key: make a new authority with \
         `treering-server timestamps init --replace`, or restore both files from one copy"
    )]
    OtherChain {
        /// Which file.
        path: PathBuf,
    },
}

/// Why no time is signed now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unstamped {
    /// The clock cannot be trusted.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// It is before or after the time for which the authority is certified.
    #[error(
        "the certificates of the log's timestamp authority are valid from {not_before} to \
         {not_after} (Unix seconds), and it is {now}"
    )]
    Expired {
        /// First second.
        not_before: u64,
        /// Last second.
        not_after: u64,
        /// The time now.
        now: u64,
    },
}

/// The key, and what certifies it.
pub struct Authority {
    key: EcdsaKeyPair,
    random: SystemRandom,
    certificate: StampCertificate,
    chain: String,
    not_before: u64,
    not_after: u64,
}

/// An authority at work: it shares the clock of the log.
pub struct Timestamps {
    /// Who signs.
    pub authority: Authority,
    clock: BatchClock,
}

impl Authority {
    /// Reads the authority of the log in `data`; `None` if it has none.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn load(data: &Path) -> Result<Option<Self>, AuthorityError> {
        let Some(chain) = DataDirectory::public(data)?.timestamp_chain else { return Ok(None) };
        let authority = Self::parse(&read_key(&DataDirectory::keys_in(data).timestamp)?)?;
        match authority.chain == chain {
            true => Ok(Some(authority)),
            false => Err(AuthorityError::OtherChain { path: DataDirectory::timestamp_chain(data) }),
        }
    }

    /// Reads the file of the key: the key, then the certificates, the leaf first and the root last.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn parse(file: &str) -> Result<Self, AuthorityError> {
        let end = file.find(CERTIFICATE_BEGIN).ok_or(AuthorityError::NotAKey)?;
        let (key, chain) = file.split_at(end);
        let key = decode_key(key).ok_or(AuthorityError::NotAKey)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key)
            .map_err(|_| AuthorityError::NotAKey)?;
        let ders = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let ders = ders.map_err(|_| AuthorityError::Chain)?;
        if !(2..=CHAIN_MAX).contains(&ders.len()) {
            return Err(AuthorityError::Chain);
        }
        let read: Result<Vec<_>, _> = ders.iter().map(|der| Certificate::from_der(der)).collect();
        let read = read?;
        let certificate = StampCertificate::from_der(&ders[0])?;
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key());
        if spki.map_err(|_| AuthorityError::NotAKey)?.as_ref() != read[0].key().spki_der() {
            return Err(AuthorityError::OtherKey);
        }
        Ok(Self {
            key,
            random: SystemRandom::new(),
            certificate,
            chain: chain.to_owned(),
            not_before: read.iter().map(Certificate::not_before).max().unwrap_or(u64::MAX),
            not_after: read.iter().map(Certificate::not_after).min().unwrap_or(0),
        })
    }

    /// The certificates, PEM, the leaf first and the root last.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// Whose word a timestamp is, as its certificate calls it (RFC 4514).
    pub fn subject(&self) -> &str {
        self.certificate.subject()
    }

    /// SHA-256 of the leaf certificate.
    pub fn fingerprint(&self) -> Hash {
        sha256(self.certificate.der())
    }

    /// First second at which it may sign, Unix time.
    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// Last second at which it may sign, Unix time.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// Whether it may sign at `now`, Unix seconds.
    ///
    /// # Errors
    /// [`Unstamped::Expired`].
    pub fn check_validity(&self, now: u64) -> Result<(), Unstamped> {
        let (not_before, not_after) = (self.not_before, self.not_after);
        match (not_before..=not_after).contains(&now) {
            true => Ok(()),
            false => Err(Unstamped::Expired { not_before, not_after, now }),
        }
    }

    /// The answer to `request` at `time`, Unix seconds, which the certificates cover.
    fn sign(&self, request: &TimestampRequest, time: u64) -> Vec<u8> {
        let mut serial = [0; SERIAL_LEN];
        getrandom::fill(&mut serial).expect("the system has randomness");
        let token = Token::new(request, &self.certificate, serial, time);
        let token = token.expect("a time that a certificate covers has a form");
        let signature = self.key.sign(&self.random, token.to_sign());
        let signature = signature.expect("a P-256 key signs any message");
        token.reply(signature.as_ref()).expect("a signature is short")
    }
}

impl Timestamps {
    /// The authority of a log that is dated by `clock`.
    pub fn new(authority: Authority, clock: BatchClock) -> Self {
        Self { authority, clock }
    }

    /// The answer to `request`, `TimeStampResp` in DER, with the time of now.
    ///
    /// # Errors
    /// [`Unstamped`]; nothing was signed.
    pub fn stamp(&self, request: &TimestampRequest) -> Result<Vec<u8>, Unstamped> {
        self.stamp_at(request, clock::read())
    }

    fn stamp_at(
        &self,
        request: &TimestampRequest,
        now: clock::Reading,
    ) -> Result<Vec<u8>, Unstamped> {
        let time = self.clock.stamp(now)? / 1000;
        self.authority.check_validity(time)?;
        Ok(self.authority.sign(request, time))
    }
}

const CERTIFICATE_BEGIN: &str = "-----BEGIN CERTIFICATE-----";

#[cfg(test)]
pub(crate) mod tests;
