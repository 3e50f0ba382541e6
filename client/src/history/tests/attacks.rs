//! Each attack beside the legitimate case that must pass.

use treering_proto::notice::NoticeKind;
use treering_proto::trust::ModelPolicy;
use treering_proto::trust::model_policy::{Action, ApprovalsRule, Rule};

use super::super::*;
use super::world::{Person, World, model};

fn alice() -> Person {
    Person::new("alice")
}

fn with_recovery(person: &Person) -> ModelPolicy {
    ModelPolicy { recovery: vec![person.rule.clone()], ..ModelPolicy::recommended() }
}

#[test]
fn the_first_model_of_a_name_is_fine() {
    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1").version("1"));
    world.recommended(&[&alice()], entry).is_fine();
}

#[test]
fn the_same_bytes_signed_again_later_are_refused_and_a_renewal_passes() {
    let mut world = World::default();
    let first = world.sign(&alice(), &model("llm", "v1"));
    let again = world.on_day(31.0).sign(&alice(), &model("llm", "v1"));
    let shown_as_new = world.recommended(&[&alice()], again);
    shown_as_new.is_refused_by(Rule::FirstSeen);
    let text = shown_as_new.text(Rule::FirstSeen);
    assert!(text.contains("entry 0, 31 days before entry 1"), "{text}");
    assert!(text.contains("by the log's word"), "{text}");
    // Up to the policy's days it is no lie.
    let soon = world.recommended(&[&alice()], first);
    soon.is_fine();

    let new_key = Person::new("alice, new key");
    let renewed = world.on_day(400.0).sign(&new_key, &model("llm", "v1").renews(first));
    world.recommended(&[&alice(), &new_key], renewed).is_fine();
    // The old key need not be accepted any more.
    world.recommended(&[&new_key], renewed).is_fine();
    let twice = world.on_day(800.0).sign(&new_key, &model("llm", "v1").renews(renewed));
    world.recommended(&[&new_key], twice).is_fine();
    // Renewing the entry that was passed off as new does not help it.
    let hidden = world.sign(&alice(), &model("llm", "v1").renews(again));
    world.recommended(&[&alice()], hidden).is_refused_by(Rule::FirstSeen);
}

#[test]
fn a_renewal_counts_only_for_an_older_entry_of_the_same_model_and_name() {
    let mut world = World::default();
    let first = world.sign(&alice(), &model("llm", "v1"));
    let other = world.sign(&alice(), &model("other", "v2"));
    let mut wrong = first;
    wrong.leaf = other.leaf;
    world.on_day(100.0);
    for (claim, renamed) in [(other, "llm"), (wrong, "llm"), (first, "new name")] {
        let entry = world.sign(&alice(), &model(renamed, "v1").renews(claim));
        let judged = world.recommended(&[&alice()], entry);
        assert_eq!(judged.verdict(Rule::FirstSeen), Verdict::Against);
        // Where it stands, nobody knows either.
        for rule in [Rule::FirstSeen, Rule::NotNewest, Rule::VersionNotRising] {
            assert!(judged.refusing().contains(&rule), "{judged:?}");
            let text = judged.text(rule);
            assert!(text.contains(&format!("renews entry {}: ", claim.index)), "{text}");
        }
    }
}

#[test]
fn an_older_version_is_refused_when_a_newer_is_logged_and_passes_when_approved() {
    let mut world = World::default();
    let old = world.sign(&alice(), &model("llm", "v1").version("1"));
    let new = world.on_day(9.0).sign(&alice(), &model("llm", "v2").version("2"));
    let replayed = world.recommended(&[&alice()], old);
    replayed.is_refused_by(Rule::NotNewest);
    assert!(replayed.text(Rule::NotNewest).contains("entry 1"), "{replayed:?}");
    world.recommended(&[&alice()], new).is_fine();

    // A stranger's approval is none.
    world.roll_back(&Person::new("mallory"), old, new);
    let judged = world.recommended(&[&alice()], old);
    judged.is_refused_by(Rule::NotNewest);
    assert!(judged.text(Rule::NotNewest).contains("does not count"), "{judged:?}");
    world.roll_back(&alice(), old, new);
    world.recommended(&[&alice()], old).is_fine();
    // It ends when something newer is logged.
    let newest = world.sign(&alice(), &model("llm", "v3").version("3"));
    let ended = world.recommended(&[&alice()], old);
    ended.is_refused_by(Rule::NotNewest);
    assert!(ended.text(Rule::NotNewest).contains("has ended"), "{ended:?}");
    world.recommended(&[&alice()], newest).is_fine();
}

#[test]
fn neither_copies_nor_renewals_of_the_old_make_it_newest_or_the_new_older() {
    let (mut world, new_key) = (World::default(), Person::new("new key"));
    let old = world.sign(&alice(), &model("llm", "v1"));
    let new = world.sign(&alice(), &model("llm", "v2"));
    let copied = world.sign(&alice(), &model("llm", "v1"));
    let renewed = world.sign(&new_key, &model("llm", "v1").renews(old));
    for people in [&[&alice(), &new_key][..], &[&new_key], &[&alice()]] {
        world.recommended(people, copied).is_refused_by(Rule::NotNewest);
        world.recommended(people, renewed).is_refused_by(Rule::NotNewest);
        world.recommended(people, new).is_fine();
    }
    // Keys were changed: all that is left of the old key are renewals, in any order.
    let new_renewed = world.sign(&new_key, &model("llm", "v2").renews(new));
    let old_renewed = world.sign(&new_key, &model("llm", "v1").renews(old));
    world.recommended(&[&new_key], new_renewed).is_fine();
    world.recommended(&[&new_key], old_renewed).is_refused_by(Rule::NotNewest);
}

#[test]
fn a_revoked_model_is_refused_whoever_signed_it_under_whatever_name() {
    let (mut world, recovery) = (World::default(), Person::new("recovery"));
    let bob = Person::new("bob");
    let entry = world.sign(&alice(), &model("llm", "v1"));
    let other = world.sign(&bob, &model("copy", "v1"));
    world.say(&alice(), entry, NoticeKind::Revoke);
    for entry in [entry, other] {
        let judged = world.recommended(&[&alice(), &bob], entry);
        judged.is_refused_by(Rule::Revoked);
        assert!(judged.text(Rule::Revoked).contains("entry 2"), "{judged:?}");
    }

    let entry = world.sign(&alice(), &model("llm", "v2"));
    world.say(&recovery, entry, NoticeKind::Revoke);
    world.judge(&with_recovery(&recovery), &[&alice()], entry).is_refused_by(Rule::Revoked);
    // To others it is nobody.
    world.recommended(&[&alice()], entry).is_fine();
}

#[test]
fn a_revocation_by_somebody_who_may_not_is_ignored_and_told() {
    let (mut world, bob) = (World::default(), Person::new("bob"));
    let mallory = Person::new("mallory");
    let entry = world.sign(&alice(), &model("llm", "v1"));
    world.say(&mallory, entry, NoticeKind::Revoke);
    // By a signer who is accepted, of a model that is not theirs.
    world.say(&bob, entry, NoticeKind::Revoke);
    // Of a signature of their own over the same bytes, which the log would admit.
    let own = world.sign(&mallory, &model("llm", "v1"));
    world.say(&mallory, own, NoticeKind::Revoke);
    let judged = world.recommended(&[&alice(), &bob], entry);
    judged.is_fine();
    for index in [1, 2, 4] {
        let ignored = format!("the revocation in entry {index} does not count");
        assert!(judged.text(Rule::Revoked).contains(&ignored), "{judged:?}");
    }
}

#[test]
fn a_revocation_that_cannot_be_read_or_is_not_shown_is_no_silence() {
    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1"));
    let models = vec![world.subject(entry).model.model_id];
    let unreadable = || What::UnreadableNotice {
        models: models.clone(),
        predicate_type: "urn:treering:predicate:revoke:v2".to_owned(),
        why: "later".to_owned(),
    };
    world.add(&Person::new("mallory"), unreadable());
    world.recommended(&[&alice()], entry).is_fine();
    world.add(&alice(), unreadable());
    let judged = world.recommended(&[&alice()], entry);
    assert_eq!(judged.verdict(Rule::Revoked), Verdict::Unknown);
    assert!(judged.text(Rule::Revoked).contains("cannot read"), "{judged:?}");

    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1"));
    let notice = world.say(&alice(), entry, NoticeKind::Revoke);
    world.withheld.push(notice.index);
    let judged = world.recommended(&[&alice()], entry);
    assert_eq!(judged.verdict(Rule::Revoked), Verdict::Unknown);
}

#[test]
fn a_notice_about_another_model_is_nothing_here_and_one_about_another_log_is_a_doubt() {
    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1"));
    let bad = world.sign(&alice(), &model("bad", "v0"));
    world.say(&alice(), bad, NoticeKind::Revoke);
    let elsewhere = world.say(&alice(), entry, NoticeKind::Revoke);
    let What::Notice(notice) = &mut world.seen_mut(elsewhere).what else { panic!("a notice") };
    notice.log = "other.example".to_owned();
    let judged = world.recommended(&[&alice()], entry);
    // A log that was begun anew has what was said of the old one.
    assert_eq!(judged.refusing(), [Rule::Revoked]);
    assert_eq!(judged.verdict(Rule::Revoked), Verdict::Unknown);
    assert!(judged.text(Rule::Revoked).contains("other.example"), "{judged:?}");
    // What strangers say of it is nothing.
    world.seen_mut(elsewhere).signed_by = vec![Person::new("mallory").who];
    let judged = world.recommended(&[&alice()], entry);
    judged.is_fine();
    assert!(judged.text(Rule::Revoked).contains("other.example"), "{judged:?}");
}

#[test]
fn the_same_bytes_under_another_name_or_signer_are_told_and_an_adapter_is_not() {
    let (mut world, bob) = (World::default(), Person::new("bob"));
    let base = model("base", "base bytes").weights(&["base weights"]);
    world.sign(&alice(), &base);
    world.on_day(60.0);
    let mut renamed = model("fresh", "base bytes");
    renamed.weights = base.weights.clone();
    let renamed_by_bob = world.sign(&bob, &renamed);
    // To who does not accept alice she is a stranger, who cannot have bob's model refused.
    let judged = world.recommended(&[&bob], renamed_by_bob);
    assert_eq!((judged.refusing(), judged.warning()), (vec![], vec![Rule::OtherSigner]));
    assert!(judged.text(Rule::FirstSeen).contains("is by a stranger"), "{judged:?}");
    let judged = world.recommended(&[&bob, &alice()], renamed_by_bob);
    judged.is_refused_by(Rule::FirstSeen);
    assert!(judged.text(Rule::FirstSeen).contains(&alice().who.describe()), "{judged:?}");
    let by_alice = world.sign(&alice(), &renamed);
    world.recommended(&[&alice()], by_alice).is_refused_by(Rule::FirstSeen);
    let taken_over = world.sign(&bob, &model("base", "other bytes"));
    assert_eq!(world.recommended(&[&bob], taken_over).warning(), [Rule::NewSigner]);

    // It has tokenizer and configuration of its base, which are no weights.
    let adapter = model("adapter", "adapter bytes").weights(&["adapter weights"]);
    let adapter = world.sign(&alice(), &adapter);
    world.recommended(&[&alice()], adapter).is_fine();
    // A model around old weights is told, not refused.
    let wrapped = model("wrapped", "base and more").weights(&["base weights", "more"]);
    let wrapped = world.sign(&alice(), &wrapped);
    let judged = world.recommended(&[&alice()], wrapped);
    assert_eq!((judged.refusing(), judged.warning()), (vec![], vec![Rule::WeightsFirstSeen]));
    assert!(judged.text(Rule::WeightsFirstSeen).contains("entry 0"), "{judged:?}");
}

#[test]
fn a_new_name_that_the_signer_announces_is_no_lie() {
    let mut world = World::default();
    let old = world.sign(&alice(), &model("llm", "v1"));
    world.on_day(90.0);
    let new = world.sign(&alice(), &model("llm-2024", "v1"));
    world.recommended(&[&alice()], new).is_refused_by(Rule::FirstSeen);
    world.supersede(&Person::new("mallory"), old, new);
    let judged = world.recommended(&[&alice()], new);
    judged.is_refused_by(Rule::FirstSeen);
    assert!(judged.text(Rule::FirstSeen).contains("does not count"), "{judged:?}");
    world.supersede(&alice(), old, new);
    world.recommended(&[&alice()], new).is_fine();
    assert_eq!(world.recommended(&[&alice()], old).warning(), [Rule::Superseded]);
}

#[test]
fn a_superseded_model_is_told_if_somebody_who_may_says_so() {
    let mut world = World::default();
    let old = world.sign(&alice(), &model("llm", "v1"));
    let new = world.sign(&alice(), &model("llm-next", "v2"));
    world.supersede(&Person::new("mallory"), old, new);
    world.recommended(&[&alice()], old).is_fine();
    world.supersede(&alice(), old, new);
    let judged = world.recommended(&[&alice()], old);
    assert_eq!((judged.refusing(), judged.warning()), (vec![], vec![Rule::Superseded]));
    assert!(judged.text(Rule::Superseded).contains("that of entry 1"), "{judged:?}");
    world.recommended(&[&alice()], new).is_fine();
}

#[test]
fn a_model_logged_as_a_digest_alone_is_told_and_escapes_no_other_rule() {
    let mut world = World::default();
    let hidden = model("llm", "hidden").version("1");
    let entry = world.sign_digest(&alice(), &hidden);
    // A stranger who shows the statement does not do it for the signer.
    for shown in [false, true] {
        if shown {
            world.sign(&Person::new("mallory"), &hidden);
        }
        let judged = world.recommended(&[&alice()], entry);
        assert_eq!(judged.warning(), [Rule::NoStatement]);
        // What the log does not know stands in no order.
        assert_eq!(judged.refusing(), [Rule::NotNewest, Rule::VersionNotRising]);
        assert_eq!(judged.verdict(Rule::NotNewest), Verdict::Unknown);
        assert!(judged.text(Rule::NotNewest).contains("treering submit"), "{judged:?}");
    }
    world.sign(&alice(), &hidden);
    world.recommended(&[&alice()], entry).is_fine();

    world.sign(&alice(), &model("llm", "v2").version("2"));
    world.recommended(&[&alice()], entry).is_refused_by(Rule::NotNewest);
    let low = world.sign_digest(&alice(), &model("llm", "v3").version("1.5.0"));
    let judged = world.recommended(&[&alice()], low);
    assert_eq!(judged.verdict(Rule::VersionNotRising), Verdict::Against);
    world.say(&alice(), low, NoticeKind::Revoke);
    assert!(world.recommended(&[&alice()], low).refusing().contains(&Rule::Revoked));
}

#[test]
fn a_lowered_version_is_refused_and_a_new_major_version_passes() {
    let mut world = World::default();
    world.sign(&alice(), &model("llm", "v1").version("1.9.0"));
    let major = world.sign(&alice(), &model("llm", "v2").version("2.0.0-rc.1"));
    world.recommended(&[&alice()], major).is_fine();
    for (at, low) in ["2.0.0-alpha", "2.0.0-rc.1", "1", "1.10.0"].into_iter().enumerate() {
        let entry = world.sign(&alice(), &model("llm", &format!("low {at}")).version(low));
        let judged = world.recommended(&[&alice()], entry);
        judged.is_refused_by(Rule::VersionNotRising);
        let text = judged.text(Rule::VersionNotRising);
        assert!(text.contains("2.0.0-rc.1") && text.contains("entry 1 "), "{text}");
    }
    let major = world.sign(&alice(), &model("llm", "v3").version("3"));
    world.recommended(&[&alice()], major).is_fine();
}

#[test]
fn an_old_model_that_is_signed_again_with_a_high_version_lowers_nothing_before_it() {
    let (mut world, new_key) = (World::default(), Person::new("new key"));
    let old = world.sign(&alice(), &model("llm", "v1").version("1"));
    let newest = world.sign(&alice(), &model("llm", "v2").version("2"));
    let again = world.sign(&alice(), &model("llm", "v1").version("3"));
    world.recommended(&[&alice()], newest).is_fine();
    world.recommended(&[&alice()], again).is_refused_by(Rule::NotNewest);
    // What comes after has to be above, and is told which entry said that.
    let low = world.sign(&alice(), &model("llm", "v3").version("2.5.0"));
    let judged = world.recommended(&[&alice()], low);
    judged.is_refused_by(Rule::VersionNotRising);
    let text = judged.text(Rule::VersionNotRising);
    assert!(text.contains("entry 2 ") && text.contains("version \"3\""), "{text}");
    // A renewal stands where the old one stands, and so does its version.
    let mut world = World::default();
    assert_eq!(world.sign(&alice(), &model("llm", "v1")), old);
    let newest = world.sign(&alice(), &model("llm", "v2").version("2"));
    world.sign(&new_key, &model("llm", "v1").version("3").renews(old));
    world.recommended(&[&alice(), &new_key], newest).is_refused_by(Rule::VersionNotRising);
}

#[test]
fn a_version_that_cannot_be_compared_is_said_to_be_so() {
    let mut world = World::default();
    let plain = world.sign(&alice(), &model("llm", "v0"));
    world.recommended(&[&alice()], plain).is_fine();
    let first = world.sign(&alice(), &model("llm", "v1").version("spring"));
    world.recommended(&[&alice()], first).is_fine();
    let numbered = world.sign(&alice(), &model("llm", "v2").version("1"));
    let judged = world.recommended(&[&alice()], numbered);
    judged.is_fine();
    assert!(judged.text(Rule::VersionNotRising).contains("cannot be compared"), "{judged:?}");
    for dodge in [model("llm", "v3"), model("llm", "v4").version("summer")] {
        let entry = world.sign(&alice(), &dodge);
        let judged = world.recommended(&[&alice()], entry);
        assert_eq!(judged.refusing(), [Rule::VersionNotRising]);
        assert_eq!(judged.verdict(Rule::VersionNotRising), Verdict::Unknown);
    }
    // Where only facts are known, the version is not.
    let entry = world.sign(&alice(), &model("llm", "v5").version("9"));
    let What::Model(model) = &mut world.seen_mut(numbered).what else { panic!("a model") };
    model.said = None;
    let judged = world.recommended(&[&alice()], entry);
    assert_eq!(judged.verdict(Rule::VersionNotRising), Verdict::Unknown);
}

#[test]
fn an_older_branch_passes_when_its_signer_approves_it() {
    let mut world = World::default();
    let newest = world.sign(&alice(), &model("llm", "v2").version("2.0.0"));
    let fixed = world.sign(&alice(), &model("llm", "v1 fixed").version("1.9.1"));
    world.recommended(&[&alice()], fixed).is_refused_by(Rule::VersionNotRising);
    world.roll_back(&alice(), newest, fixed);
    world.recommended(&[&alice()], newest).is_fine();
}

fn quorum(roles: &[(&str, &[&Person])], count: usize) -> ModelPolicy {
    let rules = |people: &[&Person]| people.iter().map(|person| person.rule.clone()).collect();
    let roles = roles.iter().map(|(role, people)| ((*role).to_owned(), rules(people))).collect();
    let approvals = Some(ApprovalsRule { action: Action::Refuse, count, roles });
    ModelPolicy { approvals, ..ModelPolicy::recommended() }
}

#[test]
fn one_person_approves_once_and_distinct_people_meet_the_quorum() {
    let (sam, kim) = (Person::new("sam"), Person::new("kim"));
    let policy = quorum(&[("security", &[&sam]), ("qa", &[&sam, &kim])], 2);
    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1"));
    let judge = |world: &World| world.judge(&policy, &[&alice()], entry);
    judge(&world).is_refused_by(Rule::Approvals);
    for role in ["security", "security", "qa"] {
        world.approve(&sam, entry, role);
    }
    let judged = judge(&world);
    judged.is_refused_by(Rule::Approvals);
    assert!(judged.text(Rule::Approvals).contains("1 distinct people"), "{judged:?}");
    // In a role that is not theirs, by a stranger, in a role that nobody has, about other bytes.
    world.approve(&kim, entry, "security");
    world.approve(&Person::new("mallory"), entry, "qa");
    world.approve(&kim, entry, "legal");
    let other = world.sign(&alice(), &model("other", "other"));
    world.approve(&kim, other, "qa");
    judge(&world).is_refused_by(Rule::Approvals);
    world.approve(&kim, entry, "qa");
    let judged = judge(&world);
    judged.is_fine();
    assert!(judged.text(Rule::Approvals).contains("2 people approved"), "{judged:?}");
}

#[test]
fn an_expired_certificate_holds_a_model_back_and_lets_none_pass() {
    let kim = Person::certified("kim@corp.example", 1);
    let mut late = Person::certified("kim@corp.example", 2);
    late.who.in_time = false;
    let policy = quorum(&[("qa", &[&kim])], 1);
    let mut world = World::default();
    let entry = world.sign(&kim, &model("llm", "v1"));
    world.approve(&late, entry, "qa");
    world.judge(&policy, &[&kim], entry).is_refused_by(Rule::Approvals);
    world.approve(&kim, entry, "qa");
    world.judge(&policy, &[&kim], entry).is_fine();
    let new = world.sign(&kim, &model("llm", "v2"));
    world.roll_back(&late, entry, new);
    world.judge(&policy, &[&kim], entry).is_refused_by(Rule::NotNewest);
    world.say(&late, entry, NoticeKind::Revoke);
    let judged = world.judge(&policy, &[&kim], entry);
    assert!(judged.refusing().contains(&Rule::Revoked), "{judged:?}");
}

#[test]
fn a_wrong_clock_on_the_signers_machine_changes_nothing() {
    // A certificate that is not valid yet, or no longer: what its holder logs stands in the line.
    let mut early = Person::certified("ci@corp.example", 1);
    early.who.in_time = false;
    let ci = Person::certified("ci@corp.example", 2);
    let mut world = World::default();
    let old = world.sign(&early, &model("llm", "v1"));
    let new = world.on_day(3.0).sign(&ci, &model("llm", "v2"));
    world.recommended(&[&ci], new).is_fine();
    world.recommended(&[&ci], old).is_refused_by(Rule::NotNewest);
    let newest = world.sign(&early, &model("llm", "v3"));
    world.recommended(&[&ci], newest).is_fine();
    world.recommended(&[&ci], new).is_refused_by(Rule::NotNewest);
}
