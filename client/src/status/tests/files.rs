//! What a file that somebody changed, or made, proves.

use ed25519_dalek::SigningKey;
use treering_proto::encoding::to_base64;
use treering_proto::note::NoteKey;

use super::*;

/// A file about a model, its revocation and a stranger's signature, and who it is for.
async fn small() -> (World, Status, ModelStatement) {
    let mut world = World::new(3);
    world.witnesses = vec![5];
    world.served.log.lock().unwrap().witnesses = vec![(5, TIME)];
    let llama = model("llama", "w");
    let own = world.say(&world.alice, llama.to_payload());
    world.sign(&world.bob, "llama", "w");
    world.revoke(&world.alice, own, &llama);
    let status = world.gather(&world.subject(own, &llama)).await.unwrap().status;
    (world, status, llama)
}

/// What such a file proves.
fn proven(status: &Status, trust: &TrustFile) -> Result<Proven, StatusError> {
    history_from_status(&status.format(), trust, &[], TIME)
}

#[tokio::test]
async fn no_changed_byte_changes_what_is_proven() {
    let (world, status, _) = small().await;
    let (trust, bytes) = (world.trust(), status.format());
    let whole = proven(&status, &trust).unwrap().history;
    let mut kept = 0;
    for at in 0..bytes.len() {
        for flip in [1, 0x20] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            if let Ok(read) = history_from_status(&changed, &trust, &[], TIME) {
                kept += 1;
                assert_eq!(read.history.answers, whole.answers, "byte {at}");
                assert_eq!(read.history.seen, whole.seen, "byte {at}");
                assert_eq!(read.head.note_bytes(), status.note.as_bytes(), "byte {at}");
            }
        }
    }
    assert!(kept < 5, "only space at the end means nothing, and {kept} changes were taken");
    for end in (0..bytes.len() - 1).step_by(11) {
        assert!(Status::parse(&bytes[..end]).is_err(), "cut at {end}");
    }
}

#[tokio::test]
async fn entries_proofs_and_statements_prove_themselves_whoever_wrote_the_sum() {
    let (world, status, _) = small().await;
    let trust = world.trust();
    let [own, other] = [3, 4].map(|at| LeafIndex::new(at).unwrap());
    let mut changed = status.clone();
    changed.entries.get_mut(&own).unwrap().proof[0] = Hash([7; 32]);
    let error = proven(&changed, &trust).unwrap_err();
    assert!(matches!(error, StatusError::WrongProof { index, .. } if index == own));
    assert_eq!(error.exit(), Exit::Alarm);
    // Another entry of the same log under this index.
    let mut changed = status.clone();
    changed.entries.insert(own, status.entries[&other].clone());
    assert!(matches!(proven(&changed, &trust), Err(StatusError::WrongProof { .. })));
    // An entry that is in the tree, and is no answer to the question.
    let mut changed = status.clone();
    let notices = changed.replies.iter_mut().find(|(q, _)| matches!(q, Question::Notices { .. }));
    notices.unwrap().1.answer = Answer::All(vec![own]);
    let error = proven(&changed, &trust).unwrap_err();
    assert!(matches!(error, StatusError::NoMatch { index, .. } if index == own), "{error}");
    // A statement that nothing commits to, with the true one and in its place.
    let foreign = Author::statement("llama", "w");
    let mut changed = status.clone();
    changed.statements.insert(treering_proto::hash::sha256(&foreign), foreign);
    let error = proven(&changed, &trust).unwrap_err();
    assert!(matches!(error, StatusError::Surplus { what: "a statement" }), "{error}");
    changed.statements.remove(status.statements.keys().next().unwrap());
    assert!(matches!(proven(&changed, &trust), Err(StatusError::Surplus { .. })));
}

#[tokio::test]
async fn what_is_left_out_of_a_file_is_missed_or_leaves_the_question_open() {
    let (world, status, llama) = small().await;
    let trust = world.trust();
    let revocation = LeafIndex::new(5).unwrap();
    let mut changed = status.clone();
    changed.entries.remove(&revocation);
    let error = proven(&changed, &trust).unwrap_err();
    assert!(matches!(error, StatusError::NoEntry { index } if index == revocation));
    assert_eq!(error.exit(), Exit::NotVerified);
    // An entry that no answer names is not there for nothing.
    let mut changed = status.clone();
    changed.replies.retain(|q, _| matches!(q, Question::Model(_)));
    let error = proven(&changed, &trust).unwrap_err();
    assert!(matches!(error, StatusError::Surplus { what: "an entry" }), "{error}");
    // Without its statement a revocation is no silence.
    let mut changed = status.clone();
    let is_notice = |payload: &Vec<u8>| payload.windows(6).any(|part| part == b"revoke");
    changed.statements.retain(|_, payload| !is_notice(payload));
    let history = proven(&changed, &trust).unwrap().history;
    let notices = Question::Notices { model_id: model_id(&llama), by: None };
    assert_eq!(unknown(&history.answers[&notices]), "the statement of entry 5 is not there");
    // Nor is an answer about a smaller tree.
    let mut changed = status;
    changed.replies.get_mut(&notices).unwrap().searched = 5;
    let history = proven(&changed, &trust).unwrap().history;
    let why = unknown(&history.answers[&notices]);
    assert_eq!(why, "the log searched only 5 entries of 6");
}

#[tokio::test]
async fn a_status_of_another_log_or_without_its_quorum_is_refused() {
    let (mut world, status, _) = small().await;
    let mut trust = world.trust();
    let other = SigningKey::from_bytes(&[9; 32]);
    trust.log.keys = vec![NoteKey::ed25519(ORIGIN, other.verifying_key().as_bytes()).unwrap()];
    let error = proven(&status, &trust).unwrap_err();
    assert!(matches!(error, StatusError::Checkpoint(_)), "{error}");
    assert_eq!(error.exit(), Exit::NotVerified);
    let mut trust = world.trust();
    trust.log.origin = "other.example".to_owned();
    assert!(matches!(proven(&status, &trust), Err(StatusError::Checkpoint(_))));
    world.witnesses = vec![5, 6];
    let error = proven(&status, &world.trust()).unwrap_err();
    assert!(matches!(error, StatusError::NoQuorum { size: 6 }), "{error}");
    assert_eq!(error.exit(), Exit::NotVerified);
}

#[tokio::test]
async fn a_status_below_or_beside_the_floor_is_refused() {
    let (world, status, _) = small().await;
    let mut trust = world.trust();
    trust.floor = Some(world.head());
    assert!(proven(&status, &trust).is_ok());
    world.sign(&world.bob, "later", "l");
    trust.floor = Some(world.head());
    let error = proven(&status, &trust).unwrap_err();
    assert!(matches!(error, StatusError::BelowFloor { size: 6, floor: 7 }), "{error}");
    let forked = TestLog::filled(1, 6);
    let note = forked.checkpoint(forked.size(), &[(5, TIME)]);
    trust.floor = Some(open_checkpoint(note.as_bytes(), ORIGIN, &trust.note_keys()).unwrap());
    let error = proven(&status, &trust).unwrap_err();
    assert_eq!((error.exit(), error.evidence().is_some()), (Exit::Alarm, true));
}

#[tokio::test]
async fn a_stale_status_is_refused_by_the_maximum_age_and_says_how_old_it_is() {
    let (world, status, _) = small().await;
    let mut trust = world.trust();
    assert_eq!(proven(&status, &trust).unwrap().history.head_time, Some(TIME));
    trust.max_checkpoint_age = Some(100);
    let bytes = status.format();
    let at = |now| history_from_status(&bytes, &trust, &[], now);
    assert!(at(TIME + 100).is_ok());
    let error = at(TIME + 101).unwrap_err();
    assert_eq!(error.exit(), Exit::Policy);
    assert!(error.to_string().contains("101 s ago; 100 s are allowed"), "{error}");
    assert_eq!(at(TIME - 301).unwrap_err().exit(), Exit::Unavailable, "our clock is behind");
}

#[tokio::test]
async fn rejects_malformed_files() {
    let (_, status, _) = small().await;
    let json: serde_json::Value = serde_json::from_slice(&status.format()).unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = json.clone();
        change(&mut json);
        json.as_object_mut().unwrap().remove("sum");
        let sum = treering_proto::hash::sha256(&treering_proto::canonical::to_canonical(&json));
        json["sum"] = sum.to_hex().into();
        Status::parse(json.to_string().as_bytes()).err().map(|error| error.to_string())
    };
    assert_eq!(refused(&|_| ()), None, "any spelling of the same JSON is taken");
    let changes: [&dyn Fn(&mut serde_json::Value); 22] = [
        &|json| json["more"] = 1.into(),
        &|json| json["schema"] = "treering.status/v2".into(),
        &|json| json["checkpoint"] = serde_json::Value::Null,
        &|json| json["checkpoint"] = "x".repeat((1 << 20) + 1).into(),
        &|json| json["answers"][0]["asked"]["more"] = 1.into(),
        &|json| json["answers"][0]["asked"] = serde_json::json!({}),
        &|json| json["answers"][0]["asked"] = serde_json::json!({"model": "00"}),
        &|json| json["answers"][0]["asked"]["by"] = serde_json::json!({"identity": "x"}),
        &|json| json["answers"][1]["asked"]["by"] = serde_json::json!({"issuer": "x"}),
        &|json| json["answers"][1]["asked"] = json["answers"][0]["asked"].clone(),
        &|json| json["answers"][0]["oldest"] = serde_json::json!([]),
        &|json| json["answers"][0]["all"] = serde_json::json!([4, 3]),
        &|json| json["answers"][0]["all"] = serde_json::json!([3, 3]),
        &|json| json["answers"][0]["all"] = (0..1_001).collect::<Vec<_>>().into(),
        &|json| json["answers"][0]["searched"] = (1_u64 << 53).into(),
        &|json| json["answers"][0]["searched"] = "6".into(),
        &|json| json["entries"][1] = json["entries"][0].clone(),
        &|json| json["entries"][0]["time"] = (TIME_MAX + 1).into(),
        &|json| json["entries"][0]["body"] = to_base64(&[0; 65_536]).into(),
        &|json| json["entries"][0]["proof"] = vec![to_base64(&[0; 32]); 64].into(),
        &|json| json["entries"][0]["proof"] = serde_json::json!(["AA=="]),
        &|json| json["statements"][1] = json["statements"][0].clone(),
    ];
    for (number, change) in changes.iter().enumerate() {
        assert!(refused(change).is_some(), "change {number}");
    }
    let reason = |why: &str| {
        let why = why.to_owned();
        refused(&move |json| {
            let answer = json["answers"][0].as_object_mut().unwrap();
            answer.remove("all");
            answer.insert("unknown".to_owned(), why.clone().into());
        })
    };
    assert_eq!(reason(&"x".repeat(REASON_LEN_MAX)), None);
    assert!(reason(&"x".repeat(REASON_LEN_MAX + 1)).is_some());
    assert!(reason("two\nlines").is_some() && reason("").is_some());
}
