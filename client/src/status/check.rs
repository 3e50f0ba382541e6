//! The history that `verify` judges by: asked of the log, read from a status proof, or looked up
//! in the index of a monitor.
//!
//! Invariants: where there is none, the report says why; a history that does not prove is judged as
//! none. A history with another entry where the signature in hand is proven to stand is an alarm:
//! the log has two faces. Out of scope: judging (see [`crate::verify::judge`]).

use treering_proto::evidence::Evidence;
use treering_proto::hash::Hash;
use treering_proto::notice::EntryRef;
use treering_proto::tree::LeafIndex;
use treering_proto::trust::TrustFile;
use treering_proto::trust::model_policy::Rule;

use super::{Asked, Proven, StatusError, gather_history, history_from_status};
use crate::consistency::contradiction;
use crate::history::{Answer, Believed, History, Source, Subject};
use crate::index_history::{IndexHistoryError, gather_from_index};
use crate::log::LogReader;
use crate::monitor::search::LocalIndex;
use crate::report::{Exit, Report};
use crate::state::StateDirectory;
use crate::verify::{Newest, ProvenEntry};

/// The check of this module, as the report names it.
pub const CHECK: &str = "history";

/// Asks the log for what the rules need, in the tree of `newest`, and adds a line about it. `None`
/// where no rule is on, there is nothing to ask about, or the log's answers prove nothing.
pub async fn ask_for_verify(
    log: &LogReader<'_>,
    trust: &TrustFile,
    newest: &Newest,
    believed: Believed<'_>,
    subject: Option<&Subject>,
    intermediates: &[Vec<u8>],
    report: &mut Report,
) -> Option<History> {
    if !Rule::ALL.into_iter().any(|rule| believed.policy.is_on(rule)) {
        return None;
    }
    let Some(subject) = subject else {
        report.not_checked(CHECK, "it is not proven that the signature is logged");
        return None;
    };
    let Newest::Followed(head) = newest else {
        report.not_checked(CHECK, "the log could not be followed");
        return None;
    };
    let gathered = gather_history(log, trust, head, believed, subject, intermediates).await;
    match gathered {
        Ok(history) => accept(history, subject.entry, report),
        Err(error) => {
            refuse(&error, report);
            None
        }
    }
}

/// Answers from the index of a monitor what the rules need; `log` says what statements say. Adds a
/// line. `None` where there is nothing to ask about, or no answer.
pub async fn look_up_for_verify(
    index: &LocalIndex,
    log: Option<&LogReader<'_>>,
    trust: &TrustFile,
    believed: Believed<'_>,
    subject: Option<&Subject>,
    report: &mut Report,
) -> Option<History> {
    let Some(subject) = subject else {
        report.not_checked(CHECK, "it is not proven that the signature is logged");
        return None;
    };
    // Whether or not an answer brings it: what nobody asks about may be hidden by another face.
    let at = subject.entry.index;
    let (start, end) = index.read();
    if (start..end).contains(&at.get()) {
        match index.entry(at.get()) {
            Ok((leaf, _)) if leaf == subject.entry.leaf => {}
            Ok((leaf, _)) => {
                other_entry(EntryRef { index: at, leaf }, subject.entry.leaf, report);
                return None;
            }
            Err(error) => {
                report.could_not_check(CHECK, error.to_string(), Exit::Unavailable);
                return None;
            }
        }
    }
    let open = |history: &History| Asked::of(crate::history::questions(believed, subject, history));
    match gather_from_index(index, log, trust, &subject.intermediates, open).await {
        Ok(history) => accept(history, subject.entry, report),
        Err(error @ IndexHistoryError::OtherEntry { .. }) => {
            report.failed(CHECK, error.to_string(), Exit::Alarm);
            None
        }
        Err(error) => {
            report.could_not_check(CHECK, error.to_string(), Exit::Unavailable);
            None
        }
    }
}

/// Reads the status proof in `bytes`, which must not contradict what the bundle proves, `own`, nor
/// what is remembered. Adds a line to `report`; evidence of a fork is returned.
///
/// # Errors
/// Evidence, if there is any, of what was wrong; the report has the line either way.
pub fn read_for_verify(
    bytes: &[u8],
    trust: &TrustFile,
    state: Option<&StateDirectory>,
    own: Option<&ProvenEntry>,
    intermediates: &[Vec<u8>],
    now: u64,
    report: &mut Report,
) -> Result<Proven, Option<Box<Evidence>>> {
    let proven = match history_from_status(bytes, trust, intermediates, now) {
        Ok(proven) => proven,
        Err(error) => {
            refuse(&error, report);
            return Err(match error {
                StatusError::Fork(evidence) => Some(evidence),
                _ => None,
            });
        }
    };
    let remembered = state.map_or(Ok(None), |state| contradiction(trust, state, &proven.head));
    let fork = own.and_then(|own| Evidence::fork_size(&own.checkpoint, &proven.head));
    let fork = fork.or_else(|| remembered.as_ref().ok().cloned().flatten());
    if let Some(fork) = fork {
        report.failed(CHECK, fork.to_string(), Exit::Alarm);
        return Err(Some(Box::new(fork)));
    }
    if let Some(own) = own
        && let Some(other) = other_at(&proven.history, own.index, own.leaf)
    {
        other_entry(other, own.leaf, report);
        // Both trees are signed. That they differ is proven by the bundle and the status proof
        // together, and no kind of evidence holds that much.
        return Err(Some(Box::new(Evidence::unproven(&own.checkpoint, &proven.head))));
    }
    say(&proven.history, report);
    Ok(proven)
}

/// The history, unless it has another entry where the signature in hand, `own`, stands.
fn accept(history: History, own: EntryRef, report: &mut Report) -> Option<History> {
    if let Some(other) = other_at(&history, own.index, own.leaf) {
        other_entry(other, own.leaf, report);
        return None;
    }
    say(&history, report);
    Some(history)
}

/// The entry that `history` has at `index`, if its leaf is not `leaf`.
fn other_at(history: &History, index: LeafIndex, leaf: Hash) -> Option<EntryRef> {
    history.seen.get(&index).map(|seen| seen.entry).filter(|entry| entry.leaf != leaf)
}

fn other_entry(other: EntryRef, own: Hash, report: &mut Report) {
    let EntryRef { index, leaf } = other;
    let why = format!(
        "two entries are proven to stand at {index}: {own} by the bundle, and {leaf}; the log has \
         two faces"
    );
    report.failed(CHECK, why, Exit::Alarm);
    report.details(vec!["next: keep both as they are, and audit the log: treering audit".into()]);
}

fn refuse(error: &StatusError, report: &mut Report) {
    match error.exit() {
        // Such as the age of a proof on a machine whose clock is behind.
        Exit::Unavailable => report.could_not_check(CHECK, error.to_string(), Exit::Unavailable),
        exit => report.failed(CHECK, error.to_string(), exit),
    }
}

fn say(history: &History, report: &mut Report) {
    let open = history.answers.values().filter(|answer| matches!(answer, Answer::Unknown(_)));
    let (asked, open) = (history.answers.len(), open.count());
    let source = match &history.source {
        Source::Log => "by the log".to_owned(),
        Source::StatusProof => "by the status proof".to_owned(),
        Source::Index { without_statement, .. } => format!(
            "by the index, complete among entries with a statement ({without_statement} without)"
        ),
    };
    let why = format!(
        "{} of {asked} questions are answered {source}; {} entries are in the tree of {}",
        asked - open,
        history.seen.len(),
        history.size,
    );
    match open {
        0 => report.passed(CHECK, why),
        // Whether that matters is for the rules to say.
        _ => report.not_checked(CHECK, why),
    }
    report.details(history.remarks.clone());
}
