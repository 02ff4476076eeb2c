//! Two engines on one faulty store, with callers that leave and processes that die: a simulation
//! in which chance comes from a seed and time is not waited for.
//!
//! A seed that fails is printed with the command that runs it alone, with its log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "a test fails by panicking, and names only the cases that it is about"
)]

mod cast;
mod oracle;
mod plan;
mod rng;
mod store;
mod tally;
mod work;
mod world;

use std::env;

use tally::{EXPECTED, Tally};
use world::Violation;

/// How many seeds run when nobody says how many.
const SEEDS: u64 = 2000;

/// With so many seeds, everything worth simulating has happened.
const SEEDS_TELLING: u64 = 500;

#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = number("ONCEGATE_SIM_SEED") {
        let verdict = cast::run(seed, true);
        eprintln!("{}", verdict.log.join("\n"));
        assert!(verdict.violations.is_empty(), "{}", report(seed, &verdict.violations));
        return;
    }
    let seeds = number("ONCEGATE_SIM_SEEDS").unwrap_or(SEEDS);
    let mut tally = Tally::default();
    for seed in 0..seeds {
        let verdict = cast::run(seed, false);
        assert!(verdict.violations.is_empty(), "{}", report(seed, &verdict.violations));
        tally.add(&verdict.tally);
    }
    for what in EXPECTED {
        eprintln!("{:>10} {what}", tally.of(what));
        assert!(seeds < SEEDS_TELLING || tally.of(what) > 0, "never simulated: {what}");
    }
}

#[test]
fn a_seed_means_the_same_every_time() {
    for seed in 0..20 {
        let [one, other] = [(), ()].map(|()| {
            let mut log = cast::run(seed, true).log;
            // Those who wait for one flight are woken at one time, in any order.
            log.sort();
            log
        });
        assert!(!one.is_empty());
        let difference = one.iter().zip(&other).find(|(one, other)| one != other);
        assert_eq!(difference, None, "seed {seed}");
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}

fn report(seed: u64, violations: &[Violation]) -> String {
    let violations = violations.iter();
    let lines = violations.map(|it| format!("  at {} ms: {}\n", it.at.as_millis(), it.what));
    format!(
        "seed {seed} breaks a promise:\n{}run it alone, with its log: ONCEGATE_SIM_SEED={seed} \
         cargo test --test sim no_seed_breaks_a_promise -- --nocapture\n",
        lines.collect::<String>()
    )
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is no number: {value}")))
}
