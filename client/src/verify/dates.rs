//! The checks about time: each adds its line to the report.
//!
//! ```text
//! not after    the time at which the quorum vouches that a tree with the entry existed: of a group
//!              of threshold k the k-th oldest, so fewer than k liars cannot make the entry older
//!              than it is. Sound. A late one may be a liar's: where it matters how early the entry
//!              is, now is taken instead if it is earlier.
//! not before   the time at which the quorum saw a tree without the entry as the newest. Advice:
//!              an honest witness may be shown an old tree late, and cosign it then. What it
//!              contradicts is not verified (exit 1); only what the log's own words, or a sound
//!              bound, contradict is an alarm (exit 6).
//! the log's    the times in its own timestamped lines on the same trees, and in its signed entry
//!              timestamp (Rekor v1). Claims, and the log can be held to them.
//! stamped      the signature existed then, by an RFC 3161 authority. When it was logged, the token
//!              does not say: tokens are made before and after.
//! ```
//!
//! Invariants: a log's word dates nothing; it only contradicts others, or itself. Our own clock
//! accuses nobody.
//! Out of scope: asking the log (see [`crate::online`]).

use treering_proto::api::v1::set_payload;
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::certificate::Certificate;
use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::encoding::to_base64;
use treering_proto::evidence::{self, Evidence};
use treering_proto::freshness::{CLOCK_SKEW_MAX, Freshness, own_time};
use treering_proto::trust::TrustFile;

use super::{Newest, Opened, Policy, Promise, Shown};
use crate::report::{Exit, Report};
use crate::time::{report_freshness, time_text};
use crate::timestamp::{TimestampError, check_timestamp};

/// The earliest time at which the signature surely existed, and by whose word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dated {
    /// The quorum of witnesses saw the entry.
    Witnessed(u64),
    /// An RFC 3161 authority saw the signature.
    Stamped(u64),
    /// Nobody but the signer and the log says.
    Never,
}

/// When an entry was logged, by somebody's word, in Unix seconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) not_after: Option<u64>,
    pub(super) not_before: Option<u64>,
}

/// An entry that is proven to be logged, and everything that says when.
pub(super) struct Logged<'a> {
    pub(super) entry: &'a TransparencyLogEntry,
    /// A tree with the entry.
    pub(super) checkpoint: &'a SignedCheckpoint,
    pub(super) shown: &'a Shown,
}

impl Dated {
    pub(super) fn earliest(witnessed: Option<u64>, stamped: Option<u64>) -> Self {
        match (witnessed, stamped) {
            (Some(witnessed), Some(stamped)) if stamped < witnessed => Self::Stamped(stamped),
            (Some(witnessed), _) => Self::Witnessed(witnessed),
            (None, Some(stamped)) => Self::Stamped(stamped),
            (None, None) => Self::Never,
        }
    }
}

impl Logged<'_> {
    /// The earliest time at which the entry surely existed by the word of the witnesses, or now
    /// where the witnesses give a later one.
    ///
    /// Unless the quorum vouches for a time after now: then it is our clock that is behind, and
    /// bounds nothing.
    pub(super) fn witnessed_by(&self, policy: &Policy<'_>) -> Option<u64> {
        let witnessed = self.witnessed(policy.trust).not_after?;
        let vouched = vouched_time(policy.trust, self.checkpoint);
        let is_behind = vouched.is_some_and(|vouched| vouched > policy.now);
        Some(if is_behind { witnessed } else { witnessed.min(policy.now) })
    }

    /// By the word of the witnesses whose quorum the policy asks for.
    fn witnessed(&self, trust: &TrustFile) -> Span {
        let Some(witnesses) = &trust.witness_policy else { return Span::default() };
        let policy = &witnesses.policy;
        Span {
            not_after: self.earliest(|head| policy.quorum_not_after(head.verified())),
            not_before: self.latest(|head| vouched_time(trust, head)),
        }
    }

    /// By the word of the log's own timestamped lines.
    fn own(&self, trust: &TrustFile) -> Span {
        Span {
            not_after: self.earliest(|head| own_time(trust, head)),
            not_before: self.latest(|head| own_time(trust, head)),
        }
    }

    /// What to think of a `time` that the log signed and nobody contradicts, in the future by our
    /// clock. A slow clock of our own looks the same as a fast one of the log, so it is no alarm.
    fn in_the_future(&self, time: u64, policy: &Policy<'_>) -> String {
        let newest = match &self.shown.newest {
            Newest::Followed(head) => Some(head),
            _ => None,
        };
        let heads = [Some(self.checkpoint), self.shown.after.as_ref(), newest];
        let limit = policy.now.saturating_add(CLOCK_SKEW_MAX);
        let is_ahead = |of: fn(&TrustFile, &SignedCheckpoint) -> Option<u64>| {
            let mut times = heads.iter().flatten().filter_map(|head| of(policy.trust, head));
            times.any(|time| time > limit)
        };
        let whose = if is_ahead(vouched_time) {
            "the witnesses' times are in the future, too: this machine's clock is behind"
        } else if is_ahead(own_time) {
            "so are the trees that it dated: this machine's clock is behind, or the log's is ahead"
        } else {
            "nobody else says whether the log's clock is ahead, or this machine's is behind"
        };
        let at = time_text(time);
        format!("the log says that it logged the entry in the future, at {at}; {whose}")
    }

    /// Of the trees with the entry. A time of 0 says nothing.
    fn earliest(&self, time: impl Fn(&SignedCheckpoint) -> Option<u64>) -> Option<u64> {
        let heads = [Some(self.checkpoint), self.shown.after.as_ref()];
        heads.into_iter().flatten().filter_map(time).filter(|time| *time != 0).min()
    }

    /// Of the tree without the entry.
    fn latest(&self, time: impl Fn(&SignedCheckpoint) -> Option<u64>) -> Option<u64> {
        self.shown.before.as_ref().and_then(time).filter(|time| *time != 0)
    }
}

/// A time at which the quorum vouches that `head` was the newest.
fn vouched_time(trust: &TrustFile, head: &SignedCheckpoint) -> Option<u64> {
    trust.witness_policy.as_ref()?.policy.quorum_time(head.verified())
}

/// The RFC 3161 timestamps over the signature, each of which must be good. Returns the earliest
/// time.
pub(super) fn timestamps(opened: &Opened, policy: &Policy<'_>, report: &mut Report) -> Option<u64> {
    let tokens = &opened.bundle.timestamps;
    let authorities = &policy.trust.timestamp_authorities;
    let count = tokens.len();
    if tokens.is_empty() {
        report.not_checked("timestamp", "the bundle has no RFC 3161 timestamp");
        return None;
    }
    if authorities.is_empty() {
        let why =
            format!("the trust file has no timestampAuthorities; {count} timestamps are there");
        report.not_checked("timestamp", why);
        return None;
    }
    let signature = &opened.envelope().signatures[0].signature;
    let mut times = Vec::new();
    // What is false outranks what could not be checked, in whichever order they come.
    let mut unsupported = None;
    for token in tokens {
        match check_timestamp(token, signature, authorities) {
            Ok(time) if time > policy.now.saturating_add(CLOCK_SKEW_MAX) => {
                let why = format!("a timestamp lies in the future, at {}", time_text(time));
                report.failed("timestamp", why, Exit::NotVerified);
                return None;
            }
            Ok(time) => times.push(time),
            Err(error @ TimestampError::UnsupportedKey) => unsupported = Some(error),
            Err(error) => {
                report.failed("timestamp", error.to_string(), Exit::NotVerified);
                return None;
            }
        }
    }
    if let Some(error) = unsupported {
        report.could_not_check("timestamp", error.to_string(), Exit::Unavailable);
        return None;
    }
    let earliest = times.into_iter().min()?;
    let at = time_text(earliest);
    report.passed("timestamp", format!("a trusted authority saw the signature at {at}"));
    Some(earliest)
}

/// Whether all that is said about when the entry was logged goes together. Returns evidence where
/// the log contradicts itself.
pub(super) fn time(
    logged: &Logged<'_>,
    certificate: Option<&Certificate>,
    policy: &Policy<'_>,
    report: &mut Report,
) -> Vec<Evidence> {
    let mut remarks = Vec::new();
    let (claims, forged) = claims(logged, policy.trust, &mut remarks);
    remarks.extend(logged.shown.remarks.iter().cloned());
    let span = logged.witnessed(policy.trust);
    let own = logged.own(policy.trust);
    let is_first = |(at, claim): &(usize, &Promise)| {
        // The same time signed twice is one lie.
        !claims[..*at].iter().any(|earlier| earlier.time == claim.time)
    };
    let distinct = claims.iter().enumerate().filter(is_first);
    let evidence: Vec<Evidence> =
        distinct.filter_map(|(_, claim)| wrong_time(logged, policy.trust, claim)).collect();
    let contradicted = claims.iter().find_map(|claim| {
        too_late(claim.time, span, CLOCK_SKEW_MAX, "witnesses")
            .or_else(|| too_late(claim.time, own, 0, "its own signature"))
            .or_else(|| too_early(claim.time, own, 0, "its own signature"))
    });
    // No alarm and no evidence: witnesses that lag are no fault of the log. But a time that nobody
    // explains is not verified either, or backdating would go unnoticed wherever a log does not
    // date its own trees.
    let doubtful =
        claims.iter().find_map(|claim| too_early(claim.time, span, CLOCK_SKEW_MAX, "witnesses"));
    let is_future = |time: u64| time > policy.now.saturating_add(CLOCK_SKEW_MAX);
    let future = claims.iter().find(|claim| is_future(claim.time));
    let differ = claims.windows(2).find(|pair| pair[0].time != pair[1].time).map(|pair| {
        let [one, other] = [pair[0].time, pair[1].time].map(time_text);
        format!("the log signed two times for the entry: {one} and {other}")
    });
    let proven = evidence.first().map(ToString::to_string);
    let uncertified = claims.iter().find_map(|claim| before_certificate(claim.time, certificate?));
    let claimed = claims.first().map(|claim| claim.time);
    if let Some(why) = proven.or(contradicted).or(differ) {
        report.failed("time", why, Exit::Alarm);
    } else if let Some(why) = forged.or(uncertified).or(doubtful) {
        report.failed("time", why, Exit::NotVerified);
    } else if let Some(claim) = future {
        let why = logged.in_the_future(claim.time, policy);
        report.could_not_check("time", why, Exit::Unavailable);
    } else if let Some(why) = sentence(span, claimed) {
        report.passed("time", why);
    } else {
        let says = claimed.map(|time| format!("; the log says {}", time_text(time)));
        let why = format!("no quorum of witnesses dates the entry{}", says.unwrap_or_default());
        report.not_checked("time", why);
    }
    report.details(remarks);
    evidence
}

/// Whether the newest checkpoint is new enough: that which the log showed, or that of the bundle
/// where the log was not asked.
pub(super) fn freshness(
    checkpoint: Result<&SignedCheckpoint, &'static str>,
    newest: &Newest,
    policy: &Policy<'_>,
    report: &mut Report,
) {
    let unknown = |report: &mut Report, why, exit| match policy.trust.max_checkpoint_age {
        Some(_) => report.could_not_check("freshness", why, exit),
        None => report.not_checked("freshness", "the trust file has no maximum age"),
    };
    let head = match (newest, checkpoint) {
        (Newest::Followed(head), _) => head,
        (Newest::NotAsked, Ok(checkpoint)) => checkpoint,
        (Newest::NotAsked, Err(why)) => return report.not_checked("freshness", why),
        (Newest::Unknown, _) => {
            return unknown(report, "the log could not be followed", Exit::Unavailable);
        }
        (Newest::NoQuorum { .. }, _) => {
            let why = "the quorum did not cosign the newest checkpoint";
            return unknown(report, why, Exit::NotVerified);
        }
    };
    let freshness = Freshness::of(policy.trust, head, policy.now);
    let is_asked = matches!(newest, Newest::Followed(_));
    report_freshness(report, freshness, head.head().size.get(), policy.now, is_asked);
}

/// The times that the log signed for the entry: in the bundle, and in its answer. Also says if the
/// bundle has one that the log did not sign.
fn claims(
    logged: &Logged<'_>,
    trust: &TrustFile,
    remarks: &mut Vec<String>,
) -> (Vec<Promise>, Option<String>) {
    let entry = logged.entry;
    let (mut claims, mut forged) = (Vec::new(), None);
    let time = entry.integrated_time;
    match &entry.inclusion_promise {
        Some(_) if trust.log.v1_keys().is_empty() => remarks.push(
            "the bundle has a signed entry timestamp, and the trust file no key to check it with"
                .to_owned(),
        ),
        Some(signature) => {
            let promise = Promise { time, signature: signature.clone() };
            if is_promised(trust, &of_entry(entry, &promise)) {
                claims.push(promise);
            } else {
                forged =
                    Some("the signed entry timestamp in the bundle is not the log's".to_owned());
            }
        }
        None if time != 0 => {
            let says = format!("the bundle says {} without a signature", time_text(time));
            remarks.push(format!("{says}: not believed"));
        }
        None => {}
    }
    match &logged.shown.promise {
        Some(promise) if is_promised(trust, &of_entry(entry, promise)) => {
            claims.push(promise.clone())
        }
        Some(_) => {
            remarks.push("the log answered with a timestamp that it did not sign".to_owned())
        }
        None => {}
    }
    (claims, forged)
}

/// The promise with what it is about.
fn of_entry(entry: &TransparencyLogEntry, promise: &Promise) -> evidence::Promise {
    evidence::Promise {
        set: promise.signature.clone(),
        entry: entry.canonicalized_body.clone(),
        time: promise.time,
        index: entry.log_index,
    }
}

/// Whether the log signed `promise`, under a key of its Rekor v1 side.
pub(crate) fn is_promised(trust: &TrustFile, promise: &evidence::Promise) -> bool {
    let body = to_base64(&promise.entry);
    trust.log.v1_keys().iter().any(|key| {
        let id = key.key_id_full().to_hex();
        let payload = set_payload(&body, promise.time, &id, promise.index.get());
        let text = String::from_utf8(payload).expect("base64, hexadecimal and digits are UTF-8");
        key.verify(&text, &promise.set).is_ok()
    })
}

/// Evidence that the log contradicts itself: its promise, and its own signature with a time. It
/// needs no skew, because a log has one clock.
fn wrong_time(logged: &Logged<'_>, trust: &TrustFile, claim: &Promise) -> Option<Evidence> {
    let document = trust.log.identity.as_ref()?;
    let time_key = trust.log.time_key()?;
    let promise = of_entry(logged.entry, claim);
    let proof = &logged.entry.inclusion_proof.hashes;
    let shown = logged.shown;
    let heads = [
        (shown.before.as_ref(), &Vec::new()),
        (shown.after.as_ref(), &shown.after_proof),
        (Some(logged.checkpoint), proof),
    ];
    heads
        .into_iter()
        .find_map(|(head, proof)| Evidence::wrong_time(document, time_key, &promise, head?, proof))
}

/// Why a time that the log signed is too late, given what others say.
fn too_late(time: u64, span: Span, skew: u64, who: &str) -> Option<String> {
    let seen = span.not_after.filter(|seen| time > seen.saturating_add(skew))?;
    Some(format!("{}, but by {who} it was there at {}", logged_at(time), time_text(seen)))
}

/// Why it is too early.
fn too_early(time: u64, span: Span, skew: u64, who: &str) -> Option<String> {
    let newest = span.not_before.filter(|seen| time.saturating_add(skew) < *seen)?;
    let but = format!("but by {who} its tree ended before the entry at {}", time_text(newest));
    Some(format!("{}, {but}", logged_at(time)))
}

fn logged_at(time: u64) -> String {
    format!("the log says that it logged the entry at {}", time_text(time))
}

/// The entry holds the certificate, so it cannot be older.
fn before_certificate(time: u64, certificate: &Certificate) -> Option<String> {
    let from = certificate.not_before();
    (time.saturating_add(CLOCK_SKEW_MAX) < from).then(|| {
        format!(
            "the log says that it logged the entry at {}, before the certificate in it was valid, \
             at {}",
            time_text(time),
            time_text(from)
        )
    })
}

/// What is known about the time, if the witnesses bound it.
fn sentence(span: Span, claimed: Option<u64>) -> Option<String> {
    let mut text = format!("logged not after {}, by the witnesses", time_text(span.not_after?));
    if let Some(time) = span.not_before {
        text.push_str(&format!("; not before {}, as far as they were shown", time_text(time)));
    }
    if let Some(time) = claimed {
        text.push_str(&format!("; the log says {}", time_text(time)));
    }
    Some(text)
}

#[cfg(test)]
mod tests;
