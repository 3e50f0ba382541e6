//! `treering evidence`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use treering_client::report::Exit;
use treering_proto::evidence::{EVIDENCE_LEN_MAX, EvidenceFile, TrustedKeys};
use treering_proto::note::NoteKey;

use super::arguments::{TrustArguments, read_bounded};
use super::failure::Failure;
use super::output::Output;

const VARIABLE: &str = "TREERING_TRUST";

const SCHEMA: &str = "treering.evidence/v1";

/// Check evidence against a log or a witness
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(Verify),
}

/// Check whether an evidence file proves what it says, without asking anybody
///
/// Ends with 0 if it convicts the log or a witness, with 1 if it does not. Without a trust file
/// signatures count by the keys in the file: compare those with the keys that the log publishes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering evidence verify fork.evidence
  treering evidence verify fork.evidence --trust trust.json --output json
  treering evidence verify fork.evidence --no-trust      (whatever TREERING_TRUST says)")]
struct Verify {
    /// Evidence file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Count only keys of this trust file
    #[arg(long, value_name = "FILE", env = VARIABLE)]
    trust: Option<PathBuf>,
    /// Count the keys of the evidence file, although there is a trust file
    #[arg(long, env = "TREERING_NO_TRUST")]
    no_trust: bool,
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let Command::Verify(arguments) = arguments.command;
    let path = arguments.trust.filter(|_| !arguments.no_trust);
    let by_environment = path.is_some() && path == std::env::var_os(VARIABLE).map(PathBuf::from);
    let trust = path.map(|trust| TrustArguments { trust }.load()).transpose()?;
    let trusted = trust.as_ref().map(TrustedKeys::of);
    let bytes = read_bounded(&arguments.file, EVIDENCE_LEN_MAX, "the evidence")?;
    let file = match EvidenceFile::parse(&bytes) {
        Ok(file) => file,
        Err(error) => {
            let why = error.to_string();
            let lines = vec![row("verdict", "malformed"), row("why", &why)];
            let json = json!({"schema": SCHEMA, "verdict": "malformed", "why": why});
            output.data(&lines, &json)?;
            return Ok(Exit::Usage);
        }
    };
    let judged = file.judge(trusted.as_ref());
    let source = if trusted.is_some() { "trust file" } else { "evidence file" };
    let mut lines = vec![
        row("verdict", judged.verdict.name()),
        row("kind", file.kind.name()),
        row("origin", &file.origin),
        row("why", &judged.why),
        row("keys by", source),
        row("seen", &format!("{} (anybody's word)", file.seen)),
    ];
    for key in &judged.accused {
        // The whole key, which may have 1,800 characters, is in the file and in the JSON form.
        lines.push(row("convicted", &format!("{}+{}", key.name(), hex::encode(key.key_id()))));
    }
    if judged.verdict.is_proven() && trusted.is_none() {
        output.remark(
            "the keys are those of the file: compare them with those that the log publishes, or \
             say --trust",
        );
    }
    if !judged.verdict.is_proven() && by_environment {
        output.remark(&format!(
            "only keys of the trust file that {VARIABLE} names count; --no-trust counts those of \
             the evidence file"
        ));
    }
    let accused: Vec<String> = judged.accused.iter().map(NoteKey::to_vkey).collect();
    let json = json!({
        "schema": SCHEMA,
        "verdict": judged.verdict.name(),
        "kind": file.kind.name(),
        "origin": file.origin,
        "why": judged.why,
        "convicted": accused,
        "keysBy": if trusted.is_some() { "trust-file" } else { "evidence-file" },
        "seen": file.seen,
    });
    output.data(&lines, &json)?;
    Ok(if judged.verdict.is_proven() { Exit::Ok } else { Exit::NotVerified })
}

fn row(name: &str, value: &str) -> String {
    format!("{name:<9} {value}")
}
