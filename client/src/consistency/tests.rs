use tempfile::TempDir;
use treering_proto::evidence::EvidenceKind;
use treering_proto::tree::TreeSize;

use super::*;
use crate::test_log::{Served, TestLog};

/// A client with its own memory.
struct Client {
    served: Served,
    trust: TrustFile,
    state: StateDirectory,
    _dir: TempDir,
}

impl Client {
    fn new(log: TestLog) -> Self {
        let served = log.serve();
        let trust = served.trust(Vec::new());
        let dir = TempDir::new().unwrap();
        let state = StateDirectory::new(dir.path().join("state"));
        Self { served, trust, state, _dir: dir }
    }

    async fn follow(&self) -> Result<Followed, FollowError> {
        let transport = self.served.transport();
        follow(&LogReader::new(&transport, &self.trust), &self.trust, &self.state, None).await
    }

    fn grow(&self, count: usize) {
        let mut log = self.served.log.lock().unwrap();
        for at in 0..count {
            log.append(format!("grown {at}").into_bytes());
        }
    }

    fn remembered(&self) -> u64 {
        let note = self.state.load(&log_name(&self.trust)).unwrap().unwrap();
        open_state(&note, &self.trust, &self.state).unwrap().head().size.get()
    }

    fn checkpoint(&self, size: u64) -> String {
        self.served.log.lock().unwrap().checkpoint(TreeSize::new(size).unwrap(), &[])
    }

    fn show(&self, note: String, always: bool) {
        *self.served.shown.lock().unwrap() = Some((note, always));
    }

    /// Replaces the log by one that says something else from entry `from` on.
    fn rewrite(&self, from: usize, size: usize) {
        let mut log = TestLog::new(1);
        for at in 0..size {
            let word = if at < from { "filler" } else { "forged" };
            log.append(format!("{word} {at}").into_bytes());
        }
        *self.served.log.lock().unwrap() = log;
    }
}

fn alarm(result: Result<Followed, FollowError>) -> Evidence {
    match result {
        Err(FollowError::Alarm(evidence)) => *evidence,
        other => panic!("an alarm is expected, not {other:?}"),
    }
}

#[tokio::test]
async fn a_growing_log_is_followed_across_tile_boundaries() {
    let client = Client::new(TestLog::filled(1, 0));
    assert_eq!(client.follow().await.unwrap().since, Since::FirstContact);
    let mut size = 0;
    for growth in [0, 1, 1, 253, 1, 1, 300] {
        client.grow(growth);
        let followed = client.follow().await.unwrap();
        assert_eq!(followed.since, Since::Remembered(size));
        assert!(followed.remarks.is_empty(), "{:?}", followed.remarks);
        size += growth as u64;
        assert_eq!(followed.head.head().size.get(), size);
        assert_eq!(client.remembered(), size);
    }
}

#[tokio::test]
async fn a_stale_cache_is_passed_by_and_no_alarm() {
    let client = Client::new(TestLog::filled(1, 9));
    client.follow().await.unwrap();
    client.show(client.checkpoint(4), false);
    let followed = client.follow().await.unwrap();
    assert_eq!(followed.head.head().size.get(), 9);
    assert!(client.served.requests.lock().unwrap().iter().any(|(_, fresh)| *fresh));
}

#[tokio::test]
async fn a_smaller_tree_is_suspected_and_not_remembered() {
    let client = Client::new(TestLog::filled(1, 9));
    client.follow().await.unwrap();
    client.show(client.checkpoint(4), true);
    let evidence = alarm(client.follow().await);
    assert_eq!(evidence.kind(), EvidenceKind::RollbackSuspected);
    assert_eq!(client.remembered(), 9);
}

#[tokio::test]
async fn a_smaller_tree_that_a_witness_dated_later_is_proof() {
    let mut client = Client::new(TestLog::filled(1, 9));
    client.trust = client.served.log.lock().unwrap().trust(&client.served.url, vec![], &[5]);
    let cosigned = |client: &Client, size, time| {
        let log = client.served.log.lock().unwrap();
        log.checkpoint(TreeSize::new(size).unwrap(), &[(5, time)])
    };
    client.show(cosigned(&client, 9, 100), true);
    client.follow().await.unwrap();
    for (time, kind) in [(400, EvidenceKind::RollbackSuspected), (401, EvidenceKind::Rollback)] {
        client.show(cosigned(&client, 4, time), true);
        assert_eq!(alarm(client.follow().await).kind(), kind, "{time}");
        assert_eq!(client.remembered(), 9);
    }
    // It convicts the witness, not the log, which may have more behind a cache.
    client.show(cosigned(&client, 4, 401), false);
    client.served.log.lock().unwrap().witnesses = vec![(5, 402)];
    assert_eq!(client.follow().await.unwrap().head.head().size.get(), 9);
}

#[tokio::test]
async fn two_trees_of_one_size_are_proof() {
    let client = Client::new(TestLog::filled(1, 9));
    client.follow().await.unwrap();
    client.rewrite(8, 9);
    let evidence = alarm(client.follow().await);
    assert_eq!(evidence.kind(), EvidenceKind::ForkSize);
    assert_eq!(client.remembered(), 9);
}

#[tokio::test]
async fn a_rewritten_beginning_is_proof_at_every_place_and_size() {
    for (known, from, size) in [(1, 0, 2), (9, 3, 10), (9, 8, 300), (8, 7, 9), (256, 0, 257)] {
        let client = Client::new(TestLog::filled(1, known));
        client.follow().await.unwrap();
        client.rewrite(from, size);
        let evidence = alarm(client.follow().await);
        assert_eq!(evidence.kind(), EvidenceKind::ForkPrefix, "{known} {from} {size}");
        let text = evidence.format("2026-01-01T00:00:00Z https://log.example");
        assert!(text.contains("\naltroot ") && text.contains("\nproof consistency "), "{text}");
        assert_eq!(client.remembered(), known as u64);
    }
}

#[tokio::test]
async fn a_smaller_tree_that_the_larger_never_had_is_proof() {
    let client = Client::new(TestLog::filled(1, 9));
    client.follow().await.unwrap();
    let mut fork = TestLog::filled(1, 3);
    fork.append(b"forged".to_vec());
    client.show(fork.checkpoint(fork.size(), &[]), true);
    assert_eq!(alarm(client.follow().await).kind(), EvidenceKind::ForkPrefix);
}

#[tokio::test]
async fn tiles_that_belong_to_no_checkpoint_are_an_alarm_that_keeps_both_notes() {
    let client = Client::new(TestLog::filled(1, 9));
    client.follow().await.unwrap();
    client.grow(3);
    client.show(client.checkpoint(12), true);
    client.rewrite(2, 12);
    let error = client.follow().await.unwrap_err();
    assert!(matches!(error, FollowError::BadTiles(_)), "{error}");
    let text = error.evidence().unwrap().format("2026-01-01T00:00:00Z https://log.example");
    assert!(text.starts_with("tlog-evidence@v1\nkind inconsistent-unproven\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("note ")).count(), 2);
}

#[tokio::test]
async fn tiles_that_are_not_served_leave_both_notes_as_evidence() {
    let client = Client::new(TestLog::filled(1, 9));
    client.follow().await.unwrap();
    let fork = TestLog::filled(1, 12);
    client.show(fork.checkpoint(fork.size(), &[]), true);
    let error = client.follow().await.unwrap_err();
    assert!(matches!(error, FollowError::NoTiles { .. }), "{error}");
    assert_eq!(error.evidence().unwrap().kind(), EvidenceKind::InconsistentUnproven);
    assert_eq!(client.remembered(), 9);
}

#[tokio::test]
async fn a_signed_fork_is_an_alarm_although_a_second_answer_would_be_good() {
    let client = Client::new(TestLog::filled(1, 9));
    client.follow().await.unwrap();
    let mut fork = TestLog::filled(1, 8);
    fork.append(b"forged".to_vec());
    client.show(fork.checkpoint(fork.size(), &[]), false);
    assert_eq!(alarm(client.follow().await).kind(), EvidenceKind::ForkSize);
    assert_eq!(client.remembered(), 9);
}

#[tokio::test]
async fn a_suspicion_is_not_taken_back_by_silence() {
    let client = Client::new(TestLog::filled(1, 9));
    client.follow().await.unwrap();
    client.show(client.checkpoint(4), false);
    // Asked past all caches, something else answers.
    *client.served.tamper.lock().unwrap() = Some(Box::new(portal_after_first()));
    assert_eq!(alarm(client.follow().await).kind(), EvidenceKind::RollbackSuspected);
    // So it is of two checkpoints that are compared: tiles of another tree, and then none.
    let client = Client::new(TestLog::filled(1, 12));
    let open = |size| {
        let note = client.checkpoint(size);
        open_checkpoint(note.as_bytes(), "log.example", &client.trust.note_keys()).unwrap()
    };
    let (old, new) = (open(9), open(12));
    client.rewrite(2, 12);
    let seen = std::sync::atomic::AtomicBool::new(false);
    *client.served.tamper.lock().unwrap() = Some(Box::new(move |line: &str, body| {
        let again = line.contains("/tile/") && seen.swap(true, std::sync::atomic::Ordering::SeqCst);
        (!again).then_some(body)
    }));
    let transport = client.served.transport();
    let log = LogReader::new(&transport, &client.trust);
    let error = check_related(&log, &old, &new).await.unwrap_err();
    assert!(matches!(error, FollowError::BadTiles(_)), "{error}");
}

/// A log behind a captive portal, from its second checkpoint on.
fn portal_after_first() -> impl Fn(&str, Vec<u8>) -> Option<Vec<u8>> + Send {
    let seen = std::sync::atomic::AtomicBool::new(false);
    move |line, body| {
        let is_first = !seen.swap(true, std::sync::atomic::Ordering::SeqCst);
        Some(if is_first || !line.contains("/checkpoint") { body } else { b"<html>".to_vec() })
    }
}

#[tokio::test]
async fn what_is_no_checkpoint_is_asked_for_again_and_is_no_alarm() {
    let client = Client::new(TestLog::filled(1, 9));
    client.follow().await.unwrap();
    let other = client.checkpoint(9).replacen("log.example", "other.example", 1);
    for page in ["<html>".to_owned(), "<p>\n\n\u{2014} x AAAAAAA=\n".to_owned(), other] {
        client.show(page.clone(), false);
        assert_eq!(client.follow().await.unwrap().head.head().size.get(), 9);
        client.show(page, true);
        let error = client.follow().await.unwrap_err();
        assert!(!error.is_alarm() && error.evidence().is_none(), "{error}");
        assert_eq!(crate::online::follow_exit(&error), crate::report::Exit::Unavailable);
    }
}

#[tokio::test]
async fn a_checkpoint_in_the_name_of_the_log_is_an_alarm_with_evidence() {
    let client = Client::new(TestLog::filled(1, 9));
    client.follow().await.unwrap();
    let stranger = TestLog::filled(2, 12);
    let stranger = stranger.checkpoint(stranger.size(), &[]);
    // The line of the trusted key on another tree.
    let ours = client.checkpoint(9);
    let (text, _) = stranger.split_once("\n\n").unwrap();
    let forged = format!("{text}\n\n{}\n", ours.lines().last().unwrap());
    for note in [stranger, forged] {
        client.show(note.clone(), false);
        assert_eq!(client.follow().await.unwrap().head.head().size.get(), 9);
        client.show(note, true);
        let evidence = alarm(client.follow().await);
        assert_eq!(evidence.kind(), EvidenceKind::ForeignKey);
        let text = evidence.format("2026-01-01T00:00:00Z https://log.example");
        let file = treering_proto::evidence::EvidenceFile::parse(text.as_bytes()).unwrap();
        assert_eq!(file.judge(None).verdict.name(), "suspicious");
        assert_eq!(client.remembered(), 9);
    }
}

#[tokio::test]
async fn a_key_that_is_added_or_moved_does_not_make_the_client_forget() {
    let mut client = Client::new(TestLog::filled(1, 9));
    client.follow().await.unwrap();
    let second = TestLog::new(7);
    client.trust.log.keys.insert(0, second.note_key());
    assert_eq!(client.follow().await.unwrap().since, Since::Remembered(9));
    // Signed by both keys, it is remembered under both.
    let both = |client: &Client, size: u64| {
        let other = TestLog::filled(7, size as usize);
        let other = other.checkpoint(other.size(), &[]);
        format!("{}{}\n", client.checkpoint(size), other.lines().last().unwrap())
    };
    *client.served.log.lock().unwrap() = TestLog::filled(1, 10);
    client.show(both(&client, 10), true);
    client.follow().await.unwrap();
    for name in log_names(&client.trust) {
        assert!(client.state.load(&name).unwrap().is_some(), "{name:?}");
    }
    client.show(client.checkpoint(4), true);
    for _ in 0..2 {
        assert_eq!(alarm(client.follow().await).kind(), EvidenceKind::RollbackSuspected);
        client.trust.log.keys.reverse();
    }
}

#[tokio::test]
async fn the_floor_stands_in_for_memory() {
    let mut client = Client::new(TestLog::filled(1, 9));
    let floor = client.checkpoint(5);
    let open =
        |note: &str| open_checkpoint(note.as_bytes(), "log.example", &client.trust.note_keys());
    let floor = open(&floor).unwrap();
    client.trust.floor = Some(floor);
    assert_eq!(client.follow().await.unwrap().since, Since::Floor(5));
    let mut late = Client::new(TestLog::filled(1, 4));
    late.trust.floor = client.trust.floor.clone();
    assert_eq!(alarm(late.follow().await).kind(), EvidenceKind::RollbackSuspected);
}

#[tokio::test]
async fn a_checkpoint_without_quorum_is_neither_believed_nor_remembered() {
    let mut client = Client::new(TestLog::filled(1, 9));
    client.trust = client.served.log.lock().unwrap().trust(&client.served.url, vec![], &[5]);
    let error = client.follow().await.unwrap_err();
    assert!(matches!(error, FollowError::NoQuorum { size: 9 }), "{error}");
    assert_eq!(client.state.load(&log_name(&client.trust)).unwrap(), None);
    let cosigned = {
        let log = client.served.log.lock().unwrap();
        log.checkpoint(log.size(), &[(5, 1_700_000_000)])
    };
    client.show(cosigned, true);
    assert_eq!(client.follow().await.unwrap().since, Since::FirstContact);
    // A cache has it from before the witnesses cosigned.
    client.show(client.checkpoint(9), false);
    client.served.log.lock().unwrap().witnesses = vec![(5, 1_700_000_001)];
    assert!(client.trust.has_quorum(&client.follow().await.unwrap().head));
}

#[tokio::test]
async fn a_strangers_checkpoint_and_a_damaged_memory_are_refused() {
    let client = Client::new(TestLog::filled(1, 9));
    let stranger = TestLog::filled(2, 9);
    client.show(stranger.checkpoint(stranger.size(), &[]), true);
    let error = client.follow().await.unwrap_err();
    assert!(matches!(error, FollowError::Log(LogError::Checkpoint(_))), "{error}");
    // There is no note of the log to show beside it.
    assert!(error.is_alarm() && error.evidence().is_none());
    client.state.swap(&log_name(&client.trust), None, b"damaged").unwrap();
    let error = client.follow().await.unwrap_err();
    assert!(matches!(error, FollowError::BadState { .. }), "{error}");
}

#[tokio::test]
async fn an_unlisted_key_a_second_key_and_a_read_only_memory_are_said() {
    let mut client = Client::new(TestLog::filled(1, 9));
    let other = LogName { origin: "log.example".to_owned(), key_id: [9; 4] };
    client.state.swap(&other, None, b"x").unwrap();
    let stranger = TestLog::filled(2, 9).checkpoint(TreeSize::new(9).unwrap(), &[]);
    let line = stranger.lines().last().unwrap();
    client.show(format!("{}{line}\n", client.checkpoint(9)), true);
    let remarks = client.follow().await.unwrap().remarks;
    assert_eq!(remarks.len(), 2, "{remarks:?}");
    assert!(remarks[0].contains("another key") && remarks[1].contains("does not list"));

    let file = client.state.path().join("file");
    std::fs::write(&file, b"").unwrap();
    client.state = StateDirectory::new(file.join("state"));
    let error = client.follow().await;
    let told = match &error {
        Ok(followed) => followed.remarks.iter().any(|remark| remark.contains("not remembered")),
        Err(FollowError::State(_)) => true,
        Err(_) => false,
    };
    assert!(told, "{error:?}");
}
