//! What the seeds have been through, so that a simulation of nothing is noticed.

use std::collections::BTreeMap;

/// What every long enough run must have seen.
pub(crate) const EXPECTED: [&str; 24] = [
    "answered: executed",
    "answered: collapsed",
    "answered: replayed",
    "recalled",
    "streaming",
    "failed: unreachable",
    "failed: broken",
    "failed: timed out",
    "refused: key reused",
    "refused: in progress",
    "refused: outcome unknown",
    "refused: answer not kept",
    "refused: busy",
    "refused: store full",
    "refused: store unavailable",
    "store failures",
    "claims of an unknown fate",
    "deaths",
    "take-overs",
    "late answers",
    "work given up",
    "executed again after a release",
    "executed again after the window",
    "work that outlived its caller",
];

/// How often each thing has happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        assert!(EXPECTED.contains(&what), "{what} is not expected");
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}
