use tokio::runtime::Runtime;

use super::*;
use crate::hammer::face::Face;
use crate::hammer::kind::Kind;
use crate::hammer::load::Load;
use crate::hammer::maker::{Recipe, make_all};
use crate::hammer::requests::Requests;
use crate::lying_log::{Lie, LyingLog, any_entry, log_of};

const COUNT: usize = 20;

/// Adds leaves to `log`, which tells `lie` before they are followed up.
fn added(log: &LyingLog, lie: Option<Lie>, wait_max: Duration) -> anyhow::Result<Integrated> {
    let key = LogKey::Identity(Box::new(log.scene().branch.keys().identity().clone()));
    let target = Target::new(log.address());
    let leaves = make_all(Recipe { kind: Kind::P256, face: Face::Add, per_key: 1 }, COUNT, 1);
    let leaves = Arc::new(leaves);
    Runtime::new().unwrap().block_on(async {
        let follower = Follower::start(target.clone(), key).await?;
        let load = Load::closed(target, 3, Requests::submit(Face::Add, leaves.clone()));
        let load = Load { kept_one_in: 1, time: Duration::from_secs(60), ..load };
        let measured = load.run().await?.faultless()?;
        lie.into_iter().for_each(|lie| log.tell(lie));
        follower.finish(&measured, &leaves, wait_max).await
    })
}

#[test]
fn every_leaf_is_where_the_server_said_it_would_be() {
    let log = LyingLog::show(log_of(250).1);
    let integrated = added(&log, None, INTEGRATION_TIME_MAX).unwrap();
    let right = Verdict { verified: COUNT, wrong: 0, first_wrong: None };
    assert_eq!(integrated.verdict, right);
    assert!(integrated.times.is_some());
}

#[test]
fn an_index_with_another_entry_is_wrong() {
    let log = LyingLog::show(log_of(250).1);
    let lie = Lie::EntryTile(257, any_entry().body().to_vec());
    let integrated = added(&log, Some(lie), INTEGRATION_TIME_MAX).unwrap();
    let verdict = integrated.verdict;
    assert_eq!((verdict.verified, verdict.wrong), (COUNT - 1, 1), "{verdict:?}");
}

#[test]
fn a_log_that_does_not_integrate_in_time_is_an_error() {
    let (_, branch) = log_of(3);
    let note = branch.newest().note.clone();
    let log = LyingLog::show(branch);
    log.tell(Lie::Checkpoint(note));
    let error = added(&log, None, Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("3 of 23"), "{error}");
}
