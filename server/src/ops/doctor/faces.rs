//! Whether a log whose face was closed has entries that came through it.

use std::path::Path;

use super::{Check, Question};
use crate::http::offer::WriteFaces;
use crate::ops::{backup, other_face};

pub(super) fn examine(data: &Path, faces: WriteFaces, closed: &str) -> Check {
    let question = Question {
        name: "write-faces",
        why: "clients that know the entries of one Rekor face only cannot follow a log that has others",
    };
    let opened = backup::open(data).map_err(|error| error.to_string());
    let found = opened.and_then(|(store, log)| {
        other_face::find(&store, log.head.size, faces).map_err(|error| error.to_string())
    });
    match found {
        Ok(None) => {
            question.ok(format!("no entries are taken through {closed}, and none were seen"))
        }
        Ok(Some(index)) => question.warn(
            format!("no entries are taken through {closed}, and entry {index} came through it"),
            "for clients that need a log without them make a new log; entries cannot be removed",
        ),
        Err(error) => question.warn(
            format!("nobody could tell whether entries came through {closed}: {error}"),
            "run it again, and see the data directory",
        ),
    }
}
