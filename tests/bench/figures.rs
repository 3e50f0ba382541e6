//! The figures of one run that are compared with targets and drawn: the same that stand in the
//! rows.

use treering_tests::hammer::face::Face;
use treering_tests::hammer::kind::Kind;

use crate::quantity::{Spread, Times};

/// What was measured, as far as it was.
#[derive(Default)]
pub(crate) struct Figures {
    /// Writes to new logs.
    pub(crate) writes: Vec<Written>,
    /// One sync of the write-ahead log and one of the anchor, the medians, in seconds.
    pub(crate) both_syncs: Option<f64>,
    /// Writes at a fixed rate.
    pub(crate) paced: Option<Paced>,
    /// Reads.
    pub(crate) reads: Vec<ReadBack>,
    /// What was measured at each size, from the smallest to the largest.
    pub(crate) sizes: Vec<Size>,
    /// Hashing a model of many files, over SHA-256 on all cores.
    pub(crate) many_files: Option<f64>,
    /// Hashing a model of one large file, over SHA-256 on one core.
    pub(crate) one_file: Option<f64>,
}

/// What is written, and through which face.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Work {
    pub(crate) kind: Kind,
    pub(crate) face: Face,
}

/// The work that all others are compared with.
pub(crate) const P256: Work = Work { kind: Kind::P256, face: Face::RekorV2 };

/// Statements about models as most are: of a few files.
pub(crate) const DSSE_10: Work = Work { kind: Kind::Dsse { files: 10 }, face: Face::RekorV2 };

/// Writes of one kind over so many connections.
pub(crate) struct Written {
    pub(crate) work: Work,
    pub(crate) connections: usize,
    /// Entries a second.
    pub(crate) rate: Spread,
    /// Time to the proof.
    pub(crate) times: Times,
    /// Verifications a second of such signatures, on all cores.
    pub(crate) verifies: f64,
    /// Which part of the server's CPU time verifying takes.
    pub(crate) share: f64,
    /// Answers a second of a bare server.
    pub(crate) bare: Option<Spread>,
}

/// Writes that are sent at a fixed rate, whether or not there are answers.
pub(crate) struct Paced {
    /// Requests a second.
    pub(crate) rate: f64,
    /// From when a request was due to having read its answer.
    pub(crate) times: Times,
}

/// Reads of one sort over many connections.
pub(crate) struct ReadBack {
    pub(crate) what: &'static str,
    /// Answers a second.
    pub(crate) rate: Spread,
    /// The same of a bare server.
    pub(crate) bare: Spread,
}

/// What was measured at one size of the log.
pub(crate) struct Size {
    /// Entries.
    pub(crate) entries: u64,
    /// Entries a second, without HTTP.
    pub(crate) fill: f64,
    /// Entries a second over many connections.
    pub(crate) writes: Spread,
    /// A proof by index, over one connection.
    pub(crate) proof: Times,
    /// A search by digest, over one connection.
    pub(crate) search: Times,
    /// From starting the program to its ready line, after a clean stop.
    pub(crate) clean_start: Spread,
    /// Bytes of the write-ahead log that it found.
    pub(crate) clean_wal: Spread,
    /// The same after it was killed under load.
    pub(crate) start_after_kill: f64,
    pub(crate) kill_wal: f64,
    /// Memory in RAM when ready.
    pub(crate) idle: f64,
    /// The most that it had under load.
    pub(crate) loaded: f64,
    /// Bytes for each entry on disk; `None` when there was no room for a copy to compact.
    pub(crate) disk: Option<DiskPerEntry>,
    /// Bytes of the access journal for each entry that came through HTTP.
    pub(crate) journal: f64,
}

/// Bytes for each entry, compacted.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(crate) struct DiskPerEntry {
    /// The canonical bytes themselves, before they are stored.
    pub(crate) body: f64,
    /// Entries, times, promises, statements.
    pub(crate) entries: f64,
    /// Full tiles.
    pub(crate) tiles: f64,
    /// The index by leaf.
    pub(crate) leaves: f64,
    /// What searches read.
    pub(crate) postings: f64,
    /// Published notes: one for each batch, thinned when they are a day old.
    pub(crate) notes: f64,
}

impl Figures {
    /// Such writes over so many connections.
    pub(crate) fn written(&self, work: Work, connections: usize) -> Option<&Written> {
        self.writes.iter().find(|write| write.work == work && write.connections == connections)
    }

    /// The greatest rate of P-256 writes, entries a second.
    pub(crate) fn top_rate(&self) -> Option<f64> {
        let rates = self.writes.iter().filter(|write| write.work == P256);
        rates.map(|write| write.rate.median).max_by(f64::total_cmp)
    }
}

impl Work {
    /// For people.
    pub(crate) fn name(self) -> String {
        match self.face {
            Face::RekorV2 => self.kind.to_string(),
            other => format!("{} through {other}", self.kind),
        }
    }
}

impl DiskPerEntry {
    /// All but published notes.
    pub(crate) fn without_notes(&self) -> f64 {
        self.entries + self.tiles + self.leaves + self.postings
    }
}

/// What a figure would be in a log of `size`, if each further factor of ten changes it as much as
/// the last one did: a straight line over the logarithm of the size, through the last two of
/// `points`. Never below 0.
pub(crate) fn beyond(points: &[(f64, f64)], size: f64) -> Option<f64> {
    let [.., (first, before), (last, at)] = points else { return None };
    if size <= *last || last <= first {
        return None;
    }
    let for_each_ten = (at - before) / (last / first).log10();
    Some((at + for_each_ten * (size / last).log10()).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_last_size_each_ten_changes_as_much_as_the_last_ten_did() {
        let points = [(1e4, 9.0), (1e5, 10.0), (1e6, 12.0)];
        assert_eq!(beyond(&points, 1e8), Some(16.0));
        assert_eq!(beyond(&[(1e5, 12.0), (1e6, 3.0)], 1e8), Some(0.0), "nothing is less than 0");
        assert_eq!(beyond(&points[..1], 1e8), None);
        assert_eq!(beyond(&points, 1e6), None, "it was measured");
    }

    #[test]
    fn notes_are_not_part_of_what_an_entry_costs() {
        let disk = DiskPerEntry {
            body: 500.0,
            entries: 300.0,
            tiles: 32.0,
            leaves: 60.0,
            postings: 80.0,
            notes: 900.0,
        };
        assert_eq!(disk.without_notes(), 472.0);
    }
}
