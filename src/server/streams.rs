//! The streams of an HTTP/2 connection: each that is not answered at once is a task of its own,
//! which ends when its peer takes nothing of its answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep};

use super::activity::TICK;

/// Runs the streams of one connection. A clone runs those of the same one.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// Whose turn it is on the stream that is about to begin.
    next: Arc<Mutex<Option<Arc<Turn>>>>,
    write_timeout: Duration,
}

/// Whose turn it is on a stream while it is answered: even numbers say that it is ours, and odd
/// ones that it is the peer's, who has to make room for what it was given.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU32);

impl Turn {
    /// The peer was given something, and has to take it.
    pub(super) fn give(&self) {
        self.0.fetch_or(1, Ordering::Relaxed);
    }

    /// The peer has taken what it was given.
    pub(super) fn take_back(&self) {
        let turn = self.0.load(Ordering::Relaxed);
        if turn & 1 == 1 {
            self.0.store(turn.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// A number for the peer's turn, if it is one.
    fn of_peer(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|turn| turn & 1 == 1)
    }
}

impl Streams {
    /// The peer may take as long for each part of an answer.
    pub(super) fn new(write_timeout: Duration) -> Self {
        Self { next: Arc::default(), write_timeout }
    }

    /// A turn for the stream that begins with the request that has just come: hyper asks the
    /// service for it first, and has it run right after that.
    pub(super) fn begin(&self) -> Arc<Turn> {
        let turn = Arc::new(Turn::default());
        *self.next() = Some(Arc::clone(&turn));
        turn
    }

    fn next(&self) -> std::sync::MutexGuard<'_, Option<Arc<Turn>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let turn = self.next().take().unwrap_or_default();
        let mut stream = Box::pin(stream);
        // What was answered before comes to its end at once: a task for it would cost as much.
        let mut cx = Context::from_waker(Waker::noop());
        // A task would keep a panic to itself, too.
        let polled = catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(&mut cx)));
        match polled {
            Ok(Poll::Ready(())) => {}
            Ok(Poll::Pending) => drop(tokio::spawn(run(stream, turn, self.write_timeout))),
            Err(_) => tracing::error!("a request has panicked; its stream is reset"),
        }
    }
}

/// Runs a stream to its end, or until the peer has taken nothing for too long: dropping it resets
/// it then.
///
/// A timer is set only when the peer lets us wait, and is not moved each time that it goes on.
async fn run(mut stream: Pin<Box<impl Future<Output = ()>>>, turn: Arc<Turn>, timeout: Duration) {
    let mut waiting: Option<Wait> = None;
    std::future::poll_fn(|cx: &mut Context<'_>| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let Some(now) = turn.of_peer() else { return Poll::Pending };
            let wait = waiting.get_or_insert_with(|| Wait::new(now, timeout));
            if wait.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if wait.since != now {
                // It has gone on meanwhile: the time begins anew.
                waiting = None;
            } else if !wait.is_over {
                // What the peer has said while this worker was held up is heard first.
                wait.is_over = true;
                wait.sleep.as_mut().reset(Instant::now() + TICK);
            } else {
                tracing::debug!("a stream was reset, since its peer takes nothing");
                return Poll::Ready(());
            }
        }
    })
    .await;
}

/// For how long a peer is waited for.
struct Wait {
    /// The number of its turn.
    since: u32,
    sleep: Pin<Box<Sleep>>,
    /// Whether its time is over.
    is_over: bool,
}

impl Wait {
    fn new(since: u32, timeout: Duration) -> Self {
        Self { since, sleep: Box::pin(tokio::time::sleep(timeout)), is_over: false }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use hyper::body::Incoming;
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::sync::watch;

    use super::*;
    use crate::message::Body;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_its_peer_takes_nothing() {
        let turn = Arc::new(Turn::default());
        let stuck = {
            let turn = Arc::clone(&turn);
            async move {
                turn.give();
                std::future::pending::<()>().await;
            }
        };
        let began = Instant::now();
        run(Box::pin(stuck), turn, Duration::from_secs(30)).await;
        assert_eq!(began.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_while_the_worker_was_held_up_is_heard_first() {
        let turn = Arc::new(Turn::default());
        turn.give();
        let stream = Box::pin(std::future::pending());
        let running = tokio::spawn(run(stream, Arc::clone(&turn), Duration::from_secs(30)));
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(100)).await;
        tokio::task::yield_now().await;
        turn.take_back();
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert!(!running.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_goes_on_or_waits_for_us_does_not() {
        let turn = Arc::new(Turn::default());
        let slow = {
            let turn = Arc::clone(&turn);
            async move {
                for _ in 0..5 {
                    turn.give();
                    tokio::time::sleep(Duration::from_secs(20)).await;
                    turn.take_back();
                }
                tokio::time::sleep(Duration::from_secs(1000)).await;
            }
        };
        let began = Instant::now();
        run(Box::pin(slow), turn, Duration::from_secs(30)).await;
        assert_eq!(began.elapsed().as_secs(), 1100);
    }

    /// Answers at once, once the gate is open, or never, as the path says.
    async fn answered(path: &str, mut gate: watch::Receiver<bool>) {
        match path {
            "/panics" => panic!("a request of a test panics"),
            "/waits" => drop(gate.wait_for(|is_open| *is_open).await),
            _ => {}
        }
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_stream_and_no_other() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (open, gate) = watch::channel(false);
        let streams = Streams::new(Duration::from_secs(30));
        let beginning = streams.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            beginning.begin();
            let gate = gate.clone();
            async move {
                answered(request.uri().path(), gate).await;
                Ok::<_, Infallible>(Response::new(Body::Empty))
            }
        });
        let server = http2::Builder::new(streams).serve_connection(TokioIo::new(near), service);
        let server = tokio::spawn(server);
        let (mut sender, connection) = h2::client::handshake(far).await.unwrap();
        tokio::spawn(connection);
        let mut ask = |path: &str| {
            let request = Request::get(format!("http://a{path}")).body(()).unwrap();
            sender.send_request(request, true).unwrap().0
        };
        let waiting = ask("/waits");
        assert!(ask("/panics").await.unwrap_err().is_reset());
        assert_eq!(ask("/").await.unwrap().status(), 200);
        open.send_replace(true);
        assert_eq!(waiting.await.unwrap().status(), 200);
        drop(sender);
        server.await.unwrap().unwrap();
    }
}
