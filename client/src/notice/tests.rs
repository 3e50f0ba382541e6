use tempfile::TempDir;
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::checkpoint::open_checkpoint;
use treering_proto::entry::VerifiedEntry;
use treering_proto::model_statement::Resource;
use treering_proto::tree::TreeSize;
use treering_proto::trust::model_policy::{Action, ApprovalsRule};

use super::*;
use crate::private_key::{Curve, PrivateKey};
use crate::sign::seal;
use crate::submit::request_json;
use crate::test_author::Author;
use crate::test_log::{Served, TestLog};

struct Bench {
    dir: TempDir,
    served: Served,
    trust: TrustFile,
    key: PrivateKey,
}

/// What is signed: name, version, bytes, and which entry it renews.
#[derive(Clone, Copy)]
struct Model<'a>(&'a str, Option<&'a str>, &'a str, Option<u64>);

impl Bench {
    fn new() -> Self {
        let served = TestLog::filled(1, 10).serve();
        let trust = served.trust(Vec::new());
        Self { dir: TempDir::new().unwrap(), served, trust, key: key() }
    }

    fn sign(&self, key: &PrivateKey, model: Model<'_>) -> Bundle {
        let Model(name, version, bytes, renews) = model;
        let digest = sha256(bytes.as_bytes()).0.to_vec();
        let resources = vec![Resource { name: "weights.bin".to_owned(), digest }];
        let version = version.map(str::to_owned);
        let mut statement =
            ModelStatement::new_files(name, resources, Vec::new(), version).unwrap();
        if let Some(index) = renews {
            let leaf = treering_proto::hash::hash_leaf(&self.body(index));
            statement = statement.with_renewal(EntryRef { index: at(index), leaf });
        }
        seal(statement.to_payload(), key).unwrap()
    }

    fn body(&self, index: u64) -> Vec<u8> {
        self.served.log.lock().unwrap().bodies[index as usize].clone()
    }

    fn admit(&self, key: &PrivateKey, bundle: &Bundle) -> u64 {
        let verified = admitted(key, bundle.envelope().unwrap());
        self.served.log.lock().unwrap().admit(&verified).get()
    }

    fn log(&self, key: &PrivateKey, model: Model<'_>) -> u64 {
        self.admit(key, &self.sign(key, model))
    }

    /// The bundle with what the log answers about `index`.
    fn opened(&self, bundle: &Bundle, index: u64) -> Opened {
        Opened::from_bundle(bundle.clone().with_log_entry(self.entry(index))).unwrap()
    }

    fn entry(&self, index: u64) -> TransparencyLogEntry {
        self.served.log.lock().unwrap().entry(at(index), &[])
    }

    /// Whatever entry is asked for.
    fn answer_about_entries(&self, answer: Vec<u8>) {
        *self.served.tamper.lock().unwrap() =
            Some(Box::new(move |line, body| match line.contains("/entries/") {
                true => Some(answer.clone()),
                false => Some(body),
            }));
    }

    async fn look_up(&self, index: u64) -> Result<LoggedModel, Error> {
        self.with(async |access| access.look_up(at(index)).await).await
    }

    async fn in_bundle(&self, opened: &Opened) -> Result<LoggedModel, Error> {
        self.with(async |access| access.in_bundle(opened).await).await
    }

    async fn newest(&self, about: u64) -> Result<u64, LineError> {
        let about = self.look_up(about).await.unwrap();
        let newest = self.with(async |access| newest_of_line(&access, &about).await).await;
        newest.map(|model| model.entry.index.get())
    }

    async fn with<T>(&self, ask: impl AsyncFnOnce(Access<'_>) -> T) -> T {
        let transport = self.served.transport();
        let log = LogReader::new(&transport, &self.trust);
        let state = StateDirectory::new(self.dir.path().to_owned());
        ask(Access { log: &log, trust: &self.trust, state: &state }).await
    }
}

fn key() -> PrivateKey {
    PrivateKey::generate(Curve::P256).unwrap()
}

fn at(index: u64) -> LeafIndex {
    LeafIndex::new(index).unwrap()
}

fn admitted(key: &PrivateKey, envelope: &Envelope) -> VerifiedEntry {
    let verifier = Verifier::PublicKey(Box::new(key.public_key().clone()));
    VerifiedEntry::from_v1_request(&request_json(envelope, &verifier)).unwrap()
}

fn rule(name: &str, key: &PrivateKey) -> SignerRule {
    SignerRule { name: name.to_owned(), who: Signer::Key(key.public_key().clone()) }
}

#[tokio::test]
async fn a_logged_model_is_found_by_index_and_by_bundle() {
    let bench = Bench::new();
    let bundle = bench.sign(&bench.key, Model("llama", Some("3"), "www", None));
    let index = bench.admit(&bench.key, &bundle);
    let by_index = bench.look_up(index).await.unwrap();
    let by_bundle = bench.in_bundle(&bench.opened(&bundle, index)).await.unwrap();
    assert_eq!(by_index.entry.index.get(), 10);
    assert_eq!(by_index.entry.leaf, treering_proto::hash::hash_leaf(&bench.body(10)));
    assert_eq!((by_index.name(), by_index.model_id), (Some("llama"), by_bundle.model_id));
    assert_eq!(by_index.entry, by_bundle.entry);
    assert!(by_index.is_signed_with(bench.key.public_key()));
    assert!(!by_index.is_signed_with(key().public_key()));
}

#[tokio::test]
async fn what_is_no_model_is_not_spoken_about() {
    let bench = Bench::new();
    assert!(matches!(bench.look_up(400).await, Err(Error::NoEntry(_))));
    let Err(Error::NotProven { why, .. }) = bench.look_up(3).await else { panic!("filler") };
    assert!(why.contains("cannot be read"), "{why}");
    let author = Author::new();
    let digest = bench.served.log.lock().unwrap().admit(&author.digest("x")).get();
    // The test log calls every entry a dsse.
    *bench.served.tamper.lock().unwrap() = Some(Box::new(move |line, body| {
        let text = String::from_utf8(body).unwrap();
        let is_digest = line.ends_with(&format!("/entries/{digest}"));
        Some(if is_digest { text.replace("dsse", "hashedrekord") } else { text }.into_bytes())
    }));
    assert!(matches!(bench.look_up(digest).await, Err(Error::DigestOnly(_))));
    *bench.served.tamper.lock().unwrap() = None;
    let claim = bench.served.log.lock().unwrap().admit(&author.claim("llama", "x")).get();
    let Err(Error::NotModel { what, .. }) = bench.look_up(claim).await else { panic!("claim") };
    assert!(what.contains("https://example.com/claim"), "{what}");
    let model = bench.log(&bench.key, Model("llama", None, "www", None));
    bench.served.log.lock().unwrap().statements.clear();
    assert!(matches!(bench.look_up(model).await, Err(Error::DigestOnly(_))));
}

#[tokio::test]
async fn a_notice_is_not_spoken_about() {
    let bench = Bench::new();
    let index = bench.log(&bench.key, Model("llama", None, "www", None));
    let notice = bench.log_notice(index, NoticeKind::Revoke).await;
    let Err(Error::NotModel { what, .. }) = bench.look_up(notice).await else { panic!() };
    assert!(what.contains("predicate:revoke:v1"), "{what}");
}

impl Bench {
    async fn log_notice(&self, about: u64, kind: NoticeKind) -> u64 {
        let about = self.look_up(about).await.unwrap();
        let notice = Notice {
            kind,
            log: self.trust.log.origin.clone(),
            about: about.entry,
            model_id: about.model_id,
            root: about.statement.root(),
            name: about.name().map(str::to_owned),
            reason: Some("because".to_owned()),
        };
        self.admit(&self.key, &seal(notice.to_payload().unwrap(), &self.key).unwrap())
    }
}

#[tokio::test]
async fn an_answer_about_another_entry_and_a_false_proof_are_alarms() {
    let bench = Bench::new();
    let one = bench.log(&bench.key, Model("one", None, "1", None));
    let two = bench.log(&bench.key, Model("two", None, "2", None));
    let other = bench.entry(two).to_json();
    bench.answer_about_entries(other);
    assert!(matches!(bench.look_up(one).await, Err(Error::OtherEntry { .. })));
    let mut false_proof = bench.entry(one);
    false_proof.inclusion_proof.hashes[0] = Hash([7; 32]);
    bench.answer_about_entries(false_proof.to_json());
    let Err(Error::NotProven { exit, .. }) = bench.look_up(one).await else { panic!("proof") };
    assert_eq!(exit, Exit::Alarm);
}

#[tokio::test]
async fn a_log_that_forgot_what_it_showed_is_not_spoken_to() {
    let bench = Bench::new();
    let index = bench.log(&bench.key, Model("llama", None, "www", None));
    bench.look_up(index).await.unwrap();
    bench.served.log.lock().unwrap().bodies[2] = b"forged".to_vec();
    let Err(Error::Follow(error)) = bench.look_up(index).await else { panic!("fork") };
    assert!(error.is_alarm());
}

#[tokio::test]
async fn an_entry_of_a_tree_that_contradicts_the_floor_is_not_spoken_about() {
    let mut bench = Bench::new();
    let index = bench.log(&bench.key, Model("llama", None, "www", None));
    let mut other = bench.served.log.lock().unwrap().clone();
    other.bodies[2] = b"forged".to_vec();
    let note = other.checkpoint(other.size(), &[]);
    let keys = bench.trust.note_keys();
    let floor = open_checkpoint(note.as_bytes(), &bench.trust.log.origin, &keys).unwrap();
    bench.trust.floor = Some(floor);
    let Err(Error::NotProven { exit, evidence, .. }) = bench.look_up(index).await else {
        panic!("floor")
    };
    assert_eq!((exit, evidence.unwrap().kind().name()), (Exit::Alarm, "fork-size"));
}

#[tokio::test]
async fn a_bundle_counts_for_the_signature_that_is_logged_only() {
    let bench = Bench::new();
    let one = bench.sign(&bench.key, Model("one", None, "1", None));
    let two = bench.sign(&bench.key, Model("two", None, "2", None));
    let (at_one, at_two) = (bench.admit(&bench.key, &one), bench.admit(&bench.key, &two));
    bench.in_bundle(&bench.opened(&one, at_one)).await.unwrap();
    let other = bench.in_bundle(&bench.opened(&one, at_two)).await;
    assert!(matches!(other, Err(Error::OtherSignature(_))));
    let bare = bench.in_bundle(&Opened::from_bundle(one.clone()).unwrap()).await;
    assert!(matches!(bare, Err(Error::EntryCount(0))));
    let mut entry = bench.entry(at_one);
    entry.log_id = Hash([9; 32]);
    let strange = Opened::from_bundle(one.with_log_entry(entry)).unwrap();
    let Err(Error::NotProven { why, .. }) = bench.in_bundle(&strange).await else { panic!() };
    assert!(why.contains("another log"), "{why}");
}

#[tokio::test]
async fn a_model_that_is_logged_as_a_digest_is_found_by_its_bundle() {
    let bench = Bench::new();
    let bundle = bench.sign(&bench.key, Model("llama", None, "www", None));
    let envelope = bundle.envelope().unwrap();
    let text = |bytes: &[u8]| treering_proto::encoding::to_base64(bytes);
    let request = serde_json::json!({"kind": "hashedrekord", "apiVersion": "0.0.1", "spec": {
        "signature": {"content": text(&envelope.signatures[0].signature),
            "publicKey": {"content": text(bench.key.public_key().to_pem().as_bytes())}},
        "data": {"hash": {"value": sha256(&envelope.pae()).to_hex(), "algorithm": "sha256"}}}});
    let verified = VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap();
    let index = bench.served.log.lock().unwrap().admit(&verified).get();
    assert!(matches!(bench.look_up(index).await, Err(Error::NotProven { .. })), "kind is dsse");
    let mut entry = bench.entry(index);
    entry.kind = "hashedrekord".to_owned();
    let opened = Opened::from_bundle(bundle.with_log_entry(entry)).unwrap();
    let found = bench.in_bundle(&opened).await.unwrap();
    assert!(found.is_signed_with(bench.key.public_key()) && found.name() == Some("llama"));
}

#[tokio::test]
async fn a_signature_that_does_not_verify_is_not_spoken_about() {
    let bench = Bench::new();
    let one = bench.sign(&bench.key, Model("one", None, "1", None));
    let two = bench.sign(&bench.key, Model("two", None, "2", None));
    let body = String::from_utf8(admitted(&bench.key, one.envelope().unwrap()).body().to_vec());
    let text = |bundle: &Bundle| {
        let signature = &bundle.envelope().unwrap().signatures[0].signature;
        treering_proto::encoding::to_base64(signature)
    };
    let forged = body.unwrap().replace(&text(&one), &text(&two));
    bench.admit(&bench.key, &one);
    let index = bench.served.log.lock().unwrap().append(forged.into_bytes()).get();
    assert!(matches!(bench.look_up(index).await, Err(Error::Signature(_))));
}

#[tokio::test]
async fn who_speaks_is_told_from_strangers() {
    let bench = Bench::new();
    let index = bench.log(&bench.key, Model("llama", None, "www", None));
    let about = bench.look_up(index).await.unwrap();
    let (recovery, sam, stranger) = (key(), key(), key());
    let mut trust = bench.trust.clone();
    trust.model_policy.recovery = vec![rule("vault", &recovery)];
    let roles = [("security".to_owned(), vec![rule("sam", &sam)])].into_iter().collect();
    trust.model_policy.approvals = Some(ApprovalsRule { action: Action::Refuse, count: 1, roles });
    let standing =
        |key: &PrivateKey, kind: &NoticeKind| about.standing(key.public_key(), kind, &trust);
    let approve = |role: &str| NoticeKind::Approve { role: role.to_owned() };
    let revoke = NoticeKind::Revoke;
    assert_eq!(standing(&bench.key, &revoke), Standing::Signer);
    assert_eq!(standing(&recovery, &revoke), Standing::Recovery("vault".to_owned()));
    assert_eq!(standing(&sam, &revoke), Standing::Stranger);
    assert_eq!(standing(&sam, &approve("security")), Standing::Approver("sam".to_owned()));
    assert_eq!(standing(&sam, &approve("qa")), Standing::Stranger);
    assert_eq!(standing(&bench.key, &approve("security")), Standing::Stranger, "no approver");
    assert_eq!(standing(&stranger, &approve("security")), Standing::Stranger);
}

#[tokio::test]
async fn the_newest_of_a_line_stands_highest_whatever_was_logged_again() {
    let mut bench = Bench::new();
    let (new_key, stranger) = (key(), key());
    bench.trust.signers = vec![rule("old", &bench.key), rule("new", &new_key)];
    let one = bench.log(&bench.key, Model("llama", Some("1"), "1", None));
    assert!(matches!(bench.newest(one).await, Err(LineError::Newest)));
    let two = bench.log(&bench.key, Model("llama", Some("2"), "2", None));
    assert_eq!(bench.newest(one).await.unwrap(), two);
    let three = bench.log(&new_key, Model("llama", Some("3"), "3", None));
    assert_eq!(bench.newest(one).await.unwrap(), three, "by a later key of the trust file");
    bench.log(&new_key, Model("llama", Some("2"), "2", Some(two)));
    bench.log(&bench.key, Model("llama", Some("1"), "1", None));
    bench.log(&stranger, Model("llama", Some("9"), "9", None));
    bench.log(&bench.key, Model("bert", Some("9"), "8", None));
    bench.log_notice(one, NoticeKind::Approve { role: "qa".to_owned() }).await;
    bench.served.log.lock().unwrap().admit(&Author::new().claim("llama", "x"));
    assert_eq!(bench.newest(one).await.unwrap(), three);
    assert_eq!(bench.newest(two).await.unwrap(), three);
    assert!(matches!(bench.newest(three).await, Err(LineError::Newest)));
}

#[tokio::test]
async fn what_a_search_invents_is_not_the_newest() {
    let bench = Bench::new();
    let one = bench.log(&bench.key, Model("llama", Some("1"), "1", None));
    let two = bench.log(&bench.key, Model("llama", Some("2"), "2", None));
    let bert = bench.log(&bench.key, Model("bert", Some("3"), "3", None));
    let (told, invented) = (format!("\"index\":\"{two}\""), format!("\"index\":\"{bert}\""));
    *bench.served.tamper.lock().unwrap() = Some(Box::new(move |line, body| {
        let text = String::from_utf8(body).unwrap();
        let is_search = line.contains("/search?");
        Some(if is_search { text.replace(&told, &invented) } else { text }.into_bytes())
    }));
    assert!(matches!(bench.newest(one).await, Err(LineError::Newest)));
}

#[tokio::test]
async fn without_a_whole_answer_nothing_is_the_newest() {
    let bench = Bench::new();
    let one = bench.log(&bench.key, Model("llama", Some("1"), "1", None));
    let two = bench.log(&bench.key, Model("llama", Some("2"), "2", None));
    let nameless = bench.log(&bench.key, Model("", None, "3", None));
    assert!(matches!(bench.newest(nameless).await, Err(LineError::NoName)));
    bench.served.log.lock().unwrap().searched = Some(one);
    assert!(matches!(bench.newest(one).await, Err(LineError::Behind { .. })));
    bench.served.log.lock().unwrap().searched = None;
    let hash = Entry::parse(&bench.body(two)).unwrap().payload_hash().unwrap();
    bench.served.log.lock().unwrap().statements.remove(&hash);
    let Err(LineError::Entry { index, .. }) = bench.newest(one).await else { panic!() };
    assert_eq!(index.get(), two);
    assert_eq!(bench.served.log.lock().unwrap().size(), TreeSize::new(13).unwrap());
}
