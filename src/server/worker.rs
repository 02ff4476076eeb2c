//! Workers: threads with a runtime of their own, each with its own listening socket.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::runtime;
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;

use super::activity::{Connections, TICK};
use super::connection::Serve;
use super::listener::{Listener, ListeningSocket, SocketFile};
use super::places::Places;
use super::socket::Socket;
use super::{Entrance, Listeners, ServerLimits, Service, Shutdown, Stage};
use crate::message::{Problem, ProblemKind};
use crate::telemetry::Metrics;
use crate::transport::Stream;

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
    /// What its threads are called.
    pub name: &'static str,
    /// What its connections may take.
    pub limits: ServerLimits,
    /// How they come in; another way holds for new ones.
    pub entrance: Arc<ArcSwap<Entrance>>,
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
    connections: Places,
    handshakes: Places,
}

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
        let name = options.name;
        let connections = Places::new(options.limits.connections_max);
        let handshakes = Places::new(options.limits.handshakes_max);
        let shared = Shared { options, connections, handshakes };
        let (sockets, files) = listeners.into_sockets();
        let mut threads = Vec::new();
        for (index, sockets) in sockets.into_iter().enumerate() {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS_MAX)
                .build()?;
            let (shared, service, drained) = (shared.clone(), service.clone(), drained.clone());
            let files = Arc::clone(&files);
            let worker = move || {
                runtime.block_on(async {
                    let mut ending = shared.options.shutdown.clone();
                    tokio::select! {
                        () = ending.reached(Stage::Ending) => {}
                        () = run((sockets, files), shared, Arc::new(service()), drained()) => {}
                    }
                });
                // Dropped without waiting for blocking threads, which only compute.
                runtime.shutdown_background();
            };
            threads.push(thread::Builder::new().name(format!("{name}-{index}")).spawn(worker)?);
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
    (sockets, files): (Vec<ListeningSocket>, Arc<[SocketFile]>),
    shared: Shared,
    service: Arc<S>,
    drained: impl Future<Output = ()>,
) {
    let listeners = match sockets.into_iter().map(Listener::new).collect::<io::Result<Vec<_>>>() {
        Ok(listeners) => listeners,
        Err(error) => return tracing::error!(%error, "a socket cannot be listened at"),
    };
    let metrics = Arc::clone(&shared.options.metrics);
    let mut draining = shared.options.shutdown.clone();
    let mut leaving = draining.clone();
    let worker =
        Worker { connections: Connections::default(), tasks: TaskTracker::new(), shared, service };
    let mut ticks = tokio::time::interval(TICK);
    // A worker that was held up has not looked at its connections meanwhile: that time does not
    // count against them.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ticking = async {
        let mut leaving = pin!(leaving.reached(Stage::Leaving));
        let mut leaves = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = leaving.as_mut(), if !leaves => {
                    leaves = true;
                    worker.connections.leave();
                    continue;
                }
            }
            worker.connections.tick(&worker.shared.options.limits);
        }
    };
    tokio::pin!(ticking);
    tokio::select! {
        () = accept_all(&listeners, &metrics, &worker) => {}
        () = &mut ticking => {}
        () = draining.reached(Stage::Draining) => {}
    }
    Listener::close_all(listeners, files, |stream, address| worker.serve(stream, address));
    tokio::select! {
        () = ticking => {}
        () = worker.finish() => {}
    }
    drained.await;
}

/// Accepts at all sockets, for ever.
async fn accept_all<S: Service>(listeners: &[Listener], metrics: &Metrics, worker: &Worker<S>) {
    let accept = |listener| async move {
        loop {
            let (stream, address) = Listener::accept(listener, metrics).await;
            worker.serve(stream, address);
        }
    };
    let mut accepting: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
    for listener in listeners {
        accepting.push(Box::pin(accept(listener)));
    }
    std::future::poll_fn::<(), _>(|cx| {
        for listener in &mut accepting {
            let _ = listener.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await;
}

/// What one worker serves.
struct Worker<S> {
    connections: Connections,
    tasks: TaskTracker,
    shared: Shared,
    service: Arc<S>,
}

impl<S: Service> Worker<S> {
    fn serve(&self, stream: Stream, address: Option<SocketAddr>) {
        let Shared { options, connections, handshakes } = &self.shared;
        let activity = self.connections.add();
        let Some(place) = connections.take() else {
            options.metrics.connections_refused.increment();
            let is_plain = options.entrance.load().tls.is_none();
            if is_plain {
                self.tasks.spawn(turn_away(Socket::new(stream, activity)));
            }
            return;
        };
        if let Stream::Tcp(stream) = &stream {
            // Without it, small answers would wait for the acknowledgement of earlier ones.
            let _ = stream.set_nodelay(true);
            // A peer that is gone without a word, or has closed while it is answered, is found out.
            let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive());
        }
        let serve = Serve {
            activity,
            service: Arc::clone(&self.service),
            limits: options.limits,
            entrance: options.entrance.load_full(),
            handshakes: handshakes.clone(),
            metrics: Arc::clone(&options.metrics),
        };
        let open = options.metrics.open();
        self.tasks.spawn(async move {
            serve.serve(stream, address).await;
            drop((place, open));
        });
    }

    /// Waits until every connection has answered what it was asked.
    async fn finish(&self) {
        self.connections.finish(true);
        self.tasks.close();
        tokio::select! {
            biased;
            () = self.tasks.wait() => {}
            // Whoever has asked nothing by then is not waited for.
            () = tokio::time::sleep(NEW_CONNECTION_GRACE) => {
                self.connections.finish(false);
                self.tasks.wait().await;
            }
        }
    }
}

/// How a peer that is gone is found out within about a minute.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL)
}

/// Says that there are too many connections.
async fn turn_away(mut socket: Socket) {
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
