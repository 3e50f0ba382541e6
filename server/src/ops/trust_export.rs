//! `trust export`: the files that a verifier needs, to be handed over out of band.

use std::fs;
use std::path::{Path, PathBuf};

use treering_proto::identity::{IdentityError, LogIdentity};
use treering_proto::note::{NoteKey, NoteKeyError};
use treering_proto::trust::{
    IdentityDocument, ModelPolicy, TrustError, TrustFile, TrustedLog, WitnessPolicy,
};

use crate::data_directory::{DataDirectory, DirectoryError, PublicFiles};

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
    /// The witness policy is not one for this log.
    #[error("{path}: {source}")]
    WitnessPolicy {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: TrustError,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Writes the files into `out`; returns their paths. Needs no lock: what it reads never changes.
///
/// `witness_policy` is the file of the policy that verifiers shall ask for.
pub fn export(
    data: &Path,
    witness_policy: Option<&Path>,
    out: &Path,
) -> Result<Vec<PathBuf>, ExportError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ExportError::Io { path, source }
    };
    let PublicFiles { url, identity: document, ml_dsa_vkey } = DataDirectory::public(data)?;
    let identity = LogIdentity::open(document.as_bytes())?;
    let ml_dsa_key = ml_dsa_vkey.map(|vkey| NoteKey::parse_vkey(&vkey)).transpose()?;
    let keys = [Some(identity.note_key().clone()), Some(identity.v1_note_key()), ml_dsa_key];
    let log = TrustedLog {
        url,
        origin: identity.origin().to_owned(),
        keys: keys.into_iter().flatten().collect(),
        identity: Some(IdentityDocument { text: document.clone(), identity: identity.clone() }),
    };
    let read = |path: &Path| {
        let text = fs::read_to_string(path).map_err(failed(path))?;
        let wrong = |source| ExportError::WitnessPolicy { path: path.to_owned(), source };
        WitnessPolicy::parse(text, &log).map_err(wrong)
    };
    let witness_policy = witness_policy.map(read).transpose()?;
    let trust = TrustFile {
        log,
        floor: None,
        witness_policy,
        max_checkpoint_age: None,
        certificate_authorities: Vec::new(),
        timestamp_authorities: Vec::new(),
        signers: Vec::new(),
        model_policy: ModelPolicy::default(),
    };
    let mut files = vec![
        ("trust.json", trust.format()),
        ("identity", document.clone()),
        ("note.vkey", format!("{}\n", identity.note_key().to_vkey())),
        ("v1.pem", identity.v1_key().to_pem()),
    ];
    if let Some(key) = trust.log.time_key() {
        files.push(("ml-dsa.vkey", format!("{}\n", key.to_vkey())));
    }
    fs::create_dir_all(out).map_err(failed(out))?;
    let mut written = Vec::new();
    for (name, content) in files {
        let path = out.join(name);
        fs::write(&path, content).map_err(failed(&path))?;
        written.push(path);
    }
    Ok(written)
}
