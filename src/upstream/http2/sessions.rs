//! The connections of one lane of one worker, and who waits for another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::super::{Lane, NotSent, Shared};
use super::session::{STREAMS_MAX, Session, Ticket};

/// The most connections of a lane that are open at a time.
const SESSIONS_MAX: usize = 100;

/// The connections of one lane of one worker.
#[derive(Debug)]
pub(in crate::upstream) struct Sessions(Mutex<State>);

#[derive(Debug)]
struct State {
    open: Vec<Arc<Session>>,
    attempts: Vec<Attempt>,
    /// How many requests another connection may be expected to take.
    streams_expected: usize,
    /// The number of the next attempt.
    next: u64,
}

/// A connection that is being made, in a task of its own: whoever waits may leave at any time.
#[derive(Debug)]
struct Attempt {
    number: u64,
    waiting: Arc<AtomicUsize>,
    made: watch::Receiver<Option<Made>>,
}

/// How an attempt has ended.
type Made = Result<Arc<Session>, NotSent>;

/// A place among those who wait for a connection.
struct Place {
    waiting: Arc<AtomicUsize>,
    made: watch::Receiver<Option<Made>>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self(Mutex::new(State {
            open: Vec::new(),
            attempts: Vec::new(),
            streams_expected: STREAMS_MAX as usize,
            next: 0,
        }))
    }
}

impl Sessions {
    /// A stream of any connection, of a new one if there is no other.
    pub(super) async fn ticket(shared: &Arc<Shared>, lane: Lane) -> Result<Ticket, NotSent> {
        let ticket = shared.sessions(lane).state().ticket();
        match ticket {
            Some(ticket) => Ok(ticket),
            None => Box::pin(Self::wait(shared, lane, State::ticket)).await,
        }
    }

    /// A stream of a connection that is not made yet.
    pub(super) async fn fresh_ticket(shared: &Arc<Shared>, lane: Lane) -> Result<Ticket, NotSent> {
        Self::wait(shared, lane, |_| None).await
    }

    /// Waits for a connection, for as long as making one may take: it may have no stream left when
    /// it is there.
    async fn wait(
        shared: &Arc<Shared>,
        lane: Lane,
        other: impl Fn(&mut State) -> Option<Ticket>,
    ) -> Result<Ticket, NotSent> {
        let deadline = Instant::now() + shared.remote.options.connect_timeout;
        loop {
            let mut place = {
                let mut state = shared.sessions(lane).state();
                if let Some(ticket) = other(&mut state) {
                    return Ok(ticket);
                }
                state.place(shared, lane)?
            };
            let made = match timeout_at(deadline, place.made.wait_for(Option::is_some)).await {
                Ok(Ok(made)) => made.clone().unwrap_or(Err(NotSent::Closed)),
                Ok(Err(_)) => Err(NotSent::Closed),
                Err(_) => Err(NotSent::TimedOut),
            };
            let ticket = match &made {
                Ok(session) => session.ticket(),
                Err(_) => other(&mut shared.sessions(lane).state()),
            };
            match (ticket, made) {
                (Some(ticket), _) => return Ok(ticket),
                (None, Err(error)) => return Err(error),
                (None, Ok(_)) => {}
            }
        }
    }

    /// Closes connections that have been idle for so long, and forgets those that are closed.
    pub(in crate::upstream) fn close_idle(&self, time: Duration) {
        self.state().open.retain(|session| session.is_open() && !session.is_idle(time));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A stream of the first connection that has one to spare: those that are not needed become
    /// idle so.
    fn ticket(&mut self) -> Option<Ticket> {
        let mut at = 0;
        while let Some(session) = self.open.get(at) {
            if !session.is_open() {
                self.open.remove(at);
                continue;
            }
            match session.ticket() {
                Some(ticket) => return Some(ticket),
                None => at += 1,
            }
        }
        None
    }

    /// A place among those who wait for a connection that will have room for all of them.
    fn place(&mut self, shared: &Arc<Shared>, lane: Lane) -> Result<Place, NotSent> {
        let expected = self.streams_expected;
        let has_room = |attempt: &&Attempt| attempt.waiting.load(Ordering::Acquire) < expected;
        if let Some(attempt) = self.attempts.iter().find(has_room) {
            return Ok(attempt.place());
        }
        if self.open.len() + self.attempts.len() >= SESSIONS_MAX {
            return Err(NotSent::Full);
        }
        let attempt = self.attempt(shared, lane);
        let place = attempt.place();
        self.attempts.push(attempt);
        Ok(place)
    }

    fn attempt(&mut self, shared: &Arc<Shared>, lane: Lane) -> Attempt {
        let number = self.next;
        self.next += 1;
        let (tell, made) = watch::channel(None);
        let making = Making { shared: Arc::clone(shared), lane, number };
        tokio::spawn(async move {
            let made = Session::open(&making.shared.remote).await.map(Arc::new);
            making.end(made.as_ref().ok());
            // Nobody may wait any more.
            let _ = tell.send(Some(made));
        });
        Attempt { number, waiting: Arc::default(), made }
    }
}

impl Attempt {
    fn place(&self) -> Place {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Place { waiting: Arc::clone(&self.waiting), made: self.made.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An attempt that runs; however it ends, it is not left among those that do.
struct Making {
    shared: Arc<Shared>,
    lane: Lane,
    number: u64,
}

impl Making {
    fn end(&self, session: Option<&Arc<Session>>) {
        let mut state = self.shared.sessions(self.lane).state();
        state.attempts.retain(|attempt| attempt.number != self.number);
        if let Some(session) = session {
            state.streams_expected = session.streams_max().max(1);
            state.open.push(Arc::clone(session));
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.end(None);
    }
}
