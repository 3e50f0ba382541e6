//! `hammer write`.

use std::sync::Arc;

use anyhow::{bail, ensure};
use bytes::Bytes;
use clap::{Args, ValueEnum, value_parser};
use serde_json::json;
use tokio::runtime::Runtime;
use treering_tests::hammer::check::check_kept;
use treering_tests::hammer::face::Face;
use treering_tests::hammer::figures::grouped;
use treering_tests::hammer::integration::{Follower, INTEGRATION_TIME_MAX};
use treering_tests::hammer::kind::Kind;
use treering_tests::hammer::maker::{Maker, Recipe, make_all};
use treering_tests::hammer::requests::Requests;
use treering_tests::hammer::target::Target;

use crate::load_options::LoadOptions;
use crate::report::{Report, Unit};

/// Requests that are made ready for each second of a closed loop: more than any server on a small
/// machine takes. If they are used up, what is measured ends there.
const READY_PER_SECOND: usize = 20_000;

/// Bytes of requests that are made ready.
const READY_BYTES_MAX: usize = 1 << 30;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) load: LoadOptions,
    /// How entries are submitted.
    #[arg(long, value_enum, default_value_t = FaceName::V2)]
    face: FaceName,
    /// What is submitted.
    #[arg(long, value_enum, default_value_t = KindName::P256)]
    kind: KindName,
    /// Files of the model that an envelope is about, with --kind dsse. [default: 100]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=20_000))]
    files: Option<u32>,
    /// Requests that are signed with one key. [default: 1; 5000 for RSA]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    requests_per_key: Option<u64>,
    /// Where the log is read, with --face add. [default: --url]
    #[arg(long, value_name = "URL")]
    read_url: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FaceName {
    /// Rekor v2.
    V2,
    /// Rekor v1.
    V1,
    /// POST /add of the leaf, as test servers of tile logs take it; the answer is its index.
    Add,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KindName {
    /// hashedrekord, ECDSA P-256.
    P256,
    /// hashedrekord, RSA 2048.
    Rsa2048,
    /// hashedrekord, Ed25519ph.
    Ed25519ph,
    /// An envelope around a model statement, ECDSA P-256.
    Dsse,
}

impl FaceName {
    pub(crate) fn face(self) -> Face {
        match self {
            Self::V2 => Face::RekorV2,
            Self::V1 => Face::RekorV1,
            Self::Add => Face::Add,
        }
    }
}

impl Options {
    fn kind(&self) -> anyhow::Result<Kind> {
        let files = match (self.kind, self.files) {
            (KindName::Dsse, files) => files.unwrap_or(100) as usize,
            (_, None) => 0,
            (_, Some(_)) => bail!("--files is for --kind dsse: other entries have no files"),
        };
        Ok(match self.kind {
            KindName::P256 => Kind::P256,
            KindName::Rsa2048 => Kind::Rsa2048,
            KindName::Ed25519ph => Kind::Ed25519ph,
            KindName::Dsse => Kind::Dsse { files },
        })
    }

    /// Where the log is read.
    fn read_target(&self, write: &Target) -> anyhow::Result<Target> {
        match &self.read_url {
            None => Ok(write.clone()),
            Some(_) if self.face != FaceName::Add => {
                bail!("--read-url is for --face add: other answers bring their proofs along")
            }
            // The token is meant for the other server.
            Some(url) => Target::parse(url),
        }
    }

    /// How many requests are made ready, when each has about `len` bytes.
    fn ready_count(&self, len: usize) -> anyhow::Result<usize> {
        let fit = READY_BYTES_MAX / len.max(1);
        let Some(count) = self.load.known_count() else {
            let seconds = self.load.whole_time().as_secs() as usize;
            return Ok(seconds.saturating_mul(READY_PER_SECOND).min(fit));
        };
        let (asked, room) = (grouped(count as u64), READY_BYTES_MAX >> 20);
        ensure!(
            count <= fit,
            "{asked} requests of {} bytes each do not fit in {room} MiB: ask for fewer, or less time",
            grouped(len as u64)
        );
        Ok(count)
    }
}

/// Submits, measures and verifies.
pub(crate) fn run(runtime: &Runtime, options: &Options) -> anyhow::Result<Report> {
    let (kind, face) = (options.kind()?, options.face.face());
    let (target, key) = (options.load.target()?, options.load.key()?);
    let read_target = options.read_target(&target)?;
    let per_key = options.requests_per_key.unwrap_or(kind.requests_per_key());
    let recipe = Recipe { kind, face, per_key };
    let requests = make_ready(options, recipe)?;
    let load = options.load.load(target, Requests::submit(face, requests.clone()));
    let (measured, verdict, integration) = runtime.block_on(async {
        if face != Face::Add {
            let measured = load.run().await?;
            let verdict = check_kept(face, &key, &requests, &measured.kept);
            return anyhow::Ok((measured, verdict, None));
        }
        let follower = Follower::start(read_target, key.clone()).await?;
        let measured = load.run().await?;
        let integrated = follower.finish(&measured, &requests, INTEGRATION_TIME_MAX).await?;
        Ok((measured, integrated.verdict, integrated.times))
    })?;
    Ok(Report {
        what: format!("write: {face}, {kind}"),
        unit: Unit::Entries,
        facts: json!({
            "what": "write",
            "face": face.to_string(),
            "kind": kind.to_string(),
            "requestsPerKey": per_key,
            "requestsReady": requests.len(),
        }),
        connections: options.load.connections,
        rate: options.load.rate,
        is_signed: key.is_known(),
        measured,
        verdict,
        integration,
    })
}

fn make_ready(options: &Options, recipe: Recipe) -> anyhow::Result<Arc<Vec<Bytes>>> {
    let count = options.ready_count(Maker::new(recipe).make().len())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    eprintln!("signing {} requests on {cores} cores", grouped(count as u64));
    Ok(Arc::new(make_all(recipe, count, cores)))
}
