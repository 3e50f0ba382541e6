use super::*;

const KEY: &str = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";

fn rules(text: &str) -> Rules {
    Rules::parse(text.as_bytes()).unwrap()
}

fn refused(text: &str) -> String {
    Rules::parse(text.as_bytes()).unwrap_err().to_string()
}

fn fact(tag: Tag, value: &str) -> Fact {
    Fact { tag, value: value.as_bytes().to_vec() }
}

fn proven<'a>(identities: &'a [&'a str]) -> Proven<'a> {
    Proven { keys: true, identities }
}

fn hit_names(rules: &Rules, facts: &[Fact]) -> Vec<String> {
    let identities = facts.iter().filter(|fact| fact.tag == Tag::Identity);
    let vouched: Vec<&str> =
        identities.map(|fact| std::str::from_utf8(&fact.value).unwrap()).collect();
    let hits = rules.hits(EntryKind::DsseV001, facts, proven(&vouched));
    hits.iter().map(|hit| rules.named(hit.rule).0.to_owned()).collect()
}

#[test]
fn a_pattern_is_whole_and_a_star_is_any_text() {
    for (pattern, fits, other) in [
        ("abc", vec!["abc"], vec!["", "ab", "abcd", "xabc"]),
        ("*", vec!["", "a", "a*b"], vec![]),
        ("a*", vec!["a", "ab"], vec!["", "ba"]),
        ("*a", vec!["a", "ba"], vec!["ab"]),
        ("a*a", vec!["aa", "aba"], vec!["a", "ab"]),
        ("a*b*c", vec!["abc", "axbxc", "abbcc"], vec!["acb", "ac", "xabc"]),
        ("*ab*ba*", vec!["abba", "xabxbax"], vec!["aba", "bab"]),
        ("a**b", vec!["ab", "axb"], vec!["a"]),
        (
            "https://github.com/acme/*@refs/tags/*",
            vec!["https://github.com/acme/x@refs/tags/1"],
            vec![
                "https://github.com/acme/x@refs/heads/1",
                "https://github.com.evil/acme/x@refs/tags/1",
            ],
        ),
        ("a.c", vec!["a.c"], vec!["abc"]),
        ("[a]?", vec!["[a]?"], vec!["a"]),
    ] {
        let pattern = Pattern(pattern.to_owned());
        for text in fits {
            assert!(pattern.matches(text.as_bytes()), "{pattern:?} {text:?}");
        }
        for text in other {
            assert!(!pattern.matches(text.as_bytes()), "{pattern:?} {text:?}");
        }
    }
}

#[test]
fn all_conditions_of_a_rule_and_any_item_of_a_list() {
    let rules = rules(&format!(
        r#"
        [[rule]]
        name = "ours"
        names = ["llama-*", "mistral-*"]
        keys = ["{KEY}"]
        [[rule]]
        name = "not-ours"
        names = ["llama-*"]
        except-keys = ["{KEY}"]
        except-identities = ["*@corp.example"]
        [[rule]]
        name = "bytes"
        digests = ["SHA256:AB", "{KEY}"]
        [[rule]]
        name = "kind"
        kinds = ["hashedrekord", "dsse 0.0.2"]
        "#
    ));
    assert!(!rules.need_relations());
    let llama = fact(Tag::SubjectName, "llama-3");
    let ours = fact(Tag::PublicKey, KEY);
    let other = fact(Tag::PublicKey, &KEY.replace('2', "3"));
    assert_eq!(hit_names(&rules, &[ours.clone(), llama.clone()]), ["ours"]);
    assert_eq!(hit_names(&rules, &[other.clone(), llama.clone()]), ["not-ours"]);
    assert_eq!(hit_names(&rules, &[ours, fact(Tag::SubjectName, "xllama-3")]), [""; 0]);
    let identity = fact(Tag::Identity, "a@corp.example");
    assert_eq!(hit_names(&rules, &[other, identity, llama]), [""; 0]);
    assert_eq!(hit_names(&rules, &[fact(Tag::FileDigest, "sha256:ab")]), ["bytes"]);
    assert_eq!(hit_names(&rules, &[fact(Tag::ModelId, KEY)]), ["bytes"]);
    assert_eq!(hit_names(&rules, &[fact(Tag::ParentDigest, "sha256:ab")]), [""; 0]);
    assert_eq!(rules.hits(EntryKind::DsseV002, &[], proven(&[]))[0].rule, 3);
    assert_eq!(rules.hits(EntryKind::HashedrekordV001, &[], proven(&[]))[0].rule, 3);
    assert_eq!(rules.hits_unparseable(), []);
}

#[test]
fn a_hit_says_which_facts_met_the_rule() {
    let rules = rules("[[rule]]\nname = \"a\"\nnames = [\"a*\"]\n");
    let facts: Vec<Fact> = (0..100).map(|at| fact(Tag::SubjectName, &format!("a{at}"))).collect();
    let hits = rules.hits(EntryKind::DsseV001, &facts, proven(&[]));
    assert_eq!(hits[0].facts.len(), MATCHED_MAX);
    assert_eq!(hits[0].facts[0], "subject-name=a0");
}

#[test]
fn what_the_log_had_before_is_asked_for_by_name() {
    let rules = rules(
        "[[rule]]\nname = \"a\"\nknown-bytes-new-name = true\n\
         [[rule]]\nname = \"b\"\nunparseable = true\n",
    );
    assert!(rules.need_relations());
    let news = News { bytes_new_name: true, ..News::default() };
    assert_eq!(rules.named(0), ("a", news));
    assert_eq!(rules.hits_unparseable(), [Hit { rule: 1, facts: Vec::new() }]);
    assert_eq!(hit_names(&rules, &[]), ["a"]);
}

#[test]
fn errors_name_the_rule_and_say_what_is_needed() {
    assert!(refused("[[rule]]\nname = \"a\"\nname-s = [\"x\"]").contains("name-s"));
    assert!(refused("[[rules]]\nname = \"a\"").contains("rules"));
    assert!(refused("rule = 1").contains("rule"));
    assert!(refused("[[rule]]\nnames = [\"x\"]").contains("name"));
    assert!(refused("[[rule]]\nname = \"a\"").contains("no condition"));
    assert!(refused("[[rule]]\nname = \"A b\"\nnames = [\"x\"]").contains("cannot name a rule"));
    let one = "[[rule]]\nname = \"a\"\nnames = [\"x\"]\n";
    assert!(refused(&format!("{one}{one}")).contains("two rules"));
    for (line, word) in [
        ("names = [\"\"]", "empty"),
        ("keys = [\"AB\"]", "64 lower-case"),
        ("digests = [\"zz\"]", "ALGORITHM:HEX"),
        ("digests = [\"sha256:xy\"]", "ALGORITHM:HEX"),
        ("kinds = [\"dsse 9\"]", "hashedrekord, intoto or rekord"),
        ("unparseable = true\nnames = [\"x\"]", "stands alone"),
    ] {
        let text = refused(&format!("[[rule]]\nname = \"a\"\n{line}"));
        assert!(text.contains(word) && text.contains("\"a\""), "{text}");
    }
    let many =
        "[[rule]]\nname = \"a\"\nnames = [".to_owned() + &"\"x\",".repeat(LIST_MAX + 1) + "]";
    assert!(refused(&many).contains("more than 1000"));
    assert!(refused("\u{0}").contains("TOML parse error"));
}

#[test]
fn a_key_whose_signature_is_not_kept_is_no_exception() {
    let rules = rules(&format!(
        "[[rule]]\nname = \"a\"\nexcept-keys = [\"{KEY}\"]\n\
         [[rule]]\nname = \"b\"\nkeys = [\"{KEY}\"]\n"
    ));
    let facts = [fact(Tag::PublicKey, KEY)];
    let hit = |keys| {
        let proven = Proven { keys, identities: &[] };
        let hits = rules.hits(EntryKind::IntotoV001, &facts, proven);
        hits.iter().map(|hit| hit.rule).collect::<Vec<_>>()
    };
    assert_eq!((hit(true), hit(false)), (vec![1], vec![0, 1]));
}

#[test]
fn an_identity_that_no_authority_vouches_for_is_no_exception() {
    let rules = rules("[[rule]]\nname = \"a\"\nexcept-identities = [\"ci@*\"]\n");
    assert!(rules.except_identities());
    let facts = [fact(Tag::Identity, "ci@example.com")];
    let count = |vouched: &[&str]| rules.hits(EntryKind::DsseV001, &facts, proven(vouched)).len();
    assert_eq!((count(&[]), count(&["ci@example.com"]), count(&["x"])), (1, 0, 1));
}
