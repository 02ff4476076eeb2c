//! How long things take, as counts of how many took no longer than what.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::labels::Label;

/// The upper bounds of the buckets, in microseconds: from a replay out of memory to the longest
/// that an upstream may take unless it is told otherwise.
pub(super) const BOUNDS: [u64; 19] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    60_000_000,
    300_000_000,
];

/// How many took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    /// How many took no longer than each bound, but longer than the one before; the last is for
    /// what is over all of them.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// One histogram for each value of a label.
#[derive(Debug)]
pub struct Histograms<L> {
    cells: Box<[Histogram]>,
    label: PhantomData<L>,
}

/// What a histogram has counted so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counted {
    pub(super) buckets: [u64; BOUNDS.len() + 1],
    pub(super) micros: u64,
}

impl Histogram {
    /// Counts one that took so long.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn counted(&self) -> Counted {
        let buckets = self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        Counted { buckets, micros: self.micros.load(Ordering::Relaxed) }
    }
}

impl Counted {
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The same with what another histogram has counted.
    pub(super) fn and(mut self, other: &Self) -> Self {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.micros += other.micros;
        self
    }
}

impl<L: Label> Histograms<L> {
    /// Counts one of this value that took so long.
    pub fn observe(&self, value: L, took: Duration) {
        self.cells[value.index()].observe(took);
    }

    pub(super) fn counted(&self, value: L) -> Counted {
        self.cells[value.index()].counted()
    }
}

impl<L: Label> Default for Histograms<L> {
    fn default() -> Self {
        Self { cells: L::ALL.iter().map(|_| Histogram::default()).collect(), label: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for micros in [0, 50, 51, 300_000_000, 300_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counted = histogram.counted();
        assert_eq!((counted.buckets[0], counted.buckets[1]), (2, 1));
        assert_eq!((counted.buckets[BOUNDS.len() - 1], counted.buckets[BOUNDS.len()]), (1, 1));
        assert_eq!((counted.count(), counted.micros), (5, 600_000_102));
        assert_eq!(counted.and(&counted).count(), 10);
    }

    #[test]
    fn bounds_grow() {
        assert!(BOUNDS.is_sorted());
    }
}
