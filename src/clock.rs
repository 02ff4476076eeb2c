//! Says what time it is, so that everything above can be given the time instead of reading it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(u64);

/// A source of the current time.
///
/// The system's clock is read once, at the start; from then on time advances with the monotonic
/// clock. A step of the system's clock can therefore neither shorten nor stretch a window. What
/// outlives the process needs the system's clock itself, which [`Clock::wall`] reads.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System { started: Instant, origin: Timestamp },
    Function { now: Arc<Function>, wall: Arc<Function> },
}

type Function = dyn Fn() -> Timestamp + Send + Sync;

impl Timestamp {
    /// The end of time: later than every other timestamp.
    pub const MAX: Self = Self(u64::MAX);

    /// A timestamp from milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The timestamp `duration` later; saturates at [`Timestamp::MAX`].
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The timestamp `duration` earlier; saturates at the epoch.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it is in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The same point as the standard library writes it.
    pub fn as_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System { started: Instant::now(), origin: system_time() })
    }

    /// A clock that asks `now`, for tests that move time themselves.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let now: Arc<Function> = Arc::new(now);
        Self(Source::Function { wall: Arc::clone(&now), now })
    }

    /// The same clock in a system whose own clock says what `wall` does.
    #[must_use]
    pub fn with_wall(self, wall: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let now = move || self.now();
        Self(Source::Function { now: Arc::new(now), wall: Arc::new(wall) })
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { started, origin } => origin.after(started.elapsed()),
            Source::Function { now, .. } => now(),
        }
    }

    /// What the system's clock says now: it may step, and it is the one that other processes have.
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Source::System { .. } => system_time(),
            Source::Function { wall, .. } => wall(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

fn system_time() -> Timestamp {
    Timestamp(0).after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_only_moves_forward_and_never_wraps() {
        let clock = Clock::system();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert_eq!(Timestamp::MAX.after(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(first.since(first.after(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(first.after(Duration::from_secs(1)).since(first), Duration::from_secs(1));
    }
}
