//! `serve`: opens a log, starts its loop, and answers until it is told to stop.

mod announce;
mod behind;
mod timestamps;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use treering_proto::identity::LogIdentity;

use self::behind::Held;
pub use self::timestamps::TimestampSource;
use crate::access::{Access, AccessError, AccessSettings, jwks};
use crate::clock::{self, BatchClock};
use crate::data_directory::{DataDirectory, JOURNAL_DIRECTORY, TOKENS_FILE};
use crate::health::{Health, Refusal};
use crate::http::body::Budget;
use crate::http::gate::Gate;
use crate::http::heavy::Heavy;
use crate::http::offer::{Offer, ReadOnly};
use crate::http::rates::{RateSettings, Rates};
use crate::http::{App, accept};
use crate::journal::{Journal, JournalError, abort_on_panic};
use crate::metrics::Metrics;
use crate::ops::keeper::{self, End, Keeper};
use crate::pool::Pool;
use crate::publisher::Published;
use crate::restored::Heard;
use crate::scrubber::{self, Stop};
use crate::sequencer::Sequencer;
use crate::signer::Signer;
use crate::startup::{self, Asked, OpenLog, Opened, StartError};
use crate::store::{Store, StoreError};
use crate::systemd::{Heartbeat, Manager, Watchdog};
use crate::thinning::Thinning;
use crate::timestamp::{Authority, AuthorityError, Timestamps};
use crate::tls::{Tls, TlsError, TlsFiles};
use crate::witness::{self, AskerContext, Config, ConfigError, Mode, Witnessing};

/// Time after the start at which a log that dates itself does so again, in milliseconds.
const FIRST_RENEWAL_MS: u64 = 60 * 1000;

/// How a log is served.
pub struct Service {
    /// Its data directory.
    pub data: PathBuf,
    /// Its anchor, if it is not where it was last.
    pub anchor: Option<PathBuf>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where else, for reads alone.
    pub read_listen: Option<SocketAddr>,
    /// What is offered there. A log that is frozen is read-only whatever stands here.
    pub offer: Offer,
    /// How TLS is spoken, if it is.
    pub tls: Option<TlsFiles>,
    /// Whether HTTP without TLS may leave this machine.
    pub plain_http: bool,
    /// The file that says who may write what, if there is one.
    pub access_policy: Option<PathBuf>,
    /// Whether a log that had such a file goes on without.
    pub without_access_policy: bool,
    /// Whether anybody may write.
    pub open_writes: bool,
    /// The directory of the access journal, if it is not in the data directory.
    pub journal: Option<PathBuf>,
    /// How often anybody may ask.
    pub rates: RateSettings,
    /// Free space below which nothing is acknowledged, in bytes.
    pub free_disk_min: u64,
    /// Who cosigns its checkpoints, if anybody.
    pub witnesses: Option<Witnesses>,
    /// Whether a log that was witnessed goes on without.
    pub without_witnesses: bool,
    /// Who gives timestamps; by default the log, if it has an authority.
    pub timestamps: Option<TimestampSource>,
}

/// Who cosigns, as the command line says it.
pub struct Witnesses {
    /// A file in C2SP tlog-policy.
    pub policy: PathBuf,
    /// What happens without a quorum.
    pub mode: Mode,
    /// Time for one request, and in open mode for the quorum.
    pub timeout: Duration,
    /// Least time between two checkpoints.
    pub min_interval: Duration,
}

/// Why a log is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The address cannot be used.
    #[error("cannot listen on {listen}: {source}. Choose another address with --{setting}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// The setting that says so.
        setting: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// The witnesses cannot be used.
    #[error(transparent)]
    Witnesses(#[from] ConfigError),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Other machines would talk to the log in clear text.
    #[error(
        "{listen} can be reached from other machines, and HTTP without TLS protects neither tokens nor answers. Give \
         --tls-certificate and --tls-key, or say --plain-http if a proxy in front of it speaks TLS"
    )]
    PlainHttp {
        /// Where.
        listen: SocketAddr,
    },
    /// Nobody knows who may write.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The timestamp authority cannot be used.
    #[error("timestamps: {0}. To serve the log without them: --timestamps off")]
    Timestamps(#[from] AuthorityError),
    /// There is no timestamp authority.
    #[error(
        "--timestamps own was said, and this log has no timestamp authority. To make one: \
         treering-server timestamps init --data {data}"
    )]
    NoAuthority {
        /// Which log.
        data: PathBuf,
    },
    /// What happens cannot be written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Others, such as witnesses, cannot be asked.
    #[error("cannot set up TLS for requests to others: {0}")]
    Client(reqwest::Error),
    /// The process cannot hear signals.
    #[error("cannot wait for signals: {0}")]
    Signal(std::io::Error),
}

/// Serves until SIGTERM or SIGINT. Prints one JSON line when it listens.
pub async fn serve(service: Service) -> Result<(), ServeError> {
    let started = std::time::Instant::now();
    let tls = service.check_transport()?;
    // The addresses first: a second server on the same port must not get as far as the log.
    let (main, address) = bind("listen", service.listen).await?;
    let (reads, read_address) = match service.read_listen {
        Some(listen) => bind("read-listen", listen).await.map(|(a, b)| (Some(a), Some(b)))?,
        None => (None, None),
    };
    let listeners = accept::Listeners { main, reads };
    let config = service.witnesses.as_ref().map(|witnesses| witnesses.load(&service.data));
    let config = config.transpose()?;
    let heard = ask_before(&service, config.as_ref()).await?;
    let asked = service.asked(config.as_ref());
    let opened = startup::open(&service.data, service.anchor.as_deref(), asked, &heard)?;
    let gate = service.gate()?;
    let authority = service.authority()?;
    opened.remember_access_policy(asked.access_policy).map_err(StartError::from)?;
    let heartbeat = Heartbeat::default();
    let Running { app, sequencing, held } = match opened {
        Opened::Log(log) => run_log(*log, &service, gate, authority, config, &heartbeat)?,
        Opened::Behind(behind) => behind::run(*behind, &service, gate, authority, &heartbeat)?,
    };
    let (pool, health) = (app.pool.clone(), app.health.clone());

    let (scrubbing, end) = (Stop::default(), End::default());
    let scrubber = spawn_scrubber(&app, &scrubbing);
    let manager = Manager::from_environment();
    spawn_feeder(manager.watchdog(&heartbeat), &end);
    let keeping = spawn_keeper(Keeper { app: app.clone(), tls: tls.clone() }, &end);

    // Before anybody hears that the server is ready, who may stop it at once.
    let stop = stop_signal().map_err(ServeError::Signal)?;
    announce::narrowed(&app);
    announce::ready(&app, &service, address, read_address, started.elapsed());
    manager.ready(announce::status(&app));
    health.report_to(manager.clone());
    // What is true if the process dies from here on: what was acknowledged is in the log and has
    // its line; whoever heard nothing submits again.
    accept::serve(app.clone(), listeners, tls, stop).await;
    manager.stopping();
    scrubbing.stop();
    health.set_passing(Some(Refusal::Stopping));
    // Submissions outlive their connections. What waits is still logged: until the sequencer has
    // ended, entries may be in the log that have no line.
    pool.stop();
    if let Some(sequencing) = sequencing {
        joined(sequencing).await;
    }
    // Now each submission knows how it ends. When all have ended, each entry of this process has
    // its line, but for power loss. If the time was over before, some may have none; nobody was
    // told that these are logged.
    app.gate.close().await;
    let writing = app.gate.end_lines().expect("nobody else ends the lines");
    drop((held, app));
    joined(writing).await;
    // No line comes any more. The keeper's last round syncs them all, and power loss takes none.
    end.end();
    for thread in [keeping, scrubber] {
        joined(thread).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits for a thread that was told to end.
async fn joined(thread: JoinHandle<()>) {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    assert!(matches!(joined, Ok(Ok(()))), "a thread ends when it is told to");
}

/// A log that is served.
struct Running {
    app: Arc<App>,
    /// The loop that grows it; none for a log that is behind.
    sequencing: Option<JoinHandle<()>>,
    /// What such a log holds instead, until nobody is served any more.
    held: Option<Held>,
}

/// Starts the loop of a log that may grow.
fn run_log(
    log: OpenLog,
    service: &Service,
    gate: Gate,
    authority: Option<Authority>,
    config: Option<Config>,
    heartbeat: &Heartbeat,
) -> Result<Running, ServeError> {
    let clock = BatchClock::new(log.time_ms, clock::read());
    let (store, signer) = (log.store.clone(), log.signer.clone());
    let published = log.publisher.published();
    let app = app(store, published, signer, service, gate, config.as_ref())?;
    let timestamps = authority.map(|authority| Timestamps::new(authority, clock.clone()));
    let app = Arc::new(App { timestamps, ..app });
    let witnessing = config.map(|config| witnessing(&log, &app, config)).transpose()?;
    let sequencer = sequencer(log, clock, &app, service, witnessing, heartbeat.clone());
    let sequencing = std::thread::Builder::new()
        .name("sequencer".into())
        .spawn(move || abort_on_panic("sequencer", || sequencer.run()))
        .expect("a process that just started can start a thread");
    Ok(Running { app, sequencing: Some(sequencing), held: None })
}

impl Service {
    /// Reads everything that the settings name, as `serve` does before it opens the log.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ServeError> {
        self.check_transport()?;
        self.access()?;
        self.authority()?;
        self.witnesses.as_ref().map_or(Ok(()), |witnesses| witnesses.load(&self.data).map(drop))
    }

    /// What is asked for of what the log remembers, too.
    fn asked<'a>(&self, config: Option<&'a Config>) -> Asked<'a> {
        Asked {
            witnesses: config.map(|config| &config.policy),
            without_witnesses: self.without_witnesses,
            access_policy: self.access_policy.is_some(),
            without_access_policy: self.without_access_policy,
        }
    }

    /// Who may write what. The file of tokens need not exist.
    fn access(&self) -> Result<Access, ServeError> {
        let settings = AccessSettings {
            policy: self.access_policy.clone(),
            tokens: self.data.join(TOKENS_FILE),
            open_writes: self.open_writes,
        };
        let client = jwks::http_client().build().map_err(ServeError::Client)?;
        Ok(Access::load(settings, client)?)
    }

    /// What keeps the gate.
    fn gate(&self) -> Result<Gate, ServeError> {
        let journal = self.journal.clone().unwrap_or_else(|| self.data.join(JOURNAL_DIRECTORY));
        Ok(Gate::new(self.access()?, Journal::open(&journal)?))
    }

    /// Loads TLS; refuses to do without where others would listen in.
    fn check_transport(&self) -> Result<Option<Arc<Tls>>, ServeError> {
        let tls = self.tls.clone().map(Tls::load).transpose()?;
        let addresses = [Some(self.listen), self.read_listen];
        let mut beyond = addresses.into_iter().flatten().filter(|listen| !is_here(*listen));
        match beyond.next() {
            Some(listen) if tls.is_none() && !self.plain_http => {
                Err(ServeError::PlainHttp { listen })
            }
            _ => Ok(tls.map(Arc::new)),
        }
    }

    /// What is offered of the log with these rows.
    fn offer(&self, store: &Store) -> Result<Offer, StoreError> {
        let read_only =
            if store.is_frozen()? { Some(ReadOnly::Frozen) } else { self.offer.read_only };
        Ok(Offer { read_only, ..self.offer })
    }
}

/// Whether only this machine reaches an address.
fn is_here(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

async fn bind(
    setting: &'static str,
    listen: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let refused = |source| ServeError::Listen { listen, setting, source };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// What the witnesses of a restored log remember, before anything of it is opened.
async fn ask_before(service: &Service, config: Option<&Config>) -> Result<Heard, ServeError> {
    let mark = DataDirectory::mark(&service.data).map_err(StartError::from)?;
    let Some(config) = config.filter(|_| mark.is_some()) else { return Ok(Heard::default()) };
    let public = DataDirectory::public(&service.data).map_err(StartError::from)?;
    let identity = LogIdentity::open(public.identity.as_bytes()).map_err(StartError::from)?;
    let asked = witness::ask_all(&config.policy, identity.origin(), config.timeout).await;
    asked.map_err(ServeError::Client)
}

fn app(
    store: Store,
    published: Published,
    signer: Arc<Signer>,
    service: &Service,
    gate: Gate,
    witnesses: Option<&Config>,
) -> Result<App, StartError> {
    let health = Health::default();
    Ok(App {
        offer: service.offer(&store)?,
        pool: Arc::new(Pool::new(store.clone(), health.clone())),
        store,
        published,
        identity_document: signer.identity_document(),
        signer,
        health,
        metrics: Arc::new(Metrics::default()),
        gate,
        is_witnessed: witnesses.is_some(),
        needs_quorum: witnesses.is_some_and(|config| config.mode == Mode::Closed),
        stopping: AtomicBool::new(false),
        heavy: Heavy::default(),
        heavy_writes: Heavy::default(),
        budget: Budget::default(),
        rates: Rates::new(service.rates),
        timestamps: None,
    })
}

/// Starts to talk with the witnesses, and proposes the newest head to them: it may never have been
/// published, and an old cosignature is renewed.
fn witnessing(log: &OpenLog, app: &App, config: Config) -> Result<Witnessing, ServeError> {
    let note_key = log.signer.identity().note_key().clone();
    let targets = witness::targets(&config.policy);
    let (mode, timeout) = (config.mode, config.timeout);
    let boot_ms = clock::read().boot_ms;
    let first = log.fenced.clone();
    let (witnessing, questions, events) = Witnessing::new(config, targets.len(), first, boot_ms);
    let (store, pool, metrics) = (log.store.clone(), app.pool.clone(), app.metrics.clone());
    let context = AskerContext { store, note_key, pool, metrics };
    witness::spawn(&context, &targets, timeout, &questions, &events).map_err(ServeError::Client)?;
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    tracing::info!(witnesses = names.join(", "), ?mode, "checkpoints are cosigned");
    if mode == Mode::Open {
        tracing::warn!("fail-open: checkpoints are published when too few witnesses answer");
    }
    Ok(witnessing)
}

impl Witnesses {
    /// Reads the policy for the log in `data`.
    fn load(&self, data: &Path) -> Result<Config, ServeError> {
        let Self { mode, timeout, min_interval, .. } = *self;
        let public = DataDirectory::public(data).map_err(StartError::from)?;
        let identity = LogIdentity::open(public.identity.as_bytes()).map_err(StartError::from)?;
        let policy = Config::load_policy(&self.policy, identity.note_key())?;
        Ok(Config { policy, mode, timeout, min_interval })
    }
}

fn sequencer(
    log: OpenLog,
    clock: BatchClock,
    app: &App,
    service: &Service,
    witnessing: Option<Witnessing>,
    heartbeat: Heartbeat,
) -> DirectorySequencer {
    let OpenLog { directory, store, anchor, signer, publisher, fenced, .. } = log;
    let OpenLog { edge, selfcheck, .. } = log;
    let dates_itself = signer.ml_dsa_key().is_some() && witnessing.is_none();
    let sequencer = Sequencer {
        pool: app.pool.clone(),
        store,
        clock,
        edge,
        selfcheck,
        anchor,
        publisher,
        witnessing,
        newest: fenced,
        // Soon: what start-up found may have been dated long ago. Not at once: a clock that is
        // wrong when the machine starts is mostly set right within a minute, and a date cannot be
        // undone.
        renewal_ms: dates_itself.then(|| clock::read().boot_ms.saturating_add(FIRST_RENEWAL_MS)),
        unpublished: Vec::new(),
        heartbeat,
        health: app.health.clone(),
        metrics: app.metrics.clone(),
        data: directory.path().to_owned(),
        free_disk_min: service.free_disk_min,
        thinning: Thinning::default(),
        last_took: Duration::ZERO,
    };
    DirectorySequencer { sequencer, _directory: directory }
}

/// The loop, and the lock of the directory that it writes.
struct DirectorySequencer {
    sequencer: Sequencer,
    _directory: crate::data_directory::DataDirectory,
}

impl DirectorySequencer {
    fn run(self) {
        self.sequencer.run();
    }
}

/// It must end before the process does: the database closes when the last who reads it lets go, and
/// RocksDB does not survive an exit with a database open.
fn spawn_scrubber(app: &Arc<App>, stop: &Stop) -> JoinHandle<()> {
    let (app, stop) = (app.clone(), stop.clone());
    let scrub = move || {
        scrubber::run(&app.store, &app.published, &app.health, &app.metrics, &stop);
    };
    let spawned = std::thread::Builder::new().name("scrubber".into()).spawn(scrub);
    spawned.expect("a process that just started can start a thread")
}

fn spawn_keeper(keeper: Keeper, end: &End) -> JoinHandle<()> {
    let end = end.clone();
    let spawned = std::thread::Builder::new().name("keeper".into()).spawn(move || keeper.run(&end));
    spawned.expect("a process that just started can start a thread")
}

/// Ends with the process, so nobody waits for it.
fn spawn_feeder(watchdog: Option<Watchdog>, end: &End) {
    let Some(watchdog) = watchdog else { return };
    let end = end.clone();
    let feed = move || keeper::feed(watchdog, &end);
    let spawned = std::thread::Builder::new().name("watchdog".into()).spawn(feed);
    drop(spawned.expect("a process that just started can start a thread"));
}

fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: open requests may end, new ones are refused");
    })
}
