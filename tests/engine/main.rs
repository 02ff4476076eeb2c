//! The engine over a store of its own, with work that ends in every way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test may fail"
)]

mod operator;
mod outcomes;
mod trouble;
