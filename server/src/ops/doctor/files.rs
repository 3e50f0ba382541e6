//! Who may touch the files of a log, and where they are.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Check, Question};
use crate::clock;

/// Where the data directory says that its anchor was last.
pub(super) fn remembered_anchor(data: &Path) -> Option<PathBuf> {
    let owner = fs::read_to_string(data.join("owner")).ok()?;
    owner.lines().find_map(|line| line.strip_prefix("anchor ")).map(PathBuf::from)
}

pub(super) fn examine(data: &Path, anchor: &Path, checks: &mut Vec<Check>) {
    checks.push(owner(data));
    checks.push(private(data, DIRECTORY_MODE));
    checks.push(keys(data));
    checks.push(anchor_file(anchor));
    checks.push(anchor_volume(data, anchor));
}

fn owner(data: &Path) -> Check {
    let question = Question {
        name: "owner",
        why: "a copied or restored directory must not sign beside its original",
    };
    let recorded = fs::read_to_string(data.join("owner")).ok();
    let recorded = recorded.as_deref().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("inode "))?.parse::<u64>().ok()
    });
    match (fs::metadata(data).map(|metadata| metadata.ino()), recorded) {
        (Ok(inode), Some(recorded)) if inode == recorded => {
            question.ok("the directory is the one that the log was made in, or claimed")
        }
        (Ok(_), Some(_)) => question.fail(
            "the directory was copied or restored",
            format!(
                "if no other copy may ever be started again: treering-server claim --data {}",
                data.display()
            ),
        ),
        _ => question.fail("the owner record cannot be read", "restore the directory"),
    }
}

const DIRECTORY_MODE: Question = Question {
    name: "directory-mode",
    why: "whoever may write the directory may change the log; whoever may read it has its keys",
};

const KEY_MODE: Question =
    Question { name: "key-mode", why: "whoever has the keys can sign another history of this log" };

/// That only its owner may read and write `path`, and that the owner is who runs this.
fn private(path: &Path, question: Question) -> Check {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let what = format!("{}: {error}", path.display());
            return question.fail(what, "run doctor as the user that serves the log");
        }
    };
    let mode = metadata.mode() & 0o777;
    let path = path.display();
    if mode & 0o077 != 0 {
        return question.fail(
            format!("{path} has mode {mode:04o}: others than its owner get in"),
            format!("chmod go= {path}"),
        );
    }
    match owned_by_us(&metadata) {
        true => question.ok(format!("{path} has mode {mode:04o} and is ours")),
        false => question.warn(
            format!("{path} belongs to user {}, and this is another", metadata.uid()),
            "run doctor as the user that serves the log",
        ),
    }
}

fn owned_by_us(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}

/// The worst of all keys.
fn keys(data: &Path) -> Check {
    let directory = data.join("keys");
    let listed = match fs::read_dir(&directory) {
        Ok(listed) => listed,
        Err(error) => {
            let what = format!("{}: {error}", directory.display());
            return KEY_MODE.fail(what, "run doctor as the user that serves the log");
        }
    };
    let files = listed.flatten().map(|entry| entry.path());
    let checks = files.map(|path| private(&path, KEY_MODE));
    let worst = checks.max_by_key(|check| check.outcome);
    worst.unwrap_or_else(|| KEY_MODE.fail("there are no keys", "restore the directory"))
}

fn anchor_file(anchor: &Path) -> Check {
    let question = Question {
        name: "anchor",
        why: "the anchor says how far the log has signed; without it the log does not start",
    };
    let metadata = match fs::metadata(anchor) {
        Ok(metadata) => metadata,
        Err(error) => {
            let what = format!("the anchor {}: {error}", anchor.display());
            let remedy = "put the file back, or see `treering-server claim --help`";
            return question.fail(what, remedy);
        }
    };
    let mode = metadata.mode() & 0o777;
    let path = anchor.display();
    if mode & 0o022 != 0 {
        return question.fail(
            format!("{path} has mode {mode:04o}: others than its owner may change it"),
            format!("chmod go-w {path}"),
        );
    }
    match owned_by_us(&metadata) {
        true => question.ok(format!("{path} has mode {mode:04o} and is ours")),
        false => question.warn(
            format!("{path} belongs to user {}, and this is another", metadata.uid()),
            "run doctor as the user that serves the log",
        ),
    }
}

fn anchor_volume(data: &Path, anchor: &Path) -> Check {
    let question = Question {
        name: "anchor-volume",
        why: "a volume that is rolled back takes an anchor on it along, which then notices nothing",
    };
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    match (device(data), device(anchor)) {
        (Ok(data), Ok(anchor)) if data != anchor => question.ok("another volume than the log's"),
        (Ok(_), Ok(_)) => question.warn(
            "the anchor lies on the volume of the log",
            "move it to another volume and start with --anchor; or have witnesses, who remember too",
        ),
        (data, anchor) => {
            let error = data.err().or(anchor.err());
            let error = error.map(|error: io::Error| error.to_string()).unwrap_or_default();
            question.warn(format!("nobody could tell: {error}"), "see the checks before")
        }
    }
}

/// How old the newest file or directory in `path` is.
pub(super) fn backups(path: &Path, age_max: Duration) -> Check {
    let question = Question {
        name: "backup-age",
        why: "what came after the newest backup is lost with the disk",
    };
    let listed = match fs::read_dir(path) {
        Ok(listed) => listed,
        Err(error) => {
            return question
                .fail(format!("{}: {error}", path.display()), "give the right directory");
        }
    };
    let modified = |entry: fs::DirEntry| entry.metadata().ok().map(|metadata| metadata.mtime());
    let newest = listed.flatten().filter_map(modified).max();
    let Some(newest) = newest else {
        return question.fail(format!("{} is empty", path.display()), "make a backup");
    };
    let now = clock::read().wall_ms / 1000;
    let age = now.saturating_sub(u64::try_from(newest).unwrap_or(0));
    let what = format!("the newest is {} hours old", age / 3600);
    match age > age_max.as_secs() {
        false => question.ok(what),
        true => question.warn(what, "find out why no newer one was made"),
    }
}
