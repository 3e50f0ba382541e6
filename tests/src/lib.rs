//! The test package: what its test binaries share.
