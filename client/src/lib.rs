//! The Treering client: signs and logs models, verifies them, and remembers what logs have said.
//!
//! Arrows run one way: `cli` calls the verbs (`sign`, `submit`, `notice`, `verify`, `consistency`,
//! `compare`), these use `log`, `state` and the trust file, and only `log` and `submit` touch
//! `transport`. `verify` and `history` see bytes and trust, never the network, files or a clock:
//! `history` judges what has happened since a model was signed, and `status` and `index_history`
//! gather it. `witness` is a server of its own and uses none of these.
#![forbid(unsafe_code)]

pub mod audit_log;
pub mod certificate_chain;
pub mod compare;
pub mod consistency;
pub mod events;
pub mod hash_model;
pub mod history;
pub mod index_history;
pub mod log;
pub mod lookup;
pub mod monitor;
pub mod notice;
pub mod online;
pub mod private_key;
pub mod report;
pub mod search_check;
pub mod sign;
pub mod state;
pub mod status;
pub mod submit;
pub mod time;
pub mod timestamp;
pub mod transport;
pub mod verify;
pub mod witness;

#[cfg(test)]
mod test_author;
#[cfg(test)]
mod test_log;
