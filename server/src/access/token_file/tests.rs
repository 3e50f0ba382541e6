use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::access::token::{LIFETIME_DEFAULT_S, Presented, TokenRefusal};

const NOW: u64 = 1_767_225_600;

fn new(name: &str) -> NewToken {
    NewToken {
        name: name.to_owned(),
        note: "pipeline of the llm team".to_owned(),
        lifetime_s: LIFETIME_DEFAULT_S,
        scope: Scope {
            projects: vec!["llm".to_owned()],
            kinds: vec![KindName::parse("dsse").unwrap()],
        },
    }
}

fn text(n: u8) -> TokenText {
    TokenText::from_bytes([n; 8], &[n; 32])
}

#[test]
fn the_file_has_these_golden_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.json");
    create(&path, new("ci-llm"), &text(0xab), NOW).unwrap();
    let golden = r#"{
  "format": "treering tokens 1",
  "tokens": [
    {
      "id": "abababababababab",
      "name": "ci-llm",
      "note": "pipeline of the llm team",
      "secretSha256": "SECRET",
      "created": "2026-01-01T00:00:00Z",
      "expires": "2026-04-01T00:00:00Z",
      "revoked": null,
      "projects": [
        "llm"
      ],
      "kinds": [
        "dsse"
      ]
    }
  ]
}
"#;
    // SHA-256 of the 43 characters, by `printf %s q6urq6...q6s | sha256sum`.
    let secret = "0e9477cf4605be3c22f072fbb33a598877b51ec0a097d964bf06694de0fc497e";
    assert_eq!(fs::read_to_string(&path).unwrap(), golden.replace("SECRET", secret));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let tokens = read(&path).unwrap();
    assert_eq!(Tokens::parse(&tokens.to_bytes()), Ok(tokens));
}

#[test]
fn tokens_are_made_revoked_and_forgotten_a_year_after_their_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.json");
    for n in 1..=3 {
        create(&path, new(if n == 3 { "other" } else { "ci" }), &text(n), NOW).unwrap();
    }
    let presented = text(1);
    let presented = Presented::parse(presented.as_str()).unwrap();
    let check = |now| {
        let tokens = read(&path).unwrap();
        presented.check(tokens.by_id(presented.id()), now)
    };
    assert_eq!(check(NOW), Ok(()));
    assert_eq!(check(NOW + LIFETIME_DEFAULT_S), Err(TokenRefusal::Expired));
    let ids = |tokens: Vec<Token>| tokens.into_iter().map(|t| t.id).collect::<Vec<_>>();
    assert_eq!(ids(revoke(&path, &"01".repeat(8), NOW + 1).unwrap()), ["01".repeat(8)]);
    assert_eq!(check(NOW + 2), Err(TokenRefusal::Revoked));
    assert_eq!(ids(revoke(&path, "ci", NOW + 2).unwrap()), ["02".repeat(8)]);
    assert_eq!(ids(revoke(&path, "ci", NOW + 3).unwrap()), Vec::<String>::new());
    assert!(matches!(revoke(&path, "nobody", NOW), Err(TokenFileError::NotFound(_))));
    create(&path, new("late"), &text(9), NOW + FORGET_AFTER_S + 2).unwrap();
    assert_eq!(ids(read(&path).unwrap().list), ["03".repeat(8), "09".repeat(8)]);
}

#[test]
fn two_commands_at_once_both_count() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.json");
    std::thread::scope(|scope| {
        for n in 0..16 {
            let path = &path;
            scope.spawn(move || create(path, new("ci"), &text(n), NOW).unwrap());
        }
    });
    assert_eq!(read(&path).unwrap().list().len(), 16);
}

#[test]
fn wishes_that_cannot_be_fulfilled_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.json");
    create(&path, new("ci"), &text(1), NOW).unwrap();
    let before = fs::read(&path).unwrap();
    let long = NewToken { lifetime_s: LIFETIME_MAX_S + 1, ..new("ci") };
    let endless = NewToken { lifetime_s: u64::MAX, ..new("ci") };
    let note = NewToken { note: "a\nb".to_owned(), ..new("ci") };
    let project = Scope { projects: vec!["A B".to_owned()], kinds: vec![] };
    let scope = NewToken { scope: project, ..new("ci") };
    for bad in [new("CI"), new(""), long, endless, note, scope] {
        assert!(matches!(create(&path, bad, &text(2), NOW), Err(TokenFileError::Wish(_))));
    }
    assert!(create(&path, new("ci"), &text(1), NOW).is_err(), "the id is taken");
    assert_eq!(fs::read(&path).unwrap(), before);
    // A file that does not parse is never overwritten.
    fs::write(&path, "{").unwrap();
    assert!(matches!(create(&path, new("ci"), &text(2), NOW), Err(TokenFileError::Content { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"{");
}

#[test]
fn a_file_that_says_anything_else_is_refused_with_the_nearest_name() {
    let good = {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.json");
        create(&path, new("ci-llm"), &text(1), NOW).unwrap();
        fs::read_to_string(&path).unwrap()
    };
    let refused = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        Tokens::parse(good.replace(from, to).as_bytes()).unwrap_err()
    };
    assert!(refused("\"expires\"", "\"expiers\"").contains("did you mean `expires`?"));
    assert!(refused("tokens 1", "tokens 2").contains("format"));
    assert!(refused("2026-04-01", "2046-04-01").contains("366 days"));
    assert!(refused("2026-04-01", "soon").contains("RFC 3339"));
    assert!(refused("\"dsse\"", "\"dse\"").contains("dsse"));
    assert!(refused("ci-llm", "CI").contains("name"));
    assert!(refused("\"revoked\": null", "\"revoked\": true").contains("string"));
    let twice = good.replace("  ]\n}", "  ]\n,\"tokens\":[]}");
    assert!(Tokens::parse(twice.as_bytes()).unwrap_err().contains("duplicate"));
}
