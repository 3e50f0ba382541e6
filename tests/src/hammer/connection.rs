//! One connection over TCP, HTTP/1.1, one request at a time.
//!
//! Invariant: a connection on which an answer is not wholly read is never used again. Out of scope:
//! sending a request a second time.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::target::Target;

/// Characters of an error's text that are kept: enough to see what it is.
const SHOWN_CHARS_MAX: usize = 200;

/// A connection that is opened again when the server has ended it.
pub struct Connection {
    target: Arc<Target>,
    /// `None` while a request is on its way, and after one that failed.
    idle: Option<SendRequest<Full<Bytes>>>,
}

/// What kind of failure it was.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Failure {
    /// No connection was made.
    Connect,
    /// The connection ended before the whole answer was there.
    Broken,
    /// The whole answer was not there in time.
    Timeout,
    /// The request was due and not sent in time, because no connection was free.
    Unsent,
    /// Another status than that of a success.
    Status {
        /// The status.
        code: u16,
        /// What the server calls it in the header `treering-error`, if it does.
        label: String,
    },
}

/// A failure, and what was said about it.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What kind it is.
    pub failure: Failure,
    /// For people.
    pub said: String,
}

impl Connection {
    /// Connects to `target`.
    ///
    /// # Errors
    /// [`Failure::Connect`] and [`Failure::Broken`].
    pub async fn open(target: Arc<Target>) -> Result<Self, Failed> {
        let idle = Some(connect(&target).await?);
        Ok(Self { target, idle })
    }

    /// Sends `request` and reads the whole answer. Dropping this on the way ends the connection.
    ///
    /// # Errors
    /// [`Failed`], when the answer has another status than `success`, too.
    pub async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        success: StatusCode,
    ) -> Result<Bytes, Failed> {
        let idle = match self.idle.take() {
            Some(idle) => ready(idle).await,
            None => None,
        };
        let mut sender = match idle {
            Some(sender) => sender,
            // Servers end connections for their age. Nothing was sent on it, so nothing is lost.
            None => connect(&self.target).await?,
        };
        let broken = |error: hyper::Error| Failed::new(Failure::Broken, &error.to_string());
        let answer = sender.send_request(request).await.map_err(broken)?;
        let (code, label) = (answer.status(), answer.headers().get("treering-error"));
        let label = label.and_then(|label| label.to_str().ok()).unwrap_or_default().to_owned();
        let body = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        self.idle = Some(sender);
        if code == success {
            return Ok(body);
        }
        let failure = Failure::Status { code: code.as_u16(), label };
        Err(Failed::new(failure, &String::from_utf8_lossy(&body)))
    }
}

impl Failed {
    /// A failure of which `said` is known.
    pub fn new(failure: Failure, said: &str) -> Self {
        Self { failure, said: said.trim().chars().take(SHOWN_CHARS_MAX).collect() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Broken => f.write_str("broken"),
            Self::Timeout => f.write_str("timeout"),
            Self::Unsent => f.write_str("unsent"),
            Self::Status { code, label } if label.is_empty() => write!(f, "{code}"),
            Self::Status { code, label } => write!(f, "{code} {label}"),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.said.is_empty() {
            true => self.failure.fmt(f),
            false => write!(f, "{}: {}", self.failure, self.said),
        }
    }
}

/// `None` when the server has ended the connection.
async fn ready(mut sender: SendRequest<Full<Bytes>>) -> Option<SendRequest<Full<Bytes>>> {
    sender.ready().await.ok()?;
    Some(sender)
}

async fn connect(target: &Target) -> Result<SendRequest<Full<Bytes>>, Failed> {
    let connected = TcpStream::connect(target.address).await;
    let stream = connected.map_err(|error| {
        Failed::new(Failure::Connect, &format!("cannot connect to {}: {error}", target.address))
    })?;
    let broken = |error: &dyn fmt::Display| Failed::new(Failure::Broken, &error.to_string());
    stream.set_nodelay(true).map_err(|error| broken(&error))?;
    let made = handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(|error| broken(&error))?;
    // It ends with its sender; what breaks it shows in the exchange.
    tokio::spawn(connection);
    sender.ready().await.map_err(|error| broken(&error))?;
    Ok(sender)
}
