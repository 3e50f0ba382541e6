//! The `treering-server` command: arguments in, exit code out. What commands do is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    treering_server::cli::run()
}
