//! A connection for what no request waits for: it may take longer, and nothing waits behind it.

use std::time::Duration;

use redis::RedisResult;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::core::Core;
use super::link::{self, Link};
use super::options::RedisOptions;
use super::trouble::{Blame, CallError, blame, words};

/// How much longer than a call a question may take.
const PATIENCE: u32 = 10;

/// A connection for what no request waits for. It is made when it is needed.
pub(super) struct Aside {
    held: Mutex<Held>,
    timeout: Duration,
}

/// The connection, if there is one.
#[derive(Default)]
struct Held {
    link: Option<Link>,
    /// During which session it was made: the next one may be with another server.
    session: u64,
    /// How many there have been.
    made: u64,
}

/// A connection that is used.
struct Used {
    link: Link,
    made: u64,
    age: Age,
}

/// Whether a connection has been used before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Age {
    New,
    Used,
}

impl Aside {
    pub(super) fn new(options: &RedisOptions) -> Self {
        Self { held: Mutex::default(), timeout: options.timeout.saturating_mul(PATIENCE) }
    }

    /// Asks what changes nothing. That it fails says nothing of the connections that requests use.
    pub(super) async fn ask<T, F>(
        &self,
        core: &Core,
        question: impl Fn(Link) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        loop {
            let used = timeout(self.timeout, self.link(core)).await;
            let used = used.unwrap_or_else(|_| Err(late()))?;
            let Ok(answer) = timeout(self.timeout, question(used.link)).await else {
                self.drop(used.made).await;
                return Err(late());
            };
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if blame(&error) == Blame::Connection {
                self.drop(used.made).await;
                // It may have been closed while nothing was asked.
                if used.age == Age::Used {
                    continue;
                }
            }
            return Err(CallError::Refused(core.calls.secrets.hide(&words(&error))));
        }
    }

    /// The connection, or a new one; none while requests have none.
    async fn link(&self, core: &Core) -> Result<Used, CallError> {
        let refused = |reason: &str| CallError::Refused(reason.to_owned());
        let session = core.calls.board.session().await.map_err(|reason| refused(&reason))?;
        let mut held = self.held.lock().await;
        if let Some(link) = held.link.clone().filter(|_| held.session == session.number) {
            return Ok(Used { link, made: held.made, age: Age::Used });
        }
        let link = link::open_one(&core.options)
            .await
            .map_err(|trouble| CallError::Refused(core.calls.secrets.hide_in(trouble).reason()))?;
        *held = Held { link: Some(link.clone()), session: session.number, made: held.made + 1 };
        Ok(Used { link, made: held.made, age: Age::New })
    }

    async fn drop(&self, made: u64) {
        let mut held = self.held.lock().await;
        // Others may have made another one since.
        if held.made == made {
            held.link = None;
        }
    }
}

fn late() -> CallError {
    CallError::Refused("no answer in time".to_owned())
}
