//! `trust export`: the files that a verifier needs, to be handed over out of band.

use std::fs;
use std::path::{Path, PathBuf};

use treering_proto::identity::{IdentityError, LogIdentity};
use treering_proto::trust::{IdentityDocument, TrustFile, TrustedLog};

use crate::data_directory::{DataDirectory, DirectoryError};

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The directory is not a log.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its identity document is damaged.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file could not be written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Writes the files into `out`; returns their paths. Needs no lock: what it reads never changes.
pub fn export(data: &Path, out: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let (url, document) = DataDirectory::public(data)?;
    let identity = LogIdentity::open(document.as_bytes())?;
    let trust = TrustFile {
        log: TrustedLog {
            url,
            origin: identity.origin().to_owned(),
            keys: vec![identity.note_key().clone(), identity.v1_note_key()],
            identity: Some(IdentityDocument { text: document.clone(), identity: identity.clone() }),
        },
        floor: None,
        witness_policy: None,
        certificate_authorities: Vec::new(),
        timestamp_authorities: Vec::new(),
        signers: Vec::new(),
    };
    let files = [
        ("trust.json", trust.format()),
        ("identity", document.clone()),
        ("note.vkey", format!("{}\n", identity.note_key().to_vkey())),
        ("v1.pem", identity.v1_key().to_pem()),
    ];
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ExportError::Io { path, source }
    };
    fs::create_dir_all(out).map_err(failed(out))?;
    let mut written = Vec::new();
    for (name, content) in files {
        let path = out.join(name);
        fs::write(&path, content).map_err(failed(&path))?;
        written.push(path);
    }
    Ok(written)
}
