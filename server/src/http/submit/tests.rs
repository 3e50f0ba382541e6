use super::*;
use crate::http::route::Face;
use crate::http::test_app::TestApp;
use crate::http::v2::answer_time;
use crate::limits::{ANSWER_TIME_MAX, V2_ANSWER_TIME_MAX};
use crate::pool::{Depth, Listening, Logged};
use crate::test_log::entries;

/// Submits `entry` through Rekor v2, and waits as long as said.
async fn submit_for(
    log: &TestApp,
    listening: &Listening,
    entry: VerifiedEntry,
    time_max: Duration,
) -> Result<Submitted, Fault> {
    let mut visit = log.visit(Face::V2, listening).await;
    let room = log.app.budget.request(&visit.peer().guest);
    let body = RequestBody { bytes: Bytes::new(), _room: room };
    submit(&mut visit, body, move |_| Ok(entry), time_max).await
}

#[tokio::test]
async fn a_log_that_publishes_nothing_sends_away_in_time_and_takes_the_same_again() {
    let log = TestApp::new(false);
    let (app, entry) = (&log.app, entries(1).remove(0));
    // The time of the answer is a wait that a test does not need: none at all is over at once.
    let listening = Listening::default();
    let refused = submit_for(&log, &listening, entry.clone(), Duration::ZERO).await;
    let refused = refused.err().expect("nothing was published");
    assert_eq!((refused.status.as_u16(), refused.label), (503, "publish-timeout"));
    assert_eq!(app.pool.depth(), Depth { entries: 1, listening: 0 }, "it is still on its way");

    let again = submit_for(&log, &listening, entry.clone(), ANSWER_TIME_MAX);
    let publish = async {
        while app.pool.depth().listening == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            app.pool.next_batch(Duration::ZERO, Duration::ZERO).unwrap().len(),
            1,
            "it is there once"
        );
        let index = LeafIndex::new(0).unwrap();
        let snapshot = app.published.snapshot();
        app.pool.resolve(&entry, Logged { index, time: 0, snapshot, set: None });
    };
    let (submitted, ()) = tokio::join!(again, publish);
    let outcome = submitted.expect("it is published").outcome;
    assert!(matches!(outcome, Outcome::Logged(_)), "who asked again waited in its place");
    assert_eq!(app.pool.depth(), Depth::default());
}

/// sigstore-js gives up after 5 s and sends the same again; a quorum may take longer than 4 s.
#[test]
fn only_a_log_without_witnesses_answers_rekor_v2_within_the_time_of_its_least_patient_client() {
    assert_eq!(answer_time(&TestApp::new(false).app), V2_ANSWER_TIME_MAX);
    assert_eq!(answer_time(&TestApp::new(true).app), ANSWER_TIME_MAX);
}
