//! What a log can lie about, one lie after the other, against the shipped client over a socket: how
//! the client ends, which check says so, and what the evidence that it keeps is worth.
//!
//! Each test first shows the same command passing on the honest log. Two people who are shown
//! different trees are two addresses with the same keys.
//!
//! Out of scope: what an honest log may do wrong by accident (`refusals`, `recovery`).

mod answers;
mod audit;
mod copied;
mod evidence;
mod forks;
mod honest;
mod monitor;
mod proofs;
mod times;
mod witnesses;

use treering_tests::lying_log::{any_entry, grown, log_of};
use treering_tests::person::{
    ALARM, NOT_VERIFIED, POLICY, PROVEN_LOG, PROVEN_WITNESS, Person, SUSPICIOUS, UNAVAILABLE, USAGE,
};
