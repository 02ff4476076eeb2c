//! Whether whoever is asked has stopped to answer.

use std::sync::atomic::{AtomicU64, Ordering};

/// How much was done, and whether somebody has waited in vain since.
///
/// Once one has, nobody else needs to wait, until something is done again.
#[derive(Debug, Default)]
pub(super) struct Progress {
    done: AtomicU64,
    /// One more than had been done when somebody gave up.
    given_up: AtomicU64,
}

/// Work whose end is progress, however it ends.
pub(super) struct Step<'a>(pub(super) &'a Progress);

impl Progress {
    /// How much was done before somebody began to wait.
    pub(super) fn before(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    pub(super) fn made(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that somebody has waited in vain. If anything was done meanwhile, whoever is asked is
    /// only slow, and may by now have nothing left to do.
    pub(super) fn give_up(&self, before: u64) {
        if self.before() == before {
            self.given_up.fetch_max(before + 1, Ordering::SeqCst);
        }
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.given_up.load(Ordering::SeqCst) == self.before() + 1
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.0.made();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_waited_in_vain_speaks_for_all_until_something_is_done() {
        let progress = Progress::default();
        assert!(!progress.is_stuck());
        let before = progress.before();
        let step = Step(&progress);
        progress.give_up(before);
        assert!(progress.is_stuck());
        drop(step);
        assert!(!progress.is_stuck());
        // It was done just before the patience ended: there may be nothing else to do.
        progress.give_up(before);
        assert!(!progress.is_stuck());
    }
}
