//! How much may wait to be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of which only so many may be taken at a time.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    taken: Arc<AtomicU64>,
    bytes_max: u64,
}

/// Bytes that were taken, and are given back in the end.
#[derive(Debug)]
pub(super) struct Taken {
    from: Budget,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { taken: Arc::default(), bytes_max }
    }

    /// Takes so many, if there are; what is larger than all of it may be there alone.
    pub(super) fn take(&self, bytes: u64) -> Option<Taken> {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let taken = Taken { from: self.clone(), bytes };
        (before == 0 || before.saturating_add(bytes) <= self.bytes_max).then_some(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.from.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_and_all_of_it_comes_back() {
        let budget = Budget::new(10);
        let first = budget.take(6);
        assert!(first.is_some());
        assert!(budget.take(5).is_none());
        let second = budget.take(4);
        assert!(second.is_some());
        assert!(budget.take(1).is_none());
        drop((first, second));
        // What is too large is written on its own.
        let large = budget.take(11);
        assert!(large.is_some());
        assert!(budget.take(1).is_none());
        drop(large);
        assert!(budget.take(10).is_some());
    }
}
