//! The invariants of acknowledgements: kept, unique, in order, and honest when they fail.

use std::collections::HashMap;

use treering_proto::hash::Hash;

use super::event::{Answer, Mark, Moment, Request};
use super::{Case, Findings};

/// Every acknowledged entry is the entry at its index in the rebuilt log.
pub(super) fn durable(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    for request in &case.history.requests {
        let Some(index) = request.index() else { continue };
        match case.rebuilt.leaf(index) {
            Some(leaf) => found.judge(leaf == request.leaf, || {
                format!("{} was acknowledged at {index}, where {leaf} is", request.leaf)
            }),
            None if request.span.end <= case.rebuilt.at => found.judge(false, || {
                let size = case.rebuilt.size();
                format!("{} was acknowledged at {index}, the log has {size}", request.leaf)
            }),
            None => found.leave_open("an acknowledgement is newer than the rebuilt log"),
        }
    }
    found
}

/// No index was acknowledged for two entries, no entry at two indexes, and no entry stands twice.
pub(super) fn unique(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    let mut leaf_at: HashMap<u64, Hash> = HashMap::new();
    let mut index_of: HashMap<Hash, u64> = HashMap::new();
    for request in &case.history.requests {
        let Some(index) = request.index() else { continue };
        let leaf = *leaf_at.entry(index).or_insert(request.leaf);
        found.judge(leaf == request.leaf, || {
            format!("index {index} was acknowledged for {leaf} and for {}", request.leaf)
        });
        let first = *index_of.entry(request.leaf).or_insert(index);
        found.judge(first == index, || {
            format!("{} was acknowledged at {first} and at {index}", request.leaf)
        });
    }
    let fates = fates(&case.history.requests);
    for (leaf, (first, count)) in places(case.rebuilt.leaves()) {
        // What only ever had unknown outcomes is for `honest_errors`.
        if !matches!(fates.get(&leaf), Some(Fate::Unknown | Fate::Refused)) {
            found.judge(count == 1, || format!("{leaf} stands {count} times, first at {first}"));
        }
    }
    found
}

/// What was acknowledged before a submission began has a smaller index. A submission of an entry
/// that was submitted before began when it was submitted first.
pub(super) fn real_time_order(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    let requests = &case.history.requests;
    let began = began(requests);
    let mut ended: Vec<(Moment, u64)> = Vec::new();
    let mut started: Vec<(Moment, u64)> = Vec::new();
    for request in requests {
        ended.extend(request.index().map(|index| (request.span.end, index)));
        if let (Answer::Logged(bundle), Some(start)) = (&request.answer, began.get(&request.leaf)) {
            started.push((*start, bundle.index));
        }
    }
    ended.sort_unstable();
    started.sort_unstable();
    let mut ended = ended.into_iter().peekable();
    let mut before: Option<u64> = None;
    for (start, index) in started {
        while let Some((_, earlier)) = ended.next_if(|(end, _)| *end < start) {
            before = before.max(Some(earlier));
        }
        found.judge(before.is_none_or(|before| before < index), || {
            let before = before.unwrap_or_default();
            format!("{before} was acknowledged before the submission of {index} began")
        });
    }
    found
}

/// An entry of unknown outcome is there once or not at all, a refused one is not there, nothing is
/// there that nobody submitted, and what is latched acknowledges nothing.
pub(super) fn honest_errors(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    let places = places(case.rebuilt.leaves());
    let fates = fates(&case.history.requests);
    let times = |leaf: &Hash| places.get(leaf).map_or(0, |(_, count)| *count);
    for (leaf, fate) in &fates {
        match fate {
            Fate::Acknowledged => {}
            Fate::Unknown => found.judge(times(leaf) <= 1, || {
                format!("{leaf} has an unknown outcome and stands {} times", times(leaf))
            }),
            Fate::Refused => found
                .judge(times(leaf) == 0, || format!("{leaf} was refused for good and is logged")),
        }
    }
    for (leaf, (index, _)) in places.iter().filter(|(leaf, _)| !fates.contains_key(leaf)) {
        if case.history.is_whole {
            found.judge(false, || format!("nobody submitted {leaf}, which stands at {index}"));
        } else {
            found.leave_open("the history does not have every submission");
        }
    }
    latched(case, &mut found);
    found
}

/// No process acknowledges a submission that began when it was known to be latched.
fn latched(case: &Case<'_>, found: &mut Findings) {
    let mut marks: Vec<_> = case.history.marks.iter().collect();
    marks.sort_by_key(|marked| marked.at);
    let mut closed: HashMap<u32, Vec<(Moment, Moment)>> = HashMap::new();
    for marked in marks {
        let at = marked.at;
        match &marked.mark {
            Mark::Latched { process, .. } => {
                let spans = closed.entry(*process).or_default();
                if spans.last().is_none_or(|(_, to)| *to <= at) {
                    spans.push((at, Moment::MAX));
                }
            }
            Mark::Writable { process } | Mark::Ended { process, .. } => {
                let last = closed.get_mut(process).and_then(|spans| spans.last_mut());
                if let Some((_, to)) = last {
                    *to = at.min(*to);
                }
            }
            _ => {}
        }
    }
    for request in &case.history.requests {
        let Some(spans) = closed.get(&request.who.process) else { continue };
        let start = request.span.start;
        if spans.iter().any(|(from, to)| (*from..*to).contains(&start)) {
            let is_logged = matches!(request.answer, Answer::Logged(_));
            found.judge(!is_logged, || {
                let Request { leaf, who, .. } = request;
                format!("process {} was latched and acknowledged {leaf}", who.process)
            });
        }
    }
}

/// When each entry was submitted first.
pub(super) fn began(requests: &[Request]) -> HashMap<Hash, Moment> {
    let mut began = HashMap::with_capacity(requests.len());
    for request in requests {
        let first = began.entry(request.leaf).or_insert(request.span.start);
        *first = request.span.start.min(*first);
    }
    began
}

/// The best that is known of an entry, from all its submissions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Refused,
    Unknown,
    Acknowledged,
}

fn fates(requests: &[Request]) -> HashMap<Hash, Fate> {
    let mut fates = HashMap::with_capacity(requests.len());
    for request in requests {
        let fate = match &request.answer {
            Answer::Logged(_) | Answer::Duplicate { .. } => Fate::Acknowledged,
            Answer::Refused { status, .. } if is_final(*status) => Fate::Refused,
            Answer::Refused { .. } | Answer::Unknown => Fate::Unknown,
        };
        let best = fates.entry(request.leaf).or_insert(fate);
        *best = fate.max(*best);
    }
    fates
}

/// Whether a refusal says that the entry is not and will not be logged. A conflict says that it is;
/// a timeout, and whatever is the server's fault, say nothing.
fn is_final(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 409)
}

/// Where each leaf stands first, and how often it does.
fn places(leaves: &[Hash]) -> HashMap<Hash, (u64, u32)> {
    let mut places = HashMap::with_capacity(leaves.len());
    for (index, leaf) in (0..).zip(leaves) {
        places.entry(*leaf).or_insert((index, 0)).1 += 1;
    }
    places
}
