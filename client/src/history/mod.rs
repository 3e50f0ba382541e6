//! The history of a model, and what a verifier makes of it.
//!
//! A signature on an old or bad model verifies for ever. What has happened since stands in the log:
//! newer models, revocations, the same bytes long before. It is gathered in one shape, from
//! whichever source, and judged in one place:
//!
//! ```text
//! the log (each hit proved)    \                              /  report of `verify`
//! a status proof (a file)       > History -> judge -> Finding <
//! a monitor's own index        /     ^                        \  verification events
//!                                    |
//!                 questions(policy, subject, history)
//! ```
//!
//! Gathering starts with [`History::new`] and asks [`questions()`] until there are none; each
//! answer may raise others. Whoever gathers proves that every [`Seen`] is in the tree, verifies its
//! signatures, and reads its statement ([`Seen::read`] does the last two). What cannot be proved is
//! left out and named in the remarks, and the answer is then no [`Answer::All`].
//!
//! Invariants: [`judge()`] is pure, and has no finding but those of rules that are on; a rule that
//! is on has exactly one. What a question was not answered about is never taken for "there is
//! none".
//! Out of scope: network and files.

mod age;
mod approvals;
mod context;
mod judge;
mod kin;
mod notices;
mod order;
mod people;
mod questions;
mod speak;
mod subject;
pub(crate) mod version;
mod who;

use std::collections::BTreeMap;
use std::fmt;

use treering_proto::certificate::Certificate;
use treering_proto::entry::{Entry, Recheck};
use treering_proto::facts::Tag;
use treering_proto::hash::Hash;
use treering_proto::model_statement::ModelStatement;
use treering_proto::notice::{EntryRef, MODEL_ID_ALGORITHM, NOTICE_TYPES, Notice};
use treering_proto::statement::Statement;
use treering_proto::tree::{LeafIndex, TreeSize};
use treering_proto::trust::model_policy::{Action, Rule};
use treering_proto::trust::{ModelPolicy, SignerRule};

use crate::time::time_text;

pub use subject::weights;
pub use who::{By, Who};

/// Weight files of one model that are asked about: more are a shard count, not a model.
pub const WEIGHTS_MAX: usize = 64;

/// Entries that one question about one model or person may bring. Honest names have a few versions
/// a day at most.
pub const HITS_MAX: usize = 1_000;

/// Entries that a question about what anybody did may bring. Where there are more, each person who
/// matters is asked about, so that strangers cannot hide them by their number.
pub const HITS_OF_ANYBODY_MAX: usize = 100;

/// Names of files that hold weights, by what follows the last dot.
pub const WEIGHT_EXTENSIONS: [&str; 17] = [
    "safetensors",
    "gguf",
    "ggml",
    "bin",
    "pt",
    "pth",
    "ckpt",
    "onnx",
    "h5",
    "keras",
    "tflite",
    "npz",
    "npy",
    "msgpack",
    "pb",
    "pkl",
    "joblib",
];

/// What a verifier believes about people.
#[derive(Clone, Copy, Debug)]
pub struct Believed<'a> {
    /// The rules, and who else may speak.
    pub policy: &'a ModelPolicy,
    /// Who may sign: those by whom the subject was accepted. All of them who use one name are one
    /// line of models, so that a change of keys starts nothing anew.
    pub signers: &'a [SignerRule],
}

/// The signature that is judged: what `verify` knows about it without any history.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The origin of the log.
    pub log: String,
    /// Where it is logged.
    pub entry: EntryRef,
    /// When it was logged, if that is known without the history.
    pub time: Option<SeenTime>,
    /// Who signed it.
    pub signed_by: Who,
    /// Certificates (DER) that its bundle brought: they may certify others, too.
    pub intermediates: Vec<Vec<u8>>,
    /// What was signed.
    pub model: SeenModel,
    /// The digests of its weight files, spelled as the fact `file-digest`: at most [`WEIGHTS_MAX`].
    pub weights: Vec<String>,
    /// How many weight files there are beyond those.
    pub weights_left_out: usize,
    /// SHA-256 of what was signed (the DSSE pre-authentication encoding): how the log knows
    /// signatures that were logged as a digest alone.
    pub digest: Hash,
    /// Whether the log was shown what was signed: not if it is logged as a digest alone.
    pub has_statement: bool,
    /// When the newest tree that is known was the newest, where there is no history: that of the
    /// log if it was asked, otherwise that of the bundle. By the word of those whom the trust file
    /// believes about time (see [`treering_proto::freshness::head_time`]).
    pub head_time: Option<u64>,
}

/// An entry that was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    /// Where it is: proven to be in the tree of the history.
    pub entry: EntryRef,
    /// When it was logged, if that is known.
    pub time: Option<SeenTime>,
    /// Who really signed it: signatures that were verified. Empty where they could not be.
    pub signed_by: Vec<Who>,
    /// What it says.
    pub what: What,
}

/// When an entry was logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenTime {
    /// Unix seconds.
    pub seconds: u64,
    /// Who says so.
    pub word: Word,
}

/// Whose word a time is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// The log's alone.
    Log,
    /// That of the witness quorum: the entry is not younger.
    Witnesses,
}

/// What an entry says.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// The signature of a model.
    Model(SeenModel),
    /// A notice about a model.
    Notice(Box<Notice>),
    /// A statement with the predicate type of a notice that this version cannot read, or of which
    /// only facts are known.
    UnreadableNotice {
        /// The model ids that its subjects name.
        models: Vec<Hash>,
        /// Its predicate type, perhaps one of a later version.
        predicate_type: String,
        /// Why it cannot be read.
        why: String,
    },
    /// Something else, which no rule is about.
    Other,
    /// The statement is not there, or is not the one that was signed; or only a digest was signed.
    Opaque,
}

/// What is known of a model that was signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenModel {
    /// Its identity.
    pub model_id: Hash,
    /// The signer's name for it.
    pub name: Option<String>,
    /// What else the signer says about it; `None` where only facts are known, as in a monitor's
    /// index.
    pub said: Option<Said>,
}

/// What a signer says about a model, beside its files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// The version.
    pub version: Option<String>,
    /// The logged signature that this one renews.
    pub renews: Option<EntryRef>,
}

/// All that is known about a model.
#[derive(Clone, Debug)]
pub struct History {
    /// Where it comes from.
    pub source: Source,
    /// The tree that it is about: every answer covers it, every entry is in it.
    pub size: TreeSize,
    /// When that tree was the newest, by the word of those whom the trust file believes about time
    /// (see [`treering_proto::freshness::head_time`]).
    pub head_time: Option<u64>,
    /// What was asked, and what came of it.
    pub answers: BTreeMap<Question, Answer>,
    /// Every entry that was found.
    pub seen: BTreeMap<LeafIndex, Seen>,
    /// What was left out, and why.
    pub remarks: Vec<String>,
}

/// Where a history comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The log's searches: what it shows is proven, what it hides is not noticed.
    Log,
    /// The same, as it was when a status proof was made.
    StatusProof,
    /// A monitor's own index: nothing is hidden.
    Index {
        /// The first entry that was read.
        from: LeafIndex,
        /// Entries in which there may be more than is known, because their statement is not there.
        without_statement: u64,
    },
}

/// One thing to search for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Question {
    /// Signatures of the model with this id.
    Model(Hash),
    /// Notices about it.
    Notices {
        /// The model id.
        model_id: Hash,
        /// By whom; `None` for anybody.
        by: Option<By>,
    },
    /// What was signed under a name.
    Named {
        /// The name.
        name: String,
        /// By whom; `None` for anybody.
        by: Option<By>,
    },
    /// Models with a weight file of this digest, spelled as the fact `file-digest`.
    Weight(String),
    /// Signatures of which the log has the SHA-256 digest of what was signed, and no more.
    Signed(Hash),
}

/// How much of what matches is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// If no more than this match, all of them: [`Answer::All`].
    pub all_up_to: usize,
    /// Otherwise so many, the oldest: [`Answer::Oldest`].
    pub oldest: usize,
}

/// What came of a question. Indexes are ascending; each is in [`History::seen`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// These match, and no others.
    All(Vec<LeafIndex>),
    /// These are the oldest that match; there are others.
    Oldest(Vec<LeafIndex>),
    /// It was not answered: why.
    Unknown(String),
}

/// What a rule came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What the policy makes of it: never [`Action::Off`].
    pub action: Action,
    /// How it came out.
    pub verdict: Verdict,
    /// One sentence: what was found, or why nothing could be.
    pub why: String,
    /// Entries that show it.
    pub evidence: Vec<Cited>,
    /// What else should be known, such as notices that do not count and why.
    pub remarks: Vec<String>,
    /// What to do about it; only where the rule speaks against the model or could not be checked.
    pub remedy: Option<String>,
}

/// How a rule came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It has nothing against the model.
    Holds,
    /// It speaks against the model.
    Against,
    /// It could not be checked.
    Unknown,
}

/// An entry as evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cited {
    /// Where it is.
    pub index: LeafIndex,
    /// When it was logged, if that is known.
    pub time: Option<SeenTime>,
    /// Who signed it, for people.
    pub by: String,
    /// What it shows.
    pub what: String,
}

impl Question {
    /// The facts that an entry must have, all of them, to match.
    pub fn facts(&self) -> Vec<(Tag, String)> {
        let (first, by) = match self {
            Self::Model(id) => ((Tag::ModelId, id.to_hex()), None),
            Self::Notices { model_id, by } => {
                let digest = format!("{MODEL_ID_ALGORITHM}:{}", model_id.to_hex());
                ((Tag::ArtifactDigest, digest), by.as_ref())
            }
            Self::Named { name, by } => ((Tag::SubjectName, name.clone()), by.as_ref()),
            Self::Weight(digest) => ((Tag::FileDigest, digest.clone()), None),
            Self::Signed(digest) => ((Tag::ArtifactDigest, format!("sha256:{digest}")), None),
        };
        std::iter::once(first).chain(by.into_iter().flat_map(By::facts)).collect()
    }

    /// How much of what matches is wanted.
    pub fn wanted(&self) -> Wanted {
        match self {
            Self::Notices { by: None, .. } | Self::Named { by: None, .. } => {
                Wanted { all_up_to: HITS_OF_ANYBODY_MAX, oldest: 8 }
            }
            Self::Model(_) | Self::Notices { .. } | Self::Named { .. } | Self::Signed(_) => {
                Wanted { all_up_to: HITS_MAX, oldest: 8 }
            }
            Self::Weight(_) => Wanted { all_up_to: 1, oldest: 1 },
        }
    }
}

impl Finding {
    /// Evidence, remarks and remedy, a line each.
    pub fn details(&self) -> Vec<String> {
        let evidence = self.evidence.iter().map(Cited::to_string);
        let remarks = self.remarks.iter().map(|remark| format!("remark: {remark}"));
        let remedy = self.remedy.iter().map(|remedy| format!("next: {remedy}"));
        evidence.chain(remarks).chain(remedy).collect()
    }
}

impl fmt::Display for Cited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.time.map(|time| time.word) {
            None => "",
            Some(Word::Log) => " (the log's word)",
            Some(Word::Witnesses) => " at the latest (witnesses saw it)",
        };
        let time = self.time.map(|time| format!(", {}{word}", time_text(time.seconds)));
        let (index, time) = (self.index, time.unwrap_or_default());
        write!(f, "entry {index}{time}, by {}: {}", self.by, self.what)
    }
}

impl Seen {
    /// Reads an entry that was proven to be in the tree: verifies its signatures and reads its
    /// statement. `intermediates` (DER) and `authorities` certify the signers.
    pub fn read(
        at: EntryRef,
        entry: &Entry,
        payload: Option<&[u8]>,
        time: Option<SeenTime>,
        intermediates: &[Vec<u8>],
        authorities: &[Certificate],
    ) -> Self {
        let verified = entry.recheck(payload) == Recheck::Valid;
        let who = |verifier| Who::of(verifier, intermediates, authorities, time);
        let signed_by = match verified {
            true => entry.verifiers().into_iter().map(who).collect(),
            false => Vec::new(),
        };
        let what = match (payload, entry.payload_hash()) {
            (Some(payload), Some(_)) if verified => What::read(payload),
            // Nobody can show that it was signed, so nobody says what is in it.
            (_, Some(_)) if !entry.keeps_signatures() => What::Other,
            _ => What::Opaque,
        };
        Self { entry: at, time, signed_by, what }
    }
}

impl What {
    /// Reads a payload that was signed as an in-toto statement.
    pub fn read(payload: &[u8]) -> Self {
        let Ok(statement) = Statement::parse(payload) else { return Self::Other };
        if let Ok(model) = ModelStatement::parse(&statement) {
            return Self::Model(SeenModel::of(&model));
        }
        let why = match Notice::parse(&statement) {
            Ok(Some(notice)) => return Self::Notice(Box::new(notice)),
            Err(error) => error.to_string(),
            Ok(None) if statement.predicate_type.starts_with(NOTICE_TYPES) => {
                "it is one of a later version".to_owned()
            }
            Ok(None) => return Self::Other,
        };
        let (models, predicate_type) = (spoken_of(&statement), statement.predicate_type);
        Self::UnreadableNotice { models, predicate_type, why }
    }
}

/// The models that a notice may be about which cannot be read.
fn spoken_of(statement: &Statement) -> Vec<Hash> {
    let ids = statement.subjects.iter().filter_map(|subject| {
        let text = subject.digest(MODEL_ID_ALGORITHM)?.to_lowercase();
        let bytes = treering_proto::encoding::from_hex_lower(&text)?;
        Hash::from_slice(&bytes)
    });
    ids.collect()
}

impl SeenModel {
    /// What `statement` says.
    pub fn of(statement: &ModelStatement) -> Self {
        Self {
            model_id: treering_proto::model_id::model_id(statement),
            name: statement.name().map(str::to_owned),
            said: Some(Said {
                version: statement.model_version().map(str::to_owned),
                renews: statement.renews(),
            }),
        }
    }
}

impl History {
    /// Nothing is known yet.
    pub fn new(source: Source, size: TreeSize, head_time: Option<u64>) -> Self {
        Self {
            source,
            size,
            head_time,
            answers: BTreeMap::new(),
            seen: BTreeMap::new(),
            remarks: Vec::new(),
        }
    }
}

/// What is not answered yet in `history` and must be, to judge `subject` by `believed.policy`.
/// Nothing when there is nothing left to ask. An answer may raise further questions, so ask again
/// until there are none; that ends after a few rounds.
pub fn questions(believed: Believed<'_>, subject: &Subject, history: &History) -> Vec<Question> {
    questions::open(believed, subject, history)
}

/// Judges `subject` by every rule of `believed.policy` that is on, in the order of [`Rule::ALL`].
/// Without a history, what needs one cannot be checked. `now` is in Unix seconds.
pub fn judge(
    believed: Believed<'_>,
    subject: &Subject,
    history: Option<&History>,
    now: u64,
) -> Vec<Finding> {
    judge::judge(&context::Context::new(believed, subject, history, now))
}

#[cfg(test)]
mod tests;
