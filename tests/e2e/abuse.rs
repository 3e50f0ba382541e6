//! Clients that want to do harm, over real sockets: each loses its own connection, others are
//! served meanwhile, and the server stays below the memory that `docs/design.md` states.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use treering_tests::check::check_log;
use treering_tests::history::History;
use treering_tests::http::Connection;
use treering_tests::server::{Log, Server};

use crate::refusals::write;

/// What the server may ever take, in KiB (docs/design.md, Limits).
const RESIDENT_KIB_MAX: u64 = 2 << 20;

/// A wait that no test of this file reaches: the server ends each of these connections much sooner.
const PATIENCE: Duration = Duration::from_secs(100);

/// A log of a few entries, and a server that must still work at the end.
struct Target {
    log: Log,
    server: Server,
    history: History,
}

impl Target {
    fn new() -> Self {
        let log = Log::create();
        let mut history = History::new(&log.identity);
        let server = log.serve();
        write(&server, &mut history, 4);
        Self { log, server, history }
    }

    /// A connection that is used by hand.
    fn socket(&self) -> TcpStream {
        socket(self.server.address)
    }

    /// The server answers, takes entries, and has not grown beyond its bound.
    fn must_be_unharmed(mut self) {
        write(&self.server, &mut self.history, 4);
        check_log(&self.server, &mut self.history);
        let resident = most_resident_kib(self.server.id());
        assert!(resident < RESIDENT_KIB_MAX, "the server took {resident} KiB");
        assert_eq!(self.server.terminate().code(), Some(0));
        assert_eq!(self.log.identity.origin(), "127.0.0.1");
    }
}

fn socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the server listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
    socket.set_write_timeout(Some(PATIENCE)).expect("a socket has timeouts");
    socket
}

/// The most memory that a process ever had, as Linux counts it.
fn most_resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.and_then(|number| number.trim().parse().ok()).expect("Linux counts it")
}

/// Reads until the server ends the connection; what it said before.
fn until_the_end(mut socket: TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is an end, too.
    let ended = socket.read_to_end(&mut said);
    let waited = ended.as_ref().err().map(std::io::Error::kind);
    assert_ne!(waited, Some(std::io::ErrorKind::WouldBlock), "the server let it wait for ever");
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn slow_clients_lose_their_connection_and_nobody_else_does() {
    let target = Target::new();
    let half = |text: &str| {
        let mut socket = target.socket();
        socket.write_all(text.as_bytes()).expect("the server reads");
        socket
    };
    let submit = "POST /api/v2/log/entries HTTP/1.1\r\nhost: log\r\n\
                  content-type: application/json\r\ncontent-length: 1000\r\n\r\n";
    let slow = [
        ("nothing", target.socket()),
        ("half a request line", half("GET /check")),
        ("half of the headers", half("GET /checkpoint HTTP/1.1\r\nhost: log\r\nx-a: b\r\n")),
        ("no body", half(submit)),
        ("half a body", half(&format!("{submit}{{\"hashedRekord"))),
        ("half a preface", half("PRI * HTTP/2.0\r\n")),
    ];
    // While they hang, everybody else is served.
    assert_eq!(target.server.get("/checkpoint").status, 200);
    for (what, socket) in slow {
        let said = until_the_end(socket);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{what}: {said}");
    }
    target.must_be_unharmed();
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_memory() {
    let target = Target::new();
    let request = "GET /api/v1/log HTTP/1.1\r\nhost: log\r\n\r\n".repeat(2000);
    // Each asks for megabytes of answers and takes none of them: the server stops reading when the
    // socket is full, and ends the connection when nothing moves.
    let sockets: Vec<_> = (0..64)
        .map(|_| {
            let mut socket = target.socket();
            socket.set_nonblocking(true).expect("a socket can be");
            // As much as fits.
            let _ = socket.write(request.as_bytes());
            socket
        })
        .collect();
    assert_eq!(target.server.get("/checkpoint").status, 200);
    drop(sockets);
    target.must_be_unharmed();
}

#[test]
fn ten_thousand_idle_connections_end_by_themselves() {
    let wanted = 10_000;
    let room = raise_open_files();
    let target = Target::new();
    let count = wanted.min(room.saturating_sub(500));
    assert!(count >= 1000, "this process may open only {room} files");
    let mut idle = Vec::new();
    for _ in 0..count {
        // Beyond what the server takes, the system's queue fills; then there is nothing to hold.
        match TcpStream::connect_timeout(&target.server.address, Duration::from_millis(5)) {
            Ok(socket) => idle.push(socket),
            Err(_) => break,
        }
    }
    println!("{} idle connections of {count} tried", idle.len());
    // It may wait behind them until the server has sent them away.
    let mut patient = Connection::open(target.server.address).expect("the queue has room again");
    assert_eq!(patient.get("/checkpoint").expect("an answer").status, 200);
    drop(idle);
    target.must_be_unharmed();
}

fn raise_open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a process may use what it has");
    limit.current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// RFC 9113: the frames that a flood is made of.
mod http2 {
    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// Flags of a request without a body, all of whose headers are in the frame.
    pub const COMPLETE: u8 = 0x05;

    /// Flags of a request without a body, with more headers to come.
    pub const OPEN: u8 = 0x01;

    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags];
        [&head[..], &stream.to_be_bytes(), payload].concat()
    }

    pub fn settings() -> Vec<u8> {
        frame(4, 0, 0, &[])
    }

    /// `GET /`, from the static table (RFC 7541); `flags` say whether the headers end here.
    pub fn get(stream: u32, flags: u8) -> Vec<u8> {
        frame(1, flags, stream, &[0x82, 0x84, 0x86])
    }

    pub fn reset(stream: u32) -> Vec<u8> {
        frame(3, 0, stream, &8_u32.to_be_bytes())
    }

    pub fn continuation(stream: u32) -> Vec<u8> {
        // A literal header without indexing: `x: ` and a kilobyte.
        let mut payload = vec![0x00, 0x01, b'x', 0x7f, 0x81, 0x07];
        payload.extend([b'y'; 1024]);
        frame(9, 0, stream, &payload)
    }
}

/// Sends as much of a flood as the server takes, and waits until it ends the connection.
fn flood(target: &Target, frames: impl Iterator<Item = Vec<u8>>) {
    let mut socket = target.socket();
    socket.write_all(&[http2::PREFACE, &http2::settings()].concat()).expect("the server reads");
    for frame in frames {
        if socket.write_all(&frame).is_err() {
            return;
        }
    }
    until_the_end(socket);
}

/// CVE-2023-39325: requests that are cancelled as soon as they are made.
#[test]
fn a_flood_of_cancelled_requests_ends_the_connection() {
    let target = Target::new();
    let streams = (0..100_000_u32).map(|number| 2 * number + 1);
    flood(
        &target,
        streams.map(|stream| [http2::get(stream, http2::COMPLETE), http2::reset(stream)].concat()),
    );
    assert_eq!(target.server.get("/checkpoint").status, 200);
    target.must_be_unharmed();
}

/// CVE-2024-24786 and others of the kind: headers that never end.
#[test]
fn headers_without_an_end_close_the_connection() {
    let target = Target::new();
    let endless = (0..100_000).map(|_| http2::continuation(1));
    let begin = http2::get(1, http2::OPEN);
    flood(&target, std::iter::once(begin).chain(endless));
    assert_eq!(target.server.get("/checkpoint").status, 200);
    target.must_be_unharmed();
}

/// Half a gigabyte of bodies at once: what there is no room for is refused, and the rest is read.
#[test]
fn many_large_bodies_at_once_are_bounded_together() {
    let target = Target::new();
    let body = vec![b'['; 8 << 20];
    let head = format!(
        "POST /api/v1/log/entries HTTP/1.1\r\nhost: log\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let send = || {
            let mut connection = target.server.connect();
            connection.send(head.as_bytes()).expect("the server reads");
            // Refused for want of room, the server may end the connection while it is sent.
            let _ = connection.send(&body);
            connection.receive(true).map_or(503, |response| response.status)
        };
        let senders: Vec<_> = (0..64).map(|_| scope.spawn(send)).collect();
        senders.into_iter().map(|sender| sender.join().expect("an answer")).collect()
    });
    assert!(answers.iter().all(|status| matches!(status, 400 | 503)), "{answers:?}");
    assert!(answers.contains(&400), "some were read: {answers:?}");
    target.must_be_unharmed();
}
