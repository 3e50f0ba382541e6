//! Lines in groups: whoever waits for a line to be written shares lock, look at the files and write
//! with everybody who waits at the same time.
//!
//! There is no timer: while one group is written the next one gathers, as batches of the log do.
//!
//! Invariant: whoever hears that a line is written finds it in the file; a group is written whole
//! or not at all.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::oneshot;

use super::line::Text;
use super::{Journal, JournalError};
use crate::clock;

/// Lines in one group, at most.
const GROUP_LINES_MAX: usize = 512;

/// Hands lines to the one thread that writes them; it ends when this is dropped.
pub struct Lines(Sender<Waiting>);

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
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_groups(&journal, &receiver))
            .expect("a server that starts may start a thread");
        Self(sender)
    }

    /// Writes a line. It is in the file when what is returned has ended well.
    ///
    /// # Errors
    /// Then the request that it tells of must fail. The next line may succeed.
    pub fn write(&self, text: Text) -> impl Future<Output = Written> + use<> {
        const ALIVE: &str = "the journal's thread ends only when nobody can hand it lines";
        let (written, hears) = oneshot::channel();
        self.0.send(Waiting { text, written }).expect(ALIVE);
        async { hears.await.expect(ALIVE) }
    }
}

fn write_groups(journal: &Journal, lines: &Receiver<Waiting>) {
    while let Ok(first) = lines.recv() {
        // Lines of one batch are handed over one after the other, as fast as the processor allows.
        std::thread::yield_now();
        let more = lines.try_iter().take(GROUP_LINES_MAX - 1);
        let (texts, waiting): (Vec<_>, Vec<_>) = std::iter::once(first)
            .chain(more)
            .map(|Waiting { text, written }| (text, written))
            .unzip();
        let written = journal.write_all_at(&texts, clock::read().wall_ms).map_err(Arc::new);
        for hears in waiting {
            // Nobody waits any more when the server stops.
            let _ = hears.send(written.clone());
        }
    }
}
