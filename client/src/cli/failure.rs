//! Errors as people see them: what failed, why, and what to do next; and the exit code.

use std::fmt::Display;

use treering_client::consistency::FollowError;
use treering_client::hash_model::HashModelError;
use treering_client::log::LogError;
use treering_client::online::{follow_exit, log_exit};
use treering_client::private_key::PrivateKeyError;
use treering_client::report::Exit;
use treering_client::submit::SubmitError;
use treering_client::transport::TransportError;
use treering_proto::entry::EntryError;

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

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let exit = log_exit(&error);
        let what = "the log cannot be read";
        let failure = Self::new(exit, what, &error);
        match error {
            LogError::Transport(error) => Self { what: what.to_owned(), ..error.into() },
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
        let error = LogError::Transport(error);
        let failure = Self::new(log_exit(&error), "the log cannot be reached", &error);
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
            other => Self::new(exit, "the log cannot be followed", other),
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
        let safe = "run the same command again: the log keeps one entry however often it is sent";
        match error {
            SubmitError::Log(error) => Self { what: what.to_owned(), ..error.into() },
            SubmitError::Entry(EntryError::SignatureInvalid | EntryError::VerifierUnused) => {
                Self::new(Exit::NotVerified, what, error)
                    .advise("say the public key that made this signature")
            }
            SubmitError::Entry(_) => Self::usage(what, error),
            SubmitError::Refused { .. } => Self::new(Exit::Policy, what, error),
            SubmitError::Unknown { .. } => {
                Self::new(Exit::Unavailable, "the signature may or may not be logged", error)
                    .advise(safe)
            }
            SubmitError::OtherEntry => Self::new(Exit::Alarm, what, error)
                .advise("keep the log's answer: it answers about something that was not sent"),
        }
    }
}
