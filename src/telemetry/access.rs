//! The access log: one JSON line on stdout for each request, without keys, bodies, credentials
//! or queries.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::escape::without_controls;
use super::metrics::{Handled, Label, Metrics};
use super::trace::TraceId;
use crate::clock::Timestamp;

/// The most lines that may wait to be written.
const LINES_MAX: usize = 4096;

/// Which requests are logged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Selection {
    /// None.
    Off,
    /// Those that got another's answer, were refused, or failed.
    #[default]
    Duplicates,
    /// All.
    All,
}

/// Where the access log's lines go; a clone writes to the same place.
#[derive(Clone, Debug)]
pub struct AccessLog {
    selection: Selection,
    lines: SyncSender<Vec<u8>>,
    metrics: Arc<Metrics>,
}

/// What is logged of one request.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When it came.
    pub time: Timestamp,
    /// The route that it took.
    pub route: &'a str,
    /// Its method.
    pub method: &'a str,
    /// Its path, without the query.
    pub path: &'a str,
    /// The status of its answer.
    pub status: u16,
    /// What became of it.
    pub handled: Handled,
    /// The `Duplicate-Key` of its record, if it has one.
    pub key: Option<&'a str>,
    /// The name of the problem that it was told of, if any.
    pub problem: Option<&'a str>,
    /// What would have become of it, if it was only observed.
    pub would_be: Option<&'a str>,
    /// How long it took until its answer began.
    pub duration: Duration,
    /// How long the upstream took for it, if it was sent there: until its answer was read, or began
    /// if it goes on to the caller as it comes.
    pub upstream: Option<Duration>,
    /// How long its body is, if that is known.
    pub request_bytes: Option<u64>,
    /// How long the body of its answer is, if that is known.
    pub response_bytes: Option<u64>,
    /// The trace that it belongs to, if it says so or is traced.
    pub trace_id: Option<TraceId>,
}

impl AccessLog {
    /// Starts the access log, with a thread that writes it until the last clone is gone.
    pub fn start(
        selection: Selection,
        metrics: Arc<Metrics>,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (lines, receiver) = sync_channel(LINES_MAX);
        let thread = thread::Builder::new().name("access-log".into());
        let writer = thread.spawn(move || write(&receiver))?;
        Ok((Self { selection, lines, metrics }, writer))
    }

    /// The same log of other requests.
    #[must_use]
    pub fn selecting(&self, selection: Selection) -> Self {
        Self { selection, ..self.clone() }
    }

    /// Whether any request is logged.
    pub fn is_on(&self) -> bool {
        self.selection != Selection::Off
    }

    /// Whether a request of which this became is logged.
    pub fn wants(&self, handled: Handled) -> bool {
        match (self.selection, handled) {
            (Selection::Off, _) => false,
            (Selection::All, _) => true,
            (Selection::Duplicates, Handled::Executed | Handled::Passed) => false,
            (
                Selection::Duplicates,
                Handled::Replayed
                | Handled::Collapsed
                | Handled::Refused
                | Handled::Failed
                | Handled::Observed,
            ) => true,
        }
    }

    /// Logs a request. Never waits: a line that finds no room is dropped and counted.
    pub fn log(&self, entry: &Entry<'_>) {
        match self.lines.try_send(entry.to_line()) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.access_log_dropped.increment();
            }
        }
    }
}

impl Entry<'_> {
    fn to_line(self) -> Vec<u8> {
        let mut line = json!({
            "time": humantime::format_rfc3339_millis(self.time.as_system_time()).to_string(),
            "route": self.route,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "outcome": self.handled.name(),
            "duration_ms": millis(self.duration),
        });
        // What is not known is left out.
        let known = [
            ("duplicate_key", self.key.map(Value::from)),
            ("problem", self.problem.map(Value::from)),
            ("would_be", self.would_be.map(Value::from)),
            ("upstream_ms", self.upstream.map(|time| millis(time).into())),
            ("request_bytes", self.request_bytes.map(Value::from)),
            ("response_bytes", self.response_bytes.map(Value::from)),
            ("trace_id", self.trace_id.map(|id| id.to_string().into())),
        ];
        for (name, value) in known.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            line[name] = value;
        }
        let mut line = without_controls(&line.to_string()).into_owned().into_bytes();
        line.push(b'\n');
        line
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn write(lines: &Receiver<Vec<u8>>) {
    let mut stdout = io::BufWriter::new(io::stdout());
    while let Ok(line) = lines.recv() {
        let batch = std::iter::once(line).chain(lines.try_iter());
        let written = batch.map(|line| stdout.write_all(&line)).all(|result| result.is_ok());
        if !(written && stdout.flush().is_ok()) {
            tracing::error!("the access log ends: stdout cannot be written to");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_the_path_holds() {
        let path = "/a\"\u{1b}[31m\u{7f}\u{9b}31m\n\u{e9}";
        let entry = Entry {
            time: Timestamp::from_millis(1_700_000_000_000),
            route: "default",
            method: "POST",
            path,
            status: 200,
            handled: Handled::Replayed,
            key: Some("a2V5"),
            problem: None,
            would_be: None,
            duration: Duration::from_millis(7),
            upstream: None,
            request_bytes: Some(512),
            response_bytes: None,
            trace_id: None,
        };
        let line = String::from_utf8(entry.to_line()).unwrap();
        let text = line.strip_suffix("}\n").unwrap();
        assert!(!text.contains(char::is_control), "{line:?}");
        let json: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["path"], path);
        assert_eq!(json["time"], "2023-11-14T22:13:20.000Z");
        assert_eq!(json["outcome"], "replayed");
        assert_eq!((&json["request_bytes"], json.get("response_bytes")), (&512.into(), None));
    }
}
