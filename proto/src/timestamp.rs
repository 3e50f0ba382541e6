//! Timestamps (RFC 3161): what an authority is asked for, and the token that it answers with.
//!
//! ```text
//! TimeStampReq in DER, or Sigstore's JSON -> TimestampRequest     `request`, `json`
//! TimestampRequest, time, serial number   -> what is signed       `token`
//! signature                               -> TimeStampResp, DER   `token`
//! ```
//!
//! One policy, that of Sigstore's authorities ([`POLICY`]); no extensions; tokens in CMS (RFC 5652)
//! with one signer, ECDSA P-256 and SHA-256.
//!
//! Invariants: what is not understood is refused; the imprint and the nonce of a request stand in
//! its token byte for byte; whole seconds. Out of scope: keys and clocks (the server); verifying
//! tokens, which the client does with a reader of its own.

mod json;
mod request;
mod token;

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Sequence, ValueOrd};
use spki::AlgorithmIdentifierRef;

pub use self::request::{NONCE_LEN_MAX, TimestampRequest, TimestampRequestError};
pub use self::token::{SERIAL_LEN, StampCertificate, StampCertificateError, Token};

/// The policy of every token: the one that Sigstore's timestamp authority has unless it is told
/// otherwise, and so the one that its clients name when they name any.
pub const POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.2");

/// The version of requests and of token contents.
const VERSION: u8 = 1;

const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// What a token is about: a digest, and how it was made (RFC 3161, 2.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Sequence, ValueOrd)]
struct MessageImprint<'a> {
    hash_algorithm: AlgorithmIdentifierRef<'a>,
    hashed_message: &'a OctetStringRef,
}

/// The algorithm `oid`, with or without the NULL that older encoders write (RFC 5754, 2).
fn algorithm(oid: ObjectIdentifier, has_null: bool) -> AlgorithmIdentifierRef<'static> {
    AlgorithmIdentifierRef { oid, parameters: has_null.then_some(AnyRef::NULL) }
}

#[cfg(test)]
mod tests;
