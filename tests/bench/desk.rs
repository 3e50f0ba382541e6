//! What people wait for at their own desk: hashing a model, verifying a bundle, starting the
//! client.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use treering_client::verify::{Model, Opened, Policy, verify};
use treering_proto::key::PublicKey;
use treering_proto::trust::{Signer, SignerRule, TrustFile};
use treering_tests::hammer::measured::Latencies;

use crate::ceilings;
use crate::model::{self, write_model};
use crate::openssl::Speed;
use crate::quantity::{Spread, Times, Unit, grouped};
use crate::report::{Part, Row};
use crate::run::Bench;
use crate::server::{Live, Log};

/// Files of a model of many.
const MANY_FILES: u64 = 64;

/// Files that the verified bundle lists: more than most models have.
const LISTED_FILES: u64 = 1_000;

/// How often a bundle is verified, and the client started.
const VERIFIED: usize = 200;
const STARTED: usize = 21;

impl Bench<'_> {
    /// All of it.
    pub(crate) fn measure_desk(&mut self) -> anyhow::Result<()> {
        self.measure_hashing()?;
        self.measure_verifying()?;
        self.measure_starting()
    }

    fn measure_hashing(&mut self) -> anyhow::Result<()> {
        let one = self.sha256("one thread", 1)?;
        let all = self.sha256("all cores", self.cores)?;
        let len: u64 = if self.options.quick { 256 << 20 } else { 1536 << 20 };
        for (files, ceiling, name) in
            [(MANY_FILES, all, "SHA-256, all cores"), (1, one, "SHA-256, one thread")]
        {
            let rate = model::hashed_bytes_per_second(self.work, len, files)?;
            let what = match files {
                1 => "hashing a model of one file".to_owned(),
                _ => format!("hashing a model of {files} files"),
            };
            let ratio = rate.median / ceiling;
            let row = Row::new(what, rate, Unit::BytesPerSecond).over(ratio, name);
            let note = format!("{} in page cache", Unit::Bytes.show(len as f64));
            self.report.push(Part::Client, row.note(note));
            let figures = &mut self.report.figures;
            let here = if files == 1 { &mut figures.one_file } else { &mut figures.many_files };
            *here = Some(ratio);
        }
        Ok(())
    }

    /// SHA-256 with so many threads, beside `openssl speed`.
    fn sha256(&mut self, name: &str, threads: usize) -> anyhow::Result<f64> {
        let rate = ceilings::hashed_bytes_per_second(threads, self.options.ceiling_time())?;
        let row =
            Row::new(format!("ceiling: SHA-256, {name}"), Spread::once(rate), Unit::BytesPerSecond);
        let row = self.beside_openssl(row, rate, Speed::Sha256, threads);
        self.report.push(Part::Ceilings, row);
        Ok(rate)
    }

    /// Verifies a bundle that the shipped client made, by the library call that the client makes.
    fn measure_verifying(&mut self) -> anyhow::Result<()> {
        let live = Log::create(self.program, self.work, "desk-log")?.live(0)?;
        let directory = self.work.join("desk");
        fs::create_dir(&directory)?;
        let (bundle, trust) = sign_model(self.client, &live, &directory)?;
        let key = PublicKey::from_pem(&fs::read_to_string(directory.join("key.pub"))?)?;
        let signers = [SignerRule { name: "bench".to_owned(), who: Signer::Key(key) }];
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let policy = Policy { trust: &trust, signers: &signers, now };
        let mut times = Vec::new();
        for _ in 0..VERIFIED {
            let start = Instant::now();
            let opened = Opened::open(&bundle)?;
            let verification = verify(&opened, &policy, Model::NotRead);
            times.push(start.elapsed());
            let report = verification.report;
            ensure!(report.is_verified(), "the bundle does not verify: {:?}", report.checks());
        }
        live.remove()?;
        fs::remove_dir_all(&directory)?;
        let len = grouped(bundle.len() as u64);
        let what = "verifying a bundle without the model";
        let note = format!("a library call; {LISTED_FILES} files, {len} bytes");
        self.push_times(what, times, &note)
    }

    fn measure_starting(&mut self) -> anyhow::Result<()> {
        let mut times = Vec::new();
        for _ in 0..STARTED {
            let start = Instant::now();
            let output = command(self.client).arg("--version").stdin(Stdio::null()).output()?;
            times.push(start.elapsed());
            ensure!(output.status.success(), "treering --version ended with {}", output.status);
        }
        self.push_times("treering --version", times, "from starting the program to its end")
    }

    fn push_times(&mut self, what: &str, times: Vec<Duration>, note: &str) -> anyhow::Result<()> {
        let latencies = Latencies::of(times).context("nothing was measured")?;
        let once = |time: Duration| Spread::once(time.as_secs_f64());
        let times = Times { p50: once(latencies.p50), p99: once(latencies.p99) };
        let row = Row::new(what, times.p50, Unit::Seconds).times(times).note(note);
        self.report.push(Part::Client, row);
        Ok(())
    }
}

/// The client, which hears nothing of the environment of this process that is meant for another.
pub(crate) fn command(client: &Path) -> Command {
    let mut command = Command::new(client);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TREERING_") {
            command.env_remove(name);
        }
    }
    command.env("NO_PROXY", "*");
    command
}

/// Signs a model with the shipped client; returns the bundle and the log's trust file.
fn sign_model(
    client: &Path,
    live: &Live,
    directory: &Path,
) -> anyhow::Result<(Vec<u8>, TrustFile)> {
    let (model, key) = (directory.join("model"), directory.join("key.pem"));
    write_model(&model, 100, LISTED_FILES)?;
    let trust = live.log.export_trust(&live.server, directory)?;
    let mut keygen = command(client);
    keygen.args(["keygen", "--no-password", "--key"]).arg(&key);
    let mut sign = command(client);
    sign.arg("sign").arg(&model).args(["--name", "bench", "--key"]).arg(&key);
    sign.arg("--trust").arg(&trust).arg("--state").arg(directory.join("state"));
    for mut command in [keygen, sign] {
        let output = command.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?}: {}", said.trim());
    }
    Ok((fs::read(model.join("model.sig"))?, TrustFile::parse(&fs::read(&trust)?)?))
}
