//! What the program tells of itself while it serves: its logs, and traces that a collector takes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, its helpers are public only to its own modules, and \
              it waits for few futures"
)]

#[path = "../it/support/mod.rs"]
mod support;

mod collector;
mod context;
mod conversations;
mod logs;
mod outages;
mod sampling;
mod secure;
mod spans;
