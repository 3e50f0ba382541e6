//! Hashing a model as the client does it before it signs or verifies.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use treering_client::hash_model::{self, HashOptions};

use crate::quantity::Spread;

/// Bytes of one write; the content repeats with this period, which SHA-256 does not notice.
const BLOCK_LEN: u64 = 1 << 20;

/// How often the model is hashed.
const ROUNDS: usize = 5;

/// Bytes a second of the client's `hash_model` over a model of `len` bytes in `files` files, which
/// are in the page cache.
pub(crate) fn hashed_bytes_per_second(work: &Path, len: u64, files: u64) -> anyhow::Result<Spread> {
    let root = work.join("model");
    write_model(&root, len / files, files)?;
    let options = HashOptions::default();
    let mut rates = Vec::new();
    // The first round only warms up.
    for round in 0..=ROUNDS {
        let listing = hash_model::list(&root, &options)?;
        let start = Instant::now();
        let hashed = listing.hash(&options, &|_| {})?;
        let rate = listing.total_len() as f64 / start.elapsed().as_secs_f64();
        ensure!(hashed.files.len() as u64 == files, "the model has {files} files");
        if round > 0 {
            rates.push(rate);
        }
    }
    fs::remove_dir_all(&root)?;
    Spread::of(rates).context("a model is hashed more than once")
}

/// Writes a model of random bytes.
pub(crate) fn write_model(root: &Path, file_len: u64, files: u64) -> anyhow::Result<()> {
    fs::create_dir(root)?;
    let mut block = vec![0; file_len.min(BLOCK_LEN) as usize];
    for number in 0..files {
        let filled = aws_lc_rs::rand::fill(&mut block);
        filled.map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
        let mut file = File::create(root.join(format!("model-{number:05}.safetensors")))?;
        let mut left = file_len;
        while left > 0 {
            let part = left.min(BLOCK_LEN);
            file.write_all(&block[..part as usize])?;
            left -= part;
        }
        // Otherwise the system would write it to disk while it is hashed.
        file.sync_all()?;
    }
    Ok(())
}
