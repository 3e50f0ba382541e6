//! The identity of a model: one hash for one set of files, however the statement lists them.
//!
//! The OMS root binds neither names nor order: renaming files keeps it, reordering changes it. The
//! model id is SHA-256 over these fields, each preceded by its length in bytes as a 32-bit
//! big-endian integer:
//!
//! ```text
//! "treering model id v1"
//! method            "files" or "shards"
//! shard size        64-bit big-endian integer; only for "shards"
//! hash name         "sha256", "blake2b" or "blake3"
//! name, digest      of each resource, sorted by the bytes of the name; the digest is raw
//! ```
//!
//! A model of one file has the path `.` whatever the statement calls it: signers disagree (`.` or
//! its own name) about the same file. For shards this leaves `.:start:end`.
//!
//! Not bound: the name and version of the model, ignored paths, symbolic links. They are reported
//! beside the id.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::hash::Hash;
use crate::model_statement::{Method, ModelStatement, SINGLE_FILE_NAME};

/// The first field: which construction this is.
pub const MODEL_ID_DOMAIN: &str = "treering model id v1";

/// The model id of `statement`.
pub fn model_id(statement: &ModelStatement) -> Hash {
    let mut id = Fields(Sha256::new());
    id.put(MODEL_ID_DOMAIN.as_bytes());
    id.put(statement.method().name().as_bytes());
    if let Method::Shards { size } = statement.method() {
        id.put(&size.to_be_bytes());
    }
    id.put(statement.hash().name().as_bytes());

    let single = statement.is_single_file();
    let mut resources: Vec<(Cow<'_, str>, &[u8])> = statement
        .resources()
        .iter()
        .map(|resource| {
            let name = resource.name.as_str();
            let path = statement.path(resource);
            let name = match single {
                true => Cow::Owned(format!("{SINGLE_FILE_NAME}{}", &name[path.len()..])),
                false => Cow::Borrowed(name),
            };
            (name, resource.digest.as_slice())
        })
        .collect();
    resources.sort_unstable();
    for (name, digest) in resources {
        id.put(name.as_bytes());
        id.put(digest);
    }
    Hash(id.0.finalize().into())
}

struct Fields(Sha256);

impl Fields {
    fn put(&mut self, field: &[u8]) {
        let length = u32::try_from(field.len()).expect("names and digests are far below 4 GiB");
        self.0.update(length.to_be_bytes());
        self.0.update(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_statement::tests::{files, shards};

    #[test]
    fn binds_exactly_the_documented_bytes() {
        let statement = files(&[("b", 2), ("a/c", 1)]);
        let mut preimage = Vec::new();
        for field in
            [&b"treering model id v1"[..], b"files", b"sha256", b"a/c", &[1; 32], b"b", &[2; 32]]
        {
            preimage.extend_from_slice(&(field.len() as u32).to_be_bytes());
            preimage.extend_from_slice(field);
        }
        assert_eq!(model_id(&statement), crate::hash::sha256(&preimage));
        assert_eq!(
            model_id(&statement).to_hex(),
            "c790822e576cf1ba7f2c6f1d6c6edc8e1f1f94aabb0e99ed4d9387b1a9645c15"
        );
    }

    #[test]
    fn does_not_depend_on_the_order_of_the_statement() {
        assert_eq!(
            model_id(&files(&[("a", 1), ("b", 2)])),
            model_id(&files(&[("b", 2), ("a", 1)]))
        );
    }

    #[test]
    fn depends_on_names_where_the_oms_root_does_not() {
        let (one, other) = (files(&[("a", 1), ("b", 2)]), files(&[("a", 1), ("c", 2)]));
        assert_eq!(one.root(), other.root());
        assert_ne!(model_id(&one), model_id(&other));
    }

    #[test]
    fn a_single_file_has_one_id_whatever_it_is_called() {
        let id = model_id(&files(&[(".", 1)]));
        assert_eq!(id, model_id(&files(&[("model.gguf", 1)])));
        assert_ne!(id, model_id(&files(&[("model.gguf", 2)])));
        assert_ne!(id, model_id(&files(&[("sub/model.gguf", 1)])));
    }

    #[test]
    fn shards_bind_their_size_and_ranges() {
        let id = model_id(&shards(4, &[("f:0:4", 1), ("f:4:6", 2)]));
        assert_eq!(id.to_hex(), "f94458a263a563d82d2ed5d6968881bfa30989f20efecbb4f1f191170292be20");
        assert_eq!(id, model_id(&shards(4, &[(".:4:6", 2), (".:0:4", 1)])));
        assert_ne!(id, model_id(&shards(4, &[("f:0:4", 1), ("f:4:7", 2)])));
        let one = [("f:0:4", 1)];
        assert_ne!(model_id(&shards(4, &one)), model_id(&shards(5, &one)));
    }
}
