use super::*;
use crate::test_log::{TestLog, entries};

#[test]
fn a_batch_waits_for_those_who_are_announced_and_for_nobody_else() {
    const LONG: Duration = Duration::from_secs(600);
    let log = TestLog::new();
    let pool = Arc::new(Pool::new(log.store.clone(), Health::default()));
    let mut entries = entries(5);
    let listening = Listening::default();
    let submit = |arriving, entry| pool.submit_for(listening.submitter(), arriving, entry);
    let batch_len = || pool.next_batch(LONG, LONG).unwrap().len();
    // Alone, or with somebody who waits for another reason, nobody else is waited for.
    let _alone = submit(pool.arriving(), entries.remove(0)).unwrap();
    assert_eq!(batch_len(), 1);
    let (first, second, third) = (pool.arriving(), pool.arriving(), pool.arriving());
    let _first = submit(first, entries.remove(0)).unwrap();
    let taken = std::thread::scope(|scope| {
        let taken = scope.spawn(batch_len);
        while !pool.lock().is_gathering {
            std::thread::yield_now();
        }
        let _second = submit(second, entries.remove(0)).unwrap();
        drop(third);
        taken.join().unwrap()
    });
    assert_eq!(taken, 2, "the second was coming, the third came to nothing");

    let (slow, alone) = (pool.arriving(), pool.arriving());
    let _alone = submit(alone, entries.remove(0)).unwrap();
    let gathered = pool.next_batch(LONG, Duration::ZERO).unwrap();
    assert_eq!(gathered.len(), 1, "the time to wait is over");
    let _alone = submit(pool.arriving(), entries.remove(0)).unwrap();
    assert_eq!(batch_len(), 1, "who did not come the last time is waited for no more");
    drop(slow);
    let inner = pool.lock();
    assert_eq!((inner.arriving, inner.generation), (0, 1));
}

#[test]
fn the_first_who_still_waits_hears_that_the_entry_is_logged() {
    let log = TestLog::new();
    let pool = Arc::new(Pool::new(log.store.clone(), Health::default()));
    let entry = entries(1).remove(0);
    let gave_up = pool.submit(entry.clone()).unwrap();
    let mut waits = pool.submit(entry.clone()).unwrap();
    let mut later = pool.submit(entry.clone()).unwrap();
    assert_eq!(
        pool.next_batch(Duration::ZERO, Duration::ZERO).unwrap().len(),
        1,
        "it is on its way once"
    );
    drop(gave_up);
    let index = LeafIndex::new(0).unwrap();
    let snapshot = Arc::new(log.snapshot());
    pool.resolve(&entry, Logged { index, time: 0, snapshot, set: None });
    assert!(matches!(waits.try_recv(), Ok(Outcome::Logged(logged)) if logged.index == index));
    assert!(matches!(later.try_recv(), Ok(Outcome::Duplicate(at)) if at == index));
    assert_eq!(pool.depth(), Depth::default());
}

/// What a submitter did before its entry was logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Did {
    Listen,
    HangUp,
    GiveUp,
}

/// What each of those who submitted one entry, and then did this, hears in the end.
fn heard(log: &TestLog, did: &[Did]) -> Vec<Option<Outcome>> {
    let pool = Arc::new(Pool::new(log.store.clone(), Health::default()));
    let entry = entries(1).remove(0);
    let clients: Vec<_> = did
        .iter()
        .map(|did| {
            let listening = Listening::default();
            let receiver =
                pool.submit_for(listening.submitter(), pool.arriving(), entry.clone()).unwrap();
            (did, listening, receiver)
        })
        .collect();
    assert_eq!(pool.depth(), Depth { entries: 1, listening: did.len() });
    // Dropping is hanging up, or giving up.
    let receivers = clients.into_iter().map(|(did, listening, receiver)| match did {
        Did::Listen => (Some(listening), Some(receiver)),
        Did::HangUp => (None, Some(receiver)),
        Did::GiveUp => (Some(listening), None),
    });
    let receivers: Vec<_> = receivers.collect();
    let listening = did.iter().filter(|did| **did == Did::Listen).count();
    assert_eq!(pool.depth(), Depth { entries: 1, listening });
    let index = LeafIndex::new(0).unwrap();
    let snapshot = Arc::new(log.snapshot());
    assert_eq!(
        pool.next_batch(Duration::ZERO, Duration::ZERO).unwrap().len(),
        1,
        "it is on its way once"
    );
    pool.resolve(&entry, Logged { index, time: 0, snapshot, set: None });
    assert_eq!(pool.depth(), Depth::default());
    let hear = |receiver: Option<oneshot::Receiver<Outcome>>| {
        receiver.map(|mut receiver| receiver.try_recv().expect("who waits hears something"))
    };
    receivers.into_iter().map(|(_listening, receiver)| hear(receiver)).collect()
}

#[test]
fn of_all_who_submit_one_entry_exactly_one_who_listens_hears_that_it_is_logged() {
    const ALL: [Did; 3] = [Did::Listen, Did::HangUp, Did::GiveUp];
    let log = TestLog::new();
    let of_three = ALL.into_iter().flat_map(|first| {
        ALL.into_iter().flat_map(move |second| ALL.map(|third| [first, second, third]))
    });
    for did in of_three {
        let heard = heard(&log, &did);
        let first = |wanted: Did| did.iter().position(|did| *did == wanted);
        let logged = first(Did::Listen).or(first(Did::HangUp));
        for (at, heard) in heard.iter().enumerate() {
            let is_right = match heard {
                None => did[at] == Did::GiveUp,
                Some(Outcome::Logged(heard)) => logged == Some(at) && heard.index.get() == 0,
                Some(Outcome::Duplicate(index)) => logged != Some(at) && index.get() == 0,
                Some(Outcome::Refused(_)) => false,
            };
            assert!(is_right, "the one at {at} of {did:?} heard {heard:?}");
        }
    }
}
