//! Who may write, over real sockets: each way in, each refusal, and the commands beside a running
//! server (`docs/access.md`).

mod issuer;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use treering_proto::encoding::to_base64;
use treering_tests::authority::Authority;
use treering_tests::http::{Connection, Response};
use treering_tests::model::statement;
use treering_tests::server::{Log, Server, refused, run, text};
use treering_tests::submission::{Face, Signer, Submission};

use self::issuer::{Issuer, base64url, now_s};

/// A rule for the tokens of `ci-llm`, and one for those of `ci-vision`.
const RULES: &str = "
[[rule]]
name = 'llm'
project = 'llm'
token = 'ci-llm'
kinds = ['dsse']
names = ['llm-*']

[[rule]]
name = 'vision'
project = 'vision'
token = 'ci-vision'
names = ['vision-*']
";

/// Puts a policy in force, all at once.
fn write_policy(log: &Log, policy: &str) -> PathBuf {
    let (new, path) = (log.beside("access.new"), log.beside("access.toml"));
    fs::write(&new, policy).unwrap();
    fs::rename(&new, &path).unwrap();
    path
}

fn serve(log: &Log, policy: &str) -> Server {
    let path = write_policy(log, policy);
    log.serve_with(&["--access-policy", text(&path)], None)
}

/// What a command of the server prints, parsed.
fn command(log: &Log, arguments: &[&str]) -> Value {
    let output = log.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn create(log: &Log, name: &str, more: &[&str]) -> String {
    let made = command(log, &[&["token", "create", "--name", name], more].concat());
    made["token"].as_str().unwrap().to_owned()
}

/// An envelope that speaks of `name`, one of a kind.
fn about(name: &str) -> Submission {
    let signer = Signer::new();
    Submission::dsse(Face::V1, &signer, &statement(name, 1))
}

fn post(connection: &mut Connection, authorization: &str, submission: &Submission) -> Response {
    let mut headers = "content-type: application/json\r\n".to_owned();
    if !authorization.is_empty() {
        headers += &format!("authorization: {authorization}\r\n");
    }
    connection.post_with(submission.face.path(), &headers, &submission.request).unwrap()
}

/// The status and label of the answer to an entry about `name`, sent with this header.
fn outcome(server: &Server, authorization: &str, name: &str) -> (u16, String) {
    let response = post(&mut server.connect(), authorization, &about(name));
    let label = response.header("treering-error").unwrap_or("-").to_owned();
    let secret = authorization.rsplit(['_', '.', ' ']).next().unwrap();
    assert!(secret.len() < 20 || !response.text().contains(secret), "{}", response.text());
    (response.status, label)
}

fn refusal(status: u16, label: &str) -> (u16, String) {
    (status, label.to_owned())
}

fn logged() -> (u16, String) {
    refusal(201, "-")
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn nobody_writes_until_somebody_is_let_in() {
    let log = Log::create();
    let server = log.serve_with(&[], None);
    assert_eq!(outcome(&server, "", "x"), refusal(403, "writes-closed"));
    assert_eq!(server.get("/readyz").json()["writes"], "closed");
    assert_eq!(server.get("/checkpoint").status, 200, "everybody reads");
    let token = create(&log, "ci", &[]);
    assert_eq!(outcome(&server, &bearer(&token), "x"), logged());
    // What was found out is kept for a second at most.
    let start = now_s();
    let missing = refusal(401, "credential-missing");
    while outcome(&server, "", "x") != missing {
        assert!(now_s() < start + 30, "the server does not notice the token");
    }
    assert_eq!(server.get("/readyz").json()["writes"], "restricted");
    let response = post(&mut server.connect(), "", &about("x"));
    assert_eq!(response.header("www-authenticate"), Some("Bearer realm=\"treering\""));
    assert_eq!(server.size(), 1);
}

#[test]
fn tokens_are_made_and_revoked_beside_a_running_server() {
    let log = Log::create();
    let server = serve(&log, RULES);
    let token = create(&log, "ci-llm", &["--note", "nightly"]);
    assert_eq!(outcome(&server, &bearer(&token), "llm-1"), logged());
    let basic = format!("Basic {}", to_base64(format!("any:{token}").as_bytes()));
    assert_eq!(outcome(&server, &basic, "llm-1"), logged());

    let forged = format!("{}{}", &token[..21], "A".repeat(43));
    for (header, label) in [
        (bearer(&forged), "token-unknown"),
        (bearer(&token[..63]), "token-malformed"),
        (bearer(&format!("{token}{token}")), "token-malformed"),
        (token.clone(), "credential-malformed"),
        (format!("Digest {token}"), "credential-malformed"),
        ("Bearer ".to_owned() + &"x".repeat(20_000), "credential-malformed"),
        (bearer("x"), "jwt-malformed"),
    ] {
        assert_eq!(outcome(&server, &header, "llm-1"), refusal(401, label));
    }

    let second = create(&log, "ci-llm", &[]);
    let id = &token[4..20];
    let revoked = command(&log, &["token", "revoke", id]);
    assert_eq!((&revoked[0]["id"], &revoked[0]["state"]), (&json!(id), &json!("revoked")));
    assert_eq!(outcome(&server, &bearer(&token), "llm-1"), refusal(401, "token-revoked"));
    assert_eq!(outcome(&server, &bearer(&second), "llm-1"), logged());
    assert_eq!(log.run(&["token", "revoke", "nobody"]).status.code(), Some(3));

    // Its time is over: the file says so.
    let tokens = log.data.join("tokens.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&tokens).unwrap()).unwrap();
    file["tokens"][1]["expires"] = file["tokens"][1]["created"].clone();
    fs::write(&tokens, file.to_string()).unwrap();
    assert_eq!(outcome(&server, &bearer(&second), "llm-1"), refusal(401, "token-expired"));
    let listed = command(&log, &["token", "list"]);
    assert_eq!((&listed[0]["state"], &listed[1]["state"]), (&json!("revoked"), &json!("expired")));

    let said = server.terminate().stderr;
    let journal = journal(&log);
    for kept in [listed.to_string(), fs::read_to_string(&tokens).unwrap(), said, journal.clone()] {
        assert!(!kept.contains(&token[21..]) && !kept.contains(&second[21..]), "a secret is kept");
    }
    for words in ["admin:token-create", "admin:token-revoke", "token-revoked", "token:ci-llm#"] {
        assert!(journal.contains(words), "{words}: {journal}");
    }
}

/// All lines of the journal.
fn journal(log: &Log) -> String {
    let files = fs::read_dir(log.data.join("journal")).unwrap().flatten();
    let lines = files.map(|file| fs::read_to_string(file.path()).unwrap_or_default());
    lines.collect()
}

#[test]
fn another_projects_name_and_what_else_a_rule_does_not_allow_is_refused() {
    let log = Log::create();
    let server = serve(&log, RULES);
    let (llm, vision) = (create(&log, "ci-llm", &[]), create(&log, "ci-vision", &[]));
    let stranger = create(&log, "stranger", &[]);
    let narrow = create(&log, "ci-vision", &["--kind", "hashedrekord"]);
    let elsewhere = create(&log, "ci-vision", &["--project", "audio"]);
    for (token, name, expected) in [
        (&llm, "llm-7b", logged()),
        (&vision, "vision-2", logged()),
        (&llm, "vision-2", refusal(403, "name-not-allowed")),
        (&vision, "llm-7b", refusal(403, "name-not-allowed")),
        (&vision, "xvision-2", refusal(403, "name-not-allowed")),
        (&stranger, "llm-7b", refusal(403, "principal-not-allowed")),
        (&narrow, "vision-2", refusal(403, "token-scope")),
        (&elsewhere, "vision-2", refusal(403, "token-scope")),
    ] {
        assert_eq!(outcome(&server, &bearer(token), name), expected, "{name}");
    }
    for face in [Face::V1, Face::V2] {
        let digest = Submission::hashedrekord(face, &Signer::new(), b"weights");
        let refused = post(&mut server.connect(), &bearer(&llm), &digest);
        assert_eq!(refused.header("treering-error"), Some("kind-not-allowed"));
        let refused = post(&mut server.connect(), &bearer(&vision), &digest);
        assert_eq!((refused.status, refused.header("treering-error")), (403, Some("name-missing")));
    }
    assert_eq!(server.size(), 2, "nothing that was refused is logged");
    assert!(journal(&log).contains("\"rule\":\"llm\""), "the journal names the rule");
}

#[test]
fn signers_are_those_that_the_rule_names() {
    let log = Log::create();
    let (ours, theirs) = (Signer::new(), Signer::new());
    let key = ours.key.fingerprint();
    let rule =
        format!("[[rule]]\nname='a'\nproject='p'\ntoken='ci'\nsigner_keys=['sha256:{key}']\n");
    let server = serve(&log, &rule);
    let token = bearer(&create(&log, "ci", &[]));
    let good = Submission::dsse(Face::V2, &ours, &statement("x", 1));
    assert_eq!(post(&mut server.connect(), &token, &good).status, 201);
    let bad = Submission::dsse(Face::V2, &theirs, &statement("x", 2));
    let refused = post(&mut server.connect(), &token, &bad);
    let label = refused.header("treering-error");
    assert_eq!((refused.status, label), (403, Some("signer-not-allowed")));
}

#[test]
fn a_quota_refuses_what_is_above_it_and_counts_only_entries() {
    let log = Log::create();
    let rule = "[[rule]]\nname='a'\nproject='p'\ntoken='ci'\nquota={entries_per_minute=3}\n";
    let server = serve(&log, rule);
    let token = bearer(&create(&log, "ci", &[]));
    let first = about("x");
    assert_eq!(post(&mut server.connect(), &token, &first).status, 201);
    for _ in 0..5 {
        let headers = format!("content-type: application/json\r\nauthorization: {token}\r\n");
        let broken = server.connect().post_with(Face::V1.path(), &headers, b"{}");
        assert_eq!(broken.unwrap().status, 422, "what is no entry takes nothing");
    }
    assert_eq!(post(&mut server.connect(), &token, &first).status, 409, "this one counts");
    assert_eq!(outcome(&server, &token, "x"), logged());
    // A second token of the same name is no second quota.
    let second = bearer(&create(&log, "ci", &[]));
    // One refills each 20 seconds; a slow machine may see one or two come back.
    let mut answers = (0..10).map(|_| post(&mut server.connect(), &second, &about("x")));
    let refused = answers.find(|response| response.status != 201).unwrap();
    assert_eq!((refused.status, refused.header("treering-error")), (429, Some("quota")));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
}

#[test]
fn a_broken_policy_closes_writes_until_it_is_mended() {
    let log = Log::create();
    let server = serve(&log, RULES);
    let token = bearer(&create(&log, "ci-llm", &[]));
    assert_eq!(outcome(&server, &token, "llm-1"), logged());
    write_policy(&log, &RULES.replace("project", "projct"));
    assert_eq!(outcome(&server, &token, "llm-1"), refusal(503, "policy-broken"));
    assert_eq!(outcome(&server, "", "llm-1"), refusal(503, "policy-broken"));
    write_policy(&log, RULES);
    assert_eq!(outcome(&server, &token, "llm-1"), logged());
    let tokens = log.data.join("tokens.json");
    let whole = fs::read(&tokens).unwrap();
    fs::write(&tokens, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(outcome(&server, &token, "llm-1"), refusal(503, "tokens-broken"));
    fs::write(&tokens, &whole).unwrap();
    assert_eq!(outcome(&server, &token, "llm-1"), logged());
    write_policy(&log, &RULES.replace("'llm-*'", "'other-*'"));
    assert_eq!(outcome(&server, &token, "llm-1"), refusal(403, "name-not-allowed"));
    let said = server.terminate().stderr;
    assert!(said.contains("did you mean `project`?"), "{said}");

    let broken = write_policy(&log, &RULES.replace("project", "projct"));
    let ended = refused(&log.data, &["--access-policy", text(&broken)]);
    assert_eq!(ended.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean `project`?"), "{}", ended.stderr);
}

#[test]
fn a_log_that_had_a_policy_is_not_served_without_it_by_mistake() {
    let log = Log::create();
    // What never came into force is not missed.
    let broken = write_policy(&log, &RULES.replace("project", "projct"));
    assert_eq!(refused(&log.data, &["--access-policy", text(&broken)]).code(), Some(2));
    assert_eq!(log.serve_with(&[], None).terminate().code(), Some(0));
    let token = bearer(&create(&log, "stranger", &[]));
    let server = serve(&log, RULES);
    assert_eq!(outcome(&server, &token, "x"), refusal(403, "principal-not-allowed"));
    assert_eq!(server.terminate().code(), Some(0));
    for flags in [&[][..], &["--open-writes"], &["--without-access-policy=false"]] {
        let ended = refused(&log.data, flags);
        assert_eq!(ended.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("--without-access-policy"), "{}", ended.stderr);
    }
    let policy = write_policy(&log, RULES);
    let both = ["--access-policy", text(&policy), "--without-access-policy"];
    assert_eq!(refused(&log.data, &both).code(), Some(2));
    let server = log.serve_with(&["--without-access-policy"], None);
    assert_eq!(outcome(&server, &token, "x"), logged());
    assert_eq!(server.terminate().code(), Some(0));
    let server = log.serve_with(&[], None);
    assert_eq!(server.size(), 1, "and from then on without saying so");
}

#[test]
fn a_token_is_put_into_a_file_of_its_own() {
    let log = Log::create();
    let server = log.serve_with(&[], None);
    let out = log.beside("ci.token");
    let arguments = ["token", "create", "--name", "ci", "--out", text(&out)];
    let answer = command(&log, &arguments);
    let token = fs::read_to_string(&out).unwrap();
    assert_eq!((token.len(), &answer["token"]), (64, &Value::Null));
    assert_eq!(&answer["id"], &token[4..20]);
    assert_eq!(outcome(&server, &bearer(&token), "x"), logged());
    let again = log.run(&arguments);
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(fs::read_to_string(&out).unwrap(), token, "never overwritten");
    assert_eq!(command(&log, &["token", "list"]).as_array().unwrap().len(), 1);
}

/// A policy that lets in workloads of `issuer`.
fn workload_policy(issuer: &Issuer) -> String {
    format!(
        "[issuers.ci]\nissuer='https://issuer.example'\naudience='https://log.corp'\n\
         jwks_url='{}'\n[[rule]]\nname='a'\nproject='p'\nissuer='ci'\n\
         claims={{repository_id='123'}}\nnames=['llm-*']\n",
        issuer.url()
    )
}

#[test]
fn a_workload_is_let_in_by_the_word_of_its_issuer() {
    let (log, issuer) = (Log::create(), Issuer::start());
    let server = serve(&log, &workload_policy(&issuer));
    let token = bearer(&issuer.token());
    assert_eq!(outcome(&server, &token, "llm-1"), logged());
    assert_eq!(outcome(&server, &token, "vision-1"), refusal(403, "name-not-allowed"));
    let now = now_s();
    for (claim, value, expected) in [
        ("aud", json!("https://other.corp"), refusal(401, "jwt-audience")),
        ("aud", Value::Null, refusal(401, "jwt-audience")),
        ("iss", json!("https://issuer.example/"), refusal(401, "jwt-issuer")),
        ("iss", json!("https://evil.example"), refusal(401, "jwt-issuer")),
        ("exp", json!(now - 3600), refusal(401, "jwt-expired")),
        ("exp", json!(now + 200_000), refusal(401, "jwt-lifetime")),
        ("exp", Value::Null, refusal(401, "jwt-lifetime")),
        ("nbf", json!(now + 3600), refusal(401, "jwt-not-yet-valid")),
        ("sub", Value::Null, refusal(401, "jwt-subject")),
        ("repository_id", json!("124"), refusal(403, "claim-not-allowed")),
        ("extra", json!("x".repeat(7_000)), refusal(401, "jwt-too-long")),
    ] {
        let token = bearer(&issuer.token_with(claim, value));
        assert_eq!(outcome(&server, &token, "llm-1"), expected, "{claim}");
    }
    assert_eq!(issuer.asked(), 1, "its keys were fetched once");
    assert_eq!(server.size(), 1);
    assert!(journal(&log).contains("workload:ci:"));
}

#[test]
fn a_forged_workload_is_refused_and_leads_nowhere() {
    let (log, issuer, evil) = (Log::create(), Issuer::start(), Issuer::start());
    let server = serve(&log, &workload_policy(&issuer));
    let claims = issuer.claims();
    let unsigned = |algorithm: &str| {
        let header = json!({"alg": algorithm, "kid": "k1"}).to_string();
        format!("{}.{}", base64url(header.as_bytes()), base64url(claims.to_string().as_bytes()))
    };
    let with_header = |name: &str, value: Value| {
        let mut header = json!({"alg": "ES256", "kid": "k1"});
        header[name] = value;
        issuer.sign(&header, &claims)
    };
    let shared = unsigned("HS256");
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &issuer.public_key());
    let tag = aws_lc_rs::hmac::sign(&secret, shared.as_bytes());
    let good = issuer.token();
    let other = issuer.token_with("repository_id", json!("666"));
    let part = |token: &str, at: usize| token.split('.').nth(at).unwrap_or_default().to_owned();
    let mixed = [part(&good, 0), part(&other, 1), part(&good, 2)];
    for (token, label) in [
        (format!("{}.", unsigned("none")), "jwt-algorithm"),
        (format!("{shared}.{}", base64url(tag.as_ref())), "jwt-algorithm"),
        (evil.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims), "jwt-signature"),
        (mixed.join("."), "jwt-signature"),
        (issuer.sign(&json!({"alg": "ES256", "kid": "k2"}), &claims), "jwt-key"),
        (with_header("jku", json!(evil.url())), "jwt-header"),
        (with_header("x5u", json!(evil.url())), "jwt-header"),
        (with_header("jwk", evil.jwk("k1")), "jwt-header"),
        (with_header("crit", json!(["exp"])), "jwt-header"),
        (format!("{good}.x"), "jwt-malformed"),
        (good.replace('.', ".."), "jwt-malformed"),
    ] {
        assert_eq!(outcome(&server, &bearer(&token), "llm-1"), refusal(401, label));
    }
    assert_eq!(evil.asked(), 0, "nobody was asked whom only a token named");
    assert_eq!(outcome(&server, &bearer(&good), "llm-1"), logged());
    assert_eq!(server.size(), 1);
}

#[test]
fn an_issuer_that_cannot_be_asked_is_no_reason_to_let_somebody_in() {
    let (log, issuer) = (Log::create(), Issuer::start());
    issuer.say("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n");
    let server = serve(&log, &workload_policy(&issuer));
    let token = bearer(&issuer.token());
    assert_eq!(outcome(&server, &token, "llm-1"), refusal(503, "issuer-unavailable"));
    assert_eq!(outcome(&server, &token, "llm-1"), refusal(503, "issuer-unavailable"));
    assert_eq!(issuer.asked(), 1, "not again at once, and not elsewhere");
    assert_eq!(server.size(), 0);
}

#[test]
fn client_certificates_write_what_their_rule_allows() {
    let (log, authority, clients) = (Log::create(), Authority::new(), Authority::new());
    let client_ca = log.beside("clients.pem");
    fs::write(&client_ca, clients.pem()).unwrap();
    let (certificate, key) = authority.server().write(Path::new(&log.beside("")), "server");
    let rule = "[[rule]]\nname='a'\nproject='llm'\ncertificate='spiffe://corp/llm/*'\n\
                names=['llm-*']\n";
    let policy = write_policy(&log, rule);
    let flags = [
        ["--tls-certificate", text(&certificate)],
        ["--tls-key", text(&key)],
        ["--tls-client-ca", text(&client_ca)],
        ["--access-policy", text(&policy)],
    ];
    let server = log.serve_with(&flags.concat(), None);
    let outcome = |uri: Option<&str>, authorization: &str, name: &str| {
        let shown = uri.map(|uri| clients.client(uri));
        let config = authority.client_config(shown.as_ref());
        let mut connection = Connection::open_tls(server.address, config).unwrap();
        let response = post(&mut connection, authorization, &about(name));
        (response.status, response.header("treering-error").unwrap_or("-").to_owned())
    };
    assert_eq!(outcome(Some("spiffe://corp/llm/ci"), "", "llm-1"), logged());
    for (uri, name, expected) in [
        (Some("spiffe://corp/llm/ci"), "vision-1", refusal(403, "name-not-allowed")),
        (Some("spiffe://corp/vision/ci"), "llm-1", refusal(403, "principal-not-allowed")),
        (None, "llm-1", refusal(401, "credential-missing")),
    ] {
        assert_eq!(outcome(uri, "", name), expected);
    }
    // The header counts: who shows a wrong one is not let in by a certificate.
    let wrong = bearer(&format!("trt_{}_{}", "0".repeat(16), "A".repeat(43)));
    let expected = refusal(401, "token-unknown");
    assert_eq!(outcome(Some("spiffe://corp/llm/ci"), &wrong, "llm-1"), expected);
    let lines = journal(&log);
    assert!(lines.contains("certificate:spiffe://corp/llm/ci"), "{lines}");
}

#[test]
fn every_example_of_the_documentation_does_what_it_says() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/access.md");
    let document = fs::read_to_string(document).unwrap();
    let blocks = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let policy: String = blocks.collect::<Vec<_>>().join("\n");
    let log = Log::create();
    let policy = write_policy(&log, &policy);
    let body = log.beside("body.json");
    fs::write(&body, about("vision-2").request).unwrap();
    let mut tested = 0;
    for line in document.lines().filter_map(|line| line.strip_prefix("    treering-server ")) {
        let words = line.replace('"', "").replace("llm pipeline", "llm-pipeline");
        let words = words.replace("./log", text(&log.data)).replace("body.json", text(&body));
        let words = words.replace("access.toml", text(&policy));
        let words = words.replace("ci-llm.token", text(&log.beside("ci-llm.token")));
        let output = run(&words.split(' ').collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{line}\n{said}");
        let _: Value = serde_json::from_slice(&output.stdout).unwrap();
        tested += 1;
    }
    assert!(tested >= 8, "{tested} examples");
    let refused = ["policy", "test", text(&policy), "--token-name", "ci-llm", "--kind", "dsse"];
    let output = run(&[&refused[..], &["--name", "yolo"]].concat());
    assert_eq!(output.status.code(), Some(4));
    let decision: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(decision["label"], "name-not-allowed");
    fs::write(&policy, "rules = 1").unwrap();
    assert_eq!(run(&refused).status.code(), Some(2));
}
