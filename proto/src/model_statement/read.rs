//! Reading the predicate of a model statement: types and spellings, not yet what they say together.

use serde_json::Value;

use super::{
    MODEL_VERSION_ANNOTATION, Method, ModelHash, ModelStatementError as Error, RENEWAL_ANNOTATION,
    RESOURCES_MAX, Resource,
};
use crate::encoding::from_hex_lower;
use crate::notice::EntryRef;
use crate::statement::Subject;

pub(super) fn text<'a>(object: &'a Value, field: &'static str) -> Result<&'a str, Error> {
    object.get(field).and_then(Value::as_str).ok_or(Error::BadField(field))
}

pub(super) fn method(serialization: &Value) -> Result<Method, Error> {
    match text(serialization, "method")? {
        "files" => Ok(Method::Files),
        "shards" => {
            let size = serialization.get("shard_size").and_then(whole_number);
            match size {
                Some(size) if size > 0 => Ok(Method::Shards { size }),
                _ => Err(Error::BadField("shard_size")),
            }
        }
        other => Err(Error::UnknownMethod(other.to_owned())),
    }
}

/// Python writes the predicate through a protobuf Struct, whose only number is a double: `4` or
/// `4.0`.
fn whole_number(value: &Value) -> Option<u64> {
    const EXACT_MAX: f64 = (1u64 << 53) as f64;
    let double = || value.as_f64().filter(|x| x.fract() == 0.0 && (0.0..=EXACT_MAX).contains(x));
    value.as_u64().or_else(|| double().map(|x| x as u64))
}

pub(super) fn model_version(subject: &Subject) -> Result<Option<String>, Error> {
    match subject.annotations.get(MODEL_VERSION_ANNOTATION) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::BadModelVersion),
    }
}

pub(super) fn renews(subject: &Subject) -> Result<Option<EntryRef>, Error> {
    let annotation = subject.annotations.get(RENEWAL_ANNOTATION);
    annotation.map(|value| EntryRef::from_json(value).ok_or(Error::BadRenewal)).transpose()
}

pub(super) fn ignore_paths(serialization: &Value) -> Result<Vec<String>, Error> {
    const FIELD: Error = Error::BadField("ignore_paths");
    match serialization.get("ignore_paths") {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list
            .iter()
            .map(|path| path.as_str().map(str::to_owned).ok_or(FIELD))
            .collect::<Result<_, _>>(),
        Some(_) => Err(FIELD),
    }
}

pub(super) fn resources(
    predicate: &Value,
    method: Method,
    hash: ModelHash,
) -> Result<Vec<Resource>, Error> {
    let list =
        predicate.get("resources").and_then(Value::as_array).ok_or(Error::BadField("resources"))?;
    if list.len() > RESOURCES_MAX {
        return Err(Error::TooManyResources);
    }
    // Python labels shards with their size; OMS v1.0 section 6.3.2 wants the bare hash.
    let sharded = match method {
        Method::Files => None,
        Method::Shards { size } => Some(format!("{}-sharded-{size}", hash.name())),
    };
    let read = |value: &Value| {
        let name = text(value, "name")?.to_owned();
        let algorithm = text(value, "algorithm")?;
        if algorithm != hash.name() && Some(algorithm) != sharded.as_deref() {
            return Err(Error::BadAlgorithm(name));
        }
        match from_hex_lower(text(value, "digest")?) {
            Some(digest) => Ok(Resource { name, digest }),
            None => Err(Error::BadDigest(name)),
        }
    };
    list.iter().map(read).collect()
}
