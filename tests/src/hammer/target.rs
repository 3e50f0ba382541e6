//! Where a server is: an address over TCP, and what stands before every path.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode, Uri};

use super::connection::Connection;

/// A server.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    host: String,
    prefix: String,
    authorization: Option<HeaderValue>,
}

/// How long a single request that is not part of a load may take.
const FETCH_TIME_MAX: Duration = Duration::from_secs(30);

impl Target {
    /// The server at `address`, whose paths begin at its root.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), prefix: String::new(), authorization: None }
    }

    /// Reads `http://host[:port][/path]` and looks the host up.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => bail!("{url}: only http:// is spoken; measure without TLS"),
            _ => bail!("{url:?} is not a URL that begins with http://"),
        }
        ensure!(uri.query().is_none(), "{url}: a base URL has no query");
        let authority = uri.authority().with_context(|| format!("{url:?} names no host"))?;
        ensure!(!authority.as_str().contains('@'), "{url}: give credentials in a token file");
        let (host, port) = (authority.host(), authority.port_u16().unwrap_or(80));
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = (bare, port)
            .to_socket_addrs()
            .with_context(|| format!("{url}: the host has no address"))?;
        let address =
            addresses.next().with_context(|| format!("{url}: the host has no address"))?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { address, host: authority.to_string(), prefix, authorization: None })
    }

    /// The same server, to which every request shows this token.
    ///
    /// # Errors
    /// If no header can carry it.
    pub fn with_bearer(self, token: &str) -> anyhow::Result<Self> {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.ok().context("the token has characters that no header can carry")?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value), ..self })
    }

    /// A GET of `path`.
    ///
    /// # Panics
    /// If `path` is not one.
    pub fn get(&self, path: &str) -> Request<Full<Bytes>> {
        let request = self.headers(Request::get(self.path(path)));
        request.body(Full::default()).expect("paths are valid")
    }

    /// A POST of `body` to `path`.
    ///
    /// # Panics
    /// If `path` is not one.
    pub fn post(&self, path: &str, content_type: &str, body: Bytes) -> Request<Full<Bytes>> {
        let request = self.headers(Request::post(self.path(path)));
        let request = request.header(CONTENT_TYPE, content_type).body(Full::new(body));
        request.expect("paths are valid")
    }

    /// The body of the answer to one GET, on a connection of its own.
    ///
    /// # Errors
    /// Every answer but 200, and none in time.
    pub async fn fetch(&self, path: &str) -> anyhow::Result<Bytes> {
        let fetch = async {
            let mut connection = Connection::open(Arc::new(self.clone())).await?;
            connection.exchange(self.get(path), StatusCode::OK).await
        };
        let fetched = tokio::time::timeout(FETCH_TIME_MAX, fetch).await;
        let fetched = fetched.with_context(|| format!("{}{path}: no answer in time", self.host))?;
        fetched.map_err(|failed| anyhow::anyhow!("{}{}: {failed}", self.host, self.path(path)))
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn headers(&self, request: Builder) -> Builder {
        let request = request.header(HOST, &self.host);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_below_the_base() {
        let root = Target::parse("http://127.0.0.1:3000").unwrap();
        assert_eq!(root.address, SocketAddr::from(([127, 0, 0, 1], 3000)));
        assert_eq!(root.get("/checkpoint").uri(), "/checkpoint");
        let below = Target::parse("http://[::1]:9/api/v2/").unwrap();
        assert_eq!(below.get("/checkpoint").uri(), "/api/v2/checkpoint");
        assert_eq!(below.get("/").headers()[HOST], "[::1]:9");
        assert_eq!(Target::parse("http://127.0.0.1/").unwrap().address.port(), 80);
    }

    #[test]
    fn other_urls_are_refused_and_the_reason_is_said() {
        for (url, why) in [
            ("https://127.0.0.1:3000", "TLS"),
            ("127.0.0.1:3000", "http://"),
            ("ftp://127.0.0.1", "http://"),
            ("http://me:secret@127.0.0.1", "token file"),
            ("http://127.0.0.1/?a=b", "query"),
        ] {
            let error = format!("{:#}", Target::parse(url).unwrap_err());
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn every_request_shows_the_token() {
        let target = Target::parse("http://127.0.0.1:3000").unwrap().with_bearer("trt_x").unwrap();
        assert_eq!(target.get("/").headers()[AUTHORIZATION], "Bearer trt_x");
        let post = target.post("/add", "text/plain", Bytes::new());
        assert_eq!(post.headers()[AUTHORIZATION], "Bearer trt_x");
        assert!(Target::parse("http://127.0.0.1:3000").unwrap().with_bearer("a\nb").is_err());
    }
}
