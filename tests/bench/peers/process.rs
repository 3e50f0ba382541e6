//! The process of another log: its key, its command line, and when it is ready.
//!
//! None of these programs says when it is ready. Its first checkpoint does: the log is waited for
//! until that verifies, or until the program has ended or a limit is over.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use tokio::runtime::Runtime;
use treering_proto::encoding::to_base64;
use treering_proto::note::{NoteKey, NoteKeyKind};
use treering_proto::tile::{TILE_WIDTH, Tile, TileKind, decode_entries};
use treering_proto::tree::{LeafIndex, TreeHead};
use treering_server::signer::generate_note_key;
use treering_tests::hammer::log_key::LogKey;
use treering_tests::hammer::target::Target;

use super::Peer;
use crate::child::Running;

/// The name that the logs sign under.
const ORIGIN: &str = "peer.bench";

/// How long a log may take to start, and to sign what it has answered: several times the longest
/// interval between its checkpoints.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A log of another kind that is served.
pub(super) struct PeerLog {
    peer: Peer,
    running: Running,
    target: Target,
    data: PathBuf,
    messages: PathBuf,
    key: LogKey,
    answers: u64,
    /// How many entries it must have at least.
    size: u64,
}

/// Where a log is and what it is told.
struct Places {
    programs: PathBuf,
    data: PathBuf,
    key: PathBuf,
    /// For HTTP, gRPC and metrics.
    ports: [u16; 3],
}

impl PeerLog {
    /// Starts a new log below `work`, and waits until it is ready.
    pub(super) fn start(
        runtime: &Runtime,
        peer: Peer,
        programs: &Path,
        work: &Path,
    ) -> anyhow::Result<Self> {
        let (data, messages) = (work.join("peer"), work.join("peer.messages"));
        fs::create_dir(&data)?;
        let pem = generate_note_key();
        let signer = SigningKey::from_pkcs8_pem(&pem)?;
        let key = NoteKey::ed25519(ORIGIN, &signer.verifying_key().to_bytes())?;
        let places = Places {
            programs: programs.to_owned(),
            data: data.clone(),
            key: work.join("peer.key"),
            ports: free_ports()?,
        };
        let key_text = match peer {
            Peer::RekorTiles | Peer::RekorTilesShortWaits => pem.to_string(),
            Peer::Tessera => note_signer(&key, &signer),
        };
        fs::write(&places.key, key_text)?;
        let running = Running::start_silent(&mut peer.command(&places), &messages)?;
        let target = Target::new(SocketAddr::from((Ipv4Addr::LOCALHOST, places.ports[0])));
        let key = LogKey::Note(Box::new(key));
        let mut log = Self { peer, running, target, data, messages, key, answers: 0, size: 0 };
        log.wait(runtime)?;
        Ok(log)
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    pub(super) fn running(&self) -> &Running {
        &self.running
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.target.address
    }

    pub(super) fn key(&self) -> &LogKey {
        &self.key
    }

    /// It has answered so many more submissions. It may have more entries than that: those whose
    /// answers were late or lost.
    pub(super) fn answered(&mut self, answers: usize) {
        self.answers += answers as u64;
        self.size = self.size.max(self.answers);
    }

    /// It has answered that there is an entry at `place`.
    pub(super) fn must_have(&mut self, place: LeafIndex) {
        self.size = self.size.max(place.get() + 1);
    }

    /// The entries of the entry tile at `index`, as wide as the tree at `head` has it.
    pub(super) fn entry_tile(
        &self,
        runtime: &Runtime,
        head: TreeHead,
        index: u64,
    ) -> anyhow::Result<Vec<Bytes>> {
        let width = head.size.get().saturating_sub(index * TILE_WIDTH).min(TILE_WIDTH);
        let tile = Tile { kind: TileKind::Entries, index, width };
        let bytes = self.fetch(runtime, &format!("/{}", tile.path()))?;
        let entries = decode_entries(&bytes, width)?;
        Ok(entries.into_iter().map(Bytes::copy_from_slice).collect())
    }

    fn fetch(&self, runtime: &Runtime, path: &str) -> anyhow::Result<Bytes> {
        runtime.block_on(self.target.fetch(path))
    }

    /// Waits until it has signed all entries that it said it has.
    pub(super) fn wait(&mut self, runtime: &Runtime) -> anyhow::Result<TreeHead> {
        let end = Instant::now() + WAIT_MAX;
        let mut look = {
            let _guard = runtime.enter();
            tokio::time::interval(LOOK_EVERY)
        };
        loop {
            runtime.block_on(look.tick());
            let why = match self.head(runtime) {
                Ok(head) if head.size.get() >= self.size => return Ok(head),
                Ok(head) => anyhow::anyhow!("it has signed {} of {}", head.size, self.size),
                Err(error) => error,
            };
            if self.running.has_ended()? {
                let said = fs::read_to_string(&self.messages).unwrap_or_default();
                bail!("{} has ended: {}", self.peer.name(), said.trim());
            }
            ensure!(Instant::now() < end, "{} is not ready: {why:#}", self.peer.name());
        }
    }

    /// Its newest checkpoint.
    fn head(&self, runtime: &Runtime) -> anyhow::Result<TreeHead> {
        let note = match self.peer {
            // It serves no reads: a file server is meant to do that.
            Peer::RekorTiles | Peer::RekorTilesShortWaits => {
                self.fetch(runtime, "/healthz")?;
                fs::read(self.data.join("checkpoint")).context("no checkpoint")?
            }
            Peer::Tessera => self.fetch(runtime, "/checkpoint")?.to_vec(),
        };
        self.key.open(&note)
    }

    /// Ends the server, and removes the log.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        // Nobody needs what it would do to end well.
        drop(self.running);
        Ok(fs::remove_dir_all(&self.data)?)
    }
}

impl Peer {
    fn command(self, places: &Places) -> Command {
        let Places { programs, data, key, ports: [http, grpc, metrics] } = places;
        match self {
            Self::RekorTiles | Self::RekorTilesShortWaits => {
                let mut command = Command::new(programs.join("rekor-tiles"));
                command.arg("serve").args(self.settings());
                command.args(["--hostname", ORIGIN, "--http-address", "127.0.0.1"]);
                command.args(["--grpc-address", "127.0.0.1"]);
                command.args(["--http-port", &http.to_string(), "--grpc-port", &grpc.to_string()]);
                command.args(["--http-metrics-port", &metrics.to_string()]);
                command.arg("--storage-dir").arg(data).arg("--signer-filepath").arg(key);
                command
            }
            Self::Tessera => {
                let mut command = Command::new(programs.join("tessera-posix"));
                command.args(self.settings()).args(["--listen", &format!("127.0.0.1:{http}")]);
                command.arg("--storage_dir").arg(data).arg("--private_key").arg(key);
                command
            }
        }
    }
}

/// The private key as Go's notes have it: `PRIVATE+KEY+name+id+base64`, without a line feed.
fn note_signer(key: &NoteKey, signer: &SigningKey) -> String {
    let typed = [&[NoteKeyKind::Ed25519 as u8][..], signer.as_bytes()].concat();
    let id: String = key.key_id().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("PRIVATE+KEY+{}+{id}+{}", key.name(), to_base64(&typed))
}

/// Ports that nobody listens on: these programs cannot choose their own. Somebody else may take
/// one before the log does; then it ends and says so.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All open at once, so that all differ.
    let listeners = [listen()?, listen()?, listen()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key pair that Tessera publishes for its test server.
    #[test]
    fn a_private_key_is_spelled_as_go_does() {
        let signer = "AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg";
        let typed = treering_proto::encoding::from_base64(signer).unwrap();
        let signer = SigningKey::from_bytes(&typed[1..].try_into().unwrap());
        let public = signer.verifying_key().to_bytes();
        let key = NoteKey::ed25519("example.com/log/testdata", &public).unwrap();
        assert_eq!(
            key.to_vkey(),
            "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
        );
        assert_eq!(
            note_signer(&key, &signer),
            "PRIVATE+KEY+example.com/log/testdata+33d7b496+\
             AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg"
        );
    }

    #[test]
    fn ports_differ() {
        let [http, grpc, metrics] = free_ports().unwrap();
        assert!(http != grpc && grpc != metrics && http != metrics);
    }
}
