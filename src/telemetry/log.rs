//! The log: what operators read on stderr.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::escape::Escaped;
use super::lines::{LineWriter, Lines, Writing};
use super::metrics::Counter;

/// Events that were dropped because nobody took them in time. As there is one log in a process,
/// there is one of this.
static DROPPED: LazyLock<Arc<Counter>> = LazyLock::new(Arc::default);

/// How much is written at once: a pipe takes that whole or not at all, so that what other processes
/// write to it never comes in the middle of an event (POSIX, `PIPE_BUF`).
const PART_BYTES_MAX: usize = 4096;

/// What this crate's own events come from.
const OWN: &str = "oncegate";

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// One line of text for each event.
    #[default]
    Text,
    /// One JSON object for each event.
    Json,
}

/// The log, as long as it is there: what waits to be written when it is dropped is written then,
/// if that is possible within a second.
#[derive(Debug)]
#[must_use]
pub struct Log {
    lines: Arc<Lines>,
    writer: LineWriter,
}

/// Where an event waits to be written.
struct Waiting(Arc<Lines>);

/// Starts the log on stderr, with a thread that writes it. Where a log was started before, this one
/// stays empty.
///
/// Nobody waits for whoever reads: an event that finds no room is dropped and counted. Panics are
/// told in the log, too, since what the standard library writes of them is waited for.
///
/// Libraries have their say only where something is wrong: what they tell in detail has header
/// fields in it.
pub fn start_log(format: Format, level: Level) -> io::Result<Log> {
    let writing = Writing {
        name: "log",
        gather: Duration::ZERO,
        part_bytes_max: PART_BYTES_MAX,
        output: io::stderr(),
        dropped: Arc::clone(&DROPPED),
    };
    // There is nowhere else to tell that nobody reads it.
    let (lines, writer) = Lines::start(writing, || ())?;
    let lines = Arc::new(lines);
    let queue = Arc::clone(&lines);
    let layer = fmt::layer().with_writer(move || Escaped(Waiting(Arc::clone(&queue))));
    let layer = layer.with_target(false);
    let targets = Targets::new().with_default(level.min(Level::WARN)).with_target(OWN, level);
    let registry = tracing_subscriber::registry().with(targets);
    let started = match format {
        Format::Text => registry.with(layer.with_ansi(false)).try_init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    // An error says that another log was started, by whoever embeds this library.
    if started.is_ok() {
        panic::set_hook(Box::new(tell_panic));
    }
    Ok(Log { lines, writer })
}

/// How many events were dropped because nobody took them in time.
pub fn log_dropped() -> u64 {
    DROPPED.value()
}

/// Tells of a panic, in words that stand in the code: others may hold what callers have sent.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    tracing::error!(
        thread = thread.name(),
        location = panic.location().map(tracing::field::display),
        words = panic.payload().downcast_ref::<&'static str>(),
        "a panic"
    );
}

impl Write for Waiting {
    /// Takes one event.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.push(event);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines.end();
        // There is nowhere left to tell that it does not.
        let _ = self.writer.ends_soon();
    }
}
