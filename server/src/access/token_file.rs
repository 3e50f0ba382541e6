//! `DIR/tokens.json`: what the log keeps of its tokens.
//!
//! ```text
//! {"format":"treering tokens 1","tokens":[{"id":"...","name":"ci-llm","note":"...",
//!  "secretSha256":"<hex>","created":"2026-01-01T00:00:00Z","expires":"...","revoked":null,
//!  "projects":[],"kinds":[]}]}
//! ```
//!
//! Commands change it beside a running server: each takes the lock `tokens.json.lock`, reads,
//! writes a new file of mode 0600, syncs it, renames it over the old one and syncs the directory.
//! Readers take no lock: they see the old file or the new one.
//!
//! Invariants: what is written parses to the same tokens; ids are unique. Tokens that ended more
//! than a year ago are forgotten when the file is written again.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use treering_proto::encoding::from_hex_lower;
use treering_proto::hash::Hash;

use super::nearest::explain;
use super::token::{
    KindName, LIFETIME_MAX_S, NOTE_LEN_MAX, SCOPE_MAX, Scope, Token, TokenText, is_id, is_name,
};
use super::watched::Kind;
use crate::anchor::sync_directory_of;
use crate::data_directory::give_to_owner;

/// Tokens in one file.
pub const TOKENS_MAX: usize = 10_000;

/// What is asked of the file.
pub const TOKEN_FILE: Kind = Kind { what: "token file", len_max: 32 << 20, may_be_absent: true };

/// How long a token that ended stays in the file, in seconds.
const FORGET_AFTER_S: u64 = 366 * 24 * 3600;

/// All tokens, by id.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Tokens {
    /// In the order of the file: oldest first.
    list: Vec<Token>,
    by_id: HashMap<String, usize>,
}

/// A token to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewToken {
    /// Whose it is.
    pub name: String,
    /// A reminder for people.
    pub note: String,
    /// For how long it is good, in seconds.
    pub lifetime_s: u64,
    /// What it is narrowed to.
    pub scope: Scope,
}

/// Why the file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The file is not one of tokens.
    #[error("{path}: {why}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The wish cannot be fulfilled.
    #[error("{0}")]
    Wish(String),
    /// Nothing is there to revoke.
    #[error("no token has the id or name {0:?}; treering-server token list shows all")]
    NotFound(String),
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system has no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

impl Tokens {
    /// Reads the bytes of the file; none are no tokens.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let file: FileJson =
            serde_json::from_slice(bytes).map_err(|error| explain(&error.to_string()))?;
        if file.format != FORMAT {
            return Err(format!("is not of the format {FORMAT:?}"));
        }
        let mut tokens = Self::default();
        for token in file.tokens {
            tokens.add(token.read()?)?;
        }
        Ok(tokens)
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let tokens = self.list.iter().map(TokenJson::of).collect();
        let file = FileJson { format: FORMAT.to_owned(), tokens };
        // Strings and lists only, so that this cannot fail.
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// All tokens, oldest first.
    pub fn list(&self) -> &[Token] {
        &self.list
    }

    /// The token of this id.
    pub fn by_id(&self, id: &str) -> Option<&Token> {
        self.by_id.get(id).and_then(|at| self.list.get(*at))
    }

    /// Whose tokens open anything at `now`, Unix seconds.
    pub fn live_names(&self, now: u64) -> impl Iterator<Item = &str> {
        let live = self.list.iter().filter(move |token| token.is_live(now));
        live.map(|token| token.name.as_str())
    }

    fn add(&mut self, token: Token) -> Result<(), String> {
        if self.list.len() >= TOKENS_MAX {
            return Err(format!("more than {TOKENS_MAX} tokens"));
        }
        if self.by_id.insert(token.id.clone(), self.list.len()).is_some() {
            return Err(format!("two tokens have the id {}", token.id));
        }
        self.list.push(token);
        Ok(())
    }
}

/// Makes a token at `now`, Unix seconds, and returns it with its text, which is kept nowhere.
///
/// # Errors
/// [`TokenFileError`]; then the file is as it was.
pub fn create(
    path: &Path,
    new: NewToken,
    text: &TokenText,
    now: u64,
) -> Result<Token, TokenFileError> {
    check_new(&new).map_err(TokenFileError::Wish)?;
    let token = Token {
        id: text.id().to_owned(),
        name: new.name,
        note: new.note,
        secret_sha256: text.secret_sha256(),
        created: now,
        expires: now + new.lifetime_s,
        revoked: None,
        scope: new.scope,
    };
    change(path, now, |tokens| {
        tokens.add(token.clone()).map_err(|why| TokenFileError::Wish(format!("{why}: none made")))
    })?;
    Ok(token)
}

/// Revokes the token of this id, or all live tokens of this name, at `now`, Unix seconds. Returns
/// those that it revoked.
///
/// # Errors
/// [`TokenFileError`]; then the file is as it was.
pub fn revoke(path: &Path, id_or_name: &str, now: u64) -> Result<Vec<Token>, TokenFileError> {
    change(path, now, |tokens| {
        let mut revoked = Vec::new();
        let is_meant = |token: &Token| token.id == id_or_name || token.name == id_or_name;
        if !tokens.list.iter().any(is_meant) {
            return Err(TokenFileError::NotFound(id_or_name.to_owned()));
        }
        for token in tokens.list.iter_mut().filter(|token| is_meant(token)) {
            if token.revoked.is_none() {
                token.revoked = Some(now);
                revoked.push(token.clone());
            }
        }
        Ok(revoked)
    })
}

/// Reads the file; an absent one holds no tokens.
///
/// # Errors
/// [`TokenFileError`].
pub fn read(path: &Path) -> Result<Tokens, TokenFileError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(TokenFileError::Io { path: path.to_owned(), source }),
    };
    Tokens::parse(&bytes).map_err(|why| TokenFileError::Content { path: path.to_owned(), why })
}

fn check_new(new: &NewToken) -> Result<(), String> {
    if !is_name(&new.name) {
        let name = super::principal::printable(&new.name, 80);
        return Err(format!("{name:?} cannot name a principal: {NAME_RULE}"));
    }
    if !(1..=LIFETIME_MAX_S).contains(&new.lifetime_s) {
        return Err("a token is good for 1 second to 366 days".to_owned());
    }
    check_texts(&new.note, &new.scope)
}

fn check_texts(note: &str, scope: &Scope) -> Result<(), String> {
    if note.len() > NOTE_LEN_MAX || note.chars().any(char::is_control) {
        return Err(format!("a note has at most {NOTE_LEN_MAX} bytes, on one line"));
    }
    if scope.projects.len() > SCOPE_MAX || scope.kinds.len() > SCOPE_MAX {
        return Err(format!("a token is narrowed to at most {SCOPE_MAX} projects and kinds"));
    }
    match scope.projects.iter().find(|project| !is_name(project)) {
        Some(project) => Err(format!("{project:?} cannot name a project: {NAME_RULE}")),
        None => Ok(()),
    }
}

/// Reads, changes and writes the file under its lock.
fn change<R>(
    path: &Path,
    now: u64,
    apply: impl FnOnce(&mut Tokens) -> Result<R, TokenFileError>,
) -> Result<R, TokenFileError> {
    let lock = beside(path, ".lock");
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| TokenFileError::Io { path, source }
    };
    let opened =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
    let held: File = opened.map_err(failed(&lock))?;
    give_to_owner(&held, path).map_err(failed(&lock))?;
    // Held for the time of one small write by each command, and by no server.
    held.lock().map_err(failed(&lock))?;
    let mut tokens = read(path)?;
    let done = apply(&mut tokens)?;
    let ended = |token: &Token| token.revoked.unwrap_or(token.expires).min(token.expires);
    tokens.list.retain(|token| ended(token).saturating_add(FORGET_AFTER_S) > now);
    replace(path, &tokens.to_bytes()).map_err(failed(path))?;
    Ok(done)
}

/// Puts a file of these bytes where `path` is, durably and all at once.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
    give_to_owner(&file, path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_directory_of(path)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(ending);
    name.into()
}

const FORMAT: &str = "treering tokens 1";
const NAME_RULE: &str = "1 to 64 of a-z, 0-9, ., _ and - are needed, first a letter or digit";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileJson {
    format: String,
    tokens: Vec<TokenJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenJson {
    id: String,
    name: String,
    #[serde(default)]
    note: String,
    secret_sha256: String,
    created: String,
    expires: String,
    #[serde(default)]
    revoked: Option<String>,
    #[serde(default)]
    projects: Vec<String>,
    #[serde(default)]
    kinds: Vec<String>,
}

impl TokenJson {
    fn of(token: &Token) -> Self {
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            note: token.note.clone(),
            secret_sha256: token.secret_sha256.to_hex(),
            created: time_text(token.created),
            expires: time_text(token.expires),
            revoked: token.revoked.map(time_text),
            projects: token.scope.projects.clone(),
            kinds: token.scope.kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
        }
    }

    fn read(self) -> Result<Token, String> {
        let id = super::principal::printable(&self.id, 40);
        let wrong = |why: &str| format!("token {id:?}: {why}");
        let time = |text: &str| parse_time(text).ok_or_else(|| wrong("a time is not RFC 3339"));
        if !is_id(&self.id) || !is_name(&self.name) {
            return Err(wrong("its id or its name is malformed"));
        }
        let hash = from_hex_lower(&self.secret_sha256).and_then(|b| Hash::from_slice(&b));
        let secret_sha256 = hash.ok_or_else(|| wrong("secretSha256 is not 64 hex digits"))?;
        let (created, expires) = (time(&self.created)?, time(&self.expires)?);
        if expires > created.saturating_add(LIFETIME_MAX_S) {
            return Err(wrong("it is good for more than 366 days"));
        }
        let kinds = self.kinds.iter().map(|kind| KindName::parse(kind));
        let kinds = kinds.collect::<Result<_, _>>().map_err(|why| wrong(&why))?;
        let scope = Scope { projects: self.projects, kinds };
        check_texts(&self.note, &scope).map_err(|why| wrong(&why))?;
        let revoked = self.revoked.as_deref().map(time).transpose()?;
        let Self { id, name, note, .. } = self;
        Ok(Token { id, name, note, secret_sha256, created, expires, revoked, scope })
    }
}

/// Unix seconds as RFC 3339.
pub fn time_text(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok());
    timestamp.unwrap_or(Timestamp::MAX).to_string()
}

fn parse_time(text: &str) -> Option<u64> {
    let timestamp: Timestamp = text.get(..40.min(text.len()))?.parse().ok()?;
    u64::try_from(timestamp.as_second()).ok()
}

#[cfg(test)]
mod tests;
