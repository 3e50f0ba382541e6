//! Findings: what a monitor has to tell, and the file that keeps them.
//!
//! ```text
//! {"schema":"treering.finding/v1","id":"<32 hex>","finding":"fork","log":"log.example",
//!  "index":null,"entryId":null,"why":"...","facts":[],"evidence":"<path>","time":"<RFC 3339>"}
//! ```
//!
//! One line each, in `findings.jsonl` and on stdout. A finding has an id that follows from what was
//! found, so that it is the same whoever finds it again; a monitor tells each id once.
//!
//! Invariants: a line is on disk before anything that follows from it is: before it is printed,
//! and before the state moves past what it is about. A process that dies in between finds its line
//! again when it starts, and neither loses the finding nor tells it twice. Out of scope: who else
//! hears of it (see [`super::webhook`]).

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use treering_proto::evidence::Evidence;

use crate::report::Exit;

/// The version of the lines; a field is only ever added under the same version.
pub const FINDING_SCHEMA: &str = "treering.finding/v1";

/// The longest line read back: facts are bounded, and so are reasons.
const LINE_LEN_MAX: usize = 256 << 10;

/// The longest reason in bytes: it may quote a stranger.
const WHY_LEN_MAX: usize = 4096;

/// Files of one kind of evidence that proves nothing; more are the same story, and must not fill a
/// disk.
const SUSPICIONS_MAX: usize = 200;

/// Files of one kind of evidence that proves a lie. Each kind has its own room, so that what a log
/// can make for nothing never keeps out the proof of a fork.
const PROOFS_MAX: usize = 5000;

/// Names one finding for ever.
pub type FindingId = [u8; 16];

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum FindingKind {
    /// Two signed heads that contradict each other: proven.
    Fork,
    /// A smaller head than one that was signed before.
    Rollback,
    /// A checkpoint that no trusted key signed.
    ForeignKey,
    /// A tile that does not belong to the signed head.
    BadTile,
    /// An entry that is not the one that the signed head commits to.
    BadEntry,
    /// An entry that no honest log would have taken: not canonical, or of no known kind.
    EntryUnparseable,
    /// An entry whose signature does not verify.
    SignatureInvalid,
    /// An entry whose statement the log does not give out.
    StatementMissing,
    /// The Rekor v1 face shows another tree.
    V1Differs,
    /// Too few witnesses cosigned.
    QuorumMissing,
    /// A time that cannot be.
    WrongTime,
    /// The newest checkpoint is too old.
    Stale,
    /// The log did not answer, or not so that it could be read.
    Unreachable,
    /// A rule of the user was hit.
    Rule(String),
}

/// Something to tell.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// What makes it this finding and no other; the id is made of it.
    pub key: String,
    /// About which entry.
    pub index: Option<u64>,
    /// 80 hexadecimal digits, where the tree id is known; 64 otherwise.
    pub entry_id: Option<String>,
    /// One sentence.
    pub why: String,
    /// Facts that matched, each as `tag=value`.
    pub facts: Vec<String>,
    /// Signed notes that show it, or leave it open.
    pub evidence: Option<Box<Evidence>>,
}

/// A finding as it stands in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// [`FINDING_SCHEMA`].
    pub schema: String,
    /// The id in hexadecimal.
    pub id: String,
    /// The kind's name.
    pub finding: String,
    /// The origin of the log.
    pub log: String,
    /// About which entry.
    pub index: Option<u64>,
    /// Its id.
    pub entry_id: Option<String>,
    /// One sentence.
    pub why: String,
    /// Facts that matched.
    pub facts: Vec<String>,
    /// Where the evidence is.
    pub evidence: Option<String>,
    /// When it was found, RFC 3339: this machine's word.
    pub time: String,
}

/// Who hears each line when it is on disk.
pub type Listener = Arc<dyn Fn(&str) + Send + Sync>;

/// The file of findings of one log.
pub struct Journal {
    directory: PathBuf,
    origin: String,
    file: File,
    len: u64,
    /// Ids of lines that are on disk and that the state does not know of yet.
    ahead: HashSet<FindingId>,
    listener: Listener,
}

impl FindingKind {
    /// Stable, kebab-case.
    pub fn name(&self) -> String {
        let name = match self {
            Self::Fork => "fork",
            Self::Rollback => "rollback",
            Self::ForeignKey => "foreign-key",
            Self::BadTile => "bad-tile",
            Self::BadEntry => "bad-entry",
            Self::EntryUnparseable => "entry-unparseable",
            Self::SignatureInvalid => "signature-invalid",
            Self::StatementMissing => "statement-missing",
            Self::V1Differs => "v1-differs",
            Self::QuorumMissing => "quorum-missing",
            Self::WrongTime => "wrong-time",
            Self::Stale => "stale",
            Self::Unreachable => "unreachable",
            Self::Rule(name) => return format!("rule:{name}"),
        };
        name.to_owned()
    }

    /// How a monitor that runs once ends when this is found.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreachable => Exit::Unavailable,
            Self::Rule(_) => Exit::Policy,
            _ => Exit::Alarm,
        }
    }
}

impl Finding {
    /// A finding about the log as a whole. `key` makes it this one and no other.
    pub fn of_log(kind: FindingKind, key: impl Into<String>, why: impl Into<String>) -> Self {
        let (key, why) = (key.into(), why.into());
        Self { kind, key, index: None, entry_id: None, why, facts: Vec::new(), evidence: None }
    }

    /// A finding about the entry at `index`.
    pub fn of_entry(kind: FindingKind, index: u64, why: impl Into<String>) -> Self {
        Self { index: Some(index), ..Self::of_log(kind, format!("entry {index}"), why) }
    }

    /// The same with evidence.
    pub fn with(self, evidence: Option<Evidence>) -> Self {
        Self { evidence: evidence.map(Box::new), ..self }
    }

    /// The first half of SHA-256("treering finding v1" LF kind LF origin LF key).
    pub fn id(&self, origin: &str) -> FindingId {
        let text = format!("treering finding v1\n{}\n{origin}\n{}", self.kind.name(), self.key);
        let hash: [u8; 32] = Sha256::digest(text).into();
        let mut id = FindingId::default();
        id.copy_from_slice(&hash[..16]);
        id
    }
}

impl Journal {
    /// Opens the file in `directory`, of which the state knows the first `known` bytes. What a
    /// crash left of a last line is cut off: it was never told.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(
        directory: &Path,
        origin: &str,
        known: u64,
        listener: Listener,
    ) -> io::Result<Self> {
        let path = directory.join("findings.jsonl");
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let end = file.metadata()?.len();
        // A file that somebody emptied starts anew; the state still knows what was told.
        let known = if known <= end { known } else { 0 };
        let (ahead, len) = read_ahead(&mut file, known)?;
        file.set_len(len)?;
        file.seek(SeekFrom::Start(len))?;
        file.sync_all()?;
        File::open(directory)?.sync_all()?;
        let directory = directory.to_owned();
        Ok(Self { directory, origin: origin.to_owned(), file, len, ahead, listener })
    }

    /// How many bytes the file has.
    pub fn written(&self) -> u64 {
        self.len
    }

    /// The origin of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether a line with this id is on disk, though the state does not know of it.
    pub fn is_ahead(&self, id: &FindingId) -> bool {
        self.ahead.contains(id)
    }

    /// Ids that the state should learn of with its next move.
    pub fn ahead(&self) -> impl Iterator<Item = &FindingId> {
        self.ahead.iter()
    }

    /// The state knows all lines now.
    pub fn settled(&mut self) {
        self.ahead.clear();
    }

    /// Writes `findings`, none of which was told before, and tells them when they are on disk.
    /// `time` is RFC 3339.
    ///
    /// # Errors
    /// Those of the system; then nothing was told.
    pub fn tell(&mut self, findings: &[Finding], time: &str) -> io::Result<()> {
        if findings.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for finding in findings {
            let id = finding.id(&self.origin);
            let evidence = match &finding.evidence {
                Some(evidence) => self.keep(evidence, &hex::encode(id), time)?,
                None => None,
            };
            lines.push((id, self.line(finding, &id, evidence, time)));
        }
        let text: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What is half written would hide what is written after it.
            self.file.set_len(self.len)?;
            self.file.seek(SeekFrom::Start(self.len))?;
            return Err(error);
        }
        self.len += text.len() as u64;
        for (id, line) in lines {
            self.ahead.insert(id);
            (self.listener)(&line);
        }
        Ok(())
    }

    fn line(
        &self,
        finding: &Finding,
        id: &FindingId,
        evidence: Option<PathBuf>,
        time: &str,
    ) -> String {
        let mut why = finding.why.clone();
        why.truncate(why.floor_char_boundary(WHY_LEN_MAX));
        let line = Line {
            schema: FINDING_SCHEMA.to_owned(),
            id: hex::encode(id),
            finding: finding.kind.name(),
            log: self.origin.clone(),
            index: finding.index,
            entry_id: finding.entry_id.clone(),
            why,
            facts: finding.facts.clone(),
            evidence: evidence.map(|path| path.display().to_string()),
            time: time.to_owned(),
        };
        serde_json::to_string(&line).expect("texts and numbers always serialize")
    }

    /// Keeps evidence in a file named by its finding; one that is there already is the same. `None`
    /// when there are too many of its kind.
    fn keep(&self, evidence: &Evidence, id: &str, time: &str) -> io::Result<Option<PathBuf>> {
        let directory = self.directory.join("evidence");
        crate::state::make_private(&directory)?;
        let kind = evidence.kind();
        let path = directory.join(format!("{}-{id}.evidence", kind.name()));
        if path.exists() {
            return Ok(Some(path));
        }
        let most = if kind.is_proof() { PROOFS_MAX } else { SUSPICIONS_MAX };
        if count_kind(&directory, kind.name())? >= most {
            return Ok(None);
        }
        let text = evidence.format(&format!("{time} treering-monitor"));
        crate::state::write_private(&path, text.as_bytes())?;
        Ok(Some(path))
    }
}

/// How many files of evidence of one kind there are. The names of kinds may start alike.
fn count_kind(directory: &Path, kind: &str) -> io::Result<usize> {
    let mut count = 0;
    for file in std::fs::read_dir(directory)? {
        let name = file?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".evidence"));
        count += usize::from(id.and_then(|id| id.rsplit_once('-')).is_some_and(|at| at.0 == kind));
    }
    Ok(count)
}

/// The ids of the whole lines from `known` on, and where the last whole line ends.
fn read_ahead(file: &mut File, known: u64) -> io::Result<(HashSet<FindingId>, u64)> {
    file.seek(SeekFrom::Start(known))?;
    let mut ids = HashSet::new();
    let mut len = known;
    let mut rest = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((ids, len));
        }
        rest.extend_from_slice(&buffer[..count]);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            ids.extend(line_id(&rest[..end]));
            rest.drain(..=end);
            len += end as u64 + 1;
        }
        if rest.len() > LINE_LEN_MAX {
            return Err(io::Error::other("findings.jsonl has a line that no monitor wrote"));
        }
    }
}

fn line_id(line: &[u8]) -> Option<FindingId> {
    let line: Line = serde_json::from_slice(line).ok()?;
    hex::decode(line.id).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tempfile::TempDir;

    use super::*;

    struct Heard(Arc<Mutex<Vec<String>>>);

    impl Heard {
        fn new() -> (Self, Listener) {
            let lines: Arc<Mutex<Vec<String>>> = Arc::default();
            let heard = lines.clone();
            (Self(lines), Arc::new(move |line: &str| heard.lock().unwrap().push(line.to_owned())))
        }
    }

    fn finding(index: u64) -> Finding {
        Finding::of_entry(FindingKind::EntryUnparseable, index, "because")
    }

    #[test]
    fn a_line_has_these_bytes_and_an_id_that_never_changes() {
        let dir = TempDir::new().unwrap();
        let (heard, listener) = Heard::new();
        let mut journal = Journal::open(dir.path(), "log.example", 0, listener).unwrap();
        journal.tell(&[finding(7)], "2026-01-02T03:04:05Z").unwrap();
        let expected = r#"{"schema":"treering.finding/v1","id":"8032217938661fdf35e30bbe4740b8bf","finding":"entry-unparseable","log":"log.example","index":7,"entryId":null,"why":"because","facts":[],"evidence":null,"time":"2026-01-02T03:04:05Z"}"#;
        assert_eq!(heard.0.lock().unwrap()[..], [expected]);
        let file = std::fs::read_to_string(dir.path().join("findings.jsonl")).unwrap();
        assert_eq!(file, format!("{expected}\n"));
    }

    #[test]
    fn what_is_on_disk_and_not_in_the_state_is_known_after_a_crash() {
        let dir = TempDir::new().unwrap();
        let (_, listener) = Heard::new();
        let mut journal = Journal::open(dir.path(), "a", 0, listener.clone()).unwrap();
        journal.tell(&[finding(1)], "t").unwrap();
        let known = journal.written();
        journal.tell(&[finding(2), finding(3)], "t").unwrap();
        let whole = journal.written();
        // The state moved after the first line only; the fourth was being written.
        let path = dir.path().join("findings.jsonl");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"schema\":\"treering.find");
        std::fs::write(&path, &bytes).unwrap();
        let journal = Journal::open(dir.path(), "a", known, listener).unwrap();
        assert!(!journal.is_ahead(&finding(1).id("a")));
        assert!(journal.is_ahead(&finding(2).id("a")) && journal.is_ahead(&finding(3).id("a")));
        assert_eq!(journal.written(), whole);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
    }

    #[test]
    fn suspicions_leave_room_for_each_other_and_for_proofs() {
        use treering_proto::checkpoint::open_checkpoint;
        use treering_proto::tree::TreeSize;
        let logs = [1, 2].map(|from| {
            let mut log = crate::test_log::TestLog::new(1);
            for at in 0..9 {
                log.append(vec![from, at]);
            }
            log
        });
        let signed = |log: usize, size| {
            let note = logs[log].checkpoint(TreeSize::new(size).unwrap(), &[]);
            let keys = [logs[log].note_key()];
            open_checkpoint(note.as_bytes(), crate::test_log::ORIGIN, &keys).unwrap()
        };
        let dir = TempDir::new().unwrap();
        let (_, listener) = Heard::new();
        let mut journal = Journal::open(dir.path(), "a", 0, listener).unwrap();
        let suspected = Evidence::rollback(&signed(0, 9), &signed(0, 4));
        let many = |at| finding(at).with(Some(suspected.clone()));
        journal.tell(&(0..2 * SUSPICIONS_MAX as u64).map(many).collect::<Vec<_>>(), "t").unwrap();
        let count = |kind| count_kind(&dir.path().join("evidence"), kind).unwrap();
        assert_eq!((count("rollback-suspected"), count("rollback")), (SUSPICIONS_MAX, 0));
        let fork = Evidence::fork_size(&signed(0, 9), &signed(1, 9));
        journal.tell(&[finding(1 << 20).with(fork)], "t").unwrap();
        assert_eq!(count("fork-size"), 1);
    }

    #[test]
    fn ids_differ_by_kind_log_and_key() {
        let id = finding(1).id("a");
        assert_ne!(id, finding(2).id("a"));
        assert_ne!(id, finding(1).id("b"));
        assert_ne!(id, Finding::of_entry(FindingKind::BadEntry, 1, "because").id("a"));
        assert_eq!(id, Finding::of_entry(FindingKind::EntryUnparseable, 1, "other").id("a"));
    }
}
