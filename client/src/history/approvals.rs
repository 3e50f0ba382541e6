//! The rule about approvals: have enough distinct people signed off?
//!
//! Invariant: one person counts once, however often, in whatever roles and with whatever keys they
//! approved: two approvals are by one person if they have a key or a certified name in common, or
//! are accepted by rules of one name. Out of scope: whether people are who the policy says.

use treering_proto::notice::{APPROVE_PREDICATE_TYPE, NoticeKind};
use treering_proto::trust::SignerRule;

use super::context::{Context, cite};
use super::judge::Draft;
use super::notices::doubt;
use super::{Cited, Who};

/// One person who approved, as far as they are known.
struct Person<'a> {
    rules: Vec<&'a str>,
    known_as: Vec<&'a Who>,
    approvals: Vec<Cited>,
}

impl Person<'_> {
    fn is(&self, rules: &[&str], who: &Who) -> bool {
        self.known_as.iter().any(|known| known.is_same_as(who))
            || self.rules.iter().any(|rule| rules.contains(rule))
    }
}

/// Have as many distinct people of the named roles approved as the policy asks for?
pub(super) fn approvals(context: &Context<'_>) -> Draft {
    let Some(rule) = &context.believed.policy.approvals else {
        return Draft::unknown("the policy has no such rule");
    };
    let mut people: Vec<Person<'_>> = Vec::new();
    let mut remarks = Vec::new();
    for (seen, notice) in context.notices() {
        let NoticeKind::Approve { role } = &notice.kind else { continue };
        let at = seen.entry.index;
        if notice.log != context.subject.log {
            remarks.push(format!("the approval in entry {at} is about the log {}", notice.log));
            continue;
        }
        let Some(approvers) = rule.roles.get(role) else {
            remarks.push(format!(
                "the approval in entry {at} is in the role {role:?}, which no rule has"
            ));
            continue;
        };
        let mut counted = false;
        for who in seen.signed_by.iter().filter(|who| who.in_time) {
            let accepts = |approver: &&SignerRule| who.is_accepted_by(approver);
            let rules: Vec<&str> =
                approvers.iter().filter(accepts).map(|approver| approver.name.as_str()).collect();
            if !rules.is_empty() {
                counted = true;
                add(&mut people, rules, who, cite(seen, format!("approves as {role:?}")));
            }
        }
        if !counted {
            remarks.push(format!("the approval in entry {at} is by nobody who may as {role:?}"));
        }
    }
    let (have, need) = (people.len(), rule.count);
    let cited: Vec<Cited> = people.into_iter().flat_map(|person| person.approvals).collect();
    let approves = |who: &Who| {
        let mut approvers = rule.roles.values().flatten();
        approvers.any(|approver| who.is_accepted_by(approver) || who.may_be_accepted_by(approver))
    };
    let doubt = doubt(context, APPROVE_PREDICATE_TYPE, approves);
    let draft = match (have >= need, doubt) {
        (true, _) => Draft::holds(format!("{have} people approved, of {need} that are needed")),
        (false, Some(why)) => Draft::unknown(why),
        (false, None) => {
            let roles: Vec<&str> = rule.roles.keys().map(String::as_str).collect();
            let why = format!("{have} distinct people approved, and {need} are needed");
            Draft::against(why)
                .advise(format!("let others approve, as {}: treering approve", roles.join(" or ")))
        }
    };
    remarks.into_iter().fold(draft.citing(cited), Draft::remark)
}

/// Adds an approval. It may show that people who were counted apart are one.
fn add<'a>(people: &mut Vec<Person<'a>>, rules: Vec<&'a str>, who: &'a Who, cited: Cited) {
    let (same, others): (Vec<_>, Vec<_>) =
        people.drain(..).partition(|person| person.is(&rules, who));
    let mut person = Person { rules, known_as: vec![who], approvals: vec![cited] };
    for known in same {
        person.rules.extend(known.rules);
        person.known_as.extend(known.known_as);
        person.approvals.splice(0..0, known.approvals);
    }
    *people = others;
    people.push(person);
}
