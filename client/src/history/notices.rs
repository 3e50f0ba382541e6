//! The rules about what was said later: revoked, superseded.
//!
//! Invariants: only who may speak counts, whatever the log admitted; a notice that cannot be read
//! and is by such a person is no silence. Out of scope: approvals.

use treering_proto::notice::{
    NoticeKind, REVOKE_PREDICATE_TYPE, SUPERSEDE_PREDICATE_TYPE, is_notice,
};

use super::context::{Context, cite};
use super::judge::Draft;
use super::{Answer, Question, Seen, What, Who};

/// Has somebody who may revoked the model?
pub(super) fn revoked(context: &Context<'_>) -> Draft {
    let (mut remarks, mut open) = (Vec::new(), None);
    let mut revoking = Vec::new();
    for (seen, notice) in context.notices() {
        if notice.kind != NoticeKind::Revoke {
            continue;
        }
        let reason = notice.reason.as_deref().unwrap_or_default();
        match context.speaker(seen, notice, false) {
            Ok(_) => revoking.push(cite(seen, format!("revokes the model: {reason}"))),
            Err(unheard) => {
                let (at, why) = (seen.entry.index, unheard.why);
                if unheard.may_count {
                    open.get_or_insert(format!("the revocation in entry {at} may count: {why}"));
                } else {
                    let remark = format!("the revocation in entry {at} does not count: {why}");
                    add(context, seen, remark, &mut remarks);
                }
            }
        }
    }
    let doubt = || doubt(context, REVOKE_PREDICATE_TYPE, |who: &Who| context.may_speak(who));
    let draft = match (revoking.as_slice(), open.or_else(doubt)) {
        ([], Some(why)) => Draft::unknown(why),
        ([], None) => Draft::holds("nobody who may has revoked the model"),
        (_, _) => Draft::against("the model is revoked")
            .citing(revoking)
            .advise("do not use this model, under any name; a revocation is never taken back"),
    };
    remarks.into_iter().fold(draft, Draft::remark)
}

/// Has somebody who may said that another entry takes the place of this model?
pub(super) fn superseded(context: &Context<'_>) -> Draft {
    let own = &context.subject.model;
    let (mut remarks, mut open) = (Vec::new(), None);
    let mut found = Vec::new();
    for (seen, notice) in context.notices() {
        let NoticeKind::Supersede { by } = &notice.kind else { continue };
        // The same bytes under a new name: the old name is superseded, the new one is not.
        let renamed = by.model_id == own.model_id;
        if by.entry == context.subject.entry || (renamed && notice.name != own.name) {
            continue;
        }
        match context.speaker(seen, notice, false) {
            Ok(_) => {
                let reason = notice.reason.as_deref().unwrap_or_default();
                let what = format!("entry {} takes its place: {reason}", by.entry.index);
                found.push((by.entry.index, cite(seen, what)));
            }
            Err(unheard) => {
                let (at, why) = (seen.entry.index, unheard.why);
                if unheard.may_count {
                    open.get_or_insert(format!("that entry {at} supersedes it may count: {why}"));
                } else {
                    let remark = format!("that entry {at} supersedes it does not count: {why}");
                    add(context, seen, remark, &mut remarks);
                }
            }
        }
    }
    let doubt = || doubt(context, SUPERSEDE_PREDICATE_TYPE, |who: &Who| context.may_speak(who));
    let draft = match (found.last(), open.or_else(doubt)) {
        (None, Some(why)) => Draft::unknown(why),
        (None, None) => Draft::holds("nobody who may has named a successor"),
        (Some((index, _)), _) => {
            Draft::against(format!("the model is superseded by that of entry {index}"))
                .advise(format!("use the model of entry {index}"))
                .citing(found.into_iter().map(|(_, cited)| cited).collect())
        }
    };
    remarks.into_iter().fold(draft, Draft::remark)
}

/// Adds a remark about `seen`: what people say who have a word here comes before what strangers
/// say, of whom there may be any number.
fn add(context: &Context<'_>, seen: &Seen, remark: String, remarks: &mut Vec<String>) {
    match seen.signed_by.iter().any(|who| context.may_speak(who)) {
        true => remarks.insert(0, remark),
        false => remarks.push(remark),
    }
}

/// Why there may be notices of a kind that are not known, by people who `speak`.
pub(super) fn doubt(
    context: &Context<'_>,
    kind: &str,
    speaks: impl Fn(&Who) -> bool,
) -> Option<String> {
    let model_id = context.subject.model.model_id;
    let notices = Question::Notices { model_id, by: None };
    let hidden = |seen: &&Seen| match &seen.what {
        What::Opaque => true,
        What::UnreadableNotice { models, predicate_type, .. } => {
            // What later versions call it is not known here.
            let may_be_it = predicate_type == kind || !is_notice(predicate_type);
            may_be_it && models.contains(&model_id) && seen.signed_by.iter().any(&speaks)
        }
        _ => false,
    };
    let asked = context.doubt_beside_copies(std::slice::from_ref(&notices));
    asked.or_else(|| unknown_entry(context)).or_else(|| {
        let hit = context.hits(&notices).into_iter().find(hidden)?;
        let index = hit.entry.index;
        Some(match &hit.what {
            What::UnreadableNotice { why, .. } => {
                format!("entry {index} is a notice that this version cannot read: {why}")
            }
            _ => format!("the statement of entry {index} is not there, and may be a notice"),
        })
    })
}

/// Why a notice that does not count might: it is about a signature among so many that it cannot be
/// looked at.
fn unknown_entry(context: &Context<'_>) -> Option<String> {
    let model = Question::Model(context.subject.model.model_id);
    if let Some(Answer::All(_)) = context.answer(&model) {
        return None;
    }
    let is_accepted = |who: &Who| context.is_accepted(who);
    let (seen, notice) = context.notices().into_iter().find(|(seen, notice)| {
        let speaks_against =
            matches!(notice.kind, NoticeKind::Revoke | NoticeKind::Supersede { .. });
        let unknown = !context.is_of_model(notice.about);
        speaks_against && unknown && seen.signed_by.iter().any(is_accepted)
    })?;
    let (at, about) = (seen.entry.index, notice.about.index);
    Some(format!("entry {at} speaks about entry {about}, which could not be looked at"))
}
