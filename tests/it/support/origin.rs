//! The ledger upstream: records and counts every request, and fails on demand.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::script::{Act, How, Step};
use super::wire::{Ending, Fields, Framing, Wire};
use super::{Outgoing, Reserved, Way, h2_origin, within};

/// The longest body that is shown as it is, and not as its hash.
const SHOWN_BYTES_MAX: usize = 1024;

/// One request as it reached the origin.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub target: String,
    pub head: Fields,
    pub body: Vec<u8>,
    /// The number of the connection that it came on, from 1.
    pub connection: usize,
    /// How often this operation has now been executed, from 1.
    pub execution: usize,
    /// How many requests there have been before and with it, from 1.
    pub serial: usize,
}

impl Received {
    /// What is counted: the member `op` of a JSON body, else method, target and body.
    pub fn operation(&self) -> String {
        let json = serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        match json.as_ref().and_then(|json| json["op"].as_str()) {
            Some(op) => op.to_owned(),
            None if self.body.len() > SHOWN_BYTES_MAX => {
                format!("{} {} {}", self.method, self.target, blake3::hash(&self.body))
            }
            None => format!("{} {} {}", self.method, self.target, self.body.escape_ascii()),
        }
    }

    /// Who sent it, as the ledger notes it.
    pub fn caller(&self) -> String {
        let names = ["authorization", "x-api-key", "cookie"];
        let said = names.iter().find_map(|name| self.head.first(name));
        said.unwrap_or("anonymous").to_owned()
    }

    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.first(name)
    }
}

pub(super) type Script = Arc<dyn Fn(&Received) -> Act + Send + Sync>;

struct State {
    requests: Vec<Received>,
    executions: HashMap<String, usize>,
    heads: usize,
    connections: usize,
    broken_off: usize,
    resets: usize,
    queue: VecDeque<Act>,
    script: Script,
}

/// What all connections of an origin have in common.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<usize>,
    pub(super) idle_closed: watch::Sender<usize>,
}

/// A server on loopback that executes what it is sent, and remembers it.
pub struct Origin {
    pub addr: SocketAddr,
    pub speaks: Outgoing,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    /// Nobody else gets the port, even after it has stopped.
    _place: Reserved,
}

impl Origin {
    /// Starts on a free port; answers 201 with a ledger line until told otherwise.
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address")).await
    }

    /// Starts on this address, such as that of an origin that was stopped.
    pub async fn at(addr: SocketAddr) -> Self {
        let place = Reserved::at(addr);
        let addr = place.addr;
        let listener = TcpListener::bind(addr).await.expect("binding a loopback port");
        let state = State {
            requests: Vec::new(),
            executions: HashMap::new(),
            heads: 0,
            connections: 0,
            broken_off: 0,
            resets: 0,
            queue: VecDeque::new(),
            script: Arc::new(|_| Act::Ledger),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: watch::channel(0).0,
            idle_closed: watch::channel(0).0,
        });
        let speaks = Way::now().outgoing;
        let accepting = tokio::spawn(accept(listener, speaks, Arc::clone(&shared)));
        Self { addr, speaks, shared, accepting, _place: place }
    }

    /// An address where nobody listens: connections to it are refused.
    pub async fn nowhere() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binding a loopback port");
        listener.local_addr().expect("a bound socket has an address")
    }

    /// Does this with the next request that no earlier `next` waits for.
    #[track_caller]
    pub fn next(&self, act: impl Into<Act>) -> &Self {
        let act = act.into();
        self.assert_speaks(&act);
        self.state(|state| state.queue.push_back(act));
        self
    }

    /// Does this with every request from now on.
    #[track_caller]
    pub fn always(&self, act: impl Into<Act>) -> &Self {
        let act = act.into();
        self.assert_speaks(&act);
        self.respond(move |_| act.clone())
    }

    #[track_caller]
    fn assert_speaks(&self, act: &Act) {
        if self.speaks.is_http2() {
            act.assert_fits_http2();
        }
    }

    /// Lets `script` choose what to do with each request, once it has been executed.
    pub fn respond(&self, script: impl Fn(&Received) -> Act + Send + Sync + 'static) -> &Self {
        self.state(|state| state.script = Arc::new(script));
        self
    }

    /// Resets the next connections right after they were accepted, unread.
    pub fn reset_next_connections(&self, count: usize) -> &Self {
        self.state(|state| state.resets = count);
        self
    }

    /// Closes every connection that waits for its next request, without a word.
    pub fn close_idle(&self) {
        self.shared.idle_closed.send_modify(|generation| *generation += 1);
    }

    /// Stops listening, so that new connections are refused; open ones go on.
    pub async fn stop(&mut self) {
        self.accepting.abort();
        let ended = (&mut self.accepting).await;
        assert!(ended.is_err_and(|ended| ended.is_cancelled()), "the origin has stopped");
    }

    /// How many whole requests have come: the executions of all operations.
    pub fn hits(&self) -> usize {
        self.state(|state| state.requests.len())
    }

    /// How often this operation has been executed.
    pub fn executions(&self, operation: &str) -> usize {
        self.state(|state| state.executions.get(operation).copied().unwrap_or_default())
    }

    /// The highest number of executions of any operation.
    pub fn executions_max(&self) -> usize {
        self.state(|state| state.executions.values().copied().max().unwrap_or_default())
    }

    /// How many heads of requests have come, whole bodies or not.
    pub fn heads(&self) -> usize {
        self.state(|state| state.heads)
    }

    /// How many connections have been accepted.
    pub fn connections(&self) -> usize {
        self.state(|state| state.connections)
    }

    /// All whole requests in their order.
    pub fn requests(&self) -> Vec<Received> {
        self.state(|state| state.requests.clone())
    }

    /// The whole requests after the first `from`, in their order.
    pub fn since(&self, from: usize) -> Vec<Received> {
        self.state(|state| state.requests[from..].to_vec())
    }

    /// The last whole request.
    pub fn last(&self) -> Received {
        self.state(|state| state.requests.last().cloned()).expect("a request has come")
    }

    /// Waits until so many whole requests have come.
    pub async fn wait_for_hits(&self, count: usize) {
        self.wait(&format!("{count} hits on the origin"), |state| state.requests.len() >= count)
            .await;
    }

    /// Waits until so many heads of requests have come.
    pub async fn wait_for_heads(&self, count: usize) {
        self.wait(&format!("{count} heads at the origin"), |state| state.heads >= count).await;
    }

    /// Waits until so many connections have come.
    pub async fn wait_for_connections(&self, count: usize) {
        let what = format!("{count} connections to the origin");
        self.wait(&what, |state| state.connections >= count).await;
    }

    /// Waits until so many exchanges were broken off by the other side, wherever they were.
    pub async fn wait_for_broken_off(&self, count: usize) {
        let what = format!("{count} exchanges to be broken off");
        self.wait(&what, |state| state.broken_off >= count).await;
    }

    async fn wait(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        within(what, async {
            while !self.state(|state| holds(state)) {
                changed.changed().await.expect("the origin is there");
            }
        })
        .await;
    }

    fn state<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        self.shared.state(use_it)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn state<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.state.lock().expect("no test panics while it holds the ledger"))
    }

    /// Changes the state and tells those who wait for it.
    fn note<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = self.state(change);
        self.changed.send_modify(|changes| *changes += 1);
        result
    }

    /// Counts the head of a request, and says what was planned for it.
    pub(super) fn begin(&self) -> Option<Act> {
        self.note(|state| {
            state.heads += 1;
            state.queue.pop_front()
        })
    }

    /// Counts an exchange that the other side has broken off.
    pub(super) fn break_off(&self) {
        self.note(|state| state.broken_off += 1);
    }

    /// Writes a whole request into the ledger, and says what to do with it.
    pub(super) fn execute(&self, mut received: Received) -> (Received, Script) {
        self.note(|state| {
            let count = state.executions.entry(received.operation()).or_default();
            *count += 1;
            received.execution = *count;
            received.serial = state.requests.len() + 1;
            state.requests.push(received.clone());
            (received, Arc::clone(&state.script))
        })
    }
}

async fn accept(listener: TcpListener, speaks: Outgoing, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (connection, reset) = shared.note(|state| {
            state.connections += 1;
            let reset = state.resets > 0;
            state.resets = state.resets.saturating_sub(1);
            (state.connections, reset)
        });
        match speaks {
            _ if reset => How::Reset.close(stream),
            Outgoing::Http1 => drop(tokio::spawn(serve(stream, connection, Arc::clone(&shared)))),
            Outgoing::Http2 => {
                drop(tokio::spawn(h2_origin::serve(stream, connection, Arc::clone(&shared))));
            }
        }
    }
}

async fn serve(stream: TcpStream, connection: usize, shared: Arc<Shared>) {
    let mut wire = Wire::new(stream);
    let mut idle_closed = shared.idle_closed.subscribe();
    loop {
        let begins = tokio::select! {
            begins = wire.begins() => begins.unwrap_or(false),
            _ = idle_closed.changed() => false,
        };
        if !begins {
            return;
        }
        match exchange(&mut wire, connection, &shared).await {
            Some(Step::Stay) => {}
            Some(Step::Leave(how)) => return how.close(wire.stream),
            None => return,
        }
    }
}

/// Reads one request and answers it; nothing if the peer broke off.
async fn exchange(wire: &mut Wire, connection: usize, shared: &Shared) -> Option<Step> {
    let head = wire.head().await.ok()??;
    let step = answer(wire, head, connection, shared).await;
    if step.is_none() {
        shared.break_off();
    }
    step
}

async fn answer(wire: &mut Wire, head: Fields, connection: usize, shared: &Shared) -> Option<Step> {
    let planned = shared.begin();
    if let Some(Act::DropAfterHead(how)) = planned {
        return Some(Step::Leave(how));
    }
    if let Some(Act::Early(answer)) = &planned {
        let with_body = !head.start.starts_with("HEAD ");
        let step = answer.write(wire, with_body).await.ok()?;
        // what follows is the body, until it ends or the proxy gives it up
        wire.body(framing_of(&head)).await;
        return Some(step);
    }
    let (body, ending) = wire.body(framing_of(&head)).await;
    if ending != Ending::Complete {
        return None;
    }
    let mut words = head.start.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let received = Received { method, target, head, body, connection, execution: 0, serial: 0 };
    let (received, script) = shared.execute(received);
    let act = planned.unwrap_or_else(|| script(&received));
    let act = tokio::select! {
        act = act.passed() => act,
        () = wire.closed() => return None,
    };
    act.perform(&received, wire).await
}

fn framing_of(head: &Fields) -> Framing {
    if head.has_token("transfer-encoding", "chunked") {
        return Framing::Chunked;
    }
    let length = head.first("content-length").and_then(|length| length.parse().ok());
    length.map_or(Framing::Empty, Framing::Length)
}
