use serde_json::{Value, json};

use super::*;

const KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAiojj3XVxesNNZ4CAqnC9j9pFLfKNYvnBt6iMNc92Y2k=
-----END PUBLIC KEY-----
";

fn whole() -> Value {
    json!({
        "firstSeen": {"action": "refuse", "days": 30},
        "weightsFirstSeen": {"action": "warn", "days": 0},
        "notNewest": "refuse",
        "versionNotRising": "off",
        "revoked": "refuse",
        "superseded": "warn",
        "newSigner": "warn",
        "otherSigner": "refuse",
        "noStatement": "warn",
        "checkpointAge": {"action": "refuse", "hours": 24},
        "approvals": {"action": "refuse", "count": 2, "roles": {
            "security": [{"name": "sam", "publicKey": KEY}],
            "qa": [{"name": "kim", "identity": "kim@corp.example"},
                   {"name": "sam", "publicKey": KEY}]}},
        "recovery": [{"name": "recovery", "publicKey": KEY}],
    })
}

fn parse(value: &Value) -> Result<ModelPolicy, TrustError> {
    ModelPolicy::parse(value.to_string().as_bytes())
}

/// What the policy with `new` at `path` is refused for.
fn error_with(path: &str, new: Value) -> String {
    let mut value = whole();
    *value.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = new;
    parse(&value).unwrap_err().to_string()
}

#[test]
fn every_rule_survives_reading_and_writing() {
    let policy = parse(&whole()).unwrap();
    let text = policy.format();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), whole());
    assert_eq!(ModelPolicy::parse(text.as_bytes()).unwrap(), policy);
    let actions = Rule::ALL.map(|rule| policy.action(rule));
    let (off, warn, refuse) = (Action::Off, Action::Warn, Action::Refuse);
    let expected = [refuse, warn, refuse, off, refuse, warn, warn, refuse, warn, refuse, refuse];
    assert_eq!(actions, expected);
    assert!(!policy.is_on(Rule::VersionNotRising) && policy.is_on(Rule::Approvals));
}

#[test]
fn what_is_absent_is_off_and_every_rule_is_a_member_of_its_name() {
    assert_eq!(parse(&json!({})).unwrap(), ModelPolicy::default());
    for rule in Rule::ALL {
        let member = whole()[rule.name()].clone();
        assert!(!member.is_null(), "{}", rule.name());
        let alone = parse(&json!({rule.name(): member})).unwrap();
        for other in Rule::ALL {
            let on = other == rule && rule != Rule::VersionNotRising;
            assert_eq!(alone.is_on(other), on, "{} in {}", other.name(), rule.name());
        }
    }
}

#[test]
fn unknown_members_and_actions_are_refused_at_every_level() {
    let objects =
        ["", "/firstSeen", "/checkpointAge", "/approvals", "/approvals/roles/qa/0", "/recovery/0"];
    for path in objects {
        let mut value = whole();
        value.pointer_mut(path).unwrap()["later"] = json!(1);
        assert!(matches!(parse(&value), Err(TrustError::Fields(_))), "{path}");
    }
    for path in ["/revoked", "/firstSeen/action", "/approvals/action"] {
        for action in [json!("deny"), json!("Refuse"), json!(1), json!({})] {
            let error = error_with(path, action);
            assert!(error.contains("right fields"), "{path}: {error}");
        }
    }
    let twice = br#"{"revoked": "off", "revoked": "refuse"}"#;
    assert!(matches!(ModelPolicy::parse(twice), Err(TrustError::Json(_))));
}

#[test]
fn ages_have_bounds() {
    for (path, most) in [("/firstSeen/days", DAYS_MAX), ("/checkpointAge/hours", HOURS_MAX)] {
        let mut value = whole();
        *value.pointer_mut(path).unwrap() = json!(most);
        assert!(parse(&value).is_ok(), "{path}");
        assert!(error_with(path, json!(most + 1)).contains("out of bounds"), "{path}");
        assert!(error_with(path, json!(-1)).contains("right fields"), "{path}");
    }
    assert!(error_with("/checkpointAge/hours", json!(0)).contains("out of bounds"));
}

#[test]
fn a_hit_on_weight_files_alone_never_refuses() {
    let error = error_with("/weightsFirstSeen/action", json!("refuse"));
    assert!(error.contains("honest models share files"), "{error}");
}

#[test]
fn no_more_approvals_are_asked_for_than_people_could_give() {
    for count in [0, 3] {
        let error = error_with("/approvals/count", json!(count));
        assert!(error.contains("the number of approvers, 2"), "{error}");
    }
    for roles in [json!({}), json!({"Q A": []}), json!({"": []})] {
        assert!(error_with("/approvals/roles", roles).contains("is not 1 to"));
    }
    let many = (0..=ROLES_MAX).map(|at| (format!("r{at}"), json!([]))).collect();
    assert!(error_with("/approvals/roles", Value::Object(many)).contains("is not 1 to"));
    let crowd = |len| vec![json!({"name": "a", "identity": "a"}); len];
    let error = error_with("/approvals/roles/qa", json!(crowd(2)));
    assert!(error.contains("two of modelPolicy.approvals.roles are named \"a\""), "{error}");
    let error = error_with("/recovery/0", json!({"name": "a"}));
    assert!(error.contains("modelPolicy.recovery[0] needs either"), "{error}");
}

#[test]
fn the_recommended_policy_is_one_that_can_be_read() {
    let policy = ModelPolicy::recommended();
    assert_eq!(ModelPolicy::parse(policy.format().as_bytes()).unwrap(), policy);
    for rule in Rule::ALL {
        assert_eq!(policy.is_on(rule), rule != Rule::Approvals, "{}", rule.name());
    }
}

#[test]
fn the_documentation_has_the_recommended_policy_and_every_rule() {
    let text = include_str!("../../../../docs/model-policy.md");
    let (_, after) = text.split_once("```json\n").unwrap();
    let (block, _) = after.split_once("```").unwrap();
    assert_eq!(block, ModelPolicy::recommended().format());
    for rule in Rule::ALL {
        assert!(text.contains(&format!("| `{}` | `rule-", rule.name())), "{}", rule.name());
    }
}
