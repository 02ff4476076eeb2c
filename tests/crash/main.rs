//! The proxy is killed at every step of a request, and started again on the same folder, while other
//! callers go on: nothing is executed twice, and no answer that anybody has had is lost.
//!
//! `ONCEGATE_CRASHES` says how often it is killed at each step.

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

#[path = "../it/support/mod.rs"]
mod support;

mod campaign;
mod folder;
mod hung;
mod load;
mod step;

use campaign::Campaign;
use step::Step;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_the_claim() {
    Campaign::run(Step::BeforeClaim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_claim() {
    Campaign::run(Step::AfterClaim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_sending() {
    Campaign::run(Step::AfterSend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_answer() {
    Campaign::run(Step::AfterAnswer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_keeping() {
    Campaign::run(Step::AfterStore).await;
}
