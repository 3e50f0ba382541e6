//! The `treering-server` command: arguments in, exit code out. What commands do is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// For RocksDB's allocations too. Measured against the system's: `docs/performance.md`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    treering_server::cli::run()
}
