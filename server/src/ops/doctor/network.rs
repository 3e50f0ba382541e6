//! How others reach the log, and how it reaches its witnesses.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use treering_proto::identity::LogIdentity;

use super::{Check, Doctor, Question};
use crate::clock;
use crate::data_directory::PublicFiles;
use crate::tls::{Tls, TlsFiles};
use crate::witness;

/// Time for one witness to answer anything at all.
const WITNESS_TIME_MAX: Duration = Duration::from_secs(5);

/// Certificates are renewed in days, and somebody has to notice.
const EXPIRY_SECONDS_MIN: u64 = 14 * 24 * 60 * 60;

pub(super) async fn examine(
    doctor: &Doctor,
    public: Option<&PublicFiles>,
    checks: &mut Vec<Check>,
) {
    checks.push(listen("listen", doctor.listen));
    checks.push(encryption("encryption", doctor.listen, doctor.tls.is_some()));
    if let Some(address) = doctor.read_listen {
        checks.push(listen("read-listen", address));
        checks.push(encryption("read-encryption", address, doctor.tls.is_some()));
    }
    if let Some(files) = &doctor.tls {
        let now = clock::read().wall_ms / 1000;
        checks.push(certificate(files, now));
    }
    witnesses(doctor.witness_policy.as_deref(), public, checks).await;
}

fn listen(name: &'static str, address: SocketAddr) -> Check {
    let question = Question { name, why: "the server starts only if the address is free" };
    match TcpListener::bind(address) {
        Ok(_) => question.ok(format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => question.warn(
            format!("{address} is in use"),
            "by the server itself, if it runs; else choose another with --listen or --read-listen",
        ),
        Err(error) => {
            let remedy = "choose another address with --listen or --read-listen";
            question.fail(format!("{address}: {error}"), remedy)
        }
    }
}

pub(super) fn encryption(name: &'static str, address: SocketAddr, has_tls: bool) -> Check {
    let question = Question { name, why: "whoever sees a token on the wire can write with it" };
    match (has_tls, address.ip().is_loopback()) {
        (true, _) => question.ok(format!("TLS on {address}")),
        (false, true) => question.ok(format!("plain HTTP on {address}, for this machine only")),
        (false, false) => question.warn(
            format!("plain HTTP on {address}, beyond this machine"),
            "give a certificate and its key, or put a proxy that speaks TLS before a loopback address",
        ),
    }
}

/// That certificate and key can be used, and for how long.
pub(super) fn certificate(files: &TlsFiles, now: u64) -> Check {
    let question = Question {
        name: "tls-certificate",
        why: "clients go away from a certificate that is out of time or has another key",
    };
    let remedy = "get a new certificate; the server reads its files again when they change";
    let expiry = match Tls::load(files.clone()) {
        Ok(tls) => tls.not_after(),
        Err(error) => return question.fail(error.to_string(), "give files that belong together"),
    };
    let Some(end) = expiry else {
        return question.warn("it can be used, and nobody could tell for how long", remedy);
    };
    let days = end.saturating_sub(now) / (24 * 60 * 60);
    match end.checked_sub(now) {
        None => question.fail("the certificate is out of time", remedy),
        Some(left) if left < EXPIRY_SECONDS_MIN => {
            question.warn(format!("the certificate expires in {days} days"), remedy)
        }
        Some(_) => question.ok(format!("it can be used, for {days} days")),
    }
}

async fn witnesses(policy: Option<&Path>, public: Option<&PublicFiles>, checks: &mut Vec<Check>) {
    let question = Question {
        name: "witness",
        why: "without their quorum nothing is published, and nobody else remembers what was",
    };
    let Some(policy) = policy else {
        let remedy = "name some with --witness-policy: docs/witness.md";
        checks.push(question.warn("nobody cosigns this log's checkpoints", remedy));
        return;
    };
    let identity = public.and_then(|public| LogIdentity::open(public.identity.as_bytes()).ok());
    let Some(identity) = identity else {
        checks.push(question.warn("the policy was not read", "see the data directory first"));
        return;
    };
    let policy = match witness::Config::load_policy(policy, identity.note_key()) {
        Ok(policy) => policy,
        Err(error) => {
            checks.push(question.fail(error.to_string(), "correct the policy"));
            return;
        }
    };
    let none = reqwest::redirect::Policy::none();
    let client = reqwest::Client::builder().timeout(WITNESS_TIME_MAX).redirect(none).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            checks.push(question.fail(format!("no TLS: {error}"), "install ca-certificates"));
            return;
        }
    };
    for target in witness::targets(&policy) {
        let name = &target.name;
        // Any answer shows that somebody is there; what they say is the server's business.
        let check = match client.get(&target.url).send().await {
            Ok(_) => question.ok(format!("{name} answers at {}", target.url)),
            Err(error) => {
                let error = error.without_url();
                let what = format!("{name} does not answer at {}: {error}", target.url);
                question.fail(what, "look at the network, the firewall, and the witness")
            }
        };
        checks.push(check);
    }
}
