//! Asking a log about a model: searches, entries with proofs, and statements, until nothing is left
//! open.
//!
//! ```text
//!    +-> prove what there is -> what is open? -- nothing --> done
//!    |                              | questions
//!    |    search page by page, oldest first   -> indexes
//!    |    entries with proofs, a few at once  -> in the tree, and what the search named
//!    +--- statements in bulk                  -> until all fit, or as many as do
//! ```
//!
//! Invariants: rounds, pages, entries and bytes are bounded; what the log does not answer, for
//! whatever reason, is [`Answer::Unknown`] with the reason; what it answers wrongly is an error.
//! What was logged after the checkpoint is left out: every answer is about one tree.
//! Out of scope: following the log to its newest checkpoint (see [`crate::consistency`]).

use std::collections::BTreeMap;

use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::facts::{FACT_VALUE_LEN_MAX, Tag};
use treering_proto::tree::LeafIndex;
use treering_proto::trust::TrustFile;

use super::fetch::{self, Found};
use super::prove::{Known, behind};
use super::{
    QUESTION_BYTES_MAX, QUESTIONS_MAX, REASON_LEN_MAX, Reply, Status, StatusError, TIME_MAX,
    question_text,
};
use crate::history::{Answer, HITS_MAX, History, Question, Source, Wanted};
use crate::log::{LogError, LogReader};

/// Rounds: each answer raises at most the next kind of question, and there are few kinds.
const ROUNDS_MAX: usize = 8;

/// Pages of one search. A log may give short pages, and empty ones where it looked at many entries.
const PAGES_MAX: usize = 100;

/// Hits of one page, as the log limits them.
const PAGE_LEN_MAX: usize = 1_000;

/// A question, and how much of the answer is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// What is asked.
    pub question: Question,
    /// How much of what matches; never more than [`HITS_MAX`].
    pub wanted: Wanted,
}

/// Asks a log, about one of its trees.
pub struct Asker<'a> {
    log: &'a LogReader<'a>,
    trust: &'a TrustFile,
    head: &'a SignedCheckpoint,
    intermediates: &'a [Vec<u8>],
    /// Bytes that one question may bring: [`QUESTION_BYTES_MAX`], but in tests.
    pub(super) question_bytes_max: usize,
}

/// What was gathered.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// As it can be written to a file.
    pub status: Status,
    /// What it proves.
    pub history: History,
}

impl Gathered {
    /// What is missing, for people: a question that has no answer, or one of those that are `open`
    /// in the history and were not asked any more. `None` if nothing is.
    pub fn gap(&self, open: &[Asked]) -> Option<String> {
        let answers = &self.history.answers;
        let unknown = answers.iter().find_map(|(question, answer)| match answer {
            Answer::Unknown(why) => Some(format!("{}: {why}", question_text(question))),
            Answer::All(_) | Answer::Oldest(_) => None,
        });
        let mut left = open.iter().filter(|asked| !answers.contains_key(&asked.question));
        unknown.or_else(|| {
            let question = question_text(&left.next()?.question);
            let more = left.count();
            Some(format!("{question}, and {more} more questions: there were too many to ask"))
        })
    }
}

/// Why a search has no answer.
enum SearchError {
    Log(LogError),
    Behind { searched: u64 },
    TooManyPages,
}

/// What a search found, oldest first.
struct Search {
    searched: u64,
    /// Whether nothing else matches.
    is_whole: bool,
    found: BTreeMap<LeafIndex, Found>,
}

impl Asked {
    /// Each question with what it wants by itself.
    pub fn of(questions: Vec<Question>) -> Vec<Self> {
        let asked = |question: Question| Self { wanted: question.wanted(), question };
        questions.into_iter().map(asked).collect()
    }
}

impl<'a> Asker<'a> {
    /// Asks `log` about the tree of `head`, which was followed. `intermediates` (DER) may certify
    /// signers.
    pub fn new(
        log: &'a LogReader<'a>,
        trust: &'a TrustFile,
        head: &'a SignedCheckpoint,
        intermediates: &'a [Vec<u8>],
    ) -> Self {
        Self { log, trust, head, intermediates, question_bytes_max: QUESTION_BYTES_MAX }
    }

    /// Asks until `open` leaves nothing open in what is known so far.
    ///
    /// # Errors
    /// [`StatusError`], where the log answers what is not so.
    pub async fn gather(
        &self,
        mut open: impl FnMut(&History) -> Vec<Asked>,
    ) -> Result<Gathered, StatusError> {
        let note = self.head.note_bytes().to_vec();
        let mut status = Status {
            note: String::from_utf8(note).expect("a note that opened is UTF-8"),
            replies: BTreeMap::new(),
            entries: BTreeMap::new(),
            statements: BTreeMap::new(),
        };
        let mut known = Known::default();
        for round in 0.. {
            let (trust, others) = (self.trust, self.intermediates);
            let history = status.prove_more(trust, others, Source::Log, &mut known)?.history;
            let mut asked = open(&history);
            asked.retain(|asked| !status.replies.contains_key(&asked.question));
            asked.truncate(QUESTIONS_MAX - status.replies.len());
            if asked.is_empty() || round == ROUNDS_MAX {
                return Ok(Gathered { status, history });
            }
            for asked in asked {
                self.answer(&mut status, asked).await?;
            }
        }
        unreachable!("the loop above ends by returning")
    }

    /// Asks one question, and adds what the log answers.
    async fn answer(&self, status: &mut Status, asked: Asked) -> Result<(), StatusError> {
        let size = self.head.head().size.get();
        let Asked { question, mut wanted } = asked;
        wanted.all_up_to = wanted.all_up_to.min(HITS_MAX);
        wanted.oldest = wanted.oldest.min(wanted.all_up_to);
        let unknown =
            |searched, why: String| Reply { searched, answer: Answer::Unknown(reason(&why)) };
        let reply = match search(self.log, &question, wanted, size).await {
            Err(SearchError::Log(error)) => unknown(0, error.to_string()),
            Err(SearchError::Behind { searched }) => unknown(searched, behind(searched, size)),
            Err(SearchError::TooManyPages) => {
                unknown(0, format!("the search has more than {PAGES_MAX} pages"))
            }
            Ok(search) => self.fetch(status, search, wanted).await?,
        };
        status.replies.insert(question, reply);
        status.drop_surplus();
        Ok(())
    }

    /// Fetches what was found, as far as it fits.
    async fn fetch(
        &self,
        status: &mut Status,
        search: Search,
        wanted: Wanted,
    ) -> Result<Reply, StatusError> {
        let Search { searched, is_whole, mut found } = search;
        while !is_whole && found.len() > wanted.oldest {
            found.pop_last();
        }
        let bytes_max = self.question_bytes_max;
        let fetched = fetch::add(self.log, self.head, status, &found, bytes_max).await?;
        let mut hits: Vec<LeafIndex> = found.into_keys().collect();
        let all_fit = fetched.added == hits.len();
        if !all_fit {
            hits.truncate(fetched.added.min(wanted.oldest));
        }
        let answer = match fetched.trouble {
            Some(error) => Answer::Unknown(reason(&error.to_string())),
            None if is_whole && all_fit => Answer::All(hits),
            None => Answer::Oldest(hits),
        };
        Ok(Reply { searched, answer })
    }
}

/// Reads page after page, oldest first, until nothing is left, or there is more than is wanted.
async fn search(
    log: &LogReader<'_>,
    question: &Question,
    wanted: Wanted,
    size: u64,
) -> Result<Search, SearchError> {
    let facts = question.facts();
    if facts.iter().any(|(_, value)| value.is_empty() || value.len() > FACT_VALUE_LEN_MAX) {
        // Such values are no facts, so no entry has them.
        return Ok(Search { searched: size, is_whole: true, found: BTreeMap::new() });
    }
    let facts: Vec<(&str, &str)> =
        facts.iter().map(|(tag, value): &(Tag, String)| (tag.name(), value.as_str())).collect();
    let mut search = Search { searched: u64::MAX, is_whole: false, found: BTreeMap::new() };
    let mut cursor = 0;
    for _ in 0..PAGES_MAX {
        let limit = (wanted.all_up_to + 1 - search.found.len()).min(PAGE_LEN_MAX).to_string();
        let at = cursor.to_string();
        let page = [("order", "oldest"), ("limit", limit.as_str()), ("cursor", at.as_str())];
        let page = log.search(&facts, &page).await.map_err(SearchError::Log)?;
        let malformed =
            || SearchError::Log(LogError::Malformed { path: "/api/treering/v1/search".to_owned() });
        let searched: u64 = page.tree_size.parse().map_err(|_| malformed())?;
        if searched < size {
            return Err(SearchError::Behind { searched });
        }
        search.searched = search.searched.min(searched);
        for hit in page.entries {
            let index = hit.index.parse().ok().and_then(LeafIndex::new).ok_or_else(malformed)?;
            let last = search.found.last_key_value().map(|(last, _)| *last);
            if index.get() < cursor || last.is_some_and(|last| index <= last) {
                return Err(malformed());
            }
            if index.get() >= size {
                // Logged since, as all that follow.
                search.is_whole = true;
                return Ok(search);
            }
            let time = Some(hit.time).filter(|time| *time <= TIME_MAX);
            search.found.insert(index, Found { id: hit.entry_id, time });
            if search.found.len() > wanted.all_up_to {
                return Ok(search);
            }
        }
        let next: Option<u64> =
            page.next.map(|next| next.parse()).transpose().map_err(|_| malformed())?;
        let last = search.found.last_key_value().map(|(last, _)| last.get());
        match next {
            Some(next) if next <= cursor || last.is_some_and(|last| next <= last) => {
                return Err(malformed());
            }
            Some(next) if next < size => cursor = next,
            _ => {
                search.is_whole = true;
                return Ok(search);
            }
        }
    }
    Err(SearchError::TooManyPages)
}

/// A stranger's words as a file may hold them.
fn reason(why: &str) -> String {
    let mut text: String = why.chars().filter(|c| !c.is_control()).collect();
    let end = (0..=REASON_LEN_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
    if text.is_empty() { "no reason was given".to_owned() } else { text }
}
