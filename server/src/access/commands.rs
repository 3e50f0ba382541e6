//! What the commands `token` and `policy test` do; the command line only reads flags and prints.
//!
//! Invariants: the text of a token is in the answer to `create`, or in the file that it asked for,
//! and nowhere else; such a file is new, and its owner's alone; a token that was made or revoked
//! stands in the access journal before anybody hears of it. `policy test` decides with the code
//! that decides requests. Out of scope: flags, exit codes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use treering_proto::entry::{EntryError, EntryKind, VerifiedEntry};

use super::policy::{Decision, POLICY_FILE, Policy};
use super::principal::Principal;
use super::summary::{EntrySummary, Signer};
use super::token::{KindName, Scope, Token, TokenText};
use super::token_file::{self, NewToken, TokenFileError, time_text};
use crate::anchor::sync_directory_of;
use crate::clock;
use crate::journal::{Act, Journal, JournalError, Line};

/// Where a log keeps its tokens, and where it is written down what became of them.
#[derive(Clone, Debug)]
pub struct TokenPlaces {
    /// `DIR/tokens.json`.
    pub tokens: PathBuf,
    /// The directory of the access journal.
    pub journal: PathBuf,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The token file.
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    /// Tokens were made or revoked, and it could not be written down.
    #[error("{done}, but the access journal does not say so: {source}")]
    Journal {
        /// What was done.
        done: &'static str,
        /// What went wrong.
        source: JournalError,
    },
    /// The file for the token is there already.
    #[error("{path} exists, and is not overwritten; no token was made")]
    OutExists {
        /// Which file.
        path: PathBuf,
    },
    /// The file for the token cannot be written.
    #[error("{path}: {source}; {done}")]
    Out {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
        /// What was done.
        done: String,
    },
    /// The policy cannot be used.
    #[error("{path}: {why}")]
    Policy {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A flag makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The entry file is not a submission.
    #[error("{path}: {why}")]
    Entry {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// The principal that `policy test` is about.
#[derive(Clone, PartialEq, Debug)]
pub enum TestPrincipal {
    /// The bearer of a token of this name, narrowed to nothing.
    Token(String),
    /// The holder of a client certificate with these names.
    Certificate(Vec<String>),
    /// A workload.
    Workload {
        /// What the policy calls the issuer.
        issuer: String,
        /// Claims, each `NAME=TEXT` or, for what is no text, `NAME:=JSON`.
        claims: Vec<String>,
    },
}

/// The entry that `policy test` is about.
#[derive(Clone, PartialEq, Debug)]
pub enum TestEntry {
    /// The body of a submission, of Rekor v1 or v2.
    File(PathBuf),
    /// Made up.
    Described {
        /// `dsse`, `hashedrekord`, `intoto` or `rekord`, with a version or without.
        kind: String,
        /// Subjects of its statement; none: no statement.
        names: Vec<String>,
        /// Who signed: each `sha256:HEX`.
        signer_keys: Vec<String>,
        /// Names in the certificates of those who signed.
        signer_identities: Vec<String>,
        /// Its size in bytes.
        bytes: u64,
    },
}

/// Makes a token. The answer has its text, this one time.
///
/// # Errors
/// [`CommandError`]; then no token was made, or one that nobody holds.
pub fn create_token(places: &TokenPlaces, new: NewToken) -> Result<Value, CommandError> {
    let text = TokenText::random().map_err(TokenFileError::Random)?;
    let token = token_file::create(&places.tokens, new, &text, now_s())?;
    let done = "a token was made that nobody holds";
    write_down(places, "token-create", "created", std::slice::from_ref(&token), done)?;
    let mut answer = describe(&token, now_s());
    answer["token"] = text.as_str().into();
    Ok(answer)
}

/// Makes a token and puts its text, and nothing else, into the new file `out` of mode 0600. The
/// answer has everything but the text.
///
/// # Errors
/// [`CommandError`]; then there is no such file, or it was there before, and no token was made, or
/// one that nobody holds.
pub fn create_token_in(
    places: &TokenPlaces,
    new: NewToken,
    out: &Path,
) -> Result<Value, CommandError> {
    let failed = |done: String| {
        let path = out.to_owned();
        move |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => CommandError::OutExists { path },
            _ => CommandError::Out { path, source, done },
        }
    };
    // The file first: a token that cannot be shown again must have where to go.
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    let mut file = opened.map_err(failed("no token was made".to_owned()))?;
    let written = create_token(places, new).and_then(|mut answer| {
        let text = answer.as_object_mut().and_then(|members| members.remove("token"));
        let text = text.as_ref().and_then(Value::as_str).unwrap_or_default();
        let id = &answer["id"];
        let done = format!("a token was made that nobody holds: revoke {id}");
        write_whole(&mut file, out, text).map_err(failed(done))?;
        Ok(answer)
    });
    if written.is_err() {
        // Empty, or cut off: no use to anybody, and in the way of the next attempt.
        let _ = fs::remove_file(out);
    }
    written
}

fn write_whole(file: &mut File, path: &Path, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    sync_directory_of(path)
}

/// All tokens in `file`, without anything that opens the log.
///
/// # Errors
/// [`CommandError`].
pub fn list_tokens(file: &Path) -> Result<Value, CommandError> {
    let now = now_s();
    let tokens = token_file::read(file)?;
    Ok(tokens.list().iter().map(|token| describe(token, now)).collect())
}

/// Revokes a token by its id, or all tokens of a name, and says which.
///
/// # Errors
/// [`CommandError`].
pub fn revoke_tokens(places: &TokenPlaces, id_or_name: &str) -> Result<Value, CommandError> {
    let now = now_s();
    let revoked = token_file::revoke(&places.tokens, id_or_name, now)?;
    write_down(places, "token-revoke", "revoked", &revoked, "the tokens were revoked")?;
    Ok(revoked.iter().map(|token| describe(token, now)).collect())
}

/// One line in the journal about each token, durably. The one who did it is a user of this machine.
fn write_down(
    places: &TokenPlaces,
    act: &'static str,
    outcome: &str,
    tokens: &[Token],
    done: &'static str,
) -> Result<(), CommandError> {
    let written = || {
        let journal = Journal::open(&places.journal)?;
        let request = format!("uid-{}", rustix::process::getuid().as_raw());
        for token in tokens {
            let line = Line {
                request: &request,
                act: Act::Admin(act),
                principal: &format!("token:{}#{}", token.name, token.id),
                source: None,
                project: None,
                rule: None,
                kind: None,
                leaf: None,
                index: None,
                outcome,
                repeated: 0,
            };
            journal.write(&line)?;
        }
        journal.sync()
    };
    written().map_err(|source| CommandError::Journal { done, source })
}

/// Reads a time such as `90d`, `12h`, `30m` or `45s`, in seconds.
///
/// # Errors
/// A sentence.
pub fn parse_lifetime(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => 0,
    };
    let time = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
    time.filter(|time| *time > 0)
        .ok_or_else(|| "a lifetime is a number and d, h, m or s, such as 90d".to_owned())
}

/// Reads kinds, for the scope of a token.
///
/// # Errors
/// A sentence with the nearest kind.
pub fn parse_kind(text: &str) -> Result<KindName, String> {
    KindName::parse(text)
}

/// Reads and checks a policy.
///
/// # Errors
/// [`CommandError`].
pub fn read_policy(path: &Path) -> Result<Policy, CommandError> {
    let failed = |why| CommandError::Policy { path: path.to_owned(), why };
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > POLICY_FILE.len_max {
        return Err(failed(format!("is longer than {} bytes", POLICY_FILE.len_max)));
    }
    Policy::parse(&bytes).map_err(failed)
}

/// What the policy says about a principal and an entry, and why: whether it is allowed, and the
/// whole decision for people and machines.
///
/// # Errors
/// [`CommandError`].
pub fn test_policy(
    path: &Path,
    principal: &TestPrincipal,
    entry: &TestEntry,
) -> Result<(bool, Value), CommandError> {
    let policy = read_policy(path)?;
    let principal = principal.read(&policy)?;
    let entry = entry.read()?;
    let decision = policy.decide(&principal, &entry);
    Ok((decision.granted.is_some(), decision_json(&principal, &entry, &decision)))
}

fn decision_json(principal: &Principal, entry: &EntrySummary, decision: &Decision<'_>) -> Value {
    let tried = decision.tried.iter().map(|(rule, missed)| {
        let (label, why) = missed.refusal();
        json!({"rule": rule.name, "project": rule.project, "matched": false,
               "label": label, "why": why})
    });
    let mut rules: Vec<Value> = tried.collect();
    let granted = decision.granted.as_ref();
    if let Some(granted) = granted {
        let rule = granted.rule;
        rules.push(json!({"rule": rule.name, "project": rule.project, "matched": true}));
    }
    let keys = entry.signers.iter().map(|signer| format!("sha256:{}", signer.key));
    let keys: Vec<String> = keys.collect();
    let identities: Vec<&String> = entry.signers.iter().flat_map(|s| &s.identities).collect();
    let names = entry.names.as_ref().map(|names| &names[..names.len().min(SHOWN_MAX)]);
    let mut answer = json!({
        "allowed": granted.is_some(),
        "principal": principal.to_string(),
        "entry": {
            "kind": format!("{} {}", entry.kind.kind(), entry.kind.version()),
            "bytes": entry.bytes,
            "names": names,
            "namesCount": entry.names.as_ref().map(Vec::len),
            "signerKeys": keys,
            "signerIdentities": identities,
        },
        "rules": rules,
    });
    match granted {
        Some(granted) => {
            let quota = granted.rule.quota;
            answer["rule"] = granted.rule.name.as_str().into();
            answer["project"] = granted.rule.project.as_str().into();
            answer["quota"] = json!({
                "entriesPerMinute": quota.entries_per_minute,
                "bytesPerDay": quota.bytes_per_day,
                "countedFor": granted.who,
            });
        }
        None => {
            let (label, message) = decision.refusal();
            answer["label"] = label.into();
            answer["message"] = message.into();
        }
    }
    answer
}

impl TestPrincipal {
    fn read(&self, policy: &Policy) -> Result<Principal, CommandError> {
        match self {
            Self::Token(name) => Ok(Principal::Token {
                id: "test".to_owned(),
                name: name.clone(),
                scope: Scope::default(),
            }),
            Self::Certificate(names) => Ok(Principal::Certificate { names: names.clone() }),
            Self::Workload { issuer, claims } => {
                if !policy.issuers.contains_key(issuer) {
                    let known = policy.issuers.keys().map(String::as_str);
                    return Err(CommandError::Usage(super::nearest::unknown(
                        "issuer", issuer, known,
                    )));
                }
                let mut read = Map::new();
                for claim in claims {
                    let (name, value) = read_claim(claim).ok_or_else(|| {
                        CommandError::Usage(format!(
                            "{claim:?} is no claim: NAME=TEXT or NAME:=JSON is needed"
                        ))
                    })?;
                    read.insert(name, value);
                }
                let subject = read.get("sub").and_then(Value::as_str).unwrap_or("(no sub)");
                let (issuer, subject) = (issuer.clone(), subject.to_owned());
                Ok(Principal::Workload { issuer, subject, claims: read })
            }
        }
    }
}

fn read_claim(claim: &str) -> Option<(String, Value)> {
    let (name, value) = claim.split_once('=')?;
    match name.strip_suffix(':') {
        None => Some((name.to_owned(), value.into())),
        Some(name) => Some((name.to_owned(), serde_json::from_str(value).ok()?)),
    }
}

impl TestEntry {
    fn read(&self) -> Result<EntrySummary, CommandError> {
        match self {
            Self::File(path) => {
                let failed = |why| CommandError::Entry { path: path.clone(), why };
                let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
                let entry = read_submission(&bytes).map_err(|error| failed(error.to_string()))?;
                Ok(EntrySummary::of(&entry, true))
            }
            Self::Described { kind, names, signer_keys, signer_identities, bytes } => {
                KindName::parse(kind).map_err(CommandError::Usage)?;
                // Rules that name a version are tested with it; without one it is the first.
                let (name, version) = kind.split_once(' ').unwrap_or((kind, "0.0.1"));
                let kind = EntryKind::from_name(name, version)
                    .map_err(|error| CommandError::Usage(error.to_string()))?;
                let identities = signer_identities.clone();
                let keys = signer_keys.iter().map(|key| {
                    let key = key.strip_prefix("sha256:").unwrap_or(key).to_owned();
                    Signer { key, identities: identities.clone() }
                });
                let mut signers: Vec<_> = keys.collect();
                if signers.is_empty() && !identities.is_empty() {
                    signers.push(Signer { key: String::new(), identities });
                }
                Ok(EntrySummary {
                    kind,
                    bytes: *bytes,
                    names: (!names.is_empty()).then(|| names.clone()),
                    has_unnamed: false,
                    signers,
                })
            }
        }
    }
}

/// A body of Rekor v1 names its `kind`; one of v2 never does.
fn read_submission(bytes: &[u8]) -> Result<VerifiedEntry, EntryError> {
    let is_v1 = serde_json::from_slice::<Value>(bytes).is_ok_and(|body| body.get("kind").is_some());
    match is_v1 {
        true => VerifiedEntry::from_v1_request(bytes),
        false => VerifiedEntry::from_v2_request(bytes),
    }
}

fn describe(token: &Token, now: u64) -> Value {
    let state = match token.revoked {
        Some(_) => "revoked",
        None if token.is_live(now) => "live",
        None => "expired",
    };
    json!({
        "id": token.id,
        "name": token.name,
        "note": token.note,
        "state": state,
        "created": time_text(token.created),
        "expires": time_text(token.expires),
        "revoked": token.revoked.map(time_text),
        "projects": token.scope.projects,
        "kinds": token.scope.kinds.iter().map(KindName::as_str).collect::<Vec<_>>(),
    })
}

fn now_s() -> u64 {
    clock::read().wall_ms / 1000
}

/// Names that a decision shows.
const SHOWN_MAX: usize = 20;

#[cfg(test)]
mod tests;
