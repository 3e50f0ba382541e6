//! `treering export`

use std::path::PathBuf;

use clap::Args;
use treering_client::consistency::follow;
use treering_client::log::LogReader;
use treering_client::online;
use treering_client::online::rekor_v1::{RekorV1Fault, check_answer};
use treering_client::report::{Exit, Outcome};
use treering_client::verify::{Model, Opened, Policy, ProvenEntry, Verification, verify};
use treering_proto::api::v1::LogEntries;
use treering_proto::bundle::BUNDLE_LEN_MAX;
use treering_proto::encoding::from_base64;
use treering_proto::proof_file::ProofFile;
use treering_proto::trust::TrustFile;

use super::arguments::{
    NetworkArguments, StateArguments, TrustArguments, now, read_bounded, write_output,
};
use super::failure::{Failure, require_fresh};
use super::output::Output;
use super::verify::{keep_evidence, not_followed};

/// Take a log proof out of a bundle, in a form for other tools
///
/// The proof is verified first; who signed is not asked.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering export model.sig --tlog-proof --trust trust.json > model.tlog-proof
  treering export model.sig --rekor-v1 --trust trust.json --out entry.json   (asks the log)")]
#[command(group = clap::ArgGroup::new("form").required(true).args(["tlog_proof", "rekor_v1"]))]
pub struct Arguments {
    /// Bundle with a log entry
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    #[command(flatten)]
    trust: TrustArguments,
    /// A C2SP tlog-proof file
    #[arg(long, env = "TREERING_TLOG_PROOF")]
    tlog_proof: bool,
    /// The Rekor v1 answer about the entry, with its signed entry timestamp
    #[arg(long, env = "TREERING_REKOR_V1")]
    rekor_v1: bool,
    /// Where to write it [default: stdout]
    #[arg(long, value_name = "FILE", env = "TREERING_OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    state: StateArguments,
}

/// Runs the command.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let trust = arguments.trust.load()?;
    let bytes = read_bounded(&arguments.bundle, BUNDLE_LEN_MAX, "the bundle")?;
    let what = "nothing was exported";
    let opened = Opened::open(&bytes).map_err(|error| Failure::usage(what, error))?;
    let policy = Policy { trust: &trust, signers: &trust.signers, now: now() };
    let mut verification = verify(&opened, &policy, Model::NotRead);
    let state = arguments.state.directory();
    online::offline(&trust, state.as_ref().ok(), &mut verification);
    for evidence in &verification.evidence {
        keep_evidence(state.as_ref().ok(), &trust, evidence, output);
    }
    let entry = provable(&verification)?;
    let logged = &opened.bundle().log_entries[0];
    let exported = if arguments.tlog_proof {
        let file = ProofFile {
            extra: None,
            index: entry.index,
            hashes: logged.inclusion_proof.hashes.clone(),
            checkpoint: logged.inclusion_proof.checkpoint.clone(),
        };
        file.format().into_bytes()
    } else {
        let transport = arguments.network.connect(&trust)?;
        let log = LogReader::new(&transport, &trust);
        let state = state?;
        let followed = follow(&log, &trust, &state, Some(&entry.checkpoint))
            .await
            .map_err(|error| not_followed(error, &state, &trust, output))?;
        require_fresh(&trust, &followed.head, policy.now)?;
        let Some(answer) = log.rekor_v1_entry(&entry.leaf.to_hex()).await? else {
            let why = "the log says that it does not have the entry, though it proved it";
            return Err(Failure::new(Exit::Alarm, what, why));
        };
        check_rekor_v1(&trust, &answer, entry, &logged.canonicalized_body)?;
        answer
    };
    match &arguments.out {
        Some(path) => write_output(path, &exported)?,
        None => output.raw(&exported)?,
    }
    Ok(Exit::Ok)
}

/// Refuses an answer that is about another entry, or whose own proof does not hold.
fn check_rekor_v1(
    trust: &TrustFile,
    answer: &[u8],
    entry: &ProvenEntry,
    body: &[u8],
) -> Result<(), Failure> {
    let what = "nothing was exported";
    let entries: LogEntries = serde_json::from_slice(answer).unwrap_or_default();
    let mut answers = entries.values();
    let answered = match (answers.next(), answers.next()) {
        (Some(one), None) if from_base64(&one.body).is_some_and(|found| found == body) => one,
        _ => return Err(Failure::new(Exit::Alarm, what, "the log answered about another entry")),
    };
    check_answer(trust, answered, entry.index, body).map_err(|fault| match fault {
        RekorV1Fault::NoIdentity => Failure::new(Exit::Unavailable, what, fault)
            .advise("get the trust file again from the log's operator"),
        RekorV1Fault::False(_) => Failure::new(Exit::Alarm, what, fault)
            .advise("ask the log's operator, and others whether they are shown the same"),
    })
}

/// The proven entry, if all that is about the log holds. Who signed which files when is not asked,
/// nor how old the proof is.
fn provable(verification: &Verification) -> Result<&ProvenEntry, Failure> {
    let what = "nothing was exported";
    let report = &verification.report;
    let failed = report.checks().iter().filter(|check| {
        let unasked = ["signer", "certificate", "bytes", "timestamp", "freshness"];
        let is_asked = !unasked.contains(&check.check);
        check.outcome == Outcome::Failed && is_asked
    });
    let why: Vec<String> = failed.map(|c| format!("{}: {}", c.check, c.why)).collect();
    match &verification.entry {
        Some(entry) if why.is_empty() => Ok(entry),
        _ if report.exit() == Exit::Alarm => Err(Failure::new(Exit::Alarm, what, why.join("; "))
            .advise("stop trusting this log; show the evidence to its operator and to others")),
        Some(_) => Err(Failure::new(Exit::NotVerified, what, why.join("; "))),
        None => Err(Failure::new(Exit::NotVerified, what, why.join("; "))
            .advise("log the bundle first: treering submit")),
    }
}
