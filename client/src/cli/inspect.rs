//! `treering inspect`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use treering_client::report::Exit;
use treering_client::verify::Opened;
use treering_proto::bundle::{BUNDLE_LEN_MAX, Material};
use treering_proto::certificate::Certificate;

use super::arguments::read_bounded;
use super::failure::Failure;
use super::output::Output;

/// Show what a bundle says, without verifying any of it
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering inspect ./llama-3/model.sig
  treering inspect model.sig --output json")]
pub struct Arguments {
    /// Bundle to read
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    let bytes = read_bounded(&arguments.bundle, BUNDLE_LEN_MAX, "the bundle")?;
    let opened =
        Opened::open(&bytes).map_err(|error| Failure::usage("the bundle cannot be read", error))?;
    let statement = opened.statement();
    let mut lines = vec!["NOTHING BELOW IS VERIFIED".to_owned()];
    let mut line = |name: &str, value: &str| lines.push(format!("{name:<11} {value}"));
    line("model", statement.name().unwrap_or("(no name)"));
    line("version", statement.model_version().unwrap_or("(none)"));
    line("model id", &opened.model_id().to_hex());
    line("OMS root", &statement.root().to_hex());
    line("files", &statement.resources().len().to_string());
    for path in statement.ignore_paths() {
        line("not signed", path);
    }
    line("signer", &signer(&opened));
    for entry in &opened.bundle().log_entries {
        let origin = entry.inclusion_proof.checkpoint.lines().next().unwrap_or_default();
        line("logged", &format!("entry {} of {origin}", entry.log_index));
    }
    if opened.bundle().log_entries.is_empty() {
        line("logged", "no");
    }
    for resource in statement.resources() {
        line("file", &format!("{}  {}", hex::encode(&resource.digest), resource.name));
    }
    let entries = opened.bundle().log_entries.iter().map(|entry| {
        json!({
            "index": entry.log_index.get(),
            "logId": entry.log_id.to_hex(),
            "checkpoint": entry.inclusion_proof.checkpoint,
        })
    });
    let files = statement
        .resources()
        .iter()
        .map(|resource| json!({"name": resource.name, "digest": hex::encode(&resource.digest)}));
    let json = json!({
        "schema": "treering.inspect/v1",
        "verified": false,
        "model": super::verify::model_json(&opened),
        "signer": signer(&opened),
        "logEntries": entries.collect::<Vec<_>>(),
        "resources": files.collect::<Vec<_>>(),
    });
    output.data(&lines, &json)?;
    Ok(Exit::Ok)
}

fn signer(opened: &Opened) -> String {
    if let Some(leaf) = opened.certificates().first() {
        return match Certificate::from_der(leaf) {
            Ok(leaf) => format!("certificate of {}", leaf.identities().join(", ")),
            Err(error) => format!("a certificate that cannot be read: {error}"),
        };
    }
    match &opened.bundle().material {
        Material::PublicKey { hint: Some(hint) } => format!("key with PEM sha256:{hint}"),
        _ => "a key without a name".to_owned(),
    }
}
