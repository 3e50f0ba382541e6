//! Load: many signers at once, each with a connection of its own, until they have enough or the
//! server is gone.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::checker::event::{Answer, Told, Who};
use crate::checker::wire::ask;
use crate::history::Attempt;
use crate::http::Connection;
use crate::model::statement;
use crate::submission::{Face, Signer, Submission};

/// How much is submitted.
#[derive(Clone, Copy)]
pub struct Load {
    /// Signers at once.
    pub signers: u64,
    /// Submissions of each, at most.
    pub each: u64,
}

/// What can be seen of a load while it runs.
pub struct Watch {
    acknowledged: Sender<()>,
    in_flight: AtomicU64,
    /// The number of the server process that is asked.
    pub process: u32,
}

impl Watch {
    /// A watch, and a receiver that hears of each success.
    pub fn new() -> (Self, Receiver<()>) {
        let (acknowledged, heard) = channel();
        (Self { acknowledged, in_flight: AtomicU64::new(0), process: 0 }, heard)
    }

    /// Requests that are sent and not answered.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    /// Every submission, in the order in which each signer made them.
    pub attempts: Vec<Attempt>,
    /// The same for the checker: who, when, and whole answers.
    pub told: Vec<Told>,
    /// Every checkpoint in an answer, each once in a row.
    pub notes: Vec<String>,
    /// Submissions that were sent and never answered.
    pub unanswered: u64,
    /// Answers that were neither 201 nor 409.
    pub refused: u64,
}

impl Load {
    /// Runs it to its end.
    ///
    /// # Panics
    /// If a signer panics.
    pub fn run(self, address: SocketAddr, watch: &Watch) -> Outcome {
        let mut total = Outcome::default();
        let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let run = || scope.spawn(move || self.run_signer(address, watch));
            let threads: Vec<_> = (0..self.signers).map(|_| run()).collect();
            threads.into_iter().map(|thread| thread.join().expect("a signer ends")).collect()
        });
        for outcome in outcomes {
            total.attempts.extend(outcome.attempts);
            total.told.extend(outcome.told);
            total.notes.extend(outcome.notes);
            total.unanswered += outcome.unanswered;
            total.refused += outcome.refused;
        }
        total
    }

    fn run_signer(self, address: SocketAddr, watch: &Watch) -> Outcome {
        let mut outcome = Outcome::default();
        let signer = Signer::new();
        // The server may be gone before this signer starts.
        let Ok(mut connection) = Connection::open(address) else { return outcome };
        let who = Who { client: new_client(), process: watch.process };
        for _ in 0..self.each {
            let submission = any_submission(&signer);
            watch.in_flight.fetch_add(1, Ordering::SeqCst);
            let told = ask(&mut connection, &submission, who);
            watch.in_flight.fetch_sub(1, Ordering::SeqCst);
            match &told.answer {
                Answer::Logged(bundle) => {
                    if outcome.notes.last() != Some(&bundle.note) {
                        outcome.notes.push(bundle.note.clone());
                    }
                    let _ = watch.acknowledged.send(());
                }
                Answer::Duplicate { index } => panic!("a new entry was at {index} before"),
                Answer::Refused { .. } => outcome.refused += 1,
                Answer::Unknown => outcome.unanswered += 1,
            }
            let index = told.index();
            outcome.told.push(told);
            outcome.attempts.push(Attempt { submission, index });
            if index.is_none() {
                break;
            }
        }
        outcome
    }
}

/// The number of a client that nobody has yet; 0 is whoever checks.
pub fn new_client() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// A submission like no other: kinds and faces take turns.
pub fn any_submission(signer: &Signer) -> Submission {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let artifact = format!("artifact {number}");
    match number % 8 {
        0 => Submission::dsse(Face::V1, signer, &statement("tested", number)),
        1 => Submission::dsse(Face::V2, signer, &statement("tested", number)),
        even if even % 2 == 0 => Submission::hashedrekord(Face::V1, signer, artifact.as_bytes()),
        _ => Submission::hashedrekord(Face::V2, signer, artifact.as_bytes()),
    }
}
