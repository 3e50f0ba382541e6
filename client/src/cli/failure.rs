//! Errors as people see them: what failed, why, and what to do next; and the exit code.

use std::fmt::Display;

use treering_client::consistency::FollowError;
use treering_client::hash_model::HashModelError;
use treering_client::log::LogError;
use treering_client::online::{follow_exit, log_exit};
use treering_client::private_key::PrivateKeyError;
use treering_client::report::Exit;
use treering_client::status::StatusError;
use treering_client::submit::SubmitError;
use treering_client::time::{freshness_exit, freshness_text};
use treering_client::transport::TransportError;
use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::entry::EntryError;
use treering_proto::evidence::Party;
use treering_proto::freshness::Freshness;
use treering_proto::trust::TrustFile;

/// True of `submit`, which reads its envelope from a file, and of `sign` and notices, which keep it
/// in the state directory until it is logged.
pub const SEND_AGAIN: &str =
    "run the same command again: it sends the same signature, of which the log keeps one entry";

/// A command that did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What failed.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do next.
    pub next: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, what: impl Into<String>, why: impl Display) -> Self {
        Self { exit, what: what.into(), why: why.to_string(), next: None }
    }

    /// Wrong usage.
    pub fn usage(what: impl Into<String>, why: impl Display) -> Self {
        Self::new(Exit::Usage, what, why)
    }

    /// The same with advice.
    pub fn advise(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

/// Refuses a newest checkpoint, opened with the keys of `trust`, that is too old, or of which
/// nobody says how old it is.
pub fn require_fresh(trust: &TrustFile, head: &SignedCheckpoint, now: u64) -> Result<(), Failure> {
    let freshness = Freshness::of(trust, head, now);
    let Some(exit) = freshness_exit(freshness) else { return Ok(()) };
    let why = freshness_text(freshness, head.head().size.get(), now);
    let failure = Failure::new(exit, "the log's newest checkpoint is not accepted", why);
    Err(match freshness {
        Freshness::NoTime => failure.advise(
            "only witnesses, or a log with an ML-DSA-44 key, say when: get such a trust file, or \
             say `treering trust set-max-age none`",
        ),
        Freshness::Future { .. } => failure.advise("set the clock of this machine"),
        _ => failure.advise("ask others what they see: the log may hold back what is newer"),
    })
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let exit = log_exit(&error);
        let what = "the log cannot be read";
        let failure = Self::new(exit, what, &error);
        match error {
            LogError::Transport(error) => Self { what: what.to_owned(), ..error.into() },
            LogError::Checkpoint(refused) if !refused.is_foreign() => failure.advise(
                "make sure that log.url leads to the log, and that no proxy answers for it",
            ),
            LogError::Checkpoint(_) => failure.advise(
                "compare log.origin and log.keys in the trust file with what the log's operator \
                 publishes; somebody may speak in the log's name",
            ),
            _ => failure,
        }
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        let advice = match &error {
            TransportError::Fault { fault, .. } => Some(fault.advice()),
            TransportError::Authorities => Some("say --ca-file FILE with PEM certificates"),
            TransportError::ClientIdentity => Some(
                "say --client-certificate FILE and --client-key FILE: PEM, an unencrypted key, and \
                 the key of that certificate",
            ),
            _ => None,
        };
        let error = LogError::Transport(error);
        let failure = Self::new(log_exit(&error), "the log cannot be reached", &error);
        if let Some(advice) = advice {
            return failure.advise(advice);
        }
        match failure.exit {
            Exit::NotAuthorised => failure.advise("say --token-file, or set TREERING_TOKEN"),
            Exit::Unavailable => {
                failure.advise("look whether log.url in the trust file answers; try again later")
            }
            _ => failure,
        }
    }
}

impl From<FollowError> for Failure {
    fn from(error: FollowError) -> Self {
        let exit = follow_exit(&error);
        match error {
            FollowError::Log(error) => error.into(),
            FollowError::BadState { .. } => Self::new(exit, "the state is not usable", error)
                .advise("say another --state, or move the file away and accept a first contact"),
            FollowError::NoQuorum { .. } => Self::new(exit, "the log is not believed", error).advise(
                "try again later; if that does not help, ask the log's operator which witnesses \
                 do not answer",
            ),
            FollowError::Alarm(ref evidence) => match evidence.convicts() {
                Some(Party::Log) => Self::new(exit, "the log contradicts itself", error).advise(
                    "stop trusting this log; show the evidence to its operator and to others",
                ),
                Some(Party::Witness) => Self::new(exit, "a witness contradicts itself", error)
                    .advise(
                        "show the evidence to the operators of the witness and of the log: its \
                         clock may be wrong, or it saw a log that shrank",
                    ),
                None => Self::new(exit, "the log is not believed", error).advise(
                    "ask others what they see, and show the evidence to the log's operator: it \
                     proves nothing by itself",
                ),
            },
            other => Self::new(exit, "the log cannot be followed", other),
        }
    }
}

impl From<StatusError> for Failure {
    fn from(error: StatusError) -> Self {
        let failure = Self::new(error.exit(), "what was shown of the log proves nothing", &error);
        match failure.exit {
            Exit::Alarm => failure
                .advise("keep it, get another from the log itself, and ask others what they see"),
            Exit::Policy => failure.advise("get a newer one: treering staple"),
            _ => failure,
        }
    }
}

impl From<HashModelError> for Failure {
    fn from(error: HashModelError) -> Self {
        let next = match &error {
            HashModelError::Links { directories, .. } if directories.is_empty() => {
                Some("say --allow-symlinks to sign the bytes that the links point to")
            }
            HashModelError::Links { .. } => Some(
                "copy the directory into the model: what is behind the link would not be signed",
            ),
            HashModelError::Changed(_) => {
                Some("wait until nobody writes to the model, and try again")
            }
            HashModelError::Ignore(_) => Some("name a path relative to the model"),
            _ => None,
        };
        let exit = match &error {
            HashModelError::Read { .. } | HashModelError::Changed(_) => Exit::Unavailable,
            _ => Exit::Usage,
        };
        let failure = Self::new(exit, "the model cannot be read", error);
        Self { next: next.map(str::to_owned), ..failure }
    }
}

impl From<PrivateKeyError> for Failure {
    fn from(error: PrivateKeyError) -> Self {
        let next = match &error {
            PrivateKeyError::OldFormat(_) => {
                Some("convert it: openssl pkcs8 -topk8 -in OLD.pem -out NEW.pem")
            }
            PrivateKeyError::NeedsPassword => {
                Some("say --password-file, set TREERING_KEY_PASSWORD, or run it in a terminal")
            }
            PrivateKeyError::UnsupportedEncryption => {
                Some("convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD.pem -out NEW.pem")
            }
            PrivateKeyError::UnsupportedKey => Some("make one: treering keygen --key NEW.pem"),
            PrivateKeyError::Exists => Some("choose another path, or move the old key away"),
            _ => None,
        };
        let failure = Self::usage("the private key cannot be used", error);
        Self { next: next.map(str::to_owned), ..failure }
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        let what = "the signature is not logged";
        match error {
            SubmitError::Log(error) => Self { what: what.to_owned(), ..error.into() },
            SubmitError::Entry(EntryError::SignatureInvalid | EntryError::VerifierUnused) => {
                Self::new(Exit::NotVerified, what, error)
                    .advise("say the public key that made this signature")
            }
            SubmitError::Entry(_) => Self::usage(what, error),
            SubmitError::NoLog => {
                Self::usage(what, error).advise("get the trust file again from the log's operator")
            }
            SubmitError::Refused { .. } => Self::new(Exit::Policy, what, error),
            SubmitError::Unsure(error) => {
                let what = "the signature may or may not be logged".to_owned();
                Self { what, ..Self::from(*error) }.advise(SEND_AGAIN)
            }
            SubmitError::Unproven { index, error, .. } => {
                let what = format!("the signature is logged as {index}, by the log's word only");
                Self { what, ..Self::from(*error) }.advise(SEND_AGAIN)
            }
            SubmitError::OtherEntry => Self::new(Exit::Alarm, what, error)
                .advise("keep the log's answer: it answers about something that was not sent"),
        }
    }
}
