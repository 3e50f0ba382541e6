//! Why a state directory cannot be used. Every message says what to do.
//!
//! Out of scope: state that is whole and old. Nothing can tell.

use std::io;
use std::path::PathBuf;

use super::IDENTITY_HEADER;
use crate::witness::cosigned::CosignedError;
use crate::witness::limits::ORIGINS_MAX;

/// Why a state directory cannot be used. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is something already.
    #[error(
        "{} is not empty. A witness starts with an empty directory, and never twice with the same \
         key; choose another directory", path.display()
    )]
    NotEmpty {
        /// Where.
        path: PathBuf,
    },
    /// No `witness` file.
    #[error(
        "{} is not the state of a witness. If it was, find it: maybe a volume is not mounted. A \
         witness that forgets what it cosigned must not cosign again with the same key; only a new \
         witness, with a new key, starts afresh: treering witness init", path.display()
    )]
    NotAState {
        /// Where.
        path: PathBuf,
    },
    /// Another process has it.
    #[error(
        "{} is held by another process: two witnesses with one key would cosign two histories. \
         Stop the other one", path.display()
    )]
    Locked {
        /// Where.
        path: PathBuf,
    },
    /// Another directory is at the path than the one that was locked.
    #[error(
        "{} was replaced while it was read: something moves or mounts directories there. Let it \
         end, make sure that this is the state that was used last, and start again", path.display()
    )]
    Swapped {
        /// Where.
        path: PathBuf,
    },
    /// The `witness` file makes no sense.
    #[error(
        "{} is damaged. It holds the line {IDENTITY_HEADER} and the vkeys that init printed; write \
         it anew", path.display()
    )]
    Identity {
        /// The file.
        path: PathBuf,
    },
    /// The `origins` file makes no sense.
    #[error("{} is damaged: {REMEDY}", path.display())]
    Origins {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint file makes no sense.
    #[error("{} is damaged ({why}): {REMEDY}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: CosignedError,
    },
    /// A checkpoint file of another origin than its name says.
    #[error("{} holds the checkpoint of another origin: {REMEDY}", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint that was there once.
    #[error("{} is gone: {REMEDY}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// More than `ORIGINS_MAX` checkpoints.
    #[error("{} holds more than {ORIGINS_MAX} checkpoints", path.display())]
    TooMany {
        /// Where.
        path: PathBuf,
    },
    /// What is there may not be on disk.
    #[error(
        "{} cannot be synced, so what is read there may be lost with the power: {source}. See to \
         the disk", path.display()
    )]
    NotSynced {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What to do about lost state.
const REMEDY: &str = "this witness no longer knows what it cosigned, and must not cosign again with \
     the same key. Put the file back exactly as it was when the witness stopped; a backup is not \
     that. If it is lost, retire the key: tell those who trust it, and start a new \
     witness with treering witness init";
