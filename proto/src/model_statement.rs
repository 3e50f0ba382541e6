//! Statements about models (OpenSSF Model Signing, OMS v1.0): the files of a model and their
//! digests.
//!
//! Stock tools verify manifests that say nothing or two things at once: empty ones, ones that
//! ignore everything, duplicate and climbing names, gaps between shards, digests in two spellings.
//! Here a statement is admitted only if it says one thing about one set of files. The log admits
//! and the verifier verifies with this same function.
//!
//! Invariants of a [`ModelStatement`]: one name never occurs twice; every name stays inside the
//! model; shards of a file are contiguous from 0; digests have the length of the hash; the root is
//! the SHA-256 of the digests in the order given; no listed file is ignored.
//!
//! Out of scope: reading files; the identity of the model (see `model_id`).

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::encoding::from_hex_lower;
use crate::hash::Hash;
use crate::notice::EntryRef;
use crate::statement::{STATEMENT_LEN_MAX, Statement, StatementVersion};

mod paths;
mod payload;
mod read;

pub use paths::Shard;

/// Resources of one model: the largest public models have a few thousand files. A statement of this
/// many takes about 3.3 MB.
pub const RESOURCES_MAX: usize = 20_000;

/// Ignored paths of one statement: signers list a handful, and all of them are shown to people.
pub const IGNORE_PATHS_MAX: usize = 1_000;

/// The longest name of a resource, in bytes: `PATH_MAX` of Linux.
pub const PATH_LEN_MAX: usize = 4_096;

/// How many characters of a name an error repeats.
const SHOWN_LEN_MAX: usize = 256;

/// The longest model name or version, in bytes: what file systems allow for one name.
pub const LABEL_LEN_MAX: usize = 255;

/// What every version of OMS names its predicate types under.
pub const MODEL_PREDICATE_TYPES: &str = "https://model_signing/signature/";

/// The predicate type that OMS v1.0 signers write.
pub const MODEL_PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";

/// The annotation of the subject that holds the version of the model. OMS has no place for one, and
/// its schema allows further members in the subject alone.
pub const MODEL_VERSION_ANNOTATION: &str = "treering.model_version";

/// The annotation of the subject that names the logged signature which this one renews.
pub const RENEWAL_ANNOTATION: &str = "treering.renews";

/// The name of the only file of a model that is one file, as Python's model_signing writes it.
pub const SINGLE_FILE_NAME: &str = ".";

/// Whether `predicate_type` is that of OMS version 1, whatever the minor version.
pub fn is_model_statement(predicate_type: &str) -> bool {
    predicate_type
        .strip_prefix(MODEL_PREDICATE_TYPES)
        .and_then(|version| version.strip_prefix("v1."))
        .is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit()))
}

/// How files became resources.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Each file is one resource, named by its path.
    Files,
    /// Files are cut into shards of `size` bytes; a resource is named `path:start:end`.
    Shards {
        /// Bytes of every shard but the last of a file; at least 1.
        size: u64,
    },
}

/// The hash function that digests are made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModelHash {
    /// SHA-256.
    Sha256,
    /// BLAKE2b with 512 bits.
    Blake2b,
    /// BLAKE3 with 256 bits.
    Blake3,
}

/// A file of a model, or a shard of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    /// Path relative to the model, with `/`; for shards followed by `:start:end`.
    pub name: String,
    /// Digest of the content.
    pub digest: Vec<u8>,
}

/// An admitted statement about a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelStatement {
    name: Option<String>,
    model_version: Option<String>,
    renews: Option<EntryRef>,
    root: Hash,
    method: Method,
    hash: ModelHash,
    resources: Vec<Resource>,
    ignore_paths: Vec<String>,
    allow_symlinks: bool,
}

/// Why a statement about a model is not admitted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModelStatementError {
    /// Not an in-toto statement v1 with the predicate type of OMS v1.
    #[error("not an in-toto statement v1 of OpenSSF Model Signing v1")]
    NotAModelStatement,
    /// Not exactly one subject.
    #[error("a model statement has exactly one subject")]
    SubjectCount,
    /// The subject has no SHA-256 digest in lower-case hexadecimal.
    #[error("the subject has no sha256 digest")]
    NoRoot,
    /// The name of the model is longer than [`LABEL_LEN_MAX`] or has control characters.
    #[error("the model name is too long or has control characters")]
    BadModelName,
    /// The version annotation is not a text that can be shown.
    #[error("the model version is not a text of 1 to {LABEL_LEN_MAX} bytes")]
    BadModelVersion,
    /// The renewal annotation is not index and leaf of an entry.
    #[error("the annotation {RENEWAL_ANNOTATION} is not index and leaf of an entry")]
    BadRenewal,
    /// A field of the predicate is absent or of the wrong type.
    #[error("predicate field {0} is missing or malformed")]
    BadField(&'static str),
    /// A method other than `files` and `shards`.
    #[error("unknown serialization method {}", short(.0))]
    UnknownMethod(String),
    /// A hash other than `sha256`, `blake2b` and `blake3`.
    #[error("unknown hash {}", short(.0))]
    UnknownHash(String),
    /// No resources: the statement would fit any directory.
    #[error("the statement lists no files")]
    Empty,
    /// More than [`RESOURCES_MAX`] resources.
    #[error("more than {RESOURCES_MAX} resources")]
    TooManyResources,
    /// An absolute name, or one that climbs out of the model.
    #[error("name {} leaves the model", short(.0))]
    Traversal(String),
    /// A name with another spelling for the same file, or one that cannot be shown.
    #[error("name {} is not a canonical relative path", short(.0))]
    NotCanonicalName(String),
    /// Two resources have this name.
    #[error("name {} occurs twice", short(.0))]
    DuplicateName(String),
    /// The label of this resource is not the hash of the statement.
    #[error("resource {} has another algorithm than the statement", short(.0))]
    BadAlgorithm(String),
    /// The digest of this resource is not lower-case hexadecimal of the hash's length.
    #[error("resource {} has a malformed digest", short(.0))]
    BadDigest(String),
    /// Not `path:start:end` with canonical decimal numbers.
    #[error("shard name {} is not path:start:end", short(.0))]
    BadShardName(String),
    /// The shards of this file do not follow each other from 0: bytes of it are unsigned or
    /// ambiguous.
    #[error("the shards of {} are not contiguous", short(.0))]
    ShardGap(String),
    /// The subject's digest is not that of the resources.
    #[error("the root digest is not that of the resources")]
    RootMismatch,
    /// More than [`IGNORE_PATHS_MAX`] ignored paths.
    #[error("more than {IGNORE_PATHS_MAX} ignored paths")]
    TooManyIgnorePaths,
    /// The model itself is ignored: the statement would fit any directory.
    #[error("the statement ignores the whole model")]
    IgnoresEverything,
    /// An ignored path that leaves the model, is a pattern, or is not canonical.
    #[error("ignored path {} is not a canonical path inside the model", short(.0))]
    BadIgnorePath(String),
    /// This resource is both listed and ignored.
    #[error("resource {} is listed and ignored", short(.0))]
    IgnoredResource(String),
    /// The payload would be longer than a statement may be.
    #[error("statement longer than {STATEMENT_LEN_MAX} bytes")]
    TooLong,
}

use ModelStatementError as Error;

/// A stranger's text as an error repeats it: quoted, and not at any length.
fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN_LEN_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

impl ModelStatement {
    /// Admits `statement`, or says what is wrong with it. Members of the predicate that OMS v1.0
    /// does not have are ignored, as its verifiers ignore them.
    pub fn parse(statement: &Statement) -> Result<Self, Error> {
        if statement.version != StatementVersion::V1
            || !is_model_statement(&statement.predicate_type)
        {
            return Err(Error::NotAModelStatement);
        }
        let [subject] = statement.subjects.as_slice() else { return Err(Error::SubjectCount) };
        let root = subject.digest("sha256").and_then(from_hex_lower);
        let serialization =
            statement.predicate.get("serialization").ok_or(Error::BadField("serialization"))?;
        let hash = ModelHash::from_name(read::text(serialization, "hash_type")?)?;
        let method = read::method(serialization)?;
        let admitted = Self {
            name: subject.name.clone().filter(|name| !name.is_empty()),
            model_version: read::model_version(subject)?,
            renews: read::renews(subject)?,
            root: root.and_then(|bytes| Hash::from_slice(&bytes)).ok_or(Error::NoRoot)?,
            method,
            hash,
            resources: read::resources(&statement.predicate, method, hash)?,
            ignore_paths: read::ignore_paths(serialization)?,
            allow_symlinks: match serialization.get("allow_symlinks") {
                None => false,
                Some(value) => value.as_bool().ok_or(Error::BadField("allow_symlinks"))?,
            },
        };
        admitted.check()?;
        Ok(admitted)
    }

    /// A statement about the files of a model, hashed with SHA-256 and put in order of their names,
    /// as OMS v1.0 demands.
    pub fn new_files(
        name: &str,
        mut resources: Vec<Resource>,
        ignore_paths: Vec<String>,
        model_version: Option<String>,
    ) -> Result<Self, Error> {
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        let statement = Self {
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            model_version,
            renews: None,
            root: root_of(&resources),
            method: Method::Files,
            hash: ModelHash::Sha256,
            resources,
            ignore_paths,
            allow_symlinks: false,
        };
        statement.check()?;
        if statement.to_payload().len() > STATEMENT_LEN_MAX {
            return Err(Error::TooLong);
        }
        Ok(statement)
    }

    /// The same statement, saying that linked files were followed, so that verifiers follow them.
    pub fn with_symlinks_followed(self) -> Self {
        Self { allow_symlinks: true, ..self }
    }

    /// The same statement, as a renewal of the signature that is logged at `entry`: the same model,
    /// signed again because a key was changed, and no younger than it was.
    pub fn with_renewal(self, entry: EntryRef) -> Self {
        Self { renews: Some(entry), ..self }
    }

    /// The in-toto statement as Treering writes it: a DSSE payload that stock verifiers accept. For
    /// a statement that was read these are not the bytes it was read from.
    pub fn to_payload(&self) -> Vec<u8> {
        payload::write(self)
    }

    /// The signer's name for the model: informational, proves nothing.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The signer's version of the model, if there is one.
    pub fn model_version(&self) -> Option<&str> {
        self.model_version.as_deref()
    }

    /// The logged signature that the signer says this one renews.
    pub fn renews(&self) -> Option<EntryRef> {
        self.renews
    }

    /// The OMS root: SHA-256 of the digests in the order given. It binds neither names nor order.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// How files became resources.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The hash of the digests.
    pub fn hash(&self) -> ModelHash {
        self.hash
    }

    /// The resources in the order given: 1 to [`RESOURCES_MAX`].
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// What verifiers will not look at, relative to the model: everything below is unsigned.
    pub fn ignore_paths(&self) -> &[String] {
        &self.ignore_paths
    }

    /// Whether the signer followed symbolic links.
    pub fn allow_symlinks(&self) -> bool {
        self.allow_symlinks
    }

    /// Whether the resources are in order of their names. OMS v1.0 demands it and Go's verifier
    /// insists; Python's signer orders by path components, which differs where a directory and a
    /// file share a beginning.
    pub fn is_sorted_by_name(&self) -> bool {
        self.resources.is_sorted_by(|a, b| a.name <= b.name)
    }

    /// The file that `resource` is, or is a shard of.
    pub fn path<'a>(&self, resource: &'a Resource) -> &'a str {
        match self.method {
            Method::Files => &resource.name,
            Method::Shards { .. } => {
                Shard::parse(&resource.name).map_or(&resource.name, |shard| shard.path)
            }
        }
    }

    /// Whether all resources belong to one file at the top: OMS writes a model that is a single
    /// file so, and cannot tell it from a directory with that file.
    pub fn is_single_file(&self) -> bool {
        let first = self.path(&self.resources[0]);
        !first.contains('/') && self.resources.iter().all(|r| self.path(r) == first)
    }

    fn check(&self) -> Result<(), Error> {
        let label = |text: &String| text.len() <= LABEL_LEN_MAX && !text.contains(char::is_control);
        if !self.name.iter().all(label) {
            return Err(Error::BadModelName);
        }
        if !self.model_version.iter().all(|text| label(text) && !text.is_empty()) {
            return Err(Error::BadModelVersion);
        }
        if self.resources.is_empty() {
            return Err(Error::Empty);
        }
        if self.resources.len() > RESOURCES_MAX {
            return Err(Error::TooManyResources);
        }
        for resource in &self.resources {
            if resource.digest.len() != self.hash.digest_len() {
                return Err(Error::BadDigest(resource.name.clone()));
            }
        }
        // Signers list them in order, which sorts at once.
        let names = self.resources.iter().map(|resource| resource.name.as_str());
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::DuplicateName(twice[0].to_owned()));
        }
        self.check_paths()?;
        self.check_ignore_paths()?;
        if root_of(&self.resources) != self.root {
            return Err(Error::RootMismatch);
        }
        Ok(())
    }

    fn check_paths(&self) -> Result<(), Error> {
        let names = self.resources.iter().map(|resource| resource.name.as_str());
        let Method::Shards { size } = self.method else {
            let alone = self.resources.len() == 1;
            let mut checked = names.filter(|name| !(alone && *name == SINGLE_FILE_NAME));
            return checked.try_for_each(paths::check);
        };
        let mut shards: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        for name in names {
            let shard = Shard::parse(name).ok_or_else(|| Error::BadShardName(name.to_owned()))?;
            shards.entry(shard.path).or_default().push((shard.start, shard.end));
        }
        let alone = shards.len() == 1;
        for (path, mut ranges) in shards {
            if !(alone && path == SINGLE_FILE_NAME) {
                paths::check(path)?;
            }
            if !paths::are_contiguous(&mut ranges, size) {
                return Err(Error::ShardGap(path.to_owned()));
            }
        }
        Ok(())
    }

    fn check_ignore_paths(&self) -> Result<(), Error> {
        if self.ignore_paths.len() > IGNORE_PATHS_MAX {
            return Err(Error::TooManyIgnorePaths);
        }
        let directory = |path: &String| Ok(paths::check_ignored(path)?.to_owned() + "/");
        let ignored = self.ignore_paths.iter().map(directory);
        let mut ignored = ignored.collect::<Result<Vec<String>, Error>>()?;
        ignored.sort_unstable();
        // What lies below another ignored path adds nothing. Of those that are left, only the last
        // one that sorts before a path can lie above it: a path of thousands of components, among
        // as many ignored ones, costs one look.
        ignored.dedup_by(|path, above| path.starts_with(above.as_str()));
        let mut path = String::new();
        let listed = self.resources.iter().find(|resource| {
            path.clear();
            path.extend([self.path(resource), "/"]);
            let before = ignored.partition_point(|ignored| *ignored <= path);
            before.checked_sub(1).is_some_and(|last| path.starts_with(&ignored[last]))
        });
        match listed {
            None => Ok(()),
            Some(resource) => Err(Error::IgnoredResource(resource.name.clone())),
        }
    }
}

impl ModelHash {
    /// The name that OMS uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake2b => "blake2b",
            Self::Blake3 => "blake3",
        }
    }

    /// Length of its digests, in bytes.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Blake2b => 64,
        }
    }

    fn from_name(name: &str) -> Result<Self, Error> {
        [Self::Sha256, Self::Blake2b, Self::Blake3]
            .into_iter()
            .find(|hash| hash.name() == name)
            .ok_or_else(|| Error::UnknownHash(name.to_owned()))
    }
}

impl Method {
    /// The name that OMS uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Shards { .. } => "shards",
        }
    }
}

/// OMS v1.0 section 6.5.1: always SHA-256, over the raw digests.
fn root_of(resources: &[Resource]) -> Hash {
    let mut hasher = Sha256::new();
    for resource in resources {
        hasher.update(&resource.digest);
    }
    Hash(hasher.finalize().into())
}

#[cfg(test)]
pub(crate) mod tests;
