//! What those who run the proxy are told of faults, once in a while for each kind.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Endpoint, NotSent};

/// How long a fault is not told of again.
const PAUSE: Duration = Duration::from_secs(60);

/// Which kinds of faults were told of, and when.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Vec<(NotSent, Instant)>>);

impl Told {
    /// Tells of a fault in detail, unless it was told of a moment ago: there may be one for each
    /// request.
    pub(super) fn warn(&self, endpoint: &Endpoint, fault: NotSent, error: &dyn Display) {
        if self.is_due(fault, Instant::now()) {
            tracing::warn!(upstream = %endpoint, %error, "{fault}");
        }
    }

    fn is_due(&self, fault: NotSent, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match told.iter_mut().find(|(kind, _)| *kind == fault) {
            Some((_, at)) if now.duration_since(*at) < PAUSE => false,
            Some((_, at)) => {
                *at = now;
                true
            }
            None => {
                told.push((fault, now));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_of_once_in_a_while() {
        let (told, now) = (Told::default(), Instant::now());
        assert!(told.is_due(NotSent::Full, now));
        assert!(!told.is_due(NotSent::Full, now + PAUSE / 2));
        assert!(told.is_due(NotSent::NotHttp2, now + PAUSE / 2));
        assert!(told.is_due(NotSent::Full, now + PAUSE));
        assert!(!told.is_due(NotSent::Full, now + PAUSE * 3 / 2));
    }
}
