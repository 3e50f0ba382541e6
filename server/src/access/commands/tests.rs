use super::*;
use crate::access::test_entry::{dsse_request, subject};
use crate::access::token::{LIFETIME_DEFAULT_S, Presented};

const POLICY: &str = r#"
[issuers.github]
issuer = "https://token.actions.githubusercontent.com"
audience = "https://log.corp"
jwks_url = "https://token.actions.githubusercontent.com/.well-known/jwks"

[[rule]]
name = "other"
project = "other"
token = "ci-other"

[[rule]]
name = "llm-ci"
project = "llm"
token = "ci-llm"
names = ["llm-*"]
quota = { entries_per_minute = 60 }

[[rule]]
name = "actions"
project = "llm"
issuer = "github"
claims = { repository_id = "123", run = 7 }
"#;

fn described(kind: &str, names: &[&str]) -> TestEntry {
    TestEntry::Described {
        kind: kind.to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        signer_keys: vec![],
        signer_identities: vec![],
        bytes: 1000,
    }
}

#[test]
fn a_token_is_shown_once_and_never_listed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.json");
    let journal = directory.path().join("journal");
    let places = TokenPlaces { tokens: file.clone(), journal: journal.clone() };
    let new = NewToken {
        name: "ci-llm".to_owned(),
        note: String::new(),
        lifetime_s: LIFETIME_DEFAULT_S,
        scope: Scope::default(),
    };
    let made = create_token(&places, new).unwrap();
    let text = made["token"].as_str().unwrap();
    let presented = Presented::parse(text).unwrap();
    let kept = token_file::read(&file).unwrap();
    presented.check(kept.by_id(made["id"].as_str().unwrap()), now_s()).unwrap();
    let listed = list_tokens(&file).unwrap();
    assert_eq!(listed[0]["state"], "live");
    assert_eq!(listed[0]["name"], "ci-llm");
    let secret = &text[text.len() - 43..];
    assert!(!listed.to_string().contains(secret));
    assert!(!std::fs::read_to_string(&file).unwrap().contains(secret));
    let revoked = revoke_tokens(&places, "ci-llm").unwrap();
    assert_eq!(revoked[0]["state"], "revoked");
    assert!(matches!(
        revoke_tokens(&places, "nobody"),
        Err(CommandError::Tokens(TokenFileError::NotFound(_)))
    ));
    let mut lines = Vec::new();
    crate::journal::read(&journal, |line, _| {
        lines.push(String::from_utf8_lossy(line).into_owned());
        true
    })
    .unwrap();
    let about = format!("token:ci-llm#{}", made["id"].as_str().unwrap());
    let about: Vec<_> = lines.iter().filter(|line| line.contains(&about)).collect();
    assert!(about[0].contains("token-create") && about[1].contains("token-revoke"), "{lines:?}");
    assert!(!lines.concat().contains(secret));
}

#[test]
fn a_token_goes_into_a_new_file_of_its_owner_and_nowhere_else() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let directory = tempfile::tempdir().unwrap();
    let beside = |name: &str| directory.path().join(name);
    let places = TokenPlaces { tokens: beside("tokens.json"), journal: beside("journal") };
    let new = || NewToken {
        name: "ci".to_owned(),
        note: String::new(),
        lifetime_s: LIFETIME_DEFAULT_S,
        scope: Scope::default(),
    };
    let out = beside("ci.token");
    let answer = create_token_in(&places, new(), &out).unwrap();
    let text = std::fs::read_to_string(&out).unwrap();
    let kept = token_file::read(&places.tokens).unwrap();
    let id = answer["id"].as_str().unwrap();
    Presented::parse(&text).unwrap().check(kept.by_id(id), now_s()).unwrap();
    assert!(answer.get("token").is_none() && !answer.to_string().contains(&text[21..]));
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o7777, 0o600);

    // What is there stays, a link that leads nowhere too, and no token is made for it.
    symlink(beside("elsewhere"), beside("link")).unwrap();
    for taken in [out.clone(), beside("link")] {
        let refused = create_token_in(&places, new(), &taken).unwrap_err();
        assert!(matches!(refused, CommandError::OutExists { .. }), "{refused}");
    }
    assert_eq!(std::fs::read_to_string(&out).unwrap(), text);
    assert!(!beside("elsewhere").exists());
    let nowhere = create_token_in(&places, new(), &beside("no/such/place")).unwrap_err();
    assert!(matches!(nowhere, CommandError::Out { .. }), "{nowhere}");
    let wrong = NewToken { name: "CI".to_owned(), ..new() };
    assert!(create_token_in(&places, wrong, &beside("wrong.token")).is_err());
    assert!(!beside("wrong.token").exists(), "no empty file is left");
    assert_eq!(list_tokens(&places.tokens).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_token_that_cannot_be_written_down_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    std::fs::write(&journal, "not a directory").unwrap();
    let places = TokenPlaces { tokens: directory.path().join("tokens.json"), journal };
    let new = NewToken {
        name: "ci".to_owned(),
        note: String::new(),
        lifetime_s: LIFETIME_DEFAULT_S,
        scope: Scope::default(),
    };
    assert!(matches!(create_token(&places, new), Err(CommandError::Journal { .. })));
    assert!(matches!(revoke_tokens(&places, "ci"), Err(CommandError::Journal { .. })));
    assert_eq!(list_tokens(&places.tokens).unwrap()[0]["state"], "revoked");
}

#[test]
fn policy_test_explains_each_rule() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.toml");
    std::fs::write(&path, POLICY).unwrap();
    let ci = TestPrincipal::Token("ci-llm".to_owned());
    let (allowed, decision) = test_policy(&path, &ci, &described("dsse", &["llm-7b"])).unwrap();
    assert!(allowed);
    assert_eq!(decision["rule"], "llm-ci");
    assert_eq!(decision["quota"]["entriesPerMinute"], 60);
    assert_eq!(decision["rules"][0]["label"], "principal-not-allowed");
    let (allowed, decision) = test_policy(&path, &ci, &described("dsse", &["yolo"])).unwrap();
    assert!(!allowed);
    assert_eq!(decision["label"], "name-not-allowed");
    assert_eq!(decision["rules"].as_array().unwrap().len(), 3);

    let submission = directory.path().join("body.json");
    std::fs::write(&submission, dsse_request(&[subject(Some("llm-7b"))])).unwrap();
    let file = TestEntry::File(submission.clone());
    let (allowed, decision) = test_policy(&path, &ci, &file).unwrap();
    assert!(allowed, "{decision}");
    assert_eq!(decision["entry"]["names"][0], "llm-7b");
    std::fs::write(&submission, b"{}").unwrap();
    assert!(matches!(test_policy(&path, &ci, &file), Err(CommandError::Entry { .. })));

    let workload = |claims: &[&str]| TestPrincipal::Workload {
        issuer: "github".to_owned(),
        claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
    };
    let entry = described("hashedrekord", &[]);
    let good = workload(&["repository_id=123", "run:=7"]);
    assert!(test_policy(&path, &good, &entry).unwrap().0);
    let number = workload(&["repository_id:=123", "run:=7"]);
    assert!(!test_policy(&path, &number, &entry).unwrap().0);
    assert!(matches!(
        test_policy(&path, &workload(&["repository_id"]), &entry),
        Err(CommandError::Usage(_))
    ));
}

#[test]
fn lifetimes() {
    assert_eq!(parse_lifetime("90d"), Ok(LIFETIME_DEFAULT_S));
    assert_eq!(parse_lifetime("12h"), Ok(12 * 3600));
    for bad in ["", "d", "90", "0d", "-1d", "1y", "99999999999999999999d", "1.5d"] {
        assert!(parse_lifetime(bad).is_err(), "{bad}");
    }
}

/// The blocks of `docs/access.md` in this language, or without one.
fn blocks(language: &str) -> Vec<String> {
    let document = include_str!("../../../../docs/access.md");
    let opening = format!("```{language}\n");
    document
        .split(&opening)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()))
        .collect()
}

#[test]
fn every_policy_in_the_documentation_is_one() {
    let policies = blocks("toml");
    assert!(policies.len() >= 3);
    for text in policies {
        let policy = Policy::parse(text.as_bytes()).unwrap_or_else(|why| panic!("{why}\n{text}"));
        assert!(!policy.rules.is_empty() || !policy.recovery.is_empty());
    }
    let together = Policy::parse(blocks("toml").join("\n").as_bytes());
    assert!(together.is_ok(), "{together:?}");
}

#[test]
fn every_label_in_the_code_is_in_the_documentation() {
    let document = include_str!("../../../../docs/access.md");
    let sources = [
        include_str!("../mod.rs"),
        include_str!("../authorise.rs"),
        include_str!("../oidc.rs"),
        include_str!("../jwt.rs"),
        include_str!("../token.rs"),
        include_str!("../policy.rs"),
        include_str!("../../admission/mod.rs"),
    ];
    let is_label = |text: &&str| {
        text.contains('-') && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
    };
    let code = |source: &'static str| {
        let production = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        production.lines().filter(|line| !line.trim_start().starts_with("//"))
    };
    let labels = sources.into_iter().flat_map(code).flat_map(|line| line.split('"').skip(1));
    let labels: Vec<&str> = labels.filter(is_label).collect();
    assert!(labels.len() > 20, "{labels:?}");
    for label in labels.into_iter().filter(|label| *label != "open-writes") {
        assert!(document.contains(&format!("`{label}`")), "{label}");
    }
}
