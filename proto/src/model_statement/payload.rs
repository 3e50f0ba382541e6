//! The JSON of a model statement, in the shape of OMS v1.0.

use serde::Serialize;

use super::{MODEL_PREDICATE_TYPE, Method, ModelStatement};
use crate::notice::EntryRef;
use crate::statement::STATEMENT_TYPE_V1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatementJson<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [SubjectJson<'a>; 1],
    predicate_type: &'static str,
    predicate: PredicateJson<'a>,
}

#[derive(Serialize)]
struct SubjectJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    digest: RootJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<AnnotationsJson<'a>>,
}

#[derive(Serialize)]
struct RootJson {
    sha256: String,
}

#[derive(Serialize)]
struct AnnotationsJson<'a> {
    #[serde(rename = "treering.model_version", skip_serializing_if = "Option::is_none")]
    model_version: Option<&'a str>,
    #[serde(rename = "treering.renews", skip_serializing_if = "Option::is_none")]
    renews: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct PredicateJson<'a> {
    serialization: SerializationJson<'a>,
    resources: Vec<ResourceJson<'a>>,
}

#[derive(Serialize)]
struct SerializationJson<'a> {
    method: &'static str,
    hash_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_size: Option<u64>,
    allow_symlinks: bool,
    ignore_paths: &'a [String],
}

#[derive(Serialize)]
struct ResourceJson<'a> {
    name: &'a str,
    algorithm: &'a str,
    digest: String,
}

pub(super) fn write(statement: &ModelStatement) -> Vec<u8> {
    let hash = statement.hash.name();
    let (shard_size, algorithm) = match statement.method {
        Method::Files => (None, hash.to_owned()),
        // Python's model_signing compares this label with its own.
        Method::Shards { size } => (Some(size), format!("{hash}-sharded-{size}")),
    };
    let resources = statement.resources.iter();
    let model_version = statement.model_version.as_deref();
    let renews = statement.renews.map(EntryRef::to_json);
    let annotated = model_version.is_some() || renews.is_some();
    let json = StatementJson {
        kind: STATEMENT_TYPE_V1,
        subject: [SubjectJson {
            name: statement.name.as_deref(),
            digest: RootJson { sha256: statement.root.to_hex() },
            // Without any, the bytes are those of a stock signer.
            annotations: annotated.then_some(AnnotationsJson { model_version, renews }),
        }],
        predicate_type: MODEL_PREDICATE_TYPE,
        predicate: PredicateJson {
            serialization: SerializationJson {
                method: statement.method.name(),
                hash_type: hash,
                shard_size,
                allow_symlinks: statement.allow_symlinks,
                ignore_paths: &statement.ignore_paths,
            },
            resources: resources
                .map(|resource| ResourceJson {
                    name: &resource.name,
                    algorithm: &algorithm,
                    digest: hex::encode(&resource.digest),
                })
                .collect(),
        },
    };
    serde_json::to_vec(&json).expect("strings and lists always serialize")
}
