//! Arguments that several commands share, and how they become values.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use treering_client::private_key::{PrivateKey, PrivateKeyError};
use treering_client::state::StateDirectory;
use treering_client::transport::{Transport, TransportOptions};
use treering_proto::key::PublicKey;
use treering_proto::trust::{TRUST_LEN_MAX, TrustFile};
use zeroize::Zeroizing;

use super::failure::Failure;
use treering_client::report::Exit;

/// Which log, and whom to believe.
#[derive(Args)]
pub struct TrustArguments {
    /// The trust file, obtained out of band
    #[arg(long, value_name = "FILE", env = "TREERING_TRUST")]
    pub trust: PathBuf,
}

/// How to reach the log.
#[derive(Args)]
pub struct NetworkArguments {
    /// Time for everything that is asked of the log, such as 90s or 10m
    #[arg(long, value_name = "TIME", env = "TREERING_DEADLINE", default_value = "60s",
          value_parser = parse_duration)]
    pub deadline: Duration,
    /// File with the token that the log knows you by (or its text in TREERING_TOKEN)
    #[arg(long, value_name = "FILE", env = "TREERING_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file of authorities that may certify the log's server, beside the system's
    #[arg(long, alias = "tls-ca", value_name = "FILE", env = "TREERING_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// PEM file with the certificate that the log's server knows this client by, and its chain
    #[arg(long, value_name = "FILE", env = "TREERING_CLIENT_CERTIFICATE", requires = "client_key")]
    pub client_certificate: Option<PathBuf>,
    /// PEM file with the private key of that certificate
    #[arg(long, value_name = "FILE", env = "TREERING_CLIENT_KEY", requires = "client_certificate")]
    pub client_key: Option<PathBuf>,
}

/// Where to remember what logs have said.
#[derive(Args)]
pub struct StateArguments {
    /// Directory of remembered checkpoints [default: $XDG_STATE_HOME/treering]
    #[arg(long, value_name = "DIR", env = "TREERING_STATE")]
    pub state: Option<PathBuf>,
}

/// The signer's key.
#[derive(Args)]
pub struct KeyArguments {
    /// Private key in PKCS#8 PEM, encrypted or not
    #[arg(long, value_name = "FILE", env = "TREERING_KEY")]
    pub key: PathBuf,
    /// File with the key's password (or its text in TREERING_KEY_PASSWORD)
    #[arg(long, value_name = "FILE", env = "TREERING_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
}

impl TrustArguments {
    /// Reads the trust file.
    pub fn load(&self) -> Result<TrustFile, Failure> {
        let bytes = read_bounded(&self.trust, TRUST_LEN_MAX, "the trust file")?;
        TrustFile::parse(&bytes).map_err(|error| {
            Failure::usage(format!("the trust file {} cannot be used", self.trust.display()), error)
                .advise("get it again from the log's operator (treering-server trust export)")
        })
    }
}

impl NetworkArguments {
    /// A transport to the log; its time starts now.
    pub fn connect(&self, trust: &TrustFile) -> Result<Transport, Failure> {
        let token = match &self.token_file {
            Some(path) => Some(first_line(path)?),
            None => {
                let text = std::env::var("TREERING_TOKEN").ok().filter(|token| !token.is_empty());
                text.map(Zeroizing::new)
            }
        };
        self.connect_with(&trust.log.url, token, self.client_identity()?)
    }

    /// A transport to what says that it serves the log; its time starts now. Token and certificate
    /// are for the log of the trust file and nobody else.
    pub fn connect_to(&self, url: &str, trust: &TrustFile) -> Result<Transport, Failure> {
        if url == trust.log.url { self.connect(trust) } else { self.connect_with(url, None, None) }
    }

    fn connect_with(
        &self,
        url: &str,
        token: Option<Zeroizing<String>>,
        client_identity: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Transport, Failure> {
        let authorities = match &self.ca_file {
            Some(path) => Some(read_bounded(path, 1 << 20, "the file of authorities")?),
            None => None,
        };
        let deadline = Some(self.deadline);
        let options = TransportOptions { deadline, token, authorities, client_identity };
        Ok(Transport::new(url, &options)?)
    }

    /// The client's certificates and its key in one text.
    fn client_identity(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let (Some(certificate), Some(key)) = (&self.client_certificate, &self.client_key) else {
            return Ok(None);
        };
        warn_if_readable_by_others(key);
        let key = Zeroizing::new(read_bounded(key, 64 << 10, "the client's private key")?);
        let mut pem = read_bounded(certificate, 1 << 20, "the client's certificate")?;
        pem.push(b'\n');
        pem.extend_from_slice(&key);
        Ok(Some(Zeroizing::new(pem)))
    }
}

impl StateArguments {
    /// The state directory.
    pub fn directory(&self) -> Result<StateDirectory, Failure> {
        if let Some(path) = &self.state {
            return Ok(StateDirectory::new(path.clone()));
        }
        let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let base = variable("XDG_STATE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| Some(variable("HOME")?.join(".local/state")));
        match base {
            Some(base) => Ok(StateDirectory::new(base.join("treering"))),
            None => {
                Err(Failure::usage("no state directory", "HOME is not set")
                    .advise("say --state DIR"))
            }
        }
    }
}

impl KeyArguments {
    /// Reads the key, and asks for its password if it has one.
    pub fn load(&self) -> Result<PrivateKey, Failure> {
        warn_if_readable_by_others(&self.key);
        let password = given_password(self.password_file.as_deref())?;
        let ask = || match password {
            Some(password) => Ok(password),
            None if std::io::stdin().is_terminal() => {
                let prompt = format!("Password of {}: ", self.key.display());
                rpassword::prompt_password(prompt)
                    .map(Zeroizing::new)
                    .map_err(PrivateKeyError::Read)
            }
            None => Err(PrivateKeyError::NeedsPassword),
        };
        PrivateKey::load(&self.key, ask).map_err(|error| {
            let what = format!("the private key {} cannot be used", self.key.display());
            Failure { what, ..error.into() }
        })
    }
}

/// The password from a file or the environment.
pub fn given_password(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    match file {
        Some(path) => first_line(path).map(Some),
        None => Ok(std::env::var("TREERING_KEY_PASSWORD").ok().map(Zeroizing::new)),
    }
}

/// Reads a public key in PEM.
pub fn load_public_key(path: &Path) -> Result<PublicKey, Failure> {
    let bytes = read_bounded(path, 64 << 10, "the public key")?;
    let text = String::from_utf8_lossy(&bytes);
    PublicKey::from_pem(&text).map_err(|error| {
        Failure::usage(format!("the public key {} cannot be used", path.display()), error)
    })
}

/// Reads a whole regular file of at most `limit` bytes. A pipe that somebody put in its place is
/// refused, not waited for.
pub fn read_bounded(path: &Path, limit: usize, what: &str) -> Result<Vec<u8>, Failure> {
    use rustix::fs::{Mode, OFlags};
    let failed = |error: std::io::Error| {
        Failure::usage(format!("{what} {} cannot be read", path.display()), error)
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
    let file = std::fs::File::from(file);
    if !file.metadata().map_err(failed)?.is_file() {
        let what = format!("{what} {} cannot be read", path.display());
        return Err(Failure::new(Exit::Usage, what, "it is not a regular file"));
    }
    read_at_most(file, path, limit, what)
}

fn read_at_most(
    file: std::fs::File,
    path: &Path,
    limit: usize,
    what: &str,
) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| {
        Failure::usage(format!("{what} {} cannot be read", path.display()), error)
    })?;
    if bytes.len() > limit {
        let why = format!("it is longer than {limit} bytes");
        return Err(Failure::usage(format!("{what} {} is too long", path.display()), why));
    }
    Ok(bytes)
}

/// Now, in Unix seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Replaces or makes the file at `path`.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    treering_client::state::write_atomically(path, bytes).map_err(|error| {
        Failure::new(Exit::Unavailable, format!("{} cannot be written", path.display()), error)
    })
}

/// Tells of a secret that others on this machine may read, and goes on: it is theirs already, and
/// the owner of the file decides. What cannot be looked at is told of by whoever reads it next.
fn warn_if_readable_by_others(path: &Path) {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(metadata) = std::fs::metadata(path) else { return };
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        let name = super::output::visible(&path.display().to_string());
        let text = format!("warning: others may read {name}; say: chmod 600 {name}\n");
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

fn first_line(path: &Path) -> Result<Zeroizing<String>, Failure> {
    warn_if_readable_by_others(path);
    let failed =
        |error| Failure::usage(format!("the secret in {} cannot be read", path.display()), error);
    // May be a pipe: the caller names it, and shells make pipes of the output of commands.
    let file = std::fs::File::open(path).map_err(failed)?;
    let bytes = Zeroizing::new(read_at_most(file, path, 64 << 10, "the secret in")?);
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| Failure::usage(format!("{} is not text", path.display()), error))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// A time of 1 second to 24 hours, with its unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| "a time starts with a number".to_owned())?;
    let seconds = match unit {
        "" | "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        _ => None,
    };
    match seconds {
        Some(seconds) if (1..=86_400).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err("a time is 1 second to 24 hours, such as 90s, 10m or 1h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_bounded_and_have_units() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("7"), Ok(Duration::from_secs(7)));
        for text in ["", "0", "s", "-1s", "1d", "25h", "99999999999999999999m", "1.5s"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }
}
