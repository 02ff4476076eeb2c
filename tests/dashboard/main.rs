//! The dashboard in a real browser, before the real program: what is clicked, and what it shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and its helpers are public only to its own modules"
)]

#[allow(dead_code, reason = "a vocabulary: not every suite says every word")]
#[path = "../peers/program.rs"]
mod program;
#[path = "../it/support/mod.rs"]
mod support;

mod access;
mod browser;
mod decisions;
mod figures;
mod hands;
mod operator;
mod scene;
