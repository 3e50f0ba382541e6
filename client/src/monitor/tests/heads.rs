//! Heads that were shown once are never forgotten, and what only a cache shows is not held against
//! the log.

use crate::test_log::{Clocks, TIME};

use super::*;

fn text(checkpoint: &SignedCheckpoint) -> String {
    String::from_utf8(checkpoint.note_bytes().to_vec()).unwrap()
}

impl Watch {
    /// The checkpoint of another tree of `size` entries, signed by the log.
    fn forked(&self, size: usize) -> String {
        let log = TestLog::filled(1, size);
        log.checkpoint(log.size(), &[])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_head_whose_tiles_are_withheld_is_proven_a_fork_when_the_log_grew_past_it() {
    // Of the size that the log will have, which two notes prove at once, and of one that it will
    // have passed.
    for (size, kind, verified) in [(300, "fork-size", 9), (299, "fork-prefix", 300)] {
        let watch = Watch { with_identity: false, ..Watch::new(9) };
        watch.round().await;
        watch.show(watch.forked(size), true);
        watch.tamper("GET /tile/", |_| None);
        assert_eq!(watch.round().await.exit(), Exit::Unavailable);
        watch.served.tamper.lock().unwrap().take();
        watch.served.shown.lock().unwrap().take();
        watch.grow(291);
        let round = watch.round().await;
        assert_eq!((round.exit(), round.verified), (Exit::Alarm, verified), "{:?}", round.told);
        let told = watch.told();
        assert_eq!(told.last().unwrap().0, "fork", "{told:?}");
        assert!(watch.evidence()[0].contains(&format!("\nkind {kind}\n")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_only_a_cache_showed_is_compared_too() {
    let watch = Watch { with_identity: false, ..Watch::new(9) };
    watch.round().await;
    // Smaller than the newest, and its tiles are those of the newest tree: they do not fit.
    watch.show(watch.forked(20), false);
    watch.grow(291);
    let round = watch.round().await;
    assert_eq!((round.exit(), round.verified), (Exit::Alarm, 300), "{:?}", round.told);
    assert_eq!(watch.told(), [("fork".to_owned(), None)]);
    assert!(watch.evidence()[0].contains("\nkind fork-prefix\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v1_head_beyond_a_cached_checkpoint_is_compared_when_the_tree_has_its_size() {
    let watch = Watch::new(9);
    watch.round().await;
    watch.show(text(&watch.checkpoint(9)), false);
    watch.grow(11);
    let (head, note) = {
        let log = watch.served.log.lock().unwrap();
        let mut head = log.head(TreeSize::new(15).unwrap());
        head.root = sha256(b"other");
        (head, log.v1_note(head))
    };
    watch.tamper("GET /api/v1/log$", move |body| {
        let mut info: Value = serde_json::from_slice(&body).unwrap();
        info["treeSize"] = head.size.get().into();
        info["rootHash"] = head.root.to_hex().into();
        info["signedTreeHead"] = note.clone().into();
        Some(info.to_string().into_bytes())
    });
    watch.round().await;
    watch.served.shown.lock().unwrap().take();
    watch.served.tamper.lock().unwrap().take();
    let round = watch.round().await;
    assert_eq!((round.exit(), round.verified), (Exit::Alarm, 20), "{:?}", round.told);
    assert_eq!(watch.told(), [("v1-differs".to_owned(), None)]);
    assert!(watch.evidence()[0].contains("\nkind fork-prefix\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_renewal_in_a_cache_is_neither_late_nor_without_its_quorum() {
    let watch = Watch { with_identity: false, max_age: Some(3600), ..Watch::new(9) };
    let renewed = |time| {
        let mut log = watch.served.log.lock().unwrap();
        log.clocks.get_or_insert_with(|| Clocks::new(TIME)).cosigned = time;
        log.checkpoint(log.size(), &[])
    };
    // This test is not about the Rekor v1 face.
    watch.tamper("/api/v1/", |_| None);
    let old = renewed(NOW - 3601);
    renewed(NOW - 5);
    assert_eq!(watch.round().await.exit(), Exit::Ok);
    renewed(NOW);
    watch.show(old.clone(), false);
    let round = watch.round().await;
    assert_eq!(round.exit(), Exit::Ok, "{:?}", round.told);
    // A date of 0 is none; then nobody says how old it is, and that is all.
    renewed(0);
    watch.served.shown.lock().unwrap().take();
    let told = watch.round().await.told.new;
    assert!(told.iter().all(|finding| finding.kind == FindingKind::Stale), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_index_knows_its_checkpoint_from_the_first_moment() {
    let mut watch = Watch { with_identity: false, ..Watch::new(9) };
    let pinned = watch.checkpoint(9);
    watch.start = Some(pinned.clone());
    let edge = {
        let transport = watch.served.transport();
        let trust = watch.served.trust(Vec::new());
        let tree = SignedTree::open(&LogReader::new(&transport, &trust), &pinned).await;
        tree.unwrap().edge().clone()
    };
    let directory = watch.dir.path().join("log");
    let keeper = Keeper::open(&directory, ORIGIN, &edge, Some(&pinned), Arc::new(|_| ()));
    assert_eq!(keeper.unwrap().state().latest.as_deref(), Some(pinned.note_bytes()));
    // What was read is held against the tree even if nobody knows which checkpoint it was of.
    let other = TempDir::new().unwrap();
    let directory = other.path().join("log");
    drop(Keeper::open(&directory, ORIGIN, &edge, None, Arc::new(|_| ())).unwrap());
    *watch.served.log.lock().unwrap() = TestLog::filled(1, 20);
    let round = Watch { dir: other, ..watch }.round().await;
    assert_eq!((round.told.new[0].kind.clone(), round.verified), (FindingKind::Fork, 9));
}
