use std::collections::BTreeSet;

use hyper::Method;
use serde_json::Value;

use super::super::route::{NoRoute, Route};
use super::*;

/// Every operation of the document: method, path, and its description.
fn operations(document: &Value) -> Vec<(Method, String, &Value)> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (name, operation) in methods.as_object().unwrap() {
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
            operations.push((method, path.clone(), operation));
        }
    }
    operations
}

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// An example of a path that has a parameter in it.
fn example(path: &str) -> String {
    path.replace("{entryUUID}", &"ab".repeat(32))
}

#[test]
fn every_operation_of_the_document_is_served_under_its_name() {
    let document = document();
    let operations = operations(&document);
    assert!(operations.len() >= 8);
    for (method, path, operation) in operations {
        let route = Route::parse(&method, &example(&path)).unwrap();
        let name = operation["operationId"].as_str();
        assert_eq!(route.v1_operation(), name, "{method} {path}");
        assert!(!matches!(route, Route::V1EntryById(_)) || path.ends_with("{entryUUID}"));
    }
}

/// Reads the paths from the source, so that one that is added is missed here.
#[test]
fn every_path_of_the_face_is_in_the_document() {
    let source = include_str!("../route.rs").split("#[cfg(test)]").next().unwrap();
    let texts: BTreeSet<&str> = source.split('"').skip(1).step_by(2).collect();
    let mut seen = BTreeSet::new();
    // Timestamps share the prefix in Sigstore, and are no part of Rekor.
    let is_rekor =
        |text: &&&str| text.starts_with("/api/v1/") && !text.starts_with("/api/v1/timestamp");
    for path in texts.iter().filter(is_rekor) {
        // Some paths begin all of a face, or all that belongs to one parameter.
        let path = match path.strip_suffix('/') {
            None => (*path).to_owned(),
            Some("/api/v1") => continue,
            Some(start) => format!("{start}/{{entryUUID}}"),
        };
        for method in [Method::GET, Method::POST] {
            match Route::parse(&method, &example(&path)) {
                // `retrieve` is read as an id; the document says so by its pattern.
                Ok(Route::V1EntryById(_)) if !path.contains('{') => {}
                Ok(_) => {
                    seen.insert((method.to_string(), path.clone()));
                }
                Err(NoRoute::MethodNotAllowed { .. }) => {}
                Err(other) => panic!("{method} {path}: {other:?}"),
            }
        }
    }
    let document = document();
    let described = operations(&document).into_iter().map(|(m, path, _)| (m.to_string(), path));
    assert_eq!(described.collect::<BTreeSet<_>>(), seen);
}

/// Every `$ref` leads to something in the document.
#[test]
fn the_document_refers_to_nothing_that_is_not_there() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    assert_eq!(document["swagger"], "2.0");
}

#[test]
fn numbers_are_read_as_rekor_reads_them() {
    let read = |query: &str| number(&Query::parse(query), "n", 1);
    let code = |query: &str| read(query).unwrap_err().v1_code;
    assert_eq!(read("").unwrap(), None);
    assert_eq!(read("n=").unwrap(), None, "empty counts as not given");
    assert_eq!(read("n=5&n=7").unwrap(), Some(7), "the last one counts");
    assert_eq!(read("n=9223372036854775807").unwrap(), Some(i64::MAX));
    assert_eq!(code("n=0"), Some(609));
    assert_eq!(code("n=-1"), Some(609));
    for query in ["n=x", "n=1.0", "n=1e3", "n=9223372036854775808", "n=0x1", "n=%201"] {
        assert_eq!(code(query), Some(601), "{query}");
    }
}
