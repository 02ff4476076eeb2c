//! Operations that run in this process: one flight for each, and everybody who waits for it.

use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::EngineLimits;
use crate::clock::Timestamp;
use crate::idempotency::{
    Answer, Broken, Failure, Identity, Limit, Origin, Outcome, Provenance, RecordKey, Refusal,
};

const SHARDS: usize = 64;

/// An operation that runs in this process.
#[derive(Clone, Debug)]
pub struct Flying {
    /// The key of its record.
    pub key: RecordKey,
    /// What the request was that began it.
    pub origin: Arc<Origin>,
}

/// All flights of this process.
#[derive(Debug)]
pub(super) struct Flights {
    shards: Box<[Mutex<Shard>]>,
    limits: EngineLimits,
    running: AtomicUsize,
    waiters: AtomicUsize,
}

/// Requests that differ have flights of their own even under one key: only the store knows whose
/// the key is, and a flight that is about to learn that it is not must not speak for it.
type Shard = HashMap<Identity, Arc<Flight>>;

#[derive(Debug)]
struct Flight {
    landing: watch::Sender<Option<Landing>>,
    waiters: AtomicUsize,
    /// What the request was that began it.
    origin: Option<Arc<Origin>>,
}

/// What a flight ends with, for everybody who waits for it.
#[derive(Clone, Debug)]
pub(super) enum Landing {
    /// With an answer of this flight's own.
    Answered(Answer, Timestamp),
    /// The same, and a repeat may be executed again.
    Unprotected(Answer, Timestamp),
    /// With the answer that somebody else had kept by then.
    Replayed(Answer, Timestamp, Option<Arc<Origin>>),
    /// With an answer that goes straight to the first caller.
    Streaming,
    /// The same, and the key is free again.
    StreamingFree,
    /// The same, and a repeat may be executed again.
    StreamingUnprotected,
    /// The same, and nobody knows whether the operation was executed.
    StreamingUnknown,
    /// Without an answer.
    Failed(Failure),
    /// Without work.
    Refused(Refusal),
}

/// What joining a flight makes of a caller.
pub(super) enum Joined {
    /// The first: the work is to be done, by whoever holds the leader.
    Leader(Leader, Waiter),
    /// Another one.
    Follower(Waiter),
}

/// The obligation to land a flight.
///
/// Dropped without landing, it tells everybody that the work was abandoned.
#[derive(Debug)]
pub(super) struct Leader {
    identity: Identity,
    flight: Arc<Flight>,
    /// Taken on landing.
    place: Option<RunningPlace>,
}

/// A place among the operations that may run; it is given back on drop.
#[derive(Debug)]
pub(super) struct RunningPlace(Arc<Flights>);

/// A caller who waits for a flight to land.
#[derive(Debug)]
pub(super) struct Waiter {
    landing: watch::Receiver<Option<Landing>>,
    origin: Option<Arc<Origin>>,
    /// A follower takes a place among those that may wait.
    _place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
}

impl Flights {
    pub(super) fn new(limits: EngineLimits) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            limits,
            running: AtomicUsize::new(0),
            waiters: AtomicUsize::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.running.load(Relaxed)
    }

    pub(super) fn waiters(&self) -> usize {
        self.waiters.load(Relaxed)
    }

    /// Joins the flight of an operation, or begins it.
    pub(super) fn join(
        self: &Arc<Self>,
        identity: &Identity,
        origin: Option<Origin>,
    ) -> Result<Joined, Refusal> {
        match self.shard(&identity.key).entry(*identity) {
            Entry::Occupied(flight) => self.follow(flight.get()),
            Entry::Vacant(vacant) => {
                if !take(&self.running, self.limits.flights_max) {
                    return Err(Refusal::Busy(Limit::Flights));
                }
                let flight = Arc::new(Flight {
                    landing: watch::Sender::new(None),
                    waiters: AtomicUsize::new(0),
                    origin: origin.map(Arc::new),
                });
                vacant.insert(Arc::clone(&flight));
                let waiter = flight.waiter(None);
                let place = Some(RunningPlace(Arc::clone(self)));
                let leader = Leader { identity: *identity, flight, place };
                Ok(Joined::Leader(leader, waiter))
            }
        }
    }

    fn follow(self: &Arc<Self>, flight: &Arc<Flight>) -> Result<Joined, Refusal> {
        if !take(&flight.waiters, self.limits.waiters_per_key_max) {
            return Err(Refusal::Busy(Limit::WaitersPerKey));
        }
        if !take(&self.waiters, self.limits.waiters_max) {
            flight.waiters.fetch_sub(1, Relaxed);
            return Err(Refusal::Busy(Limit::Waiters));
        }
        let place = Place { flights: Arc::clone(self), flight: Arc::clone(flight) };
        Ok(Joined::Follower(flight.waiter(Some(place))))
    }

    /// The operations that run longest, the oldest first, at most so many; only those whose origin
    /// is known.
    pub(super) fn oldest(&self, count: usize) -> Vec<Flying> {
        let mut oldest = BinaryHeap::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (identity, flight) in shard.iter() {
                let Some(origin) = &flight.origin else { continue };
                let begun_at = (origin.begun_at(), identity.key);
                if oldest.len() < count {
                    oldest.push(Begun(begun_at, Arc::clone(origin)));
                } else if let Some(mut youngest) = oldest.peek_mut()
                    && begun_at < youngest.0
                {
                    *youngest = Begun(begun_at, Arc::clone(origin));
                }
            }
        }
        let flying = |Begun((_, key), origin)| Flying { key, origin };
        oldest.into_sorted_vec().into_iter().map(flying).collect()
    }

    fn shard(&self, key: &RecordKey) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[usize::from(key.as_bytes()[31]) % SHARDS];
        // A panic elsewhere leaves a map that is whole.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn waiter(&self, place: Option<Place>) -> Waiter {
        let (landing, origin) = (self.landing.subscribe(), self.origin.clone());
        Waiter { landing, origin, _place: place }
    }
}

/// When an operation began, by which they are in order.
struct Begun((Timestamp, RecordKey), Arc<Origin>);

impl Ord for Begun {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Begun {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Begun {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Begun {}

/// Counts one more, unless that would be more than `max`.
fn take(count: &AtomicUsize, max: usize) -> bool {
    if count.fetch_add(1, Relaxed) < max {
        return true;
    }
    count.fetch_sub(1, Relaxed);
    false
}

impl Leader {
    /// What the request was that began the flight.
    pub(super) fn origin(&self) -> Option<Arc<Origin>> {
        self.flight.origin.clone()
    }

    /// Ends the flight: the key can begin another, and everybody who waits is told.
    ///
    /// The place is to be kept for as long as anything is still done for the operation.
    pub(super) fn land(mut self, landing: Landing) -> Option<RunningPlace> {
        let place = self.place.take();
        if let Some(place) = &place {
            self.end(place, landing);
        }
        place
    }

    fn end(&self, place: &RunningPlace, landing: Landing) {
        // In this order: who comes now finds what the store has, and no flight; who came before
        // is woken.
        place.0.shard(&self.identity.key).remove(&self.identity);
        self.flight.landing.send_replace(Some(landing));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.end(&place, Landing::Failed(Failure::Broken(Broken::Abandoned)));
        }
    }
}

impl Drop for RunningPlace {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

impl Waiter {
    /// What the request was whose work this one waits for.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    /// Waits for the flight to land. An answer of the flight's own has the given provenance.
    pub(super) async fn outcome(mut self, provenance: Provenance) -> Outcome {
        let landing = match self.landing.wait_for(Option::is_some).await {
            Ok(landing) => landing.clone(),
            // Unreachable: a leader lands before it lets the sender go.
            Err(_) => None,
        };
        let origin = self.origin.take();
        match landing {
            Some(Landing::Answered(answer, answered_at)) => {
                Outcome::Answered { answer, provenance, answered_at, origin }
            }
            Some(Landing::Unprotected(answer, answered_at)) => {
                let provenance = unprotected(provenance);
                Outcome::Answered { answer, provenance, answered_at, origin }
            }
            Some(Landing::Replayed(answer, answered_at, origin)) => {
                if let Some(origin) = &origin {
                    origin.note_replay();
                }
                let provenance = Provenance::Replayed;
                Outcome::Answered { answer, provenance, answered_at, origin }
            }
            Some(Landing::Streaming) => streaming(provenance, Refusal::AnswerNotKept),
            // Another try finds the key free.
            Some(Landing::StreamingFree) => streaming(provenance, Refusal::InProgress),
            Some(Landing::StreamingUnprotected) => {
                streaming(unprotected(provenance), Refusal::InProgress)
            }
            Some(Landing::StreamingUnknown) => streaming(provenance, Refusal::OutcomeUnknown),
            Some(Landing::Failed(failure)) => Outcome::Failed(failure),
            Some(Landing::Refused(refusal)) => Outcome::Refused(refusal),
            None => Outcome::Failed(Failure::Broken(Broken::Abandoned)),
        }
    }
}

/// What an execution is that nothing protects.
const fn unprotected(provenance: Provenance) -> Provenance {
    match provenance {
        Provenance::Executed | Provenance::Unprotected => Provenance::Unprotected,
        Provenance::Collapsed | Provenance::Replayed => provenance,
    }
}

/// What an answer that goes to the first caller is for each: the others are refused.
fn streaming(provenance: Provenance, refusal: Refusal) -> Outcome {
    match provenance {
        Provenance::Executed | Provenance::Unprotected => Outcome::Streaming(provenance),
        Provenance::Collapsed | Provenance::Replayed => Outcome::Refused(refusal),
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.flight.waiters.fetch_sub(1, Relaxed);
        self.flights.waiters.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::{AnswerBuilder, Fingerprint};

    const LIMITS: EngineLimits =
        EngineLimits { flights_max: 2, waiters_max: 3, waiters_per_key_max: 2 };

    fn identity(key: u8) -> Identity {
        Identity { key: RecordKey::from_bytes([key; 32]), fingerprint: Fingerprint::COVERED }
    }

    fn lead(flights: &Arc<Flights>, key: u8) -> (Leader, Waiter) {
        match flights.join(&identity(key), None) {
            Ok(Joined::Leader(leader, waiter)) => (leader, waiter),
            Ok(Joined::Follower(_)) => panic!("the key has a flight"),
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    fn follow(flights: &Arc<Flights>, key: u8) -> Result<Waiter, Refusal> {
        match flights.join(&identity(key), None)? {
            Joined::Leader(..) => panic!("the key has no flight"),
            Joined::Follower(waiter) => Ok(waiter),
        }
    }

    #[tokio::test]
    async fn everybody_learns_how_a_flight_lands() {
        let flights = Arc::new(Flights::new(LIMITS));
        let (leader, first) = lead(&flights, 1);
        let second = follow(&flights, 1).unwrap();
        let answer = AnswerBuilder::new(200).finish(b"");
        leader.land(Landing::Answered(answer, Timestamp::from_millis(1)));
        for (waiter, expected) in [(first, Provenance::Executed), (second, Provenance::Collapsed)] {
            match waiter.outcome(expected).await {
                Outcome::Answered { provenance, .. } => assert_eq!(provenance, expected),
                outcome @ (Outcome::Streaming(_) | Outcome::Failed(_) | Outcome::Refused(_)) => {
                    panic!("{outcome:?}")
                }
            }
        }
        assert_eq!((flights.len(), flights.waiters()), (0, 0));
    }

    #[tokio::test]
    async fn a_leader_that_is_dropped_lands() {
        let flights = Arc::new(Flights::new(LIMITS));
        let (leader, first) = lead(&flights, 1);
        drop(leader);
        let outcome = first.outcome(Provenance::Executed).await;
        assert!(matches!(outcome, Outcome::Failed(Failure::Broken(Broken::Abandoned))));
        drop(lead(&flights, 1));
    }

    #[test]
    fn every_limit_is_a_refusal_and_places_are_given_back() {
        let flights = Arc::new(Flights::new(LIMITS));
        let (one, two) = (lead(&flights, 1), lead(&flights, 2));
        assert_eq!(flights.join(&identity(3), None).err(), Some(Refusal::Busy(Limit::Flights)));
        let waiters = [follow(&flights, 1).unwrap(), follow(&flights, 1).unwrap()];
        let refused = |key| follow(&flights, key).err();
        assert_eq!(refused(1), Some(Refusal::Busy(Limit::WaitersPerKey)));
        let third = follow(&flights, 2).unwrap();
        assert_eq!(refused(2), Some(Refusal::Busy(Limit::Waiters)));
        drop(waiters);
        drop(third);
        assert_eq!(flights.waiters(), 0);
        drop((one, two));
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn those_that_run_longest_are_shown() {
        let limits = EngineLimits { flights_max: 10, ..LIMITS };
        let flights = Arc::new(Flights::new(limits));
        let begin = |key: u8, begun_at| {
            let origin = Origin::new("a", "POST", "/", Timestamp::from_millis(begun_at));
            flights.join(&identity(key), Some(origin)).unwrap()
        };
        let mut flying: Vec<_> =
            [(1, 50), (2, 10), (3, 40), (4, 20), (5, 30)].map(|(key, at)| begin(key, at)).into();
        let shown = |count| -> Vec<_> {
            flights.oldest(count).iter().map(|flying| flying.key.as_bytes()[0]).collect()
        };
        assert_eq!(shown(3), [2, 4, 5]);
        assert_eq!(shown(9), [2, 4, 5, 3, 1]);
        assert_eq!(shown(0), [0_u8; 0]);
        drop(flying.remove(1));
        assert_eq!(shown(1), [4]);
    }

    #[test]
    fn another_fingerprint_has_a_flight_of_its_own() {
        let flights = Arc::new(Flights::new(LIMITS));
        let _leader = lead(&flights, 1);
        let fingerprint = Fingerprint::from_bytes(&[1; 32]);
        let other = flights.join(&Identity { fingerprint, ..identity(1) }, None);
        assert!(matches!(other, Ok(Joined::Leader(..))));
    }
}
