//! The newest model of a line: of one name, by the signers who share it.
//!
//! A model stands where its first signature stands, so that neither copies nor renewals make it
//! newer. So the entry with the highest index need not be of the newest model:
//!
//! ```text
//! 10 one   20 two   30 three   40 two, renewed          newest: 30
//! ```
//!
//! Invariant: what comes back is proven, verified and read; that there is nothing newer is the
//! log's word. Out of scope: verifiers, who judge all of it again (see [`crate::history`]).

use std::collections::BTreeSet;

use treering_proto::facts::Tag;
use treering_proto::hash::Hash;
use treering_proto::tree::LeafIndex;
use treering_proto::trust::{SignerRule, TrustFile};

use super::{Access, LoggedModel, LoggedModelError};
use crate::history::{By, Who};
use crate::log::LogError;
use crate::search_check::{Asked, SearchOrder, ask};

/// Entries that one search may bring.
const HITS_MAX: usize = 1_000;

/// Entries that are read in search of the newest: renewals of old models above it.
const READ_MAX: usize = 64;

/// Why the newest is not known.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The log could not be searched.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The index is behind the tree, or somebody holds it back.
    #[error("the log searched only {searched} entries, and has entry {about}")]
    Behind {
        /// Entries that were searched.
        searched: u64,
        /// The model that is spoken about.
        about: LeafIndex,
    },
    /// An entry could not be read.
    #[error("entry {index} may be the newest: {error}")]
    Entry {
        /// Which.
        index: LeafIndex,
        /// Why not.
        #[source]
        error: LoggedModelError,
    },
    /// A model without name is in no line.
    #[error("the model has no name, so nothing says what is newer")]
    NoName,
    /// There is none.
    #[error("the log shows nothing newer of this name by these signers")]
    Newest,
    /// Too much to read.
    #[error("there are too many entries of this name to find the newest")]
    TooMany,
}

/// The newest other model of the name of `about`, by its signers and those of the trust file, if it
/// stands above `about`.
///
/// # Errors
/// [`LineError`].
pub async fn newest_of_line(
    access: &Access<'_>,
    about: &LoggedModel,
) -> Result<LoggedModel, LineError> {
    let name = about.name().ok_or(LineError::NoName)?;
    let line = Line { access, name, about, signers: signers(about, access.trust) };
    let mut hits = BTreeSet::new();
    for by in &line.signers {
        hits.extend(line.search(by, None, SearchOrder::Newest).await?);
    }
    let own = line.place(about.model_id, about.entry.index).await?;
    let mut known = BTreeSet::from([about.model_id]);
    let mut newest: Option<(LeafIndex, LoggedModel)> = None;
    for (count, index) in hits.into_iter().rev().enumerate() {
        let beaten = newest.as_ref().map_or(own, |(place, _)| *place);
        if index <= beaten {
            break;
        }
        if count == READ_MAX {
            return Err(LineError::TooMany);
        }
        let model = match access.look_up(index).await {
            Ok(model) => model,
            Err(LoggedModelError::NotModel { .. }) => continue,
            Err(error) => return Err(LineError::Entry { index, error }),
        };
        if model.name() != Some(name) || !known.insert(model.model_id) {
            continue;
        }
        let place = line.place(model.model_id, index).await?;
        if place > beaten {
            newest = Some((place, model));
        }
    }
    newest.map(|(_, model)| model).ok_or(LineError::Newest)
}

/// All who share the name: a change of keys starts no new line.
fn signers(about: &LoggedModel, trust: &TrustFile) -> BTreeSet<By> {
    let authorities = &trust.certificate_authorities;
    let own = about.signed_by.iter().flat_map(|one| Who::of(one, &[], authorities, None).by());
    own.chain(trust.signers.iter().map(|rule: &SignerRule| By::of(rule))).collect()
}

struct Line<'a> {
    access: &'a Access<'a>,
    name: &'a str,
    about: &'a LoggedModel,
    signers: BTreeSet<By>,
}

impl Line<'_> {
    /// Where the model stands: at its first signature in this line.
    async fn place(&self, model_id: Hash, seen: LeafIndex) -> Result<LeafIndex, LineError> {
        let mut place = seen;
        for by in &self.signers {
            let oldest = self.search(by, Some(model_id), SearchOrder::Oldest).await?;
            place = oldest.into_iter().chain([place]).min().unwrap_or(place);
        }
        Ok(place)
    }

    /// Entries of the name by one signer: all of them, or the oldest about one model.
    async fn search(
        &self,
        by: &By,
        model_id: Option<Hash>,
        order: SearchOrder,
    ) -> Result<BTreeSet<LeafIndex>, LineError> {
        let mut facts = by.facts();
        facts.push((Tag::SubjectName, self.name.to_owned()));
        facts.extend(model_id.map(|id| (Tag::ModelId, id.to_hex())));
        let facts: Vec<(&str, &str)> =
            facts.iter().map(|(tag, value)| (tag.name(), value.as_str())).collect();
        let enough = Some(if model_id.is_some() { 1 } else { HITS_MAX });
        let asked = Asked { facts: &facts, order, cursor: None, enough, cover: (0, 0) };
        let answered = ask(self.access.log, asked).await?;
        let (searched, about) = (answered.searched, self.about.entry.index);
        if searched <= about.get() {
            return Err(LineError::Behind { searched, about });
        }
        Ok(answered.hits.into_keys().filter_map(LeafIndex::new).collect())
    }
}
