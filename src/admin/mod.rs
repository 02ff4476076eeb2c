//! What operators use: health, metrics, the dashboard, and the API behind it.
//!
//! It has a listener, a thread and limits of its own, so that neither it nor the requests that it
//! stands beside can hold the other up.

mod answer;
mod drain;
mod endpoint;
mod feed;
mod guard;
mod health;
mod metrics;
mod openapi;
mod page;
mod problem;
mod records;
mod status;
mod token;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

pub use self::answer::AdminBody;
use self::answer::Answer;
use self::endpoint::{Endpoint, Found};
use self::problem::AdminProblem;
pub use self::token::AdminToken;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::message::{Budget, Inbound, Pace, Style, read};
use crate::policy::Policy;
use crate::server::{Caller, Service, ShutdownHandle};
use crate::store::Store;
use crate::telemetry::{Feed, Metrics};
use crate::transport::Address;

/// The largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 16 << 10;

/// What all bodies together may take, in bytes.
const BODIES_BYTES_MAX: usize = 1 << 20;

/// How slowly a body may come.
const PACE: Pace = Pace {
    total: Duration::from_secs(10),
    grace: Duration::from_secs(5),
    bytes_per_second_min: 100,
};

/// The most feeds that are read at a time.
const FEEDS_MAX: usize = 16;

/// The most pages of records that are made at a time: each may go through much of the store.
const LISTS_MAX: usize = 4;

/// Where an instance can be looked after, and by whom.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AdminSettings {
    /// Where it listens for that; nowhere if there is no address.
    pub address: Option<Address>,
    /// What the API asks for.
    pub token: Option<AdminToken>,
    /// Whether the API shows the answers that are kept.
    pub shows_answers: bool,
}

/// What is looked after.
#[derive(Debug)]
pub struct Instance {
    /// What runs operations.
    pub engine: Engine,
    /// Where records are.
    pub store: Arc<dyn Store>,
    /// What kind of store that is.
    pub store_kind: StoreName,
    /// The most bytes that it may hold, where that is for this instance to say.
    pub store_bytes_max: Option<u64>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Clock,
    /// Where duplicates are told of.
    pub feed: Feed,
    /// What tells the instance to drain.
    pub shutdown: ShutdownHandle,
    /// When it was started.
    pub started_at: SystemTime,
    /// What may change while it runs.
    pub terms: Arc<ArcSwap<AdminTerms>>,
}

/// What kind of store there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreName {
    /// Memory.
    Memory,
    /// A folder.
    Disk,
    /// Redis.
    Redis,
}

/// What the admin listener goes by, as long as the settings do not change.
#[derive(Clone, Debug)]
pub struct AdminTerms {
    /// Where it is, and who may use it.
    pub settings: AdminSettings,
    /// How requests are guarded.
    pub policy: Arc<Policy>,
    /// When these settings were read.
    pub read_at: SystemTime,
}

impl Instance {
    /// For how long records are kept, in fact: as long as was promised, unless some had to go for
    /// want of room lately.
    fn effective_window(&self, terms: &AdminTerms) -> Duration {
        let windows = terms.policy.routes().map(|route| route.terms.window);
        let promised = windows.max().unwrap_or_default();
        let kept = self.metrics.evictions.lately(self.clock.now());
        kept.map_or(promised, |kept| kept.min(promised))
    }
}

/// Answers the requests of operators. A clone does so for the same instance.
#[derive(Clone, Debug)]
pub struct Admin(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    instance: Instance,
    budget: Budget,
    feeds: Arc<Semaphore>,
    lists: Semaphore,
}

impl Admin {
    /// Looks after an instance.
    pub fn new(instance: Instance) -> Self {
        let feeds = Arc::new(Semaphore::new(FEEDS_MAX));
        let (budget, lists) = (Budget::new(BODIES_BYTES_MAX), Semaphore::new(LISTS_MAX));
        Self(Arc::new(Shared { instance, budget, feeds, lists }))
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, AdminProblem> {
        let (parts, body) = request.into_parts();
        let terms = self.0.instance.terms.load_full();
        let path = parts.uri.path();
        let Found { endpoint, key } = endpoint::find(&parts.method, path)?;
        guard::admit(&parts, endpoint, &terms.settings)?;
        let body = Inbound::new(body, parts.version);
        let body = read(body, Style::Plain, BODY_BYTES_MAX, &self.0.budget, &PACE).await?.bytes;
        let query = parts.uri.query();
        let instance = &self.0.instance;
        match endpoint {
            Endpoint::Livez => Ok(health::alive()),
            Endpoint::Readyz => Ok(health::ready(instance, &terms, query)),
            Endpoint::Metrics => metrics::show(instance, &terms, &parts.headers),
            Endpoint::Page(file) => Ok(page::show(file)),
            Endpoint::Status => Ok(status::show(instance, &terms)),
            Endpoint::Duplicates => feed::follow(instance, &self.0.feeds),
            Endpoint::ShowDrain => Ok(drain::show(instance)),
            Endpoint::Drain => Ok(drain::begin(instance)),
            Endpoint::Records => {
                let _place = self.0.lists.try_acquire().map_err(|_| AdminProblem::Busy)?;
                records::list(instance, query).await
            }
            Endpoint::Record => records::show(instance, &terms, key).await,
            Endpoint::Forget => records::forget(instance, key, &body).await,
            Endpoint::Acknowledge => records::acknowledge(instance, key, &body).await,
            Endpoint::Fail => records::fail(instance, key, &body).await,
            Endpoint::OpenApi => Ok(openapi::show()),
        }
    }
}

impl Service for Admin {
    type Body = AdminBody;

    async fn call(&self, request: Request<Incoming>, _: &Caller) -> Response<AdminBody> {
        let answer = self.answer(request).await;
        answer.unwrap_or_else(AdminProblem::into_answer).into_response()
    }
}
