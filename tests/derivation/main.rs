//! What a request is known by, against a naive model of it: two requests have the same record key
//! and the same fingerprint if and only if all that should count is the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]
#![allow(unreachable_pub, missing_docs, reason = "the modules of a test are nobody's interface")]

mod attempts;
mod bodies;
mod change;
mod generate;
mod json;
mod model;
mod policies;
mod request;
mod rich;
mod same;
mod slots;
mod tokens;

use proptest::prelude::*;

/// This many cases, or `PROPTEST_CASES` if that is more.
fn config(cases: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(cases), failure_persistence: None, ..config }
}
