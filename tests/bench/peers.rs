//! Other logs on this machine, under the load that ours is under.
//!
//! | log | submission | answer | settings |
//! |---|---|---|---|
//! | rekor-tiles, POSIX server | Rekor v2, as ours | the proof | none, and the shortest waits |
//! | Tessera, POSIX test server | `POST /add`, any bytes | the index | none: it has no others |
//!
//! Both are the programs of releases that `peers/*/go.mod` pin, unmodified; their syncs are theirs.
//! `peers/process.rs` starts them.
//!
//! Invariants: one log runs at a time, a new one for each set of settings; what it refuses is
//! counted in its row and the run goes on, but a wrong answer ends the run, as one of ours does.
//!
//! Out of scope: their reads, which rekor-tiles leaves to a file server; logs that cannot start
//! without a database, a cloud, or certificates for their entries.

mod process;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use treering_proto::tile::TILE_WIDTH;
use treering_tests::hammer::check;
use treering_tests::hammer::face::Face;
use treering_tests::hammer::kind::Kind;
use treering_tests::hammer::load::Load;
use treering_tests::hammer::measured::{Kept, Measured};
use treering_tests::hammer::requests::Requests;

use self::process::PeerLog;
use crate::figures::{P256, Work};
use crate::loads::{Loaded, Runs, counted};
use crate::quantity::{Spread, Unit};
use crate::report::{Counts, Part, Row};
use crate::run::Bench;
use crate::server::Log;

/// Connections that all logs are measured with. The largest number is for those that make each
/// connection wait: only with many waiting at once do they come near what they can do.
const CONNECTIONS: [usize; 3] = [64, 256, 1024];

/// Periods that are measured at least: whole ones, because each may have all answers at its end.
const PERIODS_MIN: u32 = 3;

/// Periods before that. No entry waits longer.
const PERIODS_BEFORE: u32 = 2;

/// Requests a second that are ready for a log that makes no connection wait. If it takes more, the
/// load ends when they are used up.
const READY_PER_SECOND: f64 = 10_000.0;

/// Another log, with the settings that it is run with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Peer {
    /// The log of Sigstore, whose interface ours has, too.
    RekorTiles,
    /// The same with the shortest waits that it takes, and with a lasting guard against duplicates,
    /// which ours cannot do without.
    RekorTilesShortWaits,
    /// The library below it, with the server that its authors test it with. It verifies nothing.
    Tessera,
}

impl Peer {
    const ALL: [Self; 3] = [Self::RekorTiles, Self::RekorTilesShortWaits, Self::Tessera];

    /// Its name and release, and which settings it has if there are several.
    fn name(self) -> String {
        let rekor_tiles = || {
            let lists = include_str!("peers/rekor-tiles/go.mod");
            let release = release(lists, "github.com/sigstore/rekor-tiles/v2");
            format!("rekor-tiles {}", release.unwrap_or_default())
        };
        match self {
            Self::RekorTiles => format!("{} as it starts", rekor_tiles()),
            Self::RekorTilesShortWaits => format!("{} with short waits", rekor_tiles()),
            Self::Tessera => {
                let lists = include_str!("peers/tessera/go.mod");
                let release = release(lists, "github.com/transparency-dev/tessera");
                format!("Tessera {} test server", release.unwrap_or_default())
            }
        }
    }

    /// What it is told beside its places and its key.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::RekorTiles | Self::Tessera => &[],
            Self::RekorTilesShortWaits => {
                &["--checkpoint-interval=100ms", "--batch-max-age=100ms", "--persistent-antispam"]
            }
        }
    }

    /// What is submitted to it.
    fn work(self) -> Work {
        match self {
            Self::RekorTiles | Self::RekorTilesShortWaits => P256,
            Self::Tessera => Work { kind: Kind::P256, face: Face::Add },
        }
    }

    /// How often it answers, when it answers many at once: at each checkpoint; where these come
    /// faster, each second, in which rekor-tiles looks for one and Tessera closes a batch.
    fn period(self) -> Duration {
        Duration::from_secs(match self {
            Self::RekorTiles => 10,
            Self::RekorTilesShortWaits | Self::Tessera => 1,
        })
    }

    /// Requests a second that are ready for it, more than it is expected to take.
    fn ready_per_second(self, connections: usize) -> f64 {
        match self {
            // A connection has about one answer in each second that it looks for a checkpoint.
            Self::RekorTiles | Self::RekorTilesShortWaits => 2.0 * connections as f64,
            Self::Tessera => READY_PER_SECOND,
        }
    }
}

impl Bench<'_> {
    /// Ours and the others, over the same connections. `programs` has theirs.
    pub(crate) fn measure_peers(&mut self, programs: &Path) -> anyhow::Result<()> {
        // The server raises its own limit.
        treering_server::limits::raise_open_files();
        let mut live = Log::create(self.program, self.work, "log")?.live(0)?;
        for connections in CONNECTIONS {
            let (runs, note) = self.write(&mut live, P256, connections)?;
            let what = format!("Treering, {}", counted(connections));
            self.push_peer(what, &runs, note);
        }
        live.remove()?;
        for peer in Peer::ALL {
            let mut log = PeerLog::start(&self.runtime, peer, programs, self.work)?;
            for connections in CONNECTIONS {
                let measured = self.measure_peer(&mut log, connections);
                measured.with_context(|| peer.name())?;
            }
            log.remove()?;
        }
        Ok(())
    }

    fn measure_peer(&mut self, log: &mut PeerLog, connections: usize) -> anyhow::Result<()> {
        let (peer, mut all) = (log.peer(), Vec::new());
        let time = (PERIODS_MIN * peer.period()).max(self.options.time());
        let warm_up = (PERIODS_BEFORE * peer.period()).max(self.options.warm_up());
        // A long load is a mean over several periods already.
        let runs = if time > self.options.time() { 1 } else { self.options.runs() };
        let seconds = (warm_up + time).as_secs_f64();
        let count = (peer.ready_per_second(connections) * seconds) as usize + connections;
        for _ in 0..runs {
            let bodies = self.sign_exactly(peer.work(), count);
            let requests = Requests::submit(peer.work().face, bodies.clone());
            let load = self.closed(log.address(), connections, requests);
            let loaded = self.load_with_failures(log.running(), &Load { warm_up, time, ..load })?;
            let Measured { answers, failures, kept, .. } = &loaded.measured;
            log.answered(*answers);
            let counts = Counts { answers: *answers, failures: failures.total(), verified: 0 };
            self.report.count_peer(counts);
            self.check_peer(log, &bodies, kept)?;
            self.report.count_peer(Counts { verified: kept.len(), ..Counts::default() });
            all.push(loaded);
        }
        let runs = Runs::of(&all)?;
        let what = format!("{}, {}", peer.name(), counted(connections));
        self.push_peer(what, &runs, note(peer, &runs, &all)?);
        Ok(())
    }

    fn push_peer(&mut self, what: String, runs: &Runs, note: String) {
        let row = Row::new(what, runs.rate, Unit::PerSecond("entries")).times(runs.times);
        self.report.push(Part::Peers, row.note(note));
    }

    /// Checks that the answers that were kept are about what was sent, and that the log has signed
    /// as many entries as it answered.
    fn check_peer(&self, log: &mut PeerLog, bodies: &[Bytes], kept: &[Kept]) -> anyhow::Result<()> {
        let wrong = |kept: &Kept| format!("the answer to request {} is wrong", kept.number);
        let mut places = Vec::new();
        for kept in kept {
            let sent = &bodies[kept.number];
            match log.peer().work().face {
                Face::Add => {
                    let place = check::read_index(&kept.body).with_context(|| wrong(kept))?;
                    log.must_have(place);
                    places.push((place, sent, kept));
                }
                _ => {
                    check::check_v2(log.key(), sent, &kept.body).with_context(|| wrong(kept))?;
                }
            }
        }
        let head = log.wait(&self.runtime)?;
        let mut tiles = BTreeMap::new();
        for (place, sent, kept) in places {
            let tile = place.get() / TILE_WIDTH;
            let entries = match tiles.entry(tile) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(log.entry_tile(&self.runtime, head, tile)?),
            };
            let entry = entries.get((place.get() % TILE_WIDTH) as usize);
            ensure!(entry == Some(sent), "{}: it has another entry there", wrong(kept));
        }
        Ok(())
    }
}

/// What a row does not say by itself.
fn note(peer: Peer, runs: &Runs, all: &[Loaded]) -> anyhow::Result<String> {
    let p95 = all.iter().filter_map(|one| one.measured.latencies.as_ref());
    let p95 = Spread::of(p95.map(|latencies| latencies.p95.as_secs_f64()));
    let p95 = p95.context("nothing was answered")?;
    let settings = match peer.settings() {
        [] => "no settings".to_owned(),
        settings => format!("`{}`", settings.join(" ")),
    };
    let until = match peer.work().face {
        Face::Add => "times are to the index, not to a proof, and nothing is verified",
        _ => "times are to the proof",
    };
    Ok(format!(
        "{settings}; {until}; p95 {}; server {} of CPU an entry, {:.1} cores busy; {}; {}",
        Unit::Seconds.show(p95.median),
        Unit::Seconds.show(runs.cpu_each),
        runs.busy,
        failures(all.iter().map(|one| &one.measured)),
        runs.others()
    ))
}

/// The failures of all runs, by kind.
fn failures<'a>(all: impl Iterator<Item = &'a Measured>) -> String {
    let mut kinds = BTreeMap::new();
    for (failure, counted) in all.flat_map(|measured| measured.failures.iter()) {
        *kinds.entry(failure.to_string()).or_insert(0) += counted.count;
    }
    if kinds.is_empty() {
        return "no errors".to_owned();
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    format!("errors: {}", kinds.join(", "))
}

/// The release of `module` in `lists`, a go.mod.
fn release<'a>(lists: &'a str, module: &str) -> Option<&'a str> {
    let line = lists.lines().find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(' '));
    line?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_a_release() {
        for peer in Peer::ALL {
            let name = peer.name();
            let release = name.split_whitespace().nth(1).unwrap();
            let numbers = release.strip_prefix('v').unwrap();
            assert!(numbers.split('.').all(|part| part.parse::<u32>().is_ok()), "{name}");
        }
    }

    #[test]
    fn a_module_is_not_another_one_with_a_longer_name() {
        let lists = "require (\n\texample.com/a/v2 v2.0.1 // indirect\n\texample.com/a v1.0.0\n)\n";
        assert_eq!(release(lists, "example.com/a"), Some("v1.0.0"));
        assert_eq!(release(lists, "example.com/a/v2"), Some("v2.0.1"));
        assert_eq!(release(lists, "example.com/b"), None);
    }
}
