//! What operators are given: manifests, alert rules, the dashboard, the image, shell completions,
//! manual pages, and the recipes of the README.
//!
//! `tests/run` installs what reads them, and `tests/deploy/install` the validators.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and its helpers are public only to its own modules"
)]

mod instance;
mod tools;

mod image;
mod kubernetes;
mod prometheus;
mod readme;
mod shells;
