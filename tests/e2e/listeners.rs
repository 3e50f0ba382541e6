//! Two addresses: one for everything, one for reads alone; what each serves, what both share, and
//! how both end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use treering_tests::authority::Authority;
use treering_tests::http::{Connection, Response};
use treering_tests::server::{Log, Server, refused, text};
use treering_tests::submission::{Face, Signer, Submission};

/// What anybody may read.
const READS: [&str; 13] = [
    "/checkpoint",
    "/tile/0/000.p/1",
    "/tile/entries/000.p/1",
    "/api/v2/checkpoint",
    "/api/v2/tile/0/000.p/1",
    "/api/v2/tile/entries/000.p/1",
    "/api/v1/log",
    "/api/v1/log/publicKey",
    "/api/v1/log/entries?logIndex=0",
    "/api/treering/v1/entries/0",
    "/api/treering/v1/identity",
    "/healthz",
    "/readyz",
];

/// The first reads of [`READS`], which `--serve-reads=false` takes from the first address.
const TILES: usize = 6;

const BOTH: [&str; 3] = ["--open-writes", "--read-listen", "127.0.0.1:0"];

fn hashedrekord(face: Face) -> Submission {
    Submission::hashedrekord(face, &Signer::new(), b"listened")
}

/// A server with two addresses, and one entry.
fn serve(log: &Log, flags: &[&str]) -> Server {
    let server = log.serve_with(&[&BOTH, flags].concat(), None);
    // Its promise is made once and kept, so that both addresses give the same bytes.
    let submission = hashedrekord(Face::V1);
    let created = server.connect().post(Face::V1.path(), &submission.request).unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    server
}

fn get(address: SocketAddr, path: &str) -> Response {
    Connection::open(address).unwrap().get(path).unwrap()
}

#[test]
fn the_second_address_serves_every_read_and_takes_no_entry() {
    let log = Log::create();
    let server = serve(&log, &[]);
    let reads = server.read_address();
    assert_ne!(reads, server.address);
    for path in READS {
        let (there, here) = (get(reads, path), server.get(path));
        assert_eq!((there.status, there.body), (200, here.body), "{path}");
    }
    let mut connection = Connection::open(reads).unwrap();
    for (face, code) in [(Face::V1, 405), (Face::V2, 12)] {
        let refused = connection.post(face.path(), &hashedrekord(face).request).unwrap();
        let body = refused.json();
        assert_eq!((refused.status, &body["code"]), (405, &code.into()), "{}", refused.text());
        assert_eq!(refused.header("treering-error"), Some("reads-only"));
    }
    let hashes = br#"{"hashes":[]}"#;
    let bulk = connection.post("/api/treering/v1/statements", hashes).unwrap();
    assert_eq!(bulk.status, 200, "a read that is a POST: {}", bulk.text());
    assert_eq!(server.size(), 1);
    let metrics = connection.get("/metrics").unwrap().text();
    assert!(metrics.contains("treering_tree_size 1\n"), "one log, one count: {metrics}");
    assert_eq!(server.terminate().code(), Some(0));
    assert!(TcpStream::connect(reads).is_err(), "both addresses are closed");
}

#[test]
fn the_first_address_can_answer_as_the_write_server_of_rekor_tiles() {
    let log = Log::create();
    let server = serve(&log, &["--serve-reads=false"]);
    for (path, method) in [
        ("/api/v2/checkpoint", "GetCheckpoint"),
        ("/api/v2/tile/0/000", "GetTile"),
        ("/api/v2/tile/entries/000", "GetEntryBundle"),
        ("/api/v2/tile/0/x001/067.p/8", "GetTile"),
    ] {
        let refused = server.get(path);
        let body = format!(
            "{{\"code\":12,\"message\":\"method {method} not implemented\",\"details\":[]}}\n"
        );
        assert_eq!((refused.status, refused.text()), (501, body), "{path}");
    }
    for path in ["/checkpoint", "/tile/0/000.p/1", "/tile/entries/000.p/1"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    for path in &READS[TILES..] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in READS {
        assert_eq!(get(server.read_address(), path).status, 200, "{path}");
    }
}

#[test]
fn tls_is_spoken_at_both_addresses_or_at_neither() {
    let (log, authority) = (Log::create(), Authority::new());
    let (certificate, key) = authority.server().write(&log.beside(""), "server");
    let tls = ["--tls-certificate", text(&certificate), "--tls-key", text(&key)];
    let server = log.serve_with(&[&BOTH[..], &tls].concat(), None);
    for address in [server.address, server.read_address()] {
        let config = authority.client_config(None);
        let mut connection = Connection::open_tls(address, config).unwrap();
        assert_eq!(connection.get("/checkpoint").unwrap().status, 200);
        let mut plain = Connection::open(address).unwrap();
        assert!(plain.get("/checkpoint").is_err(), "clear text at {address}");
    }
    assert_eq!(server.terminate().code(), Some(0));
    let ended = refused(&log.data, &["--read-listen", "0.0.0.0:0"]);
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--plain-http"), "{ended:?}");
}

#[test]
fn addresses_that_cannot_be_used_are_refused_by_the_name_of_their_setting() {
    let log = Log::create();
    let ended = refused(&log.data, &["--serve-reads=false"]);
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    assert!(ended.stderr.contains("read-listen"), "{ended:?}");
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let ended = refused(&log.data, &["--read-listen", &taken]);
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--read-listen"), "{ended:?}");
    drop(holder);
    let server = log.serve_with(&["--read-listen", &taken], None);
    assert_eq!(server.read_address().to_string(), taken, "and nothing was left behind");
}

/// A connection that was answered, and is kept.
fn held(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.write_all(b"GET /livez HTTP/1.1\r\nhost: log\r\n\r\n").unwrap();
    assert!(socket.read(&mut [0; 4096]).unwrap() > 0);
    socket
}

#[test]
fn what_one_client_may_hold_counts_at_both_addresses_together() {
    let log = Log::create();
    let server = log.serve_with(&[&BOTH[..], &["--limit-loopback"]].concat(), None);
    let reads = server.read_address();
    let places: Vec<TcpStream> =
        (0..256).map(|at| held(if at % 2 == 0 { server.address } else { reads })).collect();
    for address in [server.address, reads] {
        let mut surplus = TcpStream::connect(address).unwrap();
        surplus.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let ended = surplus.read(&mut [0; 16]);
        let waited = ended.as_ref().err().map(std::io::Error::kind);
        assert_ne!(waited, Some(std::io::ErrorKind::WouldBlock), "it was let in");
        assert_eq!(ended.unwrap_or(0), 0, "the server ends it");
    }
    drop(places);
}

#[test]
fn an_open_request_at_either_address_may_end_when_the_server_stops() {
    let log = Log::create();
    let server = serve(&log, &[]);
    let begin = |address: SocketAddr, path: &str, body: &[u8]| {
        let mut connection = Connection::open(address).unwrap();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: log\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nexpect: 100-continue\r\n\r\n"
        );
        connection.send(head.as_bytes()).unwrap();
        // The request is being read, and not one of a connection that nobody has taken yet.
        assert_eq!(connection.receive(false).unwrap().status, 100);
        connection
    };
    let hashes = br#"{"hashes":[]}"#;
    let mut reader = begin(server.read_address(), "/api/treering/v1/statements", hashes);
    let reads = server.read_address();
    server.ask_to_end();
    // Stopping has begun when nobody is let in any more.
    while TcpStream::connect(reads).is_ok() {}
    reader.send(hashes).unwrap();
    assert_eq!(reader.receive(true).unwrap().status, 200);
    assert_eq!(server.wait().code(), Some(0));
}
