//! The private keys of a witness: an Ed25519 key, and an ML-DSA-44 key beside it if it has one.
//!
//! Stored as PKCS#8 PEM (RFC 5958; RFC 8410 and RFC 9881 for these kinds), unencrypted, because a
//! service starts without a person. Each line that a witness adds to a checkpoint is by one of
//! them.
//!
//! Invariants: a key file is created with mode 0600, durably, and never overwritten; the keys never
//! leave this module; on one machine, one process has the Ed25519 key, whatever state it has
//! beside it.
//! Out of scope: keys in hardware, and copies of a key.

use std::fs::{File, TryLockError};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use pkcs8::der::pem::PemLabel as _;
use pkcs8::{LineEnding, PrivateKeyInfoRef};
use treering_proto::checkpoint::Checkpoint;
use treering_proto::cosignature::ml_dsa_44::{MlDsa44SigningKey, SEED_LEN};
use treering_proto::note::{
    NoteKey, NoteKeyError, SignatureLine, sign_cosignature_line, sign_ml_dsa_44_line,
};
use zeroize::Zeroizing;

use super::directory::sync_parent;
use crate::private_key::{KEY_FILE_LEN_MAX, PrivateKeyError, write_new};

/// Why the keys of a witness cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WitnessKeyError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: PrivateKeyError,
    },
    /// Another process has the key.
    #[error(
        "{} is held by another process: two witnesses with one key would cosign two histories. \
         Stop the other one, and if its state is another one, find out which of them is the copy",
        path.display()
    )]
    Locked {
        /// Which file.
        path: PathBuf,
    },
    /// No unencrypted private key of the needed kind in PKCS#8 PEM.
    #[error("{} is no unencrypted {kind} private key in PKCS#8 PEM", path.display())]
    NotAKey {
        /// Which file.
        path: PathBuf,
        /// The kind that is needed.
        kind: &'static str,
    },
    /// The name cannot name a key, or the key is weak.
    #[error(transparent)]
    Key(#[from] NoteKeyError),
}

/// The private keys of one witness, under one name.
pub struct WitnessKeys {
    name: String,
    ed25519: SigningKey,
    ml_dsa_44: Option<MlDsa44SigningKey>,
    public: Vec<NoteKey>,
    /// The Ed25519 key's file, locked; `None` for keys that were just made.
    _held: Option<Held>,
}

/// Where the private keys are.
#[derive(Clone, Copy, Debug)]
pub struct KeyFiles<'a> {
    /// The Ed25519 key.
    pub ed25519: &'a Path,
    /// The ML-DSA-44 key, if there is one.
    pub ml_dsa_44: Option<&'a Path>,
}

impl WitnessKeys {
    /// Makes new keys and writes them to new files.
    ///
    /// # Errors
    /// [`WitnessKeyError::File`] when a file exists or cannot be written, and
    /// [`WitnessKeyError::Key`]. A first file may be there when the second cannot be written.
    pub fn generate(name: &str, files: KeyFiles<'_>) -> Result<Self, WitnessKeyError> {
        let ed25519 = SigningKey::from_bytes(&*random_seed(files.ed25519)?);
        let ml_dsa_44 = match files.ml_dsa_44 {
            Some(path) => Some(MlDsa44SigningKey::from_seed(&*random_seed(path)?)),
            None => None,
        };
        // What the name cannot name is found out before anything is written.
        let keys = Self::new(name, ed25519, ml_dsa_44)?;
        write(files.ed25519, &ed25519_to_pem(&keys.ed25519))?;
        if let (Some(path), Some(key)) = (files.ml_dsa_44, &keys.ml_dsa_44) {
            write(path, &ml_dsa_44_to_pem(key))?;
        }
        Ok(keys)
    }

    /// Makes a new ML-DSA-44 key for a witness called `name`, writes it to a new file, and returns
    /// its public half.
    ///
    /// # Errors
    /// As for [`WitnessKeys::generate`].
    pub fn generate_ml_dsa_44(name: &str, path: &Path) -> Result<NoteKey, WitnessKeyError> {
        let key = MlDsa44SigningKey::from_seed(&*random_seed(path)?);
        let public = NoteKey::ml_dsa_44(name, key.public_key())?;
        write(path, &ml_dsa_44_to_pem(&key))?;
        Ok(public)
    }

    /// Reads keys that [`WitnessKeys::generate`], or another program, wrote, and locks the file of
    /// the Ed25519 key as long as they live.
    ///
    /// # Errors
    /// Any [`WitnessKeyError`].
    pub fn load(name: &str, files: KeyFiles<'_>) -> Result<Self, WitnessKeyError> {
        let not = |path: &Path, kind| WitnessKeyError::NotAKey { path: path.to_owned(), kind };
        let held = open(files.ed25519)?;
        lock(files.ed25519, &held)?;
        let pem = read(files.ed25519, &held)?;
        let ed25519 =
            SigningKey::from_pkcs8_pem(&pem).map_err(|_| not(files.ed25519, "Ed25519"))?;
        let ml_dsa_44 = match files.ml_dsa_44 {
            Some(path) => {
                let pem = read(path, &open(path)?)?;
                Some(ml_dsa_44_from_pem(&pem).ok_or_else(|| not(path, "ML-DSA-44"))?)
            }
            None => None,
        };
        Ok(Self { _held: Some(Held(held)), ..Self::new(name, ed25519, ml_dsa_44)? })
    }

    /// The public halves: the Ed25519 key first.
    pub fn public(&self) -> &[NoteKey] {
        &self.public
    }

    /// The lines that cosign `text`, which is the text of `checkpoint`, at `time`, in seconds since
    /// 1970: the Ed25519 line first.
    ///
    /// An ML-DSA-44 cosignature does not cover extension lines, so a checkpoint that has some gets
    /// none.
    pub fn cosign(&self, text: &str, checkpoint: &Checkpoint, time: u64) -> Vec<SignatureLine> {
        let mut lines = vec![sign_cosignature_line(&self.name, &self.ed25519, text, time)];
        if let Some(key) = self.ml_dsa_44.as_ref().filter(|_| fits_ml_dsa_44(checkpoint)) {
            let (origin, head) = (&checkpoint.origin, checkpoint.head);
            lines.push(sign_ml_dsa_44_line(&self.name, key, origin, head, time));
        }
        lines
    }

    fn new(
        name: &str,
        ed25519: SigningKey,
        ml_dsa_44: Option<MlDsa44SigningKey>,
    ) -> Result<Self, WitnessKeyError> {
        let mut public = vec![NoteKey::cosignature(name, ed25519.verifying_key().as_bytes())?];
        if let Some(key) = &ml_dsa_44 {
            public.push(NoteKey::ml_dsa_44(name, key.public_key())?);
        }
        Ok(Self { name: name.to_owned(), ed25519, ml_dsa_44, public, _held: None })
    }
}

/// The message has one byte for the length of the origin, and no room for extension lines.
fn fits_ml_dsa_44(checkpoint: &Checkpoint) -> bool {
    checkpoint.extensions.is_empty() && u8::try_from(checkpoint.origin.len()).is_ok()
}

/// Without the public key: OpenSSL 3.0 does not read PKCS#8 that has it.
fn ed25519_to_pem(key: &SigningKey) -> Zeroizing<String> {
    let bytes = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    bytes.to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key has a PKCS#8 form")
}

fn ml_dsa_44_to_pem(key: &MlDsa44SigningKey) -> Zeroizing<String> {
    let document = key.to_pkcs8().expect("a key made of a seed has a PKCS#8 form");
    let label = PrivateKeyInfoRef::PEM_LABEL;
    let pem = pkcs8::der::pem::encode_string(label, LineEnding::LF, document.as_ref());
    Zeroizing::new(pem.expect("a private key fits PEM"))
}

fn ml_dsa_44_from_pem(pem: &str) -> Option<MlDsa44SigningKey> {
    let (label, der) = pkcs8::der::pem::decode_vec(pem.as_bytes()).ok()?;
    let der = Zeroizing::new(der);
    (label == PrivateKeyInfoRef::PEM_LABEL).then(|| MlDsa44SigningKey::from_pkcs8(&der))?
}

fn random_seed(path: &Path) -> Result<Zeroizing<[u8; SEED_LEN]>, WitnessKeyError> {
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    getrandom::fill(seed.as_mut()).map_err(|_| failed(path, PrivateKeyError::Crypto))?;
    Ok(seed)
}

/// A locked file, whose lock is given back at once: closing alone does not, where another thread is
/// starting a program at this moment.
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn open(path: &Path) -> Result<File, WitnessKeyError> {
    File::open(path).map_err(|error| failed(path, PrivateKeyError::Read(error)))
}

fn lock(path: &Path, file: &File) -> Result<(), WitnessKeyError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => WitnessKeyError::Locked { path: path.to_owned() },
        TryLockError::Error(error) => failed(path, PrivateKeyError::Read(error)),
    })
}

fn read(path: &Path, file: &File) -> Result<Zeroizing<String>, WitnessKeyError> {
    // Room for the whole file: text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_LEN_MAX as usize + 1));
    let read = file.take(KEY_FILE_LEN_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| failed(path, PrivateKeyError::Read(error)))?;
    if text.len() as u64 > KEY_FILE_LEN_MAX {
        return Err(failed(path, PrivateKeyError::NotPkcs8));
    }
    Ok(text)
}

fn write(path: &Path, pem: &str) -> Result<(), WitnessKeyError> {
    let written = write_new(path, pem, 0o600)
        .and_then(|()| sync_parent(path).map_err(PrivateKeyError::Write));
    written.map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: PrivateKeyError) -> WitnessKeyError {
    WitnessKeyError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use treering_proto::note;
    use treering_proto::tree::TreeHead;

    use super::*;

    fn checkpoint(origin: &str, extensions: &[&str]) -> Checkpoint {
        let extensions = extensions.iter().map(|line| (*line).to_owned()).collect();
        Checkpoint { origin: origin.to_owned(), head: TreeHead::EMPTY, extensions }
    }

    #[test]
    fn keys_survive_storage_are_private_and_never_overwritten() {
        let dir = tempfile::TempDir::new().unwrap();
        let (one, two) = (dir.path().join("one.pem"), dir.path().join("two.pem"));
        let files = KeyFiles { ed25519: &one, ml_dsa_44: Some(&two) };
        let made = WitnessKeys::generate("w.example", files).unwrap();
        let read = WitnessKeys::load("w.example", files).unwrap();
        assert_eq!(made.public(), read.public());
        assert_eq!(made.public().len(), 2);
        let second = WitnessKeys::load("w.example", files);
        assert!(matches!(second, Err(WitnessKeyError::Locked { .. })));
        drop(read);
        for path in [&one, &two] {
            let mode = std::fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let again = WitnessKeys::generate("w.example", files);
        assert!(matches!(again, Err(WitnessKeyError::File { .. })));
        let swapped = KeyFiles { ed25519: &two, ml_dsa_44: Some(&one) };
        let refused = WitnessKeys::load("w.example", swapped);
        assert!(matches!(refused, Err(WitnessKeyError::NotAKey { kind: "Ed25519", .. })));
        let twice = KeyFiles { ed25519: &one, ml_dsa_44: Some(&one) };
        let refused = WitnessKeys::load("w.example", twice);
        assert!(matches!(refused, Err(WitnessKeyError::NotAKey { kind: "ML-DSA-44", .. })));
    }

    #[test]
    fn both_lines_verify_and_extension_lines_get_the_one_that_covers_them() {
        let dir = tempfile::TempDir::new().unwrap();
        let (one, two) = (dir.path().join("one.pem"), dir.path().join("two.pem"));
        let files = KeyFiles { ed25519: &one, ml_dsa_44: Some(&two) };
        let keys = WitnessKeys::generate("w.example", files).unwrap();
        let long = "x".repeat(256);
        for (checkpoint, lines) in [
            (checkpoint("log.example", &[]), 2),
            (checkpoint("log.example", &["extension"]), 1),
            (checkpoint(&long, &[]), 1),
            (checkpoint(&long[1..], &[]), 2),
        ] {
            let text = checkpoint.format();
            let signatures = keys.cosign(&text, &checkpoint, 7);
            let verified = note::open(&note::Note { text, signatures }, keys.public()).unwrap();
            assert_eq!(verified.len(), lines);
            assert!(verified.iter().all(|signature| signature.time == Some(7)));
        }
    }

    #[test]
    fn openssl_reads_our_key_and_we_read_its() {
        let dir = tempfile::TempDir::new().unwrap();
        let (ours, theirs) = (dir.path().join("ours.pem"), dir.path().join("theirs.pem"));
        let files = |path| KeyFiles { ed25519: path, ml_dsa_44: None };
        let made = WitnessKeys::generate("w.example", files(&ours)).unwrap();
        let openssl = |arguments: &[&str]| {
            let output =
                Command::new("openssl").args(arguments).current_dir(&dir).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let public = |file| openssl(&["pkey", "-in", file, "-pubout", "-outform", "DER"]);
        assert!(public("ours.pem").ends_with(made.public()[0].public_key()));
        openssl(&["genpkey", "-algorithm", "ed25519", "-out", "theirs.pem"]);
        let read = WitnessKeys::load("w.example", files(&theirs)).unwrap();
        assert!(public("theirs.pem").ends_with(read.public()[0].public_key()));
    }
}
