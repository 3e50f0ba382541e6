//! One file through SHA-256, as fast as one core does it.
//!
//! What costs beside SHA-256 is the copy out of the page cache. It goes into a buffer that is small
//! enough for the second cache of a core and starts at a page. Where cores would be idle, a thread
//! copies ahead of the one that hashes.
//!
//! Invariants: every byte is hashed once, in order; no more than the listed length and one buffer
//! is read, so a file that grows for ever ends, too; memory is [`READ_LEN`] for each thread that
//! hashes, and `AHEAD_COUNT * AHEAD_LEN` for each file with a thread of its own. Out of scope:
//! whether the file is the one that was listed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, scope};

use sha2::{Digest as _, Sha256};
use treering_proto::hash::Hash;

/// Bytes of one read: larger ones are no faster, and smaller ones are more calls.
pub(super) const READ_LEN: usize = 256 * 1024;

/// Bytes of one read by a thread that copies ahead: each costs two messages between threads.
const AHEAD_LEN: usize = 1024 * 1024;

/// Buffers between such a thread and the one that hashes: one is filled, one hashed, one waits.
const AHEAD_COUNT: usize = 3;

/// Bytes of a page of memory.
const PAGE_LEN: usize = 4096;

/// Memory that files are copied into.
///
/// It starts at a page because pages are what is copied: AMD's Zen 3 copies four times slower to
/// an address that is, within its page, 1 to 31 bytes behind that of the source. Allocators put
/// 16 bytes of their own before a large block, which is exactly there.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    pub(super) fn new(len: usize) -> Self {
        let bytes = vec![0; len + PAGE_LEN];
        let address = bytes.as_ptr().addr();
        Self { bytes, start: address.next_multiple_of(PAGE_LEN) - address }
    }

    fn as_mut(&mut self) -> &mut [u8] {
        let len = self.bytes.len() - PAGE_LEN;
        &mut self.bytes[self.start..][..len]
    }
}

/// Hashes `file` by reads into `buffer`. Returns how many bytes it had: more than `len` as soon as
/// that is seen.
pub(super) fn hash(
    file: &File,
    len: u64,
    buffer: &mut Buffer,
    progress: &(dyn Fn(u64) + Sync),
) -> io::Result<(Hash, u64)> {
    let mut hasher = Hasher::new(progress);
    while hasher.done <= len {
        let count = read_at(file, buffer.as_mut(), hasher.done)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer.as_mut()[..count]);
    }
    Ok(hasher.finish())
}

/// The same with a second thread that reads while this one hashes.
pub(super) fn hash_ahead(
    file: &File,
    len: u64,
    progress: &(dyn Fn(u64) + Sync),
) -> io::Result<(Hash, u64)> {
    let (to_fill, empty) = sync_channel(AHEAD_COUNT);
    let (to_hash, full) = sync_channel(AHEAD_COUNT);
    for _ in 0..AHEAD_COUNT {
        to_fill.send(Buffer::new(AHEAD_LEN)).expect("the channel has room, and its other end");
    }
    // The channels move into the scope: a panic in it closes them, and that ends the reader.
    scope(move |scope| {
        let read = move || read_ahead(file, len, &empty, &to_hash);
        let reader = Builder::new().name("read-ahead".to_owned()).spawn_scoped(scope, read)?;
        let mut hasher = Hasher::new(progress);
        for (mut buffer, count) in full {
            hasher.update(&buffer.as_mut()[..count]);
            // Nobody wants it once the reader has come to the end.
            let _ = to_fill.send(buffer);
        }
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.map(|()| hasher.finish())
    })
}

/// Fills buffers until the end of the file, or until nobody hashes them.
fn read_ahead(
    file: &File,
    len: u64,
    empty: &Receiver<Buffer>,
    to_hash: &SyncSender<(Buffer, usize)>,
) -> io::Result<()> {
    let mut done = 0;
    for mut buffer in empty {
        let count = read_at(file, buffer.as_mut(), done)?;
        if count == 0 || to_hash.send((buffer, count)).is_err() {
            break;
        }
        done += count as u64;
        if done > len {
            break;
        }
    }
    Ok(())
}

fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(bytes, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

struct Hasher<'a> {
    sha256: Sha256,
    done: u64,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<'a> Hasher<'a> {
    fn new(progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        Self { sha256: Sha256::new(), done: 0, progress }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.done += bytes.len() as u64;
        (self.progress)(bytes.len() as u64);
    }

    fn finish(self) -> (Hash, u64) {
        (Hash(self.sha256.finalize().into()), self.done)
    }
}

#[cfg(test)]
mod tests;
