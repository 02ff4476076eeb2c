//! Joins the parts, starts them, and ends them in good order.

mod admin;
#[cfg(feature = "otlp")]
mod export;
#[cfg(not(feature = "otlp"))]
#[path = "without_export.rs"]
mod export;
mod reload;
mod signals;
mod store;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{self, Runtime};
use tokio::time::MissedTickBehavior;

use self::admin::AdminListener;
use self::export::Exporter;
use self::reload::ReloadHandle;
use self::signals::{Asked, Signals};
use self::store::Opened;
use self::workers::{Common, Workers};
use crate::admin::Instance;
use crate::clock::Clock;
use crate::config::{Files, Given, Mistakes, Settings};
use crate::engine::{Engine, EngineLimits};
use crate::message::Budget;
use crate::proxy::Tunnels;
use crate::server::{
    BindError, Listeners, Server, ServerError, ServerLimits, ServerOptions, Shutdown,
    ShutdownHandle, Stage,
};
use crate::store::{DiskOpenError, RedisOpenError, Store};
use crate::telemetry::{AccessLog, Feed, Handled, LineWriter, Metrics, Reloaded, log_dropped};
use crate::transport::Address;

/// How often the store and idle connections are looked after.
const MAINTENANCE: Duration = Duration::from_secs(1);

/// An instance that serves.
#[derive(Debug)]
pub struct App {
    addresses: Vec<Address>,
    engine: Engine,
    metrics: Arc<Metrics>,
    server: Server,
    admin: Option<AdminListener>,
    drain: Drain,
    reload: ReloadHandle,
    /// Listened for from the start, so that none is missed.
    signals: Signals,
    runtime: Runtime,
}

/// What ending in good order takes.
#[derive(Debug)]
struct Drain {
    shutdown: ShutdownHandle,
    timeout: Duration,
    tunnels: Tunnels,
    access_log: LineWriter,
    exporter: Exporter,
}

/// Why an instance was not started, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Its address can't be listened at.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its admin listener can't listen where it should.
    #[error("the admin listener: {0}; --admin takes another address, or off")]
    Admin(#[source] BindError),
    /// Its folder can't be opened.
    #[error(transparent)]
    Disk(#[from] DiskOpenError),
    /// Its Redis can't be used.
    #[error(transparent)]
    Redis(#[from] RedisOpenError),
    /// Its settings have changed since they were read, and can't be used any more.
    #[error(transparent)]
    Changed(#[from] Mistakes),
    /// Its workers can't be started.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The operating system has no randomness.
    #[error("the operating system has no randomness for the secret")]
    Randomness(#[from] getrandom::Error),
    /// A thread or a signal handler can't be had.
    #[error("the operating system has refused a thread or a signal handler")]
    System(#[from] std::io::Error),
    /// Work was left when the time to end had passed.
    #[error("{work} operations or late answers were left when the time to end had passed{}",
        cut(*.tunnels))]
    Undrained {
        /// Operations that ran, or whose late answers were waited for.
        work: usize,
        /// Connections that had become something else than HTTP, such as a WebSocket.
        tunnels: usize,
    },
    /// A second signal has come.
    #[error("ended at once, as a second signal asked for")]
    Interrupted,
}

impl App {
    /// Starts an instance with settings that were loaded from what was `given`, and from `files`.
    pub fn start(given: Given, settings: Settings, files: Files) -> Result<Self, AppError> {
        let (runtime, signals) = Signals::listen()?;
        let listeners = Listeners::bind(&settings.listen, settings.workers)?;
        let admin = admin::bind(&settings)?;
        let addresses = listeners.addresses().to_vec();
        let metrics = Arc::new(Metrics::default());
        let clock = Clock::system();
        let opening = (clock.clone(), Arc::clone(&metrics));
        let opened = store::open(&given, (settings, files), &runtime, opening.0, opening.1)?;
        let Opened { store, settings, files } = opened;
        let settings = Arc::new(settings);
        let engine = engine(&settings, &store, &clock, &metrics)?;
        let (access_log, writer) = AccessLog::start(settings.access_log, &metrics)?;
        let (traces, exporter) = export::start(&metrics)?;
        let entrance = Arc::new(ArcSwap::from_pointee(workers::entrance(&settings)));
        let tunnels = Tunnels::new(settings.limits.connections_max);
        let common = Common {
            engine: engine.clone(),
            budget: Budget::new(settings.limits.buffered_bytes_max),
            tunnels: tunnels.clone(),
            access_log,
            traces,
            feed: Feed::default(),
            entrance: Arc::clone(&entrance),
            admin: Arc::new(ArcSwap::from_pointee(workers::admin(&settings))),
            clock,
            metrics: Arc::clone(&metrics),
        };
        let (shutdown, signal) = ShutdownHandle::new();
        let instance = instance(&settings, &store, &common, &shutdown);
        maintain(store, engine.clone(), signal.clone())?;
        let options = ServerOptions {
            name: "worker",
            entrance: Arc::clone(&entrance),
            limits: server_limits(&settings),
            metrics: Arc::clone(&metrics),
            shutdown: signal,
        };
        let timeout = settings.drain_timeout;
        let drain =
            Drain { shutdown, timeout, tunnels: tunnels.clone(), access_log: writer, exporter };
        let workers = Workers::new(common, Arc::clone(&settings));
        let weak = workers.downgrade();
        let reload = ReloadHandle::start(given, files, weak, settings, Arc::clone(&metrics))?;
        let draining = (engine.clone(), tunnels);
        let server = Server::start(
            listeners,
            options,
            move || workers.begin(),
            move || {
                let (engine, tunnels) = draining.clone();
                async move {
                    engine.drained().await;
                    tunnels.drained().await;
                }
            },
        )?;
        let admin = admin.map(|admin| AdminListener::start(admin, instance)).transpose()?;
        Ok(Self { addresses, engine, metrics, server, admin, drain, reload, signals, runtime })
    }

    /// Where its admin listener is, if it has one.
    pub fn admin_address(&self) -> Option<&Address> {
        self.admin.as_ref().map(AdminListener::address)
    }

    /// The addresses that it listens at; a port is never 0.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// What it counts.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Serves until a signal asks to end, and ends in good order then.
    pub fn run_until_signal(self) -> Result<(), AppError> {
        let mut app = self;
        let name = app.runtime.block_on(async {
            loop {
                match app.signals.next().await {
                    Asked::End(name) => break name,
                    Asked::Reload => app.reload.ask(),
                }
            }
        });
        tracing::info!(signal = name, timeout = ?app.drain.timeout, "draining");
        app.drain().inspect_err(|error| tracing::error!(%error, "not ended in good order"))
    }

    fn drain(self) -> Result<(), AppError> {
        let Self { engine, metrics, server, admin, .. } = self;
        let Drain { shutdown, timeout, tunnels, access_log, exporter } = self.drain;
        let (runtime, mut signals) = (self.runtime, self.signals);
        shutdown.advance(Stage::Draining);
        let (ended, end) = tokio::sync::oneshot::channel();
        let waiting = std::thread::Builder::new().name("drain".into()).spawn(move || {
            server.join();
            // Whoever waited has ended by itself if it is gone.
            let _ = ended.send(());
        })?;
        let result = runtime.block_on(async {
            tokio::select! {
                _ = end => Ok(()),
                () = tokio::time::sleep(timeout) => {
                    let work = engine.load().work;
                    Err(AppError::Undrained { work, tunnels: tunnels.open() })
                }
                () = signals.end() => Err(AppError::Interrupted),
            }
        });
        if result.is_err() {
            shutdown.advance(Stage::Ending);
        }
        if waiting.join().is_err() {
            tracing::error!("the end of the workers was not waited for");
        }
        exporter.finish();
        if let Some(admin) = admin {
            admin.end();
        }
        if !access_log.ends_soon() {
            tracing::error!("the access log was not written to its end");
        }
        log_totals(&metrics);
        result
    }
}

/// That tunnels were cut, if any were.
fn cut(tunnels: usize) -> String {
    if tunnels == 0 { String::new() } else { format!(", and {tunnels} tunnels were cut") }
}

/// What the admin listener looks after.
fn instance(
    settings: &Settings,
    store: &Arc<dyn Store>,
    common: &Common,
    shutdown: &ShutdownHandle,
) -> Instance {
    let (store_kind, store_bytes_max) = admin::store(settings);
    Instance {
        engine: common.engine.clone(),
        store: Arc::clone(store),
        store_kind,
        store_bytes_max,
        metrics: Arc::clone(&common.metrics),
        clock: common.clock.clone(),
        feed: common.feed.clone(),
        shutdown: shutdown.clone(),
        started_at: common.admin.load().read_at,
        terms: Arc::clone(&common.admin),
    }
}

fn engine(
    settings: &Settings,
    store: &Arc<dyn Store>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<Engine, getrandom::Error> {
    let limits = EngineLimits {
        flights_max: settings.limits.flights_max,
        waiters_max: settings.limits.waiters_max,
        waiters_per_key_max: settings.limits.waiters_per_key_max,
    };
    let seed = getrandom::u64()?;
    Ok(Engine::new(Arc::clone(store), limits, clock.clone(), Arc::clone(metrics), seed))
}

fn server_limits(settings: &Settings) -> ServerLimits {
    let limits = &settings.limits;
    ServerLimits {
        connections_max: limits.connections_max,
        // hyper refuses with an empty answer: it is left some room, so that ours comes first.
        header_bytes_max: limits.header_bytes_max.saturating_mul(2),
        headers_max: limits.headers_max.saturating_mul(2),
        header_timeout: limits.header_timeout,
        idle_timeout: limits.keep_alive_timeout,
        write_timeout: limits.write_timeout,
        streams_max: limits.streams_max,
        stream_window: limits.stream_window,
        connection_window: limits.connection_window,
        pending_resets_max: limits.pending_resets_max,
        ping_interval: limits.ping_interval,
        ping_timeout: limits.ping_timeout,
        handshake_timeout: limits.handshake_timeout,
        handshakes_max: limits.handshakes_max,
    }
}

/// Looks after the store in a thread of its own, so that no worker waits for it.
fn maintain(store: Arc<dyn Store>, engine: Engine, mut shutdown: Shutdown) -> std::io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
    let maintenance = move || {
        runtime.block_on(async {
            tokio::select! {
                () = shutdown.reached(Stage::Ending) => {}
                () = look_after(store.as_ref()) => {}
                () = renew(&engine) => {}
            }
        });
    };
    std::thread::Builder::new().name("maintenance".into()).spawn(maintenance)?;
    Ok(())
}

async fn look_after(store: &dyn Store) {
    let mut interval = tokio::time::interval(MAINTENANCE);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trouble = None;
    loop {
        interval.tick().await;
        // Its trouble is told when it begins and when it ends.
        match (trouble.take(), store.maintain().await.err()) {
            (None, Some(error)) => {
                tracing::warn!(%error, "the store can't be looked after");
                trouble = Some(error);
            }
            (Some(_), None) => tracing::info!("the store is looked after again"),
            (_, now) => trouble = now,
        }
    }
}

/// Renews what is claimed, as long as the instance lives.
async fn renew(engine: &Engine) {
    engine.renew_claims().await;
    // Nothing is to be renewed.
    std::future::pending::<()>().await;
}

/// What there was, for whoever reads the end of the log.
fn log_totals(metrics: &Metrics) {
    let requests = |handled| metrics.requests(handled);
    tracing::info!(
        executed = requests(Handled::Executed),
        replayed = requests(Handled::Replayed),
        collapsed = requests(Handled::Collapsed),
        refused = requests(Handled::Refused),
        passed = requests(Handled::Passed),
        observed = requests(Handled::Observed),
        failed = requests(Handled::Failed),
        evicted_before_expiry = metrics.evictions.counter().value(),
        unknown_outcomes = metrics.unknown_outcomes.iter().map(|(_, count)| count).sum::<u64>(),
        reloads_refused = metrics.reloads.value(Reloaded::Refused),
        log_dropped = log_dropped(),
        access_log_dropped = metrics.access_log_dropped.value(),
        trace_spans_dropped = metrics.trace_spans_dropped.value(),
        "ended"
    );
}
