//! A log that answers wrongly, or not at all, while it is asked.

use serde_json::json;

use super::*;

/// A world with a model and a revocation, which the log is about to lie about.
fn world() -> (World, Subject, [Question; 3]) {
    let world = World::new(20);
    let llama = model("llama", "w");
    let own = world.say(&world.alice, llama.to_payload());
    world.revoke(&world.alice, own, &llama);
    let subject = world.subject(own, &llama);
    let model_id = model_id(&llama);
    let named = Question::Named { name: "llama".to_owned(), by: None };
    let notices = Question::Notices { model_id, by: None };
    (world, subject, [Question::Model(model_id), notices, named])
}

#[tokio::test]
async fn an_entry_that_is_not_in_the_tree_is_an_alarm() {
    let (world, subject, _) = world();
    world.tamper_json("/entries/20", |json| {
        json["canonicalizedBody"] = "e30=".into();
    });
    let error = world.gather(&subject).await.unwrap_err();
    assert!(matches!(&error, StatusError::WrongProof { index, .. } if index.get() == 20));
    assert_eq!(error.exit(), Exit::Alarm);
}

#[tokio::test]
async fn a_wrong_proof_beside_right_tiles_is_made_good_and_with_wrong_tiles_an_alarm() {
    let (world, subject, questions) = world();
    let spoil = |json: &mut serde_json::Value| {
        json["inclusionProof"]["hashes"][0] = treering_proto::encoding::to_base64(&[7; 32]).into();
    };
    world.tamper_json("/entries/", spoil);
    let history = world.gather(&subject).await.unwrap().history;
    assert!(questions.iter().all(|question| matches!(history.answers[question], Answer::All(_))));
    *world.served.tamper.lock().unwrap() = Some(Box::new(move |line, body| {
        if line.contains("/tile/0") {
            return Some(body.iter().map(|byte| byte ^ 1).collect());
        }
        if !line.contains("/entries/") {
            return Some(body);
        }
        let mut json = serde_json::from_slice(&body).unwrap();
        spoil(&mut json);
        Some(serde_json::to_vec(&json).unwrap())
    }));
    let error = world.gather(&subject).await.unwrap_err();
    assert!(matches!(error, StatusError::WrongProof { .. }), "{error}");
}

#[tokio::test]
async fn a_search_that_names_another_entry_or_one_that_does_not_match_is_refused() {
    let (world, subject, _) = world();
    world.tamper_json("/search", |json| {
        if let Some(hit) = json["entries"].get_mut(0) {
            hit["entryId"] = "0".repeat(80).into();
        }
    });
    let error = world.gather(&subject).await.unwrap_err();
    assert!(matches!(error, StatusError::OtherEntry { .. }), "{error}");
    assert_eq!(error.exit(), Exit::NotVerified);
    let other = world.sign(&world.bob, "other", "o");
    let id = other.leaf.to_hex();
    world.tamper_json("/search?artifact-digest", move |json| {
        let hit = json!({"index": other.index.get().to_string(), "entryId": id, "kind": "dsse",
            "version": "0.0.1", "time": TIME});
        json["entries"].as_array_mut().unwrap().push(hit);
    });
    let error = world.gather(&subject).await.unwrap_err();
    assert!(matches!(&error, StatusError::NoMatch { index, .. } if *index == other.index));
    assert!(error.to_string().contains("artifact-digest=treering-model-id:"), "{error}");
}

#[tokio::test]
async fn hidden_hits_are_the_logs_word_which_judging_doubts_where_the_entry_itself_is_hidden() {
    let (world, subject, [question, ..]) = world();
    world.tamper_json("/search?model-id", |json| json["entries"] = json!([]));
    let history = world.gather(&subject).await.unwrap().history;
    assert_eq!(history.answers[&question], Answer::All(Vec::new()));
    let signers = world.signers();
    let policy = &world.policy;
    let believed = Believed { policy, signers: &signers };
    let findings = crate::history::judge(believed, &subject, Some(&history), TIME);
    let first = &findings[0];
    assert_eq!(first.verdict, crate::history::Verdict::Unknown, "{}", first.why);
}

#[tokio::test]
async fn a_search_of_a_smaller_tree_answers_nothing() {
    let (world, subject, questions) = world();
    world.served.log.lock().unwrap().searched = Some(21);
    let gathered = world.gather(&subject).await.unwrap();
    for question in &questions {
        let why = unknown(&gathered.history.answers[question]);
        assert_eq!(why, "the log searched only 21 entries of 22");
        assert_eq!(gathered.status.replies[question].searched, 21);
    }
    assert!(gathered.history.seen.is_empty());
}

#[tokio::test]
async fn a_statement_that_is_missing_or_foreign_leaves_the_question_open() {
    for forged in [false, true] {
        let (world, subject, [about, notices, named]) = world();
        {
            let mut log = world.served.log.lock().unwrap();
            let is_notice = |payload: &Vec<u8>| payload.windows(6).any(|part| part == b"revoke");
            let hash = *log.statements.iter().find(|(_, payload)| is_notice(payload)).unwrap().0;
            match forged {
                true => drop(log.statements.insert(hash, b"{}".to_vec())),
                false => drop(log.statements.remove(&hash)),
            }
        }
        let gathered = world.gather(&subject).await.unwrap();
        let history = gathered.history;
        assert!(matches!(history.answers[&about], Answer::All(_)));
        for question in [notices, named] {
            let why = unknown(&history.answers[&question]);
            assert_eq!(why, "the statement of entry 21 is not there");
        }
        let opaque = &history.seen[&LeafIndex::new(21).unwrap()];
        assert_eq!((&opaque.what, opaque.signed_by.len()), (&What::Opaque, 0));
        assert_eq!(history.remarks, ["the statement of entry 21 is not there"]);
    }
}

#[tokio::test]
async fn what_the_log_does_not_answer_is_said_and_the_rest_is_still_known() {
    for part in ["/search?artifact-digest", "/entries/21"] {
        let (world, subject, [about, notices, _]) = world();
        world.tamper(part, |_| None);
        let gathered = world.gather(&subject).await.unwrap();
        assert!(matches!(gathered.history.answers[&about], Answer::All(_)));
        let why = unknown(&gathered.history.answers[&notices]);
        assert!(why.starts_with("the log has no /api/treering/v1/"), "{why}");
        let read = Status::parse(&gathered.status.format()).unwrap();
        assert_eq!(read, gathered.status);
    }
    let (world, subject, questions) = world();
    world.tamper("/statements", |_| None);
    let history = world.gather(&subject).await.unwrap().history;
    assert!(questions.iter().all(|q| matches!(history.answers[q], Answer::Unknown(_))));
    assert!(history.seen.is_empty());
}

#[tokio::test]
async fn pages_that_go_nowhere_backwards_or_on_for_ever_are_no_answer() {
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 5] = [
        |json| json["next"] = "0".into(),
        |json| json["treeSize"] = "many".into(),
        |json| json["next"] = "x".into(),
        |json| {
            let mut entries = json["entries"].as_array().unwrap().clone();
            entries.extend(entries.clone());
            json["entries"] = entries.into();
        },
        |json| {
            if let Some(hit) = json["entries"].get_mut(0) {
                hit["index"] = "-1".into();
            } else {
                json["treeSize"] = "0".into();
            }
        },
    ];
    for change in changes {
        let (world, subject, questions) = world();
        world.tamper_json("/search", change);
        let history = world.gather(&subject).await.unwrap().history;
        for question in &questions {
            unknown(&history.answers[question]);
        }
    }
    let (world, subject, [about, ..]) = world();
    for at in 0..200 {
        world.served.log.lock().unwrap().append(format!("later {at}").into_bytes());
    }
    let next = std::sync::atomic::AtomicU64::new(1);
    world.tamper_json("/search?model-id", move |json| {
        json["entries"] = json!([]);
        let next = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        json["next"] = next.to_string().into();
    });
    let history = world.gather(&subject).await.unwrap().history;
    assert_eq!(unknown(&history.answers[&about]), "the search has more than 100 pages");
}
