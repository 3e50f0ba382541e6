//! Which file of large values is damaged: RocksDB says that a value does not read back and not in
//! which file it is.
//!
//! ```text
//! file   = header (30) || record, record, ... || footer (32)
//! header = magic number (u32) || version (u32) || column (u32) || flags (u8) || compression (u8)
//!          || expirations (2 x u64)
//! record = key length (u64) || value length (u64) || expiration (u64)
//!          || checksum of these (u32) || checksum of key and value (u32) || key || value
//! footer = magic number (u32) || count (u64) || expirations (2 x u64) || checksum of these (u32)
//! ```
//!
//! Little-endian, as RocksDB's `db/blob/blob_log_format.h` has it; checksums are CRC-32C, turned by
//! 15 bits and moved by a constant. Reads all of a file: for a tool that may take its time, never
//! for a request. Out of scope: mending anything, and the other files, which RocksDB names.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crc::{CRC_32_ISCSI, Crc};

const CRC_32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

const MAGIC: u32 = 0x0024_8f37;
const VERSION: u32 = 1;
const UNCOMPRESSED: u8 = 0;
const ZSTANDARD: u8 = 7;
const HEADER_LEN: u64 = 30;
const RECORD_HEADER_LEN: u64 = 32;
const FOOTER_LEN: u64 = 32;

/// The first damaged file of large values in the database directory, all of which belong to the
/// column that RocksDB gave this number; `None` if all are whole, or the directory cannot be read.
pub(super) fn damaged_blob_file(directory: &Path, column: u32) -> Option<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "blob"));
    files.sort();
    files.into_iter().find(|path| !is_whole(path, column).unwrap_or(false))
}

/// Whether everything in the file has its checksum.
fn is_whole(path: &Path, column: u32) -> io::Result<bool> {
    let mut file = BufReader::new(File::open(path)?);
    let len = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let Some(end) = len.checked_sub(FOOTER_LEN).filter(|end| *end >= HEADER_LEN) else {
        return Ok(false);
    };
    let header: [u8; HEADER_LEN as usize] = read(&mut file)?;
    if !is_header(&header, column) {
        return Ok(false);
    }
    let mut at = HEADER_LEN;
    while at < end {
        let header: [u8; RECORD_HEADER_LEN as usize] = read(&mut file)?;
        if masked(CRC_32C.checksum(&header[..24])) != number_32(&header, 24) {
            return Ok(false);
        }
        let lengths = number_64(&header, 0).checked_add(number_64(&header, 8));
        let next = lengths.and_then(|len| (at + RECORD_HEADER_LEN).checked_add(len));
        let (Some(len), Some(next)) = (lengths, next.filter(|next| *next <= end)) else {
            return Ok(false);
        };
        if masked(checksum(&mut file, len)?) != number_32(&header, 28) {
            return Ok(false);
        }
        at = next;
    }
    let footer: [u8; FOOTER_LEN as usize] = read(&mut file)?;
    Ok(number_32(&footer, 0) == MAGIC
        && masked(CRC_32C.checksum(&footer[..28])) == number_32(&footer, 28))
}

/// Whether the header is one that this program has written. It has no checksum, but all of them are
/// alike: of version 1, for one column, without expirations, compressed by Zstandard or not at all.
fn is_header(header: &[u8; HEADER_LEN as usize], column: u32) -> bool {
    let (flags, compression, expirations) = (header[12], header[13], &header[14..]);
    number_32(header, 0) == MAGIC
        && number_32(header, 4) == VERSION
        && number_32(header, 8) == column
        && flags == 0
        && (compression == UNCOMPRESSED || compression == ZSTANDARD)
        && expirations.iter().all(|byte| *byte == 0)
}

/// The checksum of the next `len` bytes.
fn checksum(file: &mut impl Read, len: u64) -> io::Result<u32> {
    let mut digest = CRC_32C.digest();
    let mut buffer = [0; 8192];
    let mut left = len;
    while left > 0 {
        let part = &mut buffer[..left.min(8192) as usize];
        file.read_exact(part)?;
        digest.update(part);
        left -= part.len() as u64;
    }
    Ok(digest.finalize())
}

fn read<const LEN: usize>(file: &mut impl Read) -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn number_32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn number_64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use rocksdb::{DB, Options};
    use treering_proto::hash::sha256;

    use super::super::Store;
    use super::super::columns::{STATEMENT_BY_PAYLOAD_HASH, with_large_values};
    use super::*;

    #[test]
    fn a_damaged_header_is_named_whatever_rocksdb_says_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let statement = b"a statement that is large enough ".repeat(100);
        let key = sha256(&statement);
        let store = Store::create(&path, b"{}").unwrap();
        let column = store.column(STATEMENT_BY_PAYLOAD_HASH);
        store.db.put_cf(column, key.as_bytes(), &statement).unwrap();
        store.db.flush_cf(column).unwrap();
        drop(store);
        let read = || Store::open(&path).and_then(|store| store.statement(&key));
        assert_eq!(read().unwrap(), Some(statement));
        assert_eq!(damaged_blob_file(&path, with_large_values()), None);
        let files = fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path());
        let [file] = &files
            .filter(|path| path.extension().is_some_and(|extension| extension == "blob"))
            .collect::<Vec<_>>()[..]
        else {
            panic!("one flush makes one file")
        };
        let whole = fs::read(file).unwrap();
        let mut refused = 0;
        for at in 0..HEADER_LEN as usize {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(file, changed).unwrap();
            if let Err(error) = read() {
                let told = error.naming_the_file().to_string();
                assert!(told.contains(file.to_str().unwrap()), "byte {at}: {told}");
                refused += 1;
            }
        }
        assert!(refused > 4, "RocksDB looks at more than the magic number");
    }

    #[test]
    fn each_flipped_bit_of_a_file_of_large_values_is_found_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_enable_blob_files(true);
        options.set_min_blob_size(64);
        let db = DB::open(&options, directory.path()).unwrap();
        for round in 0..2_u8 {
            for key in 0..4_u8 {
                db.put([round, key], [key; 80]).unwrap();
            }
            db.flush().unwrap();
        }
        drop(db);
        assert_eq!(damaged_blob_file(directory.path(), 0), None);
        let mut files: Vec<PathBuf> =
            fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "blob"));
        assert_eq!(files.len(), 2);
        for file in files {
            let whole = fs::read(&file).unwrap();
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 1 << (at % 8);
                fs::write(&file, changed).unwrap();
                let found = damaged_blob_file(directory.path(), 0);
                assert_eq!(found.as_ref(), Some(&file), "{at}");
            }
            fs::write(&file, &whole[..whole.len() - 1]).unwrap();
            assert_eq!(damaged_blob_file(directory.path(), 0).as_ref(), Some(&file), "cut");
            fs::write(&file, whole).unwrap();
        }
    }
}
