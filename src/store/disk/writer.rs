//! The one thread that changes what is on disk: many swaps with one write.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use fjall::PersistMode;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::batch::{Batch, Write};
use super::drawer::{Drawer, Span};
use super::order::{Change, Order, Reply, has_ended, is_running};
use super::records::{Records, Standing};
use super::trouble::words;
use super::untold::Untold;
use crate::clock::Timestamp;
use crate::idempotency::{Record, RecordKey, State};
use crate::store::{Expected, StoreError, Swap};

/// How often what the drawers take is added up while there is no room, at most.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// How a swap was decided.
enum Decision {
    /// Nothing changes.
    Answer(Swap),
    /// What stands there goes, and what comes will stand in the drawer.
    Write(Option<Standing>, Option<Arc<Drawer>>),
}

/// Decides swaps one after the other, and writes them many at a time.
pub(super) struct Writer {
    records: Arc<Records>,
    orders: Receiver<Order>,
    /// An order that has to wait for the next batch.
    waiting: Option<Order>,
    untold: Untold,
    /// For the cache, which is asynchronous, and never waits for anything but itself.
    runtime: Runtime,
    measured_at: Instant,
}

impl Writer {
    pub(super) fn new(records: Arc<Records>, orders: Receiver<Order>, runtime: Runtime) -> Self {
        Self {
            records,
            orders,
            waiting: None,
            untold: Untold::default(),
            runtime,
            measured_at: Instant::now(),
        }
    }

    /// Works until nobody can ask any more, and then hands all to the disk.
    pub(super) fn run(mut self) {
        let _end = NoteEnd(Arc::clone(&self.records));
        while let Some(first) = self.waiting.take().or_else(|| self.orders.recv().ok()) {
            let mut batch = self.release_untold();
            let mut order = Some(first);
            while let Some(next) = order.take() {
                self.waiting = self.take(next, &mut batch);
                self.records.writing.made();
                if self.waiting.is_none() && !batch.is_full() {
                    order = self.orders.try_recv().ok();
                }
            }
            self.write(batch);
            self.records.writing.made();
        }
        let rest = self.release_untold();
        self.write(rest);
        // Whoever waited has been told; what was not waited for is written down now.
        let _ = self.records.persist(PersistMode::SyncAll);
    }

    /// The batch in which the claims go of which nobody has been told.
    fn release_untold(&mut self) -> Batch {
        let mut batch = Batch::default();
        for (key, token) in self.untold.take() {
            let (expected, (reply, _)) = (Expected::HeldBy(token), oneshot::channel());
            self.swap(Change { key, expected, next: None, reply }, &mut batch);
        }
        batch
    }

    /// Does what is asked, or puts it into the batch, or gives it back: what a batch changes is
    /// looked at only after it was written.
    fn take(&mut self, order: Order, batch: &mut Batch) -> Option<Order> {
        match order {
            Order::Swap(change) if batch.changes(&change.key) => return Some(Order::Swap(change)),
            Order::Look(key, reply) if batch.changes(&key) => return Some(Order::Look(key, reply)),
            Order::Swap(change) => self.swap(change, batch),
            Order::Look(key, reply) => send(reply, self.look(&key)),
            // What was left before goes before.
            Order::Tidy(_) if !batch.is_empty() || !self.untold.is_empty() => return Some(order),
            Order::Tidy(reply) => send(reply, self.tidy()),
        }
        None
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        self.records.claims.sweep(self.records.times.now());
        self.records.set_aside();
        self.measure();
        self.records.trouble.check()
    }

    fn measure(&mut self) {
        self.records.measure();
        self.measured_at = Instant::now();
    }

    fn look(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.records.trouble.check()?;
        let standing = self.standing(key)?.map(|standing| standing.record);
        let now = self.records.times.now();
        Ok(standing.filter(|record| !record.is_expired(now)))
    }

    fn swap(&mut self, change: Change, batch: &mut Batch) {
        // Whoever wanted a claim has left. What ends one is written all the same.
        if change.expected == Expected::Absent && change.reply.is_closed() {
            return;
        }
        match self.decide(&change) {
            Ok(Decision::Write(from, drawer)) => {
                let Change { key, expected, next, reply } = change;
                let write = Write { key, expected, from, to: next.zip(drawer), reply };
                if let Some(claim) = write.claim() {
                    self.records.claims.insert(key, claim);
                }
                batch.push(write);
            }
            Ok(Decision::Answer(swap)) => send(change.reply, Ok(swap.into())),
            Err(error) => send(change.reply, Err(error)),
        }
    }

    /// Decides against what is in force.
    fn decide(&mut self, change: &Change) -> Result<Decision, StoreError> {
        self.records.trouble.check()?;
        let standing = self.standing(&change.key)?;
        let now = self.records.times.now();
        let in_force = standing.as_ref().map(|standing| &standing.record);
        let in_force = in_force.filter(|record| !record.is_expired(now));
        match (change.expected, in_force) {
            (Expected::Absent, None) if change.next.is_none() => {
                return Ok(Decision::Answer(Swap::Done));
            }
            (Expected::Absent, None) => self.check_room()?,
            (Expected::HeldBy(token), Some(record))
                if record.token == token && (change.next.is_none() || !has_ended(record)) => {}
            (_, record) => return Ok(Decision::Answer(Swap::Lost(record.cloned()))),
        }
        self.check_marks(change)?;
        let drawer = match &change.next {
            Some(next) => Some(self.place(standing.as_ref(), next.until)?),
            None => None,
        };
        Ok(Decision::Write(standing, drawer))
    }

    /// Where a record that counts until then, by the system's clock, will stand: where the one
    /// before it does, if that fits.
    fn place(
        &self,
        standing: Option<&Standing>,
        until: Timestamp,
    ) -> Result<Arc<Drawer>, StoreError> {
        let now = self.records.times.earliest();
        let until = until.max(now);
        match standing.filter(|standing| standing.drawer.holds(until)) {
            Some(standing) => Ok(Arc::clone(&standing.drawer)),
            None => self.records.drawer(Span::of(until, now)),
        }
    }

    /// What stands under the key, whether it counts or not.
    ///
    /// A claim on disk that this process does not hold is that of one which is gone: nobody knows
    /// whether its work was done.
    fn standing(&self, key: &RecordKey) -> Result<Option<Standing>, StoreError> {
        if let Some(claim) = self.records.claims.find(key) {
            let (record, drawer, bytes) = (claim.record, claim.drawer, claim.bytes);
            return Ok(Some(Standing { record, drawer, bytes }));
        }
        let mut standing = self.records.find(key)?;
        if let Some(standing) = standing.as_mut().filter(|standing| is_running(&standing.record)) {
            standing.record.state = State::Indeterminate;
        }
        Ok(standing)
    }

    /// Whether there is room for another record.
    fn check_room(&mut self) -> Result<(), StoreError> {
        if !self.records.has_room() && self.measured_at.elapsed() >= MEASURE_EVERY {
            self.measure();
        }
        self.records.has_room().then_some(()).ok_or(StoreError::Full)
    }

    /// Whether there is room in the table, if it will need any.
    fn check_marks(&self, change: &Change) -> Result<(), StoreError> {
        let claims = change.next.as_ref().is_some_and(|next| is_running(&next.record));
        let full = self.records.claims.len() >= self.records.options.marks_max;
        match claims && full && self.records.claims.find(&change.key).is_none() {
            true => Err(StoreError::Full),
            false => Ok(()),
        }
    }

    /// Writes what was decided, and then tells everybody.
    fn write(&mut self, batch: Batch) {
        for (part, mode) in batch.split(self.records.options.durability) {
            if part.is_empty() {
                continue;
            }
            let written = match self.records.trouble.check() {
                Ok(()) => part.commit(&self.records, mode).map_err(|error| {
                    self.records.trouble.set(words(&error));
                    StoreError::Unavailable(words(&error))
                }),
                Err(error) => Err(error),
            };
            match written {
                Ok(()) => self.runtime.block_on(part.finish(&self.records, &self.untold)),
                Err(error) => part.fail(&error),
            }
        }
    }
}

/// Nobody may wait for it any more.
fn send<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    let _ = reply.send(result);
}

/// Notes that there is no writer any more, if it ends by a panic.
struct NoteEnd(Arc<Records>);

impl Drop for NoteEnd {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.trouble.set("the thread that writes has failed".to_owned());
        }
    }
}
