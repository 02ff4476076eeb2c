//! Calls to the server: each within its deadline, and of each it is known how it ended.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::link::Link;
use super::options::RedisOptions;
use super::scripts::Run;
use super::secrets::Secrets;
use super::status::{Board, Lane, Line};
use super::trouble::{Blame, CallError, blame, words};
use super::url::Replicas;

/// How a server says that it has no room.
const FULL: &str = "OOM";

/// Sends calls to the server.
pub(super) struct Calls {
    pub(super) board: Board,
    places: Semaphore,
    timeout: Duration,
    failures_max: u32,
    pub(super) secrets: Secrets,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Waits {
    /// Nothing but its own answer.
    Not,
    /// The claims before it, which wait for replicas.
    ForClaims,
    /// That replicas take what it has written.
    ForReplicas(Replicas),
}

/// What was asked along with a script.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reached {
    /// Nothing.
    Unasked,
    /// How many replicas have taken what the script wrote.
    Replicas(u32),
}

impl Calls {
    pub(super) fn new(options: &RedisOptions) -> Self {
        Self {
            board: Board::new(),
            places: Semaphore::new(options.calls_max.min(Semaphore::MAX_PERMITS)),
            timeout: options.timeout,
            failures_max: options.failures_max,
            secrets: Secrets::new(options),
        }
    }

    /// Runs a script; `byte` chooses the connection.
    pub(super) async fn run(&self, byte: u8, run: &Run) -> Result<Value, CallError> {
        self.run_and_wait(byte, run, Waits::Not).await.map(|(value, _)| value)
    }

    /// Runs a script, and waits for more than its answer.
    pub(super) async fn run_and_wait(
        &self,
        byte: u8,
        run: &Run,
        waits: Waits,
    ) -> Result<(Value, Reached), CallError> {
        let refused = |reason: &str| CallError::Refused(reason.to_owned());
        let _place = self.places.try_acquire().map_err(|_| refused("too many calls at a time"))?;
        let (lane, replicas) = match waits {
            Waits::Not => (Lane::Common, None),
            Waits::ForClaims => (Lane::Waiting, None),
            Waits::ForReplicas(replicas) => (Lane::Waiting, Some(replicas)),
        };
        let waited = replicas.map_or(Duration::ZERO, |replicas| replicas.timeout);
        let mut asked = None;
        let call = async {
            let session = self.board.session().await.map_err(|reason| refused(&reason))?;
            let chosen =
                session.line(lane, byte).ok_or_else(|| refused("there is no connection"))?;
            let mut connection = chosen.link.clone();
            let before = chosen.answers();
            asked = Some((session.number, Arc::clone(&chosen), before));
            let result = send(&mut connection, run, replicas).await;
            result.map_err(|error| self.failed(session.number, (&chosen, before), &error))
        };
        let result = timeout(self.timeout + waited, call).await;
        match (result, asked) {
            (Ok(Ok(answer)), Some((_, chosen, _))) => {
                chosen.note_answer();
                Ok(answer)
            }
            (Ok(result), _) => result,
            (Err(_), Some((session, chosen, before))) => {
                let reason = format!("no answer within {:?}", self.timeout);
                if chosen.note_silence(before) >= self.failures_max {
                    self.board.give_up(session, reason.clone());
                }
                Err(CallError::Lost(reason))
            }
            (Err(_), None) => Err(refused("there was no connection in time")),
        }
    }

    /// What an error says, of the call and of the connection.
    fn failed(&self, session: u64, asked: (&Line, u64), error: &RedisError) -> CallError {
        let (line, before) = asked;
        // Whatever was tried before that has changed something would have been found.
        if error.code() == Some(FULL) {
            line.note_answer();
            return CallError::Full;
        }
        let words = self.secrets.hide(&words(error));
        let is_node = matches!(line.link, Link::Node(_));
        // A cluster's client mends its connections itself, unless it can't.
        if blame(error) == Blame::Connection
            && (is_node || line.note_silence(before) >= self.failures_max)
        {
            self.board.give_up(session, words.clone());
        }
        // It asks again by itself, too, and tells only how the last attempt ended.
        match is_node && error.code().is_some() {
            true => {
                line.note_answer();
                CallError::Refused(words)
            }
            false => CallError::Lost(words),
        }
    }
}

async fn send(
    link: &mut Link,
    run: &Run,
    replicas: Option<Replicas>,
) -> RedisResult<(Value, Reached)> {
    let sent = send_as(link, run.command(), replicas).await;
    match sent {
        // The server was started, or its scripts were dropped.
        Err(error) if error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript) => {
            send_as(link, &run.whole(), replicas).await
        }
        sent => sent,
    }
}

async fn send_as(
    link: &mut Link,
    command: &Cmd,
    replicas: Option<Replicas>,
) -> RedisResult<(Value, Reached)> {
    let Some(Replicas { count, timeout }) = replicas else {
        return link.ask(command).await.map(|value| (value, Reached::Unasked));
    };
    let mut pipeline = Pipeline::new();
    pipeline.add_command(command.clone());
    let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    pipeline.cmd("WAIT").arg(count).arg(millis);
    let mut answers = link.ask_all(&mut pipeline).await?.into_iter();
    let value = answers.next().unwrap_or_default().extract_error()?;
    let reached = match answers.next() {
        Some(Value::Int(reached)) => u32::try_from(reached).unwrap_or(0),
        _ => 0,
    };
    Ok((value, Reached::Replicas(reached)))
}
