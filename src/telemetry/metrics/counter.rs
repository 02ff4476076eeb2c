//! Numbers that only grow.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use super::labels::Label;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// One counter for each value of a label.
#[derive(Debug)]
pub struct Counters<L> {
    cells: Box<[Counter]>,
    label: PhantomData<L>,
}

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds so many.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The number so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<L: Label> Counters<L> {
    /// Adds one for the value.
    pub fn increment(&self, value: L) {
        self.cells[value.index()].increment();
    }

    /// The number so far for the value.
    pub fn value(&self, value: L) -> u64 {
        self.cells[value.index()].value()
    }

    /// Every value with its number.
    pub fn iter(&self) -> impl Iterator<Item = (L, u64)> + '_ {
        L::ALL.iter().map(|value| (*value, self.value(*value)))
    }
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Self { cells: L::ALL.iter().map(|_| Counter::default()).collect(), label: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::Handled;
    use super::*;

    #[test]
    fn values_are_counted_apart() {
        let counters = Counters::<Handled>::default();
        counters.increment(Handled::Replayed);
        counters.increment(Handled::Replayed);
        assert_eq!(counters.value(Handled::Replayed), 2);
        assert_eq!(counters.iter().map(|(_, count)| count).sum::<u64>(), 2);
    }
}
