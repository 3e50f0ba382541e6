use treering_proto::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::hash::sha256;
use treering_proto::model_statement::{ModelStatement, Resource};

use super::*;
use crate::private_key::{Curve, PrivateKey};
use crate::test_log::{Fault, Served, TestLog};

fn signed() -> (Envelope, Verifier) {
    let key = PrivateKey::generate(Curve::P384).unwrap();
    let files = vec![Resource { name: "a".to_owned(), digest: sha256(b"x").0.to_vec() }];
    let statement = ModelStatement::new_files("m", files, Vec::new(), None).unwrap();
    let payload = statement.to_payload();
    let signature = key.sign(&pae(IN_TOTO_PAYLOAD_TYPE, &payload)).unwrap();
    let envelope = Envelope::new(IN_TOTO_PAYLOAD_TYPE, payload, signature);
    (envelope, Verifier::PublicKey(Box::new(key.public_key().clone())))
}

async fn send(
    served: &Served,
    signed: &(Envelope, Verifier),
) -> Result<(TransparencyLogEntry, Novelty), SubmitError> {
    let (transport, trust) = (served.transport(), served.trust(Vec::new()));
    let submitted = submit(&LogReader::new(&transport, &trust), &signed.0, &signed.1).await?;
    Ok((submitted.entry, submitted.novelty))
}

fn posts(served: &Served) -> usize {
    served.asked().iter().filter(|request| request.starts_with("POST")).count()
}

#[tokio::test]
async fn an_envelope_is_logged_once_however_often_it_is_sent() {
    let served = TestLog::filled(1, 3).serve();
    let signed = signed();
    let (entry, novelty) = send(&served, &signed).await.unwrap();
    assert_eq!((entry.log_index.get(), novelty), (3, Novelty::New));
    let (again, novelty) = send(&served, &signed).await.unwrap();
    assert_eq!((again, novelty), (entry, Novelty::Known));
    assert_eq!(served.log.lock().unwrap().bodies.len(), 4);
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_before_anything_is_sent_again() {
    let served = TestLog::filled(1, 3).serve();
    served.faults.lock().unwrap().push(Fault::LoseAnswer);
    let (entry, _) = send(&served, &signed()).await.unwrap();
    assert_eq!(entry.log_index.get(), 3);
    assert_eq!(posts(&served), 1);
    assert!(served.asked()[1].starts_with("GET /api/v1/log/entries/"));
}

#[tokio::test]
async fn a_lost_request_and_a_busy_log_are_tried_again() {
    let served = TestLog::filled(1, 3).serve();
    served.faults.lock().unwrap().extend([Fault::Busy, Fault::LoseRequest, Fault::Busy]);
    let (entry, novelty) = send(&served, &signed()).await.unwrap();
    assert_eq!((entry.log_index.get(), novelty), (3, Novelty::New));
    assert_eq!(posts(&served), 4);
}

#[tokio::test]
async fn after_something_was_sent_no_error_says_that_it_is_not_logged() {
    // The answer is lost, and from then on the log answers no look-up.
    let served = TestLog::filled(1, 3).serve();
    served.faults.lock().unwrap().extend([Fault::LoseAnswer, Fault::HideEntries]);
    let error = send(&served, &signed()).await.unwrap_err();
    assert!(matches!(error, SubmitError::Unsure(_)), "{error}");
    assert_eq!(posts(&served), 1);
    // It is lost on the way, and the second request is refused.
    let served = TestLog::filled(1, 3).serve();
    served.faults.lock().unwrap().extend([Fault::LoseRequest, Fault::Refuse(400)]);
    let error = send(&served, &signed()).await.unwrap_err();
    assert!(matches!(error, SubmitError::Unsure(_)), "{error}");
    // It is taken, and the proof is not given.
    let served = TestLog::filled(1, 3).serve();
    served.faults.lock().unwrap().extend([Fault::Take, Fault::HideEntries]);
    let error = send(&served, &signed()).await.unwrap_err();
    let SubmitError::Unproven { index, promised, .. } = error else { panic!("{error}") };
    assert_eq!((index.get(), promised.unwrap().index), (3, index));
}

#[tokio::test]
async fn a_refusal_a_wrong_url_and_a_slow_log_are_told_apart() {
    for (status, expected) in [(400, "refused"), (404, "no log"), (408, "log")] {
        let served = TestLog::filled(1, 3).serve();
        served.faults.lock().unwrap().push(Fault::Refuse(status));
        let found = match send(&served, &signed()).await.unwrap_err() {
            SubmitError::Refused { .. } => "refused",
            SubmitError::NoLog => "no log",
            SubmitError::Log(LogError::Refused { status: 408, .. }) => "log",
            other => panic!("{other}"),
        };
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_log_without_rekor_v1_gets_the_envelope_through_rekor_v2() {
    let served = TestLog::filled(1, 3).serve();
    let signed = signed();
    let v1_closed = || served.faults.lock().unwrap().push(Fault::Refuse(501));
    v1_closed();
    let (entry, novelty) = send(&served, &signed).await.unwrap();
    assert_eq!((entry.log_index.get(), novelty), (3, Novelty::New));
    let logged = treering_proto::entry::Entry::parse(&entry.canonicalized_body).unwrap();
    assert_eq!((logged.kind().kind(), logged.kind().version()), ("dsse", "0.0.2"));
    v1_closed();
    let (again, novelty) = send(&served, &signed).await.unwrap();
    assert_eq!((again, novelty), (entry, Novelty::Known));
    // A lost answer is looked up here, too.
    v1_closed();
    served.faults.lock().unwrap().push(Fault::LoseAnswer);
    let (entry, _) = send(&served, &self::signed()).await.unwrap();
    assert_eq!(entry.log_index.get(), 4);
    assert_eq!(posts(&served), 6, "one to each face each time");
}

#[tokio::test]
async fn what_was_logged_before_its_face_was_closed_is_not_logged_through_the_other() {
    let served = TestLog::filled(1, 3).serve();
    let signed = signed();
    let (entry, novelty) = send(&served, &signed).await.unwrap();
    assert_eq!(novelty, Novelty::New);
    served.faults.lock().unwrap().push(Fault::Refuse(501));
    assert_eq!(send(&served, &signed).await.unwrap(), (entry, Novelty::Known));
    assert_eq!(posts(&served), 2, "none to the other face");
}

#[tokio::test]
async fn a_log_that_takes_nothing_through_any_face_says_so_at_once() {
    for second in [501, 405] {
        let served = TestLog::filled(1, 3).serve();
        served.faults.lock().unwrap().extend([Fault::Refuse(501), Fault::Refuse(second)]);
        let error = send(&served, &signed()).await.unwrap_err();
        assert!(matches!(error, SubmitError::Refused { .. }), "{error}");
        assert_eq!(posts(&served), 2);
    }
}

#[tokio::test]
async fn what_the_log_would_refuse_is_not_sent() {
    let served = TestLog::filled(1, 3).serve();
    let (mut envelope, verifier) = signed();
    envelope.payload.push(b' ');
    let error = send(&served, &(envelope, verifier)).await.unwrap_err();
    assert!(matches!(error, SubmitError::Entry(EntryError::SignatureInvalid)), "{error}");
    assert_eq!(served.asked(), [""; 0]);
}

#[test]
fn entry_ids_end_in_the_leaf() {
    let leaf = sha256(b"x");
    let tree = "0000000000001267";
    assert!(is_entry_id(&format!("{tree}{leaf}"), leaf));
    for id in [leaf.to_hex(), format!("{tree}{}", sha256(b"y")), format!("g{tree}{leaf}")] {
        assert!(!is_entry_id(&id, leaf), "{id}");
    }
}
