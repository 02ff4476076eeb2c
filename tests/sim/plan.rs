//! What happens in one seed, decided before anything runs.

use std::time::Duration;

use oncegate::engine::EngineLimits;
use oncegate::idempotency::{
    Broken, Fingerprint, Identity, OnMismatch, OnStoreError, OnUnknown, RecordKey, Terms,
    Unreachable,
};

use crate::rng::Rng;

/// Requests in a seed, before the ones that look at what is left.
pub(crate) const REQUESTS: usize = 40;

/// Places in which an engine runs; when one dies, another takes its place.
pub(crate) const PLACES: usize = 2;

/// After this long the store gives up a call of its own.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// Larger records are too large for the store.
pub(crate) const RECORD_BYTES_MAX: usize = 2048;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) keys: Vec<KeyPlan>,
    pub(crate) requests: Vec<RequestPlan>,
    pub(crate) limits: Limits,
    pub(crate) lease: Duration,
    pub(crate) weather: Weather,
    pub(crate) deaths: [Option<Death>; PLACES],
}

/// A key, and what is agreed for its operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyPlan {
    pub(crate) key: RecordKey,
    pub(crate) terms: Terms,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) engine: EngineLimits,
    /// Whether an engine's limits may be reached.
    pub(crate) tight: bool,
    /// The most records in the store.
    pub(crate) records_max: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestPlan {
    pub(crate) at: Duration,
    pub(crate) place: usize,
    pub(crate) key: usize,
    pub(crate) fingerprint: usize,
    /// Whether it first asks what the engine has at hand.
    pub(crate) recalls: bool,
    pub(crate) patience: Patience,
    pub(crate) work: WorkPlan,
}

/// When a caller leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Patience {
    Forever,
    For(Duration),
    /// Before the engine has done anything for it.
    None,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkPlan {
    pub(crate) takes: Duration,
    pub(crate) ending: Ending,
}

/// How work ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    Keep,
    /// With an answer that the store can't hold.
    KeepLarge,
    Hold,
    Discard,
    Streaming,
    NotSent(Unreachable),
    Unknown(Broken),
    /// Panics before there is a future.
    PanicAtOnce,
    PanicLater,
    Never,
}

/// How the store behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// The longest that a call takes, each way.
    pub(crate) latency_max: Duration,
    /// Calls in a hundred that fail: before the effect, after it, with the reply lost.
    pub(crate) faults: [u64; 3],
    /// A place, and when it can't reach the store.
    pub(crate) outage: Option<(usize, Duration, Duration)>,
}

/// How the first engine in a place dies, and how long the place is empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death {
    pub(crate) when: When,
    pub(crate) away: Duration,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    At(Duration),
    BeforeEffect(u64),
    AfterEffect(u64),
    WorkBegins(u64),
    WorkEnds(u64),
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::of(&[seed]);
        let lease = rng.millis(200, 2500);
        let keys = (0..rng.between(1, 4)).map(|number| key(seed, number, &mut rng)).collect();
        let limits = limits(&mut rng);
        let weather = weather(&mut rng);
        let deaths = [death(&mut rng), death(&mut rng)];
        let mut plan = Self { seed, keys, requests: Vec::new(), limits, lease, weather, deaths };
        let mut at = Duration::ZERO;
        for _ in 0..REQUESTS {
            at += pause(&mut rng);
            plan.requests.push(plan.request(at, &mut rng));
        }
        plan
    }

    fn request(&self, at: Duration, rng: &mut Rng) -> RequestPlan {
        let key = usize::try_from(rng.between(0, self.keys.len() as u64 - 1)).expect("an index");
        let terms = &self.keys[key].terms;
        RequestPlan {
            at,
            place: usize::from(rng.percent(50)),
            key,
            fingerprint: usize::from(rng.percent(10)),
            recalls: rng.percent(50),
            patience: match rng.between(1, 10) {
                1 => Patience::None,
                2 => Patience::For(Duration::ZERO),
                3 | 4 => Patience::For(rng.millis(0, 2000)),
                _ => Patience::Forever,
            },
            work: WorkPlan { takes: duration(terms, rng), ending: ending(rng) },
        }
    }

    /// A request that looks at what is left of a key.
    pub(crate) fn look(place: usize, key: usize) -> RequestPlan {
        let work = WorkPlan { takes: Duration::from_millis(10), ending: Ending::Keep };
        RequestPlan {
            at: Duration::ZERO,
            place,
            key,
            fingerprint: 0,
            recalls: false,
            patience: Patience::Forever,
            work,
        }
    }

    pub(crate) fn identity(&self, request: &RequestPlan) -> Identity {
        let key = self.keys[request.key].key;
        Identity { key, fingerprint: fingerprint(request.fingerprint) }
    }

    pub(crate) fn terms(&self, key: usize) -> &Terms {
        &self.keys[key].terms
    }

    /// Which key it is.
    pub(crate) fn number(&self, key: &RecordKey) -> usize {
        self.keys.iter().position(|plan| plan.key == *key).expect("a key of this seed")
    }

    /// The longest that a reply of the store is under way, if it comes.
    pub(crate) fn reply_max(&self) -> Duration {
        self.weather.latency_max + Duration::from_millis(5)
    }

    /// The longest that one call of the store takes.
    pub(crate) fn call_max(&self) -> Duration {
        (self.weather.latency_max * 2).max(STORE_TIMEOUT) + Duration::from_millis(5)
    }
}

/// What the requests with this number ask for.
pub(crate) fn fingerprint(number: usize) -> Fingerprint {
    Fingerprint::from_bytes(&[u8::try_from(number).expect("few fingerprints"); 32])
}

fn key(seed: u64, number: u64, rng: &mut Rng) -> KeyPlan {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[31] = u8::try_from(number).expect("few keys");
    let window =
        if rng.percent(50) { rng.millis(1500, 12_000) } else { rng.millis(3_600_000, 86_400_000) };
    let on_unknown = if rng.percent(70) { OnUnknown::Hold } else { OnUnknown::Release };
    let terms = Terms {
        window,
        wait: rng.millis(100, 4000),
        timeout: rng.millis(500, 3000),
        linger: rng.millis(0, 5000),
        on_unknown,
        on_mismatch: OnMismatch::Refuse,
        on_store_error: OnStoreError::Refuse,
    };
    KeyPlan { key: RecordKey::from_bytes(bytes), terms }
}

fn limits(rng: &mut Rng) -> Limits {
    let tight = rng.percent(10);
    let most = |max| if tight { max } else { 1000 };
    let engine =
        EngineLimits { flights_max: most(2), waiters_max: most(5), waiters_per_key_max: most(3) };
    Limits { engine, tight, records_max: if rng.percent(5) { 1 } else { 1000 } }
}

fn weather(rng: &mut Rng) -> Weather {
    let latency_max = Duration::from_millis(rng.pick(&[0, 0, 2, 20, 100, 600]));
    let faults = rng.pick(&[[0, 0, 0], [0, 0, 0], [3, 3, 1], [10, 10, 3], [0, 20, 10], [25, 5, 0]]);
    let outage = rng.percent(20).then(|| {
        let from = rng.millis(0, 10_000);
        (usize::from(rng.percent(50)), from, from + rng.millis(100, 6000))
    });
    Weather { latency_max, faults, outage }
}

fn death(rng: &mut Rng) -> Option<Death> {
    let when = match rng.between(1, 12) {
        1 => When::At(rng.millis(0, 15_000)),
        2 => When::BeforeEffect(rng.between(1, 40)),
        3 => When::AfterEffect(rng.between(1, 40)),
        4 => When::WorkBegins(rng.between(1, 8)),
        5 => When::WorkEnds(rng.between(1, 8)),
        _ => return None,
    };
    Some(Death { when, away: rng.millis(0, 3000) })
}

/// Between two requests.
fn pause(rng: &mut Rng) -> Duration {
    match rng.between(1, 20) {
        1..=8 => Duration::ZERO,
        9..=14 => rng.millis(1, 60),
        15..=19 => rng.millis(60, 1500),
        _ => rng.millis(1500, 15_000),
    }
}

fn duration(terms: &Terms, rng: &mut Rng) -> Duration {
    match rng.between(1, 10) {
        1 => Duration::ZERO,
        2..=5 => rng.millis(1, 100),
        6..=8 => rng.millis(100, 1500),
        9 => terms.timeout + rng.millis(1, 4000),
        _ => terms.timeout + terms.linger + rng.millis(1, 10_000),
    }
}

fn ending(rng: &mut Rng) -> Ending {
    let unreachable = [
        Unreachable::Refused,
        Unreachable::ConnectTimeout,
        Unreachable::NoAddress,
        Unreachable::Unsent,
    ];
    match rng.between(1, 20) {
        1..=9 => Ending::Keep,
        10 => Ending::KeepLarge,
        11 => Ending::Hold,
        12 | 13 => Ending::Discard,
        14 => Ending::Streaming,
        15 => Ending::NotSent(rng.pick(&unreachable)),
        16 => Ending::Unknown(rng.pick(&[Broken::Incomplete, Broken::Malformed])),
        17 => Ending::PanicAtOnce,
        18 | 19 => Ending::PanicLater,
        _ => Ending::Never,
    }
}
