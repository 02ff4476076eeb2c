//! Several instances on one Redis: a retry that lands on another one, instances that die or stop for
//! a while, and a Redis that does.
//!
//! `ONCEGATE_REPLICAS=large` asks for campaigns of the size whose figures are published.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, prints what it has counted, and its helpers are public \
              only to its own modules"
)]

#[path = "../stores/groups.rs"]
mod groups;
#[path = "../stores/server.rs"]
#[allow(dead_code, reason = "a vocabulary: not every suite says every word")]
mod server;
#[path = "../it/support/mod.rs"]
mod support;

mod deaths;
mod failover;
mod fleet;
mod outages;
mod repeats;

/// How long a server may take for anything.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
