//! `check-bundle`: what the `sigstore-verify` crate, which shares no code with ours, makes of a
//! bundle (`tests/interop`).
//!
//! usage: check-bundle TRUSTED-ROOT BUNDLE ARTIFACT IDENTITY ISSUER
//!
//! ARTIFACT is a file, or `sha256:` and the digest of what was signed. Everything is checked: the
//! certificate and its SCT, who signed, the log's proof, its promise, timestamps, the signature.
//! Exits with 0 if the bundle verifies, with 1 and the reason if not, with 2 if it could not be
//! asked. Nothing is fetched.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Artifact, Bundle, Sha256Hash};
use sigstore_verify::{VerificationPolicy, Verifier};

/// Larger files are no bundles or trusted roots of a test, and no artifacts either.
const FILE_BYTES_MAX: u64 = 64 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [trusted_root, bundle, artifact, identity, issuer] = arguments.as_slice() else {
        eprintln!("usage: check-bundle TRUSTED-ROOT BUNDLE ARTIFACT IDENTITY ISSUER");
        return ExitCode::from(2);
    };
    let policy = VerificationPolicy::new(identity.as_str(), issuer.as_str());
    match check(trusted_root, bundle, artifact, &policy) {
        Ok(Ok(())) => {
            println!("verified");
            ExitCode::SUCCESS
        }
        Ok(Err(why)) => {
            println!("not verified: {why}");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The verdict, with the reason if it is a refusal; an error if there is nothing to judge.
fn check(
    trusted_root: &str,
    bundle: &str,
    artifact: &str,
    policy: &VerificationPolicy,
) -> Result<Result<(), String>> {
    let trusted_root = TrustedRoot::from_json(&text(trusted_root)?).context("the trusted root")?;
    let verifier = Verifier::new(&trusted_root).context("the trusted root")?;
    let bundle = text(bundle)?;
    let content;
    let artifact = match artifact.strip_prefix("sha256:") {
        Some(digest) => Artifact::from_digest(Sha256Hash::from_hex(digest).context("the digest")?),
        None => {
            content = bytes(artifact)?;
            Artifact::from_blob(&content)
        }
    };
    let verdict = Bundle::from_json(&bundle)
        .map_err(sigstore_verify::Error::from)
        .and_then(|bundle| verifier.verify(artifact, &bundle, policy));
    Ok(verdict.map(|_| ()).map_err(|error| error.to_string()))
}

fn text(path: &str) -> Result<String> {
    String::from_utf8(bytes(path)?).with_context(|| format!("{path} is not text"))
}

fn bytes(path: &str) -> Result<Vec<u8>> {
    let length = fs::metadata(path).with_context(|| path.to_owned())?.len();
    anyhow::ensure!(length <= FILE_BYTES_MAX, "{path} has {length} bytes");
    fs::read(path).with_context(|| path.to_owned())
}
