//! In-toto statements, and OpenSSF Model Signing statements good and bad.

use serde_json::{Value, json};
use treering_proto::hash::{Hash, sha256};

/// A statement about something named `name`; `number` makes its bytes one of a kind. One in sixteen
/// is so long that the log keeps it in a file of large values.
pub fn statement(name: &str, number: u64) -> Vec<u8> {
    let digest = sha256(&number.to_be_bytes()).to_hex();
    let padding = if number.is_multiple_of(16) { "long ".repeat(500) } else { String::new() };
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": name, "digest": { "sha256": digest } }],
        "predicateType": "https://example.com/tested/v1",
        "predicate": { "number": number, "padding": padding },
    })
    .to_string()
    .into_bytes()
}

/// A model statement over files of which each holds its own name.
pub fn model_statement(files: &[&str]) -> Value {
    let resources: Vec<Value> = files
        .iter()
        .map(|name| {
            let digest = sha256(name.as_bytes()).to_hex();
            json!({ "name": name, "algorithm": "sha256", "digest": digest })
        })
        .collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "model", "digest": { "sha256": root(files).to_hex() } }],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": false,
                "ignore_paths": [".git"],
            },
            "resources": resources,
        },
    })
}

/// The OMS root: SHA-256 over the digests of the files.
fn root(files: &[&str]) -> Hash {
    let digests: Vec<u8> = files.iter().flat_map(|name| sha256(name.as_bytes()).0).collect();
    sha256(&digests)
}
