//! The shipped witness over real sockets: every answer of the specification, races, crashes, a full
//! disk, damaged state, and what strangers may do to it.

mod bench;
mod bounds;
mod crash;
mod log;
mod race;
mod start;
mod status;
