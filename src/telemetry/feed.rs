//! Duplicates, for whoever watches: nothing is made of them while nobody does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::access::Entry;
use super::metrics::{Handled, Label as _};
use crate::message::ProblemKind;

/// The most duplicates that wait for somebody who watches; the oldest go first.
const WAITING_MAX: usize = 256;

/// What only those are told whose request has come before.
const OF_REPEATS: [&str; 4] = [
    ProblemKind::InProgress.name(),
    ProblemKind::OutcomeUnknown.name(),
    ProblemKind::AnswerNotKept.name(),
    ProblemKind::KeyReused.name(),
];

/// Where duplicates are told of. A clone is the same place.
#[derive(Clone, Debug)]
pub struct Feed {
    sender: broadcast::Sender<Arc<Duplicate>>,
    /// How many watch. Each request asks for it, and the channel would have to be locked to say it.
    watchers: Arc<AtomicUsize>,
}

/// Somebody who watches, until dropped.
#[derive(Debug)]
pub struct Watcher {
    receiver: broadcast::Receiver<Arc<Duplicate>>,
    watchers: Arc<AtomicUsize>,
}

/// A request that was answered without work, or would have been.
#[derive(Clone, Debug)]
pub struct Duplicate(Value);

impl Feed {
    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Somebody who watches from now on.
    pub fn watch(&self) -> Watcher {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watcher { receiver: self.sender.subscribe(), watchers: Arc::clone(&self.watchers) }
    }

    /// Tells of a request if it is a duplicate. Never waits.
    pub fn tell(&self, entry: &Entry<'_>) {
        if self.is_watched() && is_duplicate(entry) {
            // An error says that nobody watches any more.
            let _ = self.sender.send(Arc::new(Duplicate::of(entry)));
        }
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self { sender: broadcast::channel(WAITING_MAX).0, watchers: Arc::default() }
    }
}

impl Watcher {
    /// What is told next; an error says that some was missed, or that nothing will be told.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Arc<Duplicate>, RecvError> {
        self.receiver.recv().await
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Duplicate {
    fn of(entry: &Entry<'_>) -> Self {
        Self(json!({
            "time": humantime::format_rfc3339_millis(entry.time.as_system_time()).to_string(),
            "key": entry.key,
            "route": entry.route,
            "method": entry.method,
            "path": entry.path,
            "status": entry.status,
            "outcome": entry.handled.name(),
            "problem": entry.problem.or(entry.would_be),
        }))
    }

    /// What there is to tell, as JSON on one line.
    pub fn to_json(&self) -> String {
        self.0.to_string()
    }
}

/// Whether a request was one that had come before.
fn is_duplicate(entry: &Entry<'_>) -> bool {
    match entry.handled {
        Handled::Replayed | Handled::Collapsed => true,
        Handled::Observed => entry.would_be.is_some_and(|would_be| {
            let answered = [Handled::Replayed, Handled::Collapsed].map(Handled::name);
            answered.contains(&would_be) || OF_REPEATS.contains(&would_be)
        }),
        // Whoever is refused for something else may be the first.
        Handled::Refused => entry.problem.is_some_and(|problem| OF_REPEATS.contains(&problem)),
        Handled::Executed | Handled::Passed | Handled::Failed => false,
    }
}
