//! The bare server: hyper and nothing behind it, for the ceiling of any HTTP server here.
//!
//! It reads each request to its end and answers with a fixed body of the wanted size, with status
//! and headers as the log has them. It runs in a process of its own, as the log does, and ends when
//! its input is closed.

use std::convert::Infallible;
use std::io::Read as _;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Serves answers of `answer_len` bytes until standard input ends. Prints its address when it
/// listens.
pub(crate) fn serve(answer_len: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("{}", listener.local_addr()?);
    runtime.spawn(accept(listener, Bytes::from(vec![b'x'; answer_len])));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn accept(listener: TcpListener, body: Bytes) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let body = body.clone();
        let service = service_fn(move |request| answer(request, body.clone()));
        let http = hyper::server::conn::http1::Builder::new();
        // A client that goes away ends its connection with an error that nobody needs.
        tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    body: Bytes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_write = request.method() == Method::POST;
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(body));
    if is_write {
        *response.status_mut() = StatusCode::CREATED;
    }
    let (content_type, cache_control) = match is_write {
        true => ("application/json", "no-store"),
        false => ("application/octet-stream", "public, max-age=604800, immutable"),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(response)
}
