//! Bytes and types of the Treering log: hashes, proofs, signatures, wire formats. Pure: no IO, no clock, no async.
//!
//! Read in this order:
//! `hash` (RFC 6962 hashing), `tree` (index, size, head), ...
#![forbid(unsafe_code)]

pub mod api;
pub mod bundle;
pub mod canonical;
pub mod certificate;
pub mod dsse_envelope;
pub mod encoding;
pub mod facts;
pub mod hash;
pub mod key;
pub mod model_id;
pub mod model_statement;
pub mod protojson;
pub mod statement;
pub mod tree;
pub mod verifier;
