//! Calls to the server: each within its deadline, and of each it is known how it ended.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::link::Link;
use super::options::RedisOptions;
use super::scripts::Run;
use super::secrets::Secrets;
use super::status::{Board, Lane, Line, Session};
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

    /// Runs a script; `byte` chooses among connections that are shared.
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
        let _place = self.place()?;
        let until = self.deadline(waits);
        let session = self.session(until).await?;
        let line = session.line(waits.lane(), byte).ok_or_else(no_connection)?;
        let before = line.answers();
        if let Some(answered) = self.run_by(&session, &line, run, (waits, until)).await {
            return answered;
        }
        if line.note_silence(before) >= self.failures_max {
            self.board.give_up(session.number, self.silence());
        }
        Err(CallError::Lost(self.silence()))
    }

    /// Runs a script behind all that was asked with this byte before, by whichever connection that
    /// the session has now. That one of them is silent is noted by those who need it.
    pub(super) async fn run_behind(
        &self,
        byte: u8,
        run: &Run,
        waits: Waits,
    ) -> Result<(), CallError> {
        let _place = self.place()?;
        let session = self.session(self.deadline(waits)).await?;
        let lines = session.all_lines(waits.lane(), byte);
        if lines.is_empty() {
            return Err(no_connection());
        }
        let mut result = Ok(());
        for line in lines {
            let until = self.deadline(waits);
            let answered = self.run_by(&session, &line, run, (waits, until)).await;
            let answered = answered.unwrap_or_else(|| Err(CallError::Lost(self.silence())));
            result = answered.map(|_| ()).and(result);
        }
        result
    }

    fn place(&self) -> Result<SemaphorePermit<'_>, CallError> {
        self.places.try_acquire().map_err(|_| refused("too many calls at a time"))
    }

    fn deadline(&self, waits: Waits) -> Instant {
        let waited = waits.replicas().map_or(Duration::ZERO, |replicas| replicas.timeout);
        Instant::now() + self.timeout + waited
    }

    async fn session(&self, until: Instant) -> Result<Arc<Session>, CallError> {
        match timeout_at(until, self.board.session()).await {
            Ok(session) => session.map_err(|reason| refused(&reason)),
            Err(_) => Err(refused("there was no connection in time")),
        }
    }

    fn silence(&self) -> String {
        format!("no answer within {:?}", self.timeout)
    }

    /// Runs a script by a connection; nothing, if it's not answered in time.
    async fn run_by(
        &self,
        session: &Session,
        line: &Line,
        run: &Run,
        (waits, until): (Waits, Instant),
    ) -> Option<Result<(Value, Reached), CallError>> {
        let before = line.answers();
        let mut connection = line.link.clone();
        let sent = timeout_at(until, send(&mut connection, run, waits.replicas())).await.ok()?;
        if sent.is_ok() {
            line.note_answer();
        }
        Some(sent.map_err(|error| self.failed(session.number, (line, before), &error)))
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

impl Waits {
    fn lane(self) -> Lane {
        match self {
            Self::Not => Lane::Common,
            Self::ForClaims | Self::ForReplicas(_) => Lane::Waiting,
        }
    }

    fn replicas(self) -> Option<Replicas> {
        match self {
            Self::ForReplicas(replicas) => Some(replicas),
            Self::Not | Self::ForClaims => None,
        }
    }
}

fn refused(reason: &str) -> CallError {
    CallError::Refused(reason.to_owned())
}

fn no_connection() -> CallError {
    refused("there is no connection")
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
