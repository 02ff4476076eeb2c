//! What can go wrong with a server, and what follows from it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::options::RedisOpenError;
use crate::store::StoreError;

/// Why there is no connection that can be used.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The server can't be reached, or is not ready; that may change by itself.
    Unreachable(String),
    /// The server is not as it must be; that changes only if somebody changes it.
    Wrong(RedisOpenError),
}

/// Why a call has come to nothing.
#[derive(Clone, Debug)]
pub(super) enum CallError {
    /// It has changed nothing.
    Refused(String),
    /// It has changed nothing, since the server has no room.
    Full,
    /// Nobody knows whether it has changed anything.
    Lost(String),
}

/// What a failed call says of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Blame {
    /// Nothing.
    Call,
    /// It has to be made again, perhaps to another server.
    Connection,
}

impl Trouble {
    /// What went wrong before anything was sent.
    pub(super) fn tls(error: &RedisError) -> Self {
        Self::Wrong(RedisOpenError::Tls(words(error)))
    }

    pub(super) fn reason(&self) -> String {
        match self {
            Self::Unreachable(reason) => reason.clone(),
            Self::Wrong(error) => error.to_string(),
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        let words = words(&error);
        let code = error.code().unwrap_or_default();
        if error.kind() == ErrorKind::AuthenticationFailed || matches!(code, "WRONGPASS" | "NOAUTH")
        {
            return Self::Wrong(RedisOpenError::Login(words));
        }
        if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) {
            return Self::Wrong(RedisOpenError::Permission(words));
        }
        Self::Unreachable(words)
    }
}

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(reason) | CallError::Lost(reason) => Self::Unavailable(reason),
            CallError::Full => Self::Full,
        }
    }
}

/// What a failed call says of the connection.
pub(super) fn blame(error: &RedisError) -> Blame {
    let moved_on = [ServerErrorKind::ReadOnly, ServerErrorKind::MasterDown];
    let is_elsewhere = moved_on.iter().any(|kind| error.kind() == ErrorKind::Server(*kind));
    match error.is_unrecoverable_error() || error.is_io_error() || is_elsewhere {
        true => Blame::Connection,
        false => Blame::Call,
    }
}

/// The server's words, or the library's. They are told on only by way of
/// [`Secrets`](super::secrets::Secrets): some servers repeat what they are sent.
pub(super) fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}
