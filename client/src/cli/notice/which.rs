//! Which logged model is meant: a model with its bundle, a bundle alone, or an index of the log.
//!
//! Invariant: files that are named are those of the signature, or nothing is said: what was looked
//! at must be what is spoken about.

use std::path::{Path, PathBuf};

use treering_client::hash_model::HashOptions;
use treering_client::notice::{Access, LoggedModel, LoggedModelError};
use treering_client::report::{Exit, Outcome};
use treering_client::sign::resources;
use treering_client::verify::{Found, Model, Opened, Policy, verify};
use treering_proto::bundle::BUNDLE_LEN_MAX;
use treering_proto::tree::LeafIndex;
use treering_proto::trust::TrustFile;

use super::super::arguments::{now, read_bounded};
use super::super::failure::Failure;
use super::super::model;
use super::super::output::Output;
use super::super::verify::{keep_evidence, not_followed};
use super::NOTHING_SENT;

/// The choice, as the command line makes it: at least one of the first three.
#[derive(Clone, Copy)]
pub struct Which<'a> {
    /// Directory or file.
    pub model: Option<&'a Path>,
    /// Its bundle.
    pub signature: Option<&'a Path>,
    /// An index of the log.
    pub entry: Option<LeafIndex>,
    /// Whether linked files are followed.
    pub allow_symlinks: bool,
}

/// The same, with the bundle opened and the files compared.
pub enum Pointer {
    /// An index of the log.
    Index(LeafIndex),
    /// A bundle.
    Bundle(Box<Opened>),
}

impl Which<'_> {
    /// Opens the bundle, and compares the files with it if they are named.
    pub fn open(&self, trust: &TrustFile, output: &Output) -> Result<Pointer, Failure> {
        if let Some(index) = self.entry {
            return Ok(Pointer::Index(index));
        }
        let path = self.bundle()?;
        let bytes = read_bounded(&path, BUNDLE_LEN_MAX, "the bundle")?;
        let what = format!("{} cannot be spoken about", path.display());
        let opened = Opened::open(&bytes).map_err(|error| Failure::usage(what, error))?;
        if let Some(model) = self.model {
            self.compare(model, &path, &opened, trust, output)?;
        }
        Ok(Pointer::Bundle(Box::new(opened)))
    }

    fn bundle(&self) -> Result<PathBuf, Failure> {
        match (self.signature, self.model) {
            (Some(path), _) => Ok(path.to_owned()),
            (None, Some(model)) if model.exists() => Ok(model::default_signature(model)),
            (None, Some(model)) => {
                let why = format!("there is no file or directory {}", model.display());
                Err(Failure::usage(NOTHING_SENT, why))
            }
            (None, None) => Err(Failure::usage(NOTHING_SENT, "no model was named")),
        }
    }

    fn compare(
        &self,
        model: &Path,
        signature: &Path,
        opened: &Opened,
        trust: &TrustFile,
        output: &Output,
    ) -> Result<(), Failure> {
        let mut own = Vec::new();
        let mut ignore = Vec::new();
        if model.is_dir() {
            let by_signer = opened.statement().ignore_paths();
            own.extend(model::inside(model, signature).filter(|path| !by_signer.contains(path)));
            ignore = [by_signer, &own].concat();
        }
        let options = HashOptions { ignore, allow_symlinks: self.allow_symlinks };
        let hashed = model::read(model, &options, output)?;
        let files = resources(&hashed);
        let found = Found { files, ignored_by_caller: own, ignored: hashed.ignored };
        let policy = Policy { trust, signers: &trust.signers, now: now() };
        let report = verify(opened, &policy, Model::Read(&found)).report;
        let mut checks = report.checks().iter();
        match checks.find(|check| check.check == "bytes") {
            Some(check) if check.outcome == Outcome::Passed => Ok(()),
            check => {
                let why = check.map_or("they were not compared", |check| &check.why);
                let what = format!("{NOTHING_SENT}: the files are not those that were signed");
                Err(Failure::new(Exit::NotVerified, what, why).advise(
                    "get the files that were signed; or speak about the signature alone, whatever \
                     files are here: --signature FILE without MODEL",
                ))
            }
        }
    }
}

/// The logged model that `pointer` means, proven and read.
pub async fn find(
    access: &Access<'_>,
    pointer: Pointer,
    output: &Output,
) -> Result<LoggedModel, Failure> {
    let found = match pointer {
        Pointer::Index(index) => access.look_up(index).await,
        Pointer::Bundle(opened) => access.in_bundle(&opened).await,
    };
    found.map_err(|error| find_failure(error, access, output))
}

/// The failure to find a logged model, whose evidence is kept.
pub fn find_failure(error: LoggedModelError, access: &Access<'_>, output: &Output) -> Failure {
    use LoggedModelError as Error;
    let Access { trust, state, .. } = *access;
    let what = NOTHING_SENT;
    let why = error.to_string();
    match error {
        Error::Log(error) => Failure { what: what.to_owned(), ..error.into() },
        Error::Follow(error) => {
            let what = what.to_owned();
            Failure { what, ..not_followed(error, state, trust, output) }
        }
        Error::NoEntry(_) => Failure::new(Exit::NotFound, what, why),
        Error::OtherEntry { .. } => Failure::new(Exit::Alarm, what, why)
            .advise("ask the log's operator, and others whether they are shown the same"),
        Error::NotProven { exit, evidence, .. } => {
            if let Some(evidence) = evidence {
                keep_evidence(Some(state), trust, &evidence, output);
            }
            Failure::new(exit, what, why)
        }
        Error::EntryCount(0) => {
            Failure::new(Exit::NotVerified, what, "the signature in the bundle is not logged")
                .advise("log the bundle first: treering submit")
        }
        Error::EntryCount(_) | Error::OtherSignature(_) | Error::Signature(_) => {
            Failure::new(Exit::NotVerified, what, why)
        }
        Error::DigestOnly(_) => {
            Failure::new(Exit::NotVerified, what, why).advise("name its bundle: --signature FILE")
        }
        Error::NotModel { .. } => Failure::usage(what, why)
            .advise("name the entry of a model's signature, not that of a notice"),
    }
}

/// An index of the log.
pub fn parse_index(text: &str) -> Result<LeafIndex, String> {
    let index = text.parse().ok().and_then(LeafIndex::new);
    index.ok_or_else(|| "an index is a whole number below 2^53".to_owned())
}
