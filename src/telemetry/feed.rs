//! Duplicates, for whoever watches: nothing is made of them while nobody does.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::broadcast;

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
pub struct Feed(broadcast::Sender<Arc<Duplicate>>);

/// A request that was answered without work, or would have been.
#[derive(Clone, Debug)]
pub struct Duplicate(Value);

impl Feed {
    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Everything that is told from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Duplicate>> {
        self.0.subscribe()
    }

    /// Tells of a request if it is a duplicate. Never waits.
    pub fn tell(&self, entry: &Entry<'_>) {
        if self.is_watched() && is_duplicate(entry) {
            // An error says that nobody watches any more.
            let _ = self.0.send(Arc::new(Duplicate::of(entry)));
        }
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::channel(WAITING_MAX).0)
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
