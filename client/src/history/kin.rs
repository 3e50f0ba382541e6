//! What a signature continues: the older signatures of the same bytes of which it is open that they
//! are the same. Its age is that of the oldest.
//!
//! ```text
//! index   1             5             9             12
//!         "a"  <------  "b"  <------  "b"  <------  "b" (subject)
//!              notice 6     renews 5      renews 9
//!              "a is superseded by 5"
//! ```
//!
//! Invariants: everything is of the subject's model, and older than what continues it. A change of
//! name counts only if somebody says so who may say it now; or whose signature with the new name
//! was renewed after they said it, since whoever renewed it looked at it.
//! Out of scope: the order of models (a new name is a new place in another line).

use std::collections::BTreeMap;

use treering_proto::notice::{Notice, NoticeKind};
use treering_proto::tree::LeafIndex;

use super::Seen;
use super::context::Context;

/// The entries that the subject continues.
#[derive(Clone, Debug, Default)]
pub(super) struct Kin {
    /// Each with the entry that continues it; none continues the subject.
    entries: BTreeMap<LeafIndex, Option<LeafIndex>>,
    /// Why announcements of the name do not count.
    pub(super) remarks: Vec<String>,
}

impl Kin {
    /// What the subject of `context` continues.
    pub(super) fn of(context: &Context<'_>) -> Self {
        let mut kin = Self::default();
        let mut open = vec![(context.subject.entry.index, None)];
        // Every step goes back to an older entry, so this ends.
        while let Some((at, by)) = open.pop() {
            if kin.entries.contains_key(&at) {
                continue;
            }
            kin.entries.insert(at, by);
            let Some(model) = context.model_at(at) else { continue };
            if let Some(claim) = model.said.as_ref().and_then(|said| said.renews)
                && let Ok((older, _)) = context.renewed_by(at, model, claim)
            {
                open.push((older, Some(at)));
            }
            for (seen, notice) in renamings(context, at) {
                match is_announced(context, seen, notice, at, by) {
                    Ok(()) => open.push((notice.about.index, Some(at))),
                    Err(why) => kin.remarks.push(format!(
                        "the new name that entry {} announces does not count: {why}",
                        seen.entry.index
                    )),
                }
            }
        }
        kin
    }

    /// All of them, the subject included, oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = LeafIndex> + '_ {
        self.entries.keys().copied()
    }

    /// Each with the entry that continues it; none continues the subject.
    pub(super) fn continued(&self) -> impl Iterator<Item = (LeafIndex, Option<LeafIndex>)> + '_ {
        self.entries.iter().map(|(index, by)| (*index, *by))
    }

    /// Whether the entry at `index` is one of them.
    pub(super) fn has(&self, index: LeafIndex) -> bool {
        self.entries.contains_key(&index)
    }

    /// The oldest; `None` before anything was looked at.
    pub(super) fn oldest(&self) -> Option<LeafIndex> {
        self.entries.keys().next().copied()
    }
}

/// Notices that an older entry of the same model is superseded by that at `at`.
fn renamings<'a>(context: &Context<'a>, at: LeafIndex) -> Vec<(&'a Seen, &'a Notice)> {
    let renames = |(_, notice): &(&Seen, &Notice)| match &notice.kind {
        NoticeKind::Supersede { by } => {
            by.model_id == notice.model_id
                && by.entry.index == at
                && context.is_of_model(by.entry)
                && notice.about.index < at
        }
        _ => false,
    };
    context.notices().into_iter().filter(renames).collect()
}

/// Whether `notice` makes the entry at `at`, which the one at `continued_by` continues, that of a
/// new name.
fn is_announced(
    context: &Context<'_>,
    seen: &Seen,
    notice: &Notice,
    at: LeafIndex,
    continued_by: Option<LeafIndex>,
) -> Result<(), String> {
    if !context.is_of_model(notice.about) {
        return Err(format!("entry {} is not of this model", notice.about.index));
    }
    let refused = match context.speaker(seen, notice, true) {
        Ok(_) => return Ok(()),
        Err(unheard) => unheard.why,
    };
    let before = continued_by.is_some_and(|newer| seen.entry.index < newer);
    let signed = |index, who| context.signers_at(index).iter().any(|s| s.is_same_as(who));
    let mut speakers = seen.signed_by.iter().filter(|who| who.in_time);
    let same = speakers.any(|who| signed(at, who) && signed(notice.about.index, who));
    match before && same && notice.log == context.subject.log {
        true => Ok(()),
        false => Err(refused),
    }
}
