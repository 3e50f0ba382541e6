//! The rules about order: is there anything newer in the line of this name, and does the version
//! rise?
//!
//! Invariant: the place of a model counts, never that of one of its entries, so that neither copies
//! nor renewals make it newer. Out of scope: other names (see `superseded`).

use treering_proto::notice::{Notice, NoticeKind};
use treering_proto::tree::LeafIndex;

use super::context::{Context, Line, Placed, cite};
use super::judge::Draft;
use super::version::Version;
use super::{Cited, Question, Seen, What};

const NO_NAME: &str = "the model has no name, so nothing says what is newer";

const NOT_SHOWN: &str = "the log has the digest of the signature alone, so the model stands \
                         nowhere in its line: let the signer show the bundle to the log \
                         (treering submit)";

/// An older version that is right again.
struct Rollback<'a> {
    seen: &'a Seen,
    /// The newest place that was known: what stands above ends it.
    limit: LeafIndex,
}

/// What both rules ask.
fn question(context: &Context<'_>) -> Option<Question> {
    let name = context.subject.model.name.clone()?;
    Some(Question::Named { name, by: None })
}

/// Has the signer logged another model of this name later?
pub(super) fn not_newest(context: &Context<'_>) -> Draft {
    let Some(question) = question(context) else { return Draft::unknown(NO_NAME) };
    let (line, place) = (context.line(), context.place());
    let mut newer = line.above(place);
    newer.retain(|model| model.model_id != context.subject.model.model_id);
    let (rollback, remarks) = rollback(context, &line, place);
    let total = newer.len();
    if let Some(rollback) = &rollback {
        newer.retain(|model| model.place > rollback.limit);
    }
    let name = context.subject.model.name.as_deref().unwrap_or_default();
    let doubt = doubt(context, &line, question).or_else(|| {
        // What stands below is no matter, and nor is this model again.
        let newer =
            |(seen, _): &&(&Seen, String)| seen.entry.index > place && !is_own(context, seen);
        line.open.iter().find(newer).map(|(_, why)| why.clone())
    });
    let mut draft = match (newer.as_slice(), &rollback, doubt) {
        ([], _, Some(why)) => Draft::unknown(why),
        ([], Some(rollback), None) if total > 0 => Draft::holds(format!(
            "{total} newer models are named {name:?}, and entry {} approves this one again",
            rollback.seen.entry.index
        ))
        .citing(vec![cite(rollback.seen, "approves the roll-back")]),
        ([], _, None) => Draft::holds(format!("nothing newer is logged as {name:?}")),
        (newer, ..) => Draft::against(format!(
            "{} newer models are logged as {name:?}; this one stands at entry {place}",
            newer.len()
        ))
        .citing(newer.iter().rev().map(|model| cite_model(model, "is newer")).collect())
        .advise(
            "use the newest; or if this one is right again, let the signer say so: treering \
             approve-rollback",
        ),
    };
    if !newer.is_empty()
        && let Some(rollback) = &rollback
    {
        let at = rollback.seen.entry.index;
        draft = draft.remark(format!("the roll-back that entry {at} approves has ended"));
    }
    draft.remarks.extend(remarks);
    draft
}

fn cite_model(model: &Placed<'_>, what: &str) -> Cited {
    let newest = model.entries.iter().min_by_key(|seen| seen.entry.index);
    let said = model.said.iter().flatten();
    let version = said.filter_map(|said| said.version.as_ref()).next_back();
    let version = version.map(|version| format!(", version {version:?}"));
    let what = format!("{what}{}", version.unwrap_or_default());
    cite(newest.expect("a model is in a line by an entry of it"), what)
}

/// Why it is not known where the subject stands, or what else there is under its name.
fn doubt(context: &Context<'_>, line: &Line<'_>, named: Question) -> Option<String> {
    let own = &context.subject.model.model_id;
    let shown = context.subject.has_statement || line.models.contains_key(own);
    let signed = Question::Signed(context.subject.digest);
    context
        .doubt_beside_copies(&[named])
        .or_else(|| context.doubt_about_older(&signed))
        .or_else(|| context.bad_renewal.as_ref().map(|flaw| flaw.why.clone()))
        .or_else(|| (!shown).then(|| NOT_SHOWN.to_owned()))
}

fn is_own(context: &Context<'_>, seen: &Seen) -> bool {
    matches!(&seen.what, What::Model(model) if model.model_id == context.subject.model.model_id)
}

/// The approval that reaches furthest, and why others do not count.
fn rollback<'a>(
    context: &Context<'a>,
    line: &Line<'a>,
    place: LeafIndex,
) -> (Option<Rollback<'a>>, Vec<String>) {
    let (mut best, mut remarks): (Option<Rollback<'a>>, _) = (None, Vec::new());
    for (seen, notice) in context.notices() {
        if !matches!(notice.kind, NoticeKind::ApproveRollback { .. }) {
            continue;
        }
        match limit(context, line, seen, notice) {
            Ok(limit) if limit > place && best.as_ref().is_none_or(|best| limit > best.limit) => {
                best = Some(Rollback { seen, limit });
            }
            Ok(_) => {}
            Err(why) => remarks.push(format!(
                "the roll-back that entry {} approves does not count: {why}",
                seen.entry.index
            )),
        }
    }
    (best, remarks)
}

/// How far `notice` approves a roll-back.
fn limit(
    context: &Context<'_>,
    line: &Line<'_>,
    seen: &Seen,
    notice: &Notice,
) -> Result<LeafIndex, String> {
    let NoticeKind::ApproveRollback { instead_of } = &notice.kind else {
        return Err("it approves no roll-back".to_owned());
    };
    if notice.name != context.subject.model.name {
        return Err("it is about another name".to_owned());
    }
    context.speaker(seen, notice, true).map_err(|unheard| unheard.why)?;
    if !context.is_of_model(notice.about) {
        return Err(format!("entry {} is not of this model", notice.about.index));
    }
    line.place_of(*instead_of).ok_or_else(|| {
        format!("entry {}, instead of which it is right, is not in this line", instead_of.index)
    })
}

/// Is the version above all that the line had before?
pub(super) fn version_not_rising(context: &Context<'_>) -> Draft {
    let Some(question) = question(context) else { return Draft::unknown(NO_NAME) };
    let (line, place) = (context.line(), context.place());
    let own = context.subject.model.said.as_ref().and_then(|said| said.version.as_deref());
    let comparable = own.and_then(Version::parse);
    let before = line.below(place);
    let mut highest: Option<(Version, Cited)> = None;
    let (mut others, mut unknown) = (0, None);
    for model in &before {
        let said = model.entries.iter().zip(&model.said).zip(&model.stands);
        // An old model that is signed again later says nothing about what stood before.
        for ((seen, said), _) in said.filter(|(_, stands)| **stands < place) {
            match said.map(|said| said.version.as_deref()) {
                None => unknown = Some(seen.entry.index),
                Some(None) => {}
                Some(Some(text)) => match Version::parse(text) {
                    None => others += 1,
                    Some(version) if highest.as_ref().is_none_or(|(known, _)| version > *known) => {
                        let what = format!("came before, version {text:?}");
                        highest = Some((version, cite(seen, what)));
                    }
                    Some(_) => {}
                },
            }
        }
    }
    // One that has ended waives nothing: what came since may have a higher version.
    let approved = rollback(context, &line, place).0;
    let approved = approved.filter(|approved| line.above(approved.limit).is_empty());
    let doubt = doubt(context, &line, question)
        .or_else(|| line.open.first().map(|(_, why)| why.clone()))
        .or_else(|| unknown.map(missing));
    let draft = match (&highest, &comparable, own, doubt) {
        (Some((known, cited)), Some(version), Some(text), _) if version <= known => {
            Draft::against(format!("the version {text:?} is not above what was logged before"))
                .citing(vec![cited.clone()])
                .advise("let the signer give the model a higher version: --model-version")
        }
        (.., Some(why)) => Draft::unknown(why),
        (Some((_, cited)), None, _, None) => Draft::unknown(match own {
            None => "this model gives no version, and those before it do".to_owned(),
            Some(text) => format!("the version {text:?} is neither a number nor semantic"),
        })
        .citing(vec![cited.clone()])
        .advise("let the signer give a number or a semantic version: --model-version"),
        (None, None, Some(text), None) if others > 0 => {
            Draft::unknown(format!("the version {text:?} is neither a number nor semantic"))
        }
        (None, ..) => Draft::holds("no model of this line gave a version that could be above"),
        (Some(_), ..) => Draft::holds(format!(
            "the version {:?} is above all that were logged before",
            own.unwrap_or_default()
        )),
    };
    let draft = match approved {
        Some(rollback) if !draft.is_for_it() => {
            let at = rollback.seen.entry.index;
            Draft::holds(format!("entry {at} approves this one again, whatever its version"))
                .citing(vec![cite(rollback.seen, "approves the roll-back")])
        }
        _ => draft,
    };
    match others {
        0 => draft,
        others => draft.remark(format!("{others} versions before it cannot be compared")),
    }
}

fn missing(index: LeafIndex) -> String {
    format!("the statement of entry {index} is not there, nor its version")
}
