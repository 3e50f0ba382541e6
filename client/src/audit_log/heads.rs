//! Every head that the log shows to have signed: those it kept, and the newest, on both faces.
//!
//! Order matters: what is read later of an honest log is never smaller, so the newest C2SP
//! checkpoint is read last, and all others are heads of its beginning.

use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::freshness::own_time;
use treering_proto::tree::{TreeHead, TreeSize};

use super::faults::Faults;
use super::read::exit;
use crate::log::whole::KeptCheckpoint;
use crate::log::{LogError, LogReader};
use crate::monitor::read::Source;
use crate::report::{Exit, Report};
use crate::transport::Reading;

/// Pages of kept checkpoints: ten million of them.
const PAGES_MAX: usize = 10_000;

/// Signed heads.
#[derive(Default)]
pub struct Heads {
    /// Each with what signed it, for people.
    pub all: Vec<(TreeHead, &'static str)>,
    /// The size of the newest C2SP checkpoint.
    pub size: Option<TreeSize>,
    /// Whether there is a Rekor v1 face that can be held to an identity.
    pub has_v1: bool,
    /// Size and time of heads that the log itself dated.
    pub dated: Vec<(u64, u64)>,
}

/// A checkpoint that the log kept.
struct Opened {
    /// The heads of its notes, with what they are.
    heads: Vec<(TreeHead, &'static str)>,
    /// Size and time, if the log itself dated it.
    dated: Option<(u64, u64)>,
}

impl Heads {
    /// What signed this head.
    pub fn whose(&self, head: &TreeHead) -> &'static str {
        self.all.iter().find(|(known, _)| known == head).map_or("a checkpoint", |(_, whose)| whose)
    }
}

/// Reads them all, and reports about their signatures.
pub async fn gather(source: &Source, report: &mut Report) -> Heads {
    let mut heads = Heads::default();
    if let Some(floor) = &source.trust.floor {
        heads.all.push((floor.head(), "the floor of the trust file"));
    }
    kept(source, report, &mut heads).await;
    newest_v1(source, report, &mut heads).await;
    newest(source, report, &mut heads).await;
    heads
}

async fn newest(source: &Source, report: &mut Report, heads: &mut Heads) {
    let transport = source.renewed();
    let log = LogReader::new(&transport, &source.trust);
    let shown = match log.checkpoint(Reading::Fresh).await {
        Ok(shown) => shown,
        Err(LogError::Checkpoint(refused)) if refused.is_foreign() => {
            let error = LogError::Checkpoint(refused);
            report.failed("checkpoint", error.to_string(), Exit::Alarm);
            return report.could_not_check("witnesses", "see checkpoint", Exit::Unavailable);
        }
        Err(error) => {
            report.could_not_check("checkpoint", error.to_string(), exit(&error));
            return report.could_not_check("witnesses", "see checkpoint", Exit::Unavailable);
        }
    };
    let head = shown.head();
    report.passed("checkpoint", format!("the log signed a tree of {} entries", head.size));
    match &source.trust.witness_policy {
        None => report.not_checked("witnesses", "the trust file names none"),
        Some(_) if source.trust.has_quorum(&shown) => {
            report.passed("witnesses", "the quorum cosigned the newest checkpoint");
        }
        Some(_) => {
            let why = "the quorum did not cosign the newest checkpoint";
            report.failed("witnesses", why, Exit::NotVerified);
        }
    }
    heads.dated.extend(own_time(&source.trust, &shown).map(|time| (head.size.get(), time)));
    heads.size = Some(head.size);
    heads.all.push((head, "the newest checkpoint"));
}

async fn newest_v1(source: &Source, report: &mut Report, heads: &mut Heads) {
    use crate::monitor::v1::{V1Head, read_v1};
    let transport = source.renewed();
    let log = LogReader::new(&transport, &source.trust);
    match read_v1(&log, source).await {
        V1Head::Unknown(why) => report.not_checked("v1-checkpoint", why),
        V1Head::Unread(error) => {
            report.could_not_check("v1-checkpoint", error.to_string(), exit(&error));
        }
        V1Head::Wrong(finding) => {
            heads.has_v1 = true;
            report.failed("v1-checkpoint", finding.why, Exit::Alarm);
        }
        V1Head::Signed(signed) => {
            heads.has_v1 = true;
            let size = signed.head().size;
            report.passed("v1-checkpoint", format!("the v1 key signed a tree of {size} entries"));
            heads.all.push((signed.head(), "the newest checkpoint of the Rekor v1 face"));
        }
    }
}

/// The checkpoints that the log kept.
async fn kept(source: &Source, report: &mut Report, heads: &mut Heads) {
    let mut faults = Faults::default();
    let (mut from, mut count) = (0, 0);
    for _ in 0..PAGES_MAX {
        let transport = source.renewed();
        let log = LogReader::new(&transport, &source.trust);
        let page = match log.kept_checkpoints(from).await {
            Ok(Some(page)) => page,
            Ok(None) => {
                let why = "the log does not list the checkpoints that it kept";
                return report.not_checked("kept-checkpoints", why);
            }
            Err(error) => {
                let exit = exit(&error);
                return report.could_not_check("kept-checkpoints", error.to_string(), exit);
            }
        };
        for checkpoint in &page.checkpoints {
            count += 1;
            match open_kept(source, checkpoint) {
                Ok(opened) => {
                    heads.dated.extend(opened.dated);
                    heads.all.extend(opened.heads);
                }
                Err(why) => faults.add(format!("the one of {} entries: {why}", checkpoint.size)),
            }
        }
        let next = page.next.and_then(|next| next.parse().ok());
        match next.filter(|next| *next > from) {
            Some(next) => from = next,
            None => break,
        }
    }
    let text = format!("the log's keys signed all {count} checkpoints that it kept");
    faults.report(report, "kept-checkpoints", &text);
}

/// The heads of both notes, which must be of the size that they are listed under, and the time that
/// the log itself signed.
fn open_kept(source: &Source, kept: &KeptCheckpoint) -> Result<Opened, String> {
    let trust = &source.trust;
    let opened = open_checkpoint(kept.note.as_bytes(), &trust.log.origin, &trust.note_keys());
    let opened = opened.map_err(|error| error.to_string())?;
    let is_listed =
        |checkpoint: &SignedCheckpoint| checkpoint.head().size.get().to_string() == kept.size;
    let mut heads = vec![(opened.head(), "a checkpoint that the log kept")];
    let mut listed = is_listed(&opened);
    if let Some(document) = &trust.log.identity {
        let identity = &document.identity;
        let keys = [identity.v1_note_key()];
        let v1 = open_checkpoint(kept.v1_note.as_bytes(), &identity.v1_origin(), &keys);
        let v1 = v1.map_err(|error| format!("Rekor v1: {error}"))?;
        heads.push((v1.head(), "a Rekor v1 checkpoint that the log kept"));
        listed &= is_listed(&v1);
    }
    match listed {
        true => {
            let size = opened.head().size.get();
            let time = own_time(trust, &opened).filter(|time| *time != 0);
            Ok(Opened { heads, dated: time.map(|time| (size, time)) })
        }
        false => Err("it is listed under another size".to_owned()),
    }
}
