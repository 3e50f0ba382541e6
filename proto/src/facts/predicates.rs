//! What facts take from predicates that Treering does not otherwise read: SLSA provenance,
//! CycloneDX and SPDX documents. Whatever has another shape than expected is passed over.

use serde_json::Value;

use crate::statement::{Statement, digest_set};

/// Digests of what an artifact was built from: `buildDefinition.resolvedDependencies[].digest` of
/// SLSA provenance v1, `materials[].digest` of v0.x. Pairs of algorithm and value, in order.
pub(super) fn parents(statement: &Statement) -> Vec<(String, String)> {
    let Some(version) = statement.predicate_type.strip_prefix("https://slsa.dev/provenance/v")
    else {
        return Vec::new();
    };
    let pointer = match version.starts_with("0.") {
        true => "/materials",
        false => "/buildDefinition/resolvedDependencies",
    };
    items(statement.predicate.pointer(pointer))
        .filter_map(|item| digest_set(item.get("digest")?))
        .flatten()
        .collect()
}

/// Package URLs of the components of a CycloneDX or SPDX document, in order.
pub(super) fn purls(statement: &Statement) -> Vec<&str> {
    let kind = statement.predicate_type.as_str();
    let mut found = Vec::new();
    if is_or_is_below(kind, "https://cyclonedx.org/bom") {
        let described = statement.predicate.pointer("/metadata/component");
        let components = items(statement.predicate.get("components"));
        described.into_iter().chain(components).for_each(|item| cyclonedx(item, &mut found));
    } else if is_or_is_below(kind, "https://spdx.dev/Document") {
        let packages = items(statement.predicate.get("packages"));
        found.extend(packages.flat_map(|item| items(item.get("externalRefs"))).filter_map(spdx));
    }
    found.retain(|purl| purl.starts_with("pkg:"));
    found
}

/// A component and those inside it. The depth is that of the JSON, which has a limit.
fn cyclonedx<'a>(component: &'a Value, found: &mut Vec<&'a str>) {
    found.extend(component.get("purl").and_then(Value::as_str));
    items(component.get("components")).for_each(|item| cyclonedx(item, found));
}

fn spdx(reference: &Value) -> Option<&str> {
    let is_purl = reference.get("referenceType").and_then(Value::as_str) == Some("purl");
    reference.get("referenceLocator").filter(|_| is_purl)?.as_str()
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// Predicate types carry a version below them: `https://cyclonedx.org/bom/v1.6`.
fn is_or_is_below(kind: &str, base: &str) -> bool {
    kind.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
