//! Huge answers.

use super::*;

/// A signature of a model with a statement of about `len` bytes.
fn sign_large(world: &World, who: &Author, weights: &str, len: usize) -> EntryRef {
    let mut payload = model("llama", weights).to_payload();
    payload.extend(vec![b' '; len]);
    world.say(who, payload)
}

#[tokio::test]
async fn of_statements_that_do_not_fit_the_oldest_are_kept_and_each_person_is_asked_about() {
    let world = World::new(0);
    let llama = model("llama", "w");
    let own = world.say(&world.alice, llama.to_payload());
    let spam = Author::new();
    for at in 0..20 {
        sign_large(&world, &spam, &format!("spam {at}"), 30_000);
    }
    let newer = world.sign(&world.alice, "llama", "w2");
    let subject = world.subject(own, &llama);
    let (trust, transport, signers) = (world.trust(), world.served.transport(), world.signers());
    let (log, head) = (LogReader::new(&transport, &trust), world.head());
    let believed = Believed { policy: &trust.model_policy, signers: &signers };
    let open =
        |history: &History| Asked::of(crate::history::questions(believed, &subject, history));
    let mut asker = Asker::new(&log, &trust, &head, &[]);
    asker.question_bytes_max = 100_000;
    let gathered = asker.gather(open).await.unwrap();
    let named = |by| Question::Named { name: "llama".to_owned(), by };
    let Answer::Oldest(oldest) = &gathered.history.answers[&named(None)] else {
        panic!("they do not fit")
    };
    assert_eq!(oldest.len(), 4, "the model, and three large ones");
    let alice = subject.signed_by.by().remove(0);
    let hits = indexes(&[own, newer]);
    assert_eq!(gathered.history.answers[&named(Some(alice))], Answer::All(hits));
    assert!(gathered.status.content_bytes() <= 110_000);
    assert_eq!(Status::parse(&gathered.status.format()).unwrap(), gathered.status);
}

#[tokio::test]
async fn no_more_questions_are_asked_than_a_file_holds() {
    let world = World::new(1);
    let (trust, transport) = (world.trust(), world.served.transport());
    let log = LogReader::new(&transport, &trust);
    // Too long for facts, so that no answer takes time.
    let question = |at: usize| Question::Named { name: format!("{at:02000}"), by: None };
    let all: Vec<Question> = (0..QUESTIONS_MAX + 5).map(question).collect();
    let asked = Asked::of(all);
    let open = |_: &History| asked.clone();
    let head = world.head();
    let gathered = Asker::new(&log, &trust, &head, &[]).gather(open).await.unwrap();
    assert_eq!(gathered.status.replies.len(), QUESTIONS_MAX);
    assert_eq!(gathered.history.answers.len(), QUESTIONS_MAX);
}

#[tokio::test]
async fn questions_that_never_end_end() {
    let world = World::new(1);
    let (trust, transport) = (world.trust(), world.served.transport());
    let log = LogReader::new(&transport, &trust);
    let mut round = 0;
    let open = |_: &History| {
        round += 1;
        Asked::of(vec![Question::Named { name: format!("{round:02000}"), by: None }])
    };
    let head = world.head();
    let gathered = Asker::new(&log, &trust, &head, &[]).gather(open).await.unwrap();
    assert_eq!(gathered.history.answers.len(), 8);
}
