//! Tests of JWTs against an issuer on the loopback address.

use super::*;

const AUDIENCE: &str = "https://log.corp";
const ISSUER: &str = "https://issuer.example";

fn policy(issuer: &TestIssuer) -> String {
    format!(
        "[issuers.ci]\nissuer='{ISSUER}'\naudience='{AUDIENCE}'\njwks_url='{}'\n\
         [[rule]]\nname='a'\nproject='p'\nissuer='ci'\nclaims={{repository_id='123'}}\n\
         names=['llm-*']\n",
        issuer.url
    )
}

/// An issuer with one key, and access that knows it.
struct Scene {
    fixture: Fixture,
    access: Access,
    issuer: TestIssuer,
    key: TestKey,
}

impl Scene {
    async fn new(key: TestKey) -> Self {
        let fixture = Fixture::new();
        let issuer = TestIssuer::start(&[key.jwk("k1")]).await;
        let access = fixture.load(Some(&policy(&issuer)), false);
        Self { fixture, access, issuer, key }
    }

    fn header(&self, kid: &str) -> Value {
        json!({"alg": self.key.algorithm(), "typ": "JWT", "kid": kid})
    }

    fn claims(&self) -> Value {
        let now = self.fixture.now_s();
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "repo:corp/llm:ref:refs/heads/main",
            "iat": now, "nbf": now, "exp": now + 300, "repository_id": "123",
        })
    }

    fn token(&self) -> String {
        self.key.token(&self.header("k1"), &self.claims())
    }

    /// A token in which one claim is another; null takes it out.
    fn token_with(&self, claim: &str, value: Value) -> String {
        let mut claims = self.claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
            value => claims[claim] = value,
        }
        self.key.token(&self.header("k1"), &claims)
    }

    async fn label(&self, token: &str) -> &'static str {
        let (status, label) = label(&self.access, token).await;
        assert_eq!(status, UNAUTHENTICATED);
        label
    }
}

#[tokio::test]
async fn a_workload_is_let_in_and_held_to_its_rule() {
    for key in [TestKey::rsa(), TestKey::ec()] {
        let scene = Scene::new(key).await;
        let principal = bearer(&scene.access, &scene.token()).await.unwrap();
        assert_eq!(principal.to_string(), "workload:ci:repo:corp/llm:ref:refs/heads/main");
        let grant = scene
            .access
            .authorise(&scene.access.policy_now(), &principal, &dsse(&["llm-7b"]))
            .unwrap();
        assert_eq!((&*grant.project, &*grant.rule), ("p", "a"));
        let denied = scene
            .access
            .authorise(&scene.access.policy_now(), &principal, &dsse(&["vision"]))
            .unwrap_err();
        assert_eq!(denied.label, "name-not-allowed");
        let other = scene.token_with("repository_id", json!("124"));
        let other = bearer(&scene.access, &other).await.unwrap();
        let denied = scene
            .access
            .authorise(&scene.access.policy_now(), &other, &dsse(&["llm-7b"]))
            .unwrap_err();
        assert_eq!((denied.status, denied.label), (DeniedStatus::Forbidden, "claim-not-allowed"));
        assert_eq!(scene.issuer.asked(), 1, "keys are kept");
    }
}

/// What the policy calls an issuer is another issuer in the next policy: whoever came in under the
/// one is nobody under the other.
#[tokio::test]
async fn a_workload_is_decided_by_the_policy_that_knew_its_issuer() {
    let scene = Scene::new(TestKey::ec()).await;
    let header = format!("Bearer {}", scene.token());
    let c = Credentials { authorization: Some(header.as_bytes()), certificate: None };
    let before = scene.access.policy_now();
    let other = policy(&scene.issuer).replace(ISSUER, "https://other.example");
    scene.fixture.write_policy(&other.replace("llm-*", "vision-*"));
    let principal = scene.access.authenticate(&before, c).await.unwrap();
    assert!(scene.access.authorise(&before, &principal, &dsse(&["llm-7b"])).is_ok());
    let denied = scene.access.authorise(&before, &principal, &dsse(&["vision-2"])).unwrap_err();
    assert_eq!(denied.label, "name-not-allowed", "not what the new policy allows an issuer");
    assert_eq!(scene.label(&scene.token()).await, "jwt-issuer", "and from the next request on");
}

#[tokio::test]
async fn claims_that_are_not_for_this_log_or_not_for_now_are_refused() {
    let scene = Scene::new(TestKey::ec()).await;
    let now = scene.fixture.now_s();
    for (claim, value, expected) in [
        ("aud", json!("https://other.corp"), "jwt-audience"),
        ("aud", Value::Null, "jwt-audience"),
        ("iss", json!("https://issuer.example/"), "jwt-issuer"),
        ("iss", json!("https://evil.example"), "jwt-issuer"),
        ("iss", json!([ISSUER]), "jwt-issuer"),
        ("iss", Value::Null, "jwt-issuer"),
        ("exp", json!(now - 61), "jwt-expired"),
        ("exp", json!(now + 100_000), "jwt-lifetime"),
        ("exp", Value::Null, "jwt-lifetime"),
        ("exp", json!("later"), "jwt-malformed"),
        ("nbf", json!(now + 120), "jwt-not-yet-valid"),
        ("iat", json!(now + 120), "jwt-not-yet-valid"),
        ("sub", json!(""), "jwt-subject"),
        ("sub", Value::Null, "jwt-subject"),
    ] {
        assert_eq!(scene.label(&scene.token_with(claim, value.clone())).await, expected, "{value}");
    }
    let token = scene.token();
    scene.fixture.pass(361);
    assert_eq!(scene.label(&token).await, "jwt-expired");
}

#[tokio::test]
async fn signatures_that_are_not_the_issuers_are_refused() {
    let scene = Scene::new(TestKey::rsa()).await;
    let claims = scene.claims();
    let header = |alg: &str| json!({"alg": alg, "kid": "k1"});
    // No signature at all.
    for alg in ["none", "None", "nOnE"] {
        let token = format!("{}.", message(&header(alg), &claims));
        assert_eq!(scene.label(&token).await, "jwt-algorithm");
    }
    // The public key, taken for a shared secret.
    let text = message(&header("HS256"), &claims);
    let secret = scene.key.public_der();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
    let tag = aws_lc_rs::hmac::sign(&key, text.as_bytes());
    let token = format!("{text}.{}", encode(tag.as_ref()));
    assert_eq!(scene.label(&token).await, "jwt-algorithm");
    // Another key, under the name of the right one, and of another kind.
    let forged = TestKey::rsa().token(&header("RS256"), &claims);
    assert_eq!(scene.label(&forged).await, "jwt-signature");
    let elliptic = TestKey::ec().token(&header("ES256"), &claims);
    assert_eq!(scene.label(&elliptic).await, "jwt-key");
    assert_eq!(scene.label(&scene.key.token(&header("RS512"), &claims)).await, "jwt-algorithm");
    // Other claims under a good signature.
    let good = scene.token();
    let mut parts: Vec<&str> = good.split('.').collect();
    let mut other = claims.clone();
    other["repository_id"] = json!("666");
    let other = message(&header("RS256"), &other);
    parts[1] = other.split('.').nth(1).unwrap();
    assert_eq!(scene.label(&parts.join(".")).await, "jwt-signature");
    // A key of its own, or a place to get one.
    for (name, value) in [
        ("jku", json!("https://evil.example/jwks")),
        ("jwk", TestKey::rsa().jwk("k1")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["exp"])),
    ] {
        let mut header = header("RS256");
        header[name] = value;
        assert_eq!(scene.label(&scene.key.token(&header, &claims)).await, "jwt-header", "{name}");
    }
    let long = scene.token_with("extra", json!("x".repeat(8 << 10)));
    assert_eq!(scene.label(&long).await, "jwt-too-long");
    assert!(bearer(&scene.access, &good).await.is_ok());
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_in_a_while_and_a_rotated_one_is_found() {
    let scene = Scene::new(TestKey::ec()).await;
    assert!(bearer(&scene.access, &scene.token()).await.is_ok());
    let unknown = scene.key.token(&scene.header("k2"), &scene.claims());
    // Not again at once.
    assert_eq!(scene.label(&unknown).await, "jwt-key");
    assert_eq!(scene.issuer.asked(), 1);
    scene.fixture.pass(30);
    for _ in 0..5 {
        assert_eq!(scene.label(&unknown).await, "jwt-key");
    }
    assert_eq!(scene.issuer.asked(), 2);
    scene.issuer.show(&[scene.key.jwk("k2"), TestKey::rsa().jwk("k3")]);
    scene.fixture.pass(30);
    let unknown = scene.key.token(&scene.header("k2"), &scene.claims());
    assert!(bearer(&scene.access, &unknown).await.is_ok());
    assert_eq!(scene.label(&scene.token()).await, "jwt-key", "the old key is gone");
    // Without a key id only an only key will do.
    let header = json!({"alg": "ES256"});
    let unnamed = scene.key.token(&header, &scene.claims());
    assert_eq!(scene.label(&unnamed).await, "jwt-key");
    scene.issuer.show(&[scene.key.jwk("k2"), json!({"kty": "oct", "k": "AAAA"}), json!(7)]);
    scene.fixture.pass(30);
    let unnamed = scene.key.token(&header, &scene.claims());
    assert!(bearer(&scene.access, &unnamed).await.is_ok());
}

#[tokio::test]
async fn last_keys_count_for_a_day_while_the_issuer_is_away() {
    let scene = Scene::new(TestKey::ec()).await;
    assert!(bearer(&scene.access, &scene.token()).await.is_ok());
    scene.fixture.pass(599);
    assert!(bearer(&scene.access, &scene.token()).await.is_ok());
    assert_eq!(scene.issuer.asked(), 1);
    scene.issuer.say("500 Internal Server Error", "", "");
    scene.fixture.pass(1);
    for _ in 0..3 {
        assert!(bearer(&scene.access, &scene.token()).await.is_ok());
    }
    assert_eq!(scene.issuer.asked(), 2, "an issuer that is away is not asked all the time");
    // Perhaps it has the key: nobody can look.
    scene.fixture.pass(30);
    let unknown = scene.key.token(&scene.header("k2"), &scene.claims());
    let unavailable = (DeniedStatus::Unavailable, "issuer-unavailable");
    assert_eq!(label(&scene.access, &unknown).await, unavailable);
    scene.fixture.pass(24 * 3600 - 630 - 1);
    assert!(bearer(&scene.access, &scene.token()).await.is_ok());
    scene.fixture.pass(1);
    assert_eq!(label(&scene.access, &scene.token()).await, unavailable);
    scene.issuer.show(&[scene.key.jwk("k1")]);
    scene.fixture.pass(30);
    assert!(bearer(&scene.access, &scene.token()).await.is_ok());
}

#[tokio::test]
async fn answers_that_are_no_key_set_open_nothing() {
    let key = TestKey::ec();
    let many: Vec<Value> = (0..=jwks::KEYS_MAX).map(|n| key.jwk(&n.to_string())).collect();
    let elsewhere = TestIssuer::start(&[key.jwk("k1")]).await;
    let redirect = format!("location: {}\r\n", elsewhere.url);
    let good = json!({"keys": [key.jwk("k1")]}).to_string();
    let padded = format!("{good}{}", " ".repeat(jwks::JWKS_BYTES_MAX));
    let none = json!({"keys": []}).to_string();
    for (status, headers, body) in [
        ("200 OK", "", ""),
        ("200 OK", "", "[]"),
        ("200 OK", "", none.as_str()),
        ("200 OK", "", json!({ "keys": many }).to_string().as_str()),
        ("200 OK", "", padded.as_str()),
        ("302 Found", redirect.as_str(), good.as_str()),
        ("307 Temporary Redirect", redirect.as_str(), ""),
        ("404 Not Found", "", good.as_str()),
    ] {
        let scene = Scene::new(TestKey::ec()).await;
        scene.issuer.say(status, headers, body);
        let unavailable = (DeniedStatus::Unavailable, "issuer-unavailable");
        assert_eq!(label(&scene.access, &scene.token()).await, unavailable, "{status}");
    }
    assert_eq!(elsewhere.asked(), 0, "no redirect was followed");
}

#[tokio::test]
async fn a_client_that_follows_redirects_gets_no_keys_either() {
    let fixture = Fixture::new();
    let key = TestKey::ec();
    let elsewhere = TestIssuer::start(&[key.jwk("k1")]).await;
    let issuer = TestIssuer::start(&[]).await;
    issuer.say("302 Found", &format!("location: {}\r\n", elsewhere.url), "");
    fixture.write_policy(&policy(&issuer));
    let policy = Some(fixture.policy_path());
    let settings = AccessSettings { policy, tokens: fixture.tokens(), open_writes: false };
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let access = Access::load(settings, http).unwrap();
    let scene = Scene { fixture, access, issuer, key };
    let (_, label) = label(&scene.access, &scene.token()).await;
    assert_eq!(label, "issuer-unavailable");
}

#[tokio::test]
async fn keys_are_read_from_a_file_where_the_policy_says_so() {
    let fixture = Fixture::new();
    let key = TestKey::rsa();
    let file = fixture.directory.path().join("jwks.json");
    std::fs::write(&file, json!({"keys": [key.jwk("k1")]}).to_string()).unwrap();
    let issuer = TestIssuer::start(&[]).await;
    let text = policy(&issuer).replace("jwks_url", "jwks_file");
    let text = text.replace(&issuer.url, file.to_str().unwrap());
    let access = fixture.load(Some(&text), false);
    let scene = Scene { fixture, access, issuer, key };
    assert!(bearer(&scene.access, &scene.token()).await.is_ok());
    assert_eq!(scene.issuer.asked(), 0);
}

#[tokio::test]
async fn many_requests_at_once_cause_one_fetch() {
    let scene = Arc::new(Scene::new(TestKey::ec()).await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let scene = scene.clone();
        tasks.spawn(async move { bearer(&scene.access, &scene.token()).await.is_ok() });
    }
    assert!(tasks.join_all().await.into_iter().all(|ok| ok));
    assert_eq!(scene.issuer.asked(), 1);
}

#[tokio::test]
async fn hostile_credentials_never_panic_and_never_open_anything() {
    let mut random = Random::seeded("hostile_credentials_never_panic_and_never_open_anything");
    let scene = Scene::new(TestKey::ec()).await;
    let token = scene.fixture.token("ci", Scope::default());
    let good = [format!("Bearer {}", scene.token()), format!("Bearer {}", token.as_str())];
    for n in 0..4_000 {
        let good = good[n % 2].as_bytes();
        let header = random.mutate(good);
        let c = Credentials { authorization: Some(&header), certificate: None };
        let is_let_in = scene.access.authenticate(&scene.access.policy_now(), c).await.is_ok();
        // What is let in has the very same credential, perhaps with other white space before it.
        let text = String::from_utf8_lossy(&header);
        let same = text.trim_end_matches(' ').ends_with(&String::from_utf8_lossy(&good[7..])[..]);
        assert!(!is_let_in || same, "{text}");
    }
    for _ in 0..2_000 {
        let bytes = random.mutate(&std::fs::read(scene.fixture.tokens()).unwrap());
        let _ = Tokens::parse(&bytes);
    }
}
