//! The bare server: hyper and nothing behind it, for the ceiling of any HTTP server here.
//!
//! It reads each request to its end and answers with the status, the headers and as many bytes as
//! the log answered when it was asked the same. It runs in a process of its own, as the log does,
//! and ends when its input is closed.

use std::convert::Infallible;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use treering_tests::http::{self, Connection};

use crate::child::Running;

/// Headers that hyper writes by itself.
const WRITTEN_BY_HYPER: [&str; 2] = ["date", "content-length"];

/// One answer of the log: what the bare server repeats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sample {
    status: u16,
    /// As `name: value`.
    headers: Vec<String>,
    /// Bytes of the body.
    pub(crate) len: usize,
}

impl Sample {
    /// Asks the server at `address` once: for `path`, or to take `body`, which is JSON.
    pub(crate) fn take(
        address: SocketAddr,
        path: &str,
        body: Option<&[u8]>,
    ) -> anyhow::Result<Self> {
        let mut connection = Connection::open(address)?;
        let answer = match body {
            Some(body) => connection.post(path, body)?,
            None => connection.get(path)?,
        };
        ensure!(answer.status < 300, "{path}: answered {}: {}", answer.status, answer.text());
        Ok(Self::of(&answer))
    }

    fn of(answer: &http::Response) -> Self {
        let lines = answer.head.lines().skip(1).filter(|line| !line.is_empty());
        let is_ours = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default();
            !WRITTEN_BY_HYPER.iter().any(|written| name.eq_ignore_ascii_case(written))
        };
        let headers = lines.filter(is_ours).map(str::to_owned).collect();
        Self { status: answer.status, headers, len: answer.body.len() }
    }

    /// Starts a bare server that repeats this.
    pub(crate) fn serve(&self, work: &Path) -> anyhow::Result<(Running, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--bare-answer", &self.len.to_string()]);
        command.args(["--bare-status", &self.status.to_string()]);
        command.args(self.headers.iter().map(|header| format!("--bare-header={header}")));
        let (running, line) = Running::start(&mut command, &work.join("bare.messages"))?;
        Ok((running, line.trim().parse()?))
    }
}

/// Serves answers of `len` bytes until standard input ends. Prints its address when it listens.
pub(crate) fn serve(len: usize, status: u16, headers: &[String]) -> anyhow::Result<()> {
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::from_u16(status)?;
    *answer.headers_mut() = parse(headers)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("{}", listener.local_addr()?);
    runtime.spawn(accept(listener, answer.map(|()| Bytes::from(vec![b'x'; len]))));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn parse(headers: &[String]) -> anyhow::Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for header in headers {
        let (name, value) = header.split_once(": ").context("a header is `name: value`")?;
        map.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    Ok(map)
}

async fn accept(listener: TcpListener, answer: Response<Bytes>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let answer = answer.clone();
        let service = service_fn(move |request| repeat(request, answer.clone()));
        let http = hyper::server::conn::http1::Builder::new();
        // A client that goes away ends its connection with an error that nobody needs.
        tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
    }
}

async fn repeat(
    request: Request<Incoming>,
    answer: Response<Bytes>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    Ok(answer.map(Full::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_is_repeated_that_hyper_does_not_write_itself() {
        let head = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\n\
                    etag: a: b\r\nContent-Length: 3\r\ndate: today\r\n\r\n";
        let answer = http::Response { head: head.to_owned(), status: 201, body: b"abc".to_vec() };
        let sample = Sample::of(&answer);
        assert_eq!(sample.headers, ["content-type: application/json", "etag: a: b"]);
        assert_eq!((sample.status, sample.len), (201, 3));
        let map = parse(&sample.headers).unwrap();
        assert_eq!(map["etag"], "a: b");
        assert!(parse(&["no colon".to_owned()]).is_err());
    }
}
