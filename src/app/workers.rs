//! The proxies of all workers: how they are built, and how others take their places.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use crate::admin::AdminTerms;
use crate::clock::Clock;
use crate::config::Settings;
use crate::engine::Engine;
use crate::message::{Budget, Pace};
use crate::proxy::{Live, Proxy, ProxyLimits, Tunnels};
use crate::server::Entrance;
use crate::telemetry::trace::Traces;
use crate::telemetry::{AccessLog, Feed, Metrics, Traffic};
use crate::upstream::{Upstream, UpstreamOptions};

/// The most idle connections to the upstream that a worker keeps.
const UPSTREAM_IDLE_MAX: usize = 256;

/// How long a slow body may take before its speed is looked at.
const BODY_GRACE: Duration = Duration::from_secs(5);

/// The most header lines that an answer may have.
const ANSWER_HEADERS_MAX: usize = 200;

/// The proxies of all workers. A clone is the same ones.
#[derive(Clone, Debug)]
pub(super) struct Workers(Arc<Shared>);

/// The proxies of all workers, for whoever must not keep them going.
#[derive(Clone, Debug)]
pub(super) struct WeakWorkers(Weak<Shared>);

/// What the proxies of all workers have in common, whatever the settings.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) engine: Engine,
    pub(super) budget: Budget,
    pub(super) tunnels: Tunnels,
    pub(super) access_log: AccessLog,
    pub(super) traces: Traces,
    pub(super) feed: Feed,
    pub(super) entrance: Arc<ArcSwap<Entrance>>,
    pub(super) admin: Arc<ArcSwap<AdminTerms>>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Shared {
    common: Common,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: Arc<Settings>,
    places: Vec<Place>,
}

/// One worker.
#[derive(Debug)]
struct Place {
    runtime: Handle,
    traffic: Arc<Traffic>,
    live: Live,
}

impl Workers {
    pub(super) fn new(common: Common, settings: Arc<Settings>) -> Self {
        let state = Mutex::new(State { settings, places: Vec::new() });
        Self(Arc::new(Shared { common, state }))
    }

    /// The same, without keeping them going.
    pub(super) fn downgrade(&self) -> WeakWorkers {
        WeakWorkers(Arc::downgrade(&self.0))
    }

    /// A proxy for one worker, with connections to the upstream of its own. To be called where the
    /// worker runs.
    pub(super) fn begin(&self) -> Live {
        let mut state = self.state();
        let runtime = Handle::current();
        let upstream = self.0.common.connect(&state.settings, &runtime);
        self.0.common.engine.attach(&runtime);
        let traffic = self.0.common.metrics.traffic();
        let live = Live::new(self.0.common.build(&state.settings, upstream, &traffic));
        state.places.push(Place { runtime, traffic, live: live.clone() });
        live
    }

    /// The settings that hold now.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.state().settings)
    }

    /// Lets other settings hold for new requests. Connections to the upstream are kept where
    /// nothing has changed about them.
    pub(super) fn apply(&self, settings: Arc<Settings>) {
        let mut state = self.state();
        let common = &self.0.common;
        let reconnects = state.settings.upstream != settings.upstream;
        for Place { runtime, traffic, live } in &state.places {
            let upstream = match reconnects {
                true => common.connect(&settings, runtime),
                false => live.current().upstream.clone(),
            };
            live.replace(common.build(&settings, upstream, traffic));
        }
        common.entrance.store(Arc::new(entrance(&settings)));
        common.admin.store(Arc::new(admin(&settings)));
        state.settings = settings;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WeakWorkers {
    /// The workers, if they are still there.
    pub(super) fn upgrade(&self) -> Option<Workers> {
        self.0.upgrade().map(Workers)
    }
}

impl Common {
    fn connect(&self, settings: &Settings, runtime: &Handle) -> Upstream {
        let upstream = &settings.upstream;
        let options = UpstreamOptions {
            protocol: upstream.protocol,
            tls: upstream.tls.clone(),
            connect_timeout: upstream.connect_timeout,
            idle_timeout: upstream.idle_timeout,
            idle_max: UPSTREAM_IDLE_MAX,
            header_bytes_max: Settings::ANSWER_HEADER_BYTES_MAX,
            headers_max: ANSWER_HEADERS_MAX,
        };
        let connections =
            Upstream::new(upstream.endpoint.clone(), options, Arc::clone(&self.metrics));
        runtime.spawn(connections.clone().maintain());
        connections
    }

    fn build(&self, settings: &Settings, upstream: Upstream, traffic: &Arc<Traffic>) -> Proxy {
        let limits = &settings.limits;
        Proxy {
            policy: Arc::clone(&settings.policy),
            engine: self.engine.clone(),
            upstream,
            limits: ProxyLimits {
                header_bytes_max: limits.header_bytes_max,
                headers_max: limits.headers_max,
                target_bytes_max: limits.target_bytes_max,
                pace: Pace {
                    total: limits.body_timeout,
                    grace: BODY_GRACE.min(limits.body_timeout),
                    bytes_per_second_min: limits.body_rate_min,
                },
                pass_timeout: settings.upstream.timeout,
            },
            trusted: settings.trusted.clone(),
            budget: self.budget.clone(),
            tunnels: self.tunnels.clone(),
            clock: self.clock.clone(),
            metrics: Arc::clone(&self.metrics),
            tally: traffic.tally(settings.policy.routes().map(|route| &route.name)),
            access_log: self.access_log.selecting(settings.access_log),
            traces: self.traces.clone(),
            feed: self.feed.clone(),
        }
    }
}

/// How connections come in.
pub(super) fn entrance(settings: &Settings) -> Entrance {
    Entrance {
        tls: settings.tls.clone(),
        proxy_protocol: settings.proxy_protocol,
        trusted: settings.trusted.clone(),
    }
}

/// How the instance is looked after.
pub(super) fn admin(settings: &Settings) -> AdminTerms {
    AdminTerms {
        settings: settings.admin.clone(),
        policy: Arc::clone(&settings.policy),
        read_at: SystemTime::now(),
    }
}
