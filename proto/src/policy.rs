//! The C2SP witness policy: which logs are known, and whose cosignatures a checkpoint needs
//! (c2sp.org/tlog-policy).
//!
//! ```text
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<k> <member>...      k of its members, witnesses or groups, must witness
//! quorum <name>|none                        exactly once
//! ```
//!
//! Lines end with LF; items are separated by spaces and tabs and nothing else; blank lines and
//! lines that start with `#` are skipped, and a `#` further right is data. Names are octets, stand
//! for what earlier lines defined, and are a member of at most one group.
//!
//! Invariants: a component refers only to earlier ones, and each is a member once, so the
//! components form a forest, one pass evaluates it, and no witness counts twice.
//!
//! A witness that signs with two keys, Ed25519 and ML-DSA-44, is two witnesses here; who writes the
//! policy puts them in an `any` group. Out of scope: opening the checkpoint (see
//! [`crate::checkpoint`]), and comparing times with a clock.

mod parse;
mod twice;

use crate::note::{NoteKey, Verified};

pub use parse::{PolicyError, PolicyFault};

/// The longest policy in bytes: hundreds of the longest lines, which hold ML-DSA keys of 1752
/// characters.
pub const POLICY_LEN_MAX: usize = 1 << 20;

/// The most logs, and the most witnesses and groups together; the specification asks for 32 each.
pub const POLICY_ITEMS_MAX: usize = 1024;

/// A policy that parsed, or [`Policy::none`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    /// Witnesses and groups in the order of the file; members stand before their group.
    components: Vec<Component>,
    /// Index into `components`; `None` for `quorum none`.
    quorum: Option<usize>,
}

/// A log that the policy knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyLog {
    /// Its key, which signs notes or is of ML-DSA-44; the name of the key is the origin of the log.
    pub key: NoteKey,
    /// What it means is up to the application.
    pub url: Option<String>,
}

/// A witness that the policy knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyWitness {
    /// Its name in the policy, which need not be that of its key.
    pub name: String,
    /// Its key, of a kind that cosigns.
    pub key: NoteKey,
    /// Where it takes checkpoints: the submission prefix of C2SP tlog-witness.
    pub url: Option<String>,
}

/// How far cosignatures meet a policy, for people to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyReport {
    /// Whether the quorum is met.
    pub met: bool,
    /// The witness or group that is the quorum; `None` for `quorum none`.
    pub quorum: Option<String>,
    /// Every witness and group, in the order of the policy.
    pub components: Vec<ComponentReport>,
}

/// How far one witness or group got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ComponentReport {
    /// Its name in the policy.
    pub name: String,
    /// How many of its members witnessed; of a witness, 1 if it cosigned.
    pub have: usize,
    /// How many it takes.
    pub need: usize,
    /// How many members it has; 1 for a witness.
    pub of: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Component {
    Witness(PolicyWitness),
    Group { name: String, threshold: usize, members: Vec<usize> },
}

impl Policy {
    /// The policy that knows no log and asks for no cosignature: `quorum none`.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`], with the number of the line at fault.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        parse::parse(bytes)
    }

    /// The logs, in the order of the policy. Any one of them will do.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The keys that may sign for the log `origin`: those of that name.
    pub fn log_keys(&self, origin: &str) -> Vec<NoteKey> {
        let keys = self.logs.iter().map(|log| &log.key);
        keys.filter(|key| key.name() == origin).cloned().collect()
    }

    /// The witnesses, in the order of the policy, whether the quorum needs them or not.
    pub fn witnesses(&self) -> impl Iterator<Item = &PolicyWitness> {
        self.components.iter().filter_map(Component::witness)
    }

    /// The keys of the witnesses.
    pub fn witness_keys(&self) -> Vec<NoteKey> {
        self.witnesses().map(|witness| witness.key.clone()).collect()
    }

    /// Whether the quorum is `none`, so that no cosignature is needed.
    pub fn needs_no_witness(&self) -> bool {
        self.quorum.is_none()
    }

    /// Whether the cosignatures among `verified` meet the quorum.
    pub fn is_met(&self, verified: &[Verified]) -> bool {
        self.quorum.is_none() || self.quorum_time(verified).is_some()
    }

    /// A time in seconds at which the quorum vouches that the checkpoint was the newest; `None`
    /// when the quorum is not met, or is `none`.
    ///
    /// A witness gives its time, and a group of threshold k the k-th newest of its members. So
    /// fewer than k lying members of a group cannot make a checkpoint look fresher than an honest
    /// one saw it. The newest time of all would be whatever a single liar says.
    pub fn quorum_time(&self, verified: &[Verified]) -> Option<u64> {
        self.times(verified)[self.quorum?]
    }

    /// A time in seconds at which the checkpoint existed, by the word of the quorum: what is in its
    /// tree is not younger. `None` when the quorum is not met, is `none`, or gives no time.
    ///
    /// The dual of [`Self::quorum_time`]: a witness gives its time, and a group of threshold k the
    /// k-th oldest of its members that witnessed.
    ///
    /// - Sound: call a time sound when it is not before the tree existed. An honest witness gives a
    ///   sound one. If fewer than k members of a group give an unsound one, then one of its k
    ///   oldest is sound, and the k-th oldest is not before that one. So up to k-1 liars cannot
    ///   make the tree older than an honest witness saw it; k could forge the quorum itself.
    /// - Robust: if k honest members witnessed, the k-th oldest is not after the last of their k
    ///   oldest, whatever the others say: a fast clock does no harm. If fewer did, a liar can make
    ///   the time as late as it likes. That is true and useless; callers that know a later bound,
    ///   such as now, take the earlier of the two.
    ///
    /// A time of 0 vouches for nothing (C2SP tlog-cosignature), so here it counts as the newest of
    /// all: as the oldest it would help a liar.
    pub fn quorum_not_after(&self, verified: &[Verified]) -> Option<u64> {
        let time = |witness: &PolicyWitness| {
            witness.time(verified).map(|time| if time == 0 { u64::MAX } else { time })
        };
        let oldest = |mut times: Vec<u64>, threshold: usize| {
            times.sort_unstable();
            times.get(threshold - 1).copied()
        };
        self.evaluate(time, oldest)[self.quorum?].filter(|time| *time != u64::MAX)
    }

    /// What each witness and group has and needs.
    pub fn report(&self, verified: &[Verified]) -> PolicyReport {
        let times = self.times(verified);
        let components = self.components.iter().zip(&times).map(|(component, time)| {
            let name = component.name().to_owned();
            match component {
                Component::Witness(_) => {
                    ComponentReport { name, have: usize::from(time.is_some()), need: 1, of: 1 }
                }
                Component::Group { threshold, members, .. } => ComponentReport {
                    name,
                    have: members.iter().filter(|member| times[**member].is_some()).count(),
                    need: *threshold,
                    of: members.len(),
                },
            }
        });
        PolicyReport {
            met: self.is_met(verified),
            quorum: self.quorum.map(|quorum| self.components[quorum].name().to_owned()),
            components: components.collect(),
        }
    }

    /// The time of each component, `None` for those that did not witness. A cosignature without
    /// time does not say that the tree was the newest, so having a time and having witnessed are
    /// the same.
    fn times(&self, verified: &[Verified]) -> Vec<Option<u64>> {
        let newest = |mut times: Vec<u64>, threshold: usize| {
            times.sort_unstable_by(|a, b| b.cmp(a));
            times.get(threshold - 1).copied()
        };
        self.evaluate(|witness| witness.time(verified), newest)
    }

    /// The time of each component: of a witness by `of_witness`, of a group by `of_group`, from the
    /// times of its members that witnessed and its threshold, which is at least 1.
    fn evaluate(
        &self,
        of_witness: impl Fn(&PolicyWitness) -> Option<u64>,
        of_group: impl Fn(Vec<u64>, usize) -> Option<u64>,
    ) -> Vec<Option<u64>> {
        let mut times: Vec<Option<u64>> = Vec::with_capacity(self.components.len());
        for component in &self.components {
            times.push(match component {
                Component::Witness(witness) => of_witness(witness),
                Component::Group { threshold, members, .. } => {
                    let of_members = members.iter().filter_map(|member| times[*member]);
                    of_group(of_members.collect(), *threshold)
                }
            });
        }
        times
    }
}

impl PolicyWitness {
    fn time(&self, verified: &[Verified]) -> Option<u64> {
        verified.iter().find(|signature| signature.key == self.key)?.time
    }
}

impl Component {
    fn name(&self) -> &str {
        match self {
            Self::Witness(witness) => &witness.name,
            Self::Group { name, .. } => name,
        }
    }

    fn witness(&self) -> Option<&PolicyWitness> {
        match self {
            Self::Witness(witness) => Some(witness),
            Self::Group { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
