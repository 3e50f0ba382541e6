//! Bytes and types of the Treering log: hashes, proofs, signatures, wire formats. Pure: no IO, no clock, no async.
//!
//! Read in this order:
//! `hash` (RFC 6962 hashing), `tree` (index, size, head), ...
#![forbid(unsafe_code)]

pub mod append;
pub mod canonical;
pub mod certificate;
pub mod encoding;
pub mod hash;
pub mod key;
pub mod proof;
pub mod tile;
pub mod tree;
pub mod verifier;
