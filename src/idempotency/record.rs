//! Records: what is known of one operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::answer::Answer;
use super::fingerprint::Fingerprint;
use super::origin::Origin;
use crate::clock::Timestamp;

/// What is known of one operation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// What the first request asked for.
    pub fingerprint: Fingerprint,
    /// Who wrote it; a write to the record must show it.
    pub token: LeaseToken,
    /// The last moment at which the record counts: the window from the first request on.
    pub expires_at: Timestamp,
    /// How far the operation is.
    pub state: State,
    /// What the first request was, if that is known.
    pub origin: Option<Arc<Origin>>,
}

/// How far an operation is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    /// It runs, and whoever runs it has said so until then.
    InFlight {
        /// When that word runs out.
        lease_until: Timestamp,
    },
    /// It has ended, and its answer is here.
    Completed {
        /// The answer.
        answer: Answer,
        /// When it was kept.
        kept_at: Timestamp,
    },
    /// It has been executed, but its answer could not be kept.
    Unreplayable,
    /// It may or may not have been executed.
    Indeterminate,
}

/// How far an operation is, as people are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// It runs.
    InFlight,
    /// It has ended, and its answer was kept.
    Completed,
    /// It has ended, and its answer was not kept.
    AnswerNotKept,
    /// Nobody knows whether it was executed.
    OutcomeUnknown,
}

/// Who holds a record: a number that no other claim has.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct LeaseToken(pub u64);

/// Makes tokens.
#[derive(Debug)]
pub struct TokenSource {
    seed: u64,
    next: AtomicU64,
}

impl Record {
    /// Whether the record no longer counts: its window has ended, and nobody is at work on it.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let is_running = match self.state {
            State::InFlight { lease_until } => lease_until >= now,
            State::Completed { .. } | State::Unreplayable | State::Indeterminate => false,
        };
        now > self.expires_at && !is_running
    }
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::InFlight, Self::Completed, Self::AnswerNotKept, Self::OutcomeUnknown];

    /// How far the operation of a record is. One whose holder's word has run out may have been
    /// executed or not.
    pub fn of(record: &Record, now: Timestamp) -> Self {
        match record.state {
            State::InFlight { lease_until } if lease_until >= now => Self::InFlight,
            State::Completed { .. } => Self::Completed,
            State::Unreplayable => Self::AnswerNotKept,
            State::InFlight { .. } | State::Indeterminate => Self::OutcomeUnknown,
        }
    }

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InFlight => "in-flight",
            Self::Completed => "completed",
            Self::AnswerNotKept => "answer-not-kept",
            Self::OutcomeUnknown => "outcome-unknown",
        }
    }
}

impl TokenSource {
    /// A source whose tokens differ from those of a source with another seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }

    /// The next token.
    pub fn next(&self) -> LeaseToken {
        // SplitMix64 (Steele, Lea and Flood, 2014): one to one, so that no token comes twice, and
        // mixed, so that the tokens of two sources are no neighbours.
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut mixed = self.seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        LeaseToken(mixed ^ (mixed >> 31))
    }
}
