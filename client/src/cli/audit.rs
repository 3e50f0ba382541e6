//! `treering audit`

use std::sync::Arc;

use clap::Args;
use serde_json::json;
use treering_client::audit_log::{AuditOptions, SEARCH_TERMS, audit};
use treering_client::monitor::TILES_AT_ONCE;
use treering_client::monitor::read::Source;
use treering_client::monitor::rules::Rules;
use treering_client::report::Exit;

use super::arguments::{NetworkArguments, TrustArguments};
use super::failure::Failure;
use super::output::Output;

/// Rebuild a log from what it serves, and hold everything else that it serves against that
///
/// Entries, tiles, every checkpoint that the log kept, both faces, signatures, statements, signed
/// timestamps and search answers. Nothing is remembered: `treering monitor` does that.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering audit --trust trust.json
  treering audit --trust trust.json --search-terms 100000 --output json
  treering audit --trust trust.json --no-signatures --search-terms 0

Exit codes:
  0  everything agrees
  1  the quorum of witnesses is missing
  5  something could not be read
  6  the log does what no honest log does")]
pub struct Arguments {
    #[command(flatten)]
    trust: TrustArguments,
    /// Search terms to ask for, with all their pages; of more than there are, a sample
    #[arg(long, value_name = "COUNT", env = "TREERING_SEARCH_TERMS",
          default_value_t = SEARCH_TERMS as u32)]
    search_terms: u32,
    /// Makes the sample of search terms; a random one is taken, and printed
    #[arg(long, value_name = "NUMBER", env = "TREERING_SEED")]
    seed: Option<u64>,
    /// Do not verify submitters' signatures again
    #[arg(long, env = "TREERING_NO_SIGNATURES")]
    no_signatures: bool,
    /// The log may have envelopes whose payload is no in-toto statement
    #[arg(long, env = "TREERING_OTHER_PAYLOADS")]
    other_payloads: bool,
    /// Tiles read at once
    #[arg(long, value_name = "COUNT", env = "TREERING_PARALLEL",
          default_value_t = TILES_AT_ONCE as u8,
          value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
    /// The deadline is for each answer of the log
    #[command(flatten)]
    network: NetworkArguments,
}

/// Runs the command.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let trust = arguments.trust.load()?;
    let origin = trust.log.origin.clone();
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => random_seed()?,
    };
    let source = Source {
        transport: arguments.network.connect(&trust)?,
        trust,
        answer_time: arguments.network.deadline,
        signatures: !arguments.no_signatures,
        other_payloads: arguments.other_payloads,
        rules: Arc::new(Rules::default()),
    };
    let options = AuditOptions {
        tiles: usize::from(arguments.parallel),
        search_terms: arguments.search_terms as usize,
        seed,
    };
    let started = std::time::Instant::now();
    let mut told = 0;
    let audited = audit(&Arc::new(source), options, |entries| {
        if entries - told >= PROGRESS_ENTRIES {
            told = entries;
            output.remark(&format!("{entries} entries"));
        }
    })
    .await;
    let seconds = started.elapsed().as_secs_f64();
    let kinds: Vec<_> = audited
        .kinds
        .iter()
        .map(|((kind, version), count)| json!({"kind": kind, "version": version, "count": count}))
        .collect();
    let root = audited.root.map(|root| root.to_hex());
    let about = json!({
        "schema": "treering.audit/v1",
        "log": origin,
        "entries": audited.entries,
        "rootHash": root,
        "kinds": kinds,
        "signaturesVerified": audited.tally.verified,
        "seed": seed,
        "seconds": seconds,
    });
    let word = if audited.report.exit() == Exit::Ok { "AUDITED" } else { "NOT AUDITED" };
    let root = root.map_or(String::new(), |root| format!(", root {root}"));
    let summary = format!("{word}: {origin}, {} entries{root}, seed {seed}", audited.entries);
    output.report(&audited.report, &[summary], about)?;
    Ok(audited.report.exit())
}

fn random_seed() -> Result<u64, Failure> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(Exit::Unavailable, "there are no random numbers", error))?;
    // Short enough to be typed, and for JSON.
    Ok(u64::from(u32::from_be_bytes(bytes)))
}

const PROGRESS_ENTRIES: u64 = 100_000;
