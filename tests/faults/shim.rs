//! The layer that makes a disk fail (`shim.c`): says to a server what it must do, and puts back
//! what a power cut leaves.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use treering_tests::random::Random;
use treering_tests::server::Log;
pub(crate) use treering_tests::shim::{Shared, Shim};

/// An error at a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fail {
    /// `sync` or `write`.
    pub(crate) kind: &'static str,
    /// Counted from 1.
    pub(crate) at: u64,
    /// `EIO` or `ENOSPC`.
    pub(crate) error: &'static str,
    /// `once`, `pair` or `on`.
    pub(crate) span: &'static str,
    /// `undone` or `done`.
    pub(crate) effect: &'static str,
}

impl Fail {
    /// As the shim reads it.
    pub(crate) fn to_text(self) -> String {
        let Self { kind, at, error, span, effect } = self;
        format!("{kind}:{at}:{error}:{span}:{effect}")
    }
}

/// What would be on the disk if the power went now.
pub(crate) struct Shadow(PathBuf);

impl Shadow {
    /// Starts with everything as it is: durable. The log must be stopped.
    pub(crate) fn of(log: &Log) -> Self {
        let top = log.beside("shadow");
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(top.join("objects")).expect("there is room");
        fs::create_dir_all(top.join("names/0")).expect("there is room");
        let shadow = Self(top);
        shadow.keep(&log.data, &shadow.0.join("names/0"));
        shadow.keep_file(&log.anchor, &shadow.0.join("names/1"));
        shadow
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn keep(&self, from: &Path, to: &Path) {
        for entry in fs::read_dir(from).expect("the directory is there").flatten() {
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                fs::create_dir_all(&target).expect("there is room");
                self.keep(&entry.path(), &target);
            } else if entry.file_name() != "ballast" {
                self.keep_file(&entry.path(), &target);
            }
        }
    }

    fn keep_file(&self, from: &Path, to: &Path) {
        let object = self.object(from);
        fs::copy(from, &object).expect("there is room");
        fs::hard_link(&object, to).expect("one file system");
    }

    fn object(&self, file: &Path) -> PathBuf {
        let inode = fs::metadata(file).expect("the file is there").ino();
        self.0.join("objects").join(inode.to_string())
    }

    /// Cuts the power: the log, which was killed, is left with what is durable and, at random, with
    /// some of what was not. Says how many bytes were lost.
    pub(crate) fn cut(&self, log: &Log, random: &mut Random) -> u64 {
        let after = log.beside("after-cut");
        let _ = fs::remove_dir_all(&after);
        fs::create_dir_all(&after).expect("there is room");
        // Names that were not synced: all of them survive or none does, which a journal allows.
        let with_names = random.below(3) == 0;
        let mut lost = 0;
        let names = if with_names { &log.data } else { &self.0.join("names/0") };
        self.survive(names, &after, &log.data, with_names, random, &mut lost);
        let anchor = self.survivor(&self.0.join("names/1"), Some(&log.anchor), random, &mut lost);
        treering_tests::server::replace_contents(&after, &log.data);
        fs::write(&log.anchor, anchor).expect("there is room");
        let _ = fs::remove_dir_all(&after);
        lost
    }

    /// Makes in `to` what survives of the directory `names`, which is `live` or its shadow.
    fn survive(
        &self,
        names: &Path,
        to: &Path,
        live: &Path,
        with_names: bool,
        random: &mut Random,
        lost: &mut u64,
    ) {
        let mut entries: Vec<_> =
            fs::read_dir(names).expect("the directory is there").flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (name, path) = (entry.file_name(), entry.path());
            if path.is_dir() {
                fs::create_dir(to.join(&name)).expect("there is room");
                let live = live.join(&name);
                self.survive(&path, &to.join(&name), &live, with_names, random, lost);
            } else if name != "ballast" {
                let object = if with_names { self.object(&path) } else { path };
                let same = self.live_of(&object, &live.join(&name));
                let bytes = self.survivor(&object, same.as_deref(), random, lost);
                fs::write(to.join(&name), bytes).expect("there is room");
            }
        }
    }

    /// The live file under this name, if it is still the file that the shadow knows.
    fn live_of(&self, object: &Path, live: &Path) -> Option<PathBuf> {
        let known = fs::metadata(self.object_if_there(live)?).ok()?.ino();
        let is_same = fs::metadata(object).map_or(true, |object| object.ino() == known);
        is_same.then(|| live.to_owned())
    }

    fn object_if_there(&self, live: &Path) -> Option<PathBuf> {
        live.exists().then(|| self.object(live))
    }

    /// The bytes of a file: what was synced, and at random a torn part of what was not.
    fn survivor(
        &self,
        durable: &Path,
        live: Option<&Path>,
        random: &mut Random,
        lost: &mut u64,
    ) -> Vec<u8> {
        let durable = fs::read(durable).unwrap_or_default();
        let Some(live) = live.and_then(|live| fs::read(live).ok()) else { return durable };
        let same = durable.iter().zip(&live).take_while(|(a, b)| a == b).count();
        let unsynced = live.len().saturating_sub(same) as u64;
        if unsynced == 0 || live.len() < durable.len() {
            return durable;
        }
        let cut = match random.below(3) {
            0 => same,
            1 => live.len(),
            _ => same + random.below(unsynced + 1) as usize,
        };
        *lost += (live.len() - cut) as u64;
        let mut bytes = live[..cut].to_vec();
        bytes.extend_from_slice(durable.get(cut..).unwrap_or_default());
        bytes
    }
}
