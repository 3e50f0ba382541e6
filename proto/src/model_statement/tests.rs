use serde_json::{Value, json};

use super::*;
use crate::statement::STATEMENT_TYPE_V1;

/// A statement over files of which each digest repeats one byte.
pub(crate) fn files(list: &[(&str, u8)]) -> ModelStatement {
    parse(&sample(list)).unwrap()
}

/// The same for shards of `size` bytes.
pub(crate) fn shards(size: u64, list: &[(&str, u8)]) -> ModelStatement {
    parse(&sharded(json!(size), list)).unwrap()
}

fn sample(list: &[(&str, u8)]) -> Value {
    let digests: Vec<u8> = list.iter().flat_map(|(_, byte)| [*byte; 32]).collect();
    let resources: Vec<Value> = list
        .iter()
        .map(|(name, byte)| {
            json!({"name": name, "algorithm": "sha256", "digest": hex::encode([*byte; 32])})
        })
        .collect();
    let root = crate::hash::sha256(&digests).to_hex();
    json!({
        "_type": STATEMENT_TYPE_V1,
        "subject": [{"name": "m", "digest": {"sha256": root}}],
        "predicateType": MODEL_PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": false,
                "ignore_paths": [".git", ".gitattributes", ".github", ".gitignore", "model.sig"],
            },
            "resources": resources,
        },
    })
}

fn sharded(size: Value, list: &[(&str, u8)]) -> Value {
    let mut value = sample(list);
    value["predicate"]["serialization"]["method"] = json!("shards");
    value["predicate"]["serialization"]["shard_size"] = size;
    value
}

fn parse(value: &Value) -> Result<ModelStatement, Error> {
    ModelStatement::parse(&Statement::parse(value.to_string().as_bytes()).unwrap())
}

fn with(pointer: &str, key: &str, new: Value) -> Result<ModelStatement, Error> {
    let mut value = sample(&[("a", 1), ("b", 2)]);
    value.pointer_mut(pointer).unwrap()[key] = new;
    parse(&value)
}

const SERIALIZATION: &str = "/predicate/serialization";

#[test]
fn admits_what_python_writes_in_its_own_order() {
    let statement = files(&[("sub/a", 1), ("sub-b", 2), ("tokenizer/v", 3), ("tokenizer.json", 4)]);
    assert!(!statement.is_sorted_by_name());
    assert!(files(&[("a", 1), ("b", 2)]).is_sorted_by_name());
    assert_eq!(statement.name(), Some("m"));
    assert_eq!(statement.method(), Method::Files);
    assert_eq!(statement.hash(), ModelHash::Sha256);
    assert_eq!(statement.resources().len(), 4);
    assert_eq!(statement.ignore_paths()[4], "model.sig");
    assert_eq!((statement.allow_symlinks(), statement.model_version()), (false, None));
}

#[test]
fn admits_members_that_oms_does_not_have_and_lacks_of_optional_ones() {
    assert!(with("/predicate", "parents", json!([1])).is_ok());
    assert!(with("/predicate/resources/0", "size", json!(4)).is_ok());
    assert!(with(SERIALIZATION, "later", json!(4)).is_ok());
    let mut value = sample(&[("a", 1)]);
    let serialization = value.pointer_mut(SERIALIZATION).unwrap().as_object_mut().unwrap();
    serialization.remove("ignore_paths");
    serialization.remove("allow_symlinks");
    assert_eq!(parse(&value).unwrap().ignore_paths(), [] as [String; 0]);
}

#[test]
fn admits_every_minor_version_of_the_predicate_and_no_other() {
    for yes in ["v1.0", "v1.1", "v1.23"] {
        assert!(is_model_statement(&format!("https://model_signing/signature/{yes}")), "{yes}");
        let kind = json!(format!("https://model_signing/signature/{yes}"));
        assert!(with("", "predicateType", kind).is_ok());
    }
    for no in ["v1", "v1.", "v2.0", "v1.0-rc1", "v1.+1"] {
        assert!(!is_model_statement(&format!("https://model_signing/signature/{no}")), "{no}");
    }
    let legacy = json!("https://model_signing/Digests/v0.1");
    assert_eq!(with("", "predicateType", legacy), Err(Error::NotAModelStatement));
    let v0_1 = json!(crate::statement::STATEMENT_TYPE_V0_1);
    assert_eq!(with("", "_type", v0_1), Err(Error::NotAModelStatement));
}

#[test]
fn refuses_a_vacuous_statement() {
    let mut empty = sample(&[]);
    assert_eq!(parse(&empty), Err(Error::Empty));
    empty["predicate"]["serialization"]["ignore_paths"] = json!(["."]);
    assert_eq!(parse(&empty), Err(Error::Empty));
    for everything in [".", "", "./"] {
        let refused = with(SERIALIZATION, "ignore_paths", json!([everything]));
        assert_eq!(refused, Err(Error::IgnoresEverything), "{everything:?}");
    }
}

#[test]
fn refuses_names_that_leave_the_model() {
    for name in ["../a", "a/../b", "..", "/etc/passwd", "a/..", "..\\a", "\\a", "C:a", "C:/a"] {
        let refused = parse(&sample(&[(name, 1), ("z", 2)]));
        assert_eq!(refused, Err(Error::Traversal(name.into())));
    }
}

#[test]
fn refuses_names_with_another_spelling() {
    for name in ["", "./a", "a//b", "a/", "a/./b", "a\\b", "a\nb", "a\0", "."] {
        let refused = parse(&sample(&[(name, 1), ("z", 2)]));
        assert_eq!(refused, Err(Error::NotCanonicalName(name.into())));
    }
    let long = "x".repeat(PATH_LEN_MAX + 1);
    assert!(matches!(parse(&sample(&[(&long, 1)])), Err(Error::NotCanonicalName(_))));
    assert!(parse(&sample(&[(&long[1..], 1)])).is_ok());
}

#[test]
fn refuses_a_name_that_occurs_twice() {
    for list in [&[("a", 1), ("a", 2)][..], &[("a", 1), ("b", 2), ("a", 1)]] {
        assert_eq!(parse(&sample(list)), Err(Error::DuplicateName("a".into())));
    }
    let refused = parse(&sharded(json!(4), &[("a:0:4", 1), ("a:0:4", 2)]));
    assert_eq!(refused, Err(Error::DuplicateName("a:0:4".into())));
}

#[test]
fn takes_a_single_file_as_python_and_as_the_specification_name_it() {
    assert!(files(&[(".", 1)]).is_single_file());
    assert!(files(&[("model.gguf", 1)]).is_single_file());
    assert!(!files(&[("sub/model.gguf", 1)]).is_single_file());
    assert!(!files(&[("a", 1), ("b", 1)]).is_single_file());
    assert!(shards(4, &[(".:0:4", 1), (".:4:5", 1)]).is_single_file());
}

#[test]
fn refuses_digests_that_are_not_the_one_spelling_of_the_hash() {
    let digest = |text: &str| with("/predicate/resources/0", "digest", json!(text));
    for text in ["", "01", &"01".repeat(33), &"AB".repeat(32), &"0g".repeat(32)] {
        assert_eq!(digest(text), Err(Error::BadDigest("a".into())), "{text}");
    }
    for label in ["sha512", "SHA256", "blake3", "sha256-sharded-4"] {
        let refused = with("/predicate/resources/0", "algorithm", json!(label));
        assert_eq!(refused, Err(Error::BadAlgorithm("a".into())), "{label}");
    }
    let blake3 = with(SERIALIZATION, "hash_type", json!("blake3"));
    assert_eq!(blake3, Err(Error::BadAlgorithm("a".into())));
}

#[test]
fn admits_the_other_hashes_of_oms() {
    for (name, len, hash) in
        [("blake2b", 64, ModelHash::Blake2b), ("blake3", 32, ModelHash::Blake3)]
    {
        let mut value = sample(&[("a", 1)]);
        value["predicate"]["serialization"]["hash_type"] = json!(name);
        let digest = vec![7u8; len];
        value["predicate"]["resources"][0] =
            json!({"name": "a", "algorithm": name, "digest": hex::encode(&digest)});
        let root = crate::hash::sha256(&digest).to_hex();
        value["subject"][0]["digest"]["sha256"] = json!(root);
        assert_eq!(parse(&value).unwrap().hash(), hash);
    }
    let refused = with(SERIALIZATION, "hash_type", json!("md5"));
    assert_eq!(refused, Err(Error::UnknownHash("md5".into())));
}

#[test]
fn refuses_a_root_that_is_not_that_of_the_resources() {
    let zeros = json!({"sha256": "00".repeat(32)});
    assert_eq!(with("/subject/0", "digest", zeros), Err(Error::RootMismatch));
    for digest in [json!({"sha512": "00"}), json!({"sha256": "00"})] {
        assert_eq!(with("/subject/0", "digest", digest), Err(Error::NoRoot));
    }
}

#[test]
fn refuses_two_subjects() {
    let mut value = sample(&[("a", 1)]);
    let subject = value["subject"][0].clone();
    value["subject"].as_array_mut().unwrap().push(subject);
    assert_eq!(parse(&value), Err(Error::SubjectCount));
}

#[test]
fn admits_shards_with_either_label_and_any_spelling_of_a_whole_size() {
    let list = [("f:0:4", 1), ("f:4:8", 2), ("f:8:9", 3), ("gg:x:0:4", 4), ("h:0:0", 5)];
    for size in [json!(4), json!(4.0)] {
        let statement = parse(&sharded(size, &list)).unwrap();
        assert_eq!(statement.method(), Method::Shards { size: 4 });
        assert_eq!(statement.path(&statement.resources()[3]), "gg:x");
    }
    let mut labelled = sharded(json!(4), &list);
    labelled["predicate"]["resources"][0]["algorithm"] = json!("sha256-sharded-4");
    assert!(parse(&labelled).is_ok());
    labelled["predicate"]["resources"][0]["algorithm"] = json!("sha256-sharded-5");
    assert_eq!(parse(&labelled), Err(Error::BadAlgorithm("f:0:4".into())));
    for size in [json!(0), json!(-4), json!(4.5), json!("4"), json!(1e300), Value::Null] {
        assert_eq!(parse(&sharded(size, &list)), Err(Error::BadField("shard_size")));
    }
}

#[test]
fn refuses_shards_that_leave_bytes_unsigned_or_sign_them_twice() {
    for list in [
        &[("f:4:8", 1)][..],
        &[("f:0:4", 1), ("f:5:9", 2)],
        &[("f:0:4", 1), ("f:3:7", 2)],
        &[("f:0:3", 1), ("f:3:7", 2)],
        &[("f:0:5", 1)],
        &[("f:0:4", 1), ("f:4:4", 2)],
        &[("f:4:0", 1)],
    ] {
        assert_eq!(parse(&sharded(json!(4), list)), Err(Error::ShardGap("f".into())), "{list:?}");
    }
    for name in ["f", "f:0", "f:00:4", "f:0:+4", "f:0:4:", "f:0:99999999999999999999"] {
        let refused = parse(&sharded(json!(4), &[(name, 1)]));
        assert_eq!(refused, Err(Error::BadShardName(name.into())));
    }
    let refused = parse(&sharded(json!(4), &[("../f:0:4", 1)]));
    assert_eq!(refused, Err(Error::Traversal("../f".into())));
}

#[test]
fn refuses_ignored_paths_that_are_patterns_or_leave_the_model() {
    for path in ["..", "../x", "/x", "*.bin", "a?", "[a]", "a//b", "./a", "a\\b"] {
        let refused = with(SERIALIZATION, "ignore_paths", json!([path]));
        assert_eq!(refused, Err(Error::BadIgnorePath(path.into())));
    }
    assert!(with(SERIALIZATION, "ignore_paths", json!(["cache/", "x/y"])).is_ok());
    let field = Err(Error::BadField("ignore_paths"));
    assert_eq!(with(SERIALIZATION, "ignore_paths", json!("x")), field);
    assert_eq!(with(SERIALIZATION, "ignore_paths", json!([1])), field);
    let many = vec!["x"; IGNORE_PATHS_MAX + 1];
    assert_eq!(with(SERIALIZATION, "ignore_paths", json!(many)), Err(Error::TooManyIgnorePaths));
}

#[test]
fn refuses_a_file_that_is_listed_and_ignored() {
    let mut value = sample(&[("sub/d/a", 1), ("subway", 2)]);
    for (path, fine) in [("sub", false), ("sub/d/", false), ("sub/d/a", false), ("su", true)] {
        value["predicate"]["serialization"]["ignore_paths"] = json!([path]);
        let expected = if fine { Ok(()) } else { Err(Error::IgnoredResource("sub/d/a".into())) };
        assert_eq!(parse(&value).map(drop), expected, "{path}");
    }
}

#[test]
fn finds_a_listed_file_below_any_of_many_ignored_paths() {
    let paths = ["a", "a/b", "a/b/c", "a-", "a-/b", "a.b", "ab", "ab/c", "b"];
    for (first, second) in paths.iter().flat_map(|first| paths.map(|second| (*first, second))) {
        for listed in paths {
            let mut value = sample(&[(listed, 1)]);
            let ignored = [first, second];
            value["predicate"]["serialization"]["ignore_paths"] = json!(ignored);
            let is_below = |path: &&str| listed == *path || listed.starts_with(&format!("{path}/"));
            assert_eq!(
                parse(&value).is_err(),
                ignored.iter().any(is_below),
                "{listed} {ignored:?}"
            );
        }
    }
}

#[test]
fn refuses_fields_of_the_wrong_type() {
    for (pointer, key, new, field) in [
        ("/predicate", "serialization", Value::Null, "method"),
        ("/predicate", "resources", json!({}), "resources"),
        (SERIALIZATION, "method", json!(1), "method"),
        (SERIALIZATION, "allow_symlinks", json!("false"), "allow_symlinks"),
        ("/predicate/resources/0", "name", json!(1), "name"),
        ("/predicate/resources/0", "digest", Value::Null, "digest"),
    ] {
        let field = if key == "serialization" { "hash_type" } else { field };
        assert_eq!(with(pointer, key, new), Err(Error::BadField(field)), "{key}");
    }
    let refused = with(SERIALIZATION, "method", json!("tree"));
    assert_eq!(refused, Err(Error::UnknownMethod("tree".into())));
}

#[test]
fn takes_the_greatest_number_of_resources_and_not_one_more() {
    let names: Vec<String> = (0..=RESOURCES_MAX).map(|i| format!("f{i}")).collect();
    let list: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    assert!(parse(&sample(&list[1..])).is_ok());
    assert_eq!(parse(&sample(&list)), Err(Error::TooManyResources));
}

fn resource(name: &str, byte: u8) -> Resource {
    Resource { name: name.into(), digest: vec![byte; 32] }
}

#[test]
fn a_new_statement_is_sorted_by_name_and_survives_writing_and_reading() {
    let made = ModelStatement::new_files(
        "llm",
        vec![resource("tokenizer/v", 1), resource("a", 2), resource("tokenizer.json", 3)],
        vec![".git".into(), "model.sig".into()],
        Some("1.2.3".into()),
    )
    .unwrap();
    assert!(made.is_sorted_by_name());
    assert_eq!(made.resources()[1].name, "tokenizer.json");
    assert_eq!((made.name(), made.model_version()), (Some("llm"), Some("1.2.3")));
    let read = Statement::parse(&made.to_payload()).unwrap();
    assert_eq!(read.predicate_type, MODEL_PREDICATE_TYPE);
    assert_eq!(ModelStatement::parse(&read).unwrap(), made);
}

#[test]
fn a_new_statement_has_the_shape_of_oms() {
    let made = ModelStatement::new_files("m", vec![resource("a", 1)], vec![], None).unwrap();
    let expected = format!(
        "{{\"_type\":\"https://in-toto.io/Statement/v1\",\
         \"subject\":[{{\"name\":\"m\",\"digest\":{{\"sha256\":\"{}\"}}}}],\
         \"predicateType\":\"https://model_signing/signature/v1.0\",\
         \"predicate\":{{\"serialization\":{{\"method\":\"files\",\"hash_type\":\"sha256\",\
         \"allow_symlinks\":false,\"ignore_paths\":[]}},\
         \"resources\":[{{\"name\":\"a\",\"algorithm\":\"sha256\",\"digest\":\"{}\"}}]}}}}",
        crate::hash::sha256(&[1; 32]),
        "01".repeat(32)
    );
    assert_eq!(String::from_utf8(made.to_payload()).unwrap(), expected);
}

#[test]
fn a_statement_of_shards_survives_writing_and_reading() {
    let read = shards(4, &[("f:4:6", 2), ("f:0:4", 1)]);
    let again = Statement::parse(&read.to_payload()).unwrap();
    assert_eq!(ModelStatement::parse(&again).unwrap(), read);
}

#[test]
fn a_new_statement_passes_the_same_admission() {
    let make = |resources, ignored: &str, version: Option<&str>| {
        ModelStatement::new_files("m", resources, vec![ignored.into()], version.map(str::to_owned))
    };
    assert_eq!(make(vec![], "x", None), Err(Error::Empty));
    let twice = vec![resource("a", 1), resource("a", 1)];
    assert_eq!(make(twice, "x", None), Err(Error::DuplicateName("a".into())));
    let short = vec![Resource { name: "a".into(), digest: vec![1; 31] }];
    assert_eq!(make(short, "x", None), Err(Error::BadDigest("a".into())));
    assert_eq!(make(vec![resource("a", 1)], ".", None), Err(Error::IgnoresEverything));
    for version in ["", "1\n", &"1".repeat(LABEL_LEN_MAX + 1)] {
        let refused = make(vec![resource("a", 1)], "x", Some(version));
        assert_eq!(refused, Err(Error::BadModelVersion));
    }
    let long = (0..1_500).map(|i| resource(&format!("{i}{}", "x".repeat(4_000)), 1)).collect();
    assert_eq!(make(long, "x", None), Err(Error::TooLong));
}

#[test]
fn refuses_a_version_that_is_not_text_and_a_name_that_cannot_be_shown() {
    let annotations = json!({MODEL_VERSION_ANNOTATION: 1});
    assert_eq!(with("/subject/0", "annotations", annotations), Err(Error::BadModelVersion));
    assert_eq!(with("/subject/0", "name", json!("a\u{1b}[2J")), Err(Error::BadModelName));
    assert_eq!(with("/subject/0", "name", json!("")).unwrap().name(), None);
}

#[test]
fn a_refusal_does_not_repeat_a_long_name() {
    let long = "\u{7f}".repeat(1 << 20);
    let mut value = sample(&[("a", 1), ("b", 2)]);
    for at in [0, 1] {
        value["predicate"]["resources"][at]["name"] = json!(long);
    }
    let text = parse(&value).unwrap_err().to_string();
    assert!(text.contains("occurs twice") && text.len() < 4_096, "{}", text.len());
    let unknown = with(SERIALIZATION, "method", json!(long)).unwrap_err().to_string();
    assert!(unknown.len() < 4_096, "{}", unknown.len());
}

fn renewal() -> crate::notice::EntryRef {
    let index = crate::tree::LeafIndex::new(17).unwrap();
    crate::notice::EntryRef { index, leaf: Hash([4; 32]) }
}

#[test]
fn a_renewal_names_an_entry_and_changes_nothing_else() {
    let plain = files(&[("a", 1)]);
    let renewed = plain.clone().with_renewal(renewal());
    assert_eq!((plain.renews(), renewed.renews()), (None, Some(renewal())));
    let payload: Value = serde_json::from_slice(&renewed.to_payload()).unwrap();
    let annotation = json!({"index": 17, "leaf": "04".repeat(32)});
    assert_eq!(payload["subject"][0]["annotations"], json!({RENEWAL_ANNOTATION: annotation}));
    let mut without = payload.clone();
    without["subject"][0].as_object_mut().unwrap().remove("annotations");
    let stock: Value = serde_json::from_slice(&plain.to_payload()).unwrap();
    assert_eq!(without, stock);
    let again = ModelStatement::parse(&Statement::parse(&renewed.to_payload()).unwrap()).unwrap();
    assert_eq!(again, renewed);
    assert_eq!(crate::model_id::model_id(&again), crate::model_id::model_id(&plain));
}

#[test]
fn a_renewal_stands_beside_a_version() {
    let version = Some("2".to_owned());
    let made = ModelStatement::new_files("m", vec![resource("a", 1)], vec![], version).unwrap();
    let both = made.with_renewal(renewal());
    let again = ModelStatement::parse(&Statement::parse(&both.to_payload()).unwrap()).unwrap();
    assert_eq!((again.model_version(), again.renews()), (Some("2"), Some(renewal())));
}

#[test]
fn refuses_a_renewal_that_names_no_entry() {
    let leaf = "04".repeat(32);
    for wrong in [
        json!(17),
        json!(null),
        json!({}),
        json!({"index": 17}),
        json!({"leaf": leaf}),
        json!({"index": "17", "leaf": leaf}),
        json!({"index": -1, "leaf": leaf}),
        json!({"index": 1u64 << 53, "leaf": leaf}),
        json!({"index": 17, "leaf": "04"}),
        json!({"index": 17, "leaf": leaf, "later": 1}),
    ] {
        let annotations = json!({RENEWAL_ANNOTATION: wrong});
        assert_eq!(with("/subject/0", "annotations", annotations), Err(Error::BadRenewal));
    }
}
