//! What all rules share: where a model stands, which line it belongs to, and who may speak.
//!
//! ```text
//! index   3        7        9           12             15
//!         v1       v2       v1 again    v1, renews 3   v2 (subject)
//!         |        |________________________________|
//!         |______________________|_______|
//!   place 3        7        3           3              7
//! ```
//!
//! Whoever may write can log an old signature again, and whoever signed it may sign it again. So
//! the *place* of a model is that of its first entry in the line, or of an older entry that one of
//! them renews, and never that of the entry in hand. A signature that was logged as a digest alone
//! is found by that digest.
//!
//! Invariants: a renewal counts if the entry that it names is known, is older, and has the same
//! model id and name; renewals go back only. A stranger's entry is in no line.

use std::collections::{BTreeMap, BTreeSet};

use treering_proto::hash::Hash;
use treering_proto::notice::{EntryRef, Notice};
use treering_proto::tree::LeafIndex;

use super::kin::Kin;
use super::speak::{Belongs, uncertified};
use super::{
    Answer, Believed, By, Cited, History, Question, Said, Seen, SeenModel, Source, Subject, What,
    Who,
};

/// A subject, and all that is known and believed about it.
pub(super) struct Context<'a> {
    pub(super) believed: Believed<'a>,
    pub(super) subject: &'a Subject,
    pub(super) history: Option<&'a History>,
    pub(super) now: u64,
    /// The subject's entry, and those that it renews, one after the other.
    pub(super) renewed: Vec<LeafIndex>,
    /// What the subject continues, under whatever name.
    pub(super) kin: Kin,
    /// Why a renewal that the subject claims does not count.
    pub(super) bad_renewal: Option<BadRenewal>,
}

/// A renewal that does not count.
pub(super) struct BadRenewal {
    /// The entry that is said to be renewed.
    claimed: LeafIndex,
    /// Why it does not count.
    pub(super) why: String,
}

/// What the accepted signers logged under the name of the subject.
pub(super) struct Line<'a> {
    pub(super) models: BTreeMap<Hash, Placed<'a>>,
    /// Entries that may be of the line, and why that is open.
    pub(super) open: Vec<(&'a Seen, String)>,
}

/// One model of a line.
pub(super) struct Placed<'a> {
    pub(super) model_id: Hash,
    /// Where it stands in the order.
    pub(super) place: LeafIndex,
    /// Its entries in the line.
    pub(super) entries: Vec<&'a Seen>,
    /// Where each of them stands: where it is, or where what it renews is.
    pub(super) stands: Vec<LeafIndex>,
    /// What it says of its version, in each entry; `None` where that is not known.
    pub(super) said: Vec<Option<&'a Said>>,
    /// It says that it renews an entry that is not known.
    pub(super) unproven_renewal: bool,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        believed: Believed<'a>,
        subject: &'a Subject,
        history: Option<&'a History>,
        now: u64,
    ) -> Self {
        let (renewed, kin) = (Vec::new(), Kin::default());
        let mut context = Self { believed, subject, history, now, renewed, kin, bad_renewal: None };
        let flaw = context.follow_renewals();
        context.kin = Kin::of(&context);
        // What is renewed under another name counts if the new name was announced.
        context.bad_renewal = flaw.filter(|flaw| !context.kin.has(flaw.claimed));
        context
    }

    /// Goes from the subject to what it renews, and so on.
    fn follow_renewals(&mut self) -> Option<BadRenewal> {
        let mut renewed = vec![self.subject.entry.index];
        let own = (self.subject.entry.index, &self.subject.model);
        let (_, flaw) = self.follow(own.0, own.1, |older| renewed.push(older));
        self.renewed = renewed;
        flaw
    }

    /// The oldest entry that `model`, logged at `at`, renews, one after the other; and why the last
    /// claim does not count, if one does not.
    fn follow<'m>(
        &self,
        mut at: LeafIndex,
        mut model: &'m SeenModel,
        mut passed: impl FnMut(LeafIndex),
    ) -> (LeafIndex, Option<BadRenewal>)
    where
        'a: 'm,
    {
        // Every step goes back to an older entry, so this ends.
        while let Some(claim) = model.said.as_ref().and_then(|said| said.renews) {
            match self.renewed_by(at, model, claim) {
                Ok(older) => (at, model) = older,
                Err(why) => {
                    let claimed = claim.index;
                    let why = format!("entry {at} renews entry {claimed}: {why}");
                    return (at, Some(BadRenewal { claimed, why }));
                }
            }
            passed(at);
        }
        (at, None)
    }

    /// The subject, or the model that was found at `index`.
    pub(super) fn model_at(&self, index: LeafIndex) -> Option<&'a SeenModel> {
        if index == self.subject.entry.index {
            return Some(&self.subject.model);
        }
        match &self.history?.seen.get(&index)?.what {
            What::Model(model) => Some(model),
            _ => None,
        }
    }

    /// Who signed the entry at `index`.
    pub(super) fn signers_at(&self, index: LeafIndex) -> &'a [Who] {
        if index == self.subject.entry.index {
            return std::slice::from_ref(&self.subject.signed_by);
        }
        let seen = self.history.and_then(|history| history.seen.get(&index));
        seen.map_or(&[], |seen| &seen.signed_by)
    }

    /// The entry that `model`, logged at `at`, renews.
    pub(super) fn renewed_by(
        &self,
        at: LeafIndex,
        model: &SeenModel,
        claim: EntryRef,
    ) -> Result<(LeafIndex, &'a SeenModel), &'static str> {
        if claim.index >= at {
            return Err("that is not an older one");
        }
        let seen = self.history.and_then(|history| history.seen.get(&claim.index));
        let seen = seen.ok_or("that one is not known to be of this model")?;
        match &seen.what {
            _ if seen.entry != claim => Err("another leaf stands there"),
            What::Model(older) if older.model_id != model.model_id => Err("that is another model"),
            What::Model(older) if older.name != model.name => {
                Err("that has another name, and only `supersede` announces a new one")
            }
            What::Model(older) => Ok((claim.index, older)),
            _ => Err("that one cannot be read"),
        }
    }

    /// What was answered to `question`.
    pub(super) fn answer(&self, question: &Question) -> Option<&'a Answer> {
        self.history.and_then(|history| history.answers.get(question))
    }

    /// Why what the history does not show need not be absent; `None` if it is whole for
    /// `questions`.
    pub(super) fn doubt(&self, questions: &[Question]) -> Option<String> {
        let Some(history) = self.history else {
            return Some("nothing is known of the model's history".to_owned());
        };
        if let Some(why) = self.mistrust(history) {
            return Some(why);
        }
        let why = |question: &Question| match history.answers.get(question) {
            Some(Answer::All(_)) => None,
            Some(Answer::Unknown(why)) => Some(why.clone()),
            Some(Answer::Oldest(_)) => match self.by_each_person(question) {
                Some(people) => self.doubt(&people),
                None => Some("there is more than can be looked at".to_owned()),
            },
            None => Some("it was not asked for".to_owned()),
        };
        questions.iter().find_map(why)
    }

    /// The same, where the oldest that match are enough.
    pub(super) fn doubt_about_oldest(&self, question: &Question) -> Option<String> {
        match (self.history, self.answer(question)) {
            (Some(history), Some(Answer::Oldest(hits))) if !hits.is_empty() => {
                self.mistrust(history)
            }
            _ => self.doubt(std::slice::from_ref(question)),
        }
    }

    /// The same as [`Context::doubt`], where beside `questions` it is enough to know the oldest
    /// signatures of the model: strangers may have logged any number of copies.
    pub(super) fn doubt_beside_copies(&self, questions: &[Question]) -> Option<String> {
        let model = Question::Model(self.subject.model.model_id);
        self.doubt_about_oldest(&model).or_else(|| self.doubt(questions))
    }

    /// The same, where all that match are enough which are older than the subject.
    pub(super) fn doubt_about_older(&self, question: &Question) -> Option<String> {
        match self.answer(question) {
            Some(Answer::Oldest(hits)) if hits.last() < Some(&self.subject.entry.index) => {
                self.doubt(std::slice::from_ref(question))
            }
            _ => self.doubt_about_oldest(question),
        }
    }

    /// Signatures of what the subject signed that were logged as a digest alone, by people of the
    /// line or who may be: the log knows neither name nor model of them.
    pub(super) fn digests(&self) -> Vec<&'a Seen> {
        let hits = self.hits(&Question::Signed(self.subject.digest)).into_iter();
        let is_it = |seen: &&Seen| seen.what == What::Opaque && self.belongs(seen) != Belongs::No;
        hits.filter(is_it).collect()
    }

    /// What makes the whole history no answer.
    fn mistrust(&self, history: &History) -> Option<String> {
        let own = self.subject.entry.index;
        if !history.size.contains(own) {
            let size = history.size;
            return Some(format!("what is known ends at {size} entries, before entry {own}"));
        }
        if let Source::Index { from, .. } = &history.source
            && from.get() > 0
        {
            return Some(format!("the index begins at entry {from}"));
        }
        match history.answers.get(&Question::Model(self.subject.model.model_id)) {
            Some(Answer::All(hits)) if self.subject.has_statement && !hits.contains(&own) => {
                Some(format!("the search hides entry {own} itself, so it may hide others"))
            }
            _ => None,
        }
    }

    /// The questions that take the place of one about anybody.
    fn by_each_person(&self, question: &Question) -> Option<Vec<Question>> {
        match question {
            Question::Notices { model_id, by: None } => {
                let ask = |by| Question::Notices { model_id: *model_id, by: Some(by) };
                Some(self.speakers().into_iter().map(ask).collect())
            }
            Question::Named { name, by: None } => {
                let ask = |by| Question::Named { name: name.clone(), by: Some(by) };
                Some(self.line_people().into_iter().map(ask).collect())
            }
            _ => None,
        }
    }

    /// The entries that were found by `question`, or by those that take its place.
    pub(super) fn hits(&self, question: &Question) -> Vec<&'a Seen> {
        let Some(history) = self.history else { return Vec::new() };
        let mut found = BTreeSet::new();
        let people = self.by_each_person(question).unwrap_or_default();
        for question in std::iter::once(question).chain(&people) {
            if let Some(Answer::All(hits) | Answer::Oldest(hits)) = history.answers.get(question) {
                found.extend(hits);
            }
        }
        found.into_iter().filter_map(|index| history.seen.get(index)).collect()
    }

    /// The signatures of the subject's model.
    pub(super) fn same_model(&self) -> Vec<(&'a Seen, &'a SeenModel)> {
        let id = self.subject.model.model_id;
        let hits = self.hits(&Question::Model(id)).into_iter();
        hits.filter_map(|seen| match &seen.what {
            What::Model(model) if model.model_id == id => Some((seen, model)),
            _ => None,
        })
        .collect()
    }

    /// What is said about the subject's model, whoever says it.
    pub(super) fn notices(&self) -> Vec<(&'a Seen, &'a Notice)> {
        let model_id = self.subject.model.model_id;
        let hits = self.hits(&Question::Notices { model_id, by: None }).into_iter();
        hits.filter_map(|seen| match &seen.what {
            What::Notice(notice) if notice.model_id == model_id => Some((seen, &**notice)),
            _ => None,
        })
        .collect()
    }

    /// Whether `entry` is known to be a signature of the subject's model.
    pub(super) fn is_of_model(&self, entry: EntryRef) -> bool {
        let is_it = |(seen, _): &(&Seen, &SeenModel)| seen.entry == entry;
        entry == self.subject.entry || self.same_model().iter().any(is_it)
    }

    /// The oldest entry that the subject renews, or its own.
    pub(super) fn origin(&self) -> LeafIndex {
        self.renewed.last().copied().unwrap_or(self.subject.entry.index)
    }

    /// How a search finds those whose models of one name are one line.
    pub(super) fn line_people(&self) -> BTreeSet<By> {
        let accepted = self.believed.signers.iter().map(By::of);
        let kin = self.kin_signers().flat_map(Who::by);
        accepted.chain(self.subject.signed_by.by()).chain(kin).collect()
    }

    /// All whose notices may count.
    pub(super) fn speakers(&self) -> BTreeSet<By> {
        let recovery = self.believed.policy.recovery.iter();
        let approvals = self.believed.policy.approvals.iter();
        let approvers = approvals.flat_map(|rule| rule.roles.values().flatten());
        let mut people = self.line_people();
        people.extend(recovery.chain(approvers).map(By::of));
        people
    }

    /// What the accepted signers logged under the subject's name, the subject included.
    pub(super) fn line(&self) -> Line<'a> {
        let mut line = Line { models: BTreeMap::new(), open: Vec::new() };
        let Some(name) = &self.subject.model.name else { return line };
        let hits = self.hits(&Question::Named { name: name.clone(), by: None });
        for seen in hits {
            match &seen.what {
                What::Model(model) if model.name.as_ref() == Some(name) => {
                    match self.belongs(seen) {
                        Belongs::Yes => self.place_model(seen, model, &mut line),
                        Belongs::Perhaps => line.open.push((seen, uncertified(seen.entry.index))),
                        Belongs::No => {}
                    }
                }
                What::Opaque => {
                    let why = format!("the statement of entry {} is not there", seen.entry.index);
                    line.open.push((seen, why));
                }
                _ => {}
            }
        }
        line
    }

    fn place_model(&self, seen: &'a Seen, model: &'a SeenModel, line: &mut Line<'a>) {
        let (place, flaw) = self.follow(seen.entry.index, model, |_| ());
        let flaw = flaw.filter(|flaw| !self.kin.has(flaw.claimed));
        let placed = line.models.entry(model.model_id).or_insert_with(|| Placed {
            model_id: model.model_id,
            place,
            entries: Vec::new(),
            stands: Vec::new(),
            said: Vec::new(),
            unproven_renewal: false,
        });
        placed.place = placed.place.min(place);
        placed.entries.push(seen);
        placed.stands.push(place);
        placed.said.push(model.said.as_ref());
        placed.unproven_renewal |= flaw.is_some();
    }

    /// Where the subject stands in the order of its line.
    pub(super) fn place(&self) -> LeafIndex {
        let line = self.line();
        let known = line.models.get(&self.subject.model.model_id).map(|model| model.place);
        let digest = self.digests().iter().map(|seen| seen.entry.index).min();
        [known, digest].into_iter().flatten().fold(self.origin(), LeafIndex::min)
    }
}

impl<'a> Line<'a> {
    /// The models that stand above `place`, in order.
    pub(super) fn above(&self, place: LeafIndex) -> Vec<&Placed<'a>> {
        let mut above: Vec<_> = self.models.values().filter(|model| model.place > place).collect();
        above.sort_by_key(|model| model.place);
        above
    }

    /// The models that stand below `place`, in order.
    pub(super) fn below(&self, place: LeafIndex) -> Vec<&Placed<'a>> {
        let mut below: Vec<_> = self.models.values().filter(|model| model.place < place).collect();
        below.sort_by_key(|model| model.place);
        below
    }

    /// The place of the model that is logged at `entry`.
    pub(super) fn place_of(&self, entry: EntryRef) -> Option<LeafIndex> {
        let is_it = |seen: &&&Seen| seen.entry == entry;
        let mut models = self.models.values();
        models.find(|model| model.entries.iter().any(|seen| is_it(&seen))).map(|model| model.place)
    }
}

/// The signers of an entry, for people.
pub(super) fn describe(signers: &[Who]) -> String {
    match signers {
        [] => "nobody whose signature could be verified".to_owned(),
        signers => signers.iter().map(Who::describe).collect::<Vec<_>>().join(" and "),
    }
}

/// `seen` as evidence for `what`.
pub(super) fn cite(seen: &Seen, what: impl Into<String>) -> Cited {
    Cited {
        index: seen.entry.index,
        time: seen.time,
        by: describe(&seen.signed_by),
        what: what.into(),
    }
}
