//! Whether there is a connection, which calls look at and the supervisor changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::sync::watch;

use super::link::{Link, Links, Server};
use super::own::Own;

/// Whether there is a connection.
#[derive(Clone)]
pub(super) enum Status {
    /// There will be, or it will be known that there is none, in a moment.
    Connecting,
    /// There is.
    Up(Arc<Session>),
    /// There is none, and nobody waits for it.
    Down(Arc<str>),
}

/// Connections that were made together.
pub(super) struct Session {
    pub(super) number: u64,
    lines: Vec<Arc<Line>>,
    /// Those that only claims go by, which may stand still for a moment.
    claim_lines: Vec<Arc<Line>>,
    /// Those of single workers.
    pub(super) own: Own,
    /// Where more connections can be made, to the same server.
    pub(super) server: Option<Server>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lane {
    /// Everything that is answered at once.
    Common,
    /// Claims that wait for replicas: what follows them on a connection waits, too.
    Waiting,
}

/// A connection, and how it does.
pub(super) struct Line {
    pub(super) link: Link,
    /// How many calls were answered.
    answers: AtomicU64,
    /// How many calls in a row were not answered.
    failures: AtomicU32,
}

/// A session that must be replaced, and why.
#[derive(Clone, Default)]
pub(super) struct Broken {
    session: u64,
    pub(super) reason: String,
}

/// Where calls and the supervisor meet.
pub(super) struct Board {
    status: watch::Sender<Status>,
    broken: watch::Sender<Broken>,
}

impl Session {
    pub(super) fn new(number: u64, links: Links) -> Self {
        let Links { common, waiting, server } = links;
        let line = |link| Arc::new(Line::new(link));
        let all = |links: Vec<_>| links.into_iter().map(line).collect();
        let own = Own::default();
        Self { number, lines: all(common), claim_lines: all(waiting), own, server }
    }

    /// The connection for what begins with this byte: that of whoever asks, or one that is shared.
    pub(super) fn line(&self, lane: Lane, byte: u8) -> Option<Arc<Line>> {
        self.own.line(lane).or_else(|| self.shared_line(lane, byte))
    }

    /// All connections by which what begins with this byte may have gone, whoever has asked.
    pub(super) fn all_lines(&self, lane: Lane, byte: u8) -> Vec<Arc<Line>> {
        self.shared_line(lane, byte).into_iter().chain(self.own.lines(lane)).collect()
    }

    fn shared_line(&self, lane: Lane, byte: u8) -> Option<Arc<Line>> {
        let lines = match lane {
            Lane::Common => &self.lines,
            Lane::Waiting => &self.claim_lines,
        };
        lines.get(usize::from(byte) % lines.len().max(1)).cloned()
    }

    pub(super) fn has_served(&self) -> bool {
        let own = self.own.lines(Lane::Common);
        self.lines.iter().chain(&own).any(|line| line.answers() > 0)
    }
}

impl Line {
    pub(super) fn new(link: Link) -> Self {
        Self { link, answers: 0.into(), failures: 0.into() }
    }

    pub(super) fn note_answer(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
    }

    /// How many calls were answered until now.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Counts a call that was not answered, and returns how many there were in a row. One that was
    /// asked when there were `before` answers says nothing if others were answered since.
    pub(super) fn note_silence(&self, before: u64) -> u32 {
        if self.answers() != before {
            return 0;
        }
        self.failures.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Board {
    pub(super) fn new() -> Self {
        let status = watch::Sender::new(Status::Connecting);
        Self { status, broken: watch::Sender::new(Broken::default()) }
    }

    pub(super) fn set(&self, status: Status) {
        self.status.send_replace(status);
    }

    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The session, or why there is none; waits only while it is being made.
    pub(super) async fn session(&self) -> Result<Arc<Session>, Arc<str>> {
        let status = self.status();
        if let Status::Connecting = status {
            let mut changes = self.status.subscribe();
            let decided = changes.wait_for(|status| !matches!(status, Status::Connecting)).await;
            return decided.map_or_else(|_| Err("it is closed".into()), |status| status.session());
        }
        status.session()
    }

    /// Says that a session must be replaced.
    pub(super) fn give_up(&self, session: u64, reason: String) {
        self.broken.send_if_modified(|broken| {
            let is_new = session > broken.session;
            if is_new {
                *broken = Broken { session, reason };
            }
            is_new
        });
    }

    /// Waits until the session must be replaced.
    pub(super) async fn given_up(&self, session: u64) -> Broken {
        let mut changes = self.broken.subscribe();
        let broken = changes.wait_for(|broken| broken.session >= session).await;
        broken.map(|broken| broken.clone()).unwrap_or_default()
    }
}

impl Status {
    fn session(&self) -> Result<Arc<Session>, Arc<str>> {
        match self {
            Self::Up(session) => Ok(Arc::clone(session)),
            Self::Down(reason) => Err(Arc::clone(reason)),
            Self::Connecting => Err("it is being connected".into()),
        }
    }
}
