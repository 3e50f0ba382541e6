//! A certificate authority for one test, and what it certifies: servers and clients of TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// An authority with a key of its own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new authority.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn new() -> Self {
        let mut params = params();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("it signs itself");
        Self { issuer }
    }

    /// Its own certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server on this machine.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn server(&self) -> Certified {
        let names = [
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::DnsName("localhost".try_into().expect("a name")),
        ];
        self.certify(&names, ExtendedKeyUsagePurpose::ServerAuth, 2050)
    }

    /// A client with this URI as its name.
    ///
    /// # Panics
    /// If the system has no randomness, or the URI is not ASCII.
    pub fn client(&self, uri: &str) -> Certified {
        let names = [SanType::URI(uri.try_into().expect("an ASCII URI"))];
        self.certify(&names, ExtendedKeyUsagePurpose::ClientAuth, 2050)
    }

    /// A client whose certificate ended long ago.
    ///
    /// # Panics
    /// As [`Authority::client`].
    pub fn expired_client(&self, uri: &str) -> Certified {
        let names = [SanType::URI(uri.try_into().expect("an ASCII URI"))];
        self.certify(&names, ExtendedKeyUsagePurpose::ClientAuth, 2001)
    }

    fn certify(&self, names: &[SanType], usage: ExtendedKeyUsagePurpose, last: i32) -> Certified {
        let key = key();
        let mut params = params();
        params.subject_alt_names = names.to_vec();
        params.extended_key_usages = vec![usage];
        params.not_after = rcgen::date_time_ymd(last, 1, 1);
        let signed = params.signed_by(&key, &self.issuer).expect("the authority signs");
        Certified { certificate: signed.pem(), key: key.serialize_pem() }
    }

    /// How a client talks TLS that trusts this authority alone, and shows `shown` if it has one.
    ///
    /// # Panics
    /// If what was certified cannot be read back.
    pub fn client_config(&self, shown: Option<&Certified>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("TLS 1.2 and 1.3");
        let builder = builder.with_root_certificates(roots);
        Arc::new(match shown {
            None => builder.with_no_client_auth(),
            Some(Certified { certificate, key }) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                let chain = vec![certificate.expect("a certificate")];
                builder.with_client_auth_cert(chain, key).expect("they belong together")
            }
        })
    }
}

impl Certified {
    /// Writes `NAME.pem` and `NAME.key` into `directory`; each is replaced as a whole.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let paths = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
        for (path, text) in [(&paths.0, &self.certificate), (&paths.1, &self.key)] {
            let new = path.with_extension("new");
            fs::write(&new, text).expect("there is room");
            fs::rename(&new, path).expect("a file can be replaced");
        }
        paths
    }
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2050, 1, 1);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("randomness")
}
