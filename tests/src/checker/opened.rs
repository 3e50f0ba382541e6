//! Every note of a history, opened once.

use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::note::NoteKey;
use treering_proto::tree::TreeHead;

use super::Case;
use super::event::{Moment, NoteId};
use super::history::History;

/// What a note says.
pub(super) struct Opened {
    /// The head that the log signed, or why it did not.
    pub head: Result<TreeHead, String>,
    /// The time in the log's own dated line.
    pub own_time: Option<u64>,
    /// How many cosignatures of known witnesses verified, or what is wrong with one.
    pub cosigned: Result<usize, String>,
}

/// Opens all notes, in order of their numbers.
pub(super) fn open_all(history: &History) -> Vec<Opened> {
    in_parallel(&history.notes, |note| open(history, note))
}

fn open(history: &History, note: &str) -> Opened {
    let identity = &history.identity;
    let v1_origin = identity.v1_origin();
    let is_v1 = note.strip_prefix(&v1_origin).is_some_and(|rest| rest.starts_with('\n'));
    let (origin, log_key) = match is_v1 {
        true => (v1_origin, identity.v1_note_key()),
        false => (identity.origin().to_owned(), identity.note_key().clone()),
    };
    let mut keys = vec![log_key.clone()];
    keys.extend(history.time_key.clone());
    keys.extend(history.witnesses.iter().cloned());
    let all = open_checkpoint(note.as_bytes(), &origin, &keys);
    let own = match &all {
        Ok(_) => None,
        Err(_) => Some(open_checkpoint(note.as_bytes(), &origin, std::slice::from_ref(&log_key))),
    };
    match (all, own) {
        (Ok(opened), _) if is_signed_by(&opened, &log_key) => Opened {
            own_time: history.time_key.as_ref().and_then(|key| time_of(&opened, key)),
            cosigned: Ok(cosignatures(&opened, &history.witnesses)),
            head: Ok(opened.head()),
        },
        (Err(error), Some(Ok(opened))) => {
            Opened { head: Ok(opened.head()), own_time: None, cosigned: Err(error.to_string()) }
        }
        (Err(error), _) => not_opened(error.to_string()),
        (Ok(_), _) => not_opened("the key of this face did not sign it".to_owned()),
    }
}

fn not_opened(why: String) -> Opened {
    Opened { head: Err(why), own_time: None, cosigned: Ok(0) }
}

fn is_signed_by(opened: &SignedCheckpoint, key: &NoteKey) -> bool {
    opened.verified().iter().any(|line| line.key == *key)
}

fn time_of(opened: &SignedCheckpoint, key: &NoteKey) -> Option<u64> {
    let line = opened.verified().iter().find(|line| line.key == *key)?;
    line.time.filter(|time| *time != 0)
}

fn cosignatures(opened: &SignedCheckpoint, witnesses: &[NoteKey]) -> usize {
    opened.verified().iter().filter(|line| witnesses.contains(&line.key)).count()
}

impl Case<'_> {
    /// What a note says.
    pub(super) fn opened(&self, note: NoteId) -> Option<&Opened> {
        self.notes.get(note.0 as usize)
    }

    /// The head in a note that the log signed.
    pub(super) fn head(&self, note: NoteId) -> Option<TreeHead> {
        self.opened(note)?.head.as_ref().ok().copied()
    }

    /// By number, when each note was there first.
    pub(super) fn first_seen(&self) -> Vec<Moment> {
        use super::event::Answer;
        let mut seen = vec![Moment::MAX; self.notes.len()];
        let mut see = |note: NoteId, end: Moment| {
            if let Some(first) = seen.get_mut(note.0 as usize) {
                *first = (*first).min(end);
            }
        };
        for request in &self.history.requests {
            if let Answer::Logged(bundle) = &request.answer {
                see(bundle.note, request.span.end);
            }
        }
        self.history.checkpoints.iter().for_each(|seen| see(seen.note, seen.span.end));
        self.history.entries.iter().for_each(|seen| see(seen.bundle.note, seen.span.end));
        seen
    }
}

/// `of` each item, in order, on all cores.
pub(super) fn in_parallel<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(threads).max(1);
    let of = &of;
    std::thread::scope(|scope| {
        let run = |part: &'_ [T]| part.iter().map(of).collect::<Vec<R>>();
        let parts: Vec<_> =
            items.chunks(share).map(|part| scope.spawn(move || run(part))).collect();
        let joined = parts.into_iter().map(|part| part.join().expect("opening does not panic"));
        joined.flatten().collect()
    })
}
