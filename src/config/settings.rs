//! Settings: what an instance was told to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::warnings::warnings;
use crate::idempotency::Secret;
use crate::policy::Policy;
use crate::store::{RECORD_BYTES, WhenFull};
use crate::telemetry::{Format, Selection};
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
    /// How it logs what happens besides.
    pub log: LogSettings,
    /// The service that it stands before.
    pub upstream: UpstreamSettings,
    /// How requests are guarded.
    pub policy: Arc<Policy>,
    /// What keys all hashes.
    pub secret: Secret,
    /// Where records are kept.
    pub store: StoreSettings,
    /// How much may happen at a time.
    pub limits: Limits,
}

impl Settings {
    /// The largest header section that an answer may have, in bytes.
    pub const ANSWER_HEADER_BYTES_MAX: usize = 64 << 10;

    /// The room that an answer may take, header included.
    pub fn answer_bytes_max(&self) -> u64 {
        let bodies = self.policy.routes().map(|route| route.response_bytes_max as u64);
        bodies.max().unwrap_or_default() + Self::ANSWER_HEADER_BYTES_MAX as u64
    }

    /// What is allowed, and yet should be known by whoever runs it.
    pub fn warnings(&self) -> Vec<String> {
        warnings(self)
    }

    /// The settings that differ and can't change while an instance runs.
    pub fn fixed_changes(&self, next: &Self) -> Vec<&'static str> {
        let (limits, others) = (&self.limits, &next.limits);
        let refuses = next.store.when_full == WhenFull::Refuse;
        let fixed = [
            ("listen", self.listen != next.listen),
            ("workers", self.workers != next.workers),
            ("drain_timeout", self.drain_timeout != next.drain_timeout),
            ("store.max_bytes", self.store.bytes_max != next.store.bytes_max),
            ("store.when_full", self.store.when_full != next.store.when_full),
            ("store.secret_file", self.secret != next.secret),
            ("telemetry.log_format", self.log.format != next.log.format),
            ("telemetry.log_level", self.log.level != next.log.level),
            ("limits.max_connections", limits.connections_max != others.connections_max),
            ("limits.max_flights", limits.flights_max != others.flights_max),
            ("limits.max_waiters", limits.waiters_max != others.waiters_max),
            (
                "limits.max_waiters_per_key",
                limits.waiters_per_key_max != others.waiters_per_key_max,
            ),
            ("limits.max_buffered", limits.buffered_bytes_max != others.buffered_bytes_max),
            ("limits.header_timeout", limits.header_timeout != others.header_timeout),
            ("limits.keep_alive_timeout", limits.keep_alive_timeout != others.keep_alive_timeout),
            ("limits.write_timeout", limits.write_timeout != others.write_timeout),
            // The server and the store have room for what was said at the start.
            ("limits.max_header_bytes", limits.header_bytes_max < others.header_bytes_max),
            ("limits.max_headers", limits.headers_max < others.headers_max),
            ("max_response", refuses && self.answer_bytes_max() < next.answer_bytes_max()),
        ];
        fixed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }

    /// The room that a store needs for an answer of so many bytes.
    pub(super) const fn room_of(response_bytes: u64) -> u64 {
        response_bytes
            .saturating_add(Self::ANSWER_HEADER_BYTES_MAX as u64)
            .saturating_add(RECORD_BYTES)
    }
}

/// The service that an instance stands before.
#[derive(Clone, Debug, Eq, PartialEq)]
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

/// How an instance logs what an operator wants to know.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings {
    /// How a line is written.
    pub format: Format,
    /// The least level that is logged.
    pub level: tracing::Level,
}

/// Where records are kept.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The most bytes that they take.
    pub bytes_max: u64,
    /// What happens when there is no room for another.
    pub when_full: WhenFull,
    /// Whether a file has the secret; each start has one of its own otherwise.
    pub has_secret_file: bool,
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
