//! Asks every witness once what it remembers of this log, before a restored one is started.
//!
//! Out of scope: what the notes say ([`crate::restored`]); asking for cosignatures (`asker.rs`).

use std::sync::Arc;
use std::time::Duration;

use treering_proto::policy::Policy;

use super::wire::Wire;
use super::{Target, targets};
use crate::restored::Heard;

/// How often a witness is asked that does not answer: a restart of it is waited for.
const TRIES_MAX: u32 = 3;

/// The wait between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks all witnesses of `policy` for the checkpoint of `origin` that they remember, at the same
/// time; one request takes at most `timeout`.
///
/// # Errors
/// If TLS cannot be set up.
pub async fn ask_all(
    policy: &Policy,
    origin: &str,
    timeout: Duration,
) -> Result<Heard, reqwest::Error> {
    let wire = Wire::new(timeout)?;
    let asked: Vec<_> = targets(policy)
        .into_iter()
        .map(|target| {
            let (wire, origin) = (wire.clone(), origin.to_owned());
            tokio::spawn(async move {
                let answer = ask(&wire, &target, &origin).await;
                (target.name.clone(), answer)
            })
        })
        .collect();
    let mut heard = Heard::default();
    for task in asked {
        match task.await.expect("asking does not panic") {
            (name, Ok(Some(note))) => heard.notes.push((name, note)),
            (_, Ok(None)) => {}
            (name, Err(why)) => heard.silent.push(format!("{name} ({why})")),
        }
    }
    Ok(heard)
}

async fn ask(wire: &Wire, target: &Arc<Target>, origin: &str) -> Result<Option<Vec<u8>>, String> {
    let mut answer = wire.remembered(&target.url, origin).await;
    for _ in 1..TRIES_MAX {
        if answer.is_ok() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        answer = wire.remembered(&target.url, origin).await;
    }
    answer
}
