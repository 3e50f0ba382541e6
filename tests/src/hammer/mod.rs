//! The load generator, as a library: what `bench` and `hammer` measure servers with.
//!
//! It speaks Rekor v2, Rekor v1, and the plain `POST /add` of other logs' test servers, so that one
//! tool measures all of them in the same way.
//!
//! Read in this order: `kind` and `face` (what is submitted, and how), `maker` (requests that are
//! signed before the clock starts), `target` and `connection` (HTTP/1.1 over TCP), `requests`,
//! `schedule` and `load` (the loops), `measured` (what came of it), `log_key` and `check` (whether
//! what came back is right), `served_tree` (proofs out of tiles), `reads` (what is read),
//! `integration` (when an index became an entry), `figures`.
//!
//! Invariants: a fast wrong answer is no figure, so answers are kept and verified after the clock
//! has stopped; every loop ends at a deadline or when its requests are used up; every wait has a
//! limit.
//!
//! Out of scope: TLS and HTTP/2; trying again after a refusal; judging a figure.

pub mod check;
pub mod connection;
pub mod face;
pub mod figures;
pub mod integration;
pub mod kind;
pub mod load;
pub mod log_key;
pub mod maker;
pub mod measured;
pub mod reads;
pub mod requests;
pub mod schedule;
pub mod served_tree;
pub mod target;
