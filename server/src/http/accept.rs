//! The listeners: connections in, bounded in number, time and age, over TLS if the server speaks
//! it. What is bounded is bounded for all addresses together.
//!
//! Invariant: nothing that a client does, or does not do, keeps a place for longer than
//! `CONNECTION_AGE_MAX` and `LEAVE_TIME_MAX`.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::connection::{self, ACCEPT_PAUSE, Activity};
use super::guests::{Guest, Guests};
use super::offer::Listener;
use super::{App, answer};
use crate::limits::{
    DRAIN_TIME_MAX, HEADER_BYTES_MAX, HEADER_TIME_MAX, LEAVE_TIME_MAX, RESETS_MAX, SEND_BYTES_MAX,
    SILENCE_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX, WINDOW_BYTES,
};
use crate::tls::Tls;

/// Who is at the other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Where it connects from.
    pub address: IpAddr,
    /// Where it connected to.
    pub listener: Listener,
    /// What it may hold.
    pub guest: Arc<Guest>,
    /// The certificate that it showed, DER; its chain was verified when the connection began.
    pub certificate: Option<Vec<u8>>,
}

/// What it takes to serve one connection.
#[derive(Clone)]
struct Server {
    app: Arc<App>,
    tls: Option<Arc<Tls>>,
    builder: auto::Builder<TokioExecutor>,
    /// Changes when the server stops.
    stopping: watch::Receiver<bool>,
}

/// Where the server listens.
pub struct Listeners {
    /// At its address.
    pub main: TcpListener,
    /// At the address for reads, if there is one.
    pub reads: Option<TcpListener>,
}

impl Listeners {
    /// The next connection, of whichever address.
    async fn accept(&self) -> (Listener, io::Result<(TcpStream, SocketAddr)>) {
        let reads = async {
            match &self.reads {
                Some(reads) => reads.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.main.accept() => (Listener::Main, accepted),
            accepted = reads => (Listener::Reads, accepted),
        }
    }
}

/// Serves connections from `listeners` until `stop` completes; then lets open requests end.
pub async fn serve(
    app: Arc<App>,
    listeners: Listeners,
    tls: Option<Arc<Tls>>,
    stop: impl Future<Output = ()>,
) {
    let guests = Guests::new(app.rates.limit_loopback());
    let (stopper, stopping) = watch::channel(false);
    let server = Server { app, tls, builder: builder(), stopping };
    let room = connection::room_for_connections();
    let connections = Arc::new(Semaphore::new(room));
    let mut stop = std::pin::pin!(stop);
    loop {
        // The permit comes before the connection, so that surplus clients wait in the listener's
        // queue; one for all addresses, so that none waits for a place that another keeps free.
        let accepted = async {
            let permit = connections.clone().acquire_owned().await;
            let permit = permit.expect("nobody closes the semaphore");
            (permit, listeners.accept().await)
        };
        let (permit, listener, stream, address) = tokio::select! {
            biased;
            () = &mut stop => break,
            (permit, (listener, accepted)) = accepted => match accepted {
                Ok((stream, address)) => (permit, listener, stream, address.ip()),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Who has too many is closed at once: waiting would take places from others.
        let Some(place) = guests.enter(address) else { continue };
        let server = server.clone();
        tokio::spawn(async move {
            let guest = place.guest.clone();
            let peer = Peer { address, listener, guest, certificate: None };
            server.connection(stream, peer).await;
            drop((place, permit));
        });
    }
    drop(listeners);
    server.app.stopping.store(true, Ordering::Relaxed);
    // Nobody listens if there is no connection.
    let _ = stopper.send(true);
    let all = u32::try_from(room).unwrap_or(u32::MAX);
    if tokio::time::timeout(DRAIN_TIME_MAX, connections.acquire_many(all)).await.is_err() {
        tracing::warn!("requests were still open when the time to stop was over");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .keep_alive_interval(SILENCE_MAX / 2)
        .keep_alive_timeout(HEADER_TIME_MAX);
    builder
}

impl Server {
    async fn connection(self, stream: TcpStream, peer: Peer) {
        let Some(stream) = connection::bounded(stream).await else { return };
        let Some(tls) = &self.tls else { return self.requests(stream, peer).await };
        let handshake = tls.acceptor().accept(stream);
        match tokio::time::timeout(HEADER_TIME_MAX, handshake).await {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let certificate = certificates.and_then(|chain| chain.first());
                let certificate = certificate.map(|der| der.to_vec());
                self.requests(stream, Peer { certificate, ..peer }).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, address = %peer.address, "no TLS session"),
            Err(_) => tracing::debug!(address = %peer.address, "no TLS session in time"),
        }
    }

    /// Serves requests until the client has enough, does nothing any more, or time is up.
    async fn requests<S>(self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { app, builder, mut stopping, .. } = self;
        let (peer, activity) = (Arc::new(peer), Activity::begin());
        let service = service_fn(|request| {
            let (app, peer, open) = (app.clone(), peer.clone(), activity.request());
            async move {
                let reply = answer(app, peer, request).await;
                Ok::<_, Infallible>(reply.map(|body| body.answering(open)))
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leave_by: Option<Instant> = None;
        loop {
            let is_over = tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                _ = stopping.changed(), if leave_by.is_none() => true,
                _ = look.tick() => activity.is_over(),
            };
            match leave_by {
                // Open requests had their time.
                Some(by) if Instant::now() >= by => return,
                None if is_over => {
                    connection.as_mut().graceful_shutdown();
                    leave_by = Some(Instant::now() + LEAVE_TIME_MAX);
                }
                _ => {}
            }
        }
    }
}

/// How often a connection is asked whether it is over.
const LOOK_EVERY: Duration = Duration::from_secs(5);
