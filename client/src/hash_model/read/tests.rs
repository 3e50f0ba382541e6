use std::io::{Seek as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use treering_proto::hash::sha256;

use super::*;

/// Bytes of which no two pages are the same.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / PAGE_LEN * 7 + at % 251) as u8).collect()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn both_ways_give_the_hash_of_the_whole_file_at_every_edge_of_the_buffers() {
    let mut buffer = Buffer::new(READ_LEN);
    let edges = [READ_LEN, AHEAD_LEN, AHEAD_LEN * AHEAD_COUNT].map(|len| [len - 1, len, len + 1]);
    let many = [0, 1, READ_LEN * 2 + 77, AHEAD_LEN * (AHEAD_COUNT + 4) + 5];
    for len in edges.concat().into_iter().chain(many) {
        let bytes = content(len);
        let file = file(&bytes);
        let told = AtomicU64::new(0);
        let progress = |count: u64| {
            told.fetch_add(count, Ordering::Relaxed);
        };
        let len = len as u64;
        let expected = (sha256(&bytes), len);
        assert_eq!(hash(&file, len, &mut buffer, &progress).unwrap(), expected, "{len}");
        assert_eq!(told.swap(0, Ordering::Relaxed), len);
        assert_eq!(hash_ahead(&file, len, &progress).unwrap(), expected, "{len}");
        assert_eq!(told.load(Ordering::Relaxed), len);
    }
}

#[test]
fn the_position_of_the_file_does_not_count() {
    let bytes = content(3);
    let mut file = file(&bytes);
    file.seek(io::SeekFrom::Start(2)).unwrap();
    let mut buffer = Buffer::new(READ_LEN);
    assert_eq!(hash(&file, 3, &mut buffer, &|_| ()).unwrap().0, sha256(&bytes));
    assert_eq!(hash_ahead(&file, 3, &|_| ()).unwrap().0, sha256(&bytes));
}

#[test]
fn a_file_that_grew_is_not_read_to_its_end() {
    let file = file(&content(AHEAD_LEN * 3));
    let mut buffer = Buffer::new(READ_LEN);
    assert_eq!(hash(&file, 5, &mut buffer, &|_| ()).unwrap().1, READ_LEN as u64);
    assert_eq!(hash_ahead(&file, 5, &|_| ()).unwrap().1, AHEAD_LEN as u64);
}

#[test]
fn a_file_that_shrank_ends_where_it_ends() {
    let bytes = content(AHEAD_LEN * 3);
    let file = file(&bytes);
    let half = AHEAD_LEN as u64 / 2;
    file.set_len(half).unwrap();
    let mut buffer = Buffer::new(READ_LEN);
    let expected = (sha256(&bytes[..AHEAD_LEN / 2]), half);
    let len = bytes.len() as u64;
    assert_eq!(hash(&file, len, &mut buffer, &|_| ()).unwrap(), expected);
    assert_eq!(hash_ahead(&file, len, &|_| ()).unwrap(), expected);
}

#[test]
fn what_the_system_refuses_is_an_error_both_ways() {
    let directory = File::open("/").unwrap();
    let mut buffer = Buffer::new(READ_LEN);
    assert!(hash(&directory, 1, &mut buffer, &|_| ()).is_err());
    assert!(hash_ahead(&directory, 1, &|_| ()).is_err());
}

#[test]
fn a_panic_of_the_one_that_hashes_ends_the_reader() {
    let file = file(&content(AHEAD_LEN * (AHEAD_COUNT + 4)));
    let hashed = std::panic::catch_unwind(|| {
        hash_ahead(&file, AHEAD_LEN as u64 * 7, &|_| panic!("of the test"))
    });
    assert!(hashed.is_err());
}

#[test]
fn buffers_start_at_a_page_and_have_their_length() {
    for len in [1, PAGE_LEN - 1, PAGE_LEN, READ_LEN, AHEAD_LEN] {
        let mut buffer = Buffer::new(len);
        assert_eq!(buffer.as_mut().len(), len);
        assert_eq!(buffer.as_mut().as_ptr().addr() % PAGE_LEN, 0);
    }
}
