//! Messages of the interfaces that the log serves: what goes over the wire, nothing about
//! transport.

pub mod v1;
pub mod v2;
