//! The documents by which Sigstore's clients are told whom to believe and where to sign
//! (`dev.sigstore.trustroot.v1`, in the JSON mapping of protocol buffers):
//!
//! ```text
//! TrustedRoot 0.1        whose keys and certificates count when something is verified
//! SigningConfig 0.2      which services are asked when something is signed
//! ClientTrustConfig 0.1  both in one, as sigstore-python and model_signing take it
//! ```
//!
//! Read strictly, and written so that every client reads them: cosign and sigstore-go refuse a
//! whole document for a log without a start of validity, sigstore-python for a text that is unset.
//! So all lists are written, also empty ones, and unset texts as empty ones, which mean the same.
//!
//! Invariants: an unknown field is refused, so that nothing is lost on the way through; what was
//! read is written again with the same bytes in every key, certificate and time. Out of scope:
//! newer versions of the documents, which today's clients refuse; snake_case names; whether a
//! document is genuine.

pub mod authority_chain;
mod signing_config;
mod trusted_root;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::encoding::to_base64;
use crate::protojson::{FieldError, Object};

pub use authority_chain::{AuthorityChain, ChainError};
pub use signing_config::{Service, SigningConfig};
pub use trusted_root::{Authority, LogInstance, TrustedRoot};

/// The longest document read, in bytes: that of the public instance has 10 KB, and 100 authorities
/// with long chains have less.
pub const DOCUMENT_LEN_MAX: usize = 1 << 20;

/// Items of one list of a document: a deployment has a few of each, and keeps old ones for years.
pub const DOCUMENT_LIST_MAX: usize = 100;

/// The media type of [`TrustedRoot`].
pub const TRUSTED_ROOT_MEDIA_TYPE: &str =
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1";

/// The media type of [`SigningConfig`].
pub const SIGNING_CONFIG_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.signingconfig.v0.2+json";

/// The media type of [`ClientTrustConfig`].
pub const CLIENT_TRUST_CONFIG_MEDIA_TYPE: &str =
    "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json";

/// From when on keys and services of ours are valid. A log does not say when it was made; a time
/// before any log of this kind is before all of its entries, and no client's clock is behind it.
const START: &str = "2000-01-01T00:00:00Z";

/// One of the three documents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SigstoreDocument {
    /// For those who verify.
    TrustedRoot(TrustedRoot),
    /// For those who sign.
    SigningConfig(SigningConfig),
    /// For both.
    ClientTrustConfig(ClientTrustConfig),
}

/// Whom to believe, and where to sign.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientTrustConfig {
    /// Whom to believe.
    pub trusted_root: TrustedRoot,
    /// Where to sign.
    pub signing_config: SigningConfig,
}

/// Why a text is none of the documents, or two of them cannot be one.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// More than [`DOCUMENT_LEN_MAX`] bytes.
    #[error("the document is longer than {DOCUMENT_LEN_MAX} bytes")]
    TooLong,
    /// A field of the document is missing, malformed or unknown, or it is not JSON at all.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Another kind of document, or another version.
    #[error("the media type {found:?} is not {expected}")]
    MediaType {
        /// The beginning of what stands there.
        found: String,
        /// What would have been read.
        expected: &'static str,
    },
    /// An item of a list is wrong.
    #[error("{list}, item {at}: {error}")]
    Item {
        /// Which list.
        list: &'static str,
        /// Which item, from 1.
        at: usize,
        /// What is wrong with it.
        error: FieldError,
    },
}

impl SigstoreDocument {
    /// Reads any of the three; the media type says which.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > DOCUMENT_LEN_MAX {
            return Err(DocumentError::TooLong);
        }
        let mut object = Object::parse(bytes)?;
        let media_type = object.text("mediaType")?;
        match media_type.as_str() {
            TRUSTED_ROOT_MEDIA_TYPE => {
                Ok(Self::TrustedRoot(TrustedRoot::from_untyped_object(object)?))
            }
            SIGNING_CONFIG_MEDIA_TYPE => {
                Ok(Self::SigningConfig(SigningConfig::from_untyped_object(object)?))
            }
            CLIENT_TRUST_CONFIG_MEDIA_TYPE => {
                let root = typed(object.object("trustedRoot")?, TRUSTED_ROOT_MEDIA_TYPE)?;
                let config = typed(object.object("signingConfig")?, SIGNING_CONFIG_MEDIA_TYPE)?;
                object.finish()?;
                Ok(Self::ClientTrustConfig(ClientTrustConfig {
                    trusted_root: TrustedRoot::from_untyped_object(root)?,
                    signing_config: SigningConfig::from_untyped_object(config)?,
                }))
            }
            _ => Err(other_media_type(
                &media_type,
                "that of a Sigstore trusted root 0.1, signing config 0.2 or client trust config 0.1",
            )),
        }
    }
}

impl ClientTrustConfig {
    /// The text of the document, indented, with a trailing LF.
    pub fn format(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Json<'a> {
            media_type: &'static str,
            trusted_root: trusted_root::Json<'a>,
            signing_config: signing_config::Json<'a>,
        }
        pretty(&Json {
            media_type: CLIENT_TRUST_CONFIG_MEDIA_TYPE,
            trusted_root: self.trusted_root.to_json(),
            signing_config: self.signing_config.to_json(),
        })
    }
}

/// Takes the media type, which must be `expected`.
fn typed(mut object: Object, expected: &'static str) -> Result<Object, DocumentError> {
    let found = object.text("mediaType")?;
    if found == expected { Ok(object) } else { Err(other_media_type(&found, expected)) }
}

fn other_media_type(found: &str, expected: &'static str) -> DocumentError {
    DocumentError::MediaType { found: found.chars().take(100).collect(), expected }
}

/// Takes a list of messages and reads each.
fn items<T>(
    object: &mut Object,
    list: &'static str,
    read: fn(Object) -> Result<T, FieldError>,
) -> Result<Vec<T>, DocumentError> {
    let values = object.list(list, DOCUMENT_LIST_MAX)?;
    let read_one = |(at, value): (usize, Value)| {
        let read = Object::from_value(value, list).and_then(read);
        read.map_err(|error| DocumentError::Item { list, at: at + 1, error })
    };
    values.into_iter().enumerate().map(read_one).collect()
}

/// Adds what is not there yet, in the order of `more`.
fn add_new<T: PartialEq>(
    items: &mut Vec<T>,
    more: Vec<T>,
    list: &'static str,
) -> Result<(), DocumentError> {
    for item in more {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    if items.len() > DOCUMENT_LIST_MAX { Err(FieldError::TooMany(list).into()) } else { Ok(()) }
}

fn pretty(json: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(json).expect("texts and lists always serialize");
    text.push('\n');
    text
}

/// Bytes that are written in base64.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.serialize_str(&to_base64(&self.0))
    }
}

/// When something is valid (`TimeRange`), the last second included. The texts are kept as they are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Period {
    start: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
}

impl Period {
    /// From [`START`] on, without an end.
    fn always() -> Self {
        Self { start: START.to_owned(), end: None }
    }

    /// Takes the field `validFor`, which must have a start: some clients want one.
    fn take(object: &mut Object) -> Result<Self, FieldError> {
        let mut object = object.object("validFor")?;
        let (start, end) = (object.text("start")?, object.optional_text("end")?);
        object.finish()?;
        if !is_time(&start) {
            return Err(FieldError::Malformed("start"));
        }
        if end.as_deref().is_some_and(|end| !is_time(end)) {
            return Err(FieldError::Malformed("end"));
        }
        Ok(Self { start, end })
    }
}

/// Whether a text has the shape of a time in UTC as protojson writes it (RFC 3339): seconds, and up
/// to nine digits of a fraction.
fn is_time(text: &str) -> bool {
    let Some(text) = text.strip_suffix('Z') else { return false };
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let digit_or_mark = |(byte, mark): (u8, u8)| match mark {
        b'0' => byte.is_ascii_digit(),
        _ => byte == mark,
    };
    const SHAPE: &str = "0000-00-00T00:00:00";
    seconds.len() == SHAPE.len()
        && seconds.bytes().zip(SHAPE.bytes()).all(digit_or_mark)
        && (1..=9).contains(&fraction.len())
        && is_digits(fraction)
}

#[cfg(test)]
mod tests;
