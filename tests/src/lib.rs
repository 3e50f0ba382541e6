//! The harness: starts the shipped binaries, talks to them over plain sockets, remembers everything
//! that the log ever said, and audits the log against that memory.
//!
//! Invariants: the binaries were built from this tree, or no test runs; servers listen on a port
//! that the system chose and are waited for by their ready line; each child is ended by its own
//! process id; every wait ends by an answer, the end of a process, or a socket's time limit.

pub mod authority;
pub mod binaries;
pub mod certificate;
pub mod check;
pub mod checker;
pub mod convictions;
pub mod hammer;
pub mod history;
pub mod http;
pub mod load;
pub mod lying_log;
pub mod model;
pub mod person;
pub mod random;
pub mod server;
pub mod shim;
pub mod submission;
pub mod witness;
