//! The rules about age: how long before this entry the same bytes were logged, and how old the
//! newest checkpoint is.
//!
//! Times are the log's word, or what a witness quorum bounds; the signer's clock is never asked.
//!
//! Invariant: without a time nothing is young. Out of scope: who signed the older entry.

use std::collections::BTreeSet;

use treering_proto::freshness::CLOCK_SKEW_MAX;
use treering_proto::tree::LeafIndex;

use super::context::{Context, cite, describe};
use super::judge::Draft;
use super::speak::{Belongs, uncertified};
use super::{Answer, Question, Seen, SeenTime, What, Word};
use crate::time::time_text;

const DAY: u64 = 86_400;

/// Were these very bytes logged long before this entry, which does not say so? By strangers, that
/// is a remark: anybody can sign what is published before its owners do.
pub(super) fn first_seen(context: &Context<'_>) -> Draft {
    let days = context.believed.policy.first_seen.map_or(0, |rule| rule.days);
    let question = Question::Model(context.subject.model.model_id);
    let own = context.subject.entry.index;
    let same = context.same_model().into_iter().map(|(seen, _)| seen);
    let mut older: Vec<&Seen> = same.chain(context.digests()).collect();
    older.retain(|seen| seen.entry.index < own);
    older.sort_by_key(|seen| seen.entry.index);
    let by = |belongs| older.iter().find(|seen| context.belongs(seen) == belongs);
    let doubt = match by(Belongs::Yes) {
        // No older one is left out where some are.
        Some(_) => context.doubt_about_oldest(&question),
        None => context.doubt_about_older(&question),
    };
    let doubt = doubt
        .or_else(|| context.doubt_about_older(&Question::Signed(context.subject.digest)))
        .or_else(|| by(Belongs::Perhaps).map(|seen| uncertified(seen.entry.index)));
    let origin = context.kin.oldest().unwrap_or(own);
    let draft = match by(Belongs::Yes) {
        Some(first) => compare(context, first, origin, days),
        None => Draft::holds(format!("these bytes were first logged as entry {own}")),
    };
    let mut draft = match (doubt, context.answer(&question)) {
        (Some(why), _) if draft.is_for_it() => Draft::unknown(why),
        // The entry that is renewed may be one of those that could not be looked at.
        (_, Some(Answer::Oldest(_))) if context.bad_renewal.is_some() && !draft.is_for_it() => {
            Draft::unknown("there are more signatures of these bytes than can be looked at")
        }
        _ => draft,
    };
    draft.remarks.extend(context.bad_renewal.iter().map(|flaw| flaw.why.clone()));
    draft.remarks.extend(context.kin.remarks.iter().cloned());
    match by(Belongs::No) {
        Some(stranger) => draft.remark(format!(
            "entry {} has the same bytes, and is by a stranger to this model: {}",
            stranger.entry.index,
            describe(&stranger.signed_by)
        )),
        None => draft,
    }
}

/// Whether the entry at `origin`, of which the subject takes the age, is young enough.
fn compare(context: &Context<'_>, first: &Seen, origin: LeafIndex, days: u32) -> Draft {
    let at = first.entry.index;
    let own = context.subject.entry.index;
    let through = match origin == own {
        true => String::new(),
        false => format!(", which entry {own} continues"),
    };
    if origin <= at {
        return Draft::holds(format!("these bytes were first logged as entry {at}{through}"));
    }
    let time = time_of(context, origin);
    let (Some(time), Some(before)) = (time, first.time) else {
        let why = format!("nobody says when the entries {at} and {origin} were logged");
        return Draft::unknown(why);
    };
    let age = time.seconds.saturating_sub(before.seconds);
    let found = format!(
        "these bytes were first logged as entry {at}, {} days before entry {origin}{through} ({}), \
         by {}",
        age / DAY,
        word(&[time, before]),
        describe(&first.signed_by)
    );
    if age <= u64::from(days) * DAY {
        return Draft::holds(format!("{found}; up to {days} days are allowed"));
    }
    Draft::against(format!("{found}; the policy allows {days} days"))
        .citing(vec![cite(first, "the same bytes, logged first")])
        .advise(format!(
            "use the bundle of entry {at}; or if the signature was renewed, let the signer say so: \
             treering sign --renews {at}"
        ))
}

/// When the entry at `index` was logged.
fn time_of(context: &Context<'_>, index: LeafIndex) -> Option<SeenTime> {
    let seen = context.history.and_then(|history| history.seen.get(&index));
    let own = (index == context.subject.entry.index).then_some(context.subject.time).flatten();
    seen.and_then(|seen| seen.time).or(own)
}

fn word(times: &[SeenTime]) -> &'static str {
    match times.iter().all(|time| time.word == Word::Witnesses) {
        true => "as witnesses saw it",
        false => "by the log's word",
    }
}

/// Were single weight files logged long before, in other models?
pub(super) fn weights_first_seen(context: &Context<'_>) -> Draft {
    let days = context.believed.policy.weights_first_seen.map_or(0, |rule| rule.days);
    let weights = &context.subject.weights;
    if weights.is_empty() && context.subject.weights_left_out > 0 {
        return Draft::unknown("its weight files are signed in shards, which no search finds");
    }
    if weights.is_empty() {
        return Draft::holds("the model has no weight files");
    }
    let Some(time) = time_of(context, context.subject.entry.index) else {
        return Draft::unknown("nobody says when this entry was logged");
    };
    let mut older: Vec<&Seen> = Vec::new();
    let mut doubts = BTreeSet::new();
    for digest in weights {
        let question = Question::Weight(digest.clone());
        doubts.extend(context.doubt_about_oldest(&question));
        let hits = context.hits(&question).into_iter();
        older.extend(hits.filter(|seen| is_older_model(context, seen, time, days)));
    }
    older.sort_by_key(|seen| seen.entry.index);
    older.dedup_by_key(|seen| seen.entry.index);
    let left_out = context.subject.weights_left_out;
    let draft = match (older.as_slice(), doubts.into_iter().next()) {
        ([], Some(why)) => Draft::unknown(why),
        ([], None) => Draft::holds(format!(
            "no other model had one of the {} weight files more than {days} days before",
            weights.len()
        )),
        (older, _) => {
            let cited = older.iter().map(|seen| cite(seen, "has a weight file of this model"));
            Draft::against(format!(
                "{} older models have weight files of this one, more than {days} days before",
                older.len()
            ))
            .citing(cited.collect())
            .advise("ask the signer which model this one was made from")
        }
    };
    match left_out {
        0 => draft,
        more => draft.remark(format!("{more} further weight files were not looked at")),
    }
}

fn is_older_model(context: &Context<'_>, seen: &Seen, time: SeenTime, days: u32) -> bool {
    let other = match &seen.what {
        What::Model(model) => model.model_id != context.subject.model.model_id,
        _ => false,
    };
    let before = seen
        .time
        .is_some_and(|before| time.seconds.saturating_sub(before.seconds) > u64::from(days) * DAY);
    other && before && seen.entry.index < context.subject.entry.index
}

/// Is the newest checkpoint that is known too old to say anything about today?
pub(super) fn checkpoint_age(context: &Context<'_>) -> Draft {
    let hours = context.believed.policy.checkpoint_age.map_or(0, |rule| rule.hours);
    let advice = "verify with --online, or get a newer status proof: treering staple";
    // What a history says holds as of its own tree, however new the bundle is.
    let known = match context.history {
        Some(history) => history.head_time,
        None => context.subject.head_time,
    };
    let Some(time) = known else {
        let why = "nobody whom the trust file believes says when the tree was the newest";
        return Draft::unknown(why)
            .advise("witnesses say it (trust set-witnesses), or the log's own ML-DSA-44 key");
    };
    if time > context.now.saturating_add(CLOCK_SKEW_MAX) {
        let why = format!("{} is in the future: this machine's clock is behind", time_text(time));
        return Draft::unknown(why);
    }
    let age = context.now.saturating_sub(time);
    let found = format!("the newest tree that is known was so at {}, {age} s ago", time_text(time));
    match age > u64::from(hours) * 3_600 {
        true => Draft::against(format!("{found}; the policy allows {hours} hours")).advise(advice),
        false => Draft::holds(found),
    }
}
