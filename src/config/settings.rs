//! Settings: what an instance was told to do.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::choice::ClientCertificate;
use super::warnings::warnings;
use crate::admin::AdminSettings;
use crate::idempotency::Secret;
use crate::policy::Policy;
use crate::store::{Durability, RECORD_BYTES, RedisOptions, WhenFull};
use crate::telemetry::{Format, Selection};
use crate::transport::{Address, Networks, TlsClient, TlsServer};
use crate::upstream::{Endpoint, Protocol};

/// Everything that an instance was told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: Vec<Address>,
    /// Where it can be looked after, and by whom.
    pub admin: AdminSettings,
    /// How its TCP addresses accept connections by TLS, if they do.
    pub tls: Option<TlsServer>,
    /// Whether callers must show a certificate, if they are asked for one.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether connections over TCP begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Who is believed what it says of earlier hops; everybody if there is no network.
    pub trusted: Networks,
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
        let knows = next.store.kind.knows_answers();
        let fixed = [
            ("listen", self.listen != next.listen),
            ("admin", self.admin.address != next.admin.address),
            ("tls", self.tls.is_some() != next.tls.is_some()),
            ("proxy_protocol", self.proxy_protocol != next.proxy_protocol),
            // A caller known by a certificate, or by what a hop says of it, would be another one:
            // its repeats of what was kept would be executed again.
            (
                "tls.client_ca_file",
                self.client_certificate.is_some() != next.client_certificate.is_some(),
            ),
            ("trusted_hops", self.trusted != next.trusted),
            ("workers", self.workers != next.workers),
            ("drain_timeout", self.drain_timeout != next.drain_timeout),
            ("store.max_bytes", self.store.bytes_max != next.store.bytes_max),
            ("store.secret_file", self.secret != next.secret),
            ("telemetry.log_format", self.log.format != next.log.format),
            ("telemetry.log_level", self.log.level != next.log.level),
            // The store has room for what was said at the start.
            ("max_response", knows && self.answer_bytes_max() < next.answer_bytes_max()),
        ];
        let limits = self.limits.fixed_changes(&next.limits);
        let fixed = fixed.into_iter().chain(limits).filter(|(_, changed)| *changed);
        fixed.map(|(name, _)| name).chain(self.store.kind.changes(&next.store.kind)).collect()
    }

    /// The room that a store needs for an answer of so many bytes.
    pub(super) const fn room_of(response_bytes: u64) -> u64 {
        response_bytes
            .saturating_add(Self::ANSWER_HEADER_BYTES_MAX as u64)
            .saturating_add(RECORD_BYTES)
    }
}

/// How a running instance is looked after.
#[derive(Clone)]
pub struct AdminAccess {
    /// Where its admin listener is, if it has one.
    pub address: Option<Address>,
    /// The token that it asks for, if it does.
    pub token: Option<Vec<u8>>,
}

/// The service that an instance stands before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamSettings {
    /// Where it is.
    pub endpoint: Endpoint,
    /// What it is spoken to in.
    pub protocol: Protocol,
    /// How connections by TLS are made; always there for `https`.
    pub tls: Option<TlsClient>,
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

/// What keeps records.
#[derive(Clone, Debug)]
pub enum StoreKind {
    /// The memory of this process.
    Memory(WhenFull),
    /// A folder.
    Disk {
        /// Where it is.
        path: PathBuf,
        /// What must be on the disk before anybody is told of it.
        durability: Durability,
        /// About the most bytes that it takes.
        bytes_max: u64,
    },
    /// Servers that several instances share.
    Redis(Arc<RedisOptions>),
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(_) => f.write_str("memory:"),
            Self::Disk { path, .. } => write!(f, "file://{}", path.display()),
            Self::Redis(options) => write!(f, "redis {}", options.url),
        }
    }
}

impl StoreKind {
    /// Whether it is told at the start how large an answer may be.
    fn knows_answers(&self) -> bool {
        matches!(self, Self::Memory(WhenFull::Refuse) | Self::Disk { .. })
    }

    /// The settings that differ; certificates, keys and passwords are read at the start.
    fn changes(&self, next: &Self) -> Vec<&'static str> {
        let changes = match (self, next) {
            (Self::Memory(full), Self::Memory(next)) => vec![("store.when_full", full != next)],
            (
                Self::Disk { path, durability, bytes_max },
                Self::Disk { path: next_path, durability: next_durability, bytes_max: next_max },
            ) => vec![
                ("store.url", path != next_path),
                ("store.durability", durability != next_durability),
                ("store.max_disk_bytes", bytes_max != next_max),
            ],
            (Self::Redis(one), Self::Redis(next)) => vec![
                ("store.url", one.url != next.url),
                ("store.namespace", one.namespace != next.namespace),
                ("store.timeout", one.timeout != next.timeout),
                ("store.lease", one.lease != next.lease),
            ],
            (Self::Memory(_) | Self::Disk { .. } | Self::Redis(_), _) => vec![("store.url", true)],
        };
        changes.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }
}

/// Where records are kept.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// What keeps them.
    pub kind: StoreKind,
    /// The most bytes that answers take in memory.
    pub bytes_max: u64,
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
    /// Requests that run on one HTTP/2 connection, and guarded ones of any connection, those that
    /// their callers have left included.
    pub streams_max: usize,
    /// Bytes of one request's body that may be on their way over HTTP/2.
    pub stream_window: u32,
    /// Bytes of all bodies of one HTTP/2 connection that may be on their way.
    pub connection_window: u32,
    /// Requests that were taken back and are yet to be done with, on one HTTP/2 connection.
    pub pending_resets_max: usize,
    /// How long an HTTP/2 connection may be silent before it is asked whether it is there.
    pub ping_interval: Duration,
    /// The longest time for the answer to that.
    pub ping_timeout: Duration,
    /// The longest time for a TLS handshake, a PROXY header before it included.
    pub handshake_timeout: Duration,
    /// TLS handshakes that run.
    pub handshakes_max: usize,
}

impl Limits {
    /// Those that can't change while an instance runs, and whether they differ.
    fn fixed_changes(&self, next: &Self) -> [(&'static str, bool); 18] {
        [
            ("limits.max_connections", self.connections_max != next.connections_max),
            ("limits.max_flights", self.flights_max != next.flights_max),
            ("limits.max_waiters", self.waiters_max != next.waiters_max),
            ("limits.max_waiters_per_key", self.waiters_per_key_max != next.waiters_per_key_max),
            ("limits.max_buffered", self.buffered_bytes_max != next.buffered_bytes_max),
            ("limits.header_timeout", self.header_timeout != next.header_timeout),
            ("limits.keep_alive_timeout", self.keep_alive_timeout != next.keep_alive_timeout),
            ("limits.write_timeout", self.write_timeout != next.write_timeout),
            // The server has room for what was said at the start.
            ("limits.max_header_bytes", self.header_bytes_max < next.header_bytes_max),
            ("limits.max_headers", self.headers_max < next.headers_max),
            ("limits.max_streams", self.streams_max != next.streams_max),
            ("limits.stream_window", self.stream_window != next.stream_window),
            ("limits.connection_window", self.connection_window != next.connection_window),
            ("limits.max_pending_resets", self.pending_resets_max != next.pending_resets_max),
            ("limits.ping_interval", self.ping_interval != next.ping_interval),
            ("limits.ping_timeout", self.ping_timeout != next.ping_timeout),
            ("limits.handshake_timeout", self.handshake_timeout != next.handshake_timeout),
            ("limits.max_handshakes", self.handshakes_max != next.handshakes_max),
        ]
    }
}

impl fmt::Debug for AdminAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdminAccess({:?})", self.address)
    }
}
