use treering_proto::entry::Entry;
use treering_proto::notice::EntryRef;
use treering_proto::tree::LeafIndex;
use treering_proto::trust::TrustFile;

use super::super::tests::{Signed, details};
use super::super::{Model, Newest, Opened, Policy, verify};
use super::*;
use crate::history::{Answer, Cited, Seen, SeenTime, Source, What, Word, questions};
use crate::report::Outcome;

/// When the witnesses of [`Signed`] saw the entry, and a little more.
const NOW: u64 = 1_700_000_100;

fn finding(rule: Rule, action: Action, verdict: Verdict) -> Finding {
    let time = Some(SeenTime { seconds: 1_700_000_000, word: Word::Log });
    let index = LeafIndex::new(3).unwrap();
    Finding {
        rule,
        action,
        verdict,
        why: "so it is".to_owned(),
        evidence: vec![Cited { index, time, by: "sam".to_owned(), what: "shows it".to_owned() }],
        remarks: vec!["something else".to_owned()],
        remedy: Some("do this".to_owned()),
    }
}

#[test]
fn verdict_and_action_make_outcome_and_exit() {
    for (verdict, action, outcome, exit) in [
        (Verdict::Holds, Action::Warn, Outcome::Passed, Exit::Ok),
        (Verdict::Holds, Action::Refuse, Outcome::Passed, Exit::Ok),
        (Verdict::Against, Action::Warn, Outcome::Warned, Exit::Ok),
        (Verdict::Against, Action::Refuse, Outcome::Failed, Exit::Policy),
        (Verdict::Unknown, Action::Warn, Outcome::NotChecked, Exit::Ok),
        (Verdict::Unknown, Action::Refuse, Outcome::NotChecked, Exit::Unavailable),
    ] {
        let mut report = Report::default();
        report.passed("signature", "by a key");
        add(&finding(Rule::Revoked, action, verdict), &mut report);
        assert_eq!(report.outcome("rule-revoked"), Some(outcome), "{verdict:?} {action:?}");
        assert_eq!(report.exit(), exit, "{verdict:?} {action:?}");
        let expected = [
            "entry 3, 2023-11-14T22:13:20Z (the log's word), by sam: shows it",
            "remark: something else",
            "next: do this",
        ];
        assert_eq!(report.checks()[1].details, expected);
    }
}

#[test]
fn every_rule_has_a_check_of_its_own_name() {
    for rule in Rule::ALL {
        let kebab: String = rule
            .name()
            .chars()
            .map(|c| match c.is_ascii_uppercase() {
                true => format!("-{}", c.to_ascii_lowercase()),
                false => c.to_string(),
            })
            .collect();
        assert_eq!(check_name(rule), format!("rule-{kebab}"));
    }
}

/// A signed model under the recommended policy, without its rule about versions of others.
struct Scene {
    opened: Opened,
    trust: TrustFile,
}

impl Scene {
    fn new(signed: &Signed) -> Self {
        let mut trust = signed.trust();
        trust.model_policy = ModelPolicy::recommended();
        Self { opened: Opened::open(&signed.bundle.to_json()).unwrap(), trust }
    }

    fn believed(&self) -> Believed<'_> {
        Believed { policy: &self.trust.model_policy, signers: &self.trust.signers }
    }

    /// Verifies, and judges by the history that `gather` makes.
    fn judge(
        &self,
        now: u64,
        gather: impl FnOnce(Believed<'_>, &Subject) -> Option<History>,
    ) -> Verification {
        let policy = Policy { trust: &self.trust, signers: &self.trust.signers, now };
        let mut verification = verify(&self.opened, &policy, Model::NotRead);
        let subject = Subject::of(&self.opened, &self.trust, &verification, &Newest::NotAsked);
        let history = subject.as_ref().and_then(|subject| gather(self.believed(), subject));
        judge(self.believed(), subject.as_ref(), history.as_ref(), now, &mut verification);
        verification
    }

    /// The history of a log that has nothing but this entry.
    fn alone(&self, believed: Believed<'_>, subject: &Subject) -> History {
        let logged = &self.opened.bundle().log_entries[0];
        let entry = Entry::parse(&logged.canonicalized_body).unwrap();
        let payload = self.opened.envelope().payload.as_slice();
        let time = Some(SeenTime { seconds: NOW, word: Word::Log });
        let seen = Seen::read(subject.entry, &entry, Some(payload), time, &[], &[]);
        assert_eq!(seen.what, What::Model(subject.model.clone()));
        assert_eq!(seen.signed_by, std::slice::from_ref(&subject.signed_by));
        let size = logged.inclusion_proof.tree_size;
        let mut history = History::new(Source::Log, size, subject.head_time);
        for question in questions(believed, subject, &history) {
            let hits = match question {
                crate::history::Question::Notices { .. } => Vec::new(),
                _ => vec![subject.entry.index],
            };
            history.answers.insert(question, Answer::All(hits));
        }
        history.seen.insert(subject.entry.index, seen);
        history
    }
}

#[test]
fn a_model_with_nothing_against_it_passes_every_rule() {
    let scene = Scene::new(&Signed::new(2, 2));
    let whole = |believed: Believed<'_>, subject: &Subject| Some(scene.alone(believed, subject));
    let verification = scene.judge(NOW, whole);
    assert_eq!(verification.report.exit(), Exit::Ok, "{:?}", verification.report);
    assert_eq!(verification.findings.len(), 10);
    for rule in Rule::ALL.into_iter().filter(|rule| *rule != Rule::Approvals) {
        let outcome = verification.report.outcome(check_name(rule));
        assert_eq!(outcome, Some(Outcome::Passed), "{}", rule.name());
    }
    assert_eq!(verification.report.outcome(check_name(Rule::Approvals)), None);
}

#[test]
fn without_a_history_a_policy_that_refuses_ends_with_5_and_an_old_checkpoint_with_7() {
    let scene = Scene::new(&Signed::new(2, 2));
    let verification = scene.judge(NOW, |_, _| None);
    assert_eq!(verification.report.exit(), Exit::Unavailable);
    let of = |name| verification.report.outcome(name);
    assert_eq!(of("rule-revoked"), Some(Outcome::NotChecked));
    assert_eq!(of("rule-checkpoint-age"), Some(Outcome::Passed));
    let next = details(&verification, "rule-revoked").concat();
    assert!(next.contains("--online") && next.contains("--status"), "{next}");

    let verification = scene.judge(NOW + 86_400, |_, _| None);
    assert_eq!(verification.report.exit(), Exit::Policy);
    assert_eq!(verification.report.outcome("rule-checkpoint-age"), Some(Outcome::Failed));
}

#[test]
fn of_a_signature_that_is_not_proven_to_be_logged_no_rule_is_checked() {
    let mut signed = Signed::new(2, 2);
    signed.bundle.log_entries.clear();
    let verification = Scene::new(&signed).judge(NOW, |_, _| None);
    assert_eq!(verification.report.exit(), Exit::NotVerified);
    assert!(verification.findings.is_empty());
    for rule in Rule::ALL.into_iter().filter(|rule| *rule != Rule::Approvals) {
        let outcome = verification.report.outcome(check_name(rule));
        assert_eq!(outcome, Some(Outcome::NotChecked), "{}", rule.name());
    }
}

#[test]
fn an_entry_whose_statement_is_another_is_read_as_nothing() {
    let scene = Scene::new(&Signed::new(0, 0));
    let logged = &scene.opened.bundle().log_entries[0];
    let entry = Entry::parse(&logged.canonicalized_body).unwrap();
    let at =
        EntryRef { index: LeafIndex::new(0).unwrap(), leaf: treering_proto::hash::Hash([0; 32]) };
    for payload in [None, Some(&b"{}"[..])] {
        let seen = Seen::read(at, &entry, payload, None, &[], &[]);
        assert_eq!((seen.what, seen.signed_by), (What::Opaque, vec![]));
    }
}
