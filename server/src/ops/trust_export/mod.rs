//! `trust export`: the files that a verifier needs, to be handed over out of band.
//!
//! ```text
//! trust.json                 what `treering` believes
//! identity, note.vkey, v1.pem, perhaps ml-dsa.vkey and timestamp-chain.pem: the public keys
//! policy                     the log and its witnesses in C2SP tlog-policy
//! trusted_root.json          what Sigstore's clients believe (`sigstore`)
//! signing_config.json        where they sign
//! client_trust_config.json   both in one, for sigstore-python and model_signing
//! ```
//!
//! Invariants: nothing is written unless everything is right; a file is replaced as a whole, and
//! one of a key that the log does not have, or does not hand out, is removed. The log's own
//! timestamp authority stands in the files for Sigstore's clients, and never in `trust.json`: there
//! a timestamp is a third party's word, and the log is none.

mod address;
mod own_timestamps;
mod sigstore;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use treering_proto::certificate::CertificateError;
use treering_proto::identity::{IdentityError, LogIdentity};
use treering_proto::key::KeyError;
use treering_proto::note::{NoteKey, NoteKeyError};
use treering_proto::policy::POLICY_LEN_MAX;
use treering_proto::sigstore::{ChainError, DocumentError};
use treering_proto::trust::{
    IdentityDocument, ModelPolicy, TrustError, TrustFile, TrustedLog, WitnessPolicy,
};

use self::address::Address;
use self::sigstore::documents;
use crate::data_directory::{DataDirectory, DirectoryError, PublicFiles};

pub use self::sigstore::{RekorFaces, SigstoreOptions, Timestamps};

/// The file of the public ML-DSA-44 key.
const ML_DSA_VKEY: &str = "ml-dsa.vkey";

/// The file of the certificates of the log's timestamp authority.
const TIMESTAMP_CHAIN: &str = "timestamp-chain.pem";

/// The files that not every export has.
const SOMETIMES: [&str; 2] = [ML_DSA_VKEY, TIMESTAMP_CHAIN];

/// What is exported, and where to.
#[derive(Clone, Debug)]
pub struct Export {
    /// The data directory of the log.
    pub data: PathBuf,
    /// The directory to write to.
    pub out: PathBuf,
    /// Where clients reach the log; where it was made for if this is `None`.
    pub url: Option<String>,
    /// The file of the policy that verifiers shall ask for.
    pub witness_policy: Option<PathBuf>,
    /// What stands in the files for Sigstore's clients.
    pub sigstore: SigstoreOptions,
}

/// What was exported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// The files, in the order in which they were written.
    pub files: Vec<PathBuf>,
    /// What a client will not do with them, a sentence each.
    pub warnings: Vec<String>,
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The directory is not a log.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its identity document is damaged.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its ML-DSA-44 key is damaged.
    #[error("ml-dsa.vkey: {0}")]
    MlDsaKey(#[from] NoteKeyError),
    /// The certificates of its timestamp authority are damaged.
    #[error("timestamp-chain.pem: {0}")]
    OwnChain(#[source] ChainError),
    /// The witness policy is not one for this log.
    #[error("{path}: {source}")]
    WitnessPolicy {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: TrustError,
    },
    /// Not an address of a service.
    #[error(
        "{flag} {url:?}: it needs http:// or https://, a host name, and no user, query or fragment"
    )]
    Url {
        /// Which flag.
        flag: &'static str,
        /// What was given.
        url: String,
    },
    /// A file of certificates is not the chain of an authority.
    #[error("{path}: {source}")]
    Chain {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: ChainError,
    },
    /// A certificate that `treering` cannot use.
    #[error("{path}: {source}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: CertificateError,
    },
    /// The log's own timestamp authority was given as another one's.
    #[error("{path} is the chain of the log's own timestamp authority; leave --timestamp-url out")]
    OwnTimestamps {
        /// Which file.
        path: PathBuf,
    },
    /// The address of the log's own timestamp authority was given as another one's.
    #[error(
        "--timestamp-url {url:?} is the address of the log's own timestamp authority; leave \
         --timestamp-url out"
    )]
    OwnTimestampUrl {
        /// What was given.
        url: String,
    },
    /// The files would be mixed up with those of the log.
    #[error("{path} is the data directory of the log; choose another directory with --out")]
    OutIsData {
        /// Which directory.
        path: PathBuf,
    },
    /// A file of a key cannot be used.
    #[error("{path}: {source}")]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: KeyError,
    },
    /// Addresses of logs of certificates that belong to no key.
    #[error("--ct-url must be given once for each --ct-key, in the same order, or not at all")]
    CtUrls,
    /// A file to take authorities and services from cannot be read.
    #[error("{path}: {source}")]
    Merge {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: DocumentError,
    },
    /// A file is longer than any of its kind.
    #[error("{path} is longer than {max} bytes")]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// How long it may be.
        max: usize,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Writes the files. Needs no lock: what it reads of the log does not change while it is served.
///
/// # Errors
/// [`ExportError`]; only [`ExportError::Io`] may have left files behind.
pub fn export(what: &Export) -> Result<Exported, ExportError> {
    let public = DataDirectory::public(&what.data)?;
    check_out(what)?;
    let PublicFiles { url, identity: document, ml_dsa_vkey, timestamp_chain } = public;
    let identity = LogIdentity::open(document.as_bytes())?;
    let address = Address::new(&url, what.url.as_deref(), identity.origin())?;
    let ml_dsa_key = ml_dsa_vkey.map(|vkey| NoteKey::parse_vkey(&vkey)).transpose()?;
    let keys = [Some(identity.note_key().clone()), Some(identity.v1_note_key()), ml_dsa_key];
    let log = TrustedLog {
        url: address.url.clone(),
        origin: identity.origin().to_owned(),
        keys: keys.into_iter().flatten().collect(),
        identity: Some(IdentityDocument { text: document.clone(), identity: identity.clone() }),
    };
    let witness_policy = match &what.witness_policy {
        Some(path) => Some(read_policy(path, &log)?),
        None => None,
    };
    let policy = policy_text(&log, witness_policy.as_ref());
    let chain = timestamp_chain.as_deref();
    let documents = documents(&what.sigstore, &identity, &address, chain)?;
    let trust = TrustFile {
        log,
        floor: None,
        witness_policy,
        max_checkpoint_age: None,
        certificate_authorities: Vec::new(),
        timestamp_authorities: documents.timestamp_authorities,
        signers: Vec::new(),
        model_policy: ModelPolicy::default(),
    };
    let mut files = vec![
        ("trust.json", trust.format()),
        ("identity", document),
        ("note.vkey", format!("{}\n", identity.note_key().to_vkey())),
        ("v1.pem", identity.v1_key().to_pem()),
        ("policy", policy),
        ("trusted_root.json", documents.config.trusted_root.format()),
        ("signing_config.json", documents.config.signing_config.format()),
        ("client_trust_config.json", documents.config.format()),
    ];
    if let Some(key) = trust.log.time_key() {
        files.push((ML_DSA_VKEY, format!("{}\n", key.to_vkey())));
    }
    if let Some(chain) = timestamp_chain.filter(|_| documents.has_own_timestamps) {
        files.push((TIMESTAMP_CHAIN, chain));
    }
    Ok(Exported { files: write_all(&what.out, &files)?, warnings: documents.warnings })
}

/// What an earlier export may have left is removed, and must not be the log's own.
fn check_out(what: &Export) -> Result<(), ExportError> {
    let data = what.data.canonicalize().map_err(failed(&what.data))?;
    // A directory that is not there is none yet; one that cannot be read fails when it is written.
    match what.out.canonicalize() {
        Ok(out) if out == data => Err(ExportError::OutIsData { path: out }),
        _ => Ok(()),
    }
}

fn read_policy(path: &Path, log: &TrustedLog) -> Result<WitnessPolicy, ExportError> {
    let not_text = || io::Error::new(io::ErrorKind::InvalidData, "it is not a text");
    let text = String::from_utf8(read(path, POLICY_LEN_MAX)?);
    let text = text.map_err(|_| failed(path)(not_text()))?;
    let wrong = |source| ExportError::WitnessPolicy { path: path.to_owned(), source };
    WitnessPolicy::parse(text, log).map_err(wrong)
}

/// The policy that a C2SP verifier takes: that of the witnesses, with the log in it.
fn policy_text(log: &TrustedLog, witnesses: Option<&WitnessPolicy>) -> String {
    let keys = log.checkpoint_keys();
    let knows = |witnesses: &WitnessPolicy| {
        witnesses.policy.logs().iter().any(|listed| keys.contains(&listed.key))
    };
    let ours = |key: &NoteKey| format!("log {} {}\n", key.to_vkey(), log.url);
    let rest = witnesses.map_or("quorum none\n", |witnesses| witnesses.text.as_str());
    match witnesses.is_some_and(knows) {
        true => rest.to_owned(),
        false => keys.iter().map(ours).chain([rest.to_owned()]).collect(),
    }
}

/// What stands in a file of at most `max` bytes.
fn read(path: &Path, max: usize) -> Result<Vec<u8>, ExportError> {
    let mut bytes = Vec::new();
    let opened = File::open(path);
    let read = opened.and_then(|file| file.take(max as u64 + 1).read_to_end(&mut bytes));
    read.map_err(failed(path))?;
    if bytes.len() > max {
        return Err(ExportError::TooLong { path: path.to_owned(), max });
    }
    Ok(bytes)
}

/// Writes all files durably beside their names before any gets its name, and removes those of an
/// earlier export that are not among them.
fn write_all(out: &Path, files: &[(&str, String)]) -> Result<Vec<PathBuf>, ExportError> {
    fs::create_dir_all(out).map_err(failed(out))?;
    let unfinished = |name: &str| out.join(format!("{name}.new"));
    let write = |(name, content): &(&str, String)| {
        let path = unfinished(name);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(content.as_bytes())?;
            file.sync_all()
        });
        written.map_err(failed(&path))
    };
    if let Err(error) = files.iter().try_for_each(write) {
        for (name, _) in files {
            // One that was not written is not there, and the first error says why.
            let _ = fs::remove_file(unfinished(name));
        }
        return Err(error);
    }
    let rename = |(name, _): &(&str, String)| -> Result<PathBuf, ExportError> {
        let path = out.join(name);
        fs::rename(unfinished(name), &path).map_err(failed(&path))?;
        Ok(path)
    };
    let renamed = files.iter().map(rename).collect::<Result<Vec<_>, _>>()?;
    for stale in SOMETIMES.iter().filter(|stale| files.iter().all(|(name, _)| name != *stale)) {
        let path = out.join(stale);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&path)(error));
            }
            _ => {}
        }
    }
    File::open(out).and_then(|directory| directory.sync_all()).map_err(failed(out))?;
    Ok(renamed)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ExportError + use<> {
    let path = path.to_owned();
    move |source| ExportError::Io { path, source }
}

#[cfg(test)]
mod tests;
