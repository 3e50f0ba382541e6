//! The same ceilings by `openssl speed`, a program that nobody here wrote: whether ours are any
//! good.
//!
//! Out of scope: installing it. Where it is not, the report says so.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::quantity::Unit;

/// What `openssl speed` is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speed {
    /// ECDSA on P-256, verifications a second.
    EcdsaP256,
    /// RSA with 2,048 bits, verifications a second.
    Rsa2048,
    /// Ed25519, verifications a second. It has no speed for Ed25519ph, which differs by one block
    /// of SHA-512.
    Ed25519,
    /// SHA-256, bytes a second.
    Sha256,
}

impl Speed {
    /// Its name in OpenSSL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsap256",
            Self::Rsa2048 => "rsa2048",
            Self::Ed25519 => "ed25519",
            Self::Sha256 => "sha256",
        }
    }

    /// What its figure counts.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::EcdsaP256 | Self::Rsa2048 | Self::Ed25519 => Unit::PerSecond("verifies"),
            Self::Sha256 => Unit::BytesPerSecond,
        }
    }

    /// Runs it with so many processes at once, each operation for so many seconds.
    ///
    /// # Errors
    /// If it fails, or prints what cannot be read.
    pub(crate) fn measure(self, processes: usize, seconds: u64) -> anyhow::Result<f64> {
        let mut command = Command::new("openssl");
        command.args(["speed", "-seconds", &seconds.to_string()]);
        command.args(["-multi", &processes.to_string()]);
        if self == Self::Sha256 {
            // As much at once as the client reads at once; without it six sizes take six times.
            command.args(["-bytes", "262144"]);
        }
        let output = command.arg(self.name()).stdin(Stdio::null()).output();
        let output = output.context("cannot run openssl")?;
        ensure!(
            output.status.success(),
            "openssl speed {}: {}",
            self.name(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let text = String::from_utf8_lossy(&output.stdout);
        self.read(&text).with_context(|| format!("openssl speed {} prints no figure", self.name()))
    }

    /// The figure in what it printed: the last table, which sums up all processes.
    fn read(self, text: &str) -> Option<f64> {
        if self == Self::Sha256 {
            let line = text.lines().rev().find(|line| line.starts_with("sha256"))?;
            let thousands = line.split_whitespace().next_back()?.strip_suffix('k')?;
            return Some(thousands.parse::<f64>().ok()? * 1000.0);
        }
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().rposition(|line| line.contains("verify/s"))?;
        // Columns are counted from the right: what stands on the left has blanks in it.
        let column = lines[at].split_whitespace().rev().position(|word| word == "verify/s")?;
        lines.get(at + 1)?.split_whitespace().rev().nth(column)?.parse().ok()
    }
}

/// The version, if there is an OpenSSL.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("openssl").arg("version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    (output.status.success() && words.len() == 2).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_table_is_read_by_its_columns() {
        let rsa = "Got: +F2:2:2048:271.287129:9827.722772 from 0\n\
                   CPUINFO: OPENSSL_ia32cap=0xfffa3203078bffff:0x40069c219c07ab\n\
                  \x20                 sign    verify    sign/s verify/s\n\
                   rsa 2048 bits 0.001888s 0.000054s    529.7  18675.7\n";
        assert_eq!(Speed::Rsa2048.read(rsa), Some(18_675.7));
        // Since OpenSSL 3.2 encryption comes after it.
        let longer = "   sign  verify  encrypt  decrypt  sign/s verify/s  encr./s  decr./s\n\
                      rsa 2048 bits 0.0005s 0.00001s 0.00001s 0.0005s 1.0 29.5 28.0 1.1\n";
        assert_eq!(Speed::Rsa2048.read(longer), Some(29.5));
        let ecdsa = "                              sign    verify    sign/s verify/s\n \
                     256 bits ecdsa (nistp256)   0.0000s   0.0001s  41234.0  13210.5\n";
        assert_eq!(Speed::EcdsaP256.read(ecdsa), Some(13_210.5));
        assert_eq!(Speed::Sha256.read("sha256          690487.30k\n"), Some(690_487_300.0));
    }

    #[test]
    fn what_is_no_table_has_no_figure() {
        for text in ["", "sign/s verify/s\n", "sign/s verify/s\nrsa fast faster\n"] {
            assert_eq!(Speed::Rsa2048.read(text), None, "{text:?}");
        }
        assert_eq!(Speed::Sha256.read("md5 12.0k"), None);
    }
}
