//! One connection by HTTP/2: its making, its streams, and its end.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};

use super::super::NotSent;
use super::super::connect::Remote;
use super::super::wire::{Wire, refusal};
use super::watched::{Watched, Writes};
use crate::transport::{Protocol, Refusal, TlsFault};

/// The most requests that run on a connection, however many the other side allows.
pub(super) const STREAMS_MAX: u32 = 100;

/// What the other side may send of one answer before it is read.
const STREAM_WINDOW: u32 = 128 << 10;

/// The same of all answers together: enough that answers which nobody reads hold up no other.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_MAX;

/// What small frames that nobody has read may take besides what they carry: a frame counts for 256
/// bytes that has less. Some streams of tiny messages that their callers do not read are no attack,
/// and a connection that `h2` closes for it takes the outcome of all its requests with it.
const FRAMES_BUDGET_BYTES: usize = 64 << 20;

/// What is buffered of one body that is not written yet.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// The most streams that were reset, and whose last frames may still come.
const RESETS_MAX: usize = 4096;

/// How long such frames are waited for.
const RESET_TIME: Duration = Duration::from_secs(30);

/// The most frames of streams that nobody remembers, or that make no sense: the connection closes
/// after that, and what becomes of its requests is unknown.
const ERRORS_MAX: usize = 16 << 10;

/// How long the other side may be silent until it is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is asked before it has sent anything of an answer. Servers for gRPC close the
/// connection of whoever asks them oftener, except once in five minutes.
const PINGS_MAX: u32 = 3;

/// How long the other side may be silent after that.
const LATE_PING_INTERVAL: Duration = Duration::from_secs(5 * 60 + 20);

/// One connection; it closes when neither this nor any of its streams is there any more.
#[derive(Debug)]
pub(super) struct Session {
    sender: SendRequest<Bytes>,
    pulse: Arc<Pulse>,
    writes: Writes,
    was_used: AtomicBool,
    idle_since: Mutex<Instant>,
}

/// What happens on a connection.
#[derive(Debug, Default)]
struct Pulse {
    /// How many requests run on it.
    in_flight: AtomicUsize,
    /// Whether anything of an answer has come since this was looked at.
    was_heard: AtomicBool,
    /// Whether the other side has not answered a ping: it may be too busy to, or gone.
    is_silent: AtomicBool,
}

/// A stream of a connection that one request may have.
#[derive(Debug)]
pub(super) struct Ticket {
    session: Arc<Session>,
    is_first: bool,
}

impl Session {
    /// Makes a connection.
    ///
    /// It is ready when the other side has sent its settings: by then it is known to speak
    /// HTTP/2, to accept the client's certificate, and how many requests may run at a time.
    pub(super) async fn open(remote: &Remote) -> Result<Self, NotSent> {
        let shaking = async {
            let wire = remote.open(Protocol::Http2).await?;
            Self::shake_hands(wire, remote).await
        };
        let (session, connection) = remote.in_time(shaking).await?;
        tokio::spawn(drive(connection, Arc::clone(&session.pulse)));
        Ok(session)
    }

    /// What speaks over a stream, and what lets it go on.
    async fn shake_hands(
        wire: Wire,
        remote: &Remote,
    ) -> Result<(Self, Connection<Watched, Bytes>), NotSent> {
        let refusal = refusal(&wire);
        let wire = Watched::new(wire);
        let writes = wire.writes();
        let header_bytes_max = remote.options.header_bytes_max;
        let (sender, mut connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .data_frame_budget(FRAMES_BUDGET_BYTES)
            .max_header_list_size(u32::try_from(header_bytes_max).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_concurrent_reset_streams(RESETS_MAX)
            .reset_stream_duration(RESET_TIME)
            .max_local_error_reset_streams(Some(ERRORS_MAX))
            .enable_push(false)
            // No request goes before the settings of the other side have come.
            .initial_max_send_streams(0)
            .handshake(wire)
            .await
            .map_err(|error| ended(remote, refusal.as_ref(), Err(error)))?;
        std::future::poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(end) => Poll::Ready(Err(ended(remote, refusal.as_ref(), end))),
            Poll::Pending if sender.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        let session = Self {
            sender,
            pulse: Arc::default(),
            writes,
            was_used: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
        };
        Ok((session, connection))
    }

    /// Whether it takes requests: it is neither closed nor about to be.
    pub(super) fn is_open(&self) -> bool {
        !self.pulse.is_silent.load(Ordering::Relaxed) && is_ready(&mut self.sender.clone())
    }

    /// How many requests may run at a time.
    pub(super) fn streams_max(&self) -> usize {
        self.sender.current_max_send_streams().min(STREAMS_MAX as usize)
    }

    /// A stream, if not all that may be are in use.
    pub(super) fn ticket(self: &Arc<Self>) -> Option<Ticket> {
        let max = self.streams_max();
        let one_more = |in_flight| (in_flight < max).then_some(in_flight + 1);
        let in_flight = &self.pulse.in_flight;
        in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        let is_first = !self.was_used.swap(true, Ordering::AcqRel);
        Some(Ticket { session: Arc::clone(self), is_first })
    }

    /// Whether no request has run on it for so long.
    pub(super) fn is_idle(&self, time: Duration) -> bool {
        let since = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.pulse.in_flight.load(Ordering::Acquire) == 0 && since.elapsed() >= time
    }
}

impl Ticket {
    /// Whether nothing was sent on the connection before.
    pub(super) const fn is_first(&self) -> bool {
        self.is_first
    }

    /// What sends the request, if the connection still takes any.
    pub(super) fn sender(&self) -> Option<SendRequest<Bytes>> {
        let mut sender = self.session.sender.clone();
        is_ready(&mut sender).then_some(sender)
    }

    /// How often something was to be written to the connection. It grows before anything of a
    /// request is.
    pub(super) fn writes(&self) -> usize {
        self.session.writes.count()
    }

    /// Notes that something of the answer has come.
    pub(super) fn hear(&self) {
        self.session.pulse.was_heard.store(true, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Session { pulse, idle_since, .. } = &*self.session;
        if pulse.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            *idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }
}

/// Whether a connection takes requests.
fn is_ready(sender: &mut SendRequest<Bytes>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    matches!(sender.poll_ready(&mut cx), Poll::Ready(Ok(())))
}

/// Why a connection has ended before its first request.
fn ended(remote: &Remote, refusal: Option<&Refusal>, end: Result<(), h2::Error>) -> NotSent {
    match end {
        Err(error) if refusal.is_some_and(Refusal::has_come) => {
            remote.failed(TlsFault::ClientRefused, &error)
        }
        Err(error) if error.is_library() => {
            remote.told.warn(&remote.endpoint, NotSent::NotHttp2, &error);
            NotSent::NotHttp2
        }
        Ok(()) | Err(_) => NotSent::Closed,
    }
}

/// Lets a connection go on until it ends. When the other side falls silent, no more requests are
/// sent on it; those that run are waited for, each as long as it may take: an API that is busy with
/// them may be too busy to answer pings.
async fn drive(mut connection: Connection<Watched, Bytes>, pulse: Arc<Pulse>) {
    let Some(pings) = connection.ping_pong() else { return };
    tokio::select! {
        biased;
        // What breaks a connection is reported to whoever uses it.
        _ = &mut connection => return,
        () = falls_silent(pings, &pulse) => pulse.is_silent.store(true, Ordering::Relaxed),
    }
    let _ = connection.await;
}

/// Comes to an end when the other side does not answer pings while it should answer requests.
async fn falls_silent(mut pings: PingPong, pulse: &Pulse) {
    let mut asked = 0;
    loop {
        let late = asked >= PINGS_MAX;
        tokio::time::sleep(if late { LATE_PING_INTERVAL } else { PING_INTERVAL }).await;
        let is_idle = pulse.in_flight.load(Ordering::Acquire) == 0;
        if pulse.was_heard.swap(false, Ordering::Relaxed) {
            asked = 0;
        } else if !is_idle {
            asked += 1;
            let pong = tokio::time::timeout(PING_TIMEOUT, pings.ping(Ping::opaque())).await;
            if pong.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use h2::server;
    use http::{Request, Response};
    use tokio::net::UnixStream;

    use super::super::super::{Endpoint, Lost, SendError, Told, UpstreamOptions};
    use super::super::exchange::{Sent, exchange};
    use super::*;
    use crate::message::Body;
    use crate::transport::Stream;

    type Server = server::Connection<UnixStream, Bytes>;

    fn remote() -> Arc<Remote> {
        let options = UpstreamOptions {
            protocol: Protocol::Http2,
            tls: None,
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            idle_max: 1,
            header_bytes_max: 1 << 14,
            headers_max: 100,
        };
        let endpoint = Endpoint::parse("unix:/run/app.sock").unwrap();
        Arc::new(Remote { endpoint, options, told: Told::default() })
    }

    /// A connection that nobody lets go on, and the other side of it.
    async fn connected() -> (Arc<Session>, Connection<Watched, Bytes>, Server) {
        let (near, far) = UnixStream::pair().unwrap();
        let (wire, remote) = (Wire::Left(Stream::Unix(near)), remote());
        let (made, server) =
            tokio::join!(Session::shake_hands(wire, &remote), server::handshake(far));
        let (session, connection) = made.unwrap();
        (Arc::new(session), connection, server.unwrap())
    }

    fn post() -> Request<Body> {
        let body = Body::from(Bytes::from_static(b"10"));
        Request::post("/charges").header("host", "a").body(body).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_no_ping_is_sent_nothing_more_and_still_waited_for() {
        let (session, connection, mut server) = connected().await;
        tokio::spawn(drive(connection, Arc::clone(&session.pulse)));
        let ticket = session.ticket().unwrap();
        let running = tokio::spawn(async move { exchange(ticket, post(), &remote()).await });
        let (_request, mut respond) = server.accept().await.unwrap().unwrap();
        // From now on, nothing is read on the other side.
        tokio::time::sleep(PING_INTERVAL + PING_TIMEOUT / 2).await;
        assert!(session.is_open());
        tokio::time::sleep(PING_TIMEOUT).await;
        assert!(!session.is_open());
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(!running.is_finished());
        respond.send_response(Response::new(()), true).unwrap();
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        assert!(matches!(running.await.unwrap(), Sent::Answered(_)));
        assert!(!session.is_open());
    }

    #[tokio::test]
    async fn a_request_of_which_nothing_was_written_was_not_sent() {
        let (session, connection, server) = connected().await;
        drop(server);
        // The end of the connection is there, and nobody has looked.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let (ticket, remote) = (session.ticket().unwrap(), remote());
        let (sent, _) = tokio::join!(exchange(ticket, post(), &remote), connection);
        assert!(matches!(sent, Sent::Failed(SendError::NotSent(NotSent::Closed))));
    }

    #[tokio::test]
    async fn a_request_of_which_something_was_written_may_have_been_sent() {
        let (session, connection, mut server) = connected().await;
        let (ticket, remote) = (session.ticket().unwrap(), remote());
        let seen_and_gone = async {
            server.accept().await.unwrap().unwrap();
            drop(server);
        };
        let (sent, _, ()) =
            tokio::join!(exchange(ticket, post(), &remote), connection, seen_and_gone);
        assert!(matches!(sent, Sent::Failed(SendError::Unknown(Lost::BrokenOff))));
    }
}
