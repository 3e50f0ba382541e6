use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::test_entry::{dsse, hashedrekord};
use super::test_issuer::{TestIssuer, TestKey, message};
use super::token::{LIFETIME_DEFAULT_S, Scope, TokenText};
use super::token_file::NewToken;
use super::*;

/// Random choices that can be made again (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn seeded(test: &str) -> Self {
        let seed = match std::env::var("TREERING_SEED") {
            Ok(text) => text.parse().expect("TREERING_SEED is a decimal number"),
            Err(_) => clock::read().wall_ms,
        };
        println!("{test}: TREERING_SEED={seed}");
        Self(seed)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % end
    }

    /// `bytes` with up to four pieces changed, taken out, doubled or put elsewhere.
    pub(super) fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let from = self.below(bytes.len().max(1)).min(bytes.len());
            let to = (from + self.below(20)).min(bytes.len());
            match self.below(5) {
                0 => drop(bytes.drain(from..to)),
                1 => {
                    let piece = bytes[from..to].to_vec();
                    let at = self.below(bytes.len() + 1);
                    bytes.splice(at..at, piece);
                }
                2 => bytes.splice(from..to, [self.below(256) as u8]).for_each(drop),
                3 => bytes.truncate(to.max(1)),
                _ => {
                    let extra = b"\"'[]{}=.,*\\\n\0#0129azAZ:-_";
                    bytes.insert(from, extra[self.below(extra.len())]);
                }
            }
        }
        bytes
    }
}

/// Access in a directory of its own, with a clock that stands.
struct Fixture {
    directory: tempfile::TempDir,
    clock: Arc<AtomicU64>,
    start: Reading,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, clock: Arc::default(), start: clock::read() }
    }

    fn tokens(&self) -> PathBuf {
        self.directory.path().join("tokens.json")
    }

    fn policy_path(&self) -> PathBuf {
        self.directory.path().join("policy.toml")
    }

    /// Puts a policy in force, all at once.
    fn write_policy(&self, text: &str) {
        let new = self.directory.path().join("policy.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.policy_path()).unwrap();
    }

    fn load(&self, policy: Option<&str>, open_writes: bool) -> Access {
        if let Some(text) = policy {
            self.write_policy(text);
        }
        let policy = policy.map(|_| self.policy_path());
        let settings = AccessSettings { policy, tokens: self.tokens(), open_writes };
        let (clock, start) = (self.clock.clone(), self.start);
        let now = move || {
            let ms = clock.load(Ordering::SeqCst);
            Reading { wall_ms: start.wall_ms + ms, boot_ms: start.boot_ms + ms }
        };
        let http = jwks::http_client().no_proxy().build().unwrap();
        Access::load_with_clock(settings, http, Arc::new(now)).unwrap()
    }

    fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    fn now_s(&self) -> u64 {
        self.start.wall_ms / 1000 + self.clock.load(Ordering::SeqCst) / 1000
    }

    fn token(&self, name: &str, scope: Scope) -> TokenText {
        let new = NewToken {
            name: name.to_owned(),
            note: String::new(),
            lifetime_s: LIFETIME_DEFAULT_S,
            scope,
        };
        let text = TokenText::random().unwrap();
        token_file::create(&self.tokens(), new, &text, self.now_s()).unwrap();
        text
    }
}

async fn bearer(access: &Access, token: &str) -> Result<Principal, Denied> {
    let header = format!("Bearer {token}");
    let c = Credentials { authorization: Some(header.as_bytes()), certificate: None };
    let result = access.authenticate(&access.policy_now(), c).await;
    if let Err(denied) = &result {
        let tail = &token[token.len().saturating_sub(16)..];
        assert!(token.len() < 40 || !denied.message.contains(tail), "{}", denied.message);
        assert!(!denied.label.is_empty() && denied.message.len() < 300);
    }
    result
}

async fn label(access: &Access, token: &str) -> (DeniedStatus, &'static str) {
    let denied = bearer(access, token).await.unwrap_err();
    (denied.status, denied.label)
}

const UNAUTHENTICATED: DeniedStatus = DeniedStatus::Unauthenticated;

#[tokio::test]
async fn writes_are_closed_until_somebody_is_let_in() {
    let fixture = Fixture::new();
    let access = fixture.load(None, false);
    let nobody = Credentials::default();
    let denied = access.authenticate(&access.policy_now(), nobody).await.unwrap_err();
    assert_eq!((denied.status, denied.label), (DeniedStatus::Forbidden, "writes-closed"));
    assert!(!access.is_configured() && !access.is_open());

    let token = fixture.token("ci", Scope::default());
    assert!(access.is_configured());
    fixture.pass(1);
    let denied = access.authenticate(&access.policy_now(), nobody).await.unwrap_err();
    assert_eq!((denied.status, denied.label), (UNAUTHENTICATED, "credential-missing"));
    let principal = bearer(&access, token.as_str()).await.unwrap();
    assert_eq!(principal.to_string(), format!("token:ci#{}", token.id()));
    let grant = access.authorise(&access.policy_now(), &principal, &hashedrekord()).unwrap();
    assert_eq!((&*grant.project, &*grant.rule), ("default", "token"));
    // Nobody else, without a policy.
    let names = vec!["ci.corp".to_owned()];
    for other in [Principal::Anonymous, Principal::Certificate { names }] {
        let denied = access.authorise(&access.policy_now(), &other, &hashedrekord()).unwrap_err();
        assert_eq!(
            (denied.status, denied.label),
            (DeniedStatus::Forbidden, "principal-not-allowed")
        );
    }
    fixture.pass(LIFETIME_DEFAULT_S);
    assert!(!access.is_configured());
}

#[tokio::test]
async fn open_writes_let_everybody_in_but_not_who_lies() {
    let fixture = Fixture::new();
    let access = fixture.load(None, true);
    let principal =
        access.authenticate(&access.policy_now(), Credentials::default()).await.unwrap();
    assert_eq!(principal, Principal::Anonymous);
    let grant = access.authorise(&access.policy_now(), &principal, &hashedrekord()).unwrap();
    assert_eq!((&*grant.project, &*grant.rule), ("default", "open-writes"));
    let forged = TokenText::random().unwrap();
    assert_eq!(label(&access, forged.as_str()).await, (UNAUTHENTICATED, "token-unknown"));
}

#[tokio::test]
async fn each_refusal_of_a_token_beside_a_running_server() {
    let fixture = Fixture::new();
    let access = fixture.load(None, false);
    let token = fixture.token("ci", Scope::default());
    assert!(bearer(&access, token.as_str()).await.is_ok());
    let forged = format!("{}{}", &token.as_str()[..21], "A".repeat(43));
    assert_eq!(label(&access, &forged).await, (UNAUTHENTICATED, "token-unknown"));
    assert_eq!(label(&access, "trt_").await, (UNAUTHENTICATED, "token-malformed"));
    let long = "trt_".repeat(2_000);
    assert_eq!(label(&access, &long).await, (UNAUTHENTICATED, "token-malformed"));
    let longer = "x".repeat(1 << 20);
    assert_eq!(label(&access, &longer).await, (UNAUTHENTICATED, "credential-malformed"));

    token_file::revoke(&fixture.tokens(), token.id(), fixture.now_s()).unwrap();
    let denied = bearer(&access, token.as_str()).await.unwrap_err();
    assert_eq!((denied.status, denied.label), (UNAUTHENTICATED, "token-revoked"));
    assert_eq!(denied.principal, Some(format!("token:ci#{}", token.id())));

    let short = fixture.token("ci", Scope::default());
    fixture.pass(LIFETIME_DEFAULT_S - 1);
    assert!(bearer(&access, short.as_str()).await.is_ok());
    fixture.pass(1);
    assert_eq!(label(&access, short.as_str()).await, (UNAUTHENTICATED, "token-expired"));

    let narrow = Scope { projects: vec!["llm".to_owned()], kinds: vec![] };
    let narrow = fixture.token("ci", narrow);
    let principal = bearer(&access, narrow.as_str()).await.unwrap();
    assert_eq!(
        access.authorise(&access.policy_now(), &principal, &hashedrekord()).unwrap().project,
        "llm"
    );
}

#[tokio::test]
async fn broken_files_close_writes_and_mended_ones_open_them() {
    let fixture = Fixture::new();
    let good = "[[rule]]\nname='a'\nproject='p'\ntoken='ci'\n";
    let access = fixture.load(Some(good), false);
    let token = fixture.token("ci", Scope::default());
    let principal = bearer(&access, token.as_str()).await.unwrap();
    assert!(access.authorise(&access.policy_now(), &principal, &hashedrekord()).is_ok());
    assert_eq!(access.problems(), []);

    fixture.write_policy("[[rule]]\nname='a'\nprojct='p'\ntoken='ci'\n");
    let denied = access.authorise(&access.policy_now(), &principal, &hashedrekord()).unwrap_err();
    assert_eq!((denied.status, denied.label), (DeniedStatus::Unavailable, "policy-broken"));
    // Strangers do not read the policy.
    assert!(!denied.message.contains("projct"));
    let problems = access.problems();
    assert!(problems[0].0 == "policy-broken" && problems[0].1.contains("`project`?"));
    let denied =
        access.authenticate(&access.policy_now(), Credentials::default()).await.unwrap_err();
    assert_eq!(denied.label, "policy-broken");
    std::fs::remove_file(fixture.policy_path()).unwrap();
    assert_eq!(
        access.authorise(&access.policy_now(), &principal, &hashedrekord()).unwrap_err().label,
        "policy-broken"
    );
    fixture.write_policy(good);
    assert!(access.authorise(&access.policy_now(), &principal, &hashedrekord()).is_ok());

    let kept = std::fs::read(fixture.tokens()).unwrap();
    std::fs::write(fixture.tokens(), "{}").unwrap();
    assert_eq!(label(&access, token.as_str()).await, (DeniedStatus::Unavailable, "tokens-broken"));
    assert_eq!(access.problems()[0].0, "tokens-broken");
    std::fs::write(fixture.tokens(), kept).unwrap();
    assert!(bearer(&access, token.as_str()).await.is_ok());
}

#[test]
fn a_broken_file_stops_the_start() {
    let fixture = Fixture::new();
    let load = |policy: &Path| {
        let policy = Some(policy.to_owned());
        let settings = AccessSettings { policy, tokens: fixture.tokens(), open_writes: false };
        Access::load(settings, jwks::http_client().build().unwrap()).err()
    };
    assert!(matches!(load(&fixture.policy_path()), Some(AccessError::Policy(_))));
    fixture.write_policy("");
    assert!(load(&fixture.policy_path()).is_none());
    std::fs::write(fixture.tokens(), "{").unwrap();
    assert!(matches!(load(&fixture.policy_path()), Some(AccessError::Tokens(_))));
}

#[tokio::test]
async fn quotas_refuse_and_failed_requests_burn_nothing() {
    let fixture = Fixture::new();
    let policy = "[[rule]]\nname='a'\nproject='p'\ntoken='ci'\n\
                  quota={entries_per_minute=2,bytes_per_day='1 MiB'}\n";
    let access = fixture.load(Some(policy), false);
    let one = fixture.token("ci", Scope::default());
    let two = fixture.token("ci", Scope::default());
    let entry = dsse(&["llm"]);
    let one = bearer(&access, one.as_str()).await.unwrap();
    let two = bearer(&access, two.as_str()).await.unwrap();
    for _ in 0..10 {
        drop(access.authorise(&access.policy_now(), &one, &entry).unwrap());
    }
    access.authorise(&access.policy_now(), &one, &entry).unwrap().keep();
    // A second token of one name is no second quota.
    access.authorise(&access.policy_now(), &two, &entry).unwrap().keep();
    let denied = access.authorise(&access.policy_now(), &one, &entry).unwrap_err();
    let retry_after = Duration::from_secs(30);
    assert_eq!((denied.status, denied.label), (DeniedStatus::Quota { retry_after }, "quota"));
    fixture.pass(30);
    let mut grant = access.authorise(&access.policy_now(), &one, &entry).unwrap();
    grant.keep();
    assert!(access.authorise(&access.policy_now(), &one, &entry).is_err());
    grant.refund();
    assert!(access.authorise(&access.policy_now(), &one, &entry).is_ok());

    fixture.write_policy(&policy.replace("1 MiB", "100"));
    let denied = access.authorise(&access.policy_now(), &one, &entry).unwrap_err();
    assert_eq!((denied.status, denied.label), (DeniedStatus::Forbidden, "quota-too-small"));
}

/// Between the credential and the entry lies a body, which may take half a minute.
#[tokio::test]
async fn one_request_is_decided_by_one_policy_and_the_next_by_the_new_one() {
    let fixture = Fixture::new();
    let rule =
        |names: &str| format!("[[rule]]\nname='a'\nproject='p'\ntoken='ci'\nnames=['{names}']\n");
    let access = fixture.load(Some(&rule("llm-*")), false);
    let header = format!("Bearer {}", fixture.token("ci", Scope::default()).as_str());
    let c = Credentials { authorization: Some(header.as_bytes()), certificate: None };
    let before = access.policy_now();
    let principal = access.authenticate(&before, c).await.unwrap();
    let entry = dsse(&["llm-7b"]);
    for changed in [rule("vision-*"), "broken".to_owned()] {
        fixture.write_policy(&changed);
        assert!(access.may_ask(&before, &principal).is_ok());
        assert!(access.authorise(&before, &principal, &entry).is_ok(), "as it began");
        let vision = access.authorise(&before, &principal, &dsse(&["vision-2"]));
        assert_eq!(vision.unwrap_err().label, "name-not-allowed");
        assert!(access.authorise(&access.policy_now(), &principal, &entry).is_err());
    }
}

#[tokio::test]
async fn client_certificates_are_their_names() {
    let fixture = Fixture::new();
    let policy = "[[rule]]\nname='a'\nproject='p'\ncertificate='*.corp'\n";
    let access = fixture.load(Some(policy), false);
    assert!(access.is_configured());
    for bad in [&b""[..], b"\x30\x00", &[0x30; 100_000]] {
        let c = Credentials { authorization: None, certificate: Some(bad) };
        let denied = access.authenticate(&access.policy_now(), c).await.unwrap_err();
        assert_eq!((denied.status, denied.label), (UNAUTHENTICATED, "certificate-unreadable"));
    }
    let names = vec!["ci.corp".to_owned()];
    let grant = access
        .authorise(&access.policy_now(), &Principal::Certificate { names }, &hashedrekord())
        .unwrap();
    assert_eq!((&*grant.project, &*grant.rule), ("p", "a"));
    let names = vec!["ci.corp.evil.example".to_owned()];
    assert!(
        access
            .authorise(&access.policy_now(), &Principal::Certificate { names }, &hashedrekord())
            .is_err()
    );
}

mod workloads;
