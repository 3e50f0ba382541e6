//! Time travel: a genuine signature on an old or bad model, shown where it must not pass. Each
//! attack, by the shipped client against the shipped server, beside the honest case that must pass:
//! how `verify` ends, which rule says so, and the evidence and the remedy that it names
//! (`docs/model-policy.md`).
//!
//! Policies are the recommended one, unless a test says otherwise. Out of scope: what is judged
//! from which history (the client's own tests have every case of that).

mod approved;
mod clocks;
mod digest_alone;
mod hidden;
mod older;
mod others;
mod resigned;
mod revoked;
mod told;
mod world;

use treering_tests::person::{NOT_AUTHORISED, NOT_VERIFIED, POLICY, Person, Said, UNAVAILABLE};
use world::{DAY, Signed, World};
