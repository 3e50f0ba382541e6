//! What the figures belong to: the machine, the sources, and how much other work was going on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::child::{TICKS_PER_SECOND, stat_fields};

/// The machine as one line.
pub(crate) fn describe(cores: usize, file_system: &str) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("unknown CPU", |(_, m)| m);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    let gib = kib.unwrap_or(0) / (1 << 20);
    let kernel = kernel.trim();
    format!("{cores} cores of {model}, {gib} GiB, Linux {kernel}, data on {file_system}")
}

/// The name of the file system of `directory`. It must not be in memory: syncs cost nothing there.
pub(crate) fn file_system(directory: &Path) -> anyhow::Result<String> {
    let output =
        Command::new("stat").args(["--file-system", "--format=%T"]).arg(directory).output();
    let output = output.context("cannot run stat")?;
    ensure!(output.status.success(), "{} is no directory", directory.display());
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        !matches!(name.as_str(), "tmpfs" | "ramfs"),
        "{} is in memory ({name}), where a sync costs nothing; choose one on a disk",
        directory.display()
    );
    // What `stat` calls all three of them.
    Ok(if name == "ext2/ext3" { "ext4".to_owned() } else { name })
}

/// CPU time of this machine, and of this process and its ended children.
#[derive(Clone, Copy)]
pub(crate) struct CpuTimes {
    busy: u64,
    all: u64,
    ours: u64,
}

impl CpuTimes {
    /// The times until now.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("/proc/stat is empty")?;
        let fields: Vec<u64> =
            line.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect();
        ensure!(fields.len() >= 8, "/proc/stat has an unknown shape");
        // user, nice, system, idle, iowait, irq, softirq, steal
        let idle = fields[3] + fields[4];
        let all: u64 = fields[..8].iter().sum();
        let own = stat_fields(&fs::read_to_string("/proc/self/stat")?);
        let ours = own.iter().skip(11).take(4).sum();
        Ok(Self { busy: all - idle, all, ours })
    }

    /// Which share of the machine others had since `before`, the kernel's own threads and a
    /// hypervisor's included. `child` is the CPU time of a child that has not ended.
    pub(crate) fn share_of_others_since(&self, before: &Self, child: Duration) -> f64 {
        let child = child.as_millis() as u64 * TICKS_PER_SECOND / 1000;
        let ours = self.ours - before.ours + child;
        let others = (self.busy - before.busy).saturating_sub(ours);
        others as f64 / (self.all - before.all).max(1) as f64
    }

    /// CPU time that this process and its ended children had since `before`.
    pub(crate) fn own_since(&self, before: &Self) -> Duration {
        Duration::from_millis((self.ours - before.ours) * 1000 / TICKS_PER_SECOND)
    }
}
