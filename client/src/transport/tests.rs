use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use super::*;

/// Answers one connection after another with `answers`, and reports each request.
fn serve(answers: Vec<String>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                let count = socket.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..count]);
            }
            sender.send(String::from_utf8(request).unwrap()).unwrap();
            socket.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, receiver)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n{headers}\r\n{body}"
    )
}

fn transport(url: &str, seconds: u64) -> Transport {
    let deadline = Some(Duration::from_secs(seconds));
    Transport::new(url, &TransportOptions { deadline, ..Default::default() }).unwrap()
}

async fn get(url: &str, seconds: u64, limit: usize) -> Result<Answer, TransportError> {
    transport(url, seconds).get("/checkpoint", &[("a", "b&c")], limit, Reading::Fresh).await
}

#[tokio::test]
async fn reads_are_tried_again_after_faults_that_pass() {
    let (url, requests) = serve(vec![
        answer("503 Service Unavailable", "Retry-After: 0\r\n", ""),
        answer("502 Bad Gateway", "", ""),
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut".to_owned(),
        answer("200 OK", "", "hello"),
    ]);
    assert_eq!(get(&url, 30, 100).await.unwrap().body, b"hello");
    let request = requests.recv().unwrap();
    assert!(request.starts_with("GET /checkpoint?a=b%26c HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("cache-control: no-cache\r\n"));
    assert_eq!(requests.iter().count(), 3);
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    let busy = r#"{"code":503,"message":"the queue is full"}"#;
    let (url, _requests) =
        serve(vec![answer("503 Service Unavailable", "Retry-After: 3600\r\n", busy)]);
    let before = Instant::now();
    let error = get(&url, 60, 100).await.unwrap_err();
    assert!(matches!(&error, TransportError::Unavailable { why } if why.contains("queue is full")));
    assert!(before.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn answers_beyond_the_limit_are_refused_with_and_without_a_declared_length() {
    let undeclared = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n123456".to_owned();
    for long in [answer("200 OK", "", "123456"), undeclared] {
        let (url, _requests) = serve(vec![long]);
        let error = get(&url, 30, 5).await.unwrap_err();
        assert!(matches!(error, TransportError::TooLong { limit: 5, .. }), "{error}");
    }
}

#[tokio::test]
async fn redirects_to_another_host_are_not_followed() {
    let (url, _requests) =
        serve(vec![answer("302 Found", "Location: http://example.com/checkpoint\r\n", "")]);
    assert_eq!(get(&url, 30, 100).await.unwrap().status, 302);
}

#[tokio::test]
async fn a_write_tells_refused_from_unknown() {
    let post = async |url: String| transport(&url, 30).post_once("/api", b"{}".to_vec(), 100).await;
    let (url, _requests) = serve(vec![answer("429 Too Many Requests", "", "")]);
    assert!(matches!(post(url).await, Ok(Sent::NotTaken(_))));
    for (label, is_taken) in [("pool-full", false), ("publish-timeout", true), ("stopping", true)] {
        let header = format!("treering-error: {label}\r\n");
        let (url, _requests) = serve(vec![answer("503 Service Unavailable", &header, "")]);
        let sent = post(url).await.unwrap();
        assert_eq!(matches!(sent, Sent::Unknown(_)), is_taken, "{label}");
        assert_eq!(matches!(sent, Sent::NotTaken(_)), !is_taken, "{label}");
    }
    let (url, _requests) = serve(vec![answer("504 Gateway Timeout", "", "")]);
    assert!(matches!(post(url).await, Ok(Sent::Unknown(_))));
    let (url, _requests) = serve(vec![String::new()]);
    assert!(matches!(post(url).await, Ok(Sent::Unknown(_))));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(post(format!("http://{closed}")).await, Ok(Sent::NotTaken(_))));
    let (url, _requests) = serve(vec![answer("401 Unauthorized", "", "no\u{1b}[2J")]);
    let error = post(url).await.unwrap_err();
    assert!(matches!(&error, TransportError::NotAuthorised { message } if message == "no[2J"));
    let (url, _requests) = serve(vec![answer("409 Conflict", "Location: /x/y\r\n", "")]);
    let Ok(Sent::Answered(conflict)) = post(url).await else { panic!("an answer is expected") };
    assert_eq!((conflict.status, conflict.location.as_deref()), (409, Some("/x/y")));
}

#[test]
fn tokens_are_not_sent_in_clear_text_to_other_machines() {
    let options =
        TransportOptions { token: Some("secret".to_owned().into()), ..Default::default() };
    let refused = Transport::new("http://log.example", &options);
    assert!(matches!(refused, Err(TransportError::TokenInClear)));
    assert!(Transport::new("http://127.0.0.1:8080", &options).is_ok());
    assert!(Transport::new("https://log.example", &options).is_ok());
    assert!(matches!(Transport::new("ftp://log.example", &options), Err(TransportError::Url(_))));
}

#[test]
fn waits_double_up_to_a_limit() {
    for tries in 0..40 {
        let whole = BACKOFF_FIRST.saturating_mul(1 << tries.min(16)).min(BACKOFF_MAX);
        let wait = backoff(tries);
        assert!(wait >= whole / 2 && wait <= whole, "{tries}: {wait:?}");
    }
}

#[tokio::test]
async fn no_wait_that_a_log_asks_for_can_break_the_client_or_hurry_it() {
    let forever = format!("Retry-After: {}\r\n", u64::MAX);
    let (url, _requests) = serve(vec![answer("503 Service Unavailable", &forever, "")]);
    let error = get(&url, 60, 100).await.unwrap_err();
    assert!(matches!(error, TransportError::Unavailable { .. }), "{error}");
    let hurried = Trouble { why: String::new(), retry_after: Some(Duration::ZERO) };
    let before = Instant::now();
    let mut tries = 2;
    transport("http://127.0.0.1:1", 30).wait(&mut tries, &hurried).await.unwrap();
    assert!(before.elapsed() >= BACKOFF_FIRST * 2);
}

#[tokio::test]
async fn a_long_error_keeps_its_status_and_its_meaning() {
    let long = "x".repeat(ERROR_BODY_LEN_MAX * 2);
    let (url, requests) =
        serve(vec![answer("502 Bad Gateway", "", &long), answer("404 Not Found", "", &long)]);
    let found = get(&url, 30, 5).await.unwrap();
    assert_eq!((found.status, found.body.len()), (404, ERROR_BODY_LEN_MAX));
    assert_eq!(requests.iter().count(), 2);
}

#[test]
fn a_token_is_not_shown_and_must_fit_a_header() {
    assert_eq!(format!("{:?}", authorization("secret").unwrap()), "Sensitive");
    assert!(matches!(authorization("a\nb"), Err(TransportError::TokenMalformed)));
}

#[tokio::test]
async fn the_stable_word_of_an_error_is_shown_and_nothing_else_that_stands_there() {
    let busy = r#"{"code":429,"message":"too many requests"}"#;
    let told = async |header: &str| {
        let header = format!("{header}Retry-After: 3600\r\n");
        let (url, _requests) = serve(vec![answer("429 Too Many Requests", &header, busy)]);
        get(&url, 60, 100).await.unwrap_err().to_string()
    };
    let with = told("treering-error: rate-limited\r\n").await;
    assert!(with.ends_with("too many requests (rate-limited)"), "{with}");
    // Control characters do not get as far: hyper refuses the whole answer.
    for other in ["", "treering-error: Two words\r\n", "treering-error: \u{e9}\r\n"] {
        let without = told(other).await;
        assert!(without.ends_with("too many requests"), "{without}");
    }
}

#[test]
fn bad_certificates_and_keys_are_refused_and_not_repeated() {
    let with = |options: TransportOptions| {
        let refused = Transport::new("https://log.example", &options).map(|_| ());
        let error = refused.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(!told.contains("c2VjcmV0"), "{told}");
        error
    };
    let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    for pem in ["", "no PEM", key] {
        let bytes = pem.as_bytes().to_vec();
        let authorities = Some(bytes.clone());
        let error = with(TransportOptions { authorities, ..TransportOptions::default() });
        assert!(matches!(error, TransportError::Authorities), "{error:?}");
        let client_identity = Some(bytes.into());
        let error = with(TransportOptions { client_identity, ..TransportOptions::default() });
        assert!(matches!(error, TransportError::ClientIdentity), "{error:?}");
    }
}

#[test]
fn a_password_in_a_url_is_not_shown() {
    let url = Url::parse("http://name:secret@proxy.example/").unwrap();
    assert_eq!(without_secrets(&url), "http://name:hidden@proxy.example/");
    let url = Url::parse("https://log.example/checkpoint").unwrap();
    assert_eq!(without_secrets(&url), url.as_str());
}
