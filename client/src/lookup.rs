//! What people ask about a model, a name or a file, and how the answers are told apart: the
//! questions of `treering history`.
//!
//! ```text
//! a model   its signatures -> notices about it; what else its signers logged under its names
//! a name    what was signed under it -> notices about those models
//! a file    models that have it -> notices about them
//! ```
//!
//! Invariant: what a notice counts for follows from the trust file and the history, as when a model
//! is verified; but nobody's model is in hand, so for what depends on that nothing is said.
//! Out of scope: verifying a model.

use std::collections::BTreeSet;

use treering_proto::hash::Hash;
use treering_proto::notice::{Notice, NoticeKind};
use treering_proto::trust::{SignerRule, TrustFile};

use crate::history::{Answer, By, HITS_MAX, History, Question, Seen, Wanted, What, Who};
use crate::status::Asked;

/// Models whose notices are asked for, where a name or a file has many: the newest.
const MODELS_MAX: usize = 64;

/// Pairs of signer and name that are asked about, for one model.
const NAMES_MAX: usize = 32;

/// The oldest entries that are shown where there are too many.
const OLDEST: usize = 100;

/// What is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// The model with this id.
    Model(Hash),
    /// A name.
    Name(String),
    /// A file, spelled as the fact `file-digest`.
    File(String),
}

impl Target {
    /// What is not answered yet in `history`, and what was.
    pub fn questions(&self, trust: &TrustFile, history: &History) -> Vec<Asked> {
        let first = self.question();
        let wanted = Wanted { all_up_to: HITS_MAX, oldest: OLDEST };
        let mut asked = vec![Asked { question: first.clone(), wanted }];
        for model_id in self.models(history) {
            let about = |by| Question::Notices { model_id, by };
            asked.extend(Asked::of(vec![about(None)]));
            if let Some(Answer::Oldest(_)) = history.answers.get(&about(None)) {
                let people = speakers(trust, history, model_id);
                asked.extend(Asked::of(people.into_iter().map(|by| about(Some(by))).collect()));
            }
        }
        match self {
            Self::Model(id) => {
                let named = |(name, by)| Question::Named { name, by: Some(by) };
                let names = names(history, *id).into_iter().take(NAMES_MAX);
                asked.extend(Asked::of(names.map(named).collect()));
            }
            Self::Name(name) if matches!(history.answers.get(&first), Some(Answer::Oldest(_))) => {
                let people = trust.signers.iter().map(By::of);
                let named = |by| Question::Named { name: name.clone(), by: Some(by) };
                asked.extend(Asked::of(people.map(named).collect()));
            }
            Self::Name(_) | Self::File(_) => {}
        }
        asked
    }

    /// The question that finds the entries themselves.
    pub fn question(&self) -> Question {
        match self {
            Self::Model(id) => Question::Model(*id),
            Self::Name(name) => Question::Named { name: name.clone(), by: None },
            Self::File(digest) => Question::Weight(digest.clone()),
        }
    }

    /// The models that it is about, the newest first.
    pub fn models(&self, history: &History) -> Vec<Hash> {
        if let Self::Model(id) = self {
            return vec![*id];
        }
        let mut models = Vec::new();
        for seen in history.seen.values().rev() {
            if let What::Model(model) = &seen.what
                && self.is_about(history, seen)
                && !models.contains(&model.model_id)
            {
                models.push(model.model_id);
            }
        }
        models.truncate(MODELS_MAX);
        models
    }

    /// Whether `seen` is one of the entries that were asked for, and no notice.
    pub fn is_about(&self, history: &History, seen: &Seen) -> bool {
        let is_hit = |question: &Question| match history.answers.get(question) {
            Some(Answer::All(hits) | Answer::Oldest(hits)) => hits.contains(&seen.entry.index),
            _ => false,
        };
        match (self, &seen.what) {
            (Self::Model(id), What::Model(model)) => model.model_id == *id,
            (Self::Name(name), What::Model(model)) => model.name.as_ref() == Some(name),
            (Self::File(_), What::Model(_)) => is_hit(&self.question()),
            _ => false,
        }
    }
}

/// The names under which somebody signed the model, each with who.
fn names(history: &History, model_id: Hash) -> BTreeSet<(String, By)> {
    let mut names = BTreeSet::new();
    for seen in history.seen.values() {
        let What::Model(model) = &seen.what else { continue };
        if let (true, Some(name)) = (model.model_id == model_id, &model.name) {
            let people = seen.signed_by.iter().flat_map(Who::by);
            names.extend(people.map(|by| (name.clone(), by)));
        }
    }
    names
}

/// All whose notices may count.
fn speakers(trust: &TrustFile, history: &History, model_id: Hash) -> BTreeSet<By> {
    let policy = &trust.model_policy;
    let approvals = policy.approvals.iter().flat_map(|rule| rule.roles.values().flatten());
    let rules = trust.signers.iter().chain(&policy.recovery).chain(approvals);
    let signers = names(history, model_id).into_iter().map(|(_, by)| by);
    rules.map(By::of).chain(signers).collect()
}

/// The names of the rules of `trust` that accept one of `people` as a signer.
pub fn accepted_as<'a>(trust: &'a TrustFile, people: &[Who]) -> Vec<&'a str> {
    let accepts = |rule: &&SignerRule| people.iter().any(|who| who.is_accepted_by(rule));
    trust.signers.iter().filter(accepts).map(|rule| rule.name.as_str()).collect()
}

/// Whether a notice counts when a model is verified, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// For every signature of the model.
    Counts(String),
    /// For some, or it is not known here: it depends on the signature in hand.
    Depends(String),
    /// For none.
    Ignored(String),
}

/// Whether the trust file lets those who signed `seen` say what `notice` says.
pub fn standing(trust: &TrustFile, history: &History, seen: &Seen, notice: &Notice) -> Standing {
    use Standing::{Counts, Depends, Ignored};
    let favourable =
        matches!(notice.kind, NoticeKind::Approve { .. } | NoticeKind::ApproveRollback { .. });
    // A key that is older than its certificate lets nothing pass.
    let speakers = seen.signed_by.iter().filter(|who| who.in_time || !favourable);
    let speakers: Vec<&Who> = speakers.collect();
    if speakers.is_empty() && !seen.signed_by.is_empty() {
        return Ignored("the certificate was not valid then".to_owned());
    }
    if notice.log != trust.log.origin {
        let why = format!("it is about the log {}", notice.log);
        return if favourable { Ignored(why) } else { Depends(why) };
    }
    let accepting = |rules: &[SignerRule]| {
        let accepts = |rule: &&SignerRule| speakers.iter().any(|who| who.is_accepted_by(rule));
        rules.iter().find(accepts).map(|rule| rule.name.clone())
    };
    if let NoticeKind::Approve { role } = &notice.kind {
        let approvals = trust.model_policy.approvals.as_ref();
        let approvers = approvals.and_then(|rule| rule.roles.get(role));
        return match approvers.and_then(|approvers| accepting(approvers)) {
            Some(name) => Counts(format!("{name:?} may approve as {role:?}")),
            None => Ignored(format!("the trust file does not let them approve as {role:?}")),
        };
    }
    if let Some(name) = accepting(&trust.model_policy.recovery) {
        return Counts(format!("with the recovery key {name:?}"));
    }
    let signed = |other: &Seen| {
        let is_signer = |who: &&Who| other.signed_by.iter().any(|signer| signer.is_same_as(who));
        let is_it = matches!(&other.what, What::Model(model) if model.model_id == notice.model_id);
        is_it && speakers.iter().any(is_signer)
    };
    let about = notice.about.index;
    let spoken_of = history.seen.get(&about).filter(|other| other.entry == notice.about);
    let why = match spoken_of.map(|other| (&other.what, signed(other))) {
        Some((What::Model(_), true)) => match accepting(&trust.signers) {
            Some(name) => return Counts(format!("{name:?} signed entry {about}")),
            None => format!("they signed entry {about}, and the trust file does not accept them"),
        },
        Some((What::Model(model), false)) if model.model_id == notice.model_id => {
            format!("they did not sign entry {about}, which it is about")
        }
        Some(_) => format!("entry {about}, which it is about, is not of this model"),
        None => format!("entry {about}, which it is about, is not known"),
    };
    // Who signed the signature in hand, or one that it renews, may always speak against it.
    match history.seen.values().any(signed) && !favourable {
        true => Depends(format!("{why}; it counts for the signatures that are theirs")),
        false => Ignored(why),
    }
}

#[cfg(test)]
mod tests;
