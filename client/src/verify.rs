//! The check: is this model the one that an accepted signer signed, and is the signature logged?
//!
//! ```text
//! bundle       parse strictly; the statement passes the log's own admission    -> Opened
//! signature    the envelope's signature verifies under a key                   -> Verifier
//! signer       a rule accepts that key, or its certificate
//! certificate  an authority certifies it (for rules about identities)
//! bytes        the files are those of the statement, no more and no fewer
//! logged       one log entry of the trusted log, about this very signature     -> leaf
//! checkpoint   the log signed the tree                                         -> SignedCheckpoint
//! inclusion    the leaf is in that tree
//! floor        the tree does not contradict the floor of the trust file
//! witnesses    the quorum cosigned the tree, and the newest where the log was asked
//! timestamp    RFC 3161 authorities saw the signature (if the bundle says so)
//! time         what is said about when the entry was logged goes together
//! freshness    the newest tree is not too old
//! rule-...     one for each rule of the model policy that is on
//! ```
//!
//! [`verify`] is all of this without the log, but for the rules. Where the log is asked,
//! [`examine`] comes first, then the questions (see [`crate::online`]), and the answers go into
//! [`Examined::conclude`]. The rules come last ([`judge`]), because what they ask depends on the
//! rest (see [`crate::history`]).
//!
//! Invariants: no network, no clock, no files: everything comes in as an argument, so the same
//! input has the same answer. Every check is in the report, whatever happened to those before it.

mod checks;
mod dates;
mod entry;
mod proof;
mod rules;

use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::bundle::{Bundle, BundleError, Content, Material};
use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::dsse_envelope::{Envelope, IN_TOTO_PAYLOAD_TYPE};
use treering_proto::evidence::{self, Evidence};
use treering_proto::hash::Hash;
use treering_proto::model_id::model_id;
use treering_proto::model_statement::{ModelStatement, ModelStatementError, Resource};
use treering_proto::statement::{Statement, StatementError};
use treering_proto::tree::LeafIndex;
use treering_proto::trust::{ModelPolicy, SignerRule, TrustFile};
use treering_proto::verifier::Verifier;

use crate::history::Finding;
use crate::report::{Exit, Report};
use dates::{Dated, Logged};
use proof::Proven;

pub use entry::{ExaminedEntry, examine_entry};

pub(crate) use dates::is_promised;
pub use rules::{check_name, judge};

/// All checks in order, as the report names them; those of rules follow.
pub const CHECKS: [&str; 13] = [
    "bundle",
    "signature",
    "signer",
    "certificate",
    "bytes",
    "logged",
    "checkpoint",
    "inclusion",
    "floor",
    "witnesses",
    "timestamp",
    "time",
    "freshness",
];

/// A bundle that says one thing about one model. Nothing in it is verified.
#[derive(Clone, Debug)]
pub struct Opened {
    bundle: Bundle,
    statement: ModelStatement,
    model_id: Hash,
}

/// What is believed, and when it is.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The log, witnesses and authorities.
    pub trust: &'a TrustFile,
    /// Who may sign; the rules of the trust file are not added by themselves.
    pub signers: &'a [SignerRule],
    /// Now, in Unix seconds: when certificates must be valid unless witnesses or RFC 3161
    /// authorities prove an earlier time, and what ages are counted from.
    pub now: u64,
}

/// What the log showed when it was asked; by default it was not. Every checkpoint here was opened
/// with the keys of the trust file, meets its quorum, and is consistent with that of the bundle.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Its newest checkpoint.
    pub newest: Newest,
    /// An older one: of a tree that does not have the entry yet.
    pub before: Option<SignedCheckpoint>,
    /// One of a small tree that has the entry.
    pub after: Option<SignedCheckpoint>,
    /// The path from the entry to the tree of `after`, as the log's tiles say; empty when it was
    /// not needed.
    pub after_proof: Vec<Hash>,
    /// When it says that it logged the entry.
    pub promise: Option<Promise>,
    /// What is missing above, and why.
    pub remarks: Vec<String>,
}

/// The newest checkpoint of the log.
#[derive(Clone, Debug, Default)]
pub enum Newest {
    /// Nobody asked.
    #[default]
    NotAsked,
    /// The log could not be followed.
    Unknown,
    /// The quorum did not cosign it.
    NoQuorum {
        /// Its size.
        size: u64,
    },
    /// It extends all that is known.
    Followed(SignedCheckpoint),
}

/// A signed entry timestamp of Rekor v1, as it came: nothing in it is verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promise {
    /// Unix seconds.
    pub time: u64,
    /// The log's signature over entry, index and time.
    pub signature: Vec<u8>,
}

/// What is known about the model's files.
#[derive(Clone, Copy, Debug)]
pub enum Model<'a> {
    /// It was not read, and nobody asked for that.
    NotRead,
    /// It holds what no signed model holds: why, and each such thing.
    Unacceptable(&'a str, &'a [String]),
    /// It could not be read.
    Unreadable(&'a str),
    /// It was read.
    Read(&'a Found),
}

/// The files that were found.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Found {
    /// Each file with its SHA-256.
    pub files: Vec<Resource>,
    /// Paths that the caller chose not to look at, beside those of the statement.
    pub ignored_by_caller: Vec<String>,
    /// Ignored paths that exist.
    pub ignored: Vec<String>,
}

/// What the checks came to.
#[derive(Clone, Debug)]
pub struct Verification {
    /// Every check.
    pub report: Report,
    /// The rule that accepts the signer.
    pub signer: Option<String>,
    /// What the signature verifies under.
    pub verifier: Option<Verifier>,
    /// Where the signature is logged, if that is proven.
    pub entry: Option<ProvenEntry>,
    /// Everything that the log said and that does not go together: one is not the other's proof.
    pub evidence: Vec<Evidence>,
    /// Paths that are there and that nobody signed.
    pub ignored_found: Vec<String>,
    /// Signed files that were not compared, at the caller's wish.
    pub skipped_by_caller: Vec<String>,
    /// What the rules of the model policy came to, after [`judge`].
    pub findings: Vec<Finding>,
}

/// A log entry that is proven to be in a tree that the log signed.
#[derive(Clone, Debug)]
pub struct ProvenEntry {
    /// Its position.
    pub index: LeafIndex,
    /// Its leaf hash.
    pub leaf: Hash,
    /// The signed tree.
    pub checkpoint: SignedCheckpoint,
    /// A time at which the tree existed, by the word of the witness quorum, in Unix seconds: the
    /// entry is not younger.
    pub witnessed_by: Option<u64>,
}

/// Why a bundle cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A signature over something that is not in the bundle.
    #[error("the bundle signs a digest, not a statement about a model")]
    NoEnvelope,
    /// An envelope around something else.
    #[error("the payload type is {0:?}, not that of an in-toto statement")]
    PayloadType(String),
    /// Not an in-toto statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A statement that is not about a model, or not about exactly one.
    #[error(transparent)]
    Model(#[from] ModelStatementError),
}

impl Opened {
    /// Reads a bundle and the model statement in it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(bytes: &[u8]) -> Result<Self, OpenError> {
        Self::from_bundle(Bundle::parse(bytes)?)
    }

    /// Reads the model statement in `bundle`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn from_bundle(bundle: Bundle) -> Result<Self, OpenError> {
        let envelope = bundle.envelope().ok_or(OpenError::NoEnvelope)?;
        if envelope.payload_type != IN_TOTO_PAYLOAD_TYPE {
            return Err(OpenError::PayloadType(envelope.payload_type.clone()));
        }
        let statement = ModelStatement::parse(&Statement::parse(&envelope.payload)?)?;
        let model_id = model_id(&statement);
        Ok(Self { bundle, statement, model_id })
    }

    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// What it says about the model.
    pub fn statement(&self) -> &ModelStatement {
        &self.statement
    }

    /// The identity of the model that it speaks about.
    pub fn model_id(&self) -> Hash {
        self.model_id
    }

    /// The signed envelope.
    pub fn envelope(&self) -> &Envelope {
        match &self.bundle.content {
            Content::Envelope(envelope) => envelope,
            Content::MessageSignature { .. } => {
                unreachable!("a bundle without envelope is not opened")
            }
        }
    }

    /// Certificates in DER, leaf first; none when the bundle names a key.
    pub fn certificates(&self) -> &[Vec<u8>] {
        match &self.bundle.material {
            Material::PublicKey { .. } => &[],
            Material::Certificate(leaf) => std::slice::from_ref(leaf),
            Material::CertificateChain(chain) => chain,
        }
    }

    /// The certificates in DER beside the leaf: they may certify other signers, too.
    pub fn intermediates(&self) -> &[Vec<u8>] {
        self.certificates().get(1..).unwrap_or_default()
    }
}

/// The report about a bundle that could not be opened. None of `rules` can be checked.
pub fn not_opened(error: &OpenError, rules: &ModelPolicy) -> Verification {
    let mut report = Report::default();
    report.failed("bundle", error.to_string(), Exit::NotVerified);
    for check in &CHECKS[1..] {
        report.not_checked(check, "the bundle cannot be read");
    }
    rules::nothing_to_judge(rules, &mut report);
    Verification {
        report,
        signer: None,
        verifier: None,
        entry: None,
        evidence: Vec::new(),
        ignored_found: Vec::new(),
        skipped_by_caller: Vec::new(),
        findings: Vec::new(),
    }
}

/// A bundle whose signature and log proof were checked: all that is needed to ask the log about it.
#[derive(Debug)]
pub struct Examined<'a> {
    opened: &'a Opened,
    policy: &'a Policy<'a>,
    /// Its first lines, up to the signature.
    report: Report,
    /// Its lines about the log's proof.
    log_report: Report,
    verifier: Option<Verifier>,
    logged: Option<&'a TransparencyLogEntry>,
    proven: Proven,
}

/// Runs every check that needs no answer of the log.
pub fn verify(opened: &Opened, policy: &Policy<'_>, model: Model<'_>) -> Verification {
    examine(opened, policy).conclude(model, &Shown::default())
}

/// Checks the signature and the log's proof.
pub fn examine<'a>(opened: &'a Opened, policy: &'a Policy<'a>) -> Examined<'a> {
    let mut report = Report::default();
    let files = opened.statement.resources().len();
    report.passed("bundle", format!("a Sigstore bundle v0.3 that lists {files} files"));
    let candidates = checks::candidates(opened, policy);
    let verifier = checks::signature(opened, &candidates, &mut report);
    let mut log_report = Report::default();
    let logged = proof::logged(opened, policy.trust, verifier.as_ref(), &mut log_report);
    let proven = proof::proof(opened, policy.trust, logged, &mut log_report);
    Examined { opened, policy, report, log_report, verifier, logged, proven }
}

impl Examined<'_> {
    /// Where the signature is logged, if that is proven.
    pub fn entry(&self) -> Option<&ProvenEntry> {
        self.proven.entry.as_ref()
    }

    /// What the bundle says that the log promised about the entry, whether or not it is proven to
    /// be logged. Nothing in it is verified.
    pub fn promised(&self) -> Option<evidence::Promise> {
        let entry = self.logged?;
        let set = entry.inclusion_promise.clone()?;
        let (time, index) = (entry.integrated_time, entry.log_index);
        Some(evidence::Promise { set, entry: entry.canonicalized_body.clone(), time, index })
    }

    /// Runs the other checks, with what the log showed.
    pub fn conclude(self, model: Model<'_>, shown: &Shown) -> Verification {
        let Self { opened, policy, mut report, log_report, verifier, logged, proven } = self;
        let Proven { checkpoint, mut entry, evidence } = proven;
        let mut evidence: Vec<Evidence> = evidence.into_iter().collect();
        let dated = match (logged, &entry) {
            (Some(logged), Some(proven)) => {
                Some(Logged { entry: logged, checkpoint: &proven.checkpoint, shown })
            }
            _ => None,
        };
        // Times come first, because they say when the certificate had to be valid.
        let mut time_report = Report::default();
        let stamped = dates::timestamps(opened, policy, &mut time_report);
        let witnessed = dated.as_ref().and_then(|dated| dated.witnessed_by(policy));
        let certificate = verifier.as_ref().and_then(Verifier::certificate);
        match &dated {
            Some(dated) => {
                let found = dates::time(dated, certificate, policy, &mut time_report);
                evidence.extend(found);
            }
            None => time_report.not_checked("time", "there is no proven entry"),
        }
        let head = checkpoint.as_ref().map_err(|why| *why);
        dates::freshness(head, &shown.newest, policy, &mut time_report);
        let dated = Dated::earliest(witnessed, stamped);
        let signer = checks::signer(opened, policy, verifier.as_ref(), dated, &mut report);
        let skipped_by_caller = checks::bytes(&opened.statement, model, &mut report);
        report.append(log_report);
        proof::witnesses(policy.trust, head, &shown.newest, &mut report);
        report.append(time_report);
        let ignored_found = match model {
            Model::Read(found) => found.ignored.clone(),
            _ => Vec::new(),
        };
        if let Some(entry) = &mut entry {
            entry.witnessed_by = witnessed;
        }
        Verification {
            report,
            signer,
            verifier,
            entry,
            evidence,
            ignored_found,
            skipped_by_caller,
            findings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
