//! An OIDC issuer on this machine: a key, tokens signed with it, and a key set that is served to
//! whoever asks.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use treering_proto::encoding::to_base64;

/// An issuer with one key, `k1`.
pub struct Issuer {
    pair: EcdsaKeyPair,
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    /// Makes a key and serves it. The thread that serves ends with the process.
    pub fn start() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(String::new())), Arc::default());
        let issuer = Self { pair, address, answer: answer.clone(), asked: Arc::clone(&asked) };
        let keys = json!({"keys": [issuer.jwk("k1")]}).to_string();
        let length = keys.len();
        issuer.say(&format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{keys}"));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                asked.fetch_add(1, Ordering::SeqCst);
                let (mut request, mut byte) = (Vec::new(), [0]);
                while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    request.push(byte[0]);
                }
                let answer =
                    answer.lock().unwrap().replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
                // A client that hung up is no fault of the issuer.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        issuer
    }

    /// Answers with these bytes from now on.
    pub fn say(&self, answer: &str) {
        *self.answer.lock().unwrap() = answer.to_owned();
    }

    /// Where the key set is.
    pub fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The public key in a key set.
    pub fn jwk(&self, kid: &str) -> Value {
        let key = self.public_key();
        let (x, y) = key[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": base64url(x), "y": base64url(y)})
    }

    /// The public key, an uncompressed point.
    pub fn public_key(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// The claims of a good token.
    pub fn claims(&self) -> Value {
        let now = now_s();
        json!({
            "iss": "https://issuer.example", "aud": "https://log.corp", "sub": "repo:corp/llm",
            "iat": now, "nbf": now, "exp": now + 600, "repository_id": "123",
        })
    }

    /// A good token.
    pub fn token(&self) -> String {
        self.sign(&json!({"alg": "ES256", "kid": "k1"}), &self.claims())
    }

    /// A token in which one claim is another; null takes it out.
    pub fn token_with(&self, claim: &str, value: Value) -> String {
        let mut claims = self.claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
            value => claims[claim] = value,
        }
        self.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims)
    }

    /// A token of this header and these claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| base64url(value.to_string().as_bytes());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", base64url(signature.as_ref()))
    }
}

/// Base64url without padding (RFC 4648, section 5).
pub fn base64url(bytes: &[u8]) -> String {
    to_base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// Unix seconds.
pub fn now_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
