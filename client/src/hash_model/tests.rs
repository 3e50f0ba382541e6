use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use treering_proto::hash::sha256;

use super::*;

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn hash(root: &Path, options: &HashOptions) -> Result<HashedModel, HashModelError> {
    list(root, options)?.hash(options, &|_| ())
}

fn names(model: &HashedModel) -> Vec<&str> {
    model.files.iter().map(|file| file.name.as_str()).collect()
}

#[test]
fn every_file_is_hashed_hidden_and_empty_ones_too_in_the_order_of_name_bytes() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "tokenizer.json", b"t");
    write(dir.path(), "tokenizer/v.json", b"v");
    write(dir.path(), ".hidden", b"h");
    write(dir.path(), "empty", b"");
    let big = vec![7; READ_LEN * 2 + 1];
    write(dir.path(), "sub/deep/big", &big);
    let done = AtomicU64::new(0);
    let options = HashOptions::default();
    let listing = list(dir.path(), &options).unwrap();
    let model = listing
        .hash(&options, &|count| {
            done.fetch_add(count, Ordering::Relaxed);
        })
        .unwrap();
    assert_eq!(
        names(&model),
        [".hidden", "empty", "sub/deep/big", "tokenizer.json", "tokenizer/v.json"]
    );
    assert_eq!(model.files[1].digest, sha256(b""));
    assert_eq!(model.files[2].digest, sha256(&big));
    assert_eq!(done.load(Ordering::Relaxed), listing.total_len());
}

#[test]
fn one_file_is_named_by_a_dot() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "model.bin", b"weights");
    let model = hash(&dir.path().join("model.bin"), &HashOptions::default()).unwrap();
    assert_eq!(names(&model), ["."]);
    assert_eq!(model.files[0].digest, sha256(b"weights"));
}

#[test]
fn ignores_cover_what_is_below_at_the_root_only_and_are_reported() {
    let dir = TempDir::new().unwrap();
    for name in [".git/config", "sub/.git/config", ".gitignore", "model.sig", "model.sig2", "a/b/c"]
    {
        write(dir.path(), name, b"x");
    }
    let mut ignore: Vec<String> = DEFAULT_IGNORES.map(str::to_owned).to_vec();
    ignore.push(dir.path().canonicalize().unwrap().join("model.sig").to_str().unwrap().to_owned());
    ignore.push("./a/b/".to_owned());
    let model = hash(dir.path(), &HashOptions { ignore, allow_symlinks: false }).unwrap();
    assert_eq!(names(&model), ["model.sig2", "sub/.git/config"]);
    assert_eq!(model.ignored, [".git", ".gitignore", "a/b", "model.sig"]);
}

#[test]
fn refuses_to_ignore_the_whole_model_or_what_is_outside() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a", b"x");
    for path in [".", "", "..", "../a", "a/../b", "/", "/etc"] {
        let options = HashOptions { ignore: vec![path.to_owned()], allow_symlinks: false };
        assert!(matches!(list(dir.path(), &options), Err(HashModelError::Ignore(_))), "{path:?}");
    }
}

#[test]
fn a_hugging_face_cache_is_read_through_its_links_only_when_asked() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "blobs/aa", b"weights");
    write(dir.path(), "blobs/bb", b"config");
    let snapshot = dir.path().join("snapshots/rev1");
    fs::create_dir_all(snapshot.join("onnx")).unwrap();
    symlink("../../blobs/aa", snapshot.join("model.safetensors")).unwrap();
    symlink("../../../blobs/bb", snapshot.join("onnx/config.json")).unwrap();

    let error = hash(&snapshot, &HashOptions::default()).unwrap_err();
    assert!(matches!(&error, HashModelError::Links { files, .. } if files.len() == 2), "{error}");
    let follow = HashOptions { ignore: Vec::new(), allow_symlinks: true };
    let model = hash(&snapshot, &follow).unwrap();
    assert_eq!(names(&model), ["model.safetensors", "onnx/config.json"]);
    assert_eq!(model.files[0].digest, sha256(b"weights"));
    let single = snapshot.join("model.safetensors");
    assert!(matches!(hash(&single, &HashOptions::default()), Err(HashModelError::Links { .. })));
    assert_eq!(hash(&single, &follow).unwrap().files[0].digest, sha256(b"weights"));
}

#[test]
fn refuses_linked_directories_dangling_links_and_pipes_even_when_links_are_allowed() {
    let follow = HashOptions { ignore: Vec::new(), allow_symlinks: true };
    let dir = TempDir::new().unwrap();
    write(dir.path(), "real/a", b"x");
    symlink("real", dir.path().join("linked")).unwrap();
    let error = hash(dir.path(), &follow).unwrap_err();
    assert!(
        matches!(&error, HashModelError::Links { directories, .. } if directories.len() == 1),
        "{error}"
    );
    fs::remove_file(dir.path().join("linked")).unwrap();
    symlink("nowhere", dir.path().join("linked")).unwrap();
    assert!(matches!(hash(dir.path(), &follow), Err(HashModelError::Read { .. })));
    fs::remove_file(dir.path().join("linked")).unwrap();
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(matches!(hash(dir.path(), &follow), Err(HashModelError::Special(_))));
}

#[test]
fn a_file_changed_after_the_listing_is_an_error() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a", b"12");
    let options = HashOptions::default();
    let listing = list(dir.path(), &options).unwrap();
    write(dir.path(), "a", b"123");
    let error = listing.hash(&options, &|_| ()).unwrap_err();
    assert!(matches!(error, HashModelError::Changed(path) if path.ends_with("a")));
}

#[test]
fn a_file_changed_replaced_or_added_while_hashing_is_an_error() {
    for change in ["append", "replace", "add", "remove other"] {
        let dir = TempDir::new().unwrap();
        write(dir.path(), "a", b"12");
        write(dir.path(), "b", b"");
        let options = HashOptions::default();
        let listing = list(dir.path(), &options).unwrap();
        let result = listing.hash(&options, &|_| match change {
            "append" => write(dir.path(), "a", b"1234"),
            "replace" => {
                write(dir.path(), "new", b"34");
                fs::rename(dir.path().join("new"), dir.path().join("a")).unwrap();
            }
            "add" => write(dir.path(), "c", b"x"),
            _ => fs::remove_file(dir.path().join("b")).unwrap_or(()),
        });
        let error = result.unwrap_err();
        let expected = matches!(error, HashModelError::Changed(_) | HashModelError::Read { .. });
        assert!(expected, "{change}: {error}");
    }
}

#[test]
fn a_file_that_grows_or_shrinks_between_two_reads_is_an_error_at_any_length() {
    for len in [READ_LEN as u64 * 3, AHEAD_MIN * 2] {
        for new_len in [len - 1, len + 1] {
            let dir = TempDir::new().unwrap();
            let file = fs::File::create(dir.path().join("a")).unwrap();
            file.set_len(len).unwrap();
            let options = HashOptions::default();
            let listing = list(dir.path(), &options).unwrap();
            let error = listing.hash(&options, &|_| file.set_len(new_len).unwrap()).unwrap_err();
            assert!(matches!(error, HashModelError::Changed(_)), "{len} {new_len}: {error}");
        }
    }
}

#[test]
fn only_files_that_leave_cores_idle_are_read_ahead() {
    let dir = TempDir::new().unwrap();
    let sizes = [("large", AHEAD_MIN * 8), ("b", AHEAD_MIN * 2), ("c", AHEAD_MIN * 2), ("d", 1)];
    for (name, len) in sizes {
        fs::File::create(dir.path().join(name)).unwrap().set_len(len).unwrap();
    }
    let listing = list(dir.path(), &HashOptions::default()).unwrap();
    let ahead = |threads: usize| {
        let from = listing.read_ahead_from(threads);
        let files = sizes.iter().filter(|(_, len)| *len >= from);
        files.map(|(name, _)| *name).collect::<Vec<_>>()
    };
    assert_eq!(ahead(1), [""; 0]);
    assert_eq!(ahead(2), ["large"]);
    assert_eq!(ahead(7), ["large"]);
    assert_eq!(ahead(8), ["large", "b", "c"]);
    assert_eq!(ahead(1000), ["large", "b", "c"]);
}

#[test]
fn a_model_of_one_large_file_has_the_hash_of_its_bytes() {
    let dir = TempDir::new().unwrap();
    let bytes: Vec<u8> = (0..AHEAD_MIN + 5).map(|at| (at / 4096 * 7 + at % 251) as u8).collect();
    write(dir.path(), "a", &bytes);
    let model = hash(&dir.path().join("a"), &HashOptions::default()).unwrap();
    assert_eq!((model.files[0].digest, model.files[0].len), (sha256(&bytes), AHEAD_MIN + 5));
}

#[test]
fn nothing_to_sign_and_nothing_there_are_errors() {
    let dir = TempDir::new().unwrap();
    let options = HashOptions::default();
    assert!(matches!(list(dir.path(), &options), Err(HashModelError::Empty(_))));
    assert!(matches!(list(&dir.path().join("x"), &options), Err(HashModelError::NotFound(_))));
}

#[test]
fn a_change_whose_time_was_set_back_is_still_a_change() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a", b"one");
    let options = HashOptions::default();
    let listing = list(dir.path(), &options).unwrap();
    let path = dir.path().join("a");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    // The clock of the file system ticks every few milliseconds.
    while Stamp::of(&fs::metadata(&path).unwrap()) == listing.files["a"] {
        fs::write(&path, b"two").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    }
    let error = listing.hash(&options, &|_| ()).unwrap_err();
    assert!(matches!(error, HashModelError::Changed(_)), "{error}");
}
