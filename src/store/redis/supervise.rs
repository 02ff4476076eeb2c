//! The store's own thread: it connects, and connects again.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use redis::PushInfo;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::calls::Waits;
use super::checks;
use super::core::{Core, Data};
use super::link::{self, CONNECT_TIMEOUT};
use super::operate;
use super::options::RedisOpenError;
use super::own;
use super::status::{Session, Status};
use super::trouble::Trouble;

/// The first pause after a failure; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Between two attempts to give claims back.
const RELEASE_PAUSE: Duration = Duration::from_millis(500);

/// How the first attempt to connect has ended.
pub(super) type First = oneshot::Receiver<Result<(), Trouble>>;

/// Starts the thread, which runs until `stop` is cancelled.
///
/// The connections that all share live on a runtime of their own, since workers come and go with
/// theirs.
pub(super) fn start(core: Arc<Core>, stop: CancellationToken) -> Result<First, RedisOpenError> {
    let failed = |error: std::io::Error| RedisOpenError::Thread(error.to_string());
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (told, first) = oneshot::channel();
    let run = move || {
        let _closing = Closing(Arc::clone(&core));
        runtime.block_on(async {
            let supervisor = Supervisor { core, pause: Duration::ZERO, made: 0 };
            tokio::select! {
                () = stop.cancelled() => {}
                () = supervisor.run(told) => {}
            }
        });
    };
    thread::Builder::new().name("store".into()).spawn(run).map_err(failed)?;
    Ok(first)
}

/// Says that the store can't be used any more, when its thread ends, even by a panic.
struct Closing(Arc<Core>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.calls.board.set(Status::Down("it is closed".into()));
    }
}

struct Supervisor {
    core: Arc<Core>,
    /// How long to wait before the next attempt.
    pause: Duration,
    /// How many sessions were begun.
    made: u64,
}

impl Supervisor {
    async fn run(mut self, told: oneshot::Sender<Result<(), Trouble>>) {
        let mut told = Some(told);
        loop {
            let made = self.connect().await;
            match &made {
                Ok(session) => self.core.calls.board.set(Status::Up(Arc::clone(session))),
                Err(trouble) => self.down(&trouble.reason()),
            }
            if let Some(told) = told.take() {
                let is_wrong = matches!(made, Err(Trouble::Wrong(_)));
                // Whoever asked may have left; then there is nothing to do.
                if told.send(made.as_ref().map(|_| ()).map_err(Clone::clone)).is_err() || is_wrong {
                    return;
                }
            }
            if let Ok(session) = made {
                self.serve(&session).await;
            }
            sleep(self.pause).await;
        }
    }

    /// Connects, checks what is there, and listens.
    async fn connect(&mut self) -> Result<Arc<Session>, Trouble> {
        self.made += 1;
        let made = timeout(CONNECT_TIMEOUT * 2, self.open(self.made)).await;
        let made = made.unwrap_or_else(|_| Err(Trouble::Unreachable("no answer in time".into())));
        made.map_err(|trouble| self.core.calls.secrets.hide_in(trouble))
    }

    async fn open(&self, number: u64) -> Result<Arc<Session>, Trouble> {
        let core = &self.core;
        let hears = Arc::downgrade(core);
        let pushes = move |push: PushInfo| match hears.upgrade() {
            Some(core) => {
                core.hear(number, &push);
                Ok(())
            }
            None => Err(()),
        };
        let mut links = link::open(&core.options, pushes).await?;
        if let Some(first) = links.common.first_mut() {
            core.note_process(checks::check(first, &core.options, &core.names).await?);
            first.subscribe(&core.names.channel).await?;
            let known = core.mark();
            let epoch = checks::epoch(&core.names, &core.given_time(), known.as_ref());
            let epoch = epoch.map_err(|error| Trouble::Unreachable(error.to_string()))?;
            let shown = first.ask(&epoch.whole()).await?;
            match core.note_mark(known.as_ref(), shown) {
                // What others have made forgotten meanwhile was missed.
                Data::Known => core.front.clear(),
                // What is at hand is all that is left.
                Data::Reset => {}
            }
        }
        Ok(Arc::new(Session::new(number, links)))
    }

    /// Lets calls use the session until it is of no use any more.
    async fn serve(&mut self, session: &Arc<Session>) {
        let core = &self.core;
        core.waiters.wake_all();
        tracing::info!(server = %core.options.url, "the store is connected");
        let broken = tokio::select! {
            broken = core.calls.board.given_up(session.number) => broken,
            () = give_back(core) => return,
            () = own::equip(core, session) => return,
        };
        if session.has_served() {
            self.pause = Duration::ZERO;
            core.calls.board.set(Status::Connecting);
            tracing::warn!(reason = broken.reason, "the connection to the store was lost");
        } else {
            self.down(&broken.reason);
        }
    }

    /// Lets calls fail at once, for a while.
    fn down(&mut self, reason: &str) {
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        // Once is enough for each reason.
        let status = self.core.calls.board.status();
        if !matches!(status, Status::Down(before) if *before == *reason) {
            tracing::warn!(server = %self.core.options.url, reason, "the store is unavailable");
        }
        self.core.calls.board.set(Status::Down(reason.into()));
    }
}

/// Gives back the claims of which nobody heard whether they were made.
async fn give_back(core: &Arc<Core>) {
    // A claim that waits for others to reach replicas must not come to the server after this.
    let waits = core.options.url.replicas.map_or(Waits::Not, |_| Waits::ForClaims);
    loop {
        core.abandoned.wait().await;
        // Whoever made such a claim may do so again, and late ones come in meanwhile.
        sleep(RELEASE_PAUSE).await;
        let mut calls = JoinSet::new();
        for (key, token) in core.abandoned.batch() {
            let core = Arc::clone(core);
            calls.spawn(async move {
                if operate::give_back(&core, &key, token, waits).await.is_ok() {
                    core.abandoned.told(&key, token);
                }
            });
        }
        calls.join_all().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::redis::options::RedisOptions;

    #[test]
    fn the_store_is_closed_when_its_thread_ends_by_a_panic() {
        let core = Core::new(RedisOptions::default(), Clock::system(), Arc::default());
        let core = Arc::new(core);
        let closing = Closing(Arc::clone(&core));
        let ended = thread::spawn(move || {
            let _closing = closing;
            panic!("on purpose");
        });
        assert!(ended.join().is_err());
        assert!(matches!(core.calls.board.status(), Status::Down(_)));
    }
}
