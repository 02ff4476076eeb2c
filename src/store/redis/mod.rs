//! The store on a Redis or Valkey server: records that outlive the process, shared by replicas.
//!
//! A record is one value: a head that scripts read, and the envelope, which may be encrypted.
//! Each operation is one script, and so one step on the server and one round trip. All times are
//! kept in the server's time and translated for whoever reads them: replicas need not agree on
//! the time.
//!
//! What a worker asks goes by a connection of its own, which is driven by the worker: no other
//! thread is woken for it. Where there is none, it goes by those that all share: at first, after a
//! loss, beyond 64 workers, and in a cluster.
//!
//! What is promised while something fails:
//!
//! * A replica dies: its claims stay. When their lease has run out, whoever finds one decides.
//! * A call is not answered in time: [`StoreError::Unavailable`]. A claim that may have been made
//!   is ours if it is asked for again with its token, and is given back if it is not.
//! * The server stands still, or is away: after `failures_max` unanswered calls in a row on one
//!   connection, or when a lost connection can't be replaced at once, calls fail at once. It is
//!   tried again after 100 ms, and then after twice as long each time, up to 5 s.
//! * The server is restarted without its records or with older ones, or flushed: operations may
//!   run again. It is noticed by a mark that went with them, or by its count, which has gone back;
//!   it is counted and logged, and answers that a process has at hand are still given. What was
//!   lost of the last second is too little for that: it is logged that the server is another. In a
//!   cluster, only the node that has the mark is watched.
//! * A failover: the Sentinels, or the cluster, say who is the primary now. What the new one has
//!   not got is lost, and a lost claim counts as free. `?wait=K` makes a claim wait for K
//!   replicas, and one that too few have taken is given back; `min-replicas-to-write` on the
//!   server goes for all that is written, and ends what a cut-off primary would still take.
//! * The server is full: claims are refused ([`StoreError::Full`]), and what runs still comes to
//!   its end. It must not drop records to make room, which is checked at the start and after each
//!   reconnect.
//! * One node of a cluster is slow, or away: the claims on others are renewed all the same.
//! * A value was changed, or written by another version: [`StoreError::Corrupt`], counted. The
//!   key is held until the value runs out.
//! * A message is lost: whoever waits looks again by itself. A reconnect drops the answers at
//!   hand, since it may have been missed that one was forgotten.
//! * A clock steps: that of a process matters to nobody. If the server's does, leases and windows
//!   end that much earlier or later.
//!
//! An answer that one process has at hand and another has forgotten is given until the message
//! comes: for about a round trip, or until there is a connection again.
//!
//! The user needs `+info +eval +evalsha +subscribe +publish +get +getrange +set +setrange +del
//! +pexpire +pttl +time`, `+scan +strlen` to list records, and `+wait` for `?wait`; the keys
//! `~oncegate:{NAMESPACE*` and the channels `&oncegate:NAMESPACE:*`. In a cluster it needs
//! `+cluster`, too.
//!
//! [`StoreError::Unavailable`]: super::StoreError::Unavailable
//! [`StoreError::Corrupt`]: super::StoreError::Corrupt
//! [`StoreError::Full`]: super::StoreError::Full

mod abandoned;
mod aside;
mod calls;
mod checks;
mod core;
mod front;
mod link;
mod list;
mod names;
mod nodes;
mod operate;
mod options;
mod own;
mod scripts;
mod secrets;
mod sentinel;
mod status;
mod supervise;
mod trouble;
mod url;
mod value;
mod waiters;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use options::{
    Login, Password, RedisIdentity, RedisOpenError, RedisOptions, RedisTime, RedisTls,
};
pub use url::{Node, RedisUrl, RedisUrlError, Replicas, Security, Topology};

use self::core::Core;
use self::status::Status;
use self::trouble::Trouble;
use super::{Expected, Listed, Page, Store, StoreFuture, Swap, Usage};
use crate::clock::Clock;
use crate::idempotency::{LeaseToken, Record, RecordKey};
use crate::telemetry::Metrics;

/// A store on a Redis or Valkey server.
pub struct RedisStore {
    core: Arc<Core>,
    _stop: DropGuard,
}

impl RedisStore {
    /// Connects to the server.
    ///
    /// A server that can't be reached may be reached later: until then the store is unavailable.
    /// One that is there, and will not do, is an error.
    pub async fn connect(
        options: RedisOptions,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, RedisOpenError> {
        options.check()?;
        let stop = CancellationToken::new();
        let core = Arc::new(Core::new(options, clock, metrics));
        let first = supervise::start(Arc::clone(&core), stop.clone())?;
        let store = Self { core, _stop: stop.drop_guard() };
        match first.await {
            Ok(Err(Trouble::Wrong(error))) => Err(error),
            Ok(Ok(()) | Err(Trouble::Unreachable(_))) | Err(_) => Ok(store),
        }
    }
}

impl Store for RedisStore {
    fn peek(&self, key: &RecordKey) -> Option<Record> {
        self.core.front.peek(key)
    }

    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(operate::load(&self.core, key))
    }

    fn swap<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Expected,
        next: Option<Record>,
    ) -> StoreFuture<'a, Swap> {
        Box::pin(operate::swap(&self.core, key, expected, next))
    }

    fn attach(&self, worker: &Handle) {
        self.core.attach(worker);
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.core.options.lease)
    }

    fn renew<'a>(&'a self, claims: &'a [(RecordKey, LeaseToken)]) -> StoreFuture<'a, ()> {
        Box::pin(operate::renew(&self.core, claims))
    }

    fn changed<'a>(&'a self, key: &'a RecordKey) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.core.waiters.wait(key).changed())
    }

    fn trouble(&self) -> Option<String> {
        match self.core.calls.board.status() {
            Status::Up(_) | Status::Connecting => None,
            Status::Down(reason) => Some(reason.to_string()),
        }
    }

    fn maintain(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            self.core.front.maintain().await;
            operate::check_epoch(&self.core).await;
            Ok(())
        })
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listed> {
        Box::pin(list::list(&self.core, page))
    }

    /// What this process has at hand; what the server holds is not known.
    fn usage(&self) -> Usage {
        self.core.front.usage()
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("url", &self.core.options.url).finish_non_exhaustive()
    }
}
