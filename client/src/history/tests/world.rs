//! A log as history sees it: entries with what they say, and an honest answer to every question.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use treering_proto::hash::{Hash, sha256};
use treering_proto::key::PublicKey;
use treering_proto::notice::{EntryRef, Notice, NoticeKind, Successor};
use treering_proto::tree::{LeafIndex, TreeSize};
use treering_proto::trust::model_policy::{Action, Rule};
use treering_proto::trust::{ModelPolicy, Signer, SignerRule};

use super::super::*;

pub const LOG: &str = "log.example";
pub const DAY: u64 = 86_400;
const START: u64 = 1_700_000_000;

/// Somebody with a key.
#[derive(Clone, Debug)]
pub struct Person {
    pub who: Who,
    pub rule: SignerRule,
}

impl Person {
    /// The holder of the key that `name` alone makes.
    pub fn new(name: &str) -> Self {
        let secret = SigningKey::from_bytes(&sha256(name.as_bytes()).0);
        let prefix = hex::decode("302a300506032b6570032100").unwrap();
        let spki = [&prefix[..], secret.verifying_key().as_bytes()].concat();
        let key = PublicKey::from_spki_der(&spki).unwrap();
        let fingerprint = key.fingerprint();
        Self {
            who: Who {
                key: fingerprint,
                identities: Vec::new(),
                issuer: None,
                in_time: true,
                may_be: Vec::new(),
            },
            rule: SignerRule { name: name.to_owned(), who: Signer::Key(key) },
        }
    }

    /// The holder of a certificate for `identity`; each one has a key of its own.
    pub fn certified(identity: &str, key: u8) -> Self {
        let issuer = Some("https://issuer.example".to_owned());
        Self {
            who: Who {
                key: Hash([key; 32]),
                identities: vec![identity.to_owned()],
                issuer: issuer.clone(),
                in_time: true,
                may_be: Vec::new(),
            },
            rule: SignerRule {
                name: identity.to_owned(),
                who: Signer::Identity { identity: identity.to_owned(), issuer },
            },
        }
    }
}

/// What somebody signs.
#[derive(Clone, Debug)]
pub struct Bytes {
    pub model: SeenModel,
    pub weights: Vec<String>,
}

/// The model of these bytes under this name.
pub fn model(name: &str, bytes: &str) -> Bytes {
    Bytes {
        model: SeenModel {
            model_id: sha256(bytes.as_bytes()),
            name: Some(name.to_owned()),
            said: Some(Said::default()),
        },
        weights: Vec::new(),
    }
}

impl Bytes {
    pub fn version(mut self, version: &str) -> Self {
        self.said().version = Some(version.to_owned());
        self
    }

    pub fn renews(mut self, entry: EntryRef) -> Self {
        self.said().renews = Some(entry);
        self
    }

    pub fn weights(mut self, weights: &[&str]) -> Self {
        let digest = |weight: &&str| format!("sha256:{}", sha256(weight.as_bytes()).to_hex());
        self.weights = weights.iter().map(digest).collect();
        self
    }

    fn said(&mut self) -> &mut Said {
        self.model.said.as_mut().unwrap()
    }
}

/// Of what is signed: the same for everybody who signs it.
fn digest(model: &SeenModel) -> Hash {
    sha256(format!("{model:?}").as_bytes())
}

struct Logged {
    seen: Seen,
    weights: Vec<String>,
    /// What was signed, where the log does not know it.
    hidden: Option<Bytes>,
}

/// The log.
#[derive(Default)]
pub struct World {
    entries: Vec<Logged>,
    day: f64,
    /// Entries whose statement the log does not give.
    pub withheld: Vec<LeafIndex>,
    /// Entries that its searches do not find.
    pub unfound: Vec<LeafIndex>,
}

impl World {
    /// It is that day, counted from 0.
    pub fn on_day(&mut self, day: f64) -> &mut Self {
        assert!(day >= self.day, "the log's clock does not go back");
        self.day = day;
        self
    }

    pub fn now(&self) -> u64 {
        START + (self.day * DAY as f64) as u64
    }

    /// How many entries it has.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    fn log(&mut self, who: &Person, what: What) -> &mut Logged {
        let index = LeafIndex::new(self.entries.len() as u64).unwrap();
        let leaf = sha256(&index.get().to_be_bytes());
        let time = Some(SeenTime { seconds: self.now(), word: Word::Log });
        let entry = EntryRef { index, leaf };
        let seen = Seen { entry, time, signed_by: vec![who.who.clone()], what };
        self.entries.push(Logged { seen, weights: Vec::new(), hidden: None });
        self.entries.last_mut().unwrap()
    }

    /// `who` signs a model and logs the signature.
    pub fn sign(&mut self, who: &Person, bytes: &Bytes) -> EntryRef {
        let logged = self.log(who, What::Model(bytes.model.clone()));
        logged.weights = bytes.weights.clone();
        logged.seen.entry
    }

    /// The same through `hashedrekord`: the log does not see what was signed.
    pub fn sign_digest(&mut self, who: &Person, bytes: &Bytes) -> EntryRef {
        let logged = self.log(who, What::Opaque);
        logged.hidden = Some(bytes.clone());
        logged.seen.entry
    }

    /// `who` says something about the model of `about`.
    pub fn say(&mut self, who: &Person, about: EntryRef, kind: NoticeKind) -> EntryRef {
        let model = self.model_of(about).model;
        let notice = Notice {
            kind,
            log: LOG.to_owned(),
            about,
            model_id: model.model_id,
            root: Hash([0; 32]),
            name: model.name,
            reason: Some("because".to_owned()),
        };
        self.log(who, What::Notice(Box::new(notice))).seen.entry
    }

    pub fn supersede(&mut self, who: &Person, about: EntryRef, by: EntryRef) -> EntryRef {
        let model_id = self.model_of(by).model.model_id;
        self.say(who, about, NoticeKind::Supersede { by: Successor { entry: by, model_id } })
    }

    pub fn roll_back(&mut self, who: &Person, to: EntryRef, instead_of: EntryRef) -> EntryRef {
        self.say(who, to, NoticeKind::ApproveRollback { instead_of })
    }

    pub fn approve(&mut self, who: &Person, about: EntryRef, role: &str) -> EntryRef {
        self.say(who, about, NoticeKind::Approve { role: role.to_owned() })
    }

    /// Something that is neither.
    pub fn add(&mut self, who: &Person, what: What) -> EntryRef {
        self.log(who, what).seen.entry
    }

    pub fn seen_mut(&mut self, entry: EntryRef) -> &mut Seen {
        &mut self.entries[entry.index.get() as usize].seen
    }

    fn model_of(&self, entry: EntryRef) -> Bytes {
        let logged = &self.entries[entry.index.get() as usize];
        match (&logged.seen.what, &logged.hidden) {
            (What::Model(model), _) => {
                Bytes { model: model.clone(), weights: logged.weights.clone() }
            }
            (_, Some(hidden)) => hidden.clone(),
            (other, None) => panic!("no model: {other:?}"),
        }
    }

    /// What `verify` knows of the bundle of `entry`.
    pub fn subject(&self, entry: EntryRef) -> Subject {
        let logged = &self.entries[entry.index.get() as usize];
        let bytes = self.model_of(entry);
        Subject {
            log: LOG.to_owned(),
            entry,
            time: logged.seen.time,
            signed_by: logged.seen.signed_by[0].clone(),
            intermediates: Vec::new(),
            model: bytes.model.clone(),
            weights: bytes.weights,
            weights_left_out: 0,
            digest: digest(&bytes.model),
            has_statement: logged.hidden.is_none(),
            head_time: None,
        }
    }

    fn matches(&self, logged: &Logged, question: &Question) -> bool {
        let signed = |by: &Option<By>| {
            by.as_ref().is_none_or(|by| match by {
                By::Key(key) => logged.seen.signed_by.iter().any(|who| who.key == *key),
                By::Identity { identity, issuer } => logged.seen.signed_by.iter().any(|who| {
                    who.may_be.contains(by)
                        || (who.identities.contains(identity) && who.issuer == *issuer)
                }),
            })
        };
        match (question, &logged.seen.what) {
            (Question::Model(id), What::Model(model)) => model.model_id == *id,
            (Question::Notices { model_id, by }, What::Notice(notice)) => {
                notice.model_id == *model_id && signed(by)
            }
            (Question::Notices { model_id, by }, What::UnreadableNotice { models, .. }) => {
                models.contains(model_id) && signed(by)
            }
            (Question::Named { name, by }, What::Model(model)) => {
                model.name.as_ref() == Some(name) && signed(by)
            }
            (Question::Named { name, by }, What::Notice(notice)) => {
                notice.name.as_ref() == Some(name) && signed(by)
            }
            (Question::Weight(digest), What::Model(_)) => logged.weights.contains(digest),
            (Question::Signed(signed), What::Opaque) => {
                logged.hidden.as_ref().is_some_and(|hidden| digest(&hidden.model) == *signed)
            }
            _ => false,
        }
    }

    /// All that the log answers now, gathered as anybody would.
    pub fn history(&self, believed: Believed<'_>, subject: &Subject) -> History {
        let size = TreeSize::new(self.entries.len() as u64).unwrap();
        let mut history = History::new(Source::Log, size, Some(self.now()));
        for round in 0.. {
            let open = questions(believed, subject, &history);
            if open.is_empty() {
                break;
            }
            assert!(round < 6, "questions come to an end");
            for question in open {
                self.answer(question, &mut history);
            }
        }
        history
    }

    fn answer(&self, question: Question, history: &mut History) {
        let found = |logged: &&Logged| {
            self.matches(logged, &question) && !self.unfound.contains(&logged.seen.entry.index)
        };
        let hits: Vec<&Logged> = self.entries.iter().filter(found).collect();
        let Wanted { all_up_to, oldest } = question.wanted();
        let is_all = hits.len() <= all_up_to;
        let taken = if is_all { hits.len() } else { oldest };
        let mut indexes = Vec::new();
        for logged in &hits[..taken] {
            let index = logged.seen.entry.index;
            let mut seen = logged.seen.clone();
            if self.withheld.contains(&index) {
                (seen.what, seen.signed_by) = (What::Opaque, Vec::new());
            }
            indexes.push(index);
            history.seen.insert(index, seen);
        }
        let answer = if is_all { Answer::All(indexes) } else { Answer::Oldest(indexes) };
        history.answers.insert(question, answer);
    }

    /// Judges the bundle of `entry`, online.
    pub fn judge(&self, policy: &ModelPolicy, people: &[&Person], entry: EntryRef) -> Judged {
        let signers: Vec<SignerRule> = people.iter().map(|person| person.rule.clone()).collect();
        let believed = Believed { policy, signers: &signers };
        let subject = self.subject(entry);
        let history = self.history(believed, &subject);
        Judged::of(judge(believed, &subject, Some(&history), self.now()))
    }

    /// The same by the recommended policy.
    pub fn recommended(&self, people: &[&Person], entry: EntryRef) -> Judged {
        self.judge(&ModelPolicy::recommended(), people, entry)
    }
}

/// Findings by rule.
#[derive(Debug)]
pub struct Judged(pub BTreeMap<Rule, Finding>);

impl Judged {
    pub fn of(findings: Vec<Finding>) -> Self {
        let count = findings.len();
        let by_rule: BTreeMap<Rule, Finding> =
            findings.into_iter().map(|finding| (finding.rule, finding)).collect();
        assert_eq!(by_rule.len(), count, "one finding for each rule");
        Self(by_rule)
    }

    /// The rules that refuse the model, or would and could not be checked.
    pub fn refusing(&self) -> Vec<Rule> {
        self.with(Action::Refuse)
    }

    /// The rules that warn.
    pub fn warning(&self) -> Vec<Rule> {
        self.with(Action::Warn)
    }

    fn with(&self, action: Action) -> Vec<Rule> {
        let speaks =
            |finding: &&Finding| finding.action == action && finding.verdict != Verdict::Holds;
        self.0.values().filter(speaks).map(|finding| finding.rule).collect()
    }

    pub fn verdict(&self, rule: Rule) -> Verdict {
        self.0[&rule].verdict
    }

    /// Why, with evidence and remarks, as one text.
    pub fn text(&self, rule: Rule) -> String {
        let finding = &self.0[&rule];
        let cited = finding
            .evidence
            .iter()
            .map(|cited| format!("entry {} by {}: {}", cited.index, cited.by, cited.what));
        let lines = std::iter::once(finding.why.clone()).chain(cited);
        lines.chain(finding.remarks.iter().cloned()).collect::<Vec<_>>().join("; ")
    }

    /// Nothing against it, and nothing left open.
    #[track_caller]
    pub fn is_fine(&self) {
        let open: Vec<String> = self
            .refusing()
            .into_iter()
            .chain(self.warning())
            .map(|rule| format!("{}: {}", rule.name(), self.text(rule)))
            .collect();
        assert!(open.is_empty(), "{open:#?}");
    }

    /// `rule` alone refuses it, because of what it found.
    #[track_caller]
    pub fn is_refused_by(&self, rule: Rule) {
        assert_eq!(self.refusing(), [rule], "{self:#?}");
        assert_eq!(self.verdict(rule), Verdict::Against);
        assert!(self.0[&rule].remedy.is_some(), "a refusal says what to do");
    }
}
