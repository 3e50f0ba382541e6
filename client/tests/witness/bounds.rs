//! How requests arrive, and how many: both protocols, bodies of any framing, and clients that take
//! more than their share.

use std::net::TcpStream;

use super::bench::{Bench, exchange};

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut request = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\
          Transfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    for chunk in body.chunks(100) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

#[test]
fn bodies_with_and_without_a_length_are_the_same() {
    let bench = Bench::new();
    let running = bench.start();
    let answer = exchange(running.address, &chunked(&bench.log.body(0, 5))).unwrap();
    bench.cosigned_at(&bench.log.note(5), &answer);
    bench.cosigned_at(&bench.log.note(6), &running.post(&bench.log.body(5, 6)));
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let bench = Bench::new();
    let running = bench.start();
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let url = format!("http://{}/add-checkpoint", running.address);
    let sent = client.post(&url).body(bench.log.body(0, 5)).send().await.unwrap();
    assert_eq!((sent.status().as_u16(), sent.version()), (200, reqwest::Version::HTTP_2));
    assert!(sent.text().await.unwrap().starts_with("\u{2014} w.example "));
    let refused = client.post(&url).body("old 0\n").send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 400);
}

#[test]
fn bodies_end_at_128_kib_however_they_are_framed() {
    let bench = Bench::new();
    let running = bench.start();
    let mut long = bench.log.body(0, 5);
    long.resize(128 << 10, b'x');
    assert_eq!(running.post(&long).status, 400);
    long.push(b'x');
    assert_eq!(running.post(&long).status, 413);
    assert_eq!(exchange(running.address, &chunked(&long)).unwrap().status, 413);
    long.resize(600 << 10, b'x');
    assert_eq!(running.post(&long).status, 413);
    assert_eq!(running.size(&bench.log), 0);
}

#[test]
fn other_methods_paths_and_encodings_are_refused() {
    let bench = Bench::new();
    let running = bench.start();
    let ask = |line: &str, header: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: w\r\nConnection: close\r\n{header}\r\n");
        exchange(running.address, request.as_bytes()).unwrap()
    };
    let wrong = ask("GET /add-checkpoint", "");
    assert_eq!((wrong.status, wrong.head.contains("allow: post\r\n")), (405, true));
    let wrong = ask("POST /healthz", "Content-Length: 0\r\n");
    assert_eq!((wrong.status, wrong.head.contains("allow: get, head\r\n")), (405, true));
    for path in ["/", "//add-checkpoint", "/add-checkpoint/", "/sign-subtree"] {
        assert_eq!(ask(&format!("POST {path}"), "Content-Length: 0\r\n").status, 404, "{path}");
    }
    let gzip = ask("POST /add-checkpoint", "Content-Encoding: gzip\r\nContent-Length: 0\r\n");
    assert_eq!(gzip.status, 415);
    assert_eq!(ask("POST /add-checkpoint", "Content-Length: 0\r\n").status, 400);
}

#[test]
fn clients_that_say_nothing_or_half_do_not_hold_up_others() {
    use std::io::Write as _;
    let bench = Bench::new();
    let running = bench.start();
    let connect = || TcpStream::connect(running.address).unwrap();
    let silent: Vec<TcpStream> = (0..50).map(|_| connect()).collect();
    let half: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut socket = connect();
            let head = "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 99\r\n\r\nold";
            socket.write_all(head.as_bytes()).unwrap();
            socket
        })
        .collect();
    assert_eq!(running.post(&bench.log.body(0, 5)).status, 200);
    drop((silent, half));
}

#[test]
fn a_connection_on_which_nothing_is_asked_is_closed_whatever_is_sent() {
    use std::io::{Read as _, Write as _};
    let bench = Bench::new();
    let running = bench.start();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let held = [&preface[..9], &[&preface[..], &settings].concat()].map(|sent| {
        let mut socket = TcpStream::connect(running.address).unwrap();
        socket.write_all(sent).unwrap();
        socket
    });
    for mut socket in held {
        // Above the limit of 10 s, below those that pings and bytes put off.
        socket.set_read_timeout(Some(std::time::Duration::from_secs(40))).unwrap();
        if let Err(error) = socket.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    assert_eq!(running.post(&bench.log.body(0, 5)).status, 200);
}

#[test]
fn a_witness_that_is_told_to_stop_ends_well() {
    let bench = Bench::new();
    let running = bench.start();
    let silent = TcpStream::connect(running.address).unwrap();
    assert_eq!(running.post(&bench.log.body(0, 5)).status, 200);
    assert!(running.terminate().success());
    // Nobody waited for the one that asked nothing.
    assert!(!bench.stderr().contains("still open"), "{}", bench.stderr());
    drop(silent);
    let running = bench.start();
    assert_eq!(running.size(&bench.log), 5);
}
