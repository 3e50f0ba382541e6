//! Bytes and types of the Treering log: hashes, proofs, signatures, wire formats. Pure: no IO, no clock, no async.
//!
//! Read in this order:
//! `hash` (RFC 6962 hashing), `tree` (index, size, head), ...
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod cosignature;
pub mod encoding;
pub mod hash;
pub mod note;
pub mod tree;
