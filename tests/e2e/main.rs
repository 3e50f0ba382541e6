//! End to end: the shipped binaries, real sockets, real files, real signals.
//!
//! One executable, because each one that starts servers needs the same harness, and one of its
//! modules links RocksDB to damage rows. Each module is one promise of the README.
//!
//! Out of scope: other people's clients (`tests/interop`) and speed (`scripts/bench`).

mod abuse;
mod access;
mod backup;
mod bad_input;
mod checkpoints;
mod client;
mod cve;
mod fsck;
mod gate;
mod golden;
mod hammer;
mod lies;
mod listeners;
mod new_log;
mod notices;
mod offer;
mod operations;
mod recovery;
mod refusals;
mod restore;
mod search;
mod submit;
mod tiles;
mod time_travel;
mod timestamps;
mod tls;
mod v1;
mod v2;
mod v2_errors;
mod witnesses;

use treering_tests::binaries;

#[test]
fn a_server_of_other_sources_is_refused() {
    let expected = binaries::hash_of_this_tree();
    assert_eq!(
        binaries::check_version(&binaries::version_of(binaries::server()), &expected),
        Ok(())
    );
    let other = "treering-server 0.1.0 (sources 0000000000000000)\n";
    let why = binaries::check_version(other, &expected).unwrap_err();
    assert!(why.contains(&expected) && why.contains("0000000000000000"), "{why}");
    assert!(binaries::check_version("treering-server 0.1.0", &expected).is_err());
}
