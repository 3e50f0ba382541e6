//! The witness of C2SP tlog-witness: what a log asks it, and what it must answer.
//!
//! Read in this order: `request` (the body of an add-checkpoint request), `decide` (the answer, as
//! a function of the request and of what was cosigned last), `log_list` (whose checkpoints are
//! taken).
//!
//! Invariant: nothing here keeps anything. Whoever runs a witness stores what
//! [`VerifiedSubmission::decide`] returns before it signs. Out of scope: HTTP, files and clocks.

mod decide;
mod log_list;
mod request;

pub use decide::{
    Contradiction, LastCosigned, Refusal, SIZE_CONTENT_TYPE, Submission, VerifiedSubmission,
};
pub use log_list::{
    LOG_KEYS_MAX, LOG_LIST_LEN_MAX, LOGS_MAX, ListedLog, LogList, LogListError, LogListFault,
};
pub use request::{
    ADD_CHECKPOINT_HASHES_MAX, ADD_CHECKPOINT_LEN_MAX, AddCheckpoint, AddCheckpointError,
};
