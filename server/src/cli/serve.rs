//! `treering-server serve`. Its flags are the settings of the server; see [`crate::config`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args, Command};

use super::failure::Failure;
use super::location::Location;
use crate::http::offer::{Offer, ReadOnly, WriteFaces};
use crate::http::rates::RateSettings;
use crate::limits::{
    ADDRESS_READS_PER_SECOND, ADDRESS_WRITES_PER_SECOND, FREE_DISK_BYTES_MIN,
    PRINCIPAL_WRITES_PER_SECOND,
};
use crate::ops::serve::{ServeError, Service, TimestampSource, Witnesses, serve};
use crate::tls::TlsFiles;
use crate::witness::Mode;

/// Serve a log until SIGTERM.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    location: Location,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000", env = "TREERING_LISTEN")]
    listen: SocketAddr,
    #[command(flatten)]
    offered: Offered,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    rates: Rates,
    /// Acknowledge nothing when the disk has fewer bytes free than this
    #[arg(long, value_name = "BYTES", default_value_t = FREE_DISK_BYTES_MIN,
          env = "TREERING_MIN_FREE_DISK")]
    min_free_disk: u64,
    #[command(flatten)]
    witnesses: WitnessArguments,
    /// Who gives timestamps (RFC 3161) at /api/v1/timestamp: own is the log's own authority, off
    /// nobody [default: own if the log has one]
    #[arg(long, env = "TREERING_TIMESTAMPS")]
    timestamps: Option<Timestamps>,
}

/// What is offered, and where.
#[derive(Args)]
struct Offered {
    /// A second address, for reads alone: checkpoint, tiles, Rekor v1 reads, search, health. All
    /// limits hold for both together
    #[arg(long, value_name = "ADDR", env = "TREERING_READ_LISTEN")]
    read_listen: Option<SocketAddr>,
    /// Serve checkpoint and tiles at the first address, too. With false it answers them as the
    /// write server of rekor-tiles does, and read-listen is needed
    #[arg(long, env = "TREERING_SERVE_READS", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value_t = true)]
    serve_reads: bool,
    /// The Rekor faces that take entries: v1, v2 or v1,v2. Clients of Rekor v2 that read the whole
    /// log, such as rekor-monitor, can follow it only if v1 never took any
    #[arg(long, value_name = "FACES", default_value = "v1,v2", env = "TREERING_WRITE_FACES")]
    write_faces: WriteFaces,
    /// Refuse DSSE envelopes through Rekor v2, as rekor-tiles does since 2.3
    #[arg(long, env = "TREERING_REFUSE_DSSE", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value_t = false)]
    refuse_dsse: bool,
    /// Take no entries, and serve reads
    #[arg(long, env = "TREERING_READ_ONLY", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value_t = false)]
    read_only: bool,
}

/// How connections are protected.
#[derive(Args)]
struct Tls {
    /// PEM file of the server's certificate and its intermediates; with it the server speaks TLS.
    /// Read again when it changes
    #[arg(long, value_name = "FILE", env = "TREERING_TLS_CERTIFICATE")]
    tls_certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key
    #[arg(long, value_name = "FILE", env = "TREERING_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// PEM file of the authorities whose certificates clients may show. A client without one is
    /// served still; the access policy says who may write
    #[arg(long, value_name = "FILE", env = "TREERING_TLS_CLIENT_CA")]
    tls_client_ca: Option<PathBuf>,
    /// Speak HTTP without TLS on an address that other machines reach, as behind a proxy that has
    /// TLS
    #[arg(long, env = "TREERING_PLAIN_HTTP", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value_t = false)]
    plain_http: bool,
}

/// Who may write.
#[derive(Args)]
struct Access {
    /// TOML file that says which principal may log what. Read again when it changes
    #[arg(long, value_name = "FILE", env = "TREERING_ACCESS_POLICY")]
    access_policy: Option<PathBuf>,
    /// Go on without an access policy, although the log was served with one
    #[arg(long, conflicts_with = "access_policy", env = "TREERING_WITHOUT_ACCESS_POLICY",
          action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value_t = false)]
    without_access_policy: bool,
    /// Take entries from anybody who reaches the address. Entries can never be deleted
    #[arg(long, env = "TREERING_OPEN_WRITES", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value_t = false)]
    open_writes: bool,
    /// Directory of the access journal [default: DIR/journal]
    #[arg(long, value_name = "DIR", env = "TREERING_JOURNAL")]
    journal: Option<PathBuf>,
}

/// How much, for each second; ten seconds' worth may come at once.
#[derive(Args)]
struct Rates {
    /// Reads per second from one address, or one /64 network of IPv6; 0 for no limit
    #[arg(long, value_name = "NUMBER", default_value_t = ADDRESS_READS_PER_SECOND,
          env = "TREERING_ADDRESS_READS")]
    address_reads: u32,
    /// Submissions per second from one address, or one /64 network of IPv6; 0 for no limit
    #[arg(long, value_name = "NUMBER", default_value_t = ADDRESS_WRITES_PER_SECOND,
          env = "TREERING_ADDRESS_WRITES")]
    address_writes: u32,
    /// Submissions per second of one principal; 0 for no limit
    #[arg(long, value_name = "NUMBER", default_value_t = PRINCIPAL_WRITES_PER_SECOND,
          env = "TREERING_PRINCIPAL_WRITES")]
    principal_writes: u32,
    /// Hold the limits for addresses against this machine itself, too. Without it a proxy on this
    /// machine is not limited
    #[arg(long, env = "TREERING_LIMIT_LOOPBACK", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value_t = false)]
    limit_loopback: bool,
}

/// Who cosigns.
#[derive(Args)]
struct WitnessArguments {
    /// Who cosigns checkpoints, and how many must: a file in C2SP tlog-policy, with the URL of each
    /// witness
    #[arg(long, value_name = "FILE", env = "TREERING_WITNESS_POLICY")]
    witness_policy: Option<PathBuf>,
    /// Without a quorum of witnesses: closed publishes and acknowledges nothing; open goes on after
    /// the timeout, and says so [default: closed]
    #[arg(long, env = "TREERING_WITNESS_MODE")]
    witness_mode: Option<WitnessMode>,
    /// Go on without witnesses, although the log was served with them
    #[arg(long, conflicts_with = "witness_policy", env = "TREERING_WITHOUT_WITNESSES",
          action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value_t = false)]
    without_witnesses: bool,
    /// Time for one request to a witness, such as 2s or 500ms [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = parse_time, env = "TREERING_WITNESS_TIMEOUT")]
    witness_timeout: Option<Duration>,
    /// Least time between two checkpoints when witnesses cosign them; 1s for public witnesses
    /// [default: 200ms]
    #[arg(long, value_name = "TIME", value_parser = parse_time,
          env = "TREERING_MIN_PUBLISH_INTERVAL")]
    min_publish_interval: Option<Duration>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum WitnessMode {
    Closed,
    Open,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Timestamps {
    Own,
    Off,
}

const EXAMPLES: &str = "Examples:
  treering-server serve --data ./log --listen 127.0.0.1:3000 --open-writes
  treering-server serve --data ./log --listen 0.0.0.0:443 --tls-certificate log.pem --tls-key log.key \\
    --access-policy access.toml
  treering-server serve --data ./log --access-policy access.toml --witness-policy witnesses.policy
  treering-server serve --data ./log --listen 127.0.0.1:3003 --serve-reads=false --read-listen 127.0.0.1:8000 \\
    --write-faces v2 --refuse-dsse --open-writes
  treering-server serve --config /etc/treering/server.toml";

/// The definition of `serve`, and with it of all settings.
pub fn command() -> Command {
    Arguments::augment_args(Command::new("serve"))
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let service = arguments.service()?;
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| Failure::Unavailable(error.into()))?;
    runtime.block_on(serve(service))?;
    Ok(ExitCode::SUCCESS)
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Start(error) => error.into(),
            ServeError::Listen { .. }
            | ServeError::Witnesses(_)
            | ServeError::Tls(_)
            | ServeError::Access(_)
            | ServeError::NoAuthority { .. }
            | ServeError::Timestamps(_)
            | ServeError::PlainHttp { .. } => Self::Usage(error.into()),
            ServeError::Journal(_) | ServeError::Signal(_) | ServeError::Client(_) => {
                Self::Unavailable(error.into())
            }
        }
    }
}

impl Arguments {
    /// What is asked for, if it makes sense.
    pub fn service(self) -> Result<Service, Failure> {
        let tls = self.tls.files()?;
        self.access.check()?;
        let offer = self.offered.offer()?;
        let without_witnesses = self.witnesses.without_witnesses;
        Ok(Service {
            data: self.location.data,
            anchor: self.location.anchor,
            listen: self.listen,
            read_listen: self.offered.read_listen,
            offer,
            tls,
            plain_http: self.tls.plain_http,
            access_policy: self.access.access_policy,
            without_access_policy: self.access.without_access_policy,
            open_writes: self.access.open_writes,
            journal: self.access.journal,
            rates: RateSettings {
                address_reads: self.rates.address_reads,
                address_writes: self.rates.address_writes,
                principal_writes: self.rates.principal_writes,
                limit_loopback: self.rates.limit_loopback,
            },
            free_disk_min: self.min_free_disk,
            witnesses: self.witnesses.witnesses()?,
            without_witnesses,
            timestamps: self.timestamps.map(|source| match source {
                Timestamps::Own => TimestampSource::Own,
                Timestamps::Off => TimestampSource::Off,
            }),
        })
    }
}

impl Offered {
    fn offer(&self) -> Result<Offer, Failure> {
        if !self.serve_reads && self.read_listen.is_none() {
            return Err(Failure::Usage(anyhow::anyhow!(
                "serve-reads=false needs read-listen: without it nobody could read what the log signed"
            )));
        }
        Ok(Offer {
            write_faces: self.write_faces,
            refuse_dsse: self.refuse_dsse,
            serve_reads: self.serve_reads,
            read_only: self.read_only.then_some(ReadOnly::Served),
        })
    }
}

impl Tls {
    fn files(&self) -> Result<Option<TlsFiles>, Failure> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: self.tls_client_ca.clone(),
            })),
            (None, None) if self.tls_client_ca.is_none() => Ok(None),
            _ => {
                let why = "TLS takes both tls-certificate and tls-key; tls-client-ca comes on top";
                Err(Failure::Usage(anyhow::anyhow!(why)))
            }
        }
    }
}

impl Access {
    fn check(&self) -> Result<(), Failure> {
        match self.access_policy.is_some() && self.without_access_policy {
            true => Err(Failure::Usage(anyhow::anyhow!(
                "access-policy and without-access-policy contradict each other; one of them comes \
                 from a variable or the configuration file (see treering-server config show). Say \
                 --without-access-policy=false, or take the policy out"
            ))),
            false => Ok(()),
        }
    }
}

impl WitnessArguments {
    fn witnesses(self) -> Result<Option<Witnesses>, Failure> {
        let says_more = self.witness_mode.is_some()
            || self.witness_timeout.is_some()
            || self.min_publish_interval.is_some();
        if self.witness_policy.is_some() && self.without_witnesses {
            return Err(Failure::Usage(anyhow::anyhow!(
                "witness-policy and without-witnesses contradict each other; one of them comes from \
                 a variable or the configuration file (see treering-server config show). Say \
                 --without-witnesses=false, or take the policy out"
            )));
        }
        let Some(policy) = self.witness_policy else {
            return match says_more {
                true => Err(Failure::Usage(anyhow::anyhow!(
                    "witness-mode, witness-timeout and min-publish-interval mean nothing without \
                     witness-policy"
                ))),
                false => Ok(None),
            };
        };
        let mode = match self.witness_mode {
            None | Some(WitnessMode::Closed) => Mode::Closed,
            Some(WitnessMode::Open) => Mode::Open,
        };
        let timeout = self.witness_timeout.unwrap_or(Duration::from_secs(2));
        let min_interval = self.min_publish_interval.unwrap_or(Duration::from_millis(200));
        Ok(Some(Witnesses { policy, mode, timeout, min_interval }))
    }
}

/// A time of 10 milliseconds to 10 seconds: submitters wait for it, and give up after 20.
fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "a time starts with a number".to_owned())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        _ => None,
    };
    match milliseconds {
        Some(time @ 10..=10_000) => Ok(Duration::from_millis(time)),
        _ => Err("a time is 10ms to 10s, such as 500ms or 2s".to_owned()),
    }
}
