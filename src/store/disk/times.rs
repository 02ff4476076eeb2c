//! Times on disk: they are by the system's clock, which whoever opens the folder next has, too.
//!
//! That clock may be wrong, and be set right while records stand on disk. Two rules see to it that
//! little is lost by this. When it has gone ahead of where it was left, nothing is deleted until
//! the process has lived through as much time, or through the longest window there is: setting it
//! back brings everything back. Meanwhile what stood there already counts as it did before.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::idempotency::{Record, State};
use crate::telemetry::Metrics;

/// How far the clock may get ahead unnoticed.
const STEP_MIN: Duration = Duration::from_secs(1);

/// From which step on it is told, if the process has lived through it.
const TOLD_MIN: Duration = Duration::from_mins(1);

/// From which distance on it is told at the start: the store may have been stopped for as long.
const TOLD_AT_START_MIN: Duration = Duration::from_hours(25);

/// How often the time is written down.
const NOTED_EVERY: Duration = Duration::from_mins(1);

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// By this process.
    pub(super) ours: Timestamp,
    /// By the system.
    pub(super) wall: Timestamp,
}

/// What a store has left behind of its time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Note {
    /// The last time by the system's clock.
    wall: Timestamp,
    /// For how much longer nothing was to be deleted.
    put_off: Duration,
}

/// Translates between the clocks, and watches the system's.
#[derive(Debug)]
pub(super) struct Times {
    clock: Clock,
    /// By how much the system's clock was ahead of the process's when deletion was put off, and
    /// since it is not: what is read counts for at least as long as it did then.
    lead: AtomicI64,
    /// All that expires before this may have been deleted.
    swept: AtomicU64,
    watch: Mutex<Watch>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Watch {
    last: Moment,
    /// Until when nothing is deleted, by the process's clock.
    put_off: Timestamp,
    /// When the time was last written down.
    noted_at: Timestamp,
}

impl Moment {
    /// How a record is written.
    pub(super) fn write(self, record: &Record) -> Record {
        translate(record.clone(), |time| shift(time, self.ours, self.wall))
    }

    /// What a record that was written means to this process.
    pub(super) fn read(self, record: Record) -> Record {
        translate(record, |time| shift(time, self.wall, self.ours))
    }

    /// By how many milliseconds the system's clock is ahead of the process's.
    fn lead(self) -> i64 {
        let [wall, ours] = [self.wall, self.ours].map(|time| i128::from(time.as_millis()));
        let lead = wall - ours;
        i64::try_from(lead).unwrap_or(if lead < 0 { i64::MIN } else { i64::MAX })
    }
}

impl Note {
    /// What the file says, if it says anything.
    pub(super) fn parse(words: &[u8]) -> Option<Self> {
        let (wall, put_off) = std::str::from_utf8(words).ok()?.trim().split_once(' ')?;
        let wall = Timestamp::from_millis(wall.parse().ok()?);
        Some(Self { wall, put_off: Duration::from_millis(put_off.parse().ok()?) })
    }

    /// What the file is to say.
    pub(super) fn words(self) -> String {
        format!("{} {}\n", self.wall.as_millis(), self.put_off.as_millis())
    }
}

impl Times {
    /// Begins where the note ends; `longest` is the longest window of what is there. Whoever has
    /// left no note may have had any time.
    pub(super) fn new(
        clock: Clock,
        note: Option<Note>,
        longest: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        let last = Moment { ours: clock.now(), wall: clock.wall() };
        let ahead = note.map_or(Duration::MAX, |note| last.wall.since(note.wall));
        let left = note.map_or(Duration::ZERO, |note| note.put_off);
        let put_off = ahead.max(left).min(longest);
        if note.is_some() && ahead >= TOLD_AT_START_MIN.max(longest) && !longest.is_zero() {
            metrics.clock_jumps.increment();
            tracing::warn!(
                ahead_seconds = ahead.as_secs(),
                put_off_seconds = put_off.as_secs(),
                "the system's clock is far ahead of when the folder was last used; if it is wrong, \
                 set it right and start again: nothing is deleted for now, but what seems to have \
                 expired does not count"
            );
        }
        let (lead, swept) = (AtomicI64::new(last.lead()), AtomicU64::new(0));
        let put_off = last.ours.after(put_off);
        let watch = Mutex::new(Watch { last, put_off, noted_at: last.ours });
        Self { clock, lead, swept, watch, metrics }
    }

    /// By the process's clock.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// For what is to be written.
    pub(super) fn moment(&self) -> Moment {
        Moment { ours: self.clock.now(), wall: self.clock.wall() }
    }

    /// For what was read.
    pub(super) fn reading(&self) -> Moment {
        let now = self.moment();
        let lead = self.lead.load(Ordering::Relaxed).min(now.lead());
        let wall = i128::from(now.ours.as_millis()) + i128::from(lead);
        let wall = u64::try_from(wall.max(0)).unwrap_or(u64::MAX);
        Moment { wall: Timestamp::from_millis(wall), ..now }
    }

    /// The moment by the system's clock from which on there are places for what expires: before it
    /// they may have been deleted, even if the clock was set back since.
    pub(super) fn earliest(&self) -> Timestamp {
        let swept = Timestamp::from_millis(self.swept.load(Ordering::Relaxed));
        self.clock.wall().max(swept)
    }

    /// Looks at the clock; what ended before the time that is returned can be deleted, if anything.
    pub(super) fn sweep(&self, longest: Duration) -> Option<Timestamp> {
        let now = self.moment();
        let mut watch = self.watch();
        let ahead = now.lead().saturating_sub(watch.last.lead());
        watch.last = now;
        let ahead = Duration::from_millis(u64::try_from(ahead).unwrap_or(0));
        if ahead >= STEP_MIN {
            let put_off = ahead.min(longest);
            watch.put_off = watch.put_off.max(now.ours.after(put_off));
            self.tell(ahead, put_off);
        }
        if now.ours < watch.put_off {
            self.lead.fetch_min(now.lead(), Ordering::Relaxed);
            return None;
        }
        self.lead.store(now.lead(), Ordering::Relaxed);
        self.swept.fetch_max(now.wall.as_millis(), Ordering::Relaxed);
        Some(now.wall)
    }

    fn tell(&self, ahead: Duration, put_off: Duration) {
        if ahead >= TOLD_MIN {
            self.metrics.clock_jumps.increment();
            tracing::warn!(
                ahead_seconds = ahead.as_secs(),
                put_off_seconds = put_off.as_secs(),
                "the system's clock has been set ahead, or the system was suspended; nothing is \
                 deleted for now, but after a restart what was written before it counts for less"
            );
        }
    }

    /// What is to be written down, if it is time to.
    pub(super) fn due(&self) -> Option<Note> {
        let watch = self.watch();
        let is_due = watch.last.ours.since(watch.noted_at) >= NOTED_EVERY;
        drop(watch);
        is_due.then(|| self.note())
    }

    /// What is to be written down.
    pub(super) fn note(&self) -> Note {
        let mut watch = self.watch();
        let last = watch.last;
        watch.noted_at = last.ours;
        Note { wall: last.wall, put_off: watch.put_off.since(last.ours) }
    }

    /// A panic elsewhere leaves a value that is whole.
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn translate(mut record: Record, shift: impl Fn(Timestamp) -> Timestamp) -> Record {
    record.expires_at = shift(record.expires_at);
    match &mut record.state {
        State::InFlight { lease_until: time } | State::Completed { kept_at: time, .. } => {
            *time = shift(*time);
        }
        State::Unreplayable | State::Indeterminate => {}
    }
    record
}

/// A time by one clock as the other tells it; the end of time is the end of time everywhere.
fn shift(time: Timestamp, from: Timestamp, to: Timestamp) -> Timestamp {
    if time == Timestamp::MAX {
        return time;
    }
    let (time, from, to) = (time.as_millis(), from.as_millis(), to.as_millis());
    Timestamp::from_millis(match time.checked_sub(from) {
        Some(ahead) => to.saturating_add(ahead),
        None => to.saturating_sub(from - time),
    })
}
