//! Times as reports show them, and what a checkpoint's age means for the verdict.
//!
//! Out of scope: how old a checkpoint is (see [`treering_proto::freshness`]), and the clock.

use treering_proto::freshness::{CLOCK_SKEW_MAX, Freshness};

use crate::report::{Exit, Report};

/// Unix seconds as RFC 3339.
pub fn time_text(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("second {seconds}"), |time| time.to_string())
}

/// How a checkpoint of this freshness ends the process; `None` when it is accepted.
///
/// A time in the future is no alarm: those who say it are whom the trust file believes about time,
/// so it is our clock that is behind, and nothing can be said about ages until it is right.
pub fn freshness_exit(freshness: Freshness) -> Option<Exit> {
    match freshness {
        Freshness::NoMaximum | Freshness::Fresh { .. } => None,
        Freshness::NoTime | Freshness::Future { .. } => Some(Exit::Unavailable),
        Freshness::TooOld { .. } => Some(Exit::Policy),
    }
}

/// One sentence about the freshness of a tree of `size` entries at the time `now`.
pub fn freshness_text(freshness: Freshness, size: u64, now: u64) -> String {
    match freshness {
        Freshness::NoMaximum => "the trust file has no maximum age".to_owned(),
        Freshness::NoTime => format!(
            "nobody whom the trust file believes says when the tree of {size} entries was the \
             newest"
        ),
        Freshness::Fresh { time } => format!(
            "the tree of {size} entries was the newest at {}, {} s ago",
            time_text(time),
            now.saturating_sub(time)
        ),
        Freshness::TooOld { time, maximum } => format!(
            "the tree of {size} entries was last seen as the newest at {}, {} s ago; {maximum} s \
             are allowed",
            time_text(time),
            now.saturating_sub(time)
        ),
        Freshness::Future { time } => format!(
            "this machine's clock is behind: whom the trust file believes saw the tree of {size} \
             entries at {}, more than {CLOCK_SKEW_MAX} s in the future",
            time_text(time)
        ),
    }
}

/// Adds the line about the freshness of a tree of `size` entries: of the log's newest if it was
/// asked, else of that in the bundle, of which only the log can show a newer one.
pub fn report_freshness(
    report: &mut Report,
    freshness: Freshness,
    size: u64,
    now: u64,
    is_asked: bool,
) {
    let mut why = freshness_text(freshness, size, now);
    if matches!(freshness, Freshness::TooOld { .. }) && !is_asked {
        why.push_str("; this is the tree of the bundle, --online asks for a newer checkpoint");
    }
    match (freshness, freshness_exit(freshness)) {
        (Freshness::NoMaximum, _) => report.not_checked("freshness", why),
        (_, Some(exit @ Exit::Unavailable)) => report.could_not_check("freshness", why, exit),
        (_, Some(exit)) => report.failed("freshness", why, exit),
        (_, None) => report.passed("freshness", why),
    }
}
