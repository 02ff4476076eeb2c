//! The duplicates, as they come: server-sent events (HTML, section 9.2).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::MissedTickBehavior;

use super::Instance;
use super::answer::Answer;
use super::problem::AdminProblem;
use crate::telemetry::Watcher;

/// The most events that wait for a reader, besides those that are on their way.
const WAITING_MAX: usize = 16;

/// How often a reader is written to when there is nothing to tell: it finds out that an instance
/// is gone, and the instance that a reader is.
const SILENT_MAX: Duration = Duration::from_secs(15);

/// Tells a reader of all duplicates from now on.
pub(super) fn follow(instance: &Instance, feeds: &Arc<Semaphore>) -> Result<Answer, AdminProblem> {
    let place = Arc::clone(feeds).try_acquire_owned().map_err(|_| AdminProblem::Busy)?;
    let (sender, pieces) = mpsc::channel(WAITING_MAX);
    let duplicates = instance.feed.watch();
    tokio::spawn(async move {
        tell(duplicates, sender).await;
        drop(place);
    });
    Ok(Answer::pieces("text/event-stream", pieces))
}

/// Tells until nobody listens, or there is nothing more to tell.
async fn tell(mut duplicates: Watcher, reader: mpsc::Sender<Bytes>) {
    let mut silence = tokio::time::interval(SILENT_MAX);
    silence.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            biased;
            () = reader.closed() => return,
            duplicate = duplicates.next() => match duplicate {
                Ok(duplicate) => format!("data: {}\n\n", duplicate.to_json()),
                Err(RecvError::Lagged(count)) => {
                    format!("event: missed\ndata: {{\"count\":{count}}}\n\n")
                }
                Err(RecvError::Closed) => return,
            },
            // The first comes at once: a reader knows that it is connected.
            _ = silence.tick() => ":\n\n".into(),
        };
        if reader.send(event.into()).await.is_err() {
            return;
        }
    }
}
