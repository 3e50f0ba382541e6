//! Bytes and types of the Treering log: hashes, proofs, signatures, wire formats. Pure: no IO, no
//! clock, no async.
//!
//! Read in this order:
//! `hash` and `tree` (RFC 6962 words), `proof`, `tile` and `append` (the tree), `note`,
//! `checkpoint`, `cosignature`, `policy`, `witness` and `proof_file` (C2SP texts), `key`,
//! `certificate` and `verifier` (who signed), `dsse_envelope`, `statement` and `model_statement`
//! (what was signed), `notice` (what is said about it later), `entry` (what may be logged), `facts`
//! (what it is found by), `bundle` and `api` (Sigstore's shapes), `identity` (who a log is),
//! `trust` (what a verifier believes), `sigstore` (the same for Sigstore's clients), `freshness`
//! (how old a checkpoint is), `audit` (rebuilding a log), `evidence` (that a log or a witness
//! lied), `timestamp` (what a timestamp authority is asked, and answers).
#![forbid(unsafe_code)]

pub mod api;
pub mod append;
pub mod audit;
pub mod bundle;
pub mod canonical;
pub mod certificate;
pub mod checkpoint;
pub mod cosignature;
pub mod dsse_envelope;
pub mod encoding;
pub mod entry;
pub mod evidence;
pub mod facts;
pub mod freshness;
pub mod hash;
pub mod identity;
pub mod key;
pub mod model_id;
pub mod model_statement;
pub mod note;
pub mod notice;
mod pem;
pub mod policy;
pub mod proof;
pub mod proof_file;
pub mod protojson;
pub mod sigstore;
pub mod statement;
pub mod tile;
pub mod timestamp;
pub mod tree;
pub mod trust;
pub mod verifier;
pub mod witness;
