//! A webhook: each finding as JSON to a URL, in order, until it was taken.
//!
//! What is still to be sent stands in `findings.jsonl` from the offset in the file `webhook` on. So
//! nothing is lost when the receiver is away or this process dies, and the state never waits for
//! either. A receiver may hear one finding twice, and knows it by its `id`. The events of `verify`
//! are sent by [`Webhook::send`], and wait nowhere.
//!
//! Invariants: only https, or http to this machine; no redirect is followed; tries, time and
//! backlog are bounded, and what is given up is counted. Out of scope: who the receiver is.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Url};

/// Time for one try.
const TRY_TIME_MAX: Duration = Duration::from_secs(10);

/// Tries for one finding before the rest waits for the next round.
const TRIES_MAX: u32 = 3;

/// The wait before the second try; doubled after each.
const PAUSE_FIRST: Duration = Duration::from_millis(500);

/// Findings sent after one round: the rest is sent after the next.
const SENT_AT_ONCE_MAX: usize = 1000;

/// Bytes of findings that wait. What is older is given up: it stands in the file.
const BACKLOG_BYTES_MAX: u64 = 16 << 20;

/// A URL that a webhook can have. Nothing is set up for it yet.
pub struct WebhookUrl {
    url: Url,
    here: bool,
}

/// Somebody who wants to hear of findings.
pub struct Webhook {
    http: Client,
    url: Url,
    pause: Duration,
}

/// What sending came to.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Findings that were taken.
    pub sent: u64,
    /// Bytes of findings that wait.
    pub waiting: u64,
    /// Bytes of findings that were given up.
    pub given_up: u64,
    /// Why not all were sent.
    pub trouble: Option<String>,
}

/// Why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Not a URL.
    #[error("{0:?} is not a URL")]
    Url(String),
    /// Findings would travel in clear text.
    #[error("{0:?} is neither https nor http on this machine")]
    InClear(String),
    /// The HTTP client could not start.
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] reqwest::Error),
}

impl WebhookUrl {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`WebhookError::Url`], [`WebhookError::InClear`].
    pub fn parse(text: &str) -> Result<Self, WebhookError> {
        let url = Url::parse(text).map_err(|_| WebhookError::Url(text.to_owned()))?;
        let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if url.scheme() != "https" && !(url.scheme() == "http" && here) {
            return Err(WebhookError::InClear(text.to_owned()));
        }
        Ok(Self { url, here })
    }

    /// The webhook there, with the authorities that may certify it.
    ///
    /// # Errors
    /// [`WebhookError::Setup`].
    pub fn set_up(&self) -> Result<Webhook, WebhookError> {
        let mut builder = Client::builder()
            .user_agent(concat!("treering/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TRY_TIME_MAX);
        if self.here {
            builder = builder.no_proxy();
        }
        if self.url.scheme() == "http" {
            // Nothing here speaks TLS.
            builder = builder.tls_certs_only([]);
        }
        Ok(Webhook { http: builder.build()?, url: self.url.clone(), pause: PAUSE_FIRST })
    }
}

impl Webhook {
    /// A webhook at `url`.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub fn new(url: &str) -> Result<Self, WebhookError> {
        WebhookUrl::parse(url)?.set_up()
    }

    /// Sends the findings in `directory` that were not sent yet.
    ///
    /// # Errors
    /// Those of the system. That the receiver does not answer is none.
    pub async fn deliver(&self, directory: &Path) -> io::Result<Delivery> {
        match std::fs::metadata(directory.join("findings.jsonl")) {
            Ok(metadata) => self.deliver_to(directory, metadata.len()).await,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Delivery::default()),
            Err(error) => Err(error),
        }
    }

    /// Sends the findings that stand in the first `end` bytes.
    async fn deliver_to(&self, directory: &Path, end: u64) -> io::Result<Delivery> {
        let mut delivery = Delivery::default();
        let path = directory.join("findings.jsonl");
        let mut offset = read_offset(directory)?.filter(|offset| *offset <= end).unwrap_or(0);
        if end - offset > BACKLOG_BYTES_MAX {
            let from = line_after(&path, end - BACKLOG_BYTES_MAX)?;
            delivery.given_up = from - offset;
            offset = from;
            write_offset(directory, offset)?;
        }
        for line in lines(&path, offset)? {
            // Findings may be written meanwhile; they are sent next time.
            if offset + line.len() as u64 > end {
                break;
            }
            if let Err(trouble) = self.send(&line).await {
                delivery.trouble = Some(trouble);
                break;
            }
            delivery.sent += 1;
            offset += line.len() as u64;
            write_offset(directory, offset)?;
        }
        delivery.waiting = end.saturating_sub(offset);
        Ok(delivery)
    }

    /// Posts one line, until it was taken or there are no more tries.
    ///
    /// # Errors
    /// Why it was not taken, without the URL.
    pub async fn send(&self, line: &[u8]) -> Result<(), String> {
        let mut pause = self.pause;
        for attempt in 1.. {
            let request = self
                .http
                .post(self.url.clone())
                .header("content-type", "application/json")
                .body(line.trim_ascii_end().to_vec());
            let trouble = match request.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => format!("the webhook answered HTTP {}", answer.status().as_u16()),
                // The URL may hold a secret.
                Err(error) => format!("the webhook does not answer: {}", error.without_url()),
            };
            if attempt == TRIES_MAX {
                return Err(trouble);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the loop above ends by returning")
    }
}

/// The whole lines from `offset` on, each with its line feed, as many as one round sends.
fn lines(path: &Path, offset: u64) -> io::Result<Vec<Vec<u8>>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut reader = BufReader::new(file);
    let mut lines = Vec::new();
    while lines.len() < SENT_AT_ONCE_MAX {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        // What has no line feed is still being written.
        if line.last() != Some(&b'\n') {
            break;
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Where the first line after `offset` starts.
fn line_after(path: &Path, offset: u64) -> io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut rest = Vec::new();
    let count = BufReader::new(file).read_until(b'\n', &mut rest)?;
    Ok(offset + count as u64)
}

fn offset_path(directory: &Path) -> PathBuf {
    directory.join("webhook")
}

fn read_offset(directory: &Path) -> io::Result<Option<u64>> {
    match std::fs::read_to_string(offset_path(directory)) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write_offset(directory: &Path, offset: u64) -> io::Result<()> {
    crate::state::write_private(&offset_path(directory), format!("{offset}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc;

    use tempfile::TempDir;

    use super::*;

    /// A receiver that answers each request with the next of `statuses`, and then no more.
    fn receiver(statuses: &[u16]) -> (String, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?secret=1", listener.local_addr().unwrap());
        let (sender, bodies) = mpsc::channel();
        let statuses = statuses.to_vec();
        std::thread::spawn(move || {
            for status in statuses {
                let (mut socket, _) = listener.accept().unwrap();
                let mut bytes = Vec::new();
                let mut buffer = [0; 4096];
                // The findings of these tests end with a brace.
                while bytes.last() != Some(&b'}') {
                    let count = socket.read(&mut buffer).unwrap();
                    bytes.extend_from_slice(&buffer[..count]);
                }
                let text = String::from_utf8(bytes).unwrap();
                assert!(text.starts_with("POST /hook?secret=1 "), "{text}");
                sender.send(text[text.find("\r\n\r\n").unwrap() + 4..].to_owned()).unwrap();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\
                    Connection: close\r\n\r\n"
                );
                socket.write_all(answer.as_bytes()).unwrap();
            }
        });
        (url, bodies)
    }

    #[tokio::test]
    async fn findings_are_sent_in_order_once_and_what_fails_is_sent_next_time() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("findings.jsonl");
        std::fs::write(&path, "{\"a\":1}\n{\"a\":2}\n{\"half").unwrap();
        let (url, bodies) = receiver(&[200, 500, 500, 302, 200, 204]);
        let webhook = Webhook { pause: Duration::ZERO, ..Webhook::new(&url).unwrap() };
        let first = webhook.deliver(dir.path()).await.unwrap();
        assert_eq!((first.sent, first.waiting), (1, 14));
        assert!(first.trouble.unwrap().contains("HTTP 302"), "no redirect is followed");
        std::fs::write(&path, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n").unwrap();
        let second = webhook.deliver(dir.path()).await.unwrap();
        assert_eq!(second, Delivery { sent: 2, ..Delivery::default() });
        assert_eq!(webhook.deliver(dir.path()).await.unwrap(), Delivery::default());
        let heard: Vec<String> = bodies.iter().collect();
        let expected = [1, 2, 2, 2, 2, 3].map(|n| format!("{{\"a\":{n}}}"));
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn findings_that_are_written_meanwhile_are_sent_next_time() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("findings.jsonl");
        std::fs::write(&path, "{\"a\":1}\n{\"a\":2}\n").unwrap();
        let end = std::fs::metadata(&path).unwrap().len();
        // As if the second line had been written after the length was read.
        let (url, bodies) = receiver(&[200]);
        let webhook = Webhook { pause: Duration::ZERO, ..Webhook::new(&url).unwrap() };
        let first = webhook.deliver_to(dir.path(), end / 2).await.unwrap();
        assert_eq!(first, Delivery { sent: 1, ..Delivery::default() });
        assert_eq!(bodies.iter().collect::<Vec<_>>(), ["{\"a\":1}"]);
    }

    #[tokio::test]
    async fn an_old_backlog_is_given_up_at_a_whole_line() {
        let dir = TempDir::new().unwrap();
        let line = format!("{{\"a\":\"{}\"}}\n", "x".repeat(1 << 20));
        std::fs::write(dir.path().join("findings.jsonl"), line.repeat(20)).unwrap();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let webhook = Webhook::new(&format!("http://{nobody}")).unwrap();
        let webhook = Webhook { pause: Duration::ZERO, ..webhook };
        let delivery = webhook.deliver(dir.path()).await.unwrap();
        assert!(delivery.trouble.is_some());
        assert_eq!(delivery.given_up % line.len() as u64, 0);
        assert!(delivery.waiting <= BACKLOG_BYTES_MAX && delivery.waiting > 0);
    }

    #[test]
    fn findings_do_not_travel_in_clear_text() {
        for url in ["http://example.com/x", "ftp://127.0.0.1/", "http://127.0.0.1.example/"] {
            assert!(matches!(Webhook::new(url), Err(WebhookError::InClear(_))), "{url}");
        }
        assert!(matches!(Webhook::new("nonsense"), Err(WebhookError::Url(_))));
        assert!(Webhook::new("https://example.com/x").is_ok());
    }
}
