//! What stands between a client and a log: an authority, a server that speaks TLS and passes
//! requests on, and a proxy that connects. Threads end with the process; everything is loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// No wait on a socket is longer: what takes this long is broken.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// No two authorities have one name.
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// Certifies servers and clients.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What is special about a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    Nothing,
    ClientCertificate,
    /// Its own certificate has expired.
    ExpiredCertificate,
    /// It does not know the token.
    AnotherToken,
}

/// TLS in front of a log. Its certificate is for `localhost` and `log.test`.
pub struct TlsFront {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

/// A proxy for CONNECT, which keeps all that it hears from clients.
pub struct Proxy {
    pub url: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key of a client, in PEM.
    pub fn client(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["ci.test".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn server(&self, wants: Wants) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "log.test".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if wants == Wants::ExpiredCertificate {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if wants == Wants::ClientCertificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.0.der().clone()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The bytes up to the end of a head; `None` if there is none.
fn read_head(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 64 << 10 {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(head)
}

impl TlsFront {
    /// In front of the log at `upstream`, an http URL.
    pub fn new(authority: &Authority, upstream: &str, wants: Wants) -> Self {
        let config = Arc::new(authority.server(wants));
        let upstream: SocketAddr = upstream.trim_start_matches("http://").parse().unwrap();
        let (listener, address) = listen();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, config, seen) = (socket.unwrap(), config.clone(), seen.clone());
                std::thread::spawn(move || answer(socket, config, upstream, wants, &seen));
            }
        });
        Self { address, requests }
    }

    /// The heads of all requests, as the log has them.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// One request of one connection, passed on; or a refusal. A client that goes away is no fault.
fn answer(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    upstream: SocketAddr,
    wants: Wants,
    seen: &Mutex<Vec<String>>,
) -> Option<()> {
    socket.set_read_timeout(Some(WAIT_MAX)).ok()?;
    let mut tls = StreamOwned::new(ServerConnection::new(config).ok()?, socket);
    let Some(head) = read_head(&mut tls) else {
        // What is left unread would reset the connection, and the client would not hear why.
        tls.sock.shutdown(Shutdown::Write).ok()?;
        std::io::copy(&mut tls.sock, &mut std::io::sink()).ok()?;
        return None;
    };
    seen.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    let answer = if wants == Wants::AnotherToken {
        let body = br#"{"code":401,"message":"token unknown"}"#;
        let head = format!(
            "HTTP/1.1 401 Unauthorized\r\ntreering-error: unauthorized\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    } else {
        let mut log = TcpStream::connect(upstream).ok()?;
        log.set_read_timeout(Some(WAIT_MAX)).ok()?;
        log.write_all(&head).ok()?;
        let mut answer = Vec::new();
        log.read_to_end(&mut answer).ok()?;
        answer
    };
    tls.write_all(&answer).ok()?;
    tls.conn.send_close_notify();
    tls.flush().ok()?;
    tls.sock.shutdown(Shutdown::Write).ok()
}

impl Proxy {
    /// Connects everybody to `target`, whatever they ask for.
    pub fn to(target: SocketAddr) -> Self {
        Self::new(move |mut client, heard| {
            let mut server = TcpStream::connect(target).ok()?;
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
            let (mut back, mut from) = (client.try_clone().ok()?, server.try_clone().ok()?);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut back);
                back.shutdown(Shutdown::Write)
            });
            let mut buffer = [0; 4096];
            loop {
                let count = client.read(&mut buffer).ok()?;
                heard.lock().unwrap().extend_from_slice(&buffer[..count]);
                if count == 0 {
                    return server.shutdown(Shutdown::Write).ok();
                }
                server.write_all(&buffer[..count]).ok()?;
            }
        })
    }

    /// Connects nobody.
    pub fn refusing(status: &'static str) -> Self {
        Self::new(move |mut client, _| {
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            client.write_all(answer.as_bytes()).ok()
        })
    }

    fn new<F>(serve: F) -> Self
    where
        F: Fn(TcpStream, &Mutex<Vec<u8>>) -> Option<()> + Send + Sync + 'static,
    {
        let (listener, address) = listen();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (ears, serve) = (heard.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (mut socket, ears, serve) = (socket.unwrap(), ears.clone(), serve.clone());
                std::thread::spawn(move || {
                    socket.set_read_timeout(Some(WAIT_MAX)).ok()?;
                    let head = read_head(&mut socket)?;
                    ears.lock().unwrap().extend_from_slice(&head);
                    serve(socket, &ears)
                });
            }
        });
        Self { url: format!("http://{address}"), heard }
    }

    /// All that clients said, heads and what they sent through it.
    pub fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }
}
