//! Auditing a log from outside. Written next.
