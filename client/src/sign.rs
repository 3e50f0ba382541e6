//! Signing a model: from hashed files to a bundle that only lacks its log entry.
//!
//! The bundle is one of OpenSSF Model Signing v1.0, method `key`: stock verifiers accept it with
//! the public key. Out of scope: hashing (see [`crate::hash_model`]), logging (see
//! [`crate::submit`]).

use std::path::Path;

use treering_proto::bundle::{Bundle, Content, Material};
use treering_proto::dsse_envelope::{Envelope, IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::model_statement::{ModelStatement, ModelStatementError, Resource};

use crate::hash_model::HashedModel;
use crate::history::version::Version;
use crate::private_key::{PrivateKey, PrivateKeyError};

/// Base names that half of all models have. As the name of a signed model they would make every
/// search by name useless, and a mix-up invisible.
const EMPTY_NAMES: [&str; 14] = [
    "artifact",
    "artifacts",
    "checkpoint",
    "checkpoints",
    "data",
    "final",
    "latest",
    "main",
    "model",
    "models",
    "out",
    "output",
    "outputs",
    "weights",
];

/// Why a model cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No log would take a statement about these files.
    #[error("no statement about this model can be logged: {0}")]
    Statement(#[from] ModelStatementError),
    /// The key failed.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
}

/// What the signer says about a model beside its files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// What verifiers shall not look at, relative to the model.
    pub ignore: Vec<String>,
    /// Whether links to files were followed.
    pub links_followed: bool,
}

/// Signs `model` with `key`.
///
/// # Errors
/// [`SignError`].
pub fn sign(
    model: &HashedModel,
    description: Description,
    key: &PrivateKey,
) -> Result<Bundle, SignError> {
    Ok(seal(describe(model, description)?.to_payload(), key)?)
}

/// What is to be signed about `model`.
///
/// # Errors
/// [`SignError::Statement`].
pub fn describe(
    model: &HashedModel,
    description: Description,
) -> Result<ModelStatement, SignError> {
    let Description { name, version, ignore, links_followed } = description;
    let statement = ModelStatement::new_files(&name, resources(model), ignore, version)?;
    Ok(if links_followed { statement.with_symlinks_followed() } else { statement })
}

/// Signs `payload`, an in-toto statement, with `key`.
///
/// # Errors
/// [`PrivateKeyError::Crypto`].
pub fn seal(payload: Vec<u8>, key: &PrivateKey) -> Result<Bundle, PrivateKeyError> {
    let signature = key.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload))?;
    Ok(Bundle {
        material: Material::PublicKey { hint: Some(key.public_key().pem_fingerprint().to_hex()) },
        log_entries: Vec::new(),
        timestamps: Vec::new(),
        content: Content::Envelope(Envelope::new(IN_TOTO_PAYLOAD_TYPE, payload, signature)),
    })
}

/// The files as a statement lists them.
pub fn resources(model: &HashedModel) -> Vec<Resource> {
    let resource = |file: &crate::hash_model::HashedFile| Resource {
        name: file.name.clone(),
        digest: file.digest.0.to_vec(),
    };
    model.files.iter().map(resource).collect()
}

/// The name that a path gives to the model there; `None` when it says nothing, as `.` and
/// `output/model.safetensors` do.
pub fn default_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let stem = match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() && path.is_file() => stem,
        _ => name,
    };
    let lower = stem.to_ascii_lowercase();
    // `checkpoint-500` of a trainer, and the revisions that name directories in download caches.
    let generic = EMPTY_NAMES.contains(&lower.as_str())
        || EMPTY_NAMES.iter().any(|empty| {
            lower.strip_prefix(empty).is_some_and(|rest| {
                rest.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
            })
        });
    let revision = lower.len() >= 32 && lower.bytes().all(|b| b.is_ascii_hexdigit());
    (!generic && !revision).then(|| name.to_owned())
}

/// Whether verifiers can compare `version` with others: a whole number, or a semantic version
/// (semver.org 2.0.0).
pub fn is_comparable(version: &str) -> bool {
    Version::parse(version).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_have_an_order_are_told_from_others() {
        for version in ["0", "7", "20260101", "1.2.0", "2.0.0-rc.1", "1.0.0+build"] {
            assert!(is_comparable(version), "{version}");
        }
        for version in ["", "v1", "1.2", "01", "-1", "spring", "18446744073709551616"] {
            assert!(!is_comparable(version), "{version}");
        }
    }

    #[test]
    fn names_that_say_nothing_are_not_taken_from_the_path() {
        for path in [
            ".",
            "..",
            "/",
            "a/..",
            "model",
            "runs/output/",
            "checkpoint",
            "checkpoint-500",
            "Model",
            "model_2",
            "0123456789abcdef0123456789abcdef01234567",
        ] {
            assert_eq!(default_name(Path::new(path)), None, "{path}");
        }
        for (path, name) in [("models/llama-3/", "llama-3"), ("./bert", "bert"), ("v2.1", "v2.1")] {
            assert_eq!(default_name(Path::new(path)).as_deref(), Some(name));
        }
        let dir = tempfile::TempDir::new().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, b"x").unwrap();
            default_name(&path)
        };
        assert_eq!(file("model.safetensors"), None);
        assert_eq!(file("llama.gguf").as_deref(), Some("llama.gguf"));
    }
}
