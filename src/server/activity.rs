//! What a connection does at the moment, so that one look a tick can end those that do nothing.
//!
//! A timer for each request would cost more than the rest of a replay.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::ServerLimits;

/// How long a tick is. Deadlines are late by up to two of them.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// How many ticks lie between two looks whether the peer of a served request is gone.
const PROBE_TICKS: u32 = 2;

/// How long a connection may be idle when callers are told to go elsewhere.
const LEAVING_IDLE_MAX: Duration = Duration::from_secs(2);

/// How long a peer that was told to go, and has nothing to wait for, may be silent.
const SILENT_MAX: Duration = Duration::from_secs(2);

/// The connections of one worker, and its clock.
#[derive(Debug, Default)]
pub(super) struct Connections {
    worker: Arc<Worker>,
    connections: Mutex<Vec<Weak<Activity>>>,
}

/// What all connections of a worker go by.
#[derive(Debug, Default)]
struct Worker {
    now: AtomicU32,
    /// When callers were told to go elsewhere; 0 when they were not.
    leaving_since: AtomicU32,
}

/// What one connection does.
#[derive(Debug)]
pub(super) struct Activity {
    worker: Arc<Worker>,
    phase: AtomicU8,
    since: AtomicU32,
    /// How many requests are served, and whether there may be several at a time.
    serving: AtomicU32,
    is_multiplexed: AtomicBool,
    /// When the peer of a connection with several requests was last heard of.
    heard: AtomicU32,
    /// When it was told to finish; 0 when it was not.
    finishing_since: AtomicU32,
    /// When the peer last took something while more is to be written; 0 when nothing is.
    stalled_since: AtomicU32,
    /// Whether the socket is to be asked if the peer is gone.
    probe: AtomicBool,
    /// The number of the request that is served, and another one once its answer has begun.
    request: AtomicU32,
    /// Interim answers to it that are to be written.
    interim: Mutex<Vec<u8>>,
    has_interim: AtomicBool,
    order: AtomicU8,
    ordered: Notify,
}

/// A request that is being answered: the connection is busy until it is dropped.
#[derive(Debug)]
pub(super) struct Serving(Arc<Activity>);

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    /// Look whether the peer is gone, and write what interim answers there are.
    Probe,
    /// Answer what was asked, and close.
    Finish,
    /// Close now.
    Close,
}

const HEAD: u8 = 0;
const SERVING: u8 = 1;
const IDLE: u8 = 2;

const NO_ORDER: u8 = 0;
const PROBE: u8 = 1;
const FINISH: u8 = 2;
const CLOSE: u8 = 3;

impl Connections {
    /// A new connection, from which a header is expected.
    pub(super) fn add(&self) -> Arc<Activity> {
        let now = self.worker.now.load(Ordering::Relaxed);
        let activity = Arc::new(Activity {
            worker: Arc::clone(&self.worker),
            phase: AtomicU8::new(HEAD),
            since: AtomicU32::new(now),
            serving: AtomicU32::new(0),
            is_multiplexed: AtomicBool::new(false),
            heard: AtomicU32::new(now),
            finishing_since: AtomicU32::new(0),
            stalled_since: AtomicU32::new(0),
            probe: AtomicBool::new(false),
            request: AtomicU32::new(0),
            interim: Mutex::default(),
            has_interim: AtomicBool::new(false),
            order: AtomicU8::new(NO_ORDER),
            ordered: Notify::new(),
        });
        self.connections().push(Arc::downgrade(&activity));
        activity
    }

    /// Moves the clock, and closes what has done nothing for too long.
    pub(super) fn tick(&self, limits: &ServerLimits) {
        let now = self.worker.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.connections().retain(|connection| {
            let Some(activity) = connection.upgrade() else { return false };
            if let Some(order) = activity.overdue(now, limits) {
                activity.tell(order);
            } else if activity.is_due_for_probe(now) {
                activity.probe.store(true, Ordering::Relaxed);
                activity.tell(Order::Probe);
            }
            true
        });
    }

    /// Lets each connection end with its next answer, or when it is idle.
    pub(super) fn leave(&self) {
        let now = self.worker.now.load(Ordering::Relaxed).max(1);
        self.worker.leaving_since.store(now, Ordering::Relaxed);
    }

    /// Tells every connection to finish; those that have asked nothing yet only if they are not
    /// to be spared.
    pub(super) fn finish(&self, spares_new: bool) {
        for activity in self.connections().iter().filter_map(Weak::upgrade) {
            if !(spares_new && activity.request() == 0) {
                activity.tell(Order::Finish);
            }
        }
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Weak<Activity>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Activity {
    /// Several requests may be served at a time, and bytes may come that belong to none.
    pub(super) fn multiplexes(&self) {
        self.is_multiplexed.store(true, Ordering::Relaxed);
    }

    /// Bytes have come.
    pub(super) fn received(&self) {
        if self.is_multiplexed.load(Ordering::Relaxed) {
            self.heard.store(self.now(), Ordering::Relaxed);
        } else if self.phase.load(Ordering::Relaxed) == IDLE {
            self.enter(HEAD);
        }
    }

    /// The peer has taken something, or nothing although more is to be written.
    pub(super) fn wrote(&self, stalled: bool) {
        let since = if stalled { self.now().max(1) } else { 0 };
        let before = self.stalled_since.load(Ordering::Relaxed);
        if (before == 0) != (since == 0) {
            self.stalled_since.store(since, Ordering::Relaxed);
        }
        // Over HTTP/2, more than answers is written: only those fill the room that there is.
        let is_answer = before != 0 || stalled || !self.is_multiplexed.load(Ordering::Relaxed);
        if is_answer && self.phase.load(Ordering::Relaxed) == IDLE {
            // What is left of an answer is still on its way.
            self.since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// A request has come whole, as far as its header goes.
    pub(super) fn serve(self: &Arc<Self>) -> Serving {
        self.serving.fetch_add(1, Ordering::Relaxed);
        self.enter(SERVING);
        self.request.fetch_add(1, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    /// The final answer begins: no interim one may follow.
    pub(super) fn begin_answer(&self) {
        self.request.fetch_add(1, Ordering::Relaxed);
        if self.has_interim.swap(false, Ordering::Relaxed) {
            self.interim().clear();
        }
    }

    /// The number of the request that is served.
    pub(super) fn request(&self) -> u32 {
        self.request.load(Ordering::Relaxed)
    }

    /// Gives an interim answer to the socket, unless too many wait.
    pub(super) fn send_interim(&self, answer: &[u8], waiting_bytes_max: usize) {
        let mut interim = self.interim();
        if interim.len() + answer.len() <= waiting_bytes_max {
            interim.extend_from_slice(answer);
            self.has_interim.store(true, Ordering::Relaxed);
            drop(interim);
            self.tell(Order::Probe);
        }
    }

    /// Takes the interim answers that are to be written.
    pub(super) fn take_interim(&self) -> Option<Vec<u8>> {
        let has_interim = self.has_interim.load(Ordering::Relaxed)
            && self.has_interim.swap(false, Ordering::Relaxed);
        has_interim.then(|| std::mem::take(&mut *self.interim()))
    }

    fn interim(&self) -> MutexGuard<'_, Vec<u8>> {
        self.interim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an order.
    pub(super) async fn order(&self) -> Order {
        loop {
            match self.order.swap(NO_ORDER, Ordering::AcqRel) {
                CLOSE => return Order::Close,
                FINISH => return Order::Finish,
                PROBE => return Order::Probe,
                _ => self.ordered.notified().await,
            }
        }
    }

    fn tell(&self, order: Order) {
        let order = match order {
            Order::Probe => PROBE,
            Order::Finish => {
                let now = self.now().max(1);
                let before = self.finishing_since.load(Ordering::Relaxed);
                self.finishing_since
                    .store(if before == 0 { now } else { before }, Ordering::Relaxed);
                FINISH
            }
            Order::Close => CLOSE,
        };
        self.order.fetch_max(order, Ordering::AcqRel);
        self.ordered.notify_one();
    }

    fn enter(&self, phase: u8) {
        self.since.store(self.now(), Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn now(&self) -> u32 {
        self.worker.now.load(Ordering::Relaxed)
    }

    /// Whether the answer that is given now should be the connection's last.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving_since() != 0
    }

    fn leaving_since(&self) -> u32 {
        self.worker.leaving_since.load(Ordering::Relaxed)
    }

    /// Whether a request is served whose peer takes what it is sent: when it was ordered to close,
    /// nothing was, but the request has come since. Its work has begun, and its answer is due.
    pub(super) fn has_come_to_life(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == SERVING
            && self.stalled_since.load(Ordering::Relaxed) == 0
    }

    /// Whether the socket is to be asked now; takes the request back.
    pub(super) fn takes_probe(&self) -> bool {
        self.probe.load(Ordering::Relaxed) && self.probe.swap(false, Ordering::Relaxed)
    }

    /// While a request is served, nothing is read that would tell that its peer has reset the
    /// connection: the socket is asked every few ticks.
    fn is_due_for_probe(&self, now: u32) -> bool {
        let served = now.saturating_sub(self.since.load(Ordering::Relaxed));
        self.phase.load(Ordering::Relaxed) == SERVING
            && !self.is_multiplexed.load(Ordering::Relaxed)
            && served != 0
            && served.is_multiple_of(PROBE_TICKS)
    }

    /// What is to be done about a connection that does nothing for too long.
    fn overdue(&self, now: u32, limits: &ServerLimits) -> Option<Order> {
        let over = |since: u32, limit: Duration| {
            TICK * now.saturating_sub(since).saturating_sub(1) >= limit
        };
        let stalled_since = self.stalled_since.load(Ordering::Relaxed);
        if stalled_since != 0 {
            return over(stalled_since, limits.write_timeout).then_some(Order::Close);
        }
        let since = self.since.load(Ordering::Relaxed);
        let is_multiplexed = self.is_multiplexed.load(Ordering::Relaxed);
        let finishing_since = self.finishing_since.load(Ordering::Relaxed);
        let is_to_leave = self.is_leaving() && self.request() > 0;
        if is_to_leave && is_multiplexed && finishing_since == 0 {
            return Some(Order::Finish);
        }
        let phase = self.phase.load(Ordering::Relaxed);
        let limit = match phase {
            HEAD => limits.header_timeout,
            IDLE => limits.idle_timeout,
            _ => return None,
        };
        if !is_multiplexed {
            // It may still ask something for a while, and is told by the answer.
            let leaves = phase == IDLE
                && is_to_leave
                && over(since.max(self.leaving_since()), LEAVING_IDLE_MAX);
            return (leaves || over(since, limit)).then_some(Order::Close);
        }
        // Over HTTP/2, a peer is told to go, so that it knows what became of a request that is on
        // its way. It has to listen for that.
        let heard = self.heard.load(Ordering::Relaxed);
        let is_silent =
            [finishing_since, heard, since].iter().all(|since| over(*since, SILENT_MAX));
        match finishing_since {
            0 => over(since, limit).then_some(Order::Finish),
            _ => (is_silent || over(since, limit * 2)).then_some(Order::Close),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.0.serving.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.enter(IDLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ServerLimits = ServerLimits {
        connections_max: 1,
        header_bytes_max: 1,
        headers_max: 1,
        header_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(2),
        write_timeout: Duration::from_secs(3),
        streams_max: 1,
        stream_window: 65_535,
        connection_window: 65_535,
        pending_resets_max: 1,
        ping_interval: Duration::from_secs(1),
        ping_timeout: Duration::from_secs(1),
        handshake_timeout: Duration::from_secs(1),
        handshakes_max: 1,
    };

    fn ticks_until_closed(connections: &Connections, activity: &Activity) -> Option<u32> {
        ticks_until_told(connections, activity, CLOSE)
    }

    fn ticks_until_told(connections: &Connections, activity: &Activity, order: u8) -> Option<u32> {
        (1..100).find(|_| {
            connections.tick(&LIMITS);
            activity.order.load(Ordering::Relaxed) == order
        })
    }

    #[test]
    fn a_connection_without_a_request_is_closed() {
        let connections = Connections::default();
        let activity = connections.add();
        assert_eq!(ticks_until_closed(&connections, &activity), Some(5));
    }

    #[test]
    fn one_that_is_served_is_left_alone_and_then_idle() {
        let connections = Connections::default();
        let activity = connections.add();
        let serving = activity.serve();
        assert_eq!(ticks_until_closed(&connections, &activity), None);
        drop(serving);
        assert_eq!(ticks_until_closed(&connections, &activity), Some(9));
    }

    #[test]
    fn one_that_serves_several_is_busy_until_the_last_is_answered() {
        let connections = Connections::default();
        let activity = connections.add();
        activity.multiplexes();
        let (one, other) = (activity.serve(), activity.serve());
        drop(one);
        assert_eq!(ticks_until_closed(&connections, &activity), None);
        drop(other);
        activity.received();
        assert_eq!(ticks_until_told(&connections, &activity, FINISH), Some(9));
    }

    #[test]
    fn one_that_may_serve_several_is_told_to_go_and_closed_unless_it_listens() {
        let limits = ServerLimits { idle_timeout: Duration::from_secs(4), ..LIMITS };
        let closed = |listens: bool| {
            let connections = Connections::default();
            let activity = connections.add();
            activity.multiplexes();
            drop(activity.serve());
            let mut orders = Vec::new();
            for ticks in 1..100 {
                connections.tick(&limits);
                match activity.order.swap(NO_ORDER, Ordering::Relaxed) {
                    NO_ORDER => {}
                    CLOSE => return (orders, ticks),
                    order => orders.push((order, ticks)),
                }
                if listens {
                    activity.received();
                }
                activity.wrote(false);
            }
            panic!("it is never closed");
        };
        assert_eq!(closed(false), (vec![(FINISH, 17)], 26));
        assert_eq!(closed(true), (vec![(FINISH, 17)], 33));
    }

    #[test]
    fn those_that_are_told_to_leave_do_so_once_they_are_answered() {
        let limits = ServerLimits { idle_timeout: Duration::from_mins(1), ..LIMITS };
        let connections = Connections::default();
        let (one, several) = (connections.add(), connections.add());
        several.multiplexes();
        let serving = [one.serve(), several.serve()];
        connections.leave();
        connections.tick(&limits);
        let order = |activity: &Activity| activity.order.swap(NO_ORDER, Ordering::Relaxed);
        assert!(one.is_leaving() && order(&one) == NO_ORDER);
        assert_eq!(order(&several), FINISH, "a peer is told while it is served");
        drop(serving);
        let closed = (1..100).find(|_| {
            connections.tick(&limits);
            order(&one) == CLOSE
        });
        assert_eq!(closed, Some(9));
    }

    #[test]
    fn one_that_was_idle_for_long_has_as_long_to_ask_when_others_leave() {
        let limits = ServerLimits { idle_timeout: Duration::from_mins(1), ..LIMITS };
        let connections = Connections::default();
        let activity = connections.add();
        drop(activity.serve());
        for _ in 0..50 {
            connections.tick(&limits);
        }
        connections.leave();
        let closed = (1..100).find(|_| {
            connections.tick(&limits);
            activity.order.swap(NO_ORDER, Ordering::Relaxed) == CLOSE
        });
        assert_eq!(closed, Some(9));
    }

    #[test]
    fn a_request_that_has_come_meanwhile_is_no_reason_to_close() {
        let connections = Connections::default();
        let activity = connections.add();
        assert!(!activity.has_come_to_life(), "nothing was asked");
        let serving = activity.serve();
        assert!(activity.has_come_to_life());
        activity.wrote(true);
        assert!(!activity.has_come_to_life(), "its peer takes nothing");
        activity.wrote(false);
        drop(serving);
        assert!(!activity.has_come_to_life(), "it is idle");
    }

    #[test]
    fn the_next_header_has_its_own_deadline() {
        let connections = Connections::default();
        let activity = connections.add();
        drop(activity.serve());
        activity.received();
        assert_eq!(ticks_until_closed(&connections, &activity), Some(5));
    }

    #[test]
    fn a_peer_that_takes_nothing_is_closed() {
        let connections = Connections::default();
        let activity = connections.add();
        let _serving = activity.serve();
        connections.tick(&LIMITS);
        activity.wrote(true);
        connections.tick(&LIMITS);
        activity.wrote(false);
        assert_eq!(ticks_until_closed(&connections, &activity), None);
        activity.wrote(true);
        assert_eq!(ticks_until_closed(&connections, &activity), Some(13));
    }
}
