//! The invariants of processes and files: one writer, and damage that is reported.

use std::collections::HashMap;

use super::event::{Answer, Mark, Moment};
use super::{Case, Findings};

/// One process of the server.
#[derive(Clone, Copy, Default)]
struct Life {
    process: u32,
    started: Moment,
    ended: Option<Moment>,
    code: Option<i32>,
    was_stopped: bool,
    has_written: bool,
}

/// Of two processes that live at the same time at most one ever acknowledges; the other does not
/// end as if all were well.
pub(super) fn fencing(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    let mut living: Vec<Life> = Vec::new();
    for life in lives(case) {
        living.retain(|other| other.ended.is_none_or(|ended| ended > life.started));
        for other in &living {
            let pair = [*other, life];
            found.judge(!pair.iter().all(|one| one.has_written), || {
                let (first, second) = (other.process, life.process);
                format!("processes {first} and {second} lived at once, and both acknowledged")
            });
            for one in pair.iter().filter(|one| !one.has_written && !one.was_stopped) {
                found.judge(one.code != Some(0), || {
                    format!("process {} was fenced off and ended with 0", one.process)
                });
            }
        }
        living.push(life);
    }
    if found.decided == 0 {
        found.leave_open("no two processes lived at the same time");
    }
    found
}

/// By their start.
fn lives(case: &Case<'_>) -> Vec<Life> {
    let mut lives: HashMap<u32, Life> = HashMap::new();
    let mut marks: Vec<_> = case.history.marks.iter().collect();
    marks.sort_by_key(|marked| marked.at);
    for marked in marks {
        let at = marked.at;
        match &marked.mark {
            Mark::Started { process, .. } => {
                let life = Life { process: *process, started: at, ..Life::default() };
                lives.insert(*process, life);
            }
            Mark::Stopped { process } => {
                if let Some(life) = lives.get_mut(process) {
                    life.was_stopped = true;
                }
            }
            Mark::Ended { process, code, .. } => {
                if let Some(life) = lives.get_mut(process) {
                    (life.ended, life.code) = (Some(at), *code);
                }
            }
            _ => {}
        }
    }
    for request in &case.history.requests {
        if let (Answer::Logged(_), Some(life)) =
            (&request.answer, lives.get_mut(&request.who.process))
        {
            life.has_written = true;
        }
    }
    let mut lives: Vec<Life> = lives.into_values().collect();
    lives.sort_by_key(|life| life.started);
    lives
}

/// A file that was damaged and is not mended yet.
struct Damaged<'a> {
    file: &'a str,
    from: Moment,
    is_named: bool,
    was_ready: bool,
}

/// A file that was damaged is named by whatever notices, before it is repaired, if there was
/// anybody to notice: a process that started or answered after the damage. That nothing wrong was
/// served is for `content`.
pub(super) fn refusal(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    let reads = reads(case);
    let mut marks: Vec<_> = case.history.marks.iter().collect();
    marks.sort_by_key(|marked| marked.at);
    let mut open: Vec<Damaged<'_>> = Vec::new();
    for marked in marks {
        match &marked.mark {
            Mark::Corrupted { file } => {
                open.push(Damaged { file, from: marked.at, is_named: false, was_ready: false });
            }
            Mark::Repaired { file } => {
                let mended = open.extract_if(.., |damaged| damaged.file == file);
                mended.for_each(|damaged| settle(&damaged, marked.at, &reads, &mut found));
            }
            Mark::Ready { .. } => open.iter_mut().for_each(|damaged| damaged.was_ready = true),
            mark => {
                let said = mark.said().unwrap_or_default();
                for damaged in &mut open {
                    damaged.is_named |= said.contains(damaged.file);
                }
            }
        }
    }
    open.iter().for_each(|damaged| settle(damaged, Moment::MAX, &reads, &mut found));
    found
}

/// Judges damage that was there until `to`.
fn settle(damaged: &Damaged<'_>, to: Moment, reads: &[Moment], found: &mut Findings) {
    let Damaged { file, from, is_named, was_ready } = *damaged;
    let next_read = reads.get(reads.partition_point(|start| *start <= from));
    if is_named || was_ready || next_read.is_some_and(|start| *start < to) {
        found.judge(is_named, || format!("{file} was damaged, and nobody said so"));
    } else {
        found.leave_open("a file was damaged, and no process read anything afterwards");
    }
}

/// When reads began that were answered, in order.
fn reads(case: &Case<'_>) -> Vec<Moment> {
    let history = case.history;
    let mut starts: Vec<Moment> = history.checkpoints.iter().map(|seen| seen.span.start).collect();
    starts.extend(history.tiles.iter().map(|seen| seen.span.start));
    starts.extend(history.entries.iter().map(|seen| seen.span.start));
    starts.extend(history.searches.iter().map(|seen| seen.span.start));
    starts.sort_unstable();
    starts
}
