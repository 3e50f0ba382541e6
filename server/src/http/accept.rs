//! The listener: connections in, bounded in number and time, over TLS if the server speaks it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::connection::{self, ACCEPT_PAUSE};
use super::{App, answer};
use crate::limits::{DRAIN_TIME_MAX, HEADER_TIME_MAX, RESETS_MAX, SILENCE_MAX, STREAMS_MAX};
use crate::tls::Tls;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it connects from.
    pub address: IpAddr,
    /// The certificate that it showed, DER; its chain is verified.
    pub certificate: Option<Arc<[u8]>>,
}

/// What it takes to serve one connection.
#[derive(Clone)]
struct Server {
    app: Arc<App>,
    tls: Option<Arc<Tls>>,
    builder: auto::Builder<TokioExecutor>,
}

/// Serves connections from `listener` until `stop` completes; then lets open requests end.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    stop: impl Future<Output = ()>,
) {
    let server = Server { app, tls, builder: builder() };
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(connection::room_for_connections()));
    let mut stop = std::pin::pin!(stop);
    loop {
        // The permit comes before the connection, so that surplus clients wait in the listener's
        // queue.
        let accepted = async {
            let permit = connections.clone().acquire_owned().await;
            let permit = permit.expect("nobody closes the semaphore");
            (permit, listener.accept().await)
        };
        let (permit, stream, address) = tokio::select! {
            biased;
            () = &mut stop => break,
            (permit, accepted) = accepted => match accepted {
                Ok((stream, address)) => (permit, stream, address.ip()),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (server, watcher) = (server.clone(), graceful.watcher());
        tokio::spawn(async move {
            server.connection(stream, address, watcher).await;
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open when the time to stop was over");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX).keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .keep_alive_interval(SILENCE_MAX / 2)
        .keep_alive_timeout(HEADER_TIME_MAX);
    builder
}

impl Server {
    async fn connection(self, stream: TcpStream, address: IpAddr, watcher: Watcher) {
        let Some(stream) = connection::bounded(stream).await else { return };
        let Some(tls) = &self.tls else {
            return self.requests(stream, Peer { address, certificate: None }, watcher).await;
        };
        let handshake = tls.acceptor().accept(stream);
        match tokio::time::timeout(HEADER_TIME_MAX, handshake).await {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let certificate = certificates.and_then(|chain| chain.first());
                let certificate = certificate.map(|der| Arc::from(der.as_ref()));
                self.requests(stream, Peer { address, certificate }, watcher).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, %address, "no TLS session"),
            Err(_) => tracing::debug!(%address, "no TLS session in time"),
        }
    }

    async fn requests<S>(self, stream: S, peer: Peer, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { app, builder, .. } = self;
        let peer = Arc::new(peer);
        let service = service_fn(move |request| {
            let (app, peer) = (app.clone(), peer.clone());
            async move { Ok::<_, Infallible>(answer(&app, &peer, request).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "connection ended");
        }
    }
}
