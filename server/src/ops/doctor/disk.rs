//! What lies below the data directory: file system, speed, room.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Check, Doctor, Question};

/// Syncs that are timed: enough for a median.
const SYNCS: usize = 15;

/// A median above this makes every submitter wait: a commit syncs twice.
const SYNC_TIME_MAX: Duration = Duration::from_millis(50);

/// Files and directories that the database may need on a busy day.
const INODES_MIN: u64 = 10_000;

pub(super) fn examine(doctor: &Doctor, anchor: &Path, checks: &mut Vec<Check>) {
    checks.push(file_system(&doctor.data, DATA_FILE_SYSTEM));
    let parent = anchor.parent().unwrap_or(Path::new("/"));
    checks.push(file_system(parent, ANCHOR_FILE_SYSTEM));
    checks.push(sync_time(&doctor.data));
    checks.push(free_space(&doctor.data, doctor.free_disk_min));
    checks.push(ballast(&doctor.data));
}

const DATA_FILE_SYSTEM: Question = Question {
    name: "data-file-system",
    why: "the log's promises need a file system whose sync and rename are kept by this machine",
};

const ANCHOR_FILE_SYSTEM: Question = Question {
    name: "anchor-file-system",
    why: "an anchor that vanishes with the machine, or is changed by another, fences nothing",
};

fn file_system(path: &Path, question: Question) -> Check {
    match rustix::fs::statfs(path) {
        Ok(stat) => judge(stat.f_type as u64 & 0xffff_ffff, path, question),
        Err(error) => {
            let what = format!("{}: {error}", path.display());
            question.fail(what, "give a directory that exists and can be read")
        }
    }
}

/// What the kernel's magic number of a file system means for a log (statfs(2)).
pub(super) fn judge(magic: u64, path: &Path, question: Question) -> Check {
    let known = FILE_SYSTEMS.iter().find(|(number, ..)| *number == magic);
    let path = path.display();
    match known {
        Some((_, name, None)) => question.ok(format!("{path} is on {name}")),
        Some((_, name, Some(why_not))) => {
            let remedy = "move it to a local ext4 or XFS volume, and then `claim` the copy";
            question.fail(format!("{path} is on {name}: {why_not}"), remedy)
        }
        None => question.warn(
            format!("{path} is on a file system of an unknown kind ({magic:#x})"),
            "ext4 and XFS are tested; make sure that this one keeps what it synced",
        ),
    }
}

const REMOTE: Option<&str> = Some("locks and syncs are another machine's word");

/// Magic number, name, and why it holds no log.
const FILE_SYSTEMS: &[(u64, &str, Option<&str>)] = &[
    (0xef53, "ext4", None),
    (0x5846_5342, "XFS", None),
    (0x9123_683e, "Btrfs", None),
    (0x2fc1_2fc1, "ZFS", None),
    (0xf2f5_2010, "F2FS", None),
    (0x6969, "NFS", REMOTE),
    (0xff53_4d42, "CIFS", REMOTE),
    (0xfe53_4d42, "SMB2", REMOTE),
    (0x517b, "SMB", REMOTE),
    (0x00c3_6400, "Ceph", REMOTE),
    (0x0102_1997, "9p", REMOTE),
    (0x6573_5546, "FUSE", Some("what a sync means there, only its program knows")),
    (0x794c_7630, "overlayfs", Some("it is the container's own layer, and goes with it")),
    (0x0102_1994, "tmpfs", Some("it is memory, and goes with the machine's power")),
    (0x8584_58f6, "ramfs", Some("it is memory, and goes with the machine's power")),
];

fn sync_time(data: &Path) -> Check {
    let question = Question {
        name: "sync-time",
        why: "every batch waits for two syncs, and every submitter for its batch",
    };
    match time_syncs(data) {
        Ok((median, longest)) if median <= SYNC_TIME_MAX => {
            question.ok(format!("a sync takes {median:.1?}, the longest of {SYNCS} {longest:.1?}"))
        }
        Ok((median, longest)) => question.warn(
            format!("a sync takes {median:.1?}, the longest of {SYNCS} {longest:.1?}"),
            "use a disk with its own power-safe cache, or expect slow answers",
        ),
        Err(error) => question.warn(
            format!("cannot write a file in {}: {error}", data.display()),
            "run doctor as the user that serves the log",
        ),
    }
}

/// Writes one block again and again, as the anchor does; the median and the longest.
fn time_syncs(data: &Path) -> io::Result<(Duration, Duration)> {
    let path = data.join(format!("doctor.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let mut timed = || {
        file.write_all(&[0; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        Ok(started.elapsed())
    };
    let times: io::Result<Vec<Duration>> = (0..SYNCS).map(|_| timed()).collect();
    let removed = fs::remove_file(&path);
    let mut times = times?;
    removed?;
    times.sort_unstable();
    Ok((times[times.len() / 2], times[times.len() - 1]))
}

fn free_space(data: &Path, guard: u64) -> Check {
    let question = Question {
        name: "free-space",
        why: "below --min-free-disk nothing is acknowledged, and a full disk cannot be opened again",
    };
    let stat = match rustix::fs::statvfs(data) {
        Ok(stat) => stat,
        Err(error) => {
            return question.fail(format!("{}: {error}", data.display()), "give another directory");
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let what = format!("{} free, {} are kept back", mebibytes(free), mebibytes(guard));
    let remedy = "make room, or move the log to a larger volume";
    // Some file systems make inodes as they need them, and say 0 of all.
    if stat.f_files > 0 && stat.f_favail < INODES_MIN {
        return question.warn(format!("only {} inodes are free", stat.f_favail), remedy);
    }
    match free {
        free if free < guard => question.fail(what, remedy),
        free if free < guard.saturating_mul(2) => question.warn(what, remedy),
        _ => question.ok(what),
    }
}

fn ballast(data: &Path) -> Check {
    let question = Question {
        name: "ballast",
        why: "it is deleted to make room when the disk is full and the log cannot open",
    };
    match fs::metadata(data.join("ballast")) {
        Ok(metadata) => question.ok(format!("{} can be given up", mebibytes(metadata.len()))),
        Err(error) => question.warn(
            format!("there is no ballast: {error}"),
            format!("fallocate --length 128MiB {}", data.join("ballast").display()),
        ),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
