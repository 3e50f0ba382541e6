//! What a monitor says about itself, as Prometheus text: a monitor that stopped must not look like
//! a log that is well.
//!
//! Invariants: metrics are served to whoever reaches the address, which is this machine unless
//! somebody says otherwise; they name logs and counts, and nothing of entries. Connections and the
//! time for them are bounded. Out of scope: findings themselves.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once: one scraper has one.
const CONNECTIONS_MAX: usize = 16;

/// Time for one connection.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// The metrics of all logs.
#[derive(Default)]
pub struct Metrics {
    logs: Mutex<BTreeMap<String, LogMetrics>>,
}

/// The metrics of one log.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct LogMetrics {
    /// Entries that are verified.
    pub verified: u64,
    /// Entries of the newest checkpoint that was read.
    pub size: u64,
    /// When a round last ended well: Unix seconds, 0 for never.
    pub success: u64,
    /// Findings that were told, by kind.
    pub findings: Vec<(String, u64)>,
    /// Bytes of findings that wait for the webhook.
    pub waiting: u64,
    /// Bytes of findings that the webhook never got, because too many waited.
    pub given_up: u64,
}

impl Metrics {
    /// Changes what is said about the log `origin`.
    pub fn update(&self, origin: &str, change: impl FnOnce(&mut LogMetrics)) {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        change(logs.entry(origin.to_owned()).or_default());
    }

    /// The text.
    pub fn render(&self) -> String {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, rows: Vec<(String, u64)>| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(text, "{name}{{{labels}}} {value}");
            }
        };
        let each = |value: fn(&LogMetrics) -> u64| {
            logs.iter().map(|(log, m)| (format!("log=\"{}\"", escaped(log)), value(m))).collect()
        };
        let help = "Entries that are verified.";
        family("treering_monitor_verified_size", "gauge", help, each(|m| m.verified));
        let help = "Entries of the newest checkpoint beyond those that are verified.";
        let lag = |m: &LogMetrics| m.size.saturating_sub(m.verified);
        family("treering_monitor_lag_entries", "gauge", help, each(lag));
        let help = "When a round last ended well, in Unix seconds; 0 for never.";
        let name = "treering_monitor_last_success_timestamp_seconds";
        family(name, "gauge", help, each(|m| m.success));
        let help = "Bytes of findings that wait for the webhook.";
        family("treering_monitor_webhook_waiting_bytes", "gauge", help, each(|m| m.waiting));
        let help = "Bytes of findings that the webhook never got, because too many waited.";
        let name = "treering_monitor_webhook_given_up_bytes_total";
        family(name, "counter", help, each(|m| m.given_up));
        let findings = logs.iter().flat_map(|(log, metrics)| {
            metrics.findings.iter().map(move |(kind, count)| {
                (format!("log=\"{}\",finding=\"{}\"", escaped(log), escaped(kind)), *count)
            })
        });
        let help = "Findings that were told.";
        family("treering_monitor_findings_total", "counter", help, findings.collect());
        text
    }
}

/// Serves the metrics at `/metrics` until the process ends.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors, most likely: let others give some back.
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
                let answer = answer(request.method(), request.uri().path(), &metrics);
                async { Ok::<_, Infallible>(answer) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIME_MAX);
            let connection = builder.serve_connection(TokioIo::new(socket), service);
            let _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await;
        });
    }
}

fn answer(method: &Method, path: &str, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, text) = match (method, path) {
        (&Method::GET, "/metrics") => (StatusCode::OK, metrics.render()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => (StatusCode::NOT_FOUND, "see /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

/// A label's value: the text format escapes three characters.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_scraper_reads_what_the_last_round_came_to() {
        let metrics = Arc::new(Metrics::default());
        metrics.update("log.example", |log| {
            *log = LogMetrics {
                verified: 5,
                size: 7,
                success: 1_700_000_000,
                findings: vec![("rule:a\"b".to_owned(), 3)],
                waiting: 0,
                given_up: 4,
            };
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, metrics));
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        for line in [
            "treering_monitor_verified_size{log=\"log.example\"} 5",
            "treering_monitor_webhook_given_up_bytes_total{log=\"log.example\"} 4",
            "treering_monitor_lag_entries{log=\"log.example\"} 2",
            "treering_monitor_last_success_timestamp_seconds{log=\"log.example\"} 1700000000",
            "treering_monitor_findings_total{log=\"log.example\",finding=\"rule:a\\\"b\"} 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
