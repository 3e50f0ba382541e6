//! The signer's private key: made, stored, read, used.
//!
//! ECDSA on P-256 (SHA-256) or P-384 (SHA-384), the two that every OpenSSF Model Signing verifier
//! knows. Stored as PKCS#8 PEM (RFC 5958), encrypted with PBES2 (RFC 8018): PBKDF2-HMAC-SHA256 and
//! AES-256-CBC, which OpenSSL 3 and Python's `cryptography` read.
//!
//! Invariants: a key file is created with mode 0600 and never overwritten; key bytes are wiped when
//! dropped. Out of scope: hardware tokens, SEC 1 (`EC PRIVATE KEY`) and PKCS#1 files, which OpenSSL
//! converts.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
};
use pkcs8::der::Decode as _;
use pkcs8::der::pem::PemLabel as _;
use pkcs8::pkcs5::pbes2;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use treering_proto::key::PublicKey;
use zeroize::Zeroizing;

/// PBKDF2 rounds: the OWASP advice for HMAC-SHA256, a third of a second here.
pub const PBKDF2_ROUNDS: u32 = 600_000;

/// The longest key file read: an encrypted P-384 key is 500 bytes, comments in front of it may be
/// more.
pub const KEY_FILE_LEN_MAX: u64 = 16 * 1024;

/// The curves that keys are made on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Curve {
    /// NIST P-256 with SHA-256.
    P256,
    /// NIST P-384 with SHA-384.
    P384,
}

/// A private key that can sign.
pub struct PrivateKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateKeyError {
    /// The system refused.
    #[error("cannot read the key: {0}")]
    Read(#[source] io::Error),
    /// The system refused.
    #[error("cannot write the key: {0}")]
    Write(#[source] io::Error),
    /// The file is there already.
    #[error("the file exists, and keys are never overwritten")]
    Exists,
    /// No private key in PKCS#8 PEM.
    #[error("not a private key in PKCS#8 PEM (`PRIVATE KEY` or `ENCRYPTED PRIVATE KEY`)")]
    NotPkcs8,
    /// An older container of an elliptic-curve or RSA key.
    #[error("a private key in the older format `{0}`")]
    OldFormat(&'static str),
    /// Encrypted, and no password came.
    #[error("the key is encrypted and needs a password")]
    NeedsPassword,
    /// The password does not open it.
    #[error("the password does not open the key")]
    WrongPassword,
    /// Encrypted in a way that is not PBES2.
    #[error("the key is encrypted in an unsupported way")]
    UnsupportedEncryption,
    /// Another algorithm or curve.
    #[error("not an ECDSA key on P-256 or P-384")]
    UnsupportedKey,
    /// Random numbers or signing failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

impl PrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`PrivateKeyError::Crypto`].
    pub fn generate(curve: Curve) -> Result<Self, PrivateKeyError> {
        let pair = EcdsaKeyPair::generate(algorithm(curve)).map_err(|_| PrivateKeyError::Crypto)?;
        Self::from_pair(pair)
    }

    /// Reads a key file; `password` is asked only when the key is encrypted.
    ///
    /// # Errors
    /// Every [`PrivateKeyError`] but `Write` and `Exists`.
    pub fn load(
        path: &Path,
        password: impl FnOnce() -> Result<Zeroizing<String>, PrivateKeyError>,
    ) -> Result<Self, PrivateKeyError> {
        let metadata = std::fs::metadata(path).map_err(PrivateKeyError::Read)?;
        if metadata.len() > KEY_FILE_LEN_MAX {
            return Err(PrivateKeyError::NotPkcs8);
        }
        let text = std::fs::read_to_string(path).map_err(PrivateKeyError::Read)?;
        Self::from_pem(&Zeroizing::new(text), password)
    }

    /// Reads PEM; `password` is asked only when the key is encrypted.
    ///
    /// # Errors
    /// As for [`PrivateKey::load`].
    pub fn from_pem(
        text: &str,
        password: impl FnOnce() -> Result<Zeroizing<String>, PrivateKeyError>,
    ) -> Result<Self, PrivateKeyError> {
        for label in ["EC PRIVATE KEY", "RSA PRIVATE KEY"] {
            if text.contains(&format!("-----BEGIN {label}-----")) {
                return Err(PrivateKeyError::OldFormat(label));
            }
        }
        // `openssl ec` and others print parameters or comments before the key.
        let start = text.find("-----BEGIN ").ok_or(PrivateKeyError::NotPkcs8)?;
        let (label, document) = SecretDocument::from_pem(text[start..].trim_end())
            .map_err(|_| PrivateKeyError::NotPkcs8)?;
        if label == PrivateKeyInfoRef::PEM_LABEL {
            return Self::from_pkcs8(document.as_bytes());
        }
        if label != EncryptedPrivateKeyInfoRef::PEM_LABEL {
            return Err(PrivateKeyError::NotPkcs8);
        }
        let encrypted = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes())
            .map_err(|_| PrivateKeyError::UnsupportedEncryption)?;
        if encrypted.encryption_algorithm.pbes2().is_none() {
            return Err(PrivateKeyError::UnsupportedEncryption);
        }
        let plain = encrypted
            .decrypt(password()?.as_bytes())
            .map_err(|_| PrivateKeyError::WrongPassword)?;
        Self::from_pkcs8(plain.as_bytes())
    }

    /// The key as PKCS#8 PEM, encrypted when there is a password.
    ///
    /// # Errors
    /// [`PrivateKeyError::Crypto`].
    pub fn to_pem(&self, password: Option<&str>) -> Result<Zeroizing<String>, PrivateKeyError> {
        let plain = self.pair.to_pkcs8v1().map_err(|_| PrivateKeyError::Crypto)?;
        let info = PrivateKeyInfoRef::from_der(plain.as_ref())
            .expect("the library writes PKCS#8 that it can read");
        let document = match password {
            None => {
                let document = SecretDocument::try_from(plain.as_ref())
                    .expect("the library writes PKCS#8 in DER");
                return document
                    .to_pem(PrivateKeyInfoRef::PEM_LABEL, LineEnding::LF)
                    .map_err(|_| PrivateKeyError::Crypto);
            }
            Some(password) => {
                let (mut salt, mut iv) = ([0; 16], [0; 16]);
                getrandom::fill(&mut salt).map_err(|_| PrivateKeyError::Crypto)?;
                getrandom::fill(&mut iv).map_err(|_| PrivateKeyError::Crypto)?;
                let parameters =
                    pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(PBKDF2_ROUNDS, &salt, iv)
                        .map_err(|_| PrivateKeyError::Crypto)?;
                info.encrypt_with_params(parameters, password.as_bytes())
                    .map_err(|_| PrivateKeyError::Crypto)?
            }
        };
        document
            .to_pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, LineEnding::LF)
            .map_err(|_| PrivateKeyError::Crypto)
    }

    /// The other half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// An ASN.1 DER signature over `message`, with the hash of the curve.
    ///
    /// # Errors
    /// [`PrivateKeyError::Crypto`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
        let signature =
            self.pair.sign(&SystemRandom::new(), message).map_err(|_| PrivateKeyError::Crypto)?;
        Ok(signature.as_ref().to_vec())
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, PrivateKeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .or_else(|_| EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, der))
            .map_err(|_| PrivateKeyError::UnsupportedKey)?;
        Self::from_pair(pair)
    }

    fn from_pair(pair: EcdsaKeyPair) -> Result<Self, PrivateKeyError> {
        let spki = pair.public_key().as_der().map_err(|_| PrivateKeyError::Crypto)?;
        let public = PublicKey::from_spki_der(spki.as_ref())
            .expect("a key pair on P-256 or P-384 has a public key that is supported");
        Ok(Self { pair, public })
    }
}

/// Writes a new file that only its owner can read, and makes it durable.
///
/// # Errors
/// [`PrivateKeyError::Exists`] and [`PrivateKeyError::Write`].
pub fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), PrivateKeyError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(PrivateKeyError::Exists);
        }
        Err(error) => return Err(PrivateKeyError::Write(error)),
    };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(PrivateKeyError::Write)
}

fn algorithm(curve: Curve) -> &'static aws_lc_rs::signature::EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    fn no_password() -> Result<Zeroizing<String>, PrivateKeyError> {
        Err(PrivateKeyError::NeedsPassword)
    }

    fn password(text: &str) -> impl FnOnce() -> Result<Zeroizing<String>, PrivateKeyError> {
        let text = text.to_owned();
        move || Ok(Zeroizing::new(text))
    }

    #[test]
    fn keys_survive_storage_and_sign_what_their_public_half_verifies() {
        for curve in [Curve::P256, Curve::P384] {
            let key = PrivateKey::generate(curve).unwrap();
            for secret in [None, Some("correct horse")] {
                let pem = key.to_pem(secret).unwrap();
                let again = PrivateKey::from_pem(&pem, password("correct horse")).unwrap();
                assert_eq!(again.public_key(), key.public_key());
                let signature = again.sign(b"message").unwrap();
                key.public_key().verify(b"message", &signature).unwrap();
                assert!(key.public_key().verify(b"other", &signature).is_err());
            }
        }
    }

    #[test]
    fn an_encrypted_key_needs_its_password() {
        let pem = PrivateKey::generate(Curve::P256).unwrap().to_pem(Some("right")).unwrap();
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        let wrong = PrivateKey::from_pem(&pem, password("wrong"));
        assert!(matches!(wrong, Err(PrivateKeyError::WrongPassword)));
        assert!(matches!(
            PrivateKey::from_pem(&pem, no_password),
            Err(PrivateKeyError::NeedsPassword)
        ));
    }

    #[test]
    fn key_files_are_private_and_never_overwritten() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("key.pem");
        write_new(&path, "one", 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(write_new(&path, "two", 0o600), Err(PrivateKeyError::Exists)));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
    }

    #[test]
    fn openssl_reads_our_keys_and_we_read_its() {
        let dir = tempfile::TempDir::new().unwrap();
        let (ours, theirs) = (dir.path().join("ours.pem"), dir.path().join("theirs.pem"));
        let key = PrivateKey::generate(Curve::P384).unwrap();
        write_new(&ours, &key.to_pem(Some("secret")).unwrap(), 0o600).unwrap();
        let openssl = |arguments: &[&str]| {
            let output =
                Command::new("openssl").args(arguments).current_dir(&dir).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let public = openssl(&["pkey", "-in", "ours.pem", "-passin", "pass:secret", "-pubout"]);
        assert_eq!(public, key.public_key().to_pem());
        let made = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
        openssl(
            &[&["genpkey", "-out", "theirs.pem", "-aes256", "-pass", "pass:x"], &made[..]].concat(),
        );
        let read = PrivateKey::load(&theirs, password("x")).unwrap();
        let public = openssl(&["pkey", "-in", "theirs.pem", "-passin", "pass:x", "-pubout"]);
        assert_eq!(public, read.public_key().to_pem());
    }

    #[test]
    fn other_files_are_refused_by_what_they_are() {
        let old = "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n";
        let error = PrivateKey::from_pem(old, no_password).err().unwrap();
        assert!(matches!(error, PrivateKeyError::OldFormat("EC PRIVATE KEY")));
        let public = PrivateKey::generate(Curve::P256).unwrap().public_key().to_pem();
        for text in [public.as_str(), "", "hello"] {
            let error = PrivateKey::from_pem(text, no_password).err().unwrap();
            assert!(matches!(error, PrivateKeyError::NotPkcs8), "{text}");
        }
    }
}
