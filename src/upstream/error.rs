//! Why there is no answer, and whether the upstream can have seen the request.

use crate::transport::TlsFault;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SendError {
    /// The upstream cannot have seen the request.
    #[error("the request was not sent: {0}")]
    NotSent(NotSent),
    /// The upstream may have seen the request.
    #[error("the outcome of the request is unknown: {0}")]
    Unknown(Lost),
}

/// Why a request was not sent, or is known not to have been looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotSent {
    /// The connection was refused, or could not be made for another reason.
    #[error("the connection was refused")]
    Refused,
    /// The connection was not made in time.
    #[error("the connection was not made in time")]
    TimedOut,
    /// The name has no address.
    #[error("the name has no address")]
    NoAddress,
    /// The connection closed before anything was written to it.
    #[error("the connection closed before the request was written")]
    Closed,
    /// The TLS handshake has failed.
    #[error("no connection by TLS could be made: {0}")]
    Tls(TlsFault),
    /// The other side does not speak HTTP/2.
    #[error("the other side does not speak HTTP/2")]
    NotHttp2,
    /// The other side says that it has not looked at the request, and will not.
    #[error("the request was turned away unseen")]
    TurnedAway,
    /// All connections that may be open are full of requests.
    #[error("there are as many connections as may be, and all are full")]
    Full,
    /// What HTTP/1.1 lets a Host field be, HTTP/2 does not let an authority be.
    #[error("the host of the request can't be said in HTTP/2")]
    Host,
}

/// How an answer was lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Lost {
    /// The exchange broke off before a whole answer had come.
    #[error("it broke off")]
    BrokenOff,
    /// What came is not valid HTTP.
    #[error("what came is not valid HTTP")]
    Malformed,
}
