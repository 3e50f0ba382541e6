//! TLS over real sockets: who is answered, what a renewed certificate does, and what is refused at
//! the start.

use std::fs;

use treering_tests::authority::Authority;
use treering_tests::http::Connection;
use treering_tests::server::{Log, Server, refused, text};

/// A log that is served over TLS with a certificate of `authority`.
fn serve(log: &Log, authority: &Authority, flags: &[&str]) -> Server {
    let (certificate, key) = authority.server().write(log.beside("").as_path(), "server");
    let tls = ["--tls-certificate", text(&certificate), "--tls-key", text(&key)];
    log.serve_with(&[&tls, flags].concat(), None)
}

#[test]
fn a_log_is_served_over_tls_and_in_clear_text_nothing_is_answered() {
    let (log, authority) = (Log::create(), Authority::new());
    let server = serve(&log, &authority, &[]);
    let config = authority.client_config(None);
    let mut connection = Connection::open_tls(server.address, config).unwrap();
    assert_eq!(connection.get("/checkpoint").unwrap().status, 200);
    assert_eq!(connection.get("/livez").unwrap().status, 200, "the connection is kept");

    let mut plain = Connection::open(server.address).unwrap();
    assert!(plain.get("/checkpoint").is_err(), "a log with TLS answered in clear text");
    let stranger = Authority::new().client_config(None);
    assert!(Connection::open_tls(server.address, stranger).is_err(), "another authority");
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn a_renewed_certificate_is_used_at_once_and_a_broken_one_never() {
    let (log, authority) = (Log::create(), Authority::new());
    let server = serve(&log, &authority, &[]);
    let config = authority.client_config(None);
    let shown = || {
        let connection = Connection::open_tls(server.address, config.clone()).unwrap();
        connection.server_certificate().unwrap()
    };
    let first = shown();
    let (certificate, _) = authority.server().write(log.beside("").as_path(), "server");
    let second = shown();
    assert_ne!(first, second, "the new files are read");
    fs::write(&certificate, "no certificate").unwrap();
    assert_eq!(shown(), second, "what cannot be used leaves the old one in force");
    let mut connection = Connection::open_tls(server.address, config.clone()).unwrap();
    // Counted once a second; each answer is a step of the wait.
    let counted = (0..100_000).any(|_| {
        let metrics = connection.get("/metrics").expect("an answer").text();
        metrics.contains("treering_tls_reload_failures_total 1")
    });
    assert!(counted, "no alarm about files that cannot be used");
}

#[test]
fn a_client_certificate_is_verified_when_one_is_shown() {
    let (log, authority, clients) = (Log::create(), Authority::new(), Authority::new());
    let client_ca = log.beside("clients.pem");
    fs::write(&client_ca, clients.pem()).unwrap();
    let server = serve(&log, &authority, &["--tls-client-ca", text(&client_ca)]);
    let get = |shown: Option<&treering_tests::authority::Certified>| {
        let config = authority.client_config(shown);
        // In TLS 1.3 the server's refusal comes with the first answer.
        let mut connection = Connection::open_tls(server.address, config)?;
        connection.get("/checkpoint")
    };
    assert_eq!(get(None).unwrap().status, 200, "reading needs no certificate");
    let known = clients.client("spiffe://corp/ci");
    assert_eq!(get(Some(&known)).unwrap().status, 200);
    let unknown = Authority::new().client("spiffe://corp/ci");
    assert!(get(Some(&unknown)).is_err(), "an authority that the log does not know");
    assert!(get(Some(&clients.expired_client("spiffe://corp/ci"))).is_err(), "expired");
    let server_certificate = clients.server();
    assert!(get(Some(&server_certificate)).is_err(), "not for clients");
}

#[test]
fn what_would_be_open_to_listeners_is_refused_unless_it_is_said() {
    let log = Log::create();
    let everywhere = ["--listen", "0.0.0.0:0"];
    let ended = refused(&log.data, &everywhere);
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--plain-http"), "{ended:?}");
    let server = log.serve_with(&["--listen", "0.0.0.0:0", "--plain-http"], None);
    assert!(server.terminate().stderr.contains("plain HTTP"), "each start says it");
}

#[test]
fn files_that_make_no_tls_are_refused_by_name() {
    let (log, authority) = (Log::create(), Authority::new());
    let directory = log.beside("");
    let (certificate, _) = authority.server().write(&directory, "one");
    let (_, other_key) = authority.server().write(&directory, "two");
    let empty = log.beside("empty.pem");
    fs::write(&empty, "").unwrap();
    let start = |certificate: &std::path::Path, key: &std::path::Path| {
        refused(&log.data, &["--tls-certificate", text(certificate), "--tls-key", text(key)])
    };
    for (ended, word) in [
        (start(&certificate, &other_key), "one.pem"),
        (start(&empty, &other_key), "no certificate in PEM"),
        (start(&certificate, &empty), "no private key"),
        (start(&log.beside("missing.pem"), &other_key), "missing.pem"),
        (refused(&log.data, &["--tls-certificate", text(&certificate)]), "tls-key"),
    ] {
        assert_eq!(ended.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(word), "{word}: {ended:?}");
    }
}
