//! How the work on an operation ends, and what its callers are told.

use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use super::fingerprint::Part;
use super::origin::Origin;
use crate::clock::Timestamp;

/// What the work reports when it ends.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// It was executed; the answer is final, and every repeat must get it.
    Keep(Answer),
    /// The same, for as long as the upstream has said, from the first request on.
    KeepFor(Answer, Duration),
    /// The upstream says that it was not executed, or that a repeat may be.
    Discard(Answer),
    /// The upstream says that it does not know whether it was executed.
    Hold(Answer),
    /// It was executed; the answer goes straight to the first caller, and can't be kept.
    Streaming,
    /// The same, but the upstream says that it was not executed, or that a repeat may be.
    StreamingDiscard,
    /// The same, but the upstream says that it does not know whether it was executed.
    StreamingHold,
    /// The upstream has not seen the request.
    NotSent(Unreachable),
    /// The upstream may have seen the request, and nobody knows what became of it.
    Unknown(Broken),
}

/// What a caller is told.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An answer of the upstream's.
    Answered {
        /// The answer.
        answer: Answer,
        /// Where it comes from.
        provenance: Provenance,
        /// When it was complete.
        answered_at: Timestamp,
        /// What the request was that it was given to first, if that is known.
        origin: Option<Arc<Origin>>,
    },
    /// An answer that goes straight to the first caller, whose request was executed like that.
    Streaming(Provenance),
    /// The work has failed.
    Failed(Failure),
    /// The work was not begun for this caller.
    Refused(Refusal),
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Provenance {
    /// This caller's request was executed.
    Executed,
    /// Another caller's request was executed while this one waited (RFC 9211 calls it so).
    Collapsed,
    /// It was kept earlier.
    Replayed,
    /// This caller's request was executed, and nothing keeps a repeat from being executed, too.
    Unprotected,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The upstream has not seen the request; a retry is safe.
    Unreachable(Unreachable),
    /// The upstream may have seen the request; a retry may repeat it.
    Broken(Broken),
    /// The upstream has not answered in time; it may still do so.
    TimedOut,
}

/// Why a request never reached the upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unreachable {
    /// Nobody accepts connections there.
    Refused,
    /// The connection was not accepted in time.
    ConnectTimeout,
    /// The name of the upstream has no address.
    NoAddress,
    /// The connection broke before anything was written to it.
    Unsent,
    /// Nobody who is trusted has signed the upstream's certificate.
    CertificateNotTrusted,
    /// The upstream's certificate is made out for another name.
    CertificateOfAnother,
    /// The upstream's certificate is not valid any more, or not yet.
    CertificateExpired,
    /// The upstream's certificate is wrong in another way.
    CertificateInvalid,
    /// The upstream does not accept the certificate that it is shown, or that there is none.
    CertificateRefused,
    /// The upstream has ended the TLS handshake with an alert.
    TlsAlert,
    /// The TLS handshake has failed in another way.
    TlsFailed,
    /// Both sides speak TLS, and have not agreed on a version of HTTP.
    ProtocolNotAgreed,
    /// The upstream does not speak HTTP/2.
    NotHttp2,
    /// The upstream says that it has not looked at the request.
    TurnedAway,
    /// As many connections as may be are full of requests.
    ConnectionsFull,
    /// The request names a host that it can't be sent with.
    UnsendableHost,
}

/// Why it is not known what became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Broken {
    /// The connection broke before a whole answer had come.
    Incomplete,
    /// What came is not HTTP.
    Malformed,
    /// Whoever did the work is gone.
    Abandoned,
}

/// Why work was not begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The key was used for a request that differs in this part.
    KeyReused(Part),
    /// The first request has not ended within the time that this caller could wait.
    InProgress,
    /// Whether the operation was executed is not known.
    OutcomeUnknown,
    /// It was executed, and its answer was not kept.
    AnswerNotKept,
    /// A limit was reached.
    Busy(Limit),
    /// The store holds as much as it may.
    StoreFull,
    /// The store could not be asked.
    StoreUnavailable,
}

/// A limit on what may happen at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// On operations that run.
    Flights,
    /// On operations that run and were begun by one connection.
    FlightsPerConnection,
    /// On callers that wait for others' operations.
    Waiters,
    /// On callers that wait for one operation.
    WaitersPerKey,
    /// On the bytes that bodies take in memory.
    Bytes,
}
