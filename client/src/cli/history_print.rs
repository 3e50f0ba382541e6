//! How `treering history` tells what is known.

use serde_json::{Value, json};
use treering_client::history::{Answer, History, Said, Seen, Source, What, Who, Word};
use treering_client::lookup::{Standing, Target, accepted_as, standing};
use treering_client::online::time_text;
use treering_client::report::Exit;
use treering_client::status::question_text;
use treering_proto::notice::{Notice, NoticeKind};
use treering_proto::trust::TrustFile;

use super::failure::Failure;
use super::output::Output;

/// Prints `history`, and says how the process ends: 3 when nothing is found, 5 when something was
/// not answered.
pub fn print(
    target: &Target,
    trust: &TrustFile,
    history: &History,
    output: &Output,
) -> Result<Exit, Failure> {
    let shown: Vec<Row> =
        history.seen.values().filter_map(|seen| Row::of(target, trust, history, seen)).collect();
    let open: Vec<(String, &str)> = history
        .answers
        .iter()
        .filter_map(|(question, answer)| match answer {
            Answer::Unknown(why) => Some((question_text(question), why.as_str())),
            _ => None,
        })
        .collect();
    // A status proof about something else answers nothing.
    let is_asked = history.answers.contains_key(&target.question());
    let mut lines = Vec::new();
    if let Some(first) = shown.iter().find(|row| row.relation == Relation::Signed) {
        lines.push(format!("first seen  entry {}{}", first.seen.entry.index, time(first.seen)));
    }
    lines.extend(shown.iter().map(Row::line));
    let partial = history.answers.iter().filter(|(_, answer)| matches!(answer, Answer::Oldest(_)));
    for (question, _) in partial {
        lines.push(format!("more        only the oldest are shown: {}", question_text(question)));
    }
    for (asked, why) in &open {
        lines.push(format!("NOT KNOWN   {asked}: {why}"));
    }
    if !is_asked {
        lines.push(format!(
            "NOT KNOWN   {}: it was not asked for",
            question_text(&target.question())
        ));
    }
    let json = json!({
        "schema": "treering.history/v1",
        "source": source_json(&history.source),
        "treeSize": history.size.get(),
        "headTime": history.head_time,
        "entries": shown.iter().map(Row::json).collect::<Vec<_>>(),
        "answers": history.answers.iter().map(answer_json).collect::<Vec<_>>(),
        "remarks": history.remarks,
    });
    output.data(&lines, &json)?;
    for remark in &history.remarks {
        output.remark(&format!("remark: {remark}"));
    }
    output.remark(&completeness(history));
    Ok(match (open.is_empty() && is_asked, shown.is_empty()) {
        (false, _) => Exit::Unavailable,
        (true, true) => Exit::NotFound,
        (true, false) => Exit::Ok,
    })
}

/// What an entry is to the target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// A signature of what was asked about.
    Signed,
    /// Another model of the same signer and name, logged later than the first.
    Newer,
    /// The same, logged earlier.
    Older,
    /// Another model, of other people or another name: it shares the name or a file.
    Related,
    /// A notice about it.
    Notice,
    /// Something that cannot be read.
    Unreadable,
}

/// One entry, and what is told about it.
struct Row<'a> {
    seen: &'a Seen,
    relation: Relation,
    accepted_as: Vec<&'a str>,
    /// Whether the trust file lets who signed a notice say it, and why.
    standing: Option<Standing>,
}

impl<'a> Row<'a> {
    fn of(
        target: &Target,
        trust: &'a TrustFile,
        history: &'a History,
        seen: &'a Seen,
    ) -> Option<Self> {
        let models = target.models(history);
        let relation = match &seen.what {
            What::Model(_) if target.is_about(history, seen) => Relation::Signed,
            What::Model(_) => relation(target, history, seen),
            What::Notice(notice) if models.contains(&notice.model_id) => Relation::Notice,
            What::Notice(_) | What::Other => return None,
            What::UnreadableNotice { .. } | What::Opaque => Relation::Unreadable,
        };
        let standing = match &seen.what {
            What::Notice(notice) => Some(standing(trust, history, seen, notice)),
            _ => None,
        };
        let accepted_as = accepted_as(trust, &seen.signed_by);
        Some(Self { seen, relation, accepted_as, standing })
    }

    fn word(&self) -> &'static str {
        match self.relation {
            Relation::Signed => "signed",
            Relation::Newer => "newer",
            Relation::Older => "older",
            Relation::Related => "related",
            Relation::Notice => "notice",
            Relation::Unreadable => "unreadable",
        }
    }

    fn line(&self) -> String {
        let by: Vec<String> = self.seen.signed_by.iter().map(Who::describe).collect();
        let by = if by.is_empty() {
            "nobody whose signature is known".to_owned()
        } else {
            by.join(" and ")
        };
        let accepted = match self.accepted_as.as_slice() {
            [] => "not accepted".to_owned(),
            rules => format!("accepted as {}", rules.join(", ")),
        };
        let what = match &self.seen.what {
            What::Model(model) => {
                let name = model.name.as_deref().unwrap_or("(no name)");
                format!("{name:?}{}", said_text(model.said.as_ref()))
            }
            What::Notice(notice) => notice_text(notice),
            What::UnreadableNotice { why, .. } => format!("a notice that cannot be read: {why}"),
            What::Opaque | What::Other => "what it says is not known".to_owned(),
        };
        let standing = match &self.standing {
            None => String::new(),
            Some(Standing::Counts(why)) => format!("; counts: {why}"),
            Some(Standing::Depends(why)) => format!("; MAY COUNT: {why}"),
            Some(Standing::Ignored(why)) => format!("; DOES NOT COUNT: {why}"),
        };
        let (word, index, time) = (self.word(), self.seen.entry.index, time(self.seen));
        format!("{word:10}  entry {index}{time}  {what}, by {by} ({accepted}){standing}")
    }

    fn json(&self) -> Value {
        let seen = self.seen;
        let signers = seen.signed_by.iter().map(|who| {
            json!({"publicKey": who.key.to_hex(), "identities": who.identities,
                "issuer": who.issuer})
        });
        let mut json = json!({
            "relation": self.word(),
            "index": seen.entry.index.get(),
            "leaf": seen.entry.leaf.to_hex(),
            "time": seen.time.map(|time| time.seconds),
            "timeWord": seen.time.map(|time| match time.word {
                Word::Log => "log",
                Word::Witnesses => "witnesses",
            }),
            "signers": signers.collect::<Vec<_>>(),
            "acceptedAs": self.accepted_as,
        });
        match &seen.what {
            What::Model(model) => {
                let said = model.said.as_ref();
                json["modelId"] = model.model_id.to_hex().into();
                json["name"] = json!(model.name);
                json["version"] = json!(said.and_then(|said| said.version.as_ref()));
                json["renews"] = json!(said.and_then(|said| said.renews).map(|r| r.to_json()));
            }
            What::Notice(notice) => {
                let (counts, why) = match self.standing.as_ref() {
                    Some(Standing::Counts(why)) => (Some(true), Some(why)),
                    Some(Standing::Ignored(why)) => (Some(false), Some(why)),
                    Some(Standing::Depends(why)) => (None, Some(why)),
                    None => (None, None),
                };
                json["notice"] = json!({
                    "kind": notice.kind.name(),
                    "modelId": notice.model_id.to_hex(),
                    "entry": notice.about.to_json(),
                    "reason": notice.reason,
                    "counts": counts,
                    "why": why,
                });
            }
            What::UnreadableNotice { why, .. } => json["unreadable"] = why.as_str().into(),
            What::Opaque | What::Other => {}
        }
        json
    }
}

/// What another model is to the target.
fn relation(target: &Target, history: &History, seen: &Seen) -> Relation {
    let name = |seen: &Seen| match &seen.what {
        What::Model(model) => model.name.clone(),
        _ => None,
    };
    let same_people = |other: &Seen| {
        let is_same = |who: &Who| other.signed_by.iter().any(|known| known.is_same_as(who));
        seen.signed_by.iter().any(is_same)
    };
    let of_target = history.seen.values().filter(|other| target.is_about(history, other));
    let mut kin = of_target.filter(|other| name(other) == name(seen) && same_people(other));
    match kin.next() {
        None => Relation::Related,
        Some(first) if seen.entry.index > first.entry.index => Relation::Newer,
        Some(_) => Relation::Older,
    }
}

fn said_text(said: Option<&Said>) -> String {
    let Some(said) = said else { return " (version and renewals not known)".to_owned() };
    let version = said.version.iter().map(|version| format!(" {version}"));
    let renews = said.renews.iter().map(|renews| format!(", renews entry {}", renews.index));
    version.chain(renews).collect()
}

fn notice_text(notice: &Notice) -> String {
    let more = match &notice.kind {
        NoticeKind::Revoke => String::new(),
        NoticeKind::Supersede { by } => format!(" by entry {}", by.entry.index),
        NoticeKind::ApproveRollback { instead_of } => {
            format!(" instead of entry {}", instead_of.index)
        }
        NoticeKind::Approve { role } => format!(" as {role:?}"),
    };
    let reason = notice.reason.iter().map(|reason| format!(": {reason:?}")).collect::<String>();
    format!("{} of entry {}{more}{reason}", notice.kind.name(), notice.about.index)
}

fn time(seen: &Seen) -> String {
    let word = match seen.time.map(|time| time.word) {
        Some(Word::Log) => " (the log's word)",
        Some(Word::Witnesses) => " at the latest (witnesses saw it)",
        None => return String::new(),
    };
    seen.time.map(|time| format!(", {}{word}", time_text(time.seconds))).unwrap_or_default()
}

fn source_json(source: &Source) -> Value {
    match source {
        Source::Log => json!({"kind": "log"}),
        Source::StatusProof => json!({"kind": "status"}),
        Source::Index { from, without_statement } => {
            json!({"kind": "index", "from": from.get(), "withoutStatement": without_statement})
        }
    }
}

fn answer_json((question, answer): (&treering_client::history::Question, &Answer)) -> Value {
    let (found, why) = match answer {
        Answer::All(_) => ("all", None),
        Answer::Oldest(_) => ("oldest", None),
        Answer::Unknown(why) => ("unknown", Some(why)),
    };
    json!({"asked": question_text(question), "found": found, "why": why})
}

/// What is said about completeness, at the end.
fn completeness(history: &History) -> String {
    let size = history.size;
    match &history.source {
        Source::Log => format!(
            "proven to be in the tree of {size} entries; that nothing else is there is the log's \
             word"
        ),
        Source::StatusProof => format!(
            "proven to be in the tree of {size} entries; that nothing else was there is the word \
             of the log and of whoever made the status proof"
        ),
        Source::Index { from, without_statement } => format!(
            "complete among entries with a statement, from entry {from} to before {size}; \
             {without_statement} without"
        ),
    }
}
