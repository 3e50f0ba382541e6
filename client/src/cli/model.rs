//! Reading a model for `sign` and `verify`: where its signature is, what is ignored, with progress.

use std::path::{Path, PathBuf};

use treering_client::hash_model::{HashModelError, HashOptions, HashedModel, list};

use super::output::Output;

/// Where the signature of the model at `model` is by default: `DIR/model.sig` or `FILE.sig`.
pub fn default_signature(model: &Path) -> PathBuf {
    if model.is_dir() {
        return model.join("model.sig");
    }
    let mut name = model.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// The path of `signature` relative to the model, if it is inside; nobody can sign a file that
/// holds the signature.
pub fn inside(model: &Path, signature: &Path) -> Option<String> {
    let parent = match signature.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let path = parent.canonicalize().ok()?.join(signature.file_name()?);
    let root = model.canonicalize().ok().filter(|root| root.is_dir())?;
    path.strip_prefix(root).ok()?.to_str().map(str::to_owned)
}

/// Hashes the model.
pub fn read(
    model: &Path,
    options: &HashOptions,
    output: &Output,
) -> Result<HashedModel, HashModelError> {
    let listing = list(model, options)?;
    let progress = output.progress("hashing", listing.total_len());
    let hashed = listing.hash(options, &|count| progress.inc(count));
    progress.finish_and_clear();
    hashed
}
