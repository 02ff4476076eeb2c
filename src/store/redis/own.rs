//! Connections of single workers: what a worker asks goes by one that it drives itself, so that no
//! other thread has to be woken to send it, and to say what has come back.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::{PushInfo, PushKind};
use tokio::runtime::{Handle, Id};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::core::Core;
use super::link::{CONNECT_TIMEOUT, Link, Server};
use super::status::{Lane, Line, Session};
use super::trouble::Trouble;

/// How many workers may have connections of their own; all others share some.
pub(super) const WORKERS_MAX: usize = 64;

/// Before a connection that was lost is replaced.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Before it's tried again to connect for those who have none.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The connections of single workers, by their runtimes, as far as they are there.
#[derive(Default)]
pub(super) struct Own(ArcSwap<Vec<(Id, Pair)>>);

/// The connections of one worker.
#[derive(Clone)]
pub(super) struct Pair {
    common: Arc<Line>,
    waiting: Option<Arc<Line>>,
}

impl Own {
    /// The connection of whoever asks.
    pub(super) fn line(&self, lane: Lane) -> Option<Arc<Line>> {
        let workers = self.0.load();
        if workers.is_empty() {
            return None;
        }
        let asks = Handle::try_current().ok()?.id();
        workers.iter().find(|(worker, _)| *worker == asks)?.1.line(lane)
    }

    /// The connections of all workers.
    pub(super) fn lines(&self, lane: Lane) -> Vec<Arc<Line>> {
        self.0.load().iter().filter_map(|(_, pair)| pair.line(lane)).collect()
    }

    pub(super) fn has(&self, worker: Id) -> bool {
        self.0.load().iter().any(|(id, _)| *id == worker)
    }

    /// Takes the connections of a worker that has none; there is one who does so.
    pub(super) fn add(&self, worker: Id, pair: Pair) {
        let mut workers = Vec::clone(&self.0.load());
        workers.push((worker, pair));
        self.0.store(Arc::new(workers));
    }

    /// Drops those of a worker, which shares the others' from now on.
    pub(super) fn remove(&self, worker: Id) {
        let mut workers = Vec::clone(&self.0.load());
        workers.retain(|(id, _)| *id != worker);
        self.0.store(Arc::new(workers));
    }
}

impl Pair {
    pub(super) fn new(common: Link, waiting: Option<Link>) -> Self {
        let line = |link| Arc::new(Line::new(link));
        Self { common: line(common), waiting: waiting.map(line) }
    }

    fn line(&self, lane: Lane) -> Option<Arc<Line>> {
        match lane {
            Lane::Common => Some(Arc::clone(&self.common)),
            Lane::Waiting => self.waiting.clone(),
        }
    }
}

/// Sees to it that each worker has connections of its own. Without any it goes by those that all
/// share.
pub(super) async fn equip(core: &Arc<Core>, session: &Session) {
    let Some(server) = &session.server else { return pending().await };
    let mut workers = core.workers.subscribe();
    let (tell, mut lost) = mpsc::channel(2 * WORKERS_MAX);
    loop {
        let all = workers.borrow_and_update().clone();
        for worker in all.iter().filter(|worker| !session.own.has(worker.id())) {
            match connect_on(core, worker, server.clone(), tell.clone()).await {
                Ok(pair) => session.own.add(worker.id(), pair),
                Err(trouble) => {
                    let trouble = core.calls.secrets.hide_in(trouble);
                    tracing::debug!(reason = trouble.reason(), "a worker shares connections");
                }
            }
        }
        tokio::select! {
            _ = workers.changed() => {}
            Some(worker) = lost.recv() => {
                session.own.remove(worker);
                sleep(RECONNECT_PAUSE).await;
            }
            () = sleep(RETRY_PAUSE) => {}
        }
    }
}

/// Connects on the runtime of a worker, to the process that the session is with. It is told when
/// such a connection is lost, which ends no session by itself: the server may close what is idle.
async fn connect_on(
    core: &Arc<Core>,
    worker: &Handle,
    server: Server,
    tell: mpsc::Sender<Id>,
) -> Result<Pair, Trouble> {
    let (id, process) = (worker.id(), core.process());
    let waits = core.options.url.replicas.is_some();
    let pushes = move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            let _ = tell.try_send(id);
        }
        Ok::<(), ()>(())
    };
    let connecting = worker.spawn(timeout(CONNECT_TIMEOUT, async move {
        let common = server.connect_to(process.as_deref(), pushes.clone()).await?;
        let waiting = match waits {
            true => Some(server.connect_to(process.as_deref(), pushes).await?),
            false => None,
        };
        Ok(Pair::new(common, waiting))
    }));
    // A worker that is held up holds up no other.
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(Ok(connected))) => connected,
        Ok(Ok(Err(_))) | Err(_) => Err(Trouble::Unreachable("no answer in time".into())),
        Ok(Err(ended)) => Err(Trouble::Unreachable(ended.to_string())),
    }
}
