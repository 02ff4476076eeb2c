//! Interim answers (1xx), which go ahead of the final one.
//!
//! hyper's server writes none but `100 Continue`, so they are written to the socket between two
//! of its own writes: before the final answer begins, and after all that came before has gone.

use std::io::Write as _;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::activity::Activity;

/// The most bytes of interim answers that wait for a slow peer; more are dropped.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// Sends interim answers to one request; to none once its final answer has begun.
#[derive(Clone, Debug)]
pub struct Interim {
    activity: Arc<Activity>,
    request: u32,
}

impl Interim {
    /// For the request that the connection serves now.
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        Self { activity: Arc::clone(activity), request: activity.request() }
    }

    /// Sends an interim answer, if the final one has not begun.
    pub fn send(&self, status: StatusCode, headers: &HeaderMap) {
        if self.activity.request() != self.request {
            return;
        }
        let mut answer = format!("HTTP/1.1 {status}\r\n").into_bytes();
        for (name, value) in headers {
            // Writing to memory cannot fail.
            let _ = write!(answer, "{name}: ");
            answer.extend_from_slice(value.as_bytes());
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"\r\n");
        self.activity.send_interim(&answer, WAITING_BYTES_MAX);
    }
}
