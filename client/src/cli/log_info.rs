//! `treering log-info`

use clap::Args;
use serde_json::json;
use treering_client::consistency::{Since, follow};
use treering_client::log::LogReader;
use treering_client::report::Exit;
use treering_client::time::time_text;
use treering_proto::freshness::head_time;

use super::arguments::{NetworkArguments, StateArguments, TrustArguments, now};
use super::failure::{Failure, require_fresh};
use super::output::Output;
use super::verify::not_followed;

/// Show the log's newest checkpoint, after proving that it extends what was seen before
///
/// Refused without the quorum of witnesses that the trust file asks for, and when it is older than
/// the trust file allows.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering log-info --trust trust.json
  treering log-info --trust trust.json --output json
  treering log-info --trust trust.json --ca-file corporate-ca.pem
  HTTPS_PROXY=http://proxy.corp:3128 NO_PROXY=.corp treering log-info --trust trust.json")]
pub struct Arguments {
    #[command(flatten)]
    trust: TrustArguments,
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    state: StateArguments,
}

/// Runs the command.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let trust = arguments.trust.load()?;
    let state = arguments.state.directory()?;
    let transport = arguments.network.connect(&trust)?;
    let log = LogReader::new(&transport, &trust);
    let followed = match follow(&log, &trust, &state, None).await {
        Ok(followed) => followed,
        Err(error) => return Err(not_followed(error, &state, &trust, output)),
    };
    let now = now();
    require_fresh(&trust, &followed.head, now)?;
    let time = head_time(&trust, &followed.head);
    let head = followed.head.head();
    let since = match followed.since {
        Since::FirstContact => "first contact: nothing to compare it with".to_owned(),
        Since::Floor(size) => format!("extends the floor of {size} entries; first contact"),
        Since::Remembered(size) => format!("extends the {size} entries seen before"),
    };
    let witnesses =
        trust.witness_policy.as_ref().map(|w| w.policy.report(followed.head.verified()));
    let mut lines = vec![
        format!("log     {} at {}", trust.log.origin, trust.log.url),
        format!("entries {}", head.size),
        format!("root    {}", head.root),
        format!("proven  {since}"),
    ];
    if let Some(report) = &witnesses {
        let word = if report.met { "met" } else { "NOT met" };
        lines.push(format!("quorum  {word}"));
    }
    lines.push(match time {
        Some(time) => {
            let age = now.saturating_sub(time);
            format!("newest  at {}, {age} s ago", time_text(time))
        }
        None => "newest  nobody who is believed says when".to_owned(),
    });
    for remark in &followed.remarks {
        lines.push(format!("remark  {remark}"));
    }
    let known = match followed.since {
        Since::FirstContact => None,
        Since::Floor(size) | Since::Remembered(size) => Some(size),
    };
    let json = json!({
        "schema": "treering.log-info/v1",
        "origin": trust.log.origin,
        "url": trust.log.url,
        "treeSize": head.size.get(),
        "rootHash": head.root.to_hex(),
        "firstContact": !matches!(followed.since, Since::Remembered(_)),
        "extends": known,
        "time": time,
        "quorumMet": witnesses.map(|report| report.met),
        "remarks": followed.remarks,
        "checkpoint": String::from_utf8_lossy(followed.head.note_bytes()),
    });
    output.data(&lines, &json)?;
    Ok(Exit::Ok)
}
