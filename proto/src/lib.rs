//! Bytes and types of the Treering log: hashes, proofs, signatures, wire formats. Pure: no IO, no clock, no async.
//!
//! Read in this order:
//! `hash` (RFC 6962 hashing), `tree` (index, size, head), `note` (signatures), `checkpoint` (signed tree heads),
//! `cosignature` and `policy` (witnesses), ...
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod cosignature;
pub mod encoding;
pub mod hash;
pub mod note;
pub mod policy;
pub mod proof_file;
pub mod tree;
pub mod witness;
