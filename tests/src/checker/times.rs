//! The invariant of times: along the log, against dated checkpoints, and the clock of the client.

use std::collections::BTreeMap;

use treering_proto::audit::Times;

use super::acks::began;
use super::event::{Answer, Mark, Moment, Span};
use super::{Case, Findings};

/// How far the clock of a log may be from that of a client on the same machine, in seconds: a log
/// that waits for its clock to catch up dates entries up to 2 s ahead, and times are whole seconds.
const CLOCK_BOUND: u64 = 5;

/// An entry has one time; times never go back along the log; they are not later than the dated
/// checkpoints that have the entry, not earlier than those that do not; and they lie between the
/// submission and its answer by the clock of the client, give or take five seconds.
pub(super) fn time(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    let mut of_index: BTreeMap<u64, u64> = BTreeMap::new();
    let mut see = |index: u64, time: Option<u64>, found: &mut Findings| {
        let Some(time) = time else { return };
        let first = *of_index.entry(index).or_insert(time);
        found.judge(first == time, || format!("entry {index} is dated {first} and {time}"));
    };
    let wrong = wrong_clock(case);
    let began = began(&case.history.requests);
    for request in &case.history.requests {
        let Answer::Logged(bundle) = &request.answer else { continue };
        see(bundle.index, bundle.time, &mut found);
        if let Some(time) = bundle.time {
            let start = began.get(&request.leaf).copied().unwrap_or(request.span.start);
            let span = Span { start, ..request.span };
            by_client(case, &wrong, span, bundle.index, time, &mut found);
        }
    }
    for seen in &case.history.entries {
        see(seen.bundle.index, seen.bundle.time, &mut found);
    }
    let dated = case.notes.iter().filter_map(|opened| {
        let head = opened.head.as_ref().ok()?;
        Some((head.size.get(), opened.own_time?))
    });
    let dated: Vec<(u64, u64)> = dated.collect();
    along(&of_index, &dated, &mut found);
    if of_index.is_empty() {
        found.leave_open("no answer had a time");
    }
    if dated.is_empty() {
        found.leave_open("no checkpoint was dated");
    }
    found
}

fn along(of_index: &BTreeMap<u64, u64>, dated: &[(u64, u64)], found: &mut Findings) {
    let mut times = Times::new(dated);
    for (index, time) in of_index {
        let outcome = times.entry(*index, *time);
        found.judge(outcome.is_ok(), || match outcome {
            Err(why) => format!("entry {index} is dated {time}, {why}"),
            Ok(()) => String::new(),
        });
    }
}

/// By the clock of whoever submitted it: from its first submission to this answer.
fn by_client(
    case: &Case<'_>,
    wrong: &[(Moment, Moment)],
    span: Span,
    index: u64,
    time: u64,
    found: &mut Findings,
) {
    if wrong.iter().any(|(from, to)| *from <= span.end && span.start <= *to) {
        return found.leave_open("the clock of the server was moved");
    }
    let unix = |moment: Moment| (case.history.unix_at_zero + moment) / 1_000_000;
    let (from, to) = (unix(span.start), unix(span.end));
    found.judge((from.saturating_sub(CLOCK_BOUND)..=to + CLOCK_BOUND).contains(&time), || {
        format!("entry {index} is dated {time}, and was submitted from {from} to {to}")
    });
}

/// From when to when the clock of the server was wrong.
fn wrong_clock(case: &Case<'_>) -> Vec<(Moment, Moment)> {
    let mut marks: Vec<_> = case.history.marks.iter().collect();
    marks.sort_by_key(|marked| marked.at);
    let mut spans: Vec<(Moment, Moment)> = Vec::new();
    for marked in marks {
        match (&marked.mark, spans.last_mut()) {
            (Mark::ClockMoved, Some((_, Moment::MAX))) => {}
            (Mark::ClockMoved, _) => spans.push((marked.at, Moment::MAX)),
            (Mark::ClockRight, Some((_, to))) if *to == Moment::MAX => *to = marked.at,
            _ => {}
        }
    }
    spans
}
