//! What must be asked to judge by a policy.
//!
//! ```text
//! round 1   the model, its digest, notices about it, everything under its name, its weight files
//! round 2   too many by anybody: the same, by each person whose word counts
//! round 3   newer models that say they renew older ones: whether they do
//! ```
//!
//! Invariant: every question that [`super::judge()`] looks for is asked here, and nothing that no
//! rule needs. Out of scope: asking.

use std::collections::BTreeSet;

use treering_proto::hash::Hash;
use treering_proto::trust::model_policy::Rule;

use super::context::Context;
use super::{Answer, Believed, By, History, Question, Subject};

/// Newer models of one name whose renewals are looked at: more were not renewed one by one.
const RENEWALS_MAX: usize = 64;

/// Rules for which it matters who signed what under the name.
const ABOUT_THE_NAME: [Rule; 3] = [Rule::NotNewest, Rule::VersionNotRising, Rule::NewSigner];

/// Rules for which it matters when the subject was first logged, though as a digest.
const ABOUT_THE_PLACE: [Rule; 3] = [Rule::FirstSeen, Rule::NotNewest, Rule::VersionNotRising];

/// Rules for which notices matter.
const ABOUT_NOTICES: [Rule; 6] = [
    Rule::FirstSeen,
    Rule::NotNewest,
    Rule::VersionNotRising,
    Rule::Revoked,
    Rule::Superseded,
    Rule::Approvals,
];

/// See [`super::questions()`].
pub(super) fn open(believed: Believed<'_>, subject: &Subject, history: &History) -> Vec<Question> {
    let context = Context::new(believed, subject, Some(history), 0);
    let is_on = |rules: &[Rule]| rules.iter().any(|rule| believed.policy.is_on(*rule));
    let mut wanted = BTreeSet::new();
    if Rule::ALL.iter().any(|rule| *rule != Rule::CheckpointAge && believed.policy.is_on(*rule)) {
        wanted.insert(Question::Model(subject.model.model_id));
    }
    if is_on(&ABOUT_THE_PLACE) {
        wanted.insert(Question::Signed(subject.digest));
    }
    if is_on(&ABOUT_NOTICES) {
        let model_id = subject.model.model_id;
        let ask = |by| Question::Notices { model_id, by };
        by_all_who_matter(&context, ask, context.speakers(), &mut wanted);
    }
    if is_on(&ABOUT_THE_NAME)
        && let Some(name) = &subject.model.name
    {
        let ask = |by| Question::Named { name: name.clone(), by };
        by_all_who_matter(&context, ask, context.line_people(), &mut wanted);
        wanted.extend(unproven_renewals(&context).into_iter().map(Question::Model));
    }
    if believed.policy.is_on(Rule::WeightsFirstSeen) {
        wanted.extend(subject.weights.iter().cloned().map(Question::Weight));
    }
    wanted.into_iter().filter(|question| !history.answers.contains_key(question)).collect()
}

/// Asks about anybody; and where that is too much, about each person.
fn by_all_who_matter(
    context: &Context<'_>,
    ask: impl Fn(Option<By>) -> Question,
    people: BTreeSet<By>,
    wanted: &mut BTreeSet<Question>,
) {
    let by_anybody = ask(None);
    if let Some(Answer::Oldest(_)) = context.answer(&by_anybody) {
        wanted.extend(people.into_iter().map(|by| ask(Some(by))));
    }
    wanted.insert(by_anybody);
}

/// Models of the line that would be newer, unless they renew what they say.
fn unproven_renewals(context: &Context<'_>) -> BTreeSet<Hash> {
    let line = context.line();
    let newer = line.above(context.place()).into_iter();
    let claims = newer.filter(|model| model.unproven_renewal).map(|model| model.model_id);
    claims.take(RENEWALS_MAX).collect()
}
