//! Status proofs against a log in memory: what is gathered, what a file proves, and every lie.

use treering_proto::checkpoint::open_checkpoint;
use treering_proto::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::entry::VerifiedEntry;
use treering_proto::facts::digest_value;
use treering_proto::hash::sha256;
use treering_proto::model_id::model_id;
use treering_proto::model_statement::{ModelStatement, Resource};
use treering_proto::notice::{EntryRef, Notice, NoticeKind};
use treering_proto::statement::Statement;
use treering_proto::trust::{ModelPolicy, SignerRule};

use super::*;
use crate::history::{SeenModel, What, Who};
use crate::test_author::Author;
use crate::test_log::{ORIGIN, Served, TIME, TestLog};

mod asking;
mod bounds;
mod dates;
mod files;
mod lies;

/// A log with people who sign, and a verifier.
pub(super) struct World {
    served: Served,
    alice: Author,
    bob: Author,
    policy: ModelPolicy,
    witnesses: Vec<u8>,
}

impl World {
    /// A log of `count` entries that nobody reads.
    fn new(count: usize) -> Self {
        Self {
            served: TestLog::filled(1, count).serve(),
            alice: Author::new(),
            bob: Author::new(),
            policy: ModelPolicy::recommended(),
            witnesses: Vec::new(),
        }
    }

    fn trust(&self) -> TrustFile {
        let log = self.served.log.lock().unwrap();
        let mut trust = log.trust(&self.served.url, self.signers(), &self.witnesses);
        trust.model_policy = self.policy.clone();
        trust
    }

    fn signers(&self) -> Vec<SignerRule> {
        vec![self.alice.rule("alice")]
    }

    fn admit(&self, entry: &VerifiedEntry) -> EntryRef {
        let index = self.served.log.lock().unwrap().admit(entry);
        EntryRef { index, leaf: entry.leaf() }
    }

    /// Logs a statement by `who`.
    fn say(&self, who: &Author, payload: Vec<u8>) -> EntryRef {
        self.admit(&who.envelope(IN_TOTO_PAYLOAD_TYPE, payload))
    }

    /// Logs the signature of a model with these weights.
    fn sign(&self, who: &Author, name: &str, weights: &str) -> EntryRef {
        self.say(who, model(name, weights).to_payload())
    }

    /// Logs a revocation of the model that is logged at `about`.
    fn revoke(&self, who: &Author, about: EntryRef, model: &ModelStatement) -> EntryRef {
        let notice = Notice {
            kind: NoticeKind::Revoke,
            log: ORIGIN.to_owned(),
            about,
            model_id: model_id(model),
            root: model.root(),
            name: model.name().map(str::to_owned),
            reason: Some("bad data".to_owned()),
        };
        self.say(who, notice.to_payload().unwrap())
    }

    fn subject(&self, entry: EntryRef, model: &ModelStatement) -> Subject {
        let digest = &model.resources()[0].digest;
        let weights =
            vec![String::from_utf8(digest_value("sha256", &hex::encode(digest)).unwrap()).unwrap()];
        let verifier = treering_proto::verifier::Verifier::PublicKey(Box::new(
            match self.alice.rule("alice").who {
                treering_proto::trust::Signer::Key(key) => key,
                _ => unreachable!("an author has a key"),
            },
        ));
        Subject {
            log: ORIGIN.to_owned(),
            entry,
            time: None,
            signed_by: Who::of(&verifier, &[], &[], None),
            intermediates: Vec::new(),
            model: SeenModel::of(model),
            weights,
            weights_left_out: 0,
            digest: sha256(&pae(IN_TOTO_PAYLOAD_TYPE, &model.to_payload())),
            has_statement: true,
            head_time: None,
        }
    }

    /// The newest checkpoint.
    fn head(&self) -> SignedCheckpoint {
        let trust = self.trust();
        let log = self.served.log.lock().unwrap();
        let note = log.checkpoint(log.size(), &log.witnesses);
        open_checkpoint(note.as_bytes(), ORIGIN, &trust.note_keys()).unwrap()
    }

    /// Gathers what the policy needs.
    async fn gather(&self, subject: &Subject) -> Result<Gathered, StatusError> {
        self.gather_to(&self.head(), subject).await
    }

    async fn gather_to(
        &self,
        head: &SignedCheckpoint,
        subject: &Subject,
    ) -> Result<Gathered, StatusError> {
        let (trust, transport, signers) = (self.trust(), self.served.transport(), self.signers());
        let log = LogReader::new(&transport, &trust);
        let believed = Believed { policy: &trust.model_policy, signers: &signers };
        let open =
            |history: &History| Asked::of(crate::history::questions(believed, subject, history));
        Asker::new(&log, &trust, head, &[]).gather(open).await
    }

    /// Changes the answers whose request contains `part`; `None` is 404.
    fn tamper(
        &self,
        part: &'static str,
        change: impl Fn(Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
    ) {
        *self.served.tamper.lock().unwrap() =
            Some(Box::new(
                move |line, body| {
                    if line.contains(part) { change(body) } else { Some(body) }
                },
            ));
    }

    /// Changes the JSON of such answers.
    fn tamper_json(
        &self,
        part: &'static str,
        change: impl Fn(&mut serde_json::Value) + Send + 'static,
    ) {
        self.tamper(part, move |body| {
            let mut json = serde_json::from_slice(&body).unwrap();
            change(&mut json);
            Some(serde_json::to_vec(&json).unwrap())
        });
    }
}

/// A model of one weight file and a file that all have.
pub(super) fn model(name: &str, weights: &str) -> ModelStatement {
    let file = |name: &str, text: &str| Resource {
        name: name.to_owned(),
        digest: treering_proto::hash::sha256(text.as_bytes()).as_bytes().to_vec(),
    };
    let files = vec![file("a.safetensors", weights), file("tokenizer.json", "{}")];
    ModelStatement::new_files(name, files, Vec::new(), None).unwrap()
}

pub(super) fn indexes(list: &[EntryRef]) -> Vec<LeafIndex> {
    list.iter().map(|entry| entry.index).collect()
}

pub(super) fn unknown(answer: &Answer) -> &str {
    match answer {
        Answer::Unknown(why) => why,
        other => panic!("{other:?} should be unknown"),
    }
}
