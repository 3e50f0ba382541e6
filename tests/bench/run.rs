//! One run: the verify ceiling, a new log, a large log, a model; each beside its own ceilings.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use treering_proto::tile::{TILE_WIDTH, Tile, TileKind, decode_hashes};
use treering_tests::binaries::hash_of_this_tree;

use crate::ceilings::{self, SyncTimes, Verifies};
use crate::child::{self, Running};
use crate::load::{self, Load, Measured, Requests};
use crate::machine::{self, CpuTimes};
use crate::report::{Context, Report, Row, grouped};
use crate::server::{Log, Server};
use crate::{Options, check, fill, model, monitor, requests};

/// Connections that writes are measured with.
const CONNECTIONS: [usize; 3] = [1, 64, 256];

/// Connections that reads are measured with, and writes to the large log.
const READERS: usize = 64;

/// Bytes of a full hash tile.
const TILE_BYTES: usize = 8192;

/// Tiles that are read in turn: one level-1 tile vouches for as many.
const TILES_READ_MAX: u64 = 256;

/// The shortest time that a ceiling is measured for.
const CEILING_TIME: Duration = Duration::from_secs(3);

/// What all steps of a run share.
struct Bench<'a> {
    options: &'a Options,
    work: &'a Path,
    program: &'a Path,
    client: &'a Path,
    runtime: Runtime,
    cores: usize,
    report: Report,
    verifies: Verifies,
}

/// A load, and what its server and others used meanwhile.
struct Loaded {
    measured: Measured,
    /// CPU time of the server.
    cpu: Duration,
    /// How much of the machine others had, as a remark.
    others: String,
}

/// Measures everything, and prints the table.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let work = options.work.as_deref().context("--work is missing")?;
    let program = options.server.as_deref().context("--server is missing")?;
    let client = options.client.as_deref().context("--client is missing")?;
    let file_system = machine::file_system(work)?;
    let cores = std::thread::available_parallelism()?.get();
    let runtime = Runtime::new()?;
    end_child_with_us(&runtime)?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
    let before = CpuTimes::read()?;
    let (report, verifies) = (Report::default(), Verifies::default());
    let mut bench = Bench { options, work, program, client, runtime, cores, report, verifies };

    bench.measure_verifies()?;
    bench.measure_small_log()?;
    if !options.quick {
        bench.measure_large_log()?;
    }
    bench.measure_model()?;

    let after = CpuTimes::read()?;
    let context = Context {
        machine: machine::describe(cores, &file_system),
        date,
        sources: hash_of_this_tree(),
        share_of_others: after.share_of_others_since(&before, Duration::ZERO),
        own_cpu: after.own_since(&before),
    };
    println!("{}", bench.report.to_markdown(&context));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&bench.report.to_json(&context))?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

impl Bench<'_> {
    fn measure_verifies(&mut self) -> anyhow::Result<()> {
        self.verifies = ceilings::verifies(self.cores, CEILING_TIME)?;
        let Verifies { rate, cpu_seconds } = self.verifies;
        let row = Row::new("ceiling: P-256 verifies, all cores", rate, "/s");
        let note = format!("{:.0} µs of CPU each; distinct keys, messages", cpu_seconds * 1e6);
        self.report.push(row.note(note));
        Ok(())
    }

    /// Writes at each number of connections, then reads in --quick, where there is no larger log.
    fn measure_small_log(&mut self) -> anyhow::Result<()> {
        let log = Log::create(self.program, self.work, "log")?;
        let server = log.serve()?;
        let mut size = 0;
        let mut answer_len = 0;
        for connections in CONNECTIONS {
            let what = format!("writes, {}", counted(connections));
            let measured = match connections {
                1 => self.write_alone(&log, &server, &what)?,
                _ => self.write(&log, &server, connections, &what)?,
            };
            size += measured.answers as u64;
            answer_len = measured.kept.last().map_or(0, |(_, body)| body.len());
            self.check_size(&log, &server, size)?;
        }
        if self.options.quick {
            self.read(&server, size)?;
            self.monitor(&log, &server)?;
        }
        server.running.stop()?;
        let bodies = Arc::new(requests::make_all(1000, self.cores));
        for connections in CONNECTIONS {
            let requests = Requests::SubmitAgain(bodies.clone());
            self.answer_bare("POST", answer_len, connections, requests)?;
        }
        Ok(())
    }

    /// Start-up, memory and disk at the wanted size, and how fast the log is then.
    fn measure_large_log(&mut self) -> anyhow::Result<()> {
        let size = self.options.entries;
        let log = Log::create(self.program, self.work, "large-log")?;
        let at = grouped(size);
        eprintln!("filling a log with {at} entries");
        let took = fill::fill(log.data(), size, self.cores)?;
        let row = Row::new("fill without HTTP, signing included", rate(size, took), "entries/s");
        self.report.push(row);

        let server = log.serve()?;
        let replayed = server.start;
        server.running.stop()?;
        let server = log.serve()?;
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let row = Row::new(format!("start-up at {at} entries"), millis(server.start), "ms");
        let note = format!("{:.0} ms with the write-ahead log of the fill", millis(replayed));
        self.report.push(row.note(note));
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let resident = mebibytes(server.running.resident_bytes()?);
        self.report.push(Row::new(format!("memory at {at} entries, ready"), resident, "MiB"));
        let disk = log.disk_use()?;
        let row = Row::new("disk per entry", disk.tables as f64 / size as f64, "bytes");
        let wal = mebibytes(disk.wal);
        self.report.push(row.note(format!("and {wal:.0} MiB of write-ahead log")));

        self.check_size(&log, &server, size)?;
        self.monitor(&log, &server)?;
        self.read(&server, size)?;
        let what = format!("writes, {}, at {at} entries", counted(READERS));
        let measured = self.write(&log, &server, READERS, &what)?;
        self.check_size(&log, &server, size + measured.answers as u64)?;
        let resident = mebibytes(server.running.resident_bytes()?);
        self.report.push(Row::new("memory after reads and writes", resident, "MiB"));
        server.running.stop()
    }

    fn measure_model(&mut self) -> anyhow::Result<()> {
        let one = ceilings::hashed_bytes_per_second(1, CEILING_TIME)? / 1e9;
        self.report.push(Row::new("ceiling: SHA-256, one thread", one, "GB/s"));
        let all = ceilings::hashed_bytes_per_second(self.cores, CEILING_TIME)? / 1e9;
        self.report.push(Row::new("ceiling: SHA-256, all cores", all, "GB/s"));
        let len: u64 = if self.options.quick { 256 << 20 } else { 1536 << 20 };
        let files = (2 * self.cores as u64).max(4);
        let rate = model::hashed_bytes_per_second(self.work, len, files)? / 1e9;
        let row = Row::new("hashing a model in page cache", rate, "GB/s");
        let row = row.over(rate / all, "SHA-256, all cores");
        self.report.push(row.note(format!("{} MiB in {files} files", len >> 20)));
        Ok(())
    }

    /// Submits over `connections`, verifies a sample, and reports.
    fn write(
        &mut self,
        log: &Log,
        server: &Server,
        connections: usize,
        what: &str,
    ) -> anyhow::Result<Measured> {
        let (warm_up, time) = (self.options.warm_up(), self.options.time());
        // No run can be faster than the verify ceiling, so these last to the deadline.
        let count = (self.verifies.rate * (warm_up + time).as_secs_f64()) as usize + connections;
        eprintln!("{what}: signing {count} requests");
        let signed = Arc::new(requests::make_all(count, self.cores));
        let batches = server.batches(&self.runtime)?;
        let requests = Requests::Submit(signed.clone());
        let loaded = self.load(&server.running, server.address, connections, requests)?;
        let (entries, millis) = server.batches(&self.runtime)?.mean_since(&batches);

        let Loaded { measured, cpu, others } = loaded;
        for (number, answer) in &measured.kept {
            check::check_answer(log.identity(), &signed[*number], answer)
                .with_context(|| format!("the answer to request {number} is wrong"))?;
        }
        self.report.count(measured.answers, measured.kept.len());
        let each = cpu.as_secs_f64() / measured.answers as f64;
        let busy = cpu.as_secs_f64() / measured.whole.as_secs_f64();
        let note = format!(
            "batches of {entries:.0} in {millis:.2} ms; server {:.0} µs of CPU an entry, {:.0} % of \
             it one verify; {busy:.1} cores busy; {others}",
            each * 1e6,
            self.verifies.cpu_seconds / each * 100.0
        );
        let row = Row::load(what, "entries/s", &measured);
        self.report.push(row.over(measured.rate / self.verifies.rate, "verifies").note(note));
        Ok(measured)
    }

    /// Submits over one connection, and reports what is left of the time to the proof without the
    /// two syncs in it. These are measured before and after: a disk is not always as fast.
    fn write_alone(&mut self, log: &Log, server: &Server, what: &str) -> anyhow::Result<Measured> {
        let mut syncs = SyncTimes::default();
        syncs.measure(self.work, CEILING_TIME / 2)?;
        let measured = self.write(log, server, 1, what)?;
        syncs.measure(self.work, CEILING_TIME / 2)?;
        let (append, overwrite) =
            (load::percentiles(syncs.append)?, load::percentiles(syncs.overwrite)?);
        self.report.push(Row::time("ceiling: append 1.2 KB + fdatasync", append));
        self.report.push(Row::time("ceiling: overwrite 112 B + fdatasync", overwrite));
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let both = micros(append.p50 + overwrite.p50);
        let rest = micros(measured.latencies.p50) - both;
        let row = Row::new("p50 at 1 connection without its two syncs", rest, "µs");
        self.report.push(row.over(rest / both, "the syncs").note(format!("syncs: {both:.0} µs")));
        Ok(measured)
    }

    /// Reads full hash tiles, checks a sample against the level above, and reports.
    fn read(&mut self, server: &Server, size: u64) -> anyhow::Result<()> {
        let full = (size / TILE_WIDTH).min(TILES_READ_MAX);
        ensure!(full > 0, "the log has no full tile yet");
        let path = |level, index, width| {
            format!("/{}", Tile { kind: TileKind::Hashes(level), index, width }.path())
        };
        let paths: Vec<_> = (0..full).map(|index| path(0, index, TILE_WIDTH)).collect();
        let above = load::get(&self.runtime, server.address, &path(1, 0, full))?;
        let above = decode_hashes(&above).context("a tile is not a row of hashes")?;
        let requests = Requests::Read(Arc::new(paths));
        let Loaded { measured, others, .. } =
            self.load(&server.running, server.address, READERS, requests)?;
        let tiles = measured.kept.iter().map(|(n, body)| (n % full as usize, body.clone()));
        check::check_tiles(&tiles.collect::<Vec<_>>(), &above)?;
        self.report.count(measured.answers, measured.kept.len());

        let requests = Requests::Read(Arc::new(vec![path(0, 0, TILE_WIDTH)]));
        let bare = self.answer_bare("GET", TILE_BYTES, READERS, requests)?;
        let row = Row::load(format!("tile reads, {}", counted(READERS)), "tiles/s", &measured);
        self.report.push(row.over(measured.rate / bare.rate, "bare hyper").note(others));
        Ok(())
    }

    /// The client's monitor over the whole log, without and with submitters' signatures.
    fn monitor(&mut self, log: &Log, server: &Server) -> anyhow::Result<()> {
        for signatures in [false, true] {
            let what = match signatures {
                false => "monitor: hashes, tiles, roots, facts",
                true => "monitor: the same and signatures",
            };
            eprintln!("{what}");
            let read = monitor::read(self.client, log, server, signatures)?;
            let rate = read.entries as f64 / read.seconds;
            let row = Row::new(what, rate, "entries/s");
            let row = row.over(rate / self.verifies.rate, "verifies");
            let note = format!(
                "{} entries, {} signatures; server on the same cores",
                grouped(read.entries),
                grouped(read.signatures)
            );
            self.report.push(row.note(note));
        }
        Ok(())
    }

    /// What a bare server does with the same requests and answers as long.
    fn answer_bare(
        &mut self,
        method: &str,
        answer_len: usize,
        connections: usize,
        requests: Requests,
    ) -> anyhow::Result<Measured> {
        let (running, address) = self.bare_server(answer_len)?;
        let Loaded { measured, others, .. } =
            self.load(&running, address, connections, requests)?;
        drop(running);
        let (connections, len) = (counted(connections), grouped(answer_len as u64));
        let what = format!("ceiling: bare hyper, {method}, {len} bytes, {connections}");
        self.report.push(Row::load(what, "answers/s", &measured).note(others));
        Ok(measured)
    }

    /// Runs a load on the server that is `running`.
    fn load(
        &self,
        running: &Running,
        address: SocketAddr,
        connections: usize,
        requests: Requests,
    ) -> anyhow::Result<Loaded> {
        let (warm_up, time) = (self.options.warm_up(), self.options.time());
        let load = Load { address, connections, warm_up, time, requests };
        let (machine, before) = (CpuTimes::read()?, running.cpu_time()?);
        let measured = load::run(&self.runtime, &load)?;
        let cpu = running.cpu_time()? - before;
        let share = CpuTimes::read()?.share_of_others_since(&machine, cpu);
        Ok(Loaded { measured, cpu, others: format!("others {:.0} %", share * 100.0) })
    }

    fn bare_server(&self, answer_len: usize) -> anyhow::Result<(Running, SocketAddr)> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(["--bare-answer", &answer_len.to_string()]);
        let (running, line) = Running::start(&mut command, &self.work.join("bare.messages"))?;
        Ok((running, line.trim().parse()?))
    }

    /// Every answer was an entry of its own: the log has as many as were answered.
    fn check_size(&self, log: &Log, server: &Server, size: u64) -> anyhow::Result<()> {
        let note = load::get(&self.runtime, server.address, "/checkpoint")?;
        let head = check::check_checkpoint(log.identity(), &note)?;
        ensure!(head.size.get() == size, "{} entries, {size} were answered", head.size);
        Ok(())
    }
}

fn counted(connections: usize) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Ends the server when this process is told to end.
fn end_child_with_us(runtime: &Runtime) -> anyhow::Result<()> {
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
