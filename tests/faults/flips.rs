//! One bit of a file flips, with the server down and with the server up. Whatever is served then is
//! right or an error; where it does harm the start, a read or `fsck` names the file; with the bit
//! put back everything is there.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use treering_proto::tile::{TILE_WIDTH, Tile, TileKind};
use treering_tests::checker::Invariant;
use treering_tests::checker::event::{Mark, Moment, now};
use treering_tests::http::Connection;
use treering_tests::server::{all_files, text};

use crate::trial::{Running, Trial};
use crate::violation::{Checked, Promise, broken, must};
use crate::workload::Load;

/// A kind of file, by how its names begin or end.
type Kind = (&'static str, fn(&str) -> bool);

/// The kinds of files.
const KINDS: [Kind; 12] = [
    ("write-ahead log", |name| name.ends_with(".log")),
    ("SST", |name| name.ends_with(".sst")),
    ("blob", |name| name.ends_with(".blob")),
    ("MANIFEST", |name| name.starts_with("MANIFEST")),
    ("CURRENT", |name| name == "CURRENT"),
    ("OPTIONS", |name| name.starts_with("OPTIONS")),
    ("anchor", |name| name.ends_with(".anchor")),
    ("owner", |name| name == "owner"),
    ("FORMAT", |name| name == "FORMAT"),
    ("identity", |name| name == "identity"),
    ("note key", |name| name == "note.pem"),
    ("v1 key", |name| name == "v1.pem"),
];

/// A bit of a file.
struct Bit {
    file: PathBuf,
    at: u64,
    mask: u8,
    /// The block around it, with the bit flipped.
    damaged: Vec<u8>,
}

/// What is written anew together: a slot of the anchor.
const BLOCK_BYTES: u64 = 4096;

impl Bit {
    /// A bit of any file of this kind.
    ///
    /// # Panics
    /// If the log has no such file.
    fn of(trial: &mut Trial<'_>, kind: &str, is_kind: fn(&str) -> bool) -> Self {
        let file = file_of(trial, is_kind);
        let bit = file.and_then(|file| Self::any(trial, &file));
        bit.unwrap_or_else(|| panic!("the log has no file of the kind {kind} to be damaged"))
    }

    /// Any bit of the file that is not room kept for later.
    fn any(trial: &mut Trial<'_>, file: &Path) -> Option<Self> {
        let bytes = fs::read(file).ok()?;
        // The anchor has two records, each at the beginning of a block.
        let used = bytes.iter().rposition(|byte| *byte != 0)? as u64 + 1;
        let at = match file.extension().is_some_and(|extension| extension == "anchor") {
            true => trial.random.below(2) * 4096 + trial.random.below(112),
            false => trial.random.below(used),
        };
        let mask = 1 << trial.random.below(8);
        let block = (at - at % BLOCK_BYTES) as usize;
        let mut damaged = bytes[block..bytes.len().min(block + BLOCK_BYTES as usize)].to_vec();
        damaged[at as usize - block] ^= mask;
        Some(Self { file: file.to_owned(), at, mask, damaged })
    }

    /// Flips it.
    fn flip(&self) {
        let file = OpenOptions::new().write(true).open(&self.file).expect("it was read before");
        let block = self.at - self.at % BLOCK_BYTES;
        file.write_all_at(&self.damaged, block).expect("as many bytes as there were");
    }

    /// Puts it back. A block that was written anew in the meantime has no damage to mend.
    fn put_back(&self) {
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&self.file) else { return };
        let block = self.at - self.at % BLOCK_BYTES;
        let mut now = vec![0; self.damaged.len()];
        if file.read_exact_at(&mut now, block).is_ok() && now == self.damaged {
            now[(self.at - block) as usize] ^= self.mask;
            file.write_all_at(&now, block).expect("as many bytes as there were");
        }
    }
}

/// Entries in SST files, and newer ones in the write-ahead log.
fn fill(trial: &mut Trial<'_>) -> Checked {
    for _ in 0..2 {
        let command = trial.command();
        let server = trial.start(command)?;
        trial.load(&server, Load { signers: 4, each: 40, patience: 1 });
        trial.terminate(server);
    }
    Ok(())
}

fn file_of(trial: &mut Trial<'_>, is_kind: fn(&str) -> bool) -> Option<PathBuf> {
    let mut files: Vec<PathBuf> =
        all_files(&trial.log.data).into_iter().map(|(path, _)| path).collect();
    files.push(trial.log.anchor.clone());
    let is_wanted = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(is_kind)
            && fs::metadata(path).is_ok_and(|file| file.len() > 0)
    };
    files.retain(is_wanted);
    (!files.is_empty()).then(|| {
        let any = trial.random.below(files.len() as u64) as usize;
        files.swap_remove(any)
    })
}

/// Flips a bit of each kind of file while the server is down.
pub(crate) fn while_down(trial: &mut Trial<'_>) -> Checked {
    fill(trial)?;
    for (kind, is_kind) in KINDS {
        let command = trial.command();
        let server = trial.start(command)?;
        let known = everything(trial, &server)?;
        // The write-ahead log of this process is what the next one replays.
        trial.load(&server, Load { signers: 4, each: 10, patience: 1 });
        trial.kill(server);
        let bit = Bit::of(trial, kind, is_kind);
        let damage = Damage::make(bit);
        let command = trial.command();
        let seen = match trial.launch(command) {
            Err(ended) => {
                must(Invariant::Refusal, ended.code().is_some_and(|code| code != 0), || {
                    format!("{damage}: the start ended so: {ended:?}")
                })?;
                Seen::Refused
            }
            Ok(server) => {
                let seen = serves_nothing_wrong(trial, &server, &known, &damage)?;
                trial.kill(server);
                seen
            }
        };
        let seen = damage.mend(trial, seen);
        trial.tally.count(format!("flipped bit, server down, {kind}: {seen}"));
        trial.resume()?;
    }
    Ok(())
}

/// Flips a bit of each file that a running server may read again.
pub(crate) fn while_up(trial: &mut Trial<'_>) -> Checked {
    fill(trial)?;
    for (kind, is_kind) in &KINDS[..7] {
        let command = trial.command();
        let server = trial.start(command)?;
        // So that its write-ahead log has something in it.
        trial.load(&server, Load { signers: 4, each: 10, patience: 1 });
        let known = everything(trial, &server)?;
        let bit = Bit::of(trial, kind, *is_kind);
        let damage = Damage::make(bit);
        let seen = serves_nothing_wrong(trial, &server, &known, &damage)?;
        trial.load(&server, Load { signers: 4, each: 10, patience: 2 });
        trial.kill(server);
        let seen = damage.mend(trial, seen);
        trial.tally.count(format!("flipped bit, server up, {kind}: {seen}"));
        trial.resume()?;
    }
    Ok(())
}

/// What came of a flipped bit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The log was not served.
    Refused,
    /// Some reads were refused.
    ReadsRefused,
    /// Nobody noticed while it was served; `fsck` did.
    FoundByFsck,
    /// Everything is right all the same, and `fsck` says so, too.
    Harmless,
}

impl fmt::Display for Seen {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Refused => "refused",
            Self::ReadsRefused => "reads refused",
            Self::FoundByFsck => "found by fsck",
            Self::Harmless => "no harm",
        })
    }
}

/// A bit that was flipped.
struct Damage {
    bit: Bit,
    at: Moment,
}

impl Damage {
    /// Flips it.
    fn make(bit: Bit) -> Self {
        let at = now();
        bit.flip();
        Self { bit, at }
    }

    /// Asks `fsck`, puts the bit back, and remembers in the history what was damaged if it did any
    /// harm: then somebody must have named the file. The server is down.
    fn mend(self, trial: &mut Trial<'_>, seen: Seen) -> Seen {
        let mut fsck = Command::new(&trial.ground.server);
        let output = fsck.args(["fsck", "--data", text(&trial.log.data)]).output();
        let output = output.expect("the server can be run");
        let seen = match seen {
            Seen::Harmless if !output.status.success() => Seen::FoundByFsck,
            seen => seen,
        };
        if seen != Seen::Harmless {
            let file = text(&self.bit.file).to_owned();
            trial.history.mark_at(self.at, Mark::Corrupted { file: file.clone() });
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            trial.history.mark(Mark::Complained { said });
            self.bit.put_back();
            trial.history.mark(Mark::Repaired { file });
        } else {
            self.bit.put_back();
        }
        seen
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bit { file, at, mask, .. } = &self.bit;
        write!(to, "byte {at} of {} (xor {mask})", file.display())
    }
}

/// What the log serves when all is well, by path.
fn everything(trial: &mut Trial<'_>, server: &Running) -> Checked<BTreeMap<String, Vec<u8>>> {
    let size = trial.judge(server)?.size();
    let mut known = BTreeMap::new();
    let mut connection = server.connect();
    for kind in [TileKind::Entries, TileKind::Hashes(0)] {
        for index in 0..size.div_ceil(TILE_WIDTH) {
            let width = TILE_WIDTH.min(size - index * TILE_WIDTH);
            let path = format!("/{}", Tile { kind, index, width }.path());
            if let Ok(response) = connection.get(&path) {
                known.insert(path, response.body);
            }
        }
    }
    Ok(known)
}

/// Asks for everything again: the same bytes, or an error; and reads the whole log as after any
/// fault. It goes on answering.
fn serves_nothing_wrong(
    trial: &mut Trial<'_>,
    server: &Running,
    known: &BTreeMap<String, Vec<u8>>,
    damage: &Damage,
) -> Checked<Seen> {
    let mut seen = Seen::Harmless;
    for (path, bytes) in known {
        let answer = Connection::open(server.address).and_then(|mut to| to.get(path));
        match answer {
            Ok(response) if response.status == 200 => {
                must(Invariant::Refusal, response.body == *bytes, || {
                    format!("{damage}: {path} was served with other bytes")
                })?;
            }
            Ok(response) => {
                must(Invariant::Refusal, response.status >= 500, || {
                    format!("{damage}: {path} is {} now", response.status)
                })?;
                seen = Seen::ReadsRefused;
            }
            Err(error) => {
                let what = format!("{damage}: no answer to {path}: {error}");
                return broken(Promise::Available, what);
            }
        }
    }
    match trial.judge(server) {
        Ok(_) => {}
        Err(violation) if violation.promises == [Promise::Available] => seen = Seen::ReadsRefused,
        Err(violation) => return Err(violation),
    }
    let is_alive = Connection::open(server.address).and_then(|mut to| to.get("/livez"));
    must(Promise::Available, is_alive.is_ok_and(|answer| answer.status == 200), || {
        format!("{damage}: it does not answer any more")
    })?;
    Ok(seen)
}
