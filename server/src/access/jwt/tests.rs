use serde_json::json;

use super::*;
use crate::access::policy::KeySource;
use crate::access::test_issuer::message;

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn parse(header: &str, claims: &str) -> Result<(), JwtRefusal> {
    let text = format!("{}.{}.c2ln", encode(header), encode(claims));
    Unverified::parse(&text).map(|_| ())
}

#[test]
fn length_and_dots_come_first() {
    assert_eq!(Unverified::parse(&"a".repeat(JWT_LEN_MAX + 1)).err(), Some(JwtRefusal::TooLong));
    for text in ["", ".", "a.b", "..", "a.b.c.d", "a.b.c.d.e", "....."] {
        assert_eq!(Unverified::parse(text).err(), Some(JwtRefusal::Malformed), "{text}");
    }
    assert_eq!(parse(r#"{"alg":"RS256"}"#, "{}"), Ok(()));
}

#[test]
fn headers_that_would_be_followed_are_refused() {
    for name in REFUSED_HEADERS {
        let header = format!(r#"{{"alg":"RS256","{name}":null}}"#);
        assert_eq!(parse(&header, "{}"), Err(JwtRefusal::Header(name)));
    }
    for name in ["none", "None", "NONE", "HS256", "HS384", "HS512", "", "rs256", "ES256K", "dir"] {
        let header = json!({"alg": name}).to_string();
        assert_eq!(parse(&header, "{}"), Err(JwtRefusal::Algorithm), "{name}");
    }
    for header in [
        "{}",
        "[]",
        "null",
        r#"{"alg":null}"#,
        r#"{"alg":["RS256"]}"#,
        r#"{"alg":"RS256","kid":1}"#,
        r#"{"alg":"RS256","kid":null}"#,
        r#"{"alg":"none","alg":"RS256"}"#,
        r#"{"alg":"RS256"}x"#,
    ] {
        assert_eq!(parse(header, "{}"), Err(JwtRefusal::Malformed), "{header}");
    }
    let long = json!({"alg": "RS256", "kid": "k".repeat(KEY_ID_LEN_MAX + 1)}).to_string();
    assert_eq!(parse(&long, "{}"), Err(JwtRefusal::Malformed));
    for claims in [
        r#"{"a":1,"a":2}"#,
        r#"{"kubernetes.io":{"namespace":"ml","namespace":"web"}}"#,
        r#"{"a":[{"b":{"c":1,"d":2,"c":1}}]}"#,
        r#"{"a":{"b":1,"\u0062":2}}"#,
    ] {
        assert_eq!(parse(r#"{"alg":"RS256"}"#, claims), Err(JwtRefusal::Malformed), "{claims}");
    }
    let twice_in_all = r#"{"a":{"b":1},"c":[{"b":1},{"b":1}],"b":1}"#;
    assert_eq!(parse(r#"{"alg":"RS256"}"#, twice_in_all), Ok(()), "in no object twice");
    assert_eq!(parse(r#"{"alg":"RS256","x":{"y":1,"y":1}}"#, "{}"), Err(JwtRefusal::Malformed));
    let padded = format!("{}=.{}.x", encode(r#"{"alg":"RS256"} "#), encode("{}"));
    assert_eq!(Unverified::parse(&padded).err(), Some(JwtRefusal::Malformed));
}

fn unverified(claims: &Value) -> String {
    format!("{}.c2ln", message(&json!({"alg": "RS256"}), claims))
}

#[test]
fn times_have_a_leeway_of_a_minute_and_a_life_of_a_day() {
    let now = 1_000_000;
    let check = |claims: Value| {
        let text = unverified(&claims);
        Unverified::parse(&text).unwrap().check_times(now)
    };
    assert_eq!(check(json!({"exp": now + 300, "iat": now, "nbf": now})), Ok(()));
    assert_eq!(check(json!({"exp": now - 59})), Ok(()));
    assert_eq!(check(json!({"exp": now - 60})), Err(JwtRefusal::Expired));
    assert_eq!(check(json!({"exp": now + 300, "nbf": now + 60})), Ok(()));
    assert_eq!(check(json!({"exp": now + 300, "nbf": now + 61})), Err(JwtRefusal::NotYet));
    assert_eq!(check(json!({"exp": now + 300, "iat": now + 61})), Err(JwtRefusal::NotYet));
    let day = JWT_LIFETIME_MAX_S;
    assert_eq!(check(json!({"exp": now + day, "iat": now})), Ok(()));
    assert_eq!(check(json!({"exp": now + day + 1, "iat": now})), Err(JwtRefusal::Lifetime));
    assert_eq!(check(json!({"exp": now + day + 1})), Err(JwtRefusal::Lifetime));
    assert_eq!(check(json!({"iat": now})), Err(JwtRefusal::Lifetime));
    assert_eq!(check(json!({"exp": 1_000_300.75, "iat": 999_999.5})), Ok(()));
    for bad in [json!("1000300"), json!(-1), json!(1e300), json!(null), json!([1])] {
        assert_eq!(check(json!({"exp": bad})), Err(JwtRefusal::Malformed));
    }
    assert_eq!(check(json!({"exp": u64::MAX, "iat": 0})), Err(JwtRefusal::Lifetime));
}

#[test]
fn the_audience_is_exact() {
    let check = |audience: Value| {
        let text = unverified(&json!({ "aud": audience }));
        Unverified::parse(&text).unwrap().check_audience("https://log.corp")
    };
    assert_eq!(check(json!("https://log.corp")), Ok(()));
    assert_eq!(check(json!(["a", "https://log.corp"])), Ok(()));
    for bad in [
        json!("https://log.corp/"),
        json!("https://log.corp.evil.example"),
        json!(["https://LOG.corp"]),
        json!([["https://log.corp"]]),
        json!([]),
        json!(null),
    ] {
        assert_eq!(check(bad), Err(JwtRefusal::Audience));
    }
}

#[test]
fn without_keys_nothing_verifies() {
    let issuer = Issuer {
        issuer: "https://issuer".to_owned(),
        audience: "https://log.corp".to_owned(),
        keys: KeySource::File("/none".to_owned()),
        algorithms: vec![Algorithm::RS256],
    };
    let text = unverified(&json!({"iss": "https://issuer"}));
    let verify = |issuer: &Issuer| Unverified::parse(&text).unwrap().verify(issuer, &[], 0);
    assert_eq!(verify(&issuer), Err(JwtRefusal::Signature));
    let other = Issuer { issuer: "https://issuer/".to_owned(), ..issuer.clone() };
    assert_eq!(verify(&other), Err(JwtRefusal::Issuer));
    let elliptic = Issuer { algorithms: vec![Algorithm::ES256], ..issuer };
    assert_eq!(verify(&elliptic), Err(JwtRefusal::Algorithm));
}
