//! HTTP/1.1 over a socket, plain or with TLS: what is sent and what is received are bytes that a
//! test can name.
//!
//! Out of scope: chunked answers, which the server does not write.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Longer than the server lets any client wait, so that a hung server fails a test.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// An answer, as received.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status line and headers, byte for byte.
    pub head: String,
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut pairs = lines.filter_map(|line| line.split_once(": "));
        pairs.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }
}

/// A connection that is kept open between requests.
pub struct Connection(BufReader<Stream>);

/// What bytes travel over.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl io::Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl io::Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(BufReader::new(Stream::Plain(socket(address)?))))
    }

    /// Connects, and speaks TLS with `config` to the server named `localhost`.
    ///
    /// # Errors
    /// Those of the system; a handshake that fails.
    pub fn open_tls(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let mut socket = socket(address)?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        session.complete_io(&mut socket)?;
        let stream = StreamOwned::new(session, socket);
        Ok(Self(BufReader::new(Stream::Tls(Box::new(stream)))))
    }

    /// The certificate that the server showed, DER; `None` without TLS.
    pub fn server_certificate(&self) -> Option<Vec<u8>> {
        match self.0.get_ref() {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(stream.conn.peer_certificates()?.first()?.to_vec()),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)?;
        self.0.get_mut().flush()
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        self.0.get_ref().socket().shutdown(std::net::Shutdown::Write)
    }

    /// Receives one answer; `has_body` is false for answers to HEAD.
    ///
    /// # Errors
    /// Those of the socket; a connection that ends inside the answer.
    pub fn receive(&mut self, has_body: bool) -> io::Result<Response> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.get(9..12).and_then(|text| text.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let mut response = Response { head, status, body: Vec::new() };
        let length = response.header("content-length").and_then(|text| text.parse().ok());
        if has_body {
            response.body = vec![0; length.unwrap_or(0)];
            self.0.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    /// Sends a request without a body.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn ask(&mut self, method: &str, path: &str, headers: &str) -> io::Result<Response> {
        self.send(format!("{method} {path} HTTP/1.1\r\nhost: log\r\n{headers}\r\n").as_bytes())?;
        self.receive(method != "HEAD")
    }

    /// `GET path`.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.ask("GET", path, "")
    }

    /// `POST path` with a body of JSON.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Response> {
        self.post_with(path, "content-type: application/json\r\n", body)
    }

    /// `POST path` with these headers, each line ended by CR LF.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn post_with(&mut self, path: &str, headers: &str, body: &[u8]) -> io::Result<Response> {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: log\r\n{headers}content-length: {length}\r\n\r\n"
        );
        self.send(&[head.as_bytes(), body].concat())?;
        self.receive(true)
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    socket.set_write_timeout(Some(ANSWER_TIME_MAX))?;
    Ok(socket)
}
