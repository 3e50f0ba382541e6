//! `treering-server trust`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::failure::Failure;
use super::location::Location;
use crate::ops::trust_export::{
    Export, ExportError, RekorFaces, SigstoreOptions, Timestamps, export,
};

/// Hand out what verifiers need.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Export(Box<ExportArguments>),
}

/// Write trust.json for treering, and trusted_root.json, signing_config.json and
/// client_trust_config.json for Sigstore's clients
///
/// Beside them stand the log's public keys, its identity document, and policy, the log and its
/// witnesses in C2SP tlog-policy. Nothing is written unless everything is right. What a client will
/// not do with these files is said on stderr.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct ExportArguments {
    #[command(flatten)]
    location: Location,
    /// The directory to write to
    #[arg(long, value_name = "DIR", env = "TREERING_OUT")]
    out: PathBuf,
    /// Where clients reach the log [default: where it was made for]
    #[arg(long, env = "TREERING_URL")]
    url: Option<String>,
    /// The witness policy that verifiers shall ask for, a file in C2SP tlog-policy
    #[arg(long, value_name = "FILE", env = "TREERING_WITNESS_POLICY")]
    witness_policy: Option<PathBuf>,
    #[command(flatten)]
    sigstore: Sigstore,
    #[command(flatten)]
    timestamps: TimestampArguments,
}

/// What stands in the files for Sigstore's clients beside the log.
#[derive(Args)]
struct Sigstore {
    /// As which kind of log this one stands in the files for Sigstore's clients; they sign with the
    /// highest version that they know
    #[arg(long, value_enum, default_value = "both", env = "TREERING_REKOR")]
    rekor: Rekor,
    /// Take authorities and services from this trusted root, signing config or client trust config;
    /// transparency logs are not taken. Can be repeated
    #[arg(long, value_name = "FILE", env = "TREERING_MERGE")]
    merge: Vec<PathBuf>,
    /// The authority that certifies signers: a Fulcio
    #[arg(long, value_name = "URL", requires = "fulcio_chain", env = "TREERING_FULCIO_URL")]
    fulcio_url: Option<String>,
    /// PEM file of its certificates: intermediates first, the root last
    #[arg(long, value_name = "FILE", requires = "fulcio_url", env = "TREERING_FULCIO_CHAIN")]
    fulcio_chain: Option<PathBuf>,
    /// PEM file of the public key of a log of certificates. Can be repeated
    #[arg(long, value_name = "FILE", env = "TREERING_CT_KEY")]
    ct_key: Vec<PathBuf>,
    /// The address of that log: one for each --ct-key, or none
    #[arg(long, value_name = "URL", requires = "ct_key", env = "TREERING_CT_URL")]
    ct_url: Vec<String>,
    /// Who says who a signer is: an issuer of OpenID Connect
    #[arg(long, value_name = "URL", env = "TREERING_OIDC_URL")]
    oidc_url: Option<String>,
}

/// Whose timestamps stand in the files.
#[derive(Args)]
struct TimestampArguments {
    /// A timestamp authority in place of the log's own: the full address that takes requests
    #[arg(long, value_name = "URL", requires = "timestamp_chain", env = "TREERING_TIMESTAMP_URL")]
    timestamp_url: Option<String>,
    /// PEM file of its certificates: the one that signs first, the root last. trust.json gets them,
    /// too
    #[arg(long, value_name = "FILE", requires = "timestamp_url", env = "TREERING_TIMESTAMP_CHAIN")]
    timestamp_chain: Option<PathBuf>,
    /// Name no timestamp authority, not even one of a file that is merged
    #[arg(long, env = "TREERING_WITHOUT_TIMESTAMPS", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value_t = false)]
    without_timestamps: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Rekor {
    V1,
    V2,
    Both,
}

const EXAMPLES: &str = "Examples:
  treering-server trust export --data ./log --out ./trust
  treering-server trust export --data ./log --out ./trust --witness-policy witnesses.policy
  treering-server trust export --data ./log --out ./trust --url http://localhost:3000
  treering-server trust export --data ./log --out ./trust --ct-key ctlog.pub \\
      --fulcio-url https://fulcio.corp --fulcio-chain fulcio.pem --oidc-url https://login.corp
  treering-server trust export --data ./log --out ./trust --rekor v1 \\
      --merge old/trusted_root.json --merge old/signing_config.json
  treering-server trust export --data ./log --out ./trust \\
      --timestamp-url https://tsa.corp/api/v1/timestamp --timestamp-chain tsa.pem
  treering-server trust export --data ./log --out ./trust --rekor v1 --without-timestamps

Then, for example:
  model_signing sign sigstore ./model --trust_config ./trust/client_trust_config.json
  cosign sign-blob --key cosign.key --signing-config ./trust/signing_config.json \\
      --trusted-root ./trust/trusted_root.json --bundle b.json FILE";

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Command::Export(arguments) = arguments.command;
    let exported = export(&arguments.into_export()?).map_err(|error| match error {
        ExportError::Io { .. } => Failure::Unavailable(error.into()),
        _ => Failure::Usage(error.into()),
    })?;
    for warning in exported.warnings {
        eprintln!("warning: {warning}");
    }
    for path in exported.files {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

impl ExportArguments {
    fn into_export(self) -> Result<Export, Failure> {
        let Sigstore { rekor, merge, fulcio_url, fulcio_chain, ct_key, ct_url, oidc_url } =
            self.sigstore;
        let timestamps = self.timestamps.into_timestamps()?;
        let rekor = match rekor {
            Rekor::V1 => RekorFaces::V1,
            Rekor::V2 => RekorFaces::V2,
            Rekor::Both => RekorFaces::Both,
        };
        Ok(Export {
            data: self.location.data,
            out: self.out,
            url: self.url,
            witness_policy: self.witness_policy,
            sigstore: SigstoreOptions {
                rekor,
                merge,
                fulcio: fulcio_url.zip(fulcio_chain),
                ct_keys: ct_key,
                ct_urls: ct_url,
                oidc_url,
                timestamps,
            },
        })
    }
}

impl TimestampArguments {
    fn into_timestamps(self) -> Result<Timestamps, Failure> {
        let Self { timestamp_url, timestamp_chain, without_timestamps } = self;
        match (timestamp_url.zip(timestamp_chain), without_timestamps) {
            // Not for clap to say: there `--without-timestamps=false` would be a conflict, too.
            (Some(_), true) => Err(Failure::Usage(anyhow::anyhow!(
                "--without-timestamps names no timestamp authority, and --timestamp-url names one; \
                 leave one of them out"
            ))),
            (Some((url, chain)), false) => Ok(Timestamps::Other { url, chain }),
            (None, true) => Ok(Timestamps::None),
            (None, false) => Ok(Timestamps::Own),
        }
    }
}
