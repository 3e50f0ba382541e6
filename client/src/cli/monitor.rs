//! `treering monitor`

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::watch;
use treering_client::monitor::daemon::{self, Schedule};
use treering_client::monitor::findings::Listener;
use treering_client::monitor::metrics::{Metrics, serve};
use treering_client::monitor::read::Source;
use treering_client::monitor::rules::{RULES_LEN_MAX, Rules};
use treering_client::monitor::search::log_directory;
use treering_client::monitor::webhook::Webhook;
use treering_client::monitor::{CHUNK_ENTRIES, Monitor, Options, Pace, Round, TILES_AT_ONCE};
use treering_client::report::Exit;
use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::note::NOTE_LEN_MAX;
use treering_proto::trust::TrustFile;

use super::arguments::{
    NetworkArguments, StateArguments, TrustArguments, parse_duration, read_bounded,
};
use super::failure::Failure;
use super::output::Output;

/// Read a whole log, verify it, and tell what is wrong with it or wanted of it
///
/// Every entry is read, hashed and verified; the tree that they lead to must be the one that the
/// log signed. What is found is one line of JSON on stdout, and in findings.jsonl beside the index.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering monitor --trust trust.json --once
  treering monitor --trust trust.json --rules rules.toml --interval 5m --metrics 9464
  treering monitor --trust a.json --trust b.json --webhook https://chat.example/hook
  treering monitor --trust trust.json --once --from-checkpoint old.note --no-signatures

Exit codes with --once:
  0  nothing was found
  5  the log cannot be read
  6  something is wrong with the log
  7  an entry hit a rule")]
pub struct Arguments {
    /// Trust file of a log to follow; may be given several times
    #[arg(long, value_name = "FILE", env = "TREERING_TRUST", required = true)]
    trust: Vec<PathBuf>,
    /// Look once and end
    #[arg(long, env = "TREERING_ONCE")]
    once: bool,
    /// Time between two looks, such as 90s or 10m
    #[arg(long, value_name = "TIME", env = "TREERING_INTERVAL", default_value = "10m",
          value_parser = parse_duration)]
    interval: Duration,
    /// TOML file of rules: which entries to tell of
    #[arg(long, value_name = "FILE", env = "TREERING_RULES")]
    rules: Option<PathBuf>,
    /// Start a new index at the floor of the trust file; entries before it are not read
    #[arg(long, env = "TREERING_FROM_FLOOR", conflicts_with = "from_checkpoint")]
    from_floor: bool,
    /// Start a new index at this checkpoint; entries before it are not read
    #[arg(long, value_name = "FILE", env = "TREERING_FROM_CHECKPOINT")]
    from_checkpoint: Option<PathBuf>,
    /// Do not verify submitters' signatures again
    #[arg(long, env = "TREERING_NO_SIGNATURES")]
    no_signatures: bool,
    /// The log may have envelopes whose payload is no in-toto statement: count, and do not tell,
    /// what cannot be verified for that reason
    #[arg(long, env = "TREERING_OTHER_PAYLOADS")]
    other_payloads: bool,
    /// How old the newest checkpoint may be by its signed times, such as 90m or 7d
    #[arg(long, value_name = "TIME", env = "TREERING_MAX_AGE", value_parser = parse_age)]
    max_age: Option<u64>,
    /// Tiles read at once
    #[arg(long, value_name = "COUNT", env = "TREERING_PARALLEL",
          default_value_t = TILES_AT_ONCE as u8,
          value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
    /// URL that each finding is sent to as JSON: https, or http on this machine
    #[arg(long, value_name = "URL", env = "TREERING_WEBHOOK")]
    webhook: Option<String>,
    /// Serve Prometheus metrics at this port of this machine, or at this address (not with --once)
    #[arg(long, value_name = "ADDR", env = "TREERING_METRICS")]
    metrics: Option<String>,
    /// The deadline is for each answer of the log
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    state: StateArguments,
}

/// Runs the command.
pub async fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let rules = Arc::new(arguments.rules()?);
    let webhook = match &arguments.webhook {
        Some(url) => Some(Arc::new(
            Webhook::new(url)
                .map_err(|error| Failure::usage("the webhook cannot be used", error))?,
        )),
        None => None,
    };
    let monitors = arguments.monitors(&rules)?;
    let metrics = Arc::new(Metrics::default());
    let schedule = Schedule {
        interval: arguments.interval,
        webhook,
        metrics: metrics.clone(),
        observer: observer(*output),
        delivered: delivered(*output),
    };
    if arguments.once {
        return once(monitors, schedule, output).await;
    }
    if let Some(address) = &arguments.metrics {
        let address = metrics_address(address);
        let listener = tokio::net::TcpListener::bind(&address).await.map_err(|error| {
            Failure::usage(format!("metrics cannot be served at {address}"), error)
        })?;
        tokio::spawn(serve(listener, metrics));
    }
    let (stop, stopped) = watch::channel(false);
    let running = daemon::run(monitors, schedule, stopped);
    tokio::pin!(running);
    tokio::select! {
        () = &mut running => return Ok(Exit::Unavailable),
        () = asked_to_stop() => {}
    }
    // Nobody listens any more if every log has ended by itself.
    let _ = stop.send(true);
    running.await;
    Ok(Exit::Ok)
}

/// One round of each log, and what is still to be sent.
async fn once(
    monitors: Vec<Monitor>,
    schedule: Schedule,
    output: &Output,
) -> Result<Exit, Failure> {
    let mut rounds = Vec::new();
    for mut monitor in monitors {
        let round = daemon::once(&mut monitor, &schedule).await;
        if let Some(webhook) = &schedule.webhook {
            let delivery = webhook.deliver(monitor.directory()).await.map_err(|error| {
                Failure::new(Exit::Unavailable, "findings cannot be sent", error)
            })?;
            (schedule.delivered)(monitor.origin(), &delivery);
        }
        rounds.push((monitor.origin().to_owned(), round));
    }
    let exits: Vec<Exit> = rounds.iter().map(|(_, round)| round.exit()).collect();
    let worst = [Exit::Alarm, Exit::Policy, Exit::Unavailable];
    let exit = worst.into_iter().find(|exit| exits.contains(exit)).unwrap_or(Exit::Ok);
    let logs: Vec<Value> = rounds.iter().map(|(origin, round)| summary(origin, round)).collect();
    let json = json!({"schema": "treering.monitor/v1", "exit": exit as u8, "logs": logs});
    output.data(&[], &json)?;
    Ok(exit)
}

fn summary(origin: &str, round: &Round) -> Value {
    json!({
        "log": origin,
        "start": round.start,
        "verified": round.verified,
        "size": round.size,
        "entries": round.entries,
        "seconds": round.seconds,
        "signatures": {
            "verified": round.tally.verified,
            "noStatement": round.tally.no_statement,
            "otherPayload": round.tally.other_payload,
            "notKept": round.tally.not_kept,
        },
        "unreadable": round.tally.unreadable,
        "findings": round.told.new_count(),
        "standing": round.told.old_count(),
        "v1NotCompared": round.v1_unknown,
        "unread": round.unread,
        "failure": round.failure.as_ref().map(ToString::to_string),
    })
}

/// Tells people what became of findings that were to be sent, if not all were.
fn delivered(output: Output) -> daemon::DeliveryObserver {
    Arc::new(move |origin, delivery| {
        if let Some(trouble) = &delivery.trouble {
            output.remark(&format!("{origin}: {trouble}; what was not sent is sent next time"));
        }
        if delivery.given_up > 0 {
            output.remark(&format!(
                "{origin}: {} bytes of findings were given up, because too many waited for the \
                 webhook; they stand in findings.jsonl",
                delivery.given_up
            ));
        }
    })
}

/// Tells people how each round went, if there is anything to tell.
fn observer(output: Output) -> daemon::Observer {
    Arc::new(move |origin, round| {
        if let Some(failure) = &round.failure {
            output.remark(&format!("{origin}: {failure}"));
        }
        if let Some(unread) = &round.unread {
            output.remark(&format!("{origin}: {unread}"));
        }
        for finding in &round.told.old {
            let name = finding.kind.name();
            output.remark(&format!("{origin}: {name} still holds: {}", finding.why));
        }
        if round.entries == 0 && round.told.new.is_empty() {
            return;
        }
        let unread = match round.start {
            0 => String::new(),
            start => format!("; the first {start} entries were never read"),
        };
        output.remark(&format!(
            "{origin}: {} entries read in {:.1} s, {} verified, {} findings{unread}",
            round.entries,
            round.seconds,
            round.verified,
            round.told.new_count()
        ));
    })
}

impl Arguments {
    fn rules(&self) -> Result<Rules, Failure> {
        let Some(path) = &self.rules else { return Ok(Rules::default()) };
        let bytes = read_bounded(path, RULES_LEN_MAX, "the file of rules")?;
        Rules::parse(&bytes).map_err(|error| {
            Failure::usage(format!("the rules in {} cannot be used", path.display()), error)
                .advise("docs/monitor.md lists the keys of a rule")
        })
    }

    fn monitors(&self, rules: &Arc<Rules>) -> Result<Vec<Monitor>, Failure> {
        let base = self.state.directory()?.path().to_owned();
        let mut monitors: Vec<Monitor> = Vec::new();
        for path in &self.trust {
            let trust = TrustArguments { trust: path.clone() }.load()?;
            let directory = log_directory(&base, &trust.log.origin);
            if monitors.iter().any(|other| other.directory() == directory) {
                let why = format!("two trust files are about {}", trust.log.origin);
                return Err(Failure::usage("nothing was monitored", why));
            }
            if rules.except_identities() && trust.certificate_authorities.is_empty() {
                let why = format!(
                    "a rule has except-identities, and the trust file of {} has no \
                     certificateAuthorities: anybody could make a certificate with that name",
                    trust.log.origin
                );
                return Err(Failure::usage("nothing was monitored", why)
                    .advise("add the authorities, or say except-keys"));
            }
            let start = self.start(&trust)?;
            let source = Source {
                transport: self.network.connect(&trust)?,
                trust,
                answer_time: self.network.deadline,
                signatures: !self.no_signatures,
                other_payloads: self.other_payloads,
                rules: rules.clone(),
            };
            let pace = Pace::new(usize::from(self.parallel), CHUNK_ENTRIES);
            let options = Options { directory, start, max_age: self.max_age, pace };
            monitors.push(Monitor::new(source, options, listener()));
        }
        Ok(monitors)
    }

    /// Where a new index starts.
    fn start(&self, trust: &TrustFile) -> Result<Option<SignedCheckpoint>, Failure> {
        if self.from_floor {
            let why = format!("the trust file of {} has no floor", trust.log.origin);
            let floor = trust.floor.clone();
            return floor.map(Some).ok_or_else(|| Failure::usage("nothing was monitored", why));
        }
        let Some(path) = &self.from_checkpoint else { return Ok(None) };
        let note = read_bounded(path, NOTE_LEN_MAX, "the checkpoint")?;
        let opened = open_checkpoint(&note, &trust.log.origin, &trust.note_keys());
        opened.map(Some).map_err(|error| {
            Failure::usage(format!("the checkpoint {} cannot be used", path.display()), error)
        })
    }
}

/// Prints each finding. A reader that went away finds them in the file.
fn listener() -> Listener {
    Arc::new(|line| {
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    })
}

/// A port alone is one of this machine.
fn metrics_address(text: &str) -> String {
    match text.parse::<u16>() {
        Ok(port) => format!("127.0.0.1:{port}"),
        Err(_) => text.to_owned(),
    }
}

async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        // Without handlers the signals end the process, which loses nothing.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

/// Seconds; up to ten years, because a log may be quiet for long.
fn parse_age(text: &str) -> Result<u64, String> {
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| "an age starts with a number".to_owned())?;
    let seconds = match unit {
        "" | "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        "d" => number.checked_mul(86_400),
        _ => None,
    };
    match seconds {
        Some(seconds) if (1..=AGE_MAX).contains(&seconds) => Ok(seconds),
        _ => Err("an age is 1 second to 3650 days, such as 90s, 10m, 1h or 7d".to_owned()),
    }
}

const AGE_MAX: u64 = 3650 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_units_and_ports_are_of_this_machine() {
        assert_eq!(parse_age("90"), Ok(90));
        assert_eq!(parse_age("7d"), Ok(604_800));
        for text in ["", "0", "d", "3651d", "1w", "99999999999999999999d"] {
            assert!(parse_age(text).is_err(), "{text:?}");
        }
        assert_eq!(metrics_address("9464"), "127.0.0.1:9464");
        assert_eq!(metrics_address("[::1]:9464"), "[::1]:9464");
    }
}
