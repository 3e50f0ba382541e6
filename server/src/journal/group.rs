//! Lines in groups: whoever waits for a line to be written shares lock, look at the files and write
//! with everybody who waits at the same time.
//!
//! There is no timer: while one group is written the next one gathers, as batches of the log do.
//!
//! Invariants:
//! - whoever hears that a line is written finds it in the file;
//! - of a group that failed, nobody hears that a line is written. Nothing of it stays in the file,
//!   but if a short write cannot even be cut off: then the next writer keeps the whole lines at its
//!   front, which are as they were meant, and cuts off the rest. They say what nobody was told, and
//!   `journal-resumed` counts them as lost, for nobody knows by then whose they are;
//! - a thread that writes and panics ends the process.
//!
//! How many lines wait is bounded by whoever hands them over (`SUBMISSIONS_MAX`), who also asks
//! whether the disk has stalled.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::line::Text;
use super::{Journal, JournalError};
use crate::clock;
use crate::limits::JOURNAL_GROUP_LINES_MAX;

/// A write that takes longer has stalled: it mostly takes less than a millisecond.
pub(super) const STALLED_MS: u64 = 1000;

/// Hands lines to the one thread that writes them; it ends when this is dropped, or ended.
pub struct Lines {
    open: Mutex<Option<Open>>,
    /// When the group that is written now was begun, in milliseconds since boot; 0 if none is.
    began_ms: Arc<AtomicU64>,
}

/// The way to the thread, and the thread.
struct Open {
    sender: Sender<Waiting>,
    thread: JoinHandle<()>,
}

/// A line, and who waits for it.
struct Waiting {
    text: Text,
    written: oneshot::Sender<Written>,
}

/// What became of a group.
type Written = Result<(), Arc<JournalError>>;

impl Lines {
    /// Starts the thread that writes to `journal`.
    pub fn to(journal: Arc<Journal>) -> Self {
        let (sender, receiver) = channel();
        let began_ms = Arc::new(AtomicU64::new(0));
        let began = began_ms.clone();
        let write = move || write_groups(&journal, &receiver, &began);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || abort_on_panic("journal", write))
            .expect("a server that starts may start a thread");
        Self { open: Mutex::new(Some(Open { sender, thread })), began_ms }
    }

    /// Writes a line. It is in the file when what is returned has ended well.
    ///
    /// # Errors
    /// Then the request that it tells of must fail. The next line may succeed.
    pub fn write(&self, text: Text) -> impl Future<Output = Written> + use<> {
        let (written, hears) = oneshot::channel();
        if let Some(open) = &*self.open() {
            // A line that nobody takes is dropped, which whoever waits for it hears.
            let _ = open.sender.send(Waiting { text, written });
        }
        async { hears.await.unwrap_or_else(|_| Err(Arc::new(JournalError::Ended))) }
    }

    /// Whether the disk has held up a write for so long that nobody should begin to wait for it.
    pub fn is_stalled(&self) -> bool {
        self.is_stalled_at(clock::read().boot_ms)
    }

    pub(super) fn is_stalled_at(&self, boot_ms: u64) -> bool {
        let began_ms = self.began_ms.load(Ordering::Relaxed);
        began_ms != 0 && boot_ms.saturating_sub(began_ms) > STALLED_MS
    }

    /// Takes no more lines. What was handed over before is written when the thread that is returned
    /// has ended; `None` if it was asked for already.
    pub fn end(&self) -> Option<JoinHandle<()>> {
        self.open().take().map(|Open { thread, .. }| thread)
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_groups(journal: &Journal, lines: &Receiver<Waiting>, began_ms: &AtomicU64) {
    while let Ok(first) = lines.recv() {
        // Lines of one batch are handed over one after the other, as fast as the processor allows.
        std::thread::yield_now();
        let more = lines.try_iter().take(JOURNAL_GROUP_LINES_MAX - 1);
        let (texts, waiting): (Vec<_>, Vec<_>) = std::iter::once(first)
            .chain(more)
            .map(|Waiting { text, written }| (text, written))
            .unzip();
        let now = clock::read();
        began_ms.store(now.boot_ms.max(1), Ordering::Relaxed);
        let written = journal.write_all_at(&texts, now.wall_ms).map_err(Arc::new);
        began_ms.store(0, Ordering::Relaxed);
        for hears in waiting {
            // Nobody waits any more when the server stops.
            let _ = hears.send(written.clone());
        }
    }
}

/// A broken promise of our own in a loop that others rely on ends the process: half a sequencer
/// must not go on signing, and nobody may wait for a journal that nobody writes.
pub fn abort_on_panic(thread: &str, run: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
        tracing::error!(thread, "a thread broke a promise of its own; the process ends");
        std::process::abort();
    }
}
