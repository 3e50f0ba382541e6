//! `treering search --index`: the answer of an index that `treering monitor` made, and the log's
//! own answer held against it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use treering_client::log::LogReader;
use treering_client::monitor::read::entry_id;
use treering_client::monitor::search::{LocalHit, LocalIndex, LocalPage};
use treering_client::monitor::store::StoreError;
use treering_client::report::Exit;
use treering_client::search_check::{Answered, Asked, Mismatch, SearchOrder, ask};
use treering_client::transport::Transport;
use treering_proto::facts::Tag;
use treering_proto::trust::TrustFile;

use super::failure::Failure;
use super::output::Output;

/// What is looked for.
pub struct Query<'a> {
    /// Facts, as pairs of tag and value.
    pub facts: &'a [(&'a str, &'a str)],
    /// Which come first.
    pub order: SearchOrder,
    /// Where to start.
    pub cursor: Option<u64>,
    /// How many at most.
    pub limit: usize,
}

/// Answers from the index in `directory`; with a transport, asks the log, too.
pub async fn run(
    directory: &Path,
    trust: &TrustFile,
    query: &Query<'_>,
    online: Option<&Transport>,
    output: &Output,
) -> Result<Exit, Failure> {
    let index = LocalIndex::open(directory, &trust.log.origin).map_err(unusable)?;
    let tag = |name| Tag::from_name(name).expect("facts were parsed with their tags");
    let facts: Vec<(Tag, &str)> =
        query.facts.iter().map(|(name, value)| (tag(name), *value)).collect();
    let matching = index.matching(&facts).map_err(unusable)?;
    let page = index.page(&matching, query.order, query.cursor, query.limit).map_err(unusable)?;
    let compared = match online {
        None => None,
        Some(transport) => {
            let log = LogReader::new(transport, trust);
            Some(compare(&log, &index, &matching, query, &page).await?)
        }
    };
    print(&index, trust, &page, compared.as_ref(), output)?;
    let Some((answered, mismatch)) = compared else {
        return Ok(if page.hits.is_empty() { Exit::NotFound } else { Exit::Ok });
    };
    let verified = index.read().1;
    if mismatch.is_empty() && answered.searched >= verified {
        let (from, to) = answered.compared(index.read());
        output.remark(&match from == to {
            true => "the log's own answer covers nothing of the index".to_owned(),
            false => format!("the log's own answer agrees for entries {from} to before {to}"),
        });
        return Ok(if page.hits.is_empty() { Exit::NotFound } else { Exit::Ok });
    }
    output.alarm(
        "search-hides: the log's search does not tell the truth",
        faults(&answered, &mismatch, verified).iter().map(String::as_str),
    );
    Ok(Exit::Alarm)
}

async fn compare(
    log: &LogReader<'_>,
    index: &LocalIndex,
    matching: &BTreeSet<u64>,
    query: &Query<'_>,
    page: &LocalPage,
) -> Result<(Answered, Mismatch), Failure> {
    let asked = Asked {
        facts: query.facts,
        order: query.order,
        cursor: query.cursor,
        enough: Some(query.limit),
        cover: spoken_of(index.read(), query, page),
    };
    let answered = ask(log, asked).await?;
    let mismatch = index.compare(&answered, matching).map_err(unusable)?;
    Ok((answered, mismatch))
}

/// The indexes that the local page speaks of: in them it has everything.
fn spoken_of(read: (u64, u64), query: &Query<'_>, page: &LocalPage) -> (u64, u64) {
    match query.order {
        SearchOrder::Newest => {
            let end = query.cursor.map_or(read.1, |cursor| read.1.min(cursor.saturating_add(1)));
            (page.next.map_or(read.0, |next| next + 1), end)
        }
        SearchOrder::Oldest => (query.cursor.unwrap_or(0).max(read.0), page.next.unwrap_or(read.1)),
    }
}

/// What is wrong with the log's answer, a line for each kind.
fn faults(answered: &Answered, mismatch: &Mismatch, verified: u64) -> Vec<String> {
    let list = |indexes: &[u64]| {
        let shown: Vec<String> = indexes.iter().take(LISTED_MAX).map(u64::to_string).collect();
        let more = indexes.len() - shown.len();
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("{}{more}", shown.join(" "))
    };
    let mut lines = Vec::new();
    if !mismatch.hidden.is_empty() {
        lines.push(format!("it hides these entries: {}", list(&mismatch.hidden)));
    }
    if !mismatch.invented.is_empty() {
        let text = "it shows these entries, which do not have the facts or are others";
        lines.push(format!("{text}: {}", list(&mismatch.invented)));
    }
    if answered.searched < verified {
        lines.push(format!(
            "it searched {} entries, of the {verified} that it signed and served",
            answered.searched
        ));
    }
    lines
}

fn print(
    index: &LocalIndex,
    trust: &TrustFile,
    page: &LocalPage,
    compared: Option<&(Answered, Mismatch)>,
    output: &Output,
) -> Result<(), Failure> {
    let identity = trust.log.identity.as_ref().map(|document| document.identity.tree_id());
    let id = |hit: &LocalHit| entry_id(identity, hit.leaf);
    let kind = |hit: &LocalHit| hit.kind.map(|kind| (kind.kind(), kind.version()));
    let lines: Vec<String> = page
        .hits
        .iter()
        .map(|hit| {
            let (kind, version) = kind(hit).unwrap_or(("unreadable", ""));
            format!("{:>8}  {kind} {version}  {}", hit.index, id(hit))
        })
        .collect();
    let entries: Vec<Value> = page
        .hits
        .iter()
        .map(|hit| {
            json!({
                "index": hit.index.to_string(),
                "entryId": id(hit),
                "kind": kind(hit).map(|(kind, _)| kind),
                "version": kind(hit).map(|(_, version)| version),
            })
        })
        .collect();
    let (start, end) = index.read();
    let json = json!({
        "schema": "treering.search/v1",
        "source": "index",
        "readFrom": start.to_string(),
        "treeSize": end.to_string(),
        "entries": entries,
        "next": page.next.map(|next| next.to_string()),
        "hidden": compared.map(|(_, mismatch)| &mismatch.hidden),
        "invented": compared.map(|(_, mismatch)| &mismatch.invented),
        "comparedFrom": compared.map(|(answered, _)| answered.compared((start, end)).0.to_string()),
        "comparedTo": compared.map(|(answered, _)| answered.compared((start, end)).1.to_string()),
        "logSearched": compared.map(|(answered, _)| answered.searched.to_string()),
    });
    output.data(&lines, &json)?;
    if let Some(next) = page.next {
        output.remark(&format!("there are more: --cursor {next}"));
    }
    if lines.is_empty() {
        output.remark("the index has nothing");
    }
    output.remark(&format!("complete for entries {start} to before {end}"));
    Ok(())
}

/// The failure to use the index.
pub fn unusable(error: StoreError) -> Failure {
    let exit = match error {
        StoreError::Missing { .. } | StoreError::Foreign { .. } => Exit::Usage,
        _ => Exit::Unavailable,
    };
    Failure::new(exit, "the index cannot be used", error)
        .advise("say the --state directory of treering monitor, and the trust file of its log")
}

/// Indexes in one line for people; JSON has all.
const LISTED_MAX: usize = 20;
