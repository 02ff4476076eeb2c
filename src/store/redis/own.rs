//! Connections of single workers: what a worker asks goes by one that it drives itself, so that no
//! other thread has to be woken to send it, and to say what has come back.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::{PushInfo, PushKind};
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::core::Core;
use super::link::{CONNECT_TIMEOUT, Server};
use super::status::{Lane, Line, Session};
use super::trouble::Trouble;

/// How many workers may have connections of their own; all others share some.
pub(super) const WORKERS_MAX: usize = 64;

/// Before connections that were lost are replaced.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Before it's tried again to connect for those who have none.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

/// The connections of single workers, by their runtimes, as far as they are there.
#[derive(Default)]
pub(super) struct Own(ArcSwap<Vec<(Id, Pair)>>);

/// The connections of one worker.
#[derive(Clone)]
struct Pair {
    common: Arc<Line>,
    waiting: Option<Arc<Line>>,
    is_lost: Arc<AtomicBool>,
}

/// Says that connections are lost, when it's told so, and when whoever drives them has ended.
struct Loss {
    is_lost: Arc<AtomicBool>,
    told: Arc<Notify>,
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

    fn has(&self, worker: Id) -> bool {
        self.0.load().iter().any(|(id, _)| *id == worker)
    }

    /// Takes the connections of a worker that has none; there is one who does so.
    fn add(&self, worker: Id, pair: Pair) {
        let mut workers = Vec::clone(&self.0.load());
        workers.push((worker, pair));
        self.0.store(Arc::new(workers));
    }

    /// Drops what is lost, which is not used any more.
    fn sweep(&self) {
        let mut workers = Vec::clone(&self.0.load());
        workers.retain(|(_, pair)| !pair.is_lost());
        self.0.store(Arc::new(workers));
    }
}

impl Pair {
    fn line(&self, lane: Lane) -> Option<Arc<Line>> {
        match lane {
            _ if self.is_lost() => None,
            Lane::Common => Some(Arc::clone(&self.common)),
            Lane::Waiting => self.waiting.clone(),
        }
    }

    fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }
}

impl Loss {
    fn tell(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
        self.told.notify_one();
    }
}

impl Drop for Loss {
    fn drop(&mut self) {
        self.tell();
    }
}

/// Sees to it that each worker has connections of its own. One that has none, or has lost them,
/// goes by those that all share; a server without a name can't be told from others, and has only
/// those.
pub(super) async fn equip(core: &Arc<Core>, session: &Session) {
    let Some(server) = session.server.as_ref().filter(|server| server.has_name()) else {
        return pending().await;
    };
    let mut workers = core.workers.subscribe();
    let told = Arc::new(Notify::new());
    loop {
        session.own.sweep();
        let all = workers.borrow_and_update().clone();
        for worker in all.iter().filter(|worker| !session.own.has(worker.id())) {
            match connect_on(core, worker, server.clone(), &told).await {
                Ok(pair) => session.own.add(worker.id(), pair),
                Err(trouble) => {
                    let trouble = core.calls.secrets.hide_in(trouble);
                    tracing::debug!(reason = trouble.reason(), "a worker shares connections");
                }
            }
        }
        tokio::select! {
            _ = workers.changed() => {}
            () = told.notified() => sleep(RECONNECT_PAUSE).await,
            () = sleep(RETRY_PAUSE) => {}
        }
    }
}

/// Connects on the runtime of a worker, to the process that the session is with. That such a
/// connection is lost ends no session by itself: the server may close what is idle.
async fn connect_on(
    core: &Core,
    worker: &Handle,
    server: Server,
    told: &Arc<Notify>,
) -> Result<Pair, Trouble> {
    let waits = core.options.url.replicas.is_some();
    let is_lost = Arc::<AtomicBool>::default();
    let (flag, told) = (Arc::clone(&is_lost), Arc::clone(told));
    let pushes = move || {
        let loss = Loss { is_lost: Arc::clone(&flag), told: Arc::clone(&told) };
        move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                loss.tell();
            }
            Ok::<(), ()>(())
        }
    };
    let connecting = worker.spawn(timeout(CONNECT_TIMEOUT, async move {
        let line = |link| Arc::new(Line::new(link));
        let common = line(server.connect(pushes()).await?);
        let waiting = match waits {
            true => Some(line(server.connect(pushes()).await?)),
            false => None,
        };
        Ok(Pair { common, waiting, is_lost })
    }));
    // A worker that is held up holds up no other.
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(Ok(connected))) => connected,
        Ok(Ok(Err(_))) | Err(_) => Err(Trouble::Unreachable("no answer in time".into())),
        Ok(Err(ended)) => Err(Trouble::Unreachable(ended.to_string())),
    }
}
