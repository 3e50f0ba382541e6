//! The checks about time: each adds its line to the report.
//!
//! ```text
//! not after    the newest time that the quorum gives a tree with the entry: all of its witnesses
//!              would have to lie to make the entry older than it is. Sound.
//! not before   the time at which the quorum saw a tree without the entry as the newest. Advice:
//!              witnesses know only what they are shown, and may lag.
//! the log's    the times in its own timestamped lines on the same trees, and in its signed entry
//!              timestamp (Rekor v1). Claims, and the log can be held to them.
//! stamped      the signature existed then, by an RFC 3161 authority. When it was logged, the token
//!              does not say: tokens are made before and after.
//! ```
//!
//! Invariant: a log's word dates nothing; it only contradicts others, or itself.
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
    /// By the word of the witnesses whose quorum the policy asks for.
    pub(super) fn witnessed(&self, trust: &TrustFile) -> Span {
        let Some(witnesses) = &trust.witness_policy else { return Span::default() };
        let policy = &witnesses.policy;
        Span {
            not_after: self.earliest(|head| policy.quorum_time_newest(head.verified())),
            not_before: self.latest(|head| policy.quorum_time(head.verified())),
        }
    }

    /// By the word of the log's own timestamped lines.
    fn own(&self, trust: &TrustFile) -> Span {
        Span {
            not_after: self.earliest(|head| own_time(trust, head)),
            not_before: self.latest(|head| own_time(trust, head)),
        }
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
    for token in tokens {
        match check_timestamp(token, signature, authorities) {
            Ok(time) if time > policy.now.saturating_add(CLOCK_SKEW_MAX) => {
                let why = format!("a timestamp lies in the future, at {}", time_text(time));
                report.failed("timestamp", why, Exit::NotVerified);
                return None;
            }
            Ok(time) => times.push(time),
            Err(error @ TimestampError::UnsupportedKey) => {
                report.could_not_check("timestamp", error.to_string(), Exit::Unavailable);
                return None;
            }
            Err(error) => {
                report.failed("timestamp", error.to_string(), Exit::NotVerified);
                return None;
            }
        }
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
) -> Option<Evidence> {
    let mut remarks = Vec::new();
    let (claims, forged) = claims(logged, policy.trust, &mut remarks);
    remarks.extend(logged.shown.remarks.iter().cloned());
    let span = logged.witnessed(policy.trust);
    let own = logged.own(policy.trust);
    let evidence = claims.iter().find_map(|claim| wrong_time(logged, policy.trust, claim));
    let contradicted = claims.iter().find_map(|claim| {
        contradiction(claim.time, span, CLOCK_SKEW_MAX, "witnesses")
            .or_else(|| contradiction(claim.time, own, 0, "its own signature"))
            .or_else(|| in_the_future(claim.time, policy.now))
    });
    let differ = claims.windows(2).find(|pair| pair[0].time != pair[1].time).map(|pair| {
        let [one, other] = [pair[0].time, pair[1].time].map(time_text);
        format!("the log signed two times for the entry: {one} and {other}")
    });
    let proven = evidence.as_ref().map(ToString::to_string);
    let uncertified = claims.iter().find_map(|claim| before_certificate(claim.time, certificate?));
    let claimed = claims.first().map(|claim| claim.time);
    if let Some(why) = proven.or(contradicted).or(differ) {
        report.failed("time", why, Exit::Alarm);
    } else if let Some(why) = forged.or(uncertified) {
        report.failed("time", why, Exit::NotVerified);
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
    report_freshness(report, freshness, head.head().size.get(), policy.now);
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
            if is_promised(trust, entry, &promise) {
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
        Some(promise) if is_promised(trust, entry, promise) => claims.push(promise.clone()),
        Some(_) => {
            remarks.push("the log answered with a timestamp that it did not sign".to_owned())
        }
        None => {}
    }
    (claims, forged)
}

/// Whether the log signed that it logged `entry` at the time of `promise`, under a key of its Rekor
/// v1 side.
fn is_promised(trust: &TrustFile, entry: &TransparencyLogEntry, promise: &Promise) -> bool {
    let body = to_base64(&entry.canonicalized_body);
    trust.log.v1_keys().iter().any(|key| {
        let id = key.key_id_full().to_hex();
        let payload = set_payload(&body, promise.time, &id, entry.log_index.get());
        let text = String::from_utf8(payload).expect("base64, hexadecimal and digits are UTF-8");
        key.verify(&text, &promise.signature).is_ok()
    })
}

/// Evidence that the log contradicts itself: its promise, and its own signature with a time. It
/// needs no skew, because a log has one clock.
fn wrong_time(logged: &Logged<'_>, trust: &TrustFile, claim: &Promise) -> Option<Evidence> {
    let document = trust.log.identity.as_ref()?;
    let time_key = trust.log.time_key()?;
    let promise = evidence::Promise {
        set: claim.signature.clone(),
        entry: logged.entry.canonicalized_body.clone(),
        time: claim.time,
        index: logged.entry.log_index,
    };
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

/// Why a time that the log signed cannot be, given what others say.
fn contradiction(time: u64, span: Span, skew: u64, who: &str) -> Option<String> {
    let said = format!("the log says that it logged the entry at {}", time_text(time));
    if let Some(seen) = span.not_after.filter(|seen| time > seen.saturating_add(skew)) {
        return Some(format!("{said}, but by {who} it was there at {}", time_text(seen)));
    }
    let newest = span.not_before.filter(|seen| time.saturating_add(skew) < *seen)?;
    Some(format!("{said}, but by {who} its tree ended before the entry at {}", time_text(newest)))
}

fn in_the_future(time: u64, now: u64) -> Option<String> {
    (time > now.saturating_add(CLOCK_SKEW_MAX)).then(|| {
        format!("the log says that it logged the entry in the future, at {}", time_text(time))
    })
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
