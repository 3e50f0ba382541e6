//! What others' vulnerabilities taught, held against the server over real sockets. The name of each
//! test carries the number; the table in docs/fuzzing.md has all of them, those that do not apply
//! included.
//!
//! Out of scope: parsers (`proto/tests/cve.rs`) and verifiers (`client/tests/cve.rs`).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use treering_proto::encoding::to_base64;
use treering_proto::hash::sha256;
use treering_tests::check::check_log;
use treering_tests::history::History;
use treering_tests::server::{Log, Server};
use treering_tests::submission::{Face, Signer, Submission};

use crate::refusals::write;

/// Every kind that Rekor has or had, and one that it has not.
const KINDS: [&str; 12] = [
    "alpine",
    "cose",
    "dsse",
    "hashedrekord",
    "helm",
    "intoto",
    "jar",
    "rekord",
    "rfc3161",
    "rpm",
    "tuf",
    "nonsense",
];

fn served() -> (Log, Server, History) {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 4);
    (log, server, history)
}

/// The log has what it had, and works.
fn unharmed(server: &Server, history: &mut History) {
    assert_eq!(server.size(), 4, "something was logged");
    write(server, history, 2);
    check_log(server, history);
}

/// Posts, and expects that it is the client's fault, and said so.
fn client_error(server: &Server, face: Face, body: &[u8]) {
    let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    let response = server.connect().post(face.path(), body);
    let response = response.unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert!((400..500).contains(&response.status), "{shown}: {}", response.text());
    assert!(response.header("treering-error").is_some(), "{shown}");
}

/// CVE-2026-23831 and CVE-2023-33199: a message without what every message has brought the server
/// down. Each kind, with each part missing or of another type, is answered with 4xx.
#[test]
fn cve_2026_23831_cve_2023_33199_hollow_entries_of_every_kind_are_the_clients_fault() {
    let (_log, server, mut history) = served();
    let specs = [
        Value::Null,
        json!({}),
        json!([]),
        json!(0),
        json!({ "message": "", "publicKey": "", "data": {} }),
        json!({ "content": { "envelope": { "payloadType": "", "signatures": [{}] } } }),
        json!({ "proposedContent": { "envelope": "{}", "verifiers": [""] } }),
        json!({ "signature": { "publicKey": {} }, "data": { "hash": {} } }),
        json!({ "package": { "content": "" }, "chartContent": null, "tsr": { "content": "" } }),
    ];
    for kind in KINDS {
        for spec in &specs {
            for version in ["0.0.1", "0.0.2"] {
                let body = json!({ "kind": kind, "apiVersion": version, "spec": spec });
                client_error(&server, Face::V1, body.to_string().as_bytes());
            }
        }
    }
    for spec in &specs {
        for member in ["hashedRekordRequestV002", "dsseRequestV002", "coseRequestV002"] {
            let body = json!({ member: spec }).to_string();
            client_error(&server, Face::V2, body.as_bytes());
        }
    }
    unharmed(&server, &mut history);
}

/// CVE-2026-48702 and CVE-2023-30551: a small archive became all of the memory when the server
/// unpacked it. Neither an archive in a field nor a compressed body is unpacked at all.
#[test]
fn cve_2026_48702_cve_2023_30551_nothing_compressed_is_unpacked() {
    let (_log, server, mut history) = served();
    let archive = to_base64(b"\x1f\x8b\x08\0\0\0\0\0\0\x03");
    for kind in ["alpine", "jar", "rpm", "helm"] {
        let spec = json!({ "package": { "content": archive }, "archive": { "content": archive } });
        let body = json!({ "kind": kind, "apiVersion": "0.0.1", "spec": spec }).to_string();
        client_error(&server, Face::V1, body.as_bytes());
    }
    for face in [Face::V1, Face::V2] {
        let headers = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
        // A good entry, said to be compressed: the header alone is the reason.
        let good = Submission::hashedrekord(face, &Signer::new(), b"good").request;
        let response = server.connect().post_with(face.path(), headers, &good).unwrap();
        assert_eq!(response.status, 415, "{}", response.text());
        assert_eq!(response.header("treering-error"), Some("content-encoding"));
    }
    unharmed(&server, &mut history);
}

/// CVE-2026-24117: the server fetched what a submission or a search named by URL, from inside of
/// the network. Nobody comes to an address that stands in a request.
#[test]
fn cve_2026_24117_no_address_in_a_request_is_ever_asked() {
    let (_log, server, mut history) = served();
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/key.pem", trap.local_addr().unwrap());
    let named = json!({ "url": url, "hash": { "algorithm": "sha256", "value": "ab".repeat(32) } });
    for kind in KINDS {
        let spec = json!({
            "url": url, "publicKey": named, "data": named, "content": named, "package": named,
            "signature": { "url": url, "content": "AA==", "publicKey": named },
            "proposedContent": { "envelope": url, "verifiers": [to_base64(url.as_bytes())] },
        });
        let body = json!({ "kind": kind, "apiVersion": "0.0.1", "spec": spec }).to_string();
        client_error(&server, Face::V1, body.as_bytes());
    }
    for path in ["/api/v1/index/retrieve", "/api/v1/log/entries/retrieve"] {
        let body = json!({ "publicKey": { "format": "x509", "url": url }, "entryUUIDs": [url] });
        let response = server.connect().post(path, body.to_string().as_bytes()).unwrap();
        assert!((400..500).contains(&response.status), "{path}: {}", response.text());
    }
    let encoded = url.replace(':', "%3A").replace('/', "%2F");
    let found = server.get(&format!("/api/treering/v1/search?subject-name={encoded}"));
    assert_eq!(found.json()["entries"], json!([]), "{}", found.text());
    // All requests are answered, so whoever wanted to come has come.
    trap.set_nonblocking(true).unwrap();
    assert_eq!(trap.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody came");
    unharmed(&server, &mut history);
}

/// Rekor's releases after CVE-2026-24117 also mended tree ids that made it answer 5xx: whatever
/// stands where an id belongs, it is the client's fault.
#[test]
fn cve_2026_24117_and_after_a_malformed_tree_id_is_the_clients_fault() {
    let (_log, server, mut history) = served();
    let leaf = sha256(b"no entry").to_hex();
    for id in ["x", "-1", "0", "9223372036854775808", "99999999999999999999", "%00", "1e3", "0x1"] {
        for path in [
            format!("/api/v1/log/proof?lastSize=2&treeID={id}"),
            format!("/api/v1/log/proof?firstSize=1&lastSize={id}"),
            format!("/api/v1/log/entries?logIndex={id}9223372036854775808"),
            format!("/api/v1/log/entries/{id}"),
            format!("/api/v1/log/entries/{id}{leaf}"),
        ] {
            let response = server.get(&path);
            assert!((400..500).contains(&response.status), "{path}: {}", response.text());
        }
    }
    for tree in ["0000000000000000", "ffffffffffffffff", "8000000000000000", "000000000000000g"] {
        let response = server.get(&format!("/api/v1/log/entries/{tree}{leaf}"));
        assert!((400..500).contains(&response.status), "{tree}: {}", response.text());
    }
    unharmed(&server, &mut history);
}

/// CVE-2024-51746: a search for two things found what had either of them, and the first hit was
/// taken for the signer's. All terms of a search must hold.
#[test]
fn cve_2024_51746_a_search_for_two_things_finds_what_has_both() {
    let log = Log::create();
    let server = log.serve();
    let (one, other) = (Signer::new(), Signer::new());
    for (signer, artifact) in [(&one, b"a"), (&other, b"b")] {
        let request = Submission::hashedrekord(Face::V1, signer, artifact).request;
        let logged = server.connect().post(Face::V1.path(), &request).unwrap();
        assert_eq!(logged.status, 201, "{}", logged.text());
    }
    let search = |signer: &Signer, artifact: &[u8]| {
        let (key, digest) = (signer.key.fingerprint(), sha256(artifact));
        let query = format!("public-key={key}&artifact-digest=sha256:{digest}");
        let found = server.get(&format!("/api/treering/v1/search?{query}"));
        found.json()["entries"].as_array().unwrap().len()
    };
    assert_eq!((search(&one, b"a"), search(&other, b"b")), (1, 1));
    assert_eq!((search(&one, b"b"), search(&other, b"a")), (0, 0));
}

/// One HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Opens streams and resets each at once; returns what the server said until it ended the
/// connection.
fn flood(address: SocketAddr, streams: u32) -> Vec<u8> {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(120))).unwrap();
    let mut answers = socket.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        // A reset by the server is an end, too.
        match answers.read_to_end(&mut said) {
            Ok(_) => said,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => said,
            Err(error) => panic!("the server did not end the connection: {error}"),
        }
    });
    // GET / over http from "log", of which only the name is not in HPACK's table.
    let head = [&[0x82, 0x86, 0x84, 0x41, 3][..], b"log"].concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    for stream in (1..2 * streams).step_by(2) {
        bytes.extend(frame(HEADERS, 0x5, stream, &head));
        bytes.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
    }
    // The server may have had enough before all is sent.
    let _ = socket.write_all(&bytes);
    let _ = socket.shutdown(Shutdown::Write);
    reader.join().unwrap()
}

/// CVE-2023-39325: streams that are opened and reset at once cost the server work and the client
/// nothing. A connection that does this is ended, whether the server has had enough of it or has
/// read it all, and others are served meanwhile and afterwards.
#[test]
fn cve_2023_39325_a_flood_of_resets_ends_its_own_connection_only() {
    let (_log, server, mut history) = served();
    let address = server.address;
    let floods: Vec<_> =
        (0..4).map(|_| std::thread::spawn(move || flood(address, 20_000))).collect();
    assert_eq!(server.get("/checkpoint").status, 200, "others are served");
    for flood in floods {
        let said = flood.join().unwrap();
        // At most one answer for each stream, none of them long.
        assert!(said.len() < 20_000 * 1_024, "{} bytes", said.len());
    }
    unharmed(&server, &mut history);
}
