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
    let gap = gathered.gap(&asked).unwrap();
    assert!(gap.ends_with(", and 4 more questions: there were too many to ask"), "{gap}");
    assert_eq!(gathered.gap(&asked[..QUESTIONS_MAX]), None);
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

/// A status about `count` entries, each by somebody else, of one statement of about `len` bytes.
fn copies(world: &World, count: usize, len: usize) -> Status {
    let mut payload = model("llama", "w").to_payload();
    payload.extend(vec![b' '; len]);
    let said: Vec<EntryRef> =
        (0..count).map(|_| world.say(&Author::new(), payload.clone())).collect();
    let log = world.served.log.lock().unwrap();
    let body = |entry: &EntryRef| log.bodies[entry.index.get() as usize].clone();
    let evident = |entry| (EntryRef::clone(entry).index, Evident::new(body(entry), vec![], None));
    Status {
        note: "note".to_owned(),
        replies: BTreeMap::new(),
        entries: said.iter().map(evident).collect(),
        statements: BTreeMap::from([(treering_proto::hash::sha256(&payload), payload)]),
    }
}

#[tokio::test]
async fn each_entry_is_charged_for_the_statement_that_it_shares() {
    let world = World::new(0);
    let status = copies(&world, 3, 4_000_000);
    assert!((12_000_000..12_100_000).contains(&status.content_bytes()));
    // One statement after another would be read, though the file holds only one.
    let mut large = status.clone();
    let [body, more] = [0, 1].map(|at| status.entries[&LeafIndex::new(at).unwrap()].body.clone());
    for at in 0..17 {
        let body = if at % 2 == 0 { &body } else { &more };
        let index = LeafIndex::new(at).unwrap();
        large.entries.insert(index, Evident::new(body.clone(), vec![], None));
    }
    assert!(matches!(Status::parse(&large.format()), Err(StatusError::TooLong)));
    assert_eq!(Status::parse(&status.format()).unwrap(), status);
    let asker_world = World::new(0);
    let llama = model("llama", "w");
    copies(&asker_world, 5, 30_000);
    let own = asker_world.say(&asker_world.alice, llama.to_payload());
    let (trust, transport) = (asker_world.trust(), asker_world.served.transport());
    let (log, head) = (LogReader::new(&transport, &trust), asker_world.head());
    let question = Question::Model(model_id(&llama));
    let mut asker = Asker::new(&log, &trust, &head, &[]);
    asker.question_bytes_max = 100_000;
    let open = |_: &History| Asked::of(vec![question.clone()]);
    let gathered = asker.gather(open).await.unwrap();
    let Answer::Oldest(oldest) = &gathered.history.answers[&question] else {
        panic!("they do not fit")
    };
    assert!(oldest.len() == 3 && !oldest.contains(&own.index), "{oldest:?}");
}

#[tokio::test]
async fn what_was_read_in_one_round_is_not_read_again_in_the_next() {
    let world = World::new(3);
    let llama = model("llama", "w");
    let own = world.say(&world.alice, llama.to_payload());
    let mut status = world.gather(&world.subject(own, &llama)).await.unwrap().status;
    let (trust, mut known) = (world.trust(), super::super::prove::Known::default());
    let mut prove = |status: &Status| status.prove_more(&trust, &[], Source::Log, &mut known);
    let whole = prove(&status).unwrap().history;
    // Only whoever reads it again would notice.
    let proof = std::mem::take(&mut status.entries.get_mut(&own.index).unwrap().proof);
    assert_eq!(prove(&status).unwrap().history.seen, whole.seen);
    // What is asked since is compared, and a statement that came or went is noticed.
    let mut changed = status.clone();
    let answer = Answer::All(vec![own.index]);
    changed.replies.insert(Question::Weight("x".to_owned()), Reply { searched: 4, answer });
    assert!(matches!(prove(&changed), Err(StatusError::NoMatch { .. })));
    status.entries.get_mut(&own.index).unwrap().proof = proof;
    let statements = std::mem::take(&mut status.statements);
    let without = prove(&status).unwrap().history;
    assert_eq!(without.seen[&own.index].what, What::Opaque);
    status.statements = statements;
    assert_eq!(prove(&status).unwrap().history.seen, whole.seen);
}
