//! What is asked of an honest log, and what becomes of the answers.

use super::*;

#[tokio::test]
async fn everything_that_a_policy_needs_is_gathered_and_proven_across_tiles() {
    let world = World::new(250);
    let llama = model("llama", "w");
    let first = world.sign(&world.bob, "llama", "w");
    let own = world.say(&world.alice, llama.to_payload());
    let newer = world.sign(&world.alice, "llama", "w2");
    let elsewhere = world.sign(&world.alice, "other", "w");
    for at in 0..20 {
        world.served.log.lock().unwrap().append(format!("later {at}").into_bytes());
    }
    let revoked = world.revoke(&world.bob, own, &llama);
    world.sign(&world.alice, "unrelated", "u");
    let subject = world.subject(own, &llama);
    let gathered = world.gather(&subject).await.unwrap();
    let history = &gathered.history;
    let id = model_id(&llama);
    let answers = [
        (Question::Model(id), Answer::All(indexes(&[first, own, elsewhere]))),
        (Question::Notices { model_id: id, by: None }, Answer::All(indexes(&[revoked]))),
        (
            Question::Named { name: "llama".to_owned(), by: None },
            Answer::All(indexes(&[first, own, newer, revoked])),
        ),
        (Question::Weight(subject.weights[0].clone()), Answer::Oldest(indexes(&[first]))),
        (Question::Signed(subject.digest), Answer::All(Vec::new())),
    ];
    assert_eq!(history.answers, BTreeMap::from(answers));
    assert_eq!(history.seen.len(), 5);
    for (index, seen) in &history.seen {
        assert_eq!(seen.entry.index, *index);
        assert_eq!(seen.time.unwrap().seconds, TIME);
        let who = if [first, revoked].contains(&seen.entry) { &world.bob } else { &world.alice };
        assert_eq!(seen.signed_by.len(), 1);
        assert!(seen.signed_by[0].is_accepted_by(&who.rule("x")));
    }
    assert!(matches!(&history.seen[&revoked.index].what, What::Notice(n) if n.about == own));
    assert!(matches!(&history.seen[&newer.index].what, What::Model(_)));
    assert!(history.remarks.is_empty(), "{:?}", history.remarks);
    assert_eq!(history.size, world.head().head().size);
}

#[tokio::test]
async fn what_is_written_reads_back_and_proves_the_same() {
    let world = World::new(3);
    let llama = model("llama", "w");
    let own = world.say(&world.alice, llama.to_payload());
    world.revoke(&world.alice, own, &llama);
    let gathered = world.gather(&world.subject(own, &llama)).await.unwrap();
    let bytes = gathered.status.format();
    assert_eq!(Status::parse(&bytes).unwrap(), gathered.status);
    assert_eq!(Status::parse(&bytes).unwrap().format(), bytes);
    let read = history_from_status(&bytes, &world.trust(), &[], TIME).unwrap();
    assert_eq!(read.history.source, Source::StatusProof);
    assert_eq!(read.history.answers, gathered.history.answers);
    assert_eq!(read.history.seen, gathered.history.seen);
    assert_eq!(read.history.size, gathered.history.size);
    assert_eq!(read.head.note_bytes(), world.head().note_bytes());
}

#[tokio::test]
async fn every_answer_is_about_the_tree_of_the_checkpoint_though_the_log_grows() {
    let world = World::new(300);
    let llama = model("llama", "w");
    let own = world.say(&world.alice, llama.to_payload());
    let head = world.head();
    for at in 0..40 {
        world.sign(&world.alice, "llama", &format!("later {at}"));
    }
    world.revoke(&world.alice, own, &llama);
    let subject = world.subject(own, &llama);
    let gathered = world.gather_to(&head, &subject).await.unwrap();
    let model_id = model_id(&llama);
    let notices = Question::Notices { model_id, by: None };
    assert_eq!(gathered.history.answers[&notices], Answer::All(Vec::new()));
    let named = Question::Named { name: "llama".to_owned(), by: None };
    assert_eq!(gathered.history.answers[&named], Answer::All(indexes(&[own])));
    assert!(world.served.asked().iter().any(|line| line.starts_with("GET /tile/0")));
}

#[tokio::test]
async fn where_anybody_did_too_much_each_person_is_asked_about() {
    let world = World::new(0);
    let llama = model("llama", "w");
    let own = world.say(&world.alice, llama.to_payload());
    let spam = Author::new();
    for at in 0..110 {
        world.sign(&spam, "llama", &format!("spam {at}"));
    }
    let newer = world.sign(&world.alice, "llama", "w2");
    let subject = world.subject(own, &llama);
    let history = world.gather(&subject).await.unwrap().history;
    let named = |by| Question::Named { name: "llama".to_owned(), by };
    let Answer::Oldest(oldest) = &history.answers[&named(None)] else { panic!("all of them") };
    assert_eq!(oldest.len(), named(None).wanted().oldest);
    let alice = subject.signed_by.by().remove(0);
    assert_eq!(history.answers[&named(Some(alice))], Answer::All(indexes(&[own, newer])));
    assert!(history.seen.len() < 20, "what is not needed is not fetched: {}", history.seen.len());
}

#[tokio::test]
async fn a_value_that_is_too_long_for_a_fact_is_found_nowhere() {
    let world = World::new(2);
    let (trust, transport) = (world.trust(), world.served.transport());
    let log = LogReader::new(&transport, &trust);
    let question = Question::Named { name: "x".repeat(2_000), by: None };
    let asked = Asked::of(vec![question.clone()]);
    let open = |_: &History| asked.clone();
    let head = world.head();
    let gathered = Asker::new(&log, &trust, &head, &[]).gather(open).await.unwrap();
    assert_eq!(gathered.history.answers[&question], Answer::All(Vec::new()));
    assert!(world.served.asked().is_empty(), "nothing had to be asked");
}

#[tokio::test]
async fn what_was_signed_as_something_else_is_no_statement_and_hides_nothing() {
    let world = World::new(0);
    let llama = model("llama", "w");
    let own = world.say(&world.alice, llama.to_payload());
    let payload = Statement::parse(&llama.to_payload()).map(|_| llama.to_payload()).unwrap();
    let other = world.admit(&world.bob.envelope("application/x", payload));
    let history = world.gather(&world.subject(own, &llama)).await.unwrap().history;
    let hits = indexes(&[own, other]);
    assert_eq!(history.answers[&Question::Model(model_id(&llama))], Answer::All(hits));
    let seen = &history.seen[&other.index];
    assert_eq!((&seen.what, seen.signed_by.len()), (&What::Other, 0));
    assert_eq!(history.remarks.len(), 1);
}
