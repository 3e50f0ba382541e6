//! The `treering-server-buggy` command: the same server, built with the feature that puts mistakes
//! into it for `tests/faults` to find. Never part of a release.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    treering_server::cli::run()
}
