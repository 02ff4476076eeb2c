//! Records that had to go for want of room, and for how long they were kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::counter::Counter;
use crate::clock::Timestamp;

/// How long a lack of room is held against the store.
const LATELY: Duration = Duration::from_mins(5);

/// Records that were dropped for want of room before their window had ended.
#[derive(Debug, Default)]
pub struct Evictions {
    count: Counter,
    /// When the last one was dropped, and how long it had been kept; in milliseconds.
    at: AtomicU64,
    kept: AtomicU64,
}

impl Evictions {
    /// A record was dropped that had been kept since then.
    pub fn dropped(&self, kept_at: Timestamp, now: Timestamp) {
        self.count.increment();
        self.kept.store(now.since(kept_at).as_millis().try_into().unwrap_or(u64::MAX), RELAXED);
        self.at.store(now.as_millis(), RELAXED);
    }

    /// How long records were kept that were dropped lately, if any were.
    pub fn lately(&self, now: Timestamp) -> Option<Duration> {
        let at = Timestamp::from_millis(self.at.load(RELAXED));
        let is_lately = self.count.value() > 0 && now.since(at) <= LATELY;
        is_lately.then(|| Duration::from_millis(self.kept.load(RELAXED)))
    }

    /// How many there were.
    pub const fn counter(&self) -> &Counter {
        &self.count
    }
}

const RELAXED: Ordering = Ordering::Relaxed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_counts_for_a_while() {
        let evictions = Evictions::default();
        let at = Timestamp::from_millis;
        assert_eq!(evictions.lately(at(0)), None);
        evictions.dropped(at(1_000), at(4_000));
        assert_eq!(evictions.lately(at(300_000)), Some(Duration::from_secs(3)));
        assert_eq!(evictions.lately(at(304_001)), None);
        assert_eq!(evictions.counter().value(), 1);
    }
}
