//! The generator: closed loops over HTTP/1.1, one task and one connection each, and exact
//! percentiles of the time from sending a request to having the whole answer.
//!
//! Invariants: a connection sends its next request only when it has the answer to the one before;
//! only answers that end inside the measured window count for rate and percentiles, every answer
//! counts for errors; the window ends early if the requests are used up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// One answer in so many is kept and verified after the clock has stopped.
pub(crate) const KEPT_ONE_IN: usize = 50;

/// Where submissions go.
const SUBMIT_PATH: &str = "/api/v2/log/entries";

/// One load.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    pub(crate) requests: Requests,
}

/// What is asked for.
#[derive(Clone)]
pub(crate) enum Requests {
    /// Submits each of these once.
    Submit(Arc<Vec<Bytes>>),
    /// Submits these over and over: only a bare server takes that.
    SubmitAgain(Arc<Vec<Bytes>>),
    /// Reads these paths over and over.
    Read(Arc<Vec<String>>),
}

/// Percentiles over all samples.
#[derive(Clone, Copy)]
pub(crate) struct Latencies {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// What came of a load.
pub(crate) struct Measured {
    /// Answers a second, inside the window.
    pub(crate) rate: f64,
    pub(crate) latencies: Latencies,
    /// All answers, those of the warm-up too.
    pub(crate) answers: usize,
    /// From the first request to the last answer.
    pub(crate) whole: Duration,
    /// One answer in [`KEPT_ONE_IN`], with the number of its request.
    pub(crate) kept: Vec<(usize, Bytes)>,
}

impl Requests {
    /// The request with this number, and the status that it must have.
    fn get(&self, number: usize, host: &str) -> Option<(Request<Full<Bytes>>, StatusCode)> {
        let submit = |body: &Bytes| {
            let request = Request::post(SUBMIT_PATH).header(CONTENT_TYPE, "application/json");
            let request = request.header(HOST, host).body(Full::new(body.clone()));
            (request.expect("a fixed path and header are valid"), StatusCode::CREATED)
        };
        match self {
            Self::Submit(bodies) => bodies.get(number).map(submit),
            Self::SubmitAgain(bodies) => bodies.get(number % bodies.len()).map(submit),
            Self::Read(paths) => {
                let request = Request::get(&paths[number % paths.len()]).header(HOST, host);
                let request = request.body(Full::default()).expect("tile paths are valid");
                Some((request, StatusCode::OK))
            }
        }
    }
}

/// Runs `load` to its end.
///
/// # Errors
/// Any answer with another status than the right one, and any connection that breaks.
pub(crate) fn run(runtime: &Runtime, load: &Load) -> anyhow::Result<Measured> {
    runtime.block_on(async {
        let mut senders = Vec::new();
        for _ in 0..load.connections {
            senders.push(connect(load.address).await?);
        }
        let next = Arc::new(AtomicUsize::new(0));
        let start = Instant::now();
        let window = Window { start, end: start + load.warm_up + load.time };
        let tasks: Vec<_> = senders
            .into_iter()
            .map(|sender| {
                let host = load.address.to_string();
                let (requests, next) = (load.requests.clone(), next.clone());
                tokio::spawn(closed_loop(sender, host, requests, next, window))
            })
            .collect();
        let mut tallies = Vec::new();
        for task in tasks {
            tallies.push(task.await?);
        }
        summarize(load, start, tallies)
    })
}

/// The body of the answer to one GET.
pub(crate) fn get(runtime: &Runtime, address: SocketAddr, path: &str) -> anyhow::Result<Bytes> {
    runtime.block_on(async {
        let mut sender = connect(address).await?;
        let paths = Requests::Read(Arc::new(vec![path.to_owned()]));
        exchange(&mut sender, &paths, 0, &address.to_string()).await?.context("one path is there")
    })
}

/// The middle of `samples`, and what 99 of 100 do not exceed.
pub(crate) fn percentiles(mut samples: Vec<Duration>) -> anyhow::Result<Latencies> {
    ensure!(!samples.is_empty(), "nothing was measured: the window was too short");
    samples.sort_unstable();
    let at = |percent: usize| samples[(samples.len() * percent).div_ceil(100) - 1];
    Ok(Latencies { p50: at(50), p99: at(99) })
}

#[derive(Clone, Copy)]
struct Window {
    start: Instant,
    end: Instant,
}

/// What one connection saw.
#[derive(Default)]
struct Tally {
    /// When each answer was there, and how long it took.
    samples: Vec<(Duration, Duration)>,
    kept: Vec<(usize, Bytes)>,
    error: Option<anyhow::Error>,
    used_up: Option<Duration>,
}

async fn closed_loop(
    mut sender: SendRequest<Full<Bytes>>,
    host: String,
    requests: Requests,
    next: Arc<AtomicUsize>,
    window: Window,
) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < window.end {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let sent = Instant::now();
        match exchange(&mut sender, &requests, number, &host).await {
            Ok(Some(body)) => {
                tally.samples.push((window.start.elapsed(), sent.elapsed()));
                if number.is_multiple_of(KEPT_ONE_IN) {
                    tally.kept.push((number, body));
                }
            }
            Ok(None) => {
                tally.used_up = Some(window.start.elapsed());
                break;
            }
            Err(error) => {
                tally.error = Some(error);
                break;
            }
        }
    }
    tally
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; what breaks it shows in the exchange.
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends one request and reads the whole answer; `None` when there is no such request.
async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    requests: &Requests,
    number: usize,
    host: &str,
) -> anyhow::Result<Option<Bytes>> {
    let Some((request, status)) = requests.get(number, host) else { return Ok(None) };
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let found = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    ensure!(found == status, "answered {found}: {}", String::from_utf8_lossy(&body));
    Ok(Some(body))
}

fn summarize(load: &Load, start: Instant, tallies: Vec<Tally>) -> anyhow::Result<Measured> {
    let whole = start.elapsed();
    let mut end = load.warm_up + load.time;
    let mut all = Vec::new();
    let mut kept = Vec::new();
    let mut errors = Vec::new();
    for tally in tallies {
        all.extend(tally.samples);
        kept.extend(tally.kept);
        errors.extend(tally.error);
        end = end.min(tally.used_up.unwrap_or(end));
    }
    let failed = errors.len();
    if let Some(first) = errors.into_iter().next() {
        return Err(first.context(format!("{failed} of {} connections failed", load.connections)));
    }
    let measured =
        end.checked_sub(load.warm_up).context("the requests ran out while warming up")?;
    let counts = |at: &Duration| *at >= load.warm_up && *at <= end;
    let inside = all.iter().filter(|(at, _)| counts(at)).map(|(_, took)| *took);
    let samples: Vec<Duration> = inside.collect();
    let rate = samples.len() as f64 / measured.as_secs_f64();
    Ok(Measured { rate, latencies: percentiles(samples)?, answers: all.len(), whole, kept })
}
