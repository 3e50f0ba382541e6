//! `treering keygen`

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use treering_client::private_key::{Curve, PrivateKey, write_new};
use treering_client::report::Exit;
use zeroize::Zeroizing;

use super::arguments::given_password;
use super::failure::Failure;
use super::output::Output;

/// Make a signing key
///
/// Writes an encrypted private key (PKCS#8 PEM, mode 0600) and its public key. Existing files are
/// never overwritten.
#[derive(Args)]
#[command(after_help = "\
Examples:
  treering keygen --key ci.pem
  treering keygen --key ci.pem --password-file ci.password --curve p384
  treering keygen --key throwaway.pem --no-password")]
pub struct Arguments {
    /// Where to write the private key
    #[arg(long, value_name = "FILE", env = "TREERING_KEY")]
    key: PathBuf,
    /// Where to write the public key [default: the private key's path with .pub]
    #[arg(long, value_name = "FILE", env = "TREERING_PUBLIC_KEY")]
    public_key: Option<PathBuf>,
    /// The elliptic curve
    #[arg(long, value_enum, default_value = "p256", env = "TREERING_CURVE")]
    curve: CurveName,
    /// File with the password (or its text in TREERING_KEY_PASSWORD)
    #[arg(long, value_name = "FILE", env = "TREERING_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
    /// Do not encrypt the private key
    #[arg(long, env = "TREERING_NO_PASSWORD", conflicts_with = "password_file")]
    no_password: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum CurveName {
    P256,
    P384,
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let public_path =
        arguments.public_key.clone().unwrap_or_else(|| arguments.key.with_extension("pub"));
    for path in [&arguments.key, &public_path] {
        if path.exists() {
            let why = format!("{} exists, and keys are never overwritten", path.display());
            return Err(Failure::usage("no key was made", why).advise("choose another path"));
        }
    }
    if public_path == arguments.key {
        return Err(Failure::usage("no key was made", "both keys would be in the same file"));
    }
    let password = password(&arguments)?;
    let key = PrivateKey::generate(match arguments.curve {
        CurveName::P256 => Curve::P256,
        CurveName::P384 => Curve::P384,
    })?;
    let pem = key.to_pem(password.as_ref().map(|password| password.as_str()))?;
    write_new(&arguments.key, &pem, 0o600)?;
    write_new(&public_path, &key.public_key().to_pem(), 0o644)?;
    let fingerprint = key.public_key().fingerprint();
    let lines = [
        format!("private key  {}", arguments.key.display()),
        format!("public key   {}", public_path.display()),
        format!("sha256       {fingerprint}"),
    ];
    let json = json!({
        "schema": "treering.keygen/v1",
        "key": arguments.key,
        "publicKey": public_path,
        "sha256": fingerprint.to_hex(),
        "encrypted": password.is_some(),
    });
    output.data(&lines, &json)?;
    Ok(Exit::Ok)
}

fn password(arguments: &Arguments) -> Result<Option<Zeroizing<String>>, Failure> {
    if arguments.no_password {
        return Ok(None);
    }
    let what = "no key was made";
    let password = match given_password(arguments.password_file.as_deref())? {
        Some(password) => password,
        None if std::io::stdin().is_terminal() => {
            let ask = |prompt: &str| {
                rpassword::prompt_password(prompt)
                    .map(Zeroizing::new)
                    .map_err(|error| Failure::usage(what, error))
            };
            let password = ask("Password for the new key: ")?;
            if *ask("The same again: ")? != *password {
                return Err(Failure::usage(what, "the two passwords differ"));
            }
            password
        }
        None => {
            return Err(Failure::usage(what, "a password is needed to encrypt the key")
                .advise("say --password-file, set TREERING_KEY_PASSWORD, or say --no-password"));
        }
    };
    if password.is_empty() {
        return Err(Failure::usage(what, "the password is empty")
            .advise("say --no-password if the key shall not be encrypted"));
    }
    Ok(Some(password))
}
