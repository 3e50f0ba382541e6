//! `treering inspect`

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use treering_client::notice::notice_in;
use treering_client::report::Exit;
use treering_client::verify::Opened;
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::bundle::{BUNDLE_LEN_MAX, Bundle, Material};
use treering_proto::certificate::Certificate;
use treering_proto::notice::Notice;

use super::arguments::read_bounded;
use super::failure::Failure;
use super::notice::told;
use super::output::Output;
use super::sign::Told;

/// Show what a bundle says, without verifying any of it
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering inspect ./llama-3/model.sig
  treering inspect llama-3.revoke.4712.sig
  treering inspect model.sig --output json")]
pub struct Arguments {
    /// Bundle to read
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    let bytes = read_bounded(&arguments.bundle, BUNDLE_LEN_MAX, "the bundle")?;
    let bundle = Bundle::parse(&bytes).map_err(unreadable)?;
    if let Some(notice) = notice_in(&bundle) {
        return inspect_notice(&bundle, &notice, output);
    }
    let opened = Opened::from_bundle(bundle).map_err(unreadable)?;
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
    line("signer", &signer(opened.bundle()));
    line("logged", &logged(opened.bundle()));
    for resource in statement.resources() {
        line("file", &format!("{}  {}", hex::encode(&resource.digest), resource.name));
    }
    let files = statement
        .resources()
        .iter()
        .map(|resource| json!({"name": resource.name, "digest": hex::encode(&resource.digest)}));
    let json = json!({
        "schema": "treering.inspect/v1",
        "verified": false,
        "model": super::verify::model_json(&opened),
        "signer": signer(opened.bundle()),
        "logEntries": entries_json(opened.bundle()),
        "resources": files.collect::<Vec<_>>(),
    });
    output.data(&lines, &json)?;
    Ok(Exit::Ok)
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    Failure::usage("the bundle cannot be read", error)
}

/// A notice about a model instead of the signature of one.
fn inspect_notice(bundle: &Bundle, notice: &Notice, output: &Output) -> Result<Exit, Failure> {
    let Told { lines: told, json } = told(notice);
    let mut lines = vec!["NOTHING BELOW IS VERIFIED".to_owned()];
    lines.extend(told);
    lines.push(format!("{:<11} {}", "about", notice.log));
    lines.push(format!("{:<11} {}", "reason", notice.reason.as_deref().unwrap_or("(none)")));
    lines.push(format!("{:<11} {}", "signer", signer(bundle)));
    lines.push(format!("{:<11} {}", "logged", logged(bundle)));
    let mut all = json!({
        "schema": "treering.inspect/v1",
        "verified": false,
        "signer": signer(bundle),
        "logEntries": entries_json(bundle),
    });
    if let (Value::Object(all), Value::Object(json)) = (&mut all, json) {
        all.extend(json);
    }
    output.data(&lines, &all)?;
    Ok(Exit::Ok)
}

fn logged(bundle: &Bundle) -> String {
    let entry = |entry: &TransparencyLogEntry| {
        let origin = entry.inclusion_proof.checkpoint.lines().next().unwrap_or_default();
        format!("entry {} of {origin}", entry.log_index)
    };
    match bundle.log_entries.as_slice() {
        [] => "no".to_owned(),
        entries => entries.iter().map(entry).collect::<Vec<_>>().join("; "),
    }
}

fn entries_json(bundle: &Bundle) -> Vec<Value> {
    let entries = bundle.log_entries.iter().map(|entry| {
        json!({
            "index": entry.log_index.get(),
            "logId": entry.log_id.to_hex(),
            "checkpoint": entry.inclusion_proof.checkpoint,
        })
    });
    entries.collect()
}

fn signer(bundle: &Bundle) -> String {
    let leaf = match &bundle.material {
        Material::PublicKey { hint: Some(hint) } => {
            return format!("key with PEM sha256:{hint}");
        }
        Material::PublicKey { hint: None } => None,
        Material::Certificate(leaf) => Some(leaf),
        Material::CertificateChain(chain) => chain.first(),
    };
    match leaf.map(|leaf| Certificate::from_der(leaf)) {
        None => "a key without a name".to_owned(),
        Some(Ok(leaf)) => format!("certificate of {}", leaf.identities().join(", ")),
        Some(Err(error)) => format!("a certificate that cannot be read: {error}"),
    }
}
