//! The proxies that everything is played with: started once for each thread, since starting takes
//! longer than playing.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use oncegate::app::App;
use oncegate::config::{Given, Written};
use oncegate::idempotency::Secret;
use oncegate::upstream::Protocol;
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::script::Script;

/// Threads of the proxy's own.
const THREADS: [&str; 5] = ["access-log", "maintenance", "reload", "tokio", "worker"];

/// What threads of the proxy's own have panicked with.
static PANICKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

/// The proxies, and where their upstreams listen.
pub struct Stage {
    runtime: Runtime,
    ways: [Way; 2],
    folder: PathBuf,
}

/// A proxy, and where its upstream listens.
pub struct Way {
    pub protocol: Protocol,
    pub listen: PathBuf,
    pub upstream: Arc<UnixListener>,
}

impl Stage {
    /// Does this with the stage of this thread.
    pub fn with(play: impl FnOnce(&Self)) {
        STAGE.with_borrow_mut(|stage| play(stage.get_or_insert_with(Self::start)));
    }

    fn start() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        note_panics();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("oncegate-fuzz-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("making a folder");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ways = {
            let _entered = runtime.enter();
            // Whoever writes to what is closed is told so, and not ended, also in a program that
            // did not begin in Rust: a signal that was listened for once stays so.
            drop(signal(SignalKind::pipe()).expect("listening for a signal"));
            [Protocol::Http1, Protocol::Http2].map(|protocol| Way::start(protocol, &folder))
        };
        Self { runtime, ways, folder }
    }

    /// A key that no input had before, and what the input says with it.
    pub fn next(data: &[u8]) -> (String, Script) {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let key = format!("{:08x}", COUNT.fetch_add(1, Ordering::Relaxed));
        let script = Script::read(data, &key);
        (key, script)
    }

    /// Plays before an upstream of this protocol.
    pub fn block_on(&self, protocol: Protocol, play: impl AsyncFnOnce(&Way)) {
        let way = self.ways.iter().find(|way| way.protocol == protocol).expect("a way");
        self.runtime.block_on(play(way));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What is left there is in nobody's way.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Way {
    fn start(protocol: Protocol, folder: &Path) -> Self {
        let http2 = protocol == Protocol::Http2;
        let listen = folder.join(format!("listen-{http2}"));
        let upstream = folder.join(format!("upstream-{http2}"));
        let listener = UnixListener::bind(&upstream).expect("listening");
        let config = format!(
            "listen = \"unix:{}\"\n\
             admin = \"off\"\n\
             workers = 1\n\
             drain_timeout = \"1s\"\n\
             [upstream]\n\
             url = \"unix:{}\"\n\
             http2 = {http2}\n\
             timeout = \"60ms\"\n\
             linger = \"60ms\"\n\
             connect_timeout = \"1s\"\n\
             [telemetry]\n\
             access_log = \"off\"\n\
             [defaults]\n\
             window = \"10m\"\n\
             wait = \"40ms\"\n\
             max_request = \"8KiB\"\n\
             max_response = \"4KiB\"\n",
            listen.display(),
            upstream.display(),
        );
        let (flags, _) = Written::parse(&config, "the config");
        let given = Given { file: None, flags };
        let (settings, files) = given.load(&Secret::random().expect("randomness"));
        let settings = settings.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let app = App::start(given, settings, files).expect("a proxy that starts");
        // Signals end this process as they would without it.
        std::thread::spawn(move || {
            let _ = app.run_until_signal();
            std::process::exit(130);
        });
        Self { protocol, listen, upstream: Arc::new(listener) }
    }
}

/// Notes what threads of the proxy's own panic with, which its runtimes would get over.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or_default();
            if THREADS.iter().any(|own| name.starts_with(own)) {
                panicked().push(format!("{name}: {panic}"));
            }
            before(panic);
        }));
    });
}

/// Fails if a thread of the proxy's own has panicked.
#[track_caller]
pub fn assert_no_panic() {
    let panicked = panicked();
    assert!(panicked.is_empty(), "{panicked:?}");
}

fn panicked() -> std::sync::MutexGuard<'static, Vec<String>> {
    PANICKED.lock().unwrap_or_else(PoisonError::into_inner)
}
