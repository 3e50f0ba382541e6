//! Who belongs to the line of a model, and whose notices about it count.
//!
//! ```text
//! accepted signers, the subject's signer   of the line, always
//! signers of what the subject continues    of the line, until it was continued
//! names that nobody could look at          perhaps: nothing is refused or passed by them, but
//!                                          what they may have said is not taken for silence
//! others                                   strangers
//! ```
//!
//! Invariant: what only a stranger says changes no verdict.
//! Out of scope: what notices say.

use treering_proto::notice::Notice;
use treering_proto::tree::LeafIndex;
use treering_proto::trust::SignerRule;

use super::context::{Context, describe};
use super::{Seen, Who};

/// Whether an entry is one of the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Belongs {
    Yes,
    Perhaps,
    No,
}

/// Why a notice does not count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unheard {
    pub(super) why: String,
    /// It might, if more were known: then it is not as if nobody had said it.
    pub(super) may_count: bool,
}

impl<'a> Context<'a> {
    /// Whether `seen` is by somebody whose models of one name are one line: accepted signers, the
    /// signer of the subject, and those of what it continues until then. A key that was given up
    /// may be in anybody's hands afterwards.
    pub(super) fn belongs(&self, seen: &Seen) -> Belongs {
        let at = seen.entry.index;
        let signers = self.signers_at(at);
        let is_own = |who: &Who| who.is_same_as(&self.subject.signed_by);
        let was_kin = |who: &Who| {
            let open = self.kin.continued().filter(|(_, by)| by.is_none_or(|by| at < by));
            open.flat_map(|(index, _)| self.signers_at(index)).any(|kin| kin.is_same_as(who))
        };
        if signers.iter().any(|who| self.is_accepted(who) || is_own(who) || was_kin(who)) {
            return Belongs::Yes;
        }
        match signers.iter().any(|who| self.may_be_of_line(who)) {
            true => Belongs::Perhaps,
            false => Belongs::No,
        }
    }

    /// Whether `who` may sign.
    pub(super) fn is_accepted(&self, who: &Who) -> bool {
        self.believed.signers.iter().any(|rule| who.is_accepted_by(rule))
    }

    fn may_be_of_line(&self, who: &Who) -> bool {
        self.believed.signers.iter().any(|rule| who.may_be_accepted_by(rule))
            || who.may_be_same_as(&self.subject.signed_by)
            || self.kin_signers().any(|kin| who.may_be_same_as(kin))
    }

    pub(super) fn kin_signers(&self) -> impl Iterator<Item = &'a Who> + '_ {
        self.kin.entries().flat_map(|index| self.signers_at(index))
    }

    /// Whether `who` speaks, or may speak, against the subject.
    pub(super) fn may_speak(&self, who: &Who) -> bool {
        let recovery = &self.believed.policy.recovery;
        let recovers = |rule: &SignerRule| who.is_accepted_by(rule) || who.may_be_accepted_by(rule);
        self.is_accepted(who)
            || self.kin_signers().any(|kin| kin.is_same_as(who))
            || who.is_same_as(&self.subject.signed_by)
            || self.may_be_of_line(who)
            || recovery.iter().any(recovers)
    }

    /// Who, whose word counts, says `notice`; otherwise why it does not count. For what lets a
    /// model pass, `favourable`, only signatures of people whose keys were theirs at the time.
    pub(super) fn speaker(
        &self,
        seen: &Seen,
        notice: &Notice,
        favourable: bool,
    ) -> Result<String, Unheard> {
        let may_speak = |who: &Who| !favourable && self.may_speak(who);
        if notice.log != self.subject.log {
            // A log that was begun anew has notices that name the one before it.
            let may_count = seen.signed_by.iter().any(may_speak);
            let why = format!("it is about the log {}", notice.log);
            return Err(Unheard { why, may_count });
        }
        let about = self.about(notice);
        let mut why =
            format!("{} neither signed the model nor may speak for it", describe(&seen.signed_by));
        let mut may_count = false;
        for who in &seen.signed_by {
            if favourable && !who.in_time {
                why = format!("the certificate of {} was not valid then", who.describe());
                continue;
            }
            let recovers = |rule: &&SignerRule| who.is_accepted_by(rule);
            if let Some(rule) = self.believed.policy.recovery.iter().find(recovers) {
                return Ok(format!("{} with the recovery key {:?}", who.describe(), rule.name));
            }
            let own = who.is_same_as(&self.subject.signed_by);
            // Whoever signed what the subject continues may speak against that for ever.
            let continued = !favourable && self.kin.has(notice.about.index);
            match &about {
                // Who signed the subject may always speak against it.
                _ if own && !favourable => return Ok(who.describe()),
                Ok(signers) if own || continued || self.is_accepted(who) => {
                    if signers.iter().any(|signer| signer.is_same_as(who)) {
                        return Ok(who.describe());
                    }
                }
                Ok(_) => {}
                Err(wrong) => why = wrong.clone(),
            }
            if !who.may_be.is_empty() && may_speak(who) {
                may_count = true;
                why = uncertified(seen.entry.index);
            }
        }
        Err(Unheard { why, may_count })
    }

    /// Who signed the entry that `notice` speaks about.
    fn about(&self, notice: &Notice) -> Result<&'a [Who], String> {
        let about = notice.about;
        if self.is_of_model(about) && notice.model_id == self.subject.model.model_id {
            return Ok(self.signers_at(about.index));
        }
        Err(format!("entry {}, which it is about, is not known to be of this model", about.index))
    }
}

/// Why it is open who signed an entry.
pub(super) fn uncertified(index: LeafIndex) -> String {
    format!(
        "nothing here says whose certificate signed entry {index}: list its intermediate \
         authorities in the trust file, or ask the log"
    )
}
