//! The Treering server: one process, one directory, one log.
//!
//! Read in this order: `sequencer` (the one loop), `access` and `admission` (who may say what),
//! `pool` (what comes in), `store` (what is kept), `selfcheck`, `anchor` and `publisher` (what
//! happens before a head is signed and shown), `startup` (what happens after a crash), `http` (the
//! three faces), `timestamp` (the authority beside them), `ops` (the commands), `cli` and `config`
//! (how they are asked for).
//!
//! Invariant: `http -> pool -> sequencer -> publisher` is the only way into the log; `http` reads
//! `store` and never writes it.
#![forbid(unsafe_code)]

pub mod access;
pub mod admission;
pub mod anchor;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash_point;
pub mod data_directory;
pub mod health;
pub mod http;
pub mod journal;
pub mod limits;
pub mod metrics;
pub mod ops;
pub mod pool;
pub mod publisher;
pub mod restored;
pub mod scrubber;
pub mod seeded_bug;
pub mod selfcheck;
pub mod sequencer;
pub mod signer;
pub mod startup;
pub mod store;
pub mod systemd;
#[cfg(test)]
mod test_log;
pub mod thinning;
pub mod timestamp;
pub mod tls;
pub mod witness;
