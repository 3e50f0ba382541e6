//! The index of a monitor as a history: with the log that it read, and without.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use treering_proto::dsse_envelope::IN_TOTO_PAYLOAD_TYPE;
use treering_proto::hash::sha256;
use treering_proto::model_id::model_id;
use treering_proto::model_statement::{ModelStatement, Resource};
use treering_proto::notice::{Notice, NoticeKind, REVOKE_PREDICATE_TYPE as REVOKE};

use super::*;
use crate::lookup::Target;
use crate::monitor::rules::Rules;
use crate::monitor::{Monitor, Options, Pace, read};
use crate::report::Exit;
use crate::test_author::Author;
use crate::test_log::{ORIGIN, Served, TIME, TestLog};

/// A log that was read: a digest, a model, its revocation, a claim about something else.
struct Read {
    served: Served,
    dir: TempDir,
    model: ModelStatement,
    witnesses: Vec<u8>,
}

impl Read {
    async fn new() -> Self {
        Self::of(TestLog::new(1), Vec::new()).await
    }

    async fn of(mut log: TestLog, witnesses: Vec<u8>) -> Self {
        let author = Author::new();
        let file =
            Resource { name: "weights".to_owned(), digest: sha256(b"w").as_bytes().to_vec() };
        let model =
            ModelStatement::new_files("llama", vec![file], Vec::new(), Some("1.0".to_owned()))
                .unwrap();
        log.admit(&author.digest("hidden"));
        let signed = author.envelope(IN_TOTO_PAYLOAD_TYPE, model.to_payload());
        let about = EntryRef { index: log.admit(&signed), leaf: signed.leaf() };
        let notice = Notice {
            kind: NoticeKind::Revoke,
            log: ORIGIN.to_owned(),
            about,
            model_id: model_id(&model),
            root: model.root(),
            name: Some("llama".to_owned()),
            reason: Some("bad data".to_owned()),
        };
        log.admit(&author.envelope(IN_TOTO_PAYLOAD_TYPE, notice.to_payload().unwrap()));
        log.admit(&author.claim("other", "text"));
        let read = Self { served: log.serve(), dir: TempDir::new().unwrap(), model, witnesses };
        let source = read::Source {
            transport: read.served.transport(),
            trust: read.trust(),
            answer_time: Duration::from_secs(60),
            signatures: true,
            other_payloads: false,
            rules: Arc::new(Rules::default()),
        };
        let directory = read.dir.path().join("log");
        let pace = Pace { tiles: 1, chunk_entries: 10, chunks_max: 10 };
        let options = Options { directory, start: None, max_age: None, pace };
        let round =
            Monitor::new(source, options, Arc::new(|_: &str| ())).round(1_800_000_000).await;
        assert_eq!(round.exit(), Exit::Ok);
        read
    }

    fn trust(&self) -> TrustFile {
        let log = self.served.log.lock().unwrap();
        let mut trust = log.trust(&self.served.url, Vec::new(), &self.witnesses);
        trust.log.identity = Some(log.identity_document());
        trust
    }

    async fn history(&self, online: bool) -> Result<History, IndexHistoryError> {
        let trust = self.trust();
        let index = LocalIndex::open(&self.dir.path().join("log"), ORIGIN).unwrap();
        let transport = self.served.transport();
        let log = LogReader::new(&transport, &trust);
        let target = Target::Model(model_id(&self.model));
        let open = |history: &History| target.questions(&trust, history);
        gather_from_index(&index, online.then_some(&log), &trust, &[], open).await
    }
}

fn at(index: u64) -> LeafIndex {
    LeafIndex::new(index).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_log_facts_are_known_and_statements_are_not() {
    let read = Read::new().await;
    let history = read.history(false).await.unwrap();
    let source = Source::Index { from: at(0), without_statement: 1 };
    assert_eq!(history.source, source, "the digest may be anything");
    assert_eq!(history.size.get(), 4);
    let What::Model(model) = &history.seen[&at(1)].what else { panic!("it is a model") };
    assert_eq!((model.model_id, model.name.as_deref()), (model_id(&read.model), Some("llama")));
    assert_eq!(model.said, None);
    assert_eq!(history.seen[&at(1)].signed_by.len(), 1);
    // It is known that there is a notice, about which model, and of what kind.
    let What::UnreadableNotice { models, predicate_type, .. } = &history.seen[&at(2)].what else {
        panic!("it is a notice")
    };
    assert_eq!((models, predicate_type.as_str()), (&vec![model_id(&read.model)], REVOKE));
    assert_eq!((history.seen[&at(1)].time, history.head_time), (None, None));
    assert_eq!(history.seen.len(), 2);
    assert!(history.answers.values().all(|answer| matches!(answer, Answer::All(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_log_statements_are_known_and_what_it_does_not_show_is_told() {
    let read = Read::new().await;
    let history = read.history(true).await.unwrap();
    let What::Model(model) = &history.seen[&at(1)].what else { panic!("it is a model") };
    assert_eq!(model.said.as_ref().unwrap().version.as_deref(), Some("1.0"));
    assert!(matches!(&history.seen[&at(2)].what, What::Notice(_)));
    assert!(history.remarks.is_empty());
    assert_eq!(history.seen[&at(1)].time, Some(SeenTime { seconds: TIME, word: Word::Log }));
    read.served.log.lock().unwrap().statements.clear();
    let history = read.history(true).await.unwrap();
    assert!(matches!(&history.seen[&at(2)].what, What::UnreadableNotice { .. }));
    assert_eq!(history.remarks.len(), 2);
    *read.served.tamper.lock().unwrap() =
        Some(Box::new(|line, body| (!line.contains("/entries/")).then_some(body)));
    let history = read.history(true).await.unwrap();
    assert!(history.remarks[0].starts_with("entry 1 is not shown"), "{:?}", history.remarks);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_old_the_index_is_is_the_word_of_those_who_are_believed() {
    let mut log = TestLog::new(1);
    log.witnesses = vec![(5, TIME)];
    let read = Read::of(log, vec![5]).await;
    assert_eq!(read.history(false).await.unwrap().head_time, Some(TIME));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_shows_another_entry_than_it_did_is_caught() {
    let read = Read::new().await;
    {
        let mut log = read.served.log.lock().unwrap();
        log.bodies[2] = log.bodies[3].clone();
    }
    let error = read.history(true).await.unwrap_err();
    assert!(matches!(error, IndexHistoryError::OtherEntry { index } if index == at(2)), "{error}");
    assert!(read.history(false).await.is_ok());
}

#[test]
fn what_no_signature_is_kept_of_says_nothing() {
    let fact = |tag, value: &str| Fact { tag, value: value.as_bytes().to_vec() };
    let seen = |kind| {
        let record = Record {
            kind: Some(kind),
            facts: vec![
                fact(Tag::PublicKey, &"07".repeat(32)),
                fact(Tag::SubjectName, "llama"),
                fact(Tag::ModelId, &"08".repeat(32)),
            ],
            is_incomplete: false,
            signers: Vec::new(),
        };
        let seen = from_facts(EntryRef { index: at(4), leaf: Hash([1; 32]) }, &record);
        (seen.what, seen.signed_by.len())
    };
    assert!(matches!(seen(EntryKind::IntotoV002), (What::Model(_), 1)));
    assert_eq!(seen(EntryKind::IntotoV001), (What::Other, 0));
    assert_eq!(seen(EntryKind::RekordV001), (What::Opaque, 0));
    let entry = |author: &Author, version| {
        let verified =
            author.intoto(version, IN_TOTO_PAYLOAD_TYPE, &Author::statement("llama", "x"));
        let payload = verified.statement().unwrap().payload.clone();
        let at = EntryRef { index: at(4), leaf: verified.leaf() };
        let entry = Entry::parse(verified.body()).unwrap();
        let whole = Seen::read(at, &entry, Some(&payload), None, &[], &[]);
        let without = Seen::read(at, &entry, None, None, &[], &[]);
        (whole.what, whole.signed_by.len(), without.what)
    };
    let author = Author::new();
    assert_eq!(entry(&author, "0.0.1"), (What::Other, 0, What::Other));
    assert_eq!(entry(&author, "0.0.2"), (What::Other, 1, What::Opaque));
}

#[test]
fn names_in_certificates_that_only_the_index_knows_may_be_true() {
    let fact = |tag, value: &str| Fact { tag, value: value.as_bytes().to_vec() };
    let record = Record {
        kind: Some(EntryKind::DsseV001),
        facts: vec![
            fact(Tag::PublicKey, &"07".repeat(32)),
            fact(Tag::Identity, "ci@corp.example"),
            fact(Tag::Issuer, "https://issuer.example"),
            fact(Tag::SubjectName, "llama"),
            fact(Tag::ModelId, &"08".repeat(32)),
        ],
        is_incomplete: false,
        signers: Vec::new(),
    };
    let seen = from_facts(EntryRef { index: at(4), leaf: Hash([1; 32]) }, &record);
    let [who] = seen.signed_by.as_slice() else { panic!("one key") };
    let rule = |issuer: Option<&str>| treering_proto::trust::SignerRule {
        name: "ci".to_owned(),
        who: treering_proto::trust::Signer::Identity {
            identity: "ci@corp.example".to_owned(),
            issuer: issuer.map(str::to_owned),
        },
    };
    let issuer = rule(Some("https://issuer.example"));
    assert!(who.may_be_accepted_by(&issuer) && !who.is_accepted_by(&issuer));
    assert!(!who.may_be_accepted_by(&rule(Some("https://other.example"))));
    assert!(!who.in_time);
}
