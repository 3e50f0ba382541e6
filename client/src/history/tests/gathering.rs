//! What is asked, and what follows from answers that are not whole.

use std::collections::BTreeSet;

use treering_proto::notice::NoticeKind;
use treering_proto::trust::model_policy::{Action, DaysRule, Rule};
use treering_proto::trust::{ModelPolicy, SignerRule};

use super::super::*;
use super::world::{Judged, Person, World, model};

fn alice() -> Person {
    Person::new("alice")
}

/// A policy of this rule alone.
fn only(rule: Rule) -> ModelPolicy {
    let all = ModelPolicy::recommended();
    let mut policy = ModelPolicy::default();
    match rule {
        Rule::FirstSeen => policy.first_seen = all.first_seen,
        Rule::WeightsFirstSeen => policy.weights_first_seen = all.weights_first_seen,
        Rule::NotNewest => policy.not_newest = all.not_newest,
        Rule::VersionNotRising => policy.version_not_rising = all.version_not_rising,
        Rule::Revoked => policy.revoked = all.revoked,
        Rule::Superseded => policy.superseded = all.superseded,
        Rule::NewSigner => policy.new_signer = all.new_signer,
        Rule::OtherSigner => policy.other_signer = all.other_signer,
        Rule::NoStatement => policy.no_statement = all.no_statement,
        Rule::CheckpointAge => policy.checkpoint_age = all.checkpoint_age,
        Rule::Approvals => {}
    }
    policy
}

fn judge_with(
    policy: &ModelPolicy,
    subject: &Subject,
    history: Option<&History>,
    now: u64,
) -> Judged {
    let signers: Vec<SignerRule> = vec![alice().rule];
    Judged::of(judge(Believed { policy, signers: &signers }, subject, history, now))
}

#[test]
fn no_rule_asks_for_more_than_it_needs_and_every_rule_can_be_judged_alone() {
    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1").weights(&["w1", "w2"]));
    let subject = world.subject(entry);
    let signers = [alice().rule];
    let empty = History::new(Source::Log, TreeSize::ZERO, None);
    for (rule, count) in [
        (Rule::FirstSeen, 3),
        (Rule::WeightsFirstSeen, 3),
        (Rule::NotNewest, 4),
        (Rule::VersionNotRising, 4),
        (Rule::Revoked, 2),
        (Rule::Superseded, 2),
        (Rule::NewSigner, 2),
        (Rule::OtherSigner, 1),
        (Rule::NoStatement, 1),
        (Rule::CheckpointAge, 0),
    ] {
        let policy = only(rule);
        let believed = Believed { policy: &policy, signers: &signers };
        assert_eq!(questions(believed, &subject, &empty).len(), count, "{}", rule.name());
        let judged = world.judge(&policy, &[&alice()], entry);
        assert_eq!(judged.0.keys().collect::<Vec<_>>(), [&rule]);
        judged.is_fine();
    }
    let policy = ModelPolicy::default();
    assert!(
        questions(Believed { policy: &policy, signers: &signers }, &subject, &empty).is_empty()
    );
    assert!(world.judge(&policy, &[&alice()], entry).0.is_empty());
}

#[test]
fn without_a_history_nothing_that_needs_one_is_skipped_silently() {
    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1").weights(&["w"]));
    let mut subject = world.subject(entry);
    let now = world.now();
    let judged = judge_with(&ModelPolicy::recommended(), &subject, None, now);
    for (rule, finding) in &judged.0 {
        let known = *rule == Rule::NoStatement;
        let expected = if known { Verdict::Holds } else { Verdict::Unknown };
        assert_eq!(finding.verdict, expected, "{}", rule.name());
        assert_eq!(finding.remedy.is_some(), !known, "{}", rule.name());
    }
    // The age of the bundle's own checkpoint is known.
    subject.head_time = Some(now - 24 * 3_600);
    let judged = judge_with(&ModelPolicy::recommended(), &subject, None, now);
    assert_eq!(judged.verdict(Rule::CheckpointAge), Verdict::Holds);
    subject.head_time = Some(now - 24 * 3_600 - 1);
    let judged = judge_with(&ModelPolicy::recommended(), &subject, None, now);
    assert_eq!(judged.verdict(Rule::CheckpointAge), Verdict::Against);
    subject.head_time = Some(now + 301);
    let judged = judge_with(&ModelPolicy::recommended(), &subject, None, now);
    assert_eq!(judged.verdict(Rule::CheckpointAge), Verdict::Unknown);
}

#[test]
fn a_stale_history_is_old_however_new_the_bundle_is() {
    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1"));
    let mut subject = world.subject(entry);
    let now = world.now();
    subject.head_time = Some(now);
    let (policy, signers) = (only(Rule::CheckpointAge), [alice().rule]);
    let mut history = world.history(Believed { policy: &policy, signers: &signers }, &subject);
    for (head_time, verdict) in [
        (Some(now), Verdict::Holds),
        (Some(now - 25 * 3_600), Verdict::Against),
        (None, Verdict::Unknown),
    ] {
        history.head_time = head_time;
        let judged = judge_with(&policy, &subject, Some(&history), now);
        assert_eq!(judged.verdict(Rule::CheckpointAge), verdict, "{head_time:?}");
    }
}

#[test]
fn a_question_without_answer_is_no_absence() {
    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1").weights(&["w"]));
    let subject = world.subject(entry);
    let signers = [alice().rule];
    for rule in Rule::ALL
        .into_iter()
        .filter(|rule| !matches!(rule, Rule::NoStatement | Rule::CheckpointAge | Rule::Approvals))
    {
        let policy = only(rule);
        let believed = Believed { policy: &policy, signers: &signers };
        let whole = world.history(believed, &subject);
        for question in whole.answers.keys() {
            if !matters(rule, question) {
                continue;
            }
            for gone in [None, Some(Answer::Unknown("the log was silent".to_owned()))] {
                let mut history = whole.clone();
                history.answers.remove(question);
                history.answers.extend(gone.map(|gone| (question.clone(), gone)));
                let judged = judge_with(&policy, &subject, Some(&history), world.now());
                let verdict = judged.verdict(rule);
                assert_eq!(verdict, Verdict::Unknown, "{} without {question:?}", rule.name());
            }
        }
    }
}

/// Whether `rule` cannot be checked without the answer to `question`.
fn matters(rule: Rule, question: &Question) -> bool {
    match question {
        Question::Model(_) => !matches!(rule, Rule::WeightsFirstSeen | Rule::NewSigner),
        Question::Notices { .. } => matches!(rule, Rule::Revoked | Rule::Superseded),
        Question::Signed(_) => {
            matches!(rule, Rule::FirstSeen | Rule::NotNewest | Rule::VersionNotRising)
        }
        Question::Named { .. } | Question::Weight(_) => true,
    }
}

#[test]
fn a_history_that_is_behind_or_hides_the_entry_itself_answers_nothing() {
    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1"));
    let subject = world.subject(entry);
    let (policy, signers) = (ModelPolicy::recommended(), [alice().rule]);
    let believed = Believed { policy: &policy, signers: &signers };
    let mut behind = world.history(believed, &subject);
    behind.size = TreeSize::ZERO;
    let judged = judge_with(&policy, &subject, Some(&behind), world.now());
    assert_eq!(judged.verdict(Rule::Revoked), Verdict::Unknown);
    assert!(judged.text(Rule::Revoked).contains("ends at 0 entries"), "{judged:?}");

    world.unfound.push(entry.index);
    let judged = world.recommended(&[&alice()], entry);
    for rule in [Rule::FirstSeen, Rule::NotNewest, Rule::Revoked, Rule::OtherSigner] {
        assert_eq!(judged.verdict(rule), Verdict::Unknown, "{}", rule.name());
    }

    world.unfound.clear();
    let mut late = world.history(believed, &subject);
    let from = LeafIndex::new(1).unwrap();
    late.source = Source::Index { from, without_statement: 0 };
    let judged = judge_with(&policy, &subject, Some(&late), world.now());
    assert_eq!(judged.verdict(Rule::FirstSeen), Verdict::Unknown);
    late.source = Source::Index { from: LeafIndex::new(0).unwrap(), without_statement: 7 };
    judge_with(&policy, &subject, Some(&late), world.now()).is_fine();
}

#[test]
fn a_crowd_of_strangers_hides_nothing() {
    let (mut world, mallory) = (World::default(), Person::new("mallory"));
    let entry = world.sign(&alice(), &model("llm", "v1"));
    for at in 0..=HITS_OF_ANYBODY_MAX {
        world.say(&mallory, entry, NoticeKind::Revoke);
        world.sign(&mallory, &model("llm", &format!("evil {at}")));
    }
    world.recommended(&[&alice()], entry).is_fine();
    world.say(&alice(), entry, NoticeKind::Revoke);
    let newer = world.sign(&alice(), &model("llm", "v2"));
    let judged = world.recommended(&[&alice()], entry);
    assert_eq!(judged.refusing(), [Rule::NotNewest, Rule::Revoked]);
    world.recommended(&[&alice()], newer).is_fine();
}

#[test]
fn any_number_of_copies_by_strangers_is_no_refusal_and_hides_nothing() {
    let (mut world, mallory) = (World::default(), Person::new("mallory"));
    let bob = Person::new("bob");
    let entry = world.sign(&alice(), &model("llm", "v1"));
    for _ in 0..HITS_MAX {
        world.sign(&mallory, &model("llm", "v1"));
    }
    world.recommended(&[&alice()], entry).is_fine();
    // Among so many it is not known whether bob signed these bytes, of which he speaks.
    let copied = world.sign(&bob, &model("llm", "v1"));
    let notice = world.say(&bob, copied, NoticeKind::Revoke);
    let judged = world.recommended(&[&alice(), &bob], entry);
    assert_eq!(judged.verdict(Rule::Revoked), Verdict::Unknown);
    let text = judged.text(Rule::Revoked);
    assert!(text.contains(&format!("entry {} speaks about entry", notice.index)), "{text}");
    world.recommended(&[&alice()], entry).is_fine();
    world.say(&alice(), entry, NoticeKind::Revoke);
    world.recommended(&[&alice()], entry).is_refused_by(Rule::Revoked);
    // Who else signed them first is not known to the last.
    let judged = world.recommended(&[&bob], copied);
    assert_eq!(judged.verdict(Rule::OtherSigner), Verdict::Against);
    assert_eq!(world.recommended(&[&alice(), &mallory], copied).warning(), [Rule::OtherSigner]);
}

#[test]
fn more_of_the_signers_own_than_can_be_looked_at_is_said() {
    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1"));
    for at in 0..HITS_MAX {
        world.sign(&alice(), &model("llm", &format!("v1.{at}")));
    }
    let last = world.sign(&alice(), &model("llm", "last"));
    let judged = world.recommended(&[&alice()], last);
    assert_eq!(judged.refusing(), [Rule::NotNewest, Rule::VersionNotRising]);
    assert_eq!(judged.verdict(Rule::NotNewest), Verdict::Unknown);
    // What is known speaks against the first of them all the same.
    assert_eq!(world.recommended(&[&alice()], entry).verdict(Rule::NotNewest), Verdict::Against);
}

#[test]
fn a_statement_that_the_log_withholds_may_be_the_newer_one() {
    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1"));
    let hidden = world.sign(&alice(), &model("llm", "v2"));
    world.withheld.push(hidden.index);
    let judged = world.recommended(&[&alice()], entry);
    assert_eq!(judged.verdict(Rule::NotNewest), Verdict::Unknown);
    let text = judged.text(Rule::NotNewest);
    assert!(text.contains("the statement of entry 1 is not there"), "{text}");
}

#[test]
fn renewals_of_other_models_are_looked_at_before_they_count_as_newer() {
    // The old key is not accepted any more; the newest model was never signed with it.
    let (old, new) = (Person::new("old key"), Person::new("new key"));
    let mut world = World::default();
    let first = world.sign(&old, &model("llm", "v1"));
    let newest = world.sign(&new, &model("llm", "v3"));
    let renewed = world.sign(&new, &model("llm", "v1").renews(first));
    assert!(world.recommended(&[&new], newest).refusing().is_empty());
    // A claim that is not true does not hide a newer model.
    let claim = world.sign(&new, &model("llm", "v4").renews(first));
    world.recommended(&[&new], newest).is_refused_by(Rule::NotNewest);
    world.recommended(&[&new], renewed).is_refused_by(Rule::NotNewest);
    // Nor is it known where a model stands that makes such a claim.
    let judged = world.recommended(&[&new], claim);
    assert_eq!(judged.refusing(), [Rule::NotNewest, Rule::VersionNotRising]);
    assert_eq!(judged.verdict(Rule::NotNewest), Verdict::Unknown);
    assert!(judged.text(Rule::NotNewest).contains("that is another model"), "{judged:?}");
}

#[test]
fn times_that_nobody_tells_make_nothing_young() {
    let mut world = World::default();
    let first = world.sign(&alice(), &model("llm", "v1"));
    let again = world.sign(&alice(), &model("llm", "v1"));
    world.seen_mut(first).time = None;
    assert_eq!(world.recommended(&[&alice()], again).verdict(Rule::FirstSeen), Verdict::Unknown);
    world.recommended(&[&alice()], first).is_fine();
}

#[test]
fn the_days_of_the_policy_are_exact() {
    let mut world = World::default();
    world.sign(&alice(), &model("llm", "v1"));
    let again = world.on_day(7.0).sign(&alice(), &model("llm", "v1"));
    let judge = |days| {
        let first_seen = Some(DaysRule { action: Action::Refuse, days });
        let policy = ModelPolicy { first_seen, ..ModelPolicy::default() };
        world.judge(&policy, &[&alice()], again).verdict(Rule::FirstSeen)
    };
    assert_eq!((judge(7), judge(6)), (Verdict::Holds, Verdict::Against));
}

#[test]
fn questions_are_searched_by_the_facts_of_their_entries() {
    let id = treering_proto::hash::Hash([1; 32]);
    let by = || Some(By::Identity { identity: "a".to_owned(), issuer: Some("i".to_owned()) });
    let facts = |question: Question| {
        let facts = question.facts().into_iter();
        facts.map(|(tag, value)| format!("{}={value}", tag.name())).collect::<Vec<_>>()
    };
    let hex = "01".repeat(32);
    assert_eq!(facts(Question::Model(id)), [format!("model-id={hex}")]);
    let notices = Question::Notices { model_id: id, by: by() };
    let digest = format!("artifact-digest=treering-model-id:{hex}");
    assert_eq!(facts(notices), [digest.as_str(), "identity=a", "issuer=i"]);
    let named = Question::Named { name: "n".to_owned(), by: Some(By::Key(id)) };
    assert_eq!(facts(named), ["subject-name=n".to_owned(), format!("public-key={hex}")]);
    let distinct: BTreeSet<&str> = WEIGHT_EXTENSIONS.into_iter().collect();
    assert_eq!(distinct.len(), WEIGHT_EXTENSIONS.len());
}
