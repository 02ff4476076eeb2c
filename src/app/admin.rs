//! The admin listener: a server of its own, which ends after everything else has.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::AppError;
use crate::admin::{Admin, Instance, StoreName};
use crate::config::{Settings, StoreKind};
use crate::server::{
    Entrance, Listeners, Server, ServerError, ServerLimits, ServerOptions, ShutdownHandle, Stage,
};
use crate::telemetry::Metrics;
use crate::transport::Address;

/// What its connections may take: it has few of them, and its requests are small. One that asks
/// nothing soon gives its place to others, so that probes always find one.
const LIMITS: ServerLimits = ServerLimits {
    connections_max: 256,
    header_bytes_max: 32 << 10,
    headers_max: 100,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(5),
    write_timeout: Duration::from_secs(30),
    streams_max: 32,
    stream_window: 65_535,
    connection_window: 1 << 20,
    pending_resets_max: 20,
    ping_interval: Duration::from_secs(30),
    ping_timeout: Duration::from_secs(20),
    handshake_timeout: Duration::from_secs(10),
    handshakes_max: 16,
};

/// The admin listener of an instance.
#[derive(Debug)]
pub(super) struct AdminListener {
    address: Address,
    server: Server,
    shutdown: ShutdownHandle,
}

/// Listens where the settings say, if they do.
pub(super) fn bind(settings: &Settings) -> Result<Option<Listeners>, AppError> {
    let bind = |address: &Address| Listeners::bind(std::slice::from_ref(address), 1);
    settings.admin.address.as_ref().map(bind).transpose().map_err(AppError::Admin)
}

impl AdminListener {
    /// Serves what operators ask of an instance.
    pub(super) fn start(listeners: Listeners, instance: Instance) -> Result<Self, ServerError> {
        let [address] = listeners.addresses() else { return Err(nowhere()) };
        let address = address.clone();
        let (shutdown, signal) = ShutdownHandle::new();
        let options = ServerOptions {
            name: "admin",
            limits: LIMITS,
            entrance: Arc::new(ArcSwap::from_pointee(Entrance::default())),
            // What operators do is not what callers do.
            metrics: Arc::new(Metrics::default()),
            shutdown: signal,
        };
        let admin = Admin::new(instance);
        let service = move || admin.clone();
        let server = Server::start(listeners, options, service, std::future::pending::<()>)?;
        Ok(Self { address, server, shutdown })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// Ends it.
    pub(super) fn end(self) {
        self.shutdown.advance(Stage::Ending);
        self.server.join();
    }
}

fn nowhere() -> ServerError {
    std::io::Error::from(std::io::ErrorKind::AddrNotAvailable).into()
}

/// What the store is called, and the most bytes that it may hold, if that is for this instance to
/// say.
pub(super) fn store(settings: &Settings) -> (StoreName, Option<u64>) {
    match &settings.store.kind {
        StoreKind::Memory(_) => (StoreName::Memory, Some(settings.store.bytes_max)),
        StoreKind::Disk { bytes_max, .. } => (StoreName::Disk, Some(*bytes_max)),
        StoreKind::Redis(_) => (StoreName::Redis, None),
    }
}
