//! Workers: threads with a runtime of their own, each with its own listening socket.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio_util::task::TaskTracker;

use super::activity::{Connections, TICK};
use super::listener::accept;
use super::socket::Socket;
use super::{Listeners, Peer, ServerLimits, Service, Shutdown, Stage, connection};
use crate::message::{Problem, ProblemKind};
use crate::telemetry::Metrics;

/// The most threads of a worker that do what would hold up its connections.
const BLOCKING_THREADS_MAX: usize = 4;

/// How long a connection may be silent before its peer is asked whether it is there, and how often
/// it is asked.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a connection that has asked nothing yet may still do so when everything ends.
const NEW_CONNECTION_GRACE: Duration = Duration::from_millis(500);

/// A server that runs on several workers.
#[derive(Debug)]
pub struct Server {
    threads: Vec<thread::JoinHandle<()>>,
}

/// What a server is told.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// What its connections may take.
    pub limits: ServerLimits,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// When it ends.
    pub shutdown: Shutdown,
}

/// Why a server was not started.
#[derive(Debug, thiserror::Error)]
#[error("a worker cannot be started")]
pub struct ServerError(#[from] io::Error);

/// What all workers share.
#[derive(Clone, Debug)]
struct Shared {
    options: ServerOptions,
    connections: Arc<AtomicUsize>,
}

/// A place among the connections that may be; it is given back on drop.
struct Place(Arc<AtomicUsize>);

impl Server {
    /// Starts one worker for each listening socket; `service` makes the service of each, on its
    /// own runtime.
    ///
    /// A worker ends when all its connections and all that `drained` waits for have ended, or
    /// when [`Stage::Ending`] is reached.
    pub fn start<S, F, D>(
        listeners: Listeners,
        options: ServerOptions,
        service: F,
        drained: impl Fn() -> D + Clone + Send + 'static,
    ) -> Result<Self, ServerError>
    where
        S: Service,
        F: Fn() -> S + Clone + Send + 'static,
        D: Future<Output = ()> + Send + 'static,
    {
        let shared = Shared { options, connections: Arc::new(AtomicUsize::new(0)) };
        let mut threads = Vec::new();
        for (index, socket) in listeners.into_sockets().into_iter().enumerate() {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS_MAX)
                .build()?;
            let (shared, service, drained) = (shared.clone(), service.clone(), drained.clone());
            let worker = move || {
                runtime.block_on(async {
                    let mut ending = shared.options.shutdown.clone();
                    tokio::select! {
                        () = ending.reached(Stage::Ending) => {}
                        () = run(socket, shared, Arc::new(service()), drained()) => {}
                    }
                });
                // Dropped without waiting for blocking threads, which only compute.
                runtime.shutdown_background();
            };
            threads.push(thread::Builder::new().name(format!("worker-{index}")).spawn(worker)?);
        }
        Ok(Self { threads })
    }

    /// Waits until all workers have ended.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
    }
}

async fn run<S: Service>(
    socket: std::net::TcpListener,
    shared: Shared,
    service: Arc<S>,
    drained: impl Future<Output = ()>,
) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a socket cannot be listened at"),
    };
    let connections = Connections::default();
    let tasks = TaskTracker::new();
    let serve = |(stream, address)| {
        let Some(place) = Place::take(&shared.connections, shared.options.limits.connections_max)
        else {
            shared.options.metrics.connections_refused.increment();
            tasks.spawn(turn_away(Socket::new(stream, connections.add())));
            return;
        };
        // Without it, small answers would wait for the acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        // A peer that is gone without a word, or has closed while it is answered, is found out.
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive());
        let (activity, service, limits) =
            (connections.add(), Arc::clone(&service), shared.options.limits);
        tasks.spawn(async move {
            connection::serve(stream, activity, Peer::new(address), service, &limits).await;
            drop(place);
        });
    };
    let mut draining = shared.options.shutdown.clone();
    let mut ticks = tokio::time::interval(TICK);
    let accepting = async {
        loop {
            serve(accept(&listener, &shared.options.metrics).await);
        }
    };
    let ticking = async {
        loop {
            ticks.tick().await;
            connections.tick(&shared.options.limits);
        }
    };
    let ended = async {
        draining.reached(Stage::Draining).await;
    };
    tokio::pin!(ticking);
    tokio::select! {
        () = accepting => {}
        () = &mut ticking => {}
        () = ended => {}
    }
    accept_rest(listener, serve);
    tokio::select! {
        () = ticking => {}
        () = finish(&connections, &tasks) => {}
    }
    drained.await;
}

/// Whoever is connected by now is answered, too: closing the socket would reset it.
fn accept_rest(listener: TcpListener, serve: impl Fn((TcpStream, SocketAddr))) {
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, address)) = listener.accept() {
        let accepted = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = accepted {
            serve((stream, address));
        }
    }
}

/// Waits until every connection has answered what it was asked.
async fn finish(connections: &Connections, tasks: &TaskTracker) {
    connections.finish(true);
    tasks.close();
    tokio::select! {
        biased;
        () = tasks.wait() => {}
        // Whoever has asked nothing by then is not waited for.
        () = tokio::time::sleep(NEW_CONNECTION_GRACE) => {
            connections.finish(false);
            tasks.wait().await;
        }
    }
}

/// How a peer that is gone is found out within about a minute.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL)
}

/// Says that there are too many connections.
async fn turn_away(mut socket: Socket<TcpStream>) {
    let detail = "too many connections are open; try again later";
    let response = Problem::new(ProblemKind::Busy, detail).into_response();
    let mut answer = format!("HTTP/1.1 {}\r\nconnection: close\r\n", response.status());
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        let _ = write!(answer, "{name}: {value}\r\n");
    }
    let _ = write!(answer, "content-length: {}\r\n\r\n", response.body().len());
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(response.body());
    // A peer that is gone by now need not be told.
    let _ = socket.write_all(&answer).await;
    let _ = socket.shutdown().await;
}

impl Place {
    fn take(connections: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let place = Self(Arc::clone(connections));
        // Given back at once if it is one too many.
        (place.0.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
