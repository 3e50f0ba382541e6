//! TLS of the server: certificate, key and the authorities of clients, from files that are read
//! again when they change.
//!
//! Invariants: one provider of cryptography for all of TLS; a connection that was accepted keeps
//! the certificate it began with; files that changed and make no sense leave the last good ones in
//! force, and an alarm (`treering_tls_reload_failures`). Out of scope: who a client certificate
//! belongs to and what it may do (`access`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use treering_proto::certificate::Certificate;

/// The longest PEM file that is read, in bytes: some hundred authorities.
const PEM_LEN_MAX: u64 = 1 << 20;

/// Where the files are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The server's certificate and its intermediates, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authorities of client certificates, PEM; without it clients are not asked.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the TLS file {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not PEM of what it should hold.
    #[error("the TLS file {path} holds {what}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Certificate and key do not fit, or an authority cannot be used.
    #[error("the TLS files {certificate} and {key} cannot be used: {source}")]
    Setup {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The authorities cannot be used.
    #[error("the TLS file {path} holds no usable authority: {why}")]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// What rustls says.
        why: String,
    },
}

/// TLS as it is spoken now. Shared by all connections.
pub struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

struct Current {
    /// Of the files that were tried last, whether they made sense or not.
    stamps: Vec<Stamp>,
    loaded: Loaded,
    /// Whether the files could not be read the last time, so that it is said once.
    is_unreadable: bool,
    failures: u64,
}

#[derive(Clone)]
struct Loaded {
    acceptor: TlsAcceptor,
    not_after: Option<u64>,
}

/// What changes when a file is written again.
type Stamp = Option<(SystemTime, u64, u64)>;

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        // Before the files: one that changes in between is read again.
        let stamps = files.stamps();
        let loaded = files.load()?;
        Ok(Self {
            files,
            current: Mutex::new(Current { stamps, loaded, is_unreadable: false, failures: 0 }),
        })
    }

    /// What a new connection speaks, by the files as they are now.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        if stamps != current.stamps {
            match self.files.load() {
                Ok(loaded) => {
                    tracing::info!("the TLS files changed; new connections use them");
                    current.loaded = loaded;
                }
                // What could not be read now may be read at the next connection.
                Err(TlsError::Read { path, source }) if !current.is_unreadable => {
                    tracing::error!(path = %path.display(), error = %source, "cannot read the TLS files");
                    current.is_unreadable = true;
                    current.failures += 1;
                    return current.loaded.acceptor.clone();
                }
                Err(TlsError::Read { .. }) => return current.loaded.acceptor.clone(),
                Err(error) => {
                    tracing::error!(%error, "the TLS files changed and cannot be used; the old ones stay");
                    current.failures += 1;
                }
            }
            current.stamps = stamps;
            current.is_unreadable = false;
        }
        current.loaded.acceptor.clone()
    }

    /// When the certificate in use ends, Unix seconds, if it can be read.
    pub fn not_after(&self) -> Option<u64> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).loaded.not_after
    }

    /// How often changed files could not be used.
    pub fn reload_failures(&self) -> u64 {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).failures
    }
}

impl TlsFiles {
    fn load(&self) -> Result<Loaded, TlsError> {
        let certificates = certificates(&self.certificate)?;
        let not_after = not_after(&certificates);
        let key = private_key(&self.key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let failed = |source| TlsError::Setup {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        };
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(authorities(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                // Reading needs no certificate; writing is decided later, request by request.
                let verifier = verifier.allow_unauthenticated().build();
                let verifier = verifier.map_err(|error| TlsError::Authorities {
                    path: path.clone(),
                    why: error.to_string(),
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(certificates, key).map_err(failed)?;
        if self.client_ca.is_some() {
            // A session that is resumed brings its certificate along unverified.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded { acceptor: TlsAcceptor::from(Arc::new(config)), not_after })
    }

    fn stamps(&self) -> Vec<Stamp> {
        let paths = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        paths.into_iter().flatten().map(|path| stamp(path)).collect()
    }
}

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > PEM_LEN_MAX {
        let what = format!("more than {PEM_LEN_MAX} bytes");
        return Err(TlsError::Pem { path: path.to_owned(), what });
    }
    std::fs::read(path).map_err(failed)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let wrong = |what: String| TlsError::Pem { path: path.to_owned(), what };
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let parsed = parsed.map_err(|error| wrong(format!("PEM that is damaged: {error}")))?;
    if parsed.is_empty() {
        return Err(wrong("no certificate in PEM".to_owned()));
    }
    Ok(parsed)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let wrong = |error| {
        let what = format!("no private key in PEM without a password: {error}");
        TlsError::Pem { path: path.to_owned(), what }
    };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(wrong)
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::Authorities {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// When the first certificate, the server's own, ends. `None` for one that rustls takes and our
/// reader of signers' certificates does not: it matters to an alarm only.
fn not_after(chain: &[CertificateDer<'_>]) -> Option<u64> {
    Some(Certificate::from_der(chain.first()?).ok()?.not_after())
}
