//! Connections that wait for their next request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;

use crate::message::Body;

/// Idle connections of one worker, the last one used being the first one taken.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Vec<Idle>>,
    idle_timeout: Duration,
    idle_max: usize,
}

#[derive(Debug)]
struct Idle {
    connection: SendRequest<Body>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(idle_timeout: Duration, idle_max: usize) -> Self {
        Self { idle: Mutex::default(), idle_timeout, idle_max }
    }

    /// A connection that can take a request now.
    pub(super) fn take(&self) -> Option<SendRequest<Body>> {
        let now = Instant::now();
        let mut idle = self.idle();
        while let Some(Idle { connection, since }) = idle.pop() {
            // One that is neither closed nor ready still sends or receives something after a
            // whole answer: it is not to be trusted, and is closed by being dropped.
            if connection.is_ready() && now.duration_since(since) < self.idle_timeout {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose answer has come whole.
    pub(super) fn put(&self, connection: SendRequest<Body>) {
        let mut idle = self.idle();
        if !connection.is_closed() && idle.len() < self.idle_max {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes what has been idle for too long, or was closed by the other side.
    pub(super) fn close_idle(&self) {
        let now = Instant::now();
        self.idle().retain(|idle| {
            !idle.connection.is_closed() && now.duration_since(idle.since) < self.idle_timeout
        });
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
