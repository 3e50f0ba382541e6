//! What must not be served.
