//! Places of which there are only so many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Places of which there are only so many. A clone has the same ones.
#[derive(Clone, Debug)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// A place that is taken; it is given back on drop.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Places {
    pub(super) fn new(max: usize) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// Takes a place, if one is left.
    pub(super) fn take(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.taken));
        // Given back at once if it is one too many.
        (place.0.fetch_add(1, Ordering::Relaxed) < self.max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
