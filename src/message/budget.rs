//! A limit on the bytes that all requests together may hold in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that many holders share.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

/// A part of a [`Budget`]; it is given back on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

#[derive(Debug)]
struct Shared {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    /// A budget of `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shared { used: AtomicUsize::new(0), bytes_max }))
    }

    /// An empty reservation, to be grown.
    pub fn reserve_none(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// The bytes that are reserved now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// Takes `bytes` more, even if that exceeds the budget, which is then refused to others.
    ///
    /// For what must not be lost any more, and has a limit of its own.
    pub fn take(&mut self, bytes: usize) {
        self.budget.0.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Reserves `bytes` more, or nothing and `false` if that would exceed the budget.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let before = self.budget.0.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.budget.0.bytes_max {
            self.budget.0.used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_exceeded_and_is_given_back() {
        let budget = Budget::new(10);
        let mut first = budget.reserve_none();
        let mut second = budget.reserve_none();
        assert!(first.grow(6));
        assert!(!second.grow(5));
        assert!(second.grow(4));
        assert_eq!(budget.used(), 10);
        drop(first);
        assert!(second.grow(6));
        second.take(5);
        assert_eq!(budget.used(), 15);
        assert!(!budget.reserve_none().grow(1));
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
