//! The log: what operators read on stderr.

use std::io;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::escape::Escaped;

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

/// Starts the log on stderr. Later calls change nothing.
///
/// Libraries have their say only where something is wrong: what they tell in detail has header
/// fields in it.
pub fn start_log(format: Format, level: Level) {
    let layer = fmt::layer().with_writer(|| Escaped(io::stderr())).with_target(false);
    let targets = Targets::new().with_default(level.min(Level::WARN)).with_target(OWN, level);
    let registry = tracing_subscriber::registry().with(targets);
    // An error says that another log was started, by whoever embeds this library.
    let _ = match format {
        Format::Text => registry.with(layer.with_ansi(false)).try_init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
}
