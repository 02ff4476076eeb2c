//! How many connections are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A connection that is open, or what has become of one; it is counted until it is dropped.
#[derive(Debug)]
pub struct Open(Arc<AtomicUsize>);

impl Open {
    /// Counts one more.
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
