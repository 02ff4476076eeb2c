//! What a connection that is driven in the background has done so far.

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use tokio::sync::watch;

use super::wire::Ending;

/// Counts how often a connection has written all that it could, and says how it ended.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    progress: watch::Sender<(u64, Option<Ending>)>,
    driver: Arc<Mutex<Waker>>,
}

impl Turns {
    pub(super) fn new() -> Self {
        let driver = Arc::new(Mutex::new(Waker::noop().clone()));
        Self { progress: watch::channel((0, None)).0, driver }
    }

    /// Notes that everything has been written that there was, and for which there was room.
    pub(super) fn note(&self, context: &Context<'_>) {
        self.driver.lock().expect("a waker").clone_from(context.waker());
        self.progress.send_modify(|(turns, _)| *turns += 1);
    }

    /// Notes the end of the connection.
    pub(super) fn end(&self, how: Ending) {
        self.progress.send_modify(|(_, ended)| *ended = Some(how));
    }

    pub(super) fn ended(&self) -> Option<Ending> {
        self.progress.borrow().1
    }

    /// Waits until what was handed over before this call has been written.
    pub(super) async fn written(&self) {
        let before = self.progress.borrow().0;
        self.driver.lock().expect("a waker").wake_by_ref();
        self.wait(|turns, ended| turns > before || ended.is_some()).await;
    }

    /// Waits for the end of the connection.
    pub(super) async fn end_of_connection(&self) -> Ending {
        self.wait(|_, ended| ended.is_some()).await;
        self.ended().expect("it has ended")
    }

    async fn wait(&self, holds: impl Fn(u64, Option<Ending>) -> bool) {
        let mut progress = self.progress.subscribe();
        let waited = progress.wait_for(|(turns, ended)| holds(*turns, *ended)).await;
        waited.expect("the sender is held by self");
    }
}
