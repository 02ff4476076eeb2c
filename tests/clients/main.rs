//! Real client SDKs before an upstream that fails: each event and each payment is done once.
//!
//! The SDKs are installed by `tests/clients/install`, and retry by themselves. Everything happens
//! on loopback.

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

mod ledger;
mod policy;
mod regroup;
mod sdk;
mod tap;
mod traffic;

mod rudderstack;
mod segment;
mod stripe;
