//! End-to-end tests: the real binary between a real socket client and a ledger upstream.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and its helpers are public only to its own modules"
)]

mod support;

mod answers;
mod caps;
mod cmdline;
mod concurrency;
mod examples;
mod forward;
mod framing;
mod hangup;
mod harness;
mod hosts;
mod identity;
mod interim;
mod keys;
mod limits;
mod platform;
mod policy;
mod reload;
mod replay;
mod resources;
mod smuggling;
mod upgrade;
mod upstream;
mod window;
