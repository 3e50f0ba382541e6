//! Every finding is heard, by the lie that causes it, and the state does not move where it must
//! not.

use treering_proto::dsse_envelope::IN_TOTO_PAYLOAD_TYPE;
use treering_proto::tile::encode_entry;

use super::*;

/// The one finding of a round.
fn only(round: &Round) -> (FindingKind, Option<u64>) {
    let all: Vec<_> = round.told.new.iter().chain(&round.told.old).collect();
    let [finding] = all[..] else { panic!("one finding is expected, not {all:?}") };
    (finding.kind.clone(), finding.index)
}

impl Watch {
    /// Replaces the log by one that has the first `keep` entries and `count` others.
    fn rewrite(&self, keep: usize, count: usize) {
        let mut log = self.served.log.lock().unwrap();
        let mut other = TestLog::new(1);
        other.bodies = log.bodies[..keep].to_vec();
        for at in 0..count {
            other.append(format!("forged {at}").into_bytes());
        }
        *log = other;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_trees_of_one_size_are_a_proven_fork_told_once() {
    let watch = Watch { with_identity: false, ..Watch::new(9) };
    watch.round().await;
    watch.rewrite(8, 1);
    let round = watch.round().await;
    assert_eq!((only(&round), round.exit()), ((FindingKind::Fork, None), Exit::Alarm));
    assert_eq!(round.verified, 9);
    let again = watch.round().await;
    assert_eq!((only(&again), again.exit()), ((FindingKind::Fork, None), Exit::Alarm));
    assert_eq!((again.told.new.len(), watch.told().len()), (0, 1));
    let [evidence] = &watch.evidence()[..] else { panic!("one file is expected") };
    assert!(evidence.contains("\nkind fork-size\n"), "{evidence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_beginning_is_a_proven_fork_at_every_place() {
    for (known, keep, count) in [(9, 3, 7), (300, 299, 10), (256, 0, 300), (300, 260, 400)] {
        let watch = Watch { with_identity: false, ..Watch::new(known) };
        watch.round().await;
        watch.rewrite(keep, count);
        let round = watch.round().await;
        assert_eq!(only(&round).0, FindingKind::Fork, "{known} {keep} {count}");
        assert_eq!(round.verified, known as u64);
        assert!(watch.evidence()[0].contains("\nkind fork-prefix\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_smaller_tree_is_a_fork_proven_from_what_was_read() {
    let watch = Watch { with_identity: false, ..Watch::new(300) };
    watch.round().await;
    watch.rewrite(100, 50);
    // Not one tile of the old tree is left.
    let round = watch.round().await;
    assert_eq!(only(&round).0, FindingKind::Fork);
    assert!(watch.evidence()[0].contains("\nkind fork-prefix\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_checkpoint_is_a_rollback_unless_a_cache_served_it() {
    let watch = Watch { with_identity: false, ..Watch::new(9) };
    watch.round().await;
    let old = String::from_utf8(watch.checkpoint(4).note_bytes().to_vec()).unwrap();
    watch.show(old.clone(), false);
    assert_eq!(watch.round().await.exit(), Exit::Ok);
    watch.show(old, true);
    let round = watch.round().await;
    assert_eq!((only(&round).0, round.verified), (FindingKind::Rollback, 9));
    assert!(watch.evidence()[0].contains("\nkind rollback-suspected\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_signs_for_the_log_is_heard() {
    let watch = Watch { with_identity: false, ..Watch::new(9) };
    let monitor = watch.monitor();
    let mut other = TestLog::new(2);
    watch.author.fill(&mut other, 9);
    *watch.served.log.lock().unwrap() = other;
    let round = { monitor }.round(NOW).await;
    assert_eq!((only(&round).0, round.exit()), (FindingKind::ForeignKey, Exit::Alarm));
    assert_eq!(round.verified, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_entry_is_named_and_the_state_stays_before_its_tile() {
    let watch = Watch { with_identity: false, ..Watch::new(700) };
    watch.tamper("GET /tile/entries/001", |mut body| {
        // The first byte of the first entry of the tile.
        body[2] ^= 1;
        Some(body)
    });
    let round = watch.round().await;
    assert_eq!(only(&round), (FindingKind::BadEntry, Some(256)));
    assert_eq!((round.verified, round.entries), (256, 256));
    watch.served.tamper.lock().unwrap().take();
    let round = watch.round().await;
    assert_eq!((round.exit(), round.verified, round.entries), (Exit::Ok, 700, 444));
    watch.assert_index_is_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_entry_in_the_growing_tile_is_named_too() {
    let watch = Watch { with_identity: false, ..Watch::new(3) };
    watch.round().await;
    watch.grow(7);
    let forged = watch.served.log.lock().unwrap().bodies.clone();
    watch.tamper("GET /tile/entries/", move |_| {
        let mut tile = Vec::new();
        for (at, body) in forged.iter().enumerate() {
            encode_entry(if at == 6 { b"forged" } else { body }, &mut tile);
        }
        Some(tile)
    });
    let round = watch.round().await;
    assert_eq!((only(&round), round.verified), ((FindingKind::BadEntry, Some(6)), 3));
    assert!(watch.evidence()[0].contains("\nkind inconsistent-unproven\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_tile_is_named_and_what_the_entries_prove_still_counts() {
    for (path, verified) in [("GET /tile/0/000 ", 300), ("GET /tile/0/001.p/44", 0)] {
        let watch = Watch { with_identity: false, ..Watch::new(300) };
        let part = path.trim_end();
        let exact = path.ends_with(' ');
        *watch.served.tamper.lock().unwrap() = Some(Box::new(move |line, mut body| {
            if line == part || (!exact && line.contains(part)) {
                body.swap(0, 1);
            }
            Some(body)
        }));
        let round = watch.round().await;
        assert_eq!(only(&round).0, FindingKind::BadTile, "{path}");
        assert_eq!(round.verified, verified, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tile_that_is_wrong_only_in_a_cache_is_no_finding() {
    let watch = Watch { with_identity: false, ..Watch::new(300) };
    let asked = Mutex::new(std::collections::HashSet::new());
    *watch.served.tamper.lock().unwrap() = Some(Box::new(move |line, mut body| {
        // Each tile is wrong the first time.
        if line.contains("/tile/") && asked.lock().unwrap().insert(line.to_owned()) {
            body.truncate(body.len() - 1);
        }
        Some(body)
    }));
    let round = watch.round().await;
    assert_eq!((round.exit(), round.verified), (Exit::Ok, 300), "{:?}", round.told);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_no_honest_log_takes_are_told_one_by_one() {
    let watch = Watch::new(4);
    {
        let mut log = watch.served.log.lock().unwrap();
        log.append(b"nonsense".to_vec());
        // The signature of one entry in another.
        let [one, two] = ["a", "b"].map(|text| {
            let body = watch.author.digest(text).body().to_vec();
            serde_json::from_slice::<Value>(&body).unwrap()
        });
        let content = |entry: &Value| entry["spec"]["signature"]["content"].to_string();
        let forged = one.to_string().replace(&content(&one), &content(&two));
        log.append(forged.into_bytes());
        let claim = watch.author.claim("x", "y");
        log.admit(&claim);
        log.statements.remove(&claim.statement().unwrap().payload_hash);
    }
    let round = watch.round().await;
    assert_eq!((round.exit(), round.verified), (Exit::Alarm, 7));
    let expected = [
        ("entry-unparseable".to_owned(), Some(4)),
        ("signature-invalid".to_owned(), Some(5)),
        ("statement-missing".to_owned(), Some(6)),
    ];
    assert_eq!(watch.told(), expected);
    assert_eq!((round.tally.verified, round.tally.no_statement), (4, 1));
    assert_eq!(round.tally.unreadable, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_with_other_bytes_counts_as_missing() {
    let watch = Watch::new(3);
    watch.served.log.lock().unwrap().statements.values_mut().for_each(|text| text.push(b' '));
    assert_eq!(only(&watch.round().await), (FindingKind::StatementMissing, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_that_are_no_statements_are_counted_where_they_are_allowed() {
    let log = |watch: &Watch| {
        let mut log = watch.served.log.lock().unwrap();
        log.admit(&watch.author.envelope("text/plain", b"hello".to_vec()));
        let statement = Author::statement("a", "b");
        log.admit(&watch.author.envelope("text/json", statement));
    };
    let watch = Watch::new(0);
    log(&watch);
    watch.round().await;
    let expected =
        [("statement-missing".to_owned(), Some(0)), ("signature-invalid".to_owned(), Some(1))];
    assert_eq!(watch.told(), expected);
    let watch = Watch { other_payloads: true, ..Watch::new(0) };
    log(&watch);
    let round = watch.round().await;
    assert_eq!((round.exit(), watch.told().len()), (Exit::Ok, 0));
    assert_eq!((round.tally.no_statement, round.tally.other_payload), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn older_kinds_are_verified_as_far_as_they_keep_what_that_takes() {
    let watch = Watch::new(0);
    let statement = Author::statement("a", "b");
    let author = &watch.author;
    let forged = {
        let body = author.intoto("0.0.2", IN_TOTO_PAYLOAD_TYPE, &statement).body().to_vec();
        let other = author.intoto("0.0.2", "text/json", &statement).body().to_vec();
        let read = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap();
        let sig = |body| read(body)["spec"]["content"]["envelope"]["signatures"][0]["sig"].clone();
        let text = String::from_utf8(body.clone()).unwrap();
        text.replace(&sig(&body).to_string(), &sig(&other).to_string())
    };
    {
        let mut log = watch.served.log.lock().unwrap();
        log.admit(&author.intoto("0.0.1", IN_TOTO_PAYLOAD_TYPE, &statement));
        log.admit(&author.intoto("0.0.2", IN_TOTO_PAYLOAD_TYPE, &statement));
        // It says itself that it has no statement; and of this one nobody can tell.
        log.admit(&author.intoto("0.0.2", "text/plain", b"hello"));
        log.admit(&author.intoto("0.0.1", "text/plain", b"hello"));
        log.admit(&author.rekord("content"));
        log.append(forged.into_bytes());
    }
    let round = watch.round().await;
    assert_eq!(watch.told(), [("signature-invalid".to_owned(), Some(5))]);
    let tally = round.tally;
    assert_eq!((tally.verified, tally.not_kept, tally.no_statement), (2, 2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signed_is_not_believed_where_no_signature_is_kept() {
    // Somebody signs a name for the second time: as `dsse` that is no news, and as `intoto` 0.0.1
    // only the log says that it is the same.
    for (version, hits) in [("0.0.2", 0), ("0.0.1", 1)] {
        let watch =
            Watch::new(0).rules("[[rule]]\nname = \"new-signer\"\nknown-name-new-signer = true\n");
        {
            let mut log = watch.served.log.lock().unwrap();
            log.admit(&watch.author.claim("llama", "one"));
            let statement = Author::statement("llama", "two");
            log.admit(&watch.author.intoto(version, IN_TOTO_PAYLOAD_TYPE, &statement));
        }
        watch.round().await;
        assert_eq!(watch.told().len(), hits, "{version} {:?}", watch.told());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_v1_face_must_show_the_same_tree() {
    // What the v1 face shows of a log of 9 entries, and whether that is evidence.
    for (size, honest, kind) in [
        (9, false, Some("fork-size")),
        (5, false, Some("fork-prefix")),
        (5, true, None),
        (9, true, None),
    ] {
        let watch = Watch::new(9);
        let (head, note) = {
            let log = watch.served.log.lock().unwrap();
            let mut head = log.head(TreeSize::new(size).unwrap());
            if !honest {
                head.root = sha256(b"other");
            }
            (head, log.v1_note(head))
        };
        watch.tamper("GET /api/v1/log$", move |body| {
            let mut info: Value = serde_json::from_slice(&body).unwrap();
            info["treeSize"] = head.size.get().into();
            info["rootHash"] = head.root.to_hex().into();
            info["signedTreeHead"] = note.clone().into();
            Some(info.to_string().into_bytes())
        });
        let round = watch.round().await;
        if honest {
            assert_eq!((round.exit(), watch.told().len()), (Exit::Ok, 0));
            continue;
        }
        assert_eq!((only(&round).0, round.exit()), (FindingKind::V1Differs, Exit::Alarm));
        let evidence = watch.evidence().first().cloned().unwrap_or_default();
        assert!(kind.is_none_or(|kind| evidence.contains(&format!("kind {kind}\n"))), "{evidence}");
        assert_eq!(round.verified, 9, "the C2SP face was read all the same");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v1_face_that_is_ahead_or_not_signed_is_heard() {
    let watch = Watch::new(9);
    let shown = watch.checkpoint(5).note_bytes().to_vec();
    watch.show(String::from_utf8(shown).unwrap(), true);
    assert_eq!(only(&watch.round().await).0, FindingKind::V1Differs);

    let watch = Watch::new(9);
    watch.tamper("GET /api/v1/log$", |body| {
        let mut info: Value = serde_json::from_slice(&body).unwrap();
        info["treeSize"] = 8.into();
        Some(info.to_string().into_bytes())
    });
    assert_eq!(only(&watch.round().await).0, FindingKind::V1Differs);

    let watch = Watch::new(9);
    let stranger = TestLog::new(1);
    let note = stranger.v1_note(watch.checkpoint(9).head());
    watch.tamper("GET /api/v1/log$", move |body| {
        let mut info: Value = serde_json::from_slice(&body).unwrap();
        info["signedTreeHead"] = note.clone().into();
        Some(info.to_string().into_bytes())
    });
    assert_eq!(only(&watch.round().await).0, FindingKind::V1Differs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_without_its_quorum_is_told_and_not_followed() {
    let watch = Watch { witnesses: vec![7, 8], ..Watch::new(9) };
    let with = |seeds: &[(u8, u64)]| {
        let log = watch.served.log.lock().unwrap();
        watch.show(log.checkpoint(log.size(), seeds), true);
    };
    with(&[(7, NOW)]);
    let round = watch.round().await;
    assert_eq!((only(&round).0, round.verified), (FindingKind::QuorumMissing, 0));
    assert!(round.told.new[0].why.contains("w8"), "{}", round.told.new[0].why);
    with(&[(7, NOW), (8, NOW)]);
    let round = watch.round().await;
    assert_eq!((round.exit(), round.verified), (Exit::Ok, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_log_is_stale_by_the_time_of_its_quorum_and_the_future_is_no_time() {
    let watch = Watch { witnesses: vec![7, 8], max_age: Some(3600), ..Watch::new(9) };
    let with = |seeds: &[(u8, u64)]| {
        let log = watch.served.log.lock().unwrap();
        watch.show(log.checkpoint(log.size(), seeds), true);
    };
    with(&[(7, NOW), (8, NOW - 3600)]);
    assert_eq!(watch.round().await.exit(), Exit::Ok);
    with(&[(7, NOW), (8, NOW - 3601)]);
    let round = watch.round().await;
    assert_eq!((only(&round).0, round.verified), (FindingKind::Stale, 9));
    with(&[(7, NOW + 301), (8, NOW)]);
    let round = watch.round().await;
    assert_eq!((only(&round).0, round.exit()), (FindingKind::WrongTime, Exit::Alarm));
    let undated = Watch { max_age: Some(3600), ..Watch::new(1) };
    assert_eq!(only(&undated.round().await).0, FindingKind::Stale);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_answer_is_told_once_for_each_time() {
    let watch = Watch::new(300);
    watch.tamper("GET /tile/entries/001", |_| None);
    let round = watch.round().await;
    assert_eq!((only(&round).0, round.exit()), (FindingKind::Unreachable, Exit::Unavailable));
    assert_eq!(round.verified, 256, "what was read is kept");
    watch.tamper("GET /checkpoint", |_| None);
    let round = watch.round().await;
    assert_eq!((round.told.new.len(), round.exit()), (0, Exit::Unavailable));
    watch.served.tamper.lock().unwrap().take();
    assert_eq!(watch.round().await.exit(), Exit::Ok);
    watch.tamper("GET /checkpoint", |_| None);
    assert_eq!(watch.round().await.told.new.len(), 1);
    assert_eq!(watch.told().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_start_that_cannot_be_read_is_told_and_tried_again() {
    let mut watch = Watch::new(9);
    watch.start = Some(watch.checkpoint(5));
    watch.tamper("GET /tile/", |_| None);
    for told in [1, 0] {
        let round = watch.round().await;
        assert_eq!((round.told.new.len(), round.exit()), (told, Exit::Unavailable));
    }
    watch.served.tamper.lock().unwrap().take();
    let round = watch.round().await;
    assert_eq!((round.exit(), round.start, round.verified), (Exit::Ok, 5, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_promised_to_another_entry_is_proven() {
    let watch = Watch::new(9);
    let other = watch.author.digest("another");
    let promise = watch.served.log.lock().unwrap().promise(8, other.body());
    watch.tamper("logIndex=8", move |_| Some(promise.clone()));
    let round = watch.round().await;
    assert_eq!(only(&round), (FindingKind::V1Differs, Some(8)));
    assert!(watch.evidence()[0].contains("\nkind broken-promise\n"));
    watch.tamper("logIndex=", |mut body| {
        let at = body.windows(5).position(|window| window == b"Times").unwrap();
        body[at + 20] ^= 1;
        Some(body)
    });
    let fresh = Watch { dir: TempDir::new().unwrap(), ..watch };
    assert_eq!(fresh.round().await.told.new[0].kind, FindingKind::V1Differs);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_dated_when_it_was_not_or_already_in_the_log_is_proven() {
    use crate::test_log::{Clocks, TIME};
    let watch = Watch::new(6);
    let date = |at: u64, time: u64| {
        watch.served.log.lock().unwrap().dated.insert(at, time);
    };
    watch.served.log.lock().unwrap().clocks = Some(Clocks::new(TIME + 10));
    assert_eq!(watch.round().await.exit(), Exit::Ok);
    watch.grow(3);
    watch.served.log.lock().unwrap().clocks.as_mut().unwrap().cosigned = TIME + 20;
    for (at, time) in [(6, TIME + 10), (7, TIME + 21), (8, TIME + 9)] {
        date(at, time);
    }
    let round = watch.round().await;
    assert_eq!((round.exit(), round.verified), (Exit::Alarm, 9));
    // Entry 8 is also dated before the one below it.
    let expected = [7, 8].map(|at| ("wrong-time".to_owned(), Some(at)));
    assert_eq!(watch.told(), expected);
    let evidence = watch.evidence();
    assert_eq!(evidence.len(), 2);
    assert!(evidence.iter().all(|text| text.contains("\nkind wrong-time\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_tree_that_the_log_dated_later_is_a_proven_rollback() {
    use crate::test_log::{Clocks, TIME};
    let watch = Watch { with_identity: false, ..Watch::new(9) };
    watch.served.log.lock().unwrap().clocks = Some(Clocks::new(TIME + 10));
    watch.tamper("GET /api/v1/log$", |_| None);
    watch.round().await;
    let old = {
        let mut log = watch.served.log.lock().unwrap();
        log.clocks.as_mut().unwrap().cosigned = TIME + 11;
        log.checkpoint(TreeSize::new(4).unwrap(), &[])
    };
    watch.show(old, false);
    let round = watch.round().await;
    assert_eq!(only(&round).0, FindingKind::Rollback);
    assert!(watch.evidence()[0].contains("\nkind rollback\n"));
}
