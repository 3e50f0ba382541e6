use serde_json::json;

use super::*;
use crate::access::test_entry::{dsse, hashedrekord, subject};
use treering_proto::entry::VerifiedEntry;

const GOOD: &str = r#"
[issuers.github]
issuer = "https://token.actions.githubusercontent.com"
audience = "https://log.corp"
jwks_url = "https://token.actions.githubusercontent.com/.well-known/jwks"

[issuers.cluster]
issuer = "https://kubernetes.default.svc"
audience = "https://log.corp"
jwks_file = "/etc/treering/jwks.json"
algorithms = ["RS256"]

[[rule]]
name = "vision-ci"
project = "vision"
token = "ci-vision"
names = ["vision-*", "yolo"]

[[rule]]
name = "llm-ci"
project = "llm"
token = "ci-llm"
kinds = ["dsse"]
names = ["llm-*"]
quota = { entries_per_minute = 60, bytes_per_day = "1 GiB" }

[[rule]]
name = "llm-digests"
project = "llm"
token = "ci-llm"
kinds = ["hashedrekord 0.0.2"]
unnamed = true
names = ["llm-*"]

[[rule]]
name = "spiffe"
project = "llm"
certificate = "spiffe://corp/llm/*"

[[rule]]
name = "actions"
project = "llm"
issuer = "github"
claims = { repository_id = "123", environment = ["prod", "staging"], run_attempt = 1 }

[[rule]]
name = "pods"
project = "llm"
issuer = "cluster"
claims = { "/kubernetes.io/namespace" = "ml" }

[[recovery]]
name = "llm-security"
keys = ["sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"]
names = ["llm-*"]
"#;

fn policy(text: &str) -> Policy {
    Policy::parse(text.as_bytes()).unwrap()
}

fn token(name: &str) -> Principal {
    let scope = Scope::default();
    Principal::Token { id: "00".repeat(8), name: name.to_owned(), scope }
}

fn certificate(names: &[&str]) -> Principal {
    Principal::Certificate { names: names.iter().map(|n| (*n).to_owned()).collect() }
}

fn workload(issuer: &str, claims: Value) -> Principal {
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    Principal::Workload { issuer: issuer.to_owned(), subject: "someone".to_owned(), claims }
}

/// The name of the rule that allows it, or the label of the refusal.
fn outcome(policy: &Policy, principal: &Principal, entry: &VerifiedEntry) -> String {
    let entry = EntrySummary::of(entry, policy.asks_for_names());
    let decision = policy.decide(principal, &entry);
    match &decision.granted {
        Some(granted) => granted.rule.name.clone(),
        None => decision.refusal().0.to_owned(),
    }
}

#[test]
fn names_are_for_the_project_that_a_principal_has_a_rule_for() {
    let policy = policy(GOOD);
    assert_eq!(outcome(&policy, &token("ci-llm"), &dsse(&["llm-7b"])), "llm-ci");
    assert_eq!(outcome(&policy, &token("ci-vision"), &dsse(&["yolo"])), "vision-ci");
    // Another project's name, alone or beside a good one, first or last.
    for names in [&["vision-2"][..], &["yolo"], &["llm-7b", "vision-2"], &["vision-2", "llm-7b"]] {
        assert_eq!(outcome(&policy, &token("ci-llm"), &dsse(names)), "name-not-allowed");
    }
    assert_eq!(outcome(&policy, &token("ci-vision"), &dsse(&["llm-7b"])), "name-not-allowed");
    assert_eq!(outcome(&policy, &token("nobody"), &dsse(&["llm-7b"])), "principal-not-allowed");
    assert_eq!(
        outcome(&policy, &Principal::Anonymous, &dsse(&["llm-7b"])),
        "principal-not-allowed"
    );
}

#[test]
fn names_that_facts_leave_out_are_looked_at() {
    let policy = policy(GOOD);
    // No fact is longer than 1,024 bytes, and an entry has at most 1,000 names as facts.
    let long = format!("vision-{}", "x".repeat(2_000));
    assert_eq!(outcome(&policy, &token("ci-llm"), &dsse(&["llm-1", &long])), "name-not-allowed");
    let mut many: Vec<String> = (0..1_000).map(|n| format!("llm-{n:04}")).collect();
    many.push("vision-9".to_owned());
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(outcome(&policy, &token("ci-llm"), &dsse(&many)), "name-not-allowed");
    assert_eq!(outcome(&policy, &token("ci-llm"), &dsse(&many[..1_000])), "llm-ci");
}

#[test]
fn what_has_no_name_needs_leave() {
    let policy = policy(GOOD);
    let unnamed = |name| {
        let subjects = [subject(Some("llm-7b")), subject(name)];
        VerifiedEntry::from_v2_request(&crate::access::test_entry::dsse_request(&subjects)).unwrap()
    };
    for name in [None, Some("")] {
        assert_eq!(outcome(&policy, &token("ci-llm"), &unnamed(name)), "name-missing");
    }
    assert_eq!(outcome(&policy, &token("ci-llm"), &hashedrekord()), "llm-digests");
    assert_eq!(outcome(&policy, &token("ci-vision"), &hashedrekord()), "name-missing");
}

#[test]
fn certificates_match_by_their_names_and_workloads_by_their_claims() {
    let policy = policy(GOOD);
    let entry = hashedrekord();
    assert_eq!(outcome(&policy, &certificate(&["a", "spiffe://corp/llm/ci"]), &entry), "spiffe");
    for names in [&[][..], &["spiffe://corp/vision/ci"], &["x-spiffe://corp/llm/ci"]] {
        assert_eq!(outcome(&policy, &certificate(names), &entry), "principal-not-allowed");
    }
    let good = json!({"repository_id": "123", "environment": "prod", "run_attempt": 1});
    assert_eq!(outcome(&policy, &workload("github", good.clone()), &entry), "actions");
    for (claim, value) in [
        ("repository_id", json!("124")),
        ("repository_id", json!(123)),
        ("repository_id", json!(["123"])),
        ("repository_id", Value::Null),
        ("environment", json!("dev")),
        ("run_attempt", json!("1")),
    ] {
        let mut bad = good.clone();
        bad[claim] = value;
        assert_eq!(outcome(&policy, &workload("github", bad), &entry), "claim-not-allowed");
    }
    assert_eq!(outcome(&policy, &workload("cluster", good), &entry), "claim-not-allowed");
    let pod = |namespace: &str| json!({"kubernetes.io": {"namespace": namespace}});
    assert_eq!(outcome(&policy, &workload("cluster", pod("ml")), &entry), "pods");
    assert_eq!(outcome(&policy, &workload("cluster", pod("web")), &entry), "claim-not-allowed");
    assert_eq!(outcome(&policy, &workload("other", pod("ml")), &entry), "principal-not-allowed");
}

#[test]
fn quotas_are_counted_for_what_the_rule_asked_for() {
    let policy = policy(GOOD);
    let entry = EntrySummary::of(&hashedrekord(), true);
    let who = |principal: &Principal| policy.decide(principal, &entry).granted.unwrap().who;
    let claims = |branch: &str| {
        let mut claims = json!({"repository_id": "123", "environment": "prod", "run_attempt": 1});
        claims["ref"] = branch.into();
        claims
    };
    let (one, two) = (workload("github", claims("a")), workload("github", claims("b")));
    assert_eq!(who(&one), who(&two), "a branch is no principal of its own");
    assert_eq!(who(&token("ci-llm")), "ci-llm");
    assert_eq!(who(&certificate(&["spiffe://corp/llm/a"])), "spiffe://corp/llm/a");
}

#[test]
fn signers_and_scopes_narrow() {
    let entry = hashedrekord();
    let key = EntrySummary::of(&entry, false).signers[0].key.clone();
    let with =
        |more: &str| policy(&format!("[[rule]]\nname='a'\nproject='p'\ntoken='t'\n{more}\n"));
    let signed_by = with(&format!("signer_keys=['sha256:{key}']"));
    assert_eq!(outcome(&signed_by, &token("t"), &entry), "a");
    assert_eq!(outcome(&signed_by, &token("t"), &dsse(&["x"])), "signer-not-allowed");
    let by_name = with("signer_identities=['*@corp.example']");
    assert_eq!(outcome(&by_name, &token("t"), &entry), "signer-not-allowed");
    let signer =
        |key: &str, name: &str| Signer { key: key.to_owned(), identities: vec![name.to_owned()] };
    let mut summary = EntrySummary::of(&entry, false);
    let either = with(&format!("signer_keys=['sha256:{key}']\nsigner_identities=['*@corp']"));
    for (signers, allowed) in [
        (vec![signer(&key, "x")], true),
        (vec![signer("00", "a@corp")], true),
        // Every signer counts, not some.
        (vec![signer(&key, "x"), signer("00", "b@evil")], false),
        (vec![], false),
    ] {
        summary.signers = signers;
        assert_eq!(either.decide(&token("t"), &summary).granted.is_some(), allowed);
    }
    let kinds = with("kinds=['dsse']");
    assert_eq!(outcome(&kinds, &token("t"), &entry), "kind-not-allowed");
    let narrowed = |projects: &[&str], kinds: &[&str]| Principal::Token {
        id: "00".repeat(8),
        name: "t".to_owned(),
        scope: Scope {
            projects: projects.iter().map(|p| (*p).to_owned()).collect(),
            kinds: kinds.iter().map(|kind| KindName::parse(kind).unwrap()).collect(),
        },
    };
    let free = with("");
    assert_eq!(outcome(&free, &narrowed(&["p", "q"], &[]), &entry), "a");
    assert_eq!(outcome(&free, &narrowed(&["q"], &[]), &entry), "token-scope");
    assert_eq!(outcome(&free, &narrowed(&[], &["dsse"]), &entry), "token-scope");
}

#[test]
fn every_rule_that_was_tried_is_explained() {
    let policy = policy(GOOD);
    let entry = EntrySummary::of(&dsse(&["vision-1"]), true);
    let decision = policy.decide(&token("ci-llm"), &entry);
    let tried: Vec<_> = decision.tried.iter().map(|(rule, m)| (&*rule.name, m.clone())).collect();
    let expected = [
        ("vision-ci", Missed::Principal),
        ("llm-ci", Missed::Name("vision-1".to_owned())),
        ("llm-digests", Missed::Kind),
        ("spiffe", Missed::Principal),
        ("actions", Missed::Principal),
        ("pods", Missed::Principal),
    ];
    assert_eq!(tried, expected);
    let (label, message) = decision.refusal();
    assert_eq!(label, "name-not-allowed");
    // What the rules of others say is none of this principal's business.
    assert!(message.contains("vision-1") && !message.contains("vision-*"), "{message}");
}

#[test]
fn the_good_policy_means_what_it_says() {
    let policy = policy(GOOD);
    let github = &policy.issuers["github"];
    assert_eq!(github.algorithms, [Algorithm::RS256, Algorithm::ES256]);
    assert_eq!(policy.issuers["cluster"].algorithms, [Algorithm::RS256]);
    assert_eq!(
        policy.rules[1].quota,
        QuotaLimits { entries_per_minute: Some(60), bytes_per_day: Some(1 << 30) }
    );
    assert_eq!(Policy::parse(b""), Ok(Policy::default()));
    let [recovery] = &policy.recovery[..] else { panic!("one recovery") };
    let key = recovery.keys[0].as_str();
    assert!(recovery.covers(key, Some("llm-7b")));
    assert!(!recovery.covers(key, Some("vision-2")) && !recovery.covers(key, None));
    assert!(!recovery.covers(&key.replace('2', "3"), Some("llm-7b")));
    let any = Recovery { names: vec![], ..recovery.clone() };
    assert!(any.covers(key, Some("vision-2")) && any.covers(key, None));
    // It opens nothing by itself.
    let alone = Policy { recovery: policy.recovery.clone(), ..Policy::default() };
    assert_eq!(outcome(&alone, &token("ci-llm"), &dsse(&["llm-7b"])), "principal-not-allowed");
}

#[test]
fn each_mistake_in_a_policy_is_named() {
    let refused = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        Policy::parse(GOOD.replacen(from, to, 1).as_bytes()).unwrap_err()
    };
    for (from, to, says) in [
        ("project =", "projct =", "did you mean `project`?"),
        ("audience =", "audiance =", "did you mean `audience`?"),
        ("[[rule]]", "[[rules]]", "did you mean `rule`?"),
        ("entries_per_minute", "entries_per_minut", "did you mean `entries_per_minute`?"),
        ("issuer = \"github\"", "issuer = \"gihtub\"", "did you mean \"github\"?"),
        ("kinds = [\"dsse\"]", "kinds = [\"dse\"]", "did you mean \"dsse\"?"),
        ("[\"RS256\"]", "[\"RS265\"]", "did you mean \"RS256\"?"),
        ("[\"RS256\"]", "[\"none\"]", "never accepted"),
        ("[\"RS256\"]", "[\"HS256\"]", "never accepted"),
        ("[\"RS256\"]", "[]", "empty"),
        ("jwks_url = \"https", "jwks_url = \"http", "https"),
        ("jwks_url = \"https://token", "jwks_url = \"https://u:p@token", "password"),
        ("\"/etc/treering/jwks.json\"", "\"jwks.json\"", "absolute"),
        ("jwks_file", "jwks_url = \"https://a.example\"\njwks_file", "one of"),
        ("token = \"ci-llm\"", "certificate = \"a\"\ntoken = \"b\"", "exactly one"),
        ("token = \"ci-llm\"", "", "exactly one"),
        ("token = \"ci-llm\"", "token = \"CI\"", "principal"),
        ("token = \"ci-llm\"", "token = \"ci-llm\"\nclaims = { a = 1 }", "issuer"),
        ("name = \"llm-ci\"", "name = \"vision-ci\"", "two rules"),
        ("name = \"llm-ci\"", "name = \"llm ci\"", "cannot name a rule"),
        ("project = \"llm\"", "project = \"\"", "cannot name a project"),
        ("{ \"/kubernetes.io/namespace\" = \"ml\" }", "{}", "tells workloads apart"),
        ("\"/kubernetes.io/namespace\" = \"ml\"", "aud = \"x\"", "tells workloads apart"),
        ("\"/kubernetes.io/namespace\" = \"ml\"", "\"/iss\" = \"x\"", "tells workloads apart"),
        ("\"/kubernetes.io/namespace\" = \"ml\"", "\"/aud/0\" = \"x\"", "tells workloads apart"),
        ("\"/kubernetes.io/namespace\" = \"ml\"", "\"/jti/\" = \"x\"", "tells workloads apart"),
        ("\"/kubernetes.io/namespace\" = \"ml\"", "sub = []", "never met"),
        ("\"/kubernetes.io/namespace\" = \"ml\"", "sub = 1.5", "compared"),
        ("\"1 GiB\"", "\"1 GB\"", "did you mean \"GiB\"?"),
        ("\"1 GiB\"", "\"GiB\"", "no number"),
        ("\"1 GiB\"", "0", "quota"),
        ("names = [\"vision-*\", \"yolo\"]", "unnamed = true", "names"),
        ("names = [\"llm-*\"]", "names = [\"\"]", "pattern"),
        ("[[recovery]]", "[[recovry]]", "did you mean `recovery`?"),
        ("name = \"llm-security\"", "name = \"\"", "cannot name a recovery"),
        ("keys = [\"sha256:2c70", "keys = [\"sha256:2C70", "no key"),
        ("keys = [\"sha256:2c70", "kyes = [\"sha256:2c70", "did you mean `keys`?"),
        ("https://kubernetes.default.svc", "https://token.actions.githubusercontent.com", "two"),
    ] {
        let error = refused(from, to);
        assert!(error.contains(says), "{from} -> {to}: {error}");
    }
    let error = refused("kinds = [\"dsse\"]", "kinds = [\"dsse\"]\nnmaes = []");
    assert!(error.starts_with("line 24: ") && error.contains("`names`?"), "{error}");
    let twice = format!("{GOOD}\n[[recovery]]\nname = \"llm-security\"\nkeys = [\"x\"]");
    let twice = twice.replace("\"x\"", &format!("\"sha256:{}\"", "0".repeat(64)));
    assert!(Policy::parse(twice.as_bytes()).unwrap_err().contains("two recoveries"));
    let none = "[[recovery]]\nname = \"a\"\nkeys = []";
    assert!(Policy::parse(none.as_bytes()).unwrap_err().contains("keys is empty"));
    let key = GOOD.replacen("kinds = [\"dsse\"]", "signer_keys = [\"abc\"]", 1);
    assert!(Policy::parse(key.as_bytes()).unwrap_err().contains("no key"));
    assert!(Policy::parse(b"\xff").unwrap_err().contains("UTF-8"));
    let many = "[[rule]]\nname='a'\nproject='p'\ntoken='t'\n".repeat(1001);
    assert!(Policy::parse(many.as_bytes()).unwrap_err().contains("more than"));
}

#[test]
fn a_loopback_address_may_do_without_tls() {
    for (url, good) in [
        ("http://127.0.0.1:8000/jwks", true),
        ("http://[::1]/jwks", true),
        ("http://localhost/jwks", true),
        ("http://localhost.evil.example/jwks", false),
        ("http://127.0.0.1.evil.example/", false),
        ("ftp://127.0.0.1/", false),
        ("file:///etc/passwd", false),
        ("", false),
    ] {
        let text = GOOD.replacen(
            "jwks_url = \"https://token.actions.githubusercontent.com/.well-known/jwks\"",
            &format!("jwks_url = \"{url}\""),
            1,
        );
        assert_eq!(Policy::parse(text.as_bytes()).is_ok(), good, "{url}");
    }
}

#[test]
fn a_hostile_policy_never_panics() {
    let mut random = crate::access::tests::Random::seeded("a_hostile_policy_never_panics");
    let (mut good, entry) = (0, EntrySummary::of(&dsse(&["llm-1"]), true));
    for _ in 0..3_000 {
        let text = random.mutate(GOOD.as_bytes());
        if let Ok(policy) = Policy::parse(&text) {
            good += 1;
            let decision = policy.decide(&token("ci-llm"), &entry);
            assert!(decision.granted.is_some() || !decision.refusal().1.is_empty());
        }
    }
    assert!(good > 0, "some mutations are harmless");
}
