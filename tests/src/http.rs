//! HTTP/1.1 over a plain socket: what is sent and what is received are bytes that a test can name.
//!
//! Out of scope: chunked answers, which the server does not write.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

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
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        self.0.get_ref().shutdown(std::net::Shutdown::Write)
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
