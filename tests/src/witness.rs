//! A witness in this process, with real keys: honest, or wrong in one way that a test chooses.
//!
//! It speaks C2SP tlog-witness over a loopback socket, keeps everything that it was asked, and can
//! be told to hold its answers back until the test lets them go.
//!
//! Out of scope: surviving a crash; the client's `treering witness` does that.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::SigningKey;
use treering_proto::checkpoint::Checkpoint;
use treering_proto::hash::sha256;
use treering_proto::note::{Note, NoteKey, sign_cosignature_line, sign_ed25519_line};
use treering_proto::proof::check_consistency;
use treering_proto::tree::{TreeHead, TreeSize};
use treering_proto::witness::AddCheckpoint;

/// What the witness does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// What the specification says.
    Honest,
    /// Answers 503.
    Down,
    /// Answers 403, as a proxy in front of it may.
    Refusing,
    /// Answers 200 with a page that is no note.
    Page,
    /// Shows a note of another log as what it remembers.
    Stranger,
    /// Keeps requests waiting until the manner changes.
    Silent,
    /// Signs with a key that nobody knows.
    Forged,
    /// Cosigns another text than the one it was asked for.
    OtherText,
    /// Claims, without any proof, to have cosigned this size.
    Claims(u64),
    /// Signs whatever it is asked, whatever it signed before.
    Careless,
    /// Honest, but does not show what it remembers.
    Discreet,
}

/// A witness that listens.
pub struct TestWitness {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    key: SigningKey,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    manner: Manner,
    /// Tree and note cosigned last, by origin.
    latest: HashMap<String, (TreeHead, String)>,
    /// Every size that it was asked to cosign, in order.
    asked: Vec<u64>,
    /// Every tree that it cosigned, in order.
    cosigned: Vec<TreeHead>,
    /// Added to the clock, in seconds.
    skew: i64,
    /// Requests that wait for another manner.
    held: usize,
}

impl TestWitness {
    /// Starts an honest witness with the key that `seed` makes.
    ///
    /// # Panics
    /// If it cannot listen.
    pub fn start(name: &str, seed: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let key = SigningKey::from_bytes(&[seed; 32]);
        let state = State {
            manner: Manner::Honest,
            latest: HashMap::new(),
            asked: Vec::new(),
            cosigned: Vec::new(),
            skew: 0,
            held: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let witness = Self { name: name.to_owned(), address, key, shared };
        let (name, key, shared) =
            (witness.name.clone(), witness.key.clone(), witness.shared.clone());
        // Ends with the process: a listener has no event that would end it sooner.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (name, key, shared) = (name.clone(), key.clone(), shared.clone());
                std::thread::spawn(move || serve(stream, &name, &key, &shared));
            }
        });
        witness
    }

    /// Its key, as policies have it.
    ///
    /// # Panics
    /// If the name is none that a key can have.
    pub fn note_key(&self) -> NoteKey {
        let public = self.key.verifying_key();
        NoteKey::cosignature(&self.name, public.as_bytes()).expect("a good name")
    }

    /// Its line of a policy.
    pub fn policy_line(&self) -> String {
        format!("witness {} {} http://{}\n", self.name, self.note_key().to_vkey(), self.address)
    }

    /// Changes what it does from now on; requests that it kept waiting go on.
    pub fn set_manner(&self, manner: Manner) {
        self.lock().manner = manner;
        self.shared.changed.notify_all();
    }

    /// Sets its clock off by this many seconds.
    pub fn set_skew(&self, seconds: i64) {
        self.lock().skew = seconds;
    }

    /// Every size that it was asked to cosign, in order.
    pub fn asked(&self) -> Vec<u64> {
        self.lock().asked.clone()
    }

    /// Every tree that it cosigned, in order.
    pub fn cosigned(&self) -> Vec<TreeHead> {
        self.lock().cosigned.clone()
    }

    /// Waits until `is_so` of all sizes that it was asked about.
    pub fn wait_until_asked(&self, is_so: impl Fn(&[u64]) -> bool) {
        let mut state = self.lock();
        while !is_so(&state.asked) {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until a request waits for another manner.
    pub fn wait_until_held(&self) {
        let mut state = self.lock();
        while state.held == 0 {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until it cosigned a tree of at least `size`.
    pub fn wait_until_cosigned(&self, size: u64) {
        let mut state = self.lock();
        while !state.cosigned.iter().any(|head| head.size.get() >= size) {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A policy over `witnesses` that needs `quorum` of them.
pub fn policy(witnesses: &[&TestWitness], quorum: usize) -> String {
    let mut text: String = witnesses.iter().map(|witness| witness.policy_line()).collect();
    let names: Vec<&str> = witnesses.iter().map(|witness| witness.name.as_str()).collect();
    text.push_str(&format!("group all-of-them {quorum} {}\n", names.join(" ")));
    text.push_str("quorum all-of-them\n");
    text
}

fn serve(stream: TcpStream, name: &str, key: &SigningKey, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some((line, body)) = read_request(&mut reader) {
        let (status, headers, answer) = answer(&line, &body, name, key, shared);
        let head =
            format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", answer.len());
        if reader.get_mut().write_all(format!("{head}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(
    line: &str,
    body: &[u8],
    name: &str,
    key: &SigningKey,
    shared: &Shared,
) -> (u16, &'static str, String) {
    let mut state = shared.lock();
    state.held += 1;
    shared.changed.notify_all();
    while state.manner == Manner::Silent {
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.held -= 1;
    let answer = match (state.manner, line.split_once("/add-checkpoint")) {
        (Manner::Down, _) => (503, "", String::new()),
        (Manner::Refusing, _) => (403, "", String::new()),
        (Manner::Page, _) => (200, "", "<html>Log in</html>\n".to_owned()),
        (_, Some(_)) => add_checkpoint(&mut state, body, name, key),
        (Manner::Discreet, None) => (404, "", String::new()),
        (Manner::Stranger, None) => (200, "", note_of_another_log(key)),
        (_, None) => {
            let wanted = |origin: &String| line.contains(&sha256(origin.as_bytes()).to_hex());
            let found = state.latest.iter().find(|(origin, _)| wanted(origin));
            found.map_or((404, "", String::new()), |(_, (_, note))| (200, "", note.clone()))
        }
    };
    shared.changed.notify_all();
    answer
}

fn note_of_another_log(key: &SigningKey) -> String {
    let head = TreeHead { size: TreeSize::new(3).expect("a size"), root: sha256(b"another") };
    let origin = "another.example".to_owned();
    let text = Checkpoint { origin: origin.clone(), head, extensions: Vec::new() }.format();
    let signatures = vec![sign_ed25519_line(&origin, key, &text)];
    Note { text, signatures }.format()
}

fn add_checkpoint(
    state: &mut State,
    body: &[u8],
    name: &str,
    key: &SigningKey,
) -> (u16, &'static str, String) {
    let request = AddCheckpoint::parse(body).expect("a log asks as the specification says");
    let note = Note::parse(request.note.as_bytes()).expect("a log shows a note");
    let checkpoint = Checkpoint::parse(&note.text).expect("a log shows a checkpoint");
    let head = checkpoint.head;
    let empty = (TreeHead::EMPTY, String::new());
    let (known, _) = state.latest.get(&checkpoint.origin).unwrap_or(&empty);
    let known = match state.manner {
        Manner::Claims(size) => {
            let size = TreeSize::new(size).expect("a size");
            TreeHead { size, root: sha256(b"claimed") }
        }
        _ => *known,
    };
    state.asked.push(head.size.get());
    let is_careless = state.manner == Manner::Careless;
    if request.old_size != known.size && !is_careless {
        let size_type = "content-type: text/x.tlog.size\r\n";
        return (409, size_type, format!("{}\n", known.size));
    }
    let is_proved = match known.size.get() {
        0 => request.proof.is_empty(),
        _ if known.size == head.size => known.root == head.root,
        _ => check_consistency(known, head, &request.proof).is_ok(),
    };
    if !is_proved && !is_careless {
        return (422, "", String::new());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = now.saturating_add_signed(state.skew);
    let signed = match state.manner {
        Manner::Forged => {
            sign_cosignature_line(name, &SigningKey::from_bytes(&[99; 32]), &note.text, time)
        }
        Manner::OtherText => {
            let mut line = sign_cosignature_line(name, key, "other\n0\nx\n", time);
            line.key_id = sign_cosignature_line(name, key, &note.text, time).key_id;
            line
        }
        _ => sign_cosignature_line(name, key, &note.text, time),
    };
    let mut kept = note;
    kept.signatures.push(signed.clone());
    state.latest.insert(checkpoint.origin, (head, kept.format()));
    state.cosigned.push(head);
    (200, "", signed.format())
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).ok()? == 0 {
            return None;
        }
        if line.is_empty() {
            line = header;
            continue;
        }
        if header == "\r\n" {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((line, body))
}
