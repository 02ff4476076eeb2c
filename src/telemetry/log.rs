//! The log: what operators read on stderr.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::escape::Escaped;
use super::lines::{LineWriter, Lines};
use super::metrics::Counter;

/// Events that were dropped because nobody took them in time. As there is one log in a process,
/// there is one of this.
pub(super) static DROPPED: Counter = Counter::new();

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
/// Nobody waits for whoever reads: an event that finds no room is dropped and counted.
///
/// Libraries have their say only where something is wrong: what they tell in detail has header
/// fields in it.
pub fn start_log(format: Format, level: Level) -> io::Result<Log> {
    let (lines, writer) = Lines::start("log", Duration::ZERO, io::stderr(), || ())?;
    let lines = Arc::new(lines);
    let waiting = Arc::clone(&lines);
    let layer = fmt::layer().with_writer(move || Escaped(Waiting(Arc::clone(&waiting))));
    let layer = layer.with_target(false);
    let targets = Targets::new().with_default(level.min(Level::WARN)).with_target(OWN, level);
    let registry = tracing_subscriber::registry().with(targets);
    // An error says that another log was started, by whoever embeds this library.
    let _ = match format {
        Format::Text => registry.with(layer.with_ansi(false)).try_init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    Ok(Log { lines, writer })
}

impl Write for Waiting {
    /// Takes one event.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if !self.0.push(event) {
            DROPPED.increment();
        }
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
