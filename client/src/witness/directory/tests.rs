use std::os::unix::fs::PermissionsExt as _;

use ed25519_dalek::SigningKey;
use treering_proto::note::{Note, sign_cosignature_line, sign_ed25519_line};

use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn identity() -> Vec<NoteKey> {
    vec![NoteKey::cosignature("w.example", key(2).verifying_key().as_bytes()).unwrap()]
}

fn cosigned(origin: &str, time: u64) -> Cosigned {
    let text = format!("{origin}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n");
    let signatures = vec![
        sign_ed25519_line("log.example", &key(1), &text),
        sign_cosignature_line("w.example", &key(2), &text, time),
    ];
    Cosigned::new(&Note { text, signatures }, &identity()).unwrap()
}

/// A directory that holds the checkpoint of one origin.
fn filled() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("new/state");
    WitnessDirectory::create(&path, &identity()).unwrap().keep(&cosigned("a", 7)).unwrap();
    (directory, path)
}

fn load(path: &Path) -> Result<Vec<Cosigned>, DirectoryError> {
    WitnessDirectory::open(path)?.load()
}

#[test]
fn what_is_kept_is_loaded_and_replaced() {
    let (_directory, path) = filled();
    assert_eq!(load(&path).unwrap(), [cosigned("a", 7)]);
    let open = WitnessDirectory::open(&path).unwrap();
    open.keep(&cosigned("a", 8)).unwrap();
    open.keep(&cosigned("b \u{e9}", 9)).unwrap();
    drop(open);
    let mut all = load(&path).unwrap();
    all.sort_by(|a, b| a.origin().cmp(b.origin()));
    assert_eq!(all, [cosigned("a", 8), cosigned("b \u{e9}", 9)]);
    assert_eq!(read_all(&path, &read_identity(&path).unwrap()).unwrap().len(), 2);
}

#[test]
fn the_files_have_these_golden_bytes_and_modes() {
    let (_directory, path) = filled();
    let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
    let hash = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    assert_eq!(
        read("witness"),
        "treering.witness/v1\n\
         w.example+a26f2ad7+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU\n"
    );
    assert_eq!(read("origins"), format!("treering.witness-origins/v1\n{hash}\n"));
    assert_eq!(read(&format!("{hash}.checkpoint")), cosigned("a", 7).note());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("evidence"))), (0o700, 0o700));
    for file in ["witness", "origins", &format!("{hash}.checkpoint")] {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_state_is_made_once_and_held_by_one() {
    let (_directory, path) = filled();
    let again = WitnessDirectory::create(&path, &identity());
    assert!(matches!(again, Err(DirectoryError::NotEmpty { .. })));
    let held = WitnessDirectory::open(&path).unwrap();
    assert!(matches!(WitnessDirectory::open(&path), Err(DirectoryError::Locked { .. })));
    drop(held);
    assert!(WitnessDirectory::open(&path).is_ok());
}

#[test]
fn an_empty_or_absent_directory_is_not_a_new_start() {
    let directory = tempfile::TempDir::new().unwrap();
    for path in [directory.path().to_owned(), directory.path().join("absent")] {
        let error = WitnessDirectory::open(&path).unwrap_err();
        assert!(matches!(error, DirectoryError::NotAState { .. }), "{error}");
    }
}

#[test]
fn damage_is_refused_with_what_to_do() {
    let good = cosigned("a", 7).note().as_bytes().to_vec();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let other_witness = String::from_utf8(good.clone()).unwrap().replace("w.example", "v.example");
    for (bytes, name) in [
        (Vec::new(), "empty"),
        (good[..good.len() - 1].to_vec(), "cut off"),
        (flipped(0), "flipped at the start"),
        (flipped(good.len() - 3), "flipped at the end"),
        (vec![0; 4096], "zeros"),
        (vec![b'x'; NOTE_LEN_MAX + 1], "too long"),
        (other_witness.into_bytes(), "of another witness"),
        (cosigned("b", 7).note().as_bytes().to_vec(), "of another origin"),
    ] {
        let (_directory, path) = filled();
        std::fs::write(path.join(file_name(sha256(b"a"))), bytes).unwrap();
        let error = load(&path).unwrap_err();
        let is_io = matches!(error, DirectoryError::Io { .. });
        assert!(error.to_string().contains("retire the key") || is_io, "{name}: {error}");
    }
}

#[test]
fn a_checkpoint_that_is_gone_is_noticed() {
    let (_directory, path) = filled();
    std::fs::remove_file(path.join(file_name(sha256(b"a")))).unwrap();
    let error = load(&path).unwrap_err();
    assert!(matches!(error, DirectoryError::Missing { .. }), "{error}");
    let (_directory, path) = filled();
    std::fs::remove_file(path.join("origins")).unwrap();
    assert!(matches!(load(&path).unwrap_err(), DirectoryError::Missing { .. }));
    for damaged in ["", "treering.witness-origins/v2\n", &format!("{ORIGINS_HEADER}{:65}", "x")] {
        std::fs::write(path.join("origins"), damaged).unwrap();
        assert!(matches!(load(&path).unwrap_err(), DirectoryError::Origins { .. }), "{damaged}");
    }
}

#[test]
fn a_checkpoint_that_was_being_written_is_not_read() {
    let (_directory, path) = filled();
    let new = path.join(format!("{}.new", file_name(sha256(b"a"))));
    std::fs::write(&new, b"half a no").unwrap();
    assert_eq!(load(&path).unwrap(), [cosigned("a", 7)]);
    WitnessDirectory::open(&path).unwrap().keep(&cosigned("a", 8)).unwrap();
    assert!(!new.exists());
    assert_eq!(load(&path).unwrap(), [cosigned("a", 8)]);
}

#[test]
fn a_directory_put_in_its_place_is_not_written_to() {
    let (directory, path) = filled();
    let open = WitnessDirectory::open(&path).unwrap();
    let moved = directory.path().join("moved");
    std::fs::rename(&path, &moved).unwrap();
    std::fs::create_dir(&path).unwrap();
    open.keep(&cosigned("a", 8)).unwrap();
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    drop(open);
    assert_eq!(load(&moved).unwrap(), [cosigned("a", 8)]);
}

#[test]
fn identities_are_one_name_and_one_key_of_each_kind() {
    let one = identity().remove(0);
    let log = NoteKey::ed25519("w.example", key(2).verifying_key().as_bytes()).unwrap();
    let text = |keys: &[&NoteKey]| {
        let keys: Vec<NoteKey> = keys.iter().map(|key| (*key).clone()).collect();
        format_identity(&keys).into_bytes()
    };
    assert_eq!(parse_identity(&text(&[&one])), Some(identity()));
    for keys in [&[][..], &[&one, &one], &[&log], &[&log, &one]] {
        assert_eq!(parse_identity(&text(keys)), None, "{keys:?}");
    }
    let unfinished = text(&[&one]);
    assert_eq!(parse_identity(&unfinished[..unfinished.len() - 1]), None);
}

/// The same directory, opened so that files in it can be made and renamed, and no sync succeeds.
fn without_sync(path: &Path) -> File {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    File::from(rustix::fs::open(path, flags, Mode::empty()).unwrap())
}

#[test]
fn what_cannot_be_synced_is_neither_read_nor_written_over() {
    let (_directory, path) = filled();
    assert!(sync_all(&without_sync(&path)).is_err());
    let mut open = WitnessDirectory::open(&path).unwrap();
    let good = std::mem::replace(&mut open.handle, without_sync(&path));
    assert!(open.keep(&cosigned("a", 8)).is_err());
    // The system says it once: that the next sync succeeds says nothing about the one before.
    open.handle = good;
    let refused = open.keep(&cosigned("a", 9)).unwrap_err();
    assert_eq!(refused.to_string(), NOT_SYNCED);
    assert!(open.keep(&cosigned("b", 9)).is_err());
    drop(open);
    assert_eq!(load(&path).unwrap(), [cosigned("a", 8)]);
}

#[test]
fn a_directory_that_took_the_place_of_the_locked_one_is_refused() {
    let (_directory, path) = filled();
    let open = WitnessDirectory::open(&path).unwrap();
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).unwrap();
    std::fs::create_dir(&path).unwrap();
    for entry in std::fs::read_dir(&aside).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
        }
    }
    assert!(matches!(open.load(), Err(DirectoryError::Swapped { .. })));
}
