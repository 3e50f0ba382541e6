//! The layer between a process and the C library (`tests/faults/shim.c`): makes a disk fail, and
//! shows another time of day.
//!
//! Invariant: clocks that count from boot stay true, so a process that was started with another
//! time of day waits as long as any other.
//! Out of scope: what a power cut leaves (`tests/faults/shim.rs`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::server::{Log, text};

/// The compiled layer.
pub struct Shim {
    directory: TempDir,
}

impl Shim {
    /// Compiles it.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn compile() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let source = directory.path().join("shim.c");
        let code = include_str!("../faults/shim.c");
        fs::write(&source, code).map_err(|error| error.to_string())?;
        let target = directory.path().join("shim.so");
        let flags = ["-std=gnu11", "-O1", "-shared", "-fPIC", "-o", text(&target), text(&source)];
        let output = Command::new("cc").args(flags).args(["-ldl", "-lpthread"]).output();
        let output = output.map_err(|error| format!("cc: {error}"))?;
        match output.status.success() {
            true => Ok(Self { directory }),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Puts it between a server of `log` and the C library.
    pub fn load_into(&self, command: &mut Command, log: &Log) {
        let roots = format!("{}:{}", text(&log.data), text(&log.anchor));
        command.env("TREERING_SHIM_ROOTS", roots);
        command.env("LD_PRELOAD", self.library());
    }

    /// Shows a process a time of day that is away from that of the system by as many milliseconds
    /// as `clock` says, and nothing else.
    pub fn set_clock(&self, command: &mut Command, clock: &Shared) {
        command.env("TREERING_SHIM_CLOCK", clock.path());
        command.env("LD_PRELOAD", self.library());
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("shim.so")
    }
}

/// Two counters or an offset that the layer maps: a file of 16 bytes.
pub struct Shared(PathBuf);

impl Shared {
    /// Makes the file, all zero.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn create(path: PathBuf) -> Self {
        fs::write(&path, [0; 16]).expect("there is room for 16 bytes");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The two numbers in it.
    ///
    /// # Panics
    /// If somebody made the file shorter.
    pub fn numbers(&self) -> [u64; 2] {
        let bytes = fs::read(&self.0).expect("the file is there");
        let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_ne_bytes);
        [number(0).expect("16 bytes"), number(8).expect("16 bytes")]
    }

    /// Sets the first number.
    ///
    /// # Panics
    /// If the file is gone.
    pub fn set(&self, number: i64) {
        use std::os::unix::fs::FileExt as _;
        let file = fs::OpenOptions::new().write(true).open(&self.0).expect("the file is there");
        file.write_all_at(&number.to_ne_bytes(), 0).expect("8 bytes fit");
    }
}
