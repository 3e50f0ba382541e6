//! One run: ceilings, writes, growth with size and reads, the client; each figure beside its own
//! ceilings.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use treering_tests::binaries::hash_of_this_tree;

use crate::machine::{self, CpuTimes};
use crate::openssl::{self, Speed};
use crate::quantity::{Spread, Unit};
use crate::readme::{self, Pages};
use crate::report::{Context, Part, Report, Row};
use crate::server::check_program;
use crate::verifies::{Scheme, VerifyCeilings};
use crate::{Options, child, plots};

/// The shortest time that verifying is measured for.
pub(crate) const CEILING_TIME: Duration = Duration::from_secs(3);

/// What all steps of a run share.
pub(crate) struct Bench<'a> {
    pub(crate) options: &'a Options,
    pub(crate) work: &'a Path,
    pub(crate) program: &'a Path,
    pub(crate) client: &'a Path,
    pub(crate) runtime: Runtime,
    pub(crate) cores: usize,
    pub(crate) report: Report,
    pub(crate) verifies: VerifyCeilings,
    /// The version of OpenSSL, if there is one.
    openssl: Option<String>,
}

/// Measures everything, prints the report, and writes what was asked for. When a step fails, the
/// report of those before it is printed all the same, and says so.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let work = options.work.as_deref().context("--work is missing")?;
    let program = options.server.as_deref().context("--server is missing")?;
    let client = options.client.as_deref().context("--client is missing")?;
    let file_system = machine::file_system(work)?;
    let sources = hash_of_this_tree();
    check_program(program, &sources)?;
    check_outputs(options)?;
    let cores = std::thread::available_parallelism()?.get();
    let runtime = Runtime::new()?;
    end_children_with_us(&runtime)?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
    let before = CpuTimes::read()?;
    let (report, verifies) = (Report::default(), VerifyCeilings::default());
    let openssl = openssl::version();
    let mut bench =
        Bench { options, work, program, client, runtime, cores, report, verifies, openssl };
    let measured = bench.measure();

    let after = CpuTimes::read()?;
    let context = Context {
        machine: machine::describe(cores, &file_system),
        date,
        sources,
        share_of_others: after.share_of_others_since(&before, Duration::ZERO),
        own_cpu: after.own_since(&before),
        runs: options.runs(),
        time: options.time(),
        failed: measured.as_ref().err().map(|error| format!("{error:#}")),
    };
    let written = bench.report.write(options, &context);
    // Why the run failed is worth more than why half a report cannot be written.
    measured.and(written)
}

/// Half an hour of measuring should not end with a file that cannot be written.
fn check_outputs(options: &Options) -> anyhow::Result<()> {
    if let Some(path) = &options.json {
        let opened = File::options().create(true).append(true).open(path);
        opened.with_context(|| format!("cannot write {}", path.display()))?;
    }
    options.write_docs.as_deref().map_or(Ok(()), readme::check)
}

impl Bench<'_> {
    /// All steps, one after the other.
    fn measure(&mut self) -> anyhow::Result<()> {
        self.measure_verifies().context("verifying alone")?;
        self.measure_writes().context("writes")?;
        let options = self.options;
        if let Some(programs) = &options.peers {
            self.measure_peers(programs).context("other logs")?;
        }
        if !options.quick {
            self.measure_growth().context("growth with size")?;
        }
        self.measure_desk().context("the client")
    }

    fn measure_verifies(&mut self) -> anyhow::Result<()> {
        for scheme in Scheme::ALL {
            let verifies = scheme.measure(self.cores, CEILING_TIME)?;
            self.verifies.set(scheme, verifies);
            let what = format!("ceiling: {} verifies, all cores", scheme.name());
            let row = Row::new(what, Spread::once(verifies.rate), Unit::PerSecond("verifies"));
            let each = Unit::Seconds.show(verifies.cpu_seconds);
            let row = row.note(format!("{each} of CPU each; {}", scheme.keys()));
            let speed = match scheme {
                Scheme::P256 => Speed::EcdsaP256,
                Scheme::Rsa2048 => Speed::Rsa2048,
                Scheme::Ed25519ph => Speed::Ed25519,
            };
            let row = self.beside_openssl(row, verifies.rate, speed, self.cores);
            self.report.push(Part::Ceilings, row);
        }
        Ok(())
    }

    /// `row` with what `openssl speed` makes of the same, if it is here.
    pub(crate) fn beside_openssl(&self, row: Row, rate: f64, speed: Speed, threads: usize) -> Row {
        let Some(version) = &self.openssl else {
            return row.note("openssl is not here to compare with");
        };
        eprintln!("openssl speed {}", speed.name());
        let seconds = if self.options.quick { 1 } else { CEILING_TIME.as_secs() };
        match speed.measure(threads, seconds) {
            Ok(theirs) => {
                let row = row.over(rate / theirs, format!("`openssl speed {}`", speed.name()));
                row.note(format!("{version}: {}", speed.unit().show(theirs)))
            }
            // A program of somebody else is no reason to fail.
            Err(error) => row.note(format!("{version}: {error}")),
        }
    }
}

impl Report {
    /// Prints the report, and writes it where it was asked for.
    fn write(&self, options: &Options, context: &Context) -> anyhow::Result<()> {
        let whole = self.to_markdown(context);
        println!("{whole}");
        if let Some(path) = &options.json {
            let json = serde_json::to_string_pretty(&self.to_json(context))?;
            let written = std::fs::write(path, json);
            written.with_context(|| format!("cannot write {}", path.display()))?;
        }
        // Half a run is not what the documents show.
        if let Some(root) = options.write_docs.as_ref().filter(|_| context.failed.is_none()) {
            let head = format!("{}, {}", context.machine, context.date);
            let plots = plots::all(&self.figures, &head);
            let images = plots.iter().map(|(name, _)| format!("![{name}](plots/{name})\n"));
            let command = format!("    ./scripts/bench {}", options.to_arguments());
            let whole = format!("{command}\n\n{whole}\n{}", images.collect::<String>());
            let short = self.to_short_markdown(context);
            readme::write(root, &Pages { short, whole, plots })?;
        }
        Ok(())
    }
}

/// Ends the servers when this process is told to end.
fn end_children_with_us(runtime: &Runtime) -> anyhow::Result<()> {
    let _guard = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    runtime.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        child::end_with_us();
        std::process::exit(130);
    });
    Ok(())
}
