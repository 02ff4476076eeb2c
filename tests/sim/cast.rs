//! Who acts in a seed: engines that may die and be replaced, and callers that may leave.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use oncegate::engine::{Engine, EngineLoad};
use oncegate::idempotency::Outcome;
use oncegate::telemetry::Metrics;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use crate::plan::{Death, PLACES, Patience, Plan, RequestPlan};
use crate::rng::Rng;
use crate::store::Link;
use crate::tally::Tally;
use crate::work::work;
use crate::world::{Request, Violation, World};

/// Longer than anything in a seed takes.
const FOREVER: Duration = Duration::from_mins(10);

/// An engine, and the process that it runs in.
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) link: Arc<Link>,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) struct Cast {
    pub(crate) world: Arc<World>,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    processes: Vec<Arc<Process>>,
    current: [Option<Arc<Process>>; PLACES],
}

/// What has become of a seed.
pub(crate) struct Verdict {
    pub(crate) violations: Vec<Violation>,
    pub(crate) tally: Tally,
    pub(crate) log: Vec<String>,
}

/// Runs a seed from its beginning to its end.
pub(crate) fn run(seed: u64, keeps_log: bool) -> Verdict {
    let runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let world = runtime.block_on(async {
        let world = World::new(Plan::of(seed), keeps_log);
        let cast = Arc::new(Cast { world: Arc::clone(&world), places: Mutex::default() });
        play(&cast).await;
        world.facts().over = true;
        world
    });
    // Whatever died processes still had is dropped only now.
    drop(runtime);
    let mut facts = world.facts();
    Verdict {
        violations: std::mem::take(&mut facts.violations),
        tally: std::mem::take(&mut facts.tally),
        log: facts.take_log(),
    }
}

async fn play(cast: &Arc<Cast>) {
    let plan = Arc::clone(&cast.world.plan);
    let seed = plan.seed;
    cast.world
        .facts()
        .log(|| format!("seed {seed}: {:#?}", Plan { requests: vec![], ..(*plan).clone() }));
    for place in 0..PLACES {
        cast.start(place, plan.deaths[place]);
    }
    let mut callers = JoinSet::new();
    for request in plan.requests.iter().copied() {
        callers.spawn(call(Arc::clone(cast), request));
    }
    cast.all_end(callers).await;
    look_around(cast).await;
    drain(cast).await;
    cast.world.facts().judge_end();
}

/// When nothing fails any more, everybody gets a definite word about every key.
async fn look_around(cast: &Arc<Cast>) {
    cast.world.facts().calm = true;
    cast.world.facts().log(|| "no more faults".into());
    // Every place that was empty is taken again by then.
    sleep(Duration::from_secs(5)).await;
    let keys = cast.world.plan.keys.len();
    let mut callers = JoinSet::new();
    for place in 0..PLACES {
        for key in 0..keys {
            callers.spawn(call(Arc::clone(cast), Plan::look(place, key)));
        }
    }
    cast.all_end(callers).await;
}

async fn drain(cast: &Arc<Cast>) {
    let processes = cast.places().processes.clone();
    for process in processes.iter().filter(|process| !process.link.dead.is_cancelled()) {
        let number = process.link.id;
        let drained = timeout(FOREVER, process.engine.drained()).await;
        let mut facts = cast.world.facts();
        if drained.is_err() {
            facts.violation(format!("engine {number} never drains"));
        }
        let load = process.engine.load();
        if load != (EngineLoad { work: 0, flights: 0, waiters: 0 }) {
            facts.violation(format!("engine {number} has left something behind: {load:?}"));
        }
        facts.judge_counters(number, &process.metrics);
    }
}

impl Cast {
    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().expect("nobody panics here")
    }

    /// Starts a process, and sees to it that it dies when it shall.
    fn start(self: &Arc<Self>, place: usize, death: Option<Death>) {
        let world = &self.world;
        let mut places = self.places();
        let number = places.processes.len();
        let link = Arc::new(Link::new(number, place, world, death.map(|death| death.when)));
        let metrics = Arc::new(Metrics::default());
        let store = Arc::clone(&link);
        let tokens = Rng::of(&[world.plan.seed, number as u64]).next();
        let limits = world.plan.limits.engine;
        let engine = Engine::new(store, limits, world.clock(), Arc::clone(&metrics), tokens);
        let process = Arc::new(Process { engine, link, metrics });
        places.processes.push(Arc::clone(&process));
        places.current[place] = Some(Arc::clone(&process));
        drop(places);
        let renewing = Arc::clone(&process);
        tokio::spawn(async move {
            renewing.link.alive(renewing.engine.renew_claims()).await;
        });
        if let Some(death) = death {
            tokio::spawn(bury(Arc::clone(self), process, death));
        }
    }

    async fn all_end(&self, mut callers: JoinSet<()>) {
        let all = async { while callers.join_next().await.is_some() {} };
        if timeout(FOREVER, all).await.is_err() {
            self.world.facts().violation("a caller waits forever".into());
        }
    }
}

/// Waits for a death, and replaces the dead.
async fn bury(cast: Arc<Cast>, process: Arc<Process>, death: Death) {
    let link = &process.link;
    if let crate::plan::When::At(at) = death.when {
        let cast = Arc::clone(&cast);
        let link = Arc::clone(link);
        tokio::spawn(async move {
            sleep_until(cast.world.started() + at).await;
            link.die("suddenly").await;
        });
    }
    link.dead.cancelled().await;
    cast.places().current[link.place] = None;
    sleep(death.away).await;
    cast.start(link.place, None);
}

/// One request, from its arrival until its caller has an outcome or has gone.
async fn call(cast: Arc<Cast>, plan: RequestPlan) {
    let world = &cast.world;
    sleep_until(world.started() + plan.at).await;
    let Some(process) = cast.places().current[plan.place].clone() else { return };
    let link = &process.link;
    let number = {
        let mut facts = world.facts();
        let number = facts.requests.len();
        let started = facts.now;
        facts.requests.push(Request { plan, link: link.id, started, ended: None });
        facts.log(|| format!("request {number} to engine {}: {plan:?}", link.id));
        number
    };
    let outcome = tokio::select! {
        biased;
        () = link.dead.cancelled() => None,
        outcome = ask(&process, number, plan) => outcome,
    };
    let mut facts = world.facts();
    facts.requests[number].ended = Some(facts.now);
    match outcome {
        Some(outcome) => facts.judge_outcome(number, &outcome),
        None => facts.log(|| format!("the caller of request {number} has gone")),
    }
    facts.judge_load(process.engine.load());
}

async fn ask(process: &Process, number: usize, plan: RequestPlan) -> Option<Outcome> {
    let Process { engine, link, .. } = process;
    let identity = link.world.plan.identity(&plan);
    let terms = *link.world.plan.terms(plan.key);
    if plan.recalls {
        let recalled = engine.recall(&identity, &terms);
        if recalled.is_some() {
            link.world.facts().tally.count("recalled");
            return recalled;
        }
    }
    let run = engine.run(identity, terms, None, work(Arc::clone(link), number, plan));
    match plan.patience {
        Patience::Forever => Some(run.await),
        Patience::For(time) => timeout(time, run).await.ok(),
        Patience::None => None,
    }
}
