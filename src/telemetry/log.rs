//! The log: what operators read on stderr.

use std::io;

use tracing::Level;
use tracing_subscriber::fmt;

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
pub fn start_log(format: Format, level: Level) {
    let builder = fmt().with_max_level(level).with_writer(io::stderr).with_target(false);
    // An error says that another log was started, by whoever embeds this library.
    let _ = match format {
        Format::Text => builder.with_ansi(false).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
