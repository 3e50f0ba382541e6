//! The rules about who else signed: a new signer of a known name, other signers of the same bytes,
//! and signatures whose statement the log was never shown.
//!
//! Invariant: only what was logged before this entry counts, so that nobody can cast a doubt on it
//! later. Out of scope: whether the signer is accepted.

use super::context::{Context, cite, describe};
use super::judge::Draft;
use super::speak::{Belongs, uncertified};
use super::{Question, Seen, What};

/// Did others sign this name before, and none of the line?
pub(super) fn new_signer(context: &Context<'_>) -> Draft {
    let Some(name) = &context.subject.model.name else {
        return Draft::unknown("the model has no name");
    };
    let question = Question::Named { name: name.clone(), by: None };
    let own = context.subject.entry.index;
    let (mut others, mut known, mut open) = (Vec::new(), false, None);
    for seen in context.hits(&question).into_iter().filter(|seen| seen.entry.index < own) {
        let is_model =
            matches!(&seen.what, What::Model(model) if model.name.as_ref() == Some(name));
        if is_model && !seen.signed_by.is_empty() {
            match context.belongs(seen) {
                Belongs::Yes => known = true,
                Belongs::Perhaps => open = Some(uncertified(seen.entry.index)),
                Belongs::No => others.push(seen),
            }
        }
    }
    let doubt = open.or_else(|| context.doubt(std::slice::from_ref(&question)));
    match (known, others.first(), doubt) {
        (true, ..) => Draft::holds(format!("the signer signed {name:?} before")),
        (false, Some(first), None) => Draft::against(format!(
            "the signer is new to the name {name:?}, which others signed before"
        ))
        .citing(vec![cite(first, "was signed under this name by another")])
        .advise("ask whoever owns the name whether they know the signer"),
        (false, _, Some(why)) => Draft::unknown(why),
        (false, None, None) => Draft::holds(format!("nobody else signed {name:?} before")),
    }
}

/// Did others sign these very bytes before?
pub(super) fn other_signer(context: &Context<'_>) -> Draft {
    let question = Question::Model(context.subject.model.model_id);
    let own = context.subject.entry.index;
    let same = context.same_model().into_iter().map(|(seen, _)| seen);
    let older = same.filter(|seen| seen.entry.index < own && !seen.signed_by.is_empty());
    let (mut others, mut open): (Vec<&Seen>, _) = (Vec::new(), None);
    for seen in older {
        match context.belongs(seen) {
            Belongs::Yes => {}
            Belongs::Perhaps => open = Some(uncertified(seen.entry.index)),
            Belongs::No => others.push(seen),
        }
    }
    let doubt = open.or_else(|| context.doubt_about_older(&question));
    match (others.first(), doubt) {
        (Some(first), _) => Draft::against(format!(
            "the same bytes were signed before by {}",
            describe(&first.signed_by)
        ))
        .citing(others.iter().map(|seen| cite(seen, "the same bytes by another")).collect())
        .advise("make sure that this signer may publish these bytes"),
        (None, Some(why)) => Draft::unknown(why),
        (None, None) => Draft::holds("nobody else signed these bytes before"),
    }
}

/// Was the log never shown what was signed, so that no name, no file and no version is known there?
pub(super) fn no_statement(context: &Context<'_>) -> Draft {
    let subject = context.subject;
    if subject.has_statement {
        return Draft::holds("the log was shown what was signed");
    }
    let question = Question::Model(subject.model.model_id);
    let shown = context
        .same_model()
        .into_iter()
        .filter(|(_, model)| model.name == subject.model.name)
        .map(|(seen, _)| (seen, context.belongs(seen)))
        .filter(|(_, belongs)| *belongs != Belongs::No)
        .min_by_key(|(_, belongs)| *belongs == Belongs::Perhaps);
    match (shown, context.doubt(std::slice::from_ref(&question))) {
        (Some((seen, Belongs::Perhaps)), _) => Draft::unknown(uncertified(seen.entry.index)),
        (Some((seen, _)), _) => {
            let at = seen.entry.index;
            Draft::holds(format!("the same signer showed it to the log as entry {at}"))
        }
        (None, Some(why)) => Draft::unknown(why),
        (None, None) => Draft::against(
            "the log has the digest of the signature alone: nobody who watches names and files \
             could see this model",
        )
        .advise("let the signer show the bundle to the log: treering submit"),
    }
}
