//! Settings: what an instance was told to do.

mod units;

use std::net::SocketAddr;
use std::time::Duration;

pub use units::{Bytes, UnitError, parse_bytes, parse_duration};

use crate::store::{RECORD_BYTES, WhenFull};
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

/// Settings that contradict each other.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Contradiction {
    /// A store that refuses rather than evicts has no room for even one answer.
    #[error(
        "a store of {bytes_max} bytes that refuses when it is full has no room for one answer of \
         {answer_bytes} bytes, header included; give it more, or keep smaller answers"
    )]
    StoreTooSmall {
        /// The room of the store.
        bytes_max: u64,
        /// The room that one answer may take.
        answer_bytes: u64,
    },
}

impl Settings {
    /// The largest header section that an answer may have, in bytes.
    pub const ANSWER_HEADER_BYTES_MAX: usize = 64 << 10;

    /// The room that an answer may take, header included.
    pub fn answer_bytes_max(&self) -> u64 {
        self.guard.response_bytes_max as u64 + Self::ANSWER_HEADER_BYTES_MAX as u64
    }

    /// Finds the settings that contradict each other.
    pub fn check(&self) -> Result<(), Contradiction> {
        let StoreSettings { bytes_max, when_full } = self.store;
        let answer_bytes = self.answer_bytes_max() + RECORD_BYTES;
        match when_full {
            WhenFull::Refuse if bytes_max < answer_bytes => {
                Err(Contradiction::StoreTooSmall { bytes_max, answer_bytes })
            }
            WhenFull::Evict | WhenFull::Refuse => Ok(()),
        }
    }
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
