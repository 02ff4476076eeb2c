//! Settings: what an instance was told to do.

mod units;

use std::net::SocketAddr;
use std::time::Duration;

pub use units::{Bytes, UnitError, parse_bytes, parse_duration};

use crate::store::WhenFull;
use crate::telemetry::Selection;
use crate::upstream::Endpoint;

/// Everything that an instance was told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How many workers it has.
    pub workers: usize,
    /// How long it may take to end in good order.
    pub drain_timeout: Duration,
    /// Which requests it logs.
    pub access_log: Selection,
    /// The service that it stands before.
    pub upstream: UpstreamSettings,
    /// How requests are guarded.
    pub guard: GuardSettings,
    /// Where records are kept.
    pub store: StoreSettings,
    /// How much may happen at a time.
    pub limits: Limits,
}

/// The service that an instance stands before.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Where it is.
    pub endpoint: Endpoint,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// How much longer a late answer is listened for.
    pub linger: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
}

/// How requests are guarded.
#[derive(Clone, Copy, Debug)]
pub struct GuardSettings {
    /// How long a record counts, from the first request on.
    pub window: Duration,
    /// How long a repeat waits for the first request to end.
    pub wait: Duration,
    /// The largest request that is guarded, in bytes.
    pub request_bytes_max: usize,
    /// The largest answer that is kept, in bytes.
    pub response_bytes_max: usize,
}

/// Where records are kept.
#[derive(Clone, Copy, Debug)]
pub struct StoreSettings {
    /// The most bytes that they take.
    pub bytes_max: u64,
    /// What happens when there is no room for another.
    pub when_full: WhenFull,
}

/// How much may happen at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections from callers.
    pub connections_max: usize,
    /// Operations that run.
    pub flights_max: usize,
    /// Callers that wait for others' operations.
    pub waiters_max: usize,
    /// Callers that wait for one operation.
    pub waiters_per_key_max: usize,
    /// Bytes that bodies take in memory while they are read and sent.
    pub buffered_bytes_max: usize,
    /// The longest time for a header section, or until a new connection's first request.
    pub header_timeout: Duration,
    /// The longest time between the requests of a connection.
    pub keep_alive_timeout: Duration,
    /// The longest time for a body that is read whole.
    pub body_timeout: Duration,
    /// The least speed of such a body, in bytes per second.
    pub body_rate_min: u64,
    /// The longest time in which a caller takes nothing of its answer.
    pub write_timeout: Duration,
    /// The largest header section, in bytes.
    pub header_bytes_max: usize,
    /// The most header lines.
    pub headers_max: usize,
    /// The longest target, in bytes.
    pub target_bytes_max: usize,
}
