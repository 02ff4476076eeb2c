//! What the callers of one connection have begun, whether they still wait for it or not.

use super::places::{Place, Places};

/// How many operations that began on one connection still run. A clone is the same count.
///
/// A caller can end a request at any time, and ask again in the same breath: what was begun runs
/// on, and there must be an end to how much of it one connection can begin.
#[derive(Clone, Debug)]
pub struct Load(Places);

/// An operation that runs; it is counted until it is dropped.
#[derive(Debug)]
pub struct Running(#[expect(dead_code, reason = "it is there to be dropped")] Place);

impl Load {
    /// A connection on which so many may run.
    pub fn new(max: usize) -> Self {
        Self(Places::new(max))
    }

    /// Counts one more, unless there are as many as may be.
    pub fn begin(&self) -> Option<Running> {
        self.0.take().map(Running)
    }
}
