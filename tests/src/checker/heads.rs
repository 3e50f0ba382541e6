//! The invariants of checkpoints: one root for one size, one tree for all, no way back, and not
//! below what witnesses hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use treering_proto::audit::Finding;
use treering_proto::hash::Hash;
use treering_proto::tree::TreeHead;

use super::event::{Answer, Moment, NoteId, Source};
use super::{Case, Findings};

/// All checkpoints of one size, of both faces, any process, and in the hands of any witness, have
/// one root.
pub(super) fn same_size_same_root(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    for (size, roots) in roots_by_size(case) {
        found.judge(roots.len() == 1, || {
            let roots: Vec<String> = roots.iter().map(Hash::to_hex).collect();
            format!("{size} entries have {} roots: {}", roots.len(), roots.join(", "))
        });
    }
    found
}

/// Every head is that of the rebuilt tree at its size. Where heads of one size disagree among
/// themselves, `same_size_same_root` says so and this does not.
pub(super) fn pairwise_consistent(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    let mut heads = Vec::new();
    for (size, roots) in roots_by_size(case) {
        let Some(root) = roots.first().filter(|_| roots.len() == 1) else { continue };
        let Some(size) = treering_proto::tree::TreeSize::new(size) else { continue };
        if size.get() <= case.rebuilt.size() {
            heads.push(TreeHead { size, root: *root });
        }
    }
    let count = heads.len() as u64;
    let findings = case.rebuilt.judge(heads);
    found.decided = count.saturating_sub(findings.len() as u64);
    for finding in findings {
        found.judge(false, || match finding {
            Finding::HeadWrong { signed, rebuilt } => format!(
                "the head of {} entries has root {}, the entries lead to {rebuilt}",
                signed.size, signed.root
            ),
            other => format!("{other:?}"),
        });
    }
    beyond(case, &mut found);
    found
}

/// Checkpoints that are larger than the log is now.
fn beyond(case: &Case<'_>, found: &mut Findings) {
    for (note, first) in (0..).map(NoteId).zip(case.first_seen()) {
        let Some(head) = case.head(note).filter(|head| head.size.get() > case.rebuilt.size())
        else {
            continue;
        };
        if first <= case.rebuilt.at {
            found.judge(false, || {
                let size = case.rebuilt.size();
                format!("a checkpoint of {} entries was seen, and there are {size}", head.size)
            });
        } else {
            found.leave_open("a checkpoint is newer than the rebuilt log");
        }
    }
}

/// A checkpoint that is asked for as the newest is not smaller than anything that this client saw
/// before, and covers everything that was acknowledged to anybody before it was asked for.
pub(super) fn monotonic(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    let history = case.history;
    let mut acks: Vec<(Moment, u64)> = Vec::new();
    let mut sizes: Vec<(Moment, u32, u64)> = Vec::new();
    let mut asked: Vec<(Moment, u32, u64)> = Vec::new();
    for request in &history.requests {
        acks.extend(request.index().map(|index| (request.span.end, index)));
        if let Answer::Logged(bundle) = &request.answer {
            let size = case.head(bundle.note).map(|head| head.size.get());
            sizes.extend(size.map(|size| (request.span.end, request.who.client, size)));
        }
    }
    for seen in &history.checkpoints {
        let Some(head) = case.head(seen.note) else { continue };
        if seen.source == Source::Newest {
            sizes.push((seen.span.end, seen.who.client, head.size.get()));
            asked.push((seen.span.start, seen.who.client, head.size.get()));
        }
    }
    acks.sort_unstable();
    sizes.sort_unstable();
    asked.sort_unstable();
    let (mut acks, mut sizes) = (acks.into_iter().peekable(), sizes.into_iter().peekable());
    let mut covered: Option<u64> = None;
    let mut largest: HashMap<u32, u64> = HashMap::new();
    for (start, client, size) in asked {
        while let Some((_, index)) = acks.next_if(|(end, _)| *end < start) {
            covered = covered.max(Some(index));
        }
        while let Some((_, who, seen)) = sizes.next_if(|(end, ..)| *end < start) {
            let before = largest.entry(who).or_default();
            *before = seen.max(*before);
        }
        let before = largest.get(&client).copied().unwrap_or_default();
        found.judge(size >= before, || {
            format!("client {client} was shown {size} entries after it had seen {before}")
        });
        if let Some(index) = covered {
            found.judge(size > index, || {
                format!("index {index} was acknowledged, then a log of {size} entries was shown")
            });
        }
    }
    found
}

/// The log has every entry that a witness holds a tree over, and all cosignatures verify.
pub(super) fn witness_floor(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    for held in &case.history.held {
        let (size, rebuilt) = (held.head.size.get(), case.rebuilt.size());
        if size <= rebuilt {
            found.agree();
        } else if held.at <= case.rebuilt.at {
            found.judge(false, || {
                format!("{} holds a tree of {size} entries, the log has {rebuilt}", held.witness)
            });
        } else {
            found.leave_open("a witness holds a tree that is newer than the rebuilt log");
        }
    }
    for opened in &case.notes {
        match &opened.cosigned {
            Ok(0) => {}
            Ok(_) => found.agree(),
            Err(why) => found.judge(false, || format!("a cosigned checkpoint: {why}")),
        }
    }
    if case.history.held.is_empty() {
        found.leave_open("no witness said what it holds");
    }
    found
}

/// Every root that was seen, by size.
fn roots_by_size(case: &Case<'_>) -> BTreeMap<u64, BTreeSet<Hash>> {
    let signed = case.notes.iter().filter_map(|opened| opened.head.as_ref().ok().copied());
    let held = case.history.held.iter().map(|held| held.head);
    let mut roots: BTreeMap<u64, BTreeSet<Hash>> = BTreeMap::new();
    for head in signed.chain(held) {
        roots.entry(head.size.get()).or_default().insert(head.root);
    }
    roots
}
