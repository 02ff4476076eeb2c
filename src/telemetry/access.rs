//! The access log: one JSON line on stdout for each request, without keys, bodies, credentials
//! or queries.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::escape::without_controls;
use super::lines::{LineWriter, Lines, Writing};
use super::metrics::{Handled, Label, Metrics};
use super::trace::TraceId;
use crate::clock::Timestamp;

/// How long a line waits for others.
const GATHER: Duration = Duration::from_millis(10);

/// How much is written at once: the more lines, the less each costs.
const PART_BYTES_MAX: usize = 64 << 10;

/// The length that most lines do not have.
const LENGTH: usize = 400;

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
    lines: Arc<Lines>,
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
    pub problem: Option<&'static str>,
    /// What would have become of it, if it was only observed.
    pub would_be: Option<&'static str>,
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
    pub fn start(selection: Selection, metrics: &Metrics) -> io::Result<(Self, LineWriter)> {
        let dropped = Arc::clone(&metrics.access_log_dropped);
        let writing = Writing {
            name: "access-log",
            gather: GATHER,
            part_bytes_max: PART_BYTES_MAX,
            output: io::stdout(),
            dropped,
        };
        let (lines, writer) = Lines::start(writing, || {
            tracing::error!("the access log ends: stdout cannot be written to");
        })?;
        Ok((Self { selection, lines: Arc::new(lines) }, writer))
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

    /// Logs a request. Never waits for whoever reads: a line that finds no room is dropped and
    /// counted.
    pub fn log(&self, entry: &Entry<'_>) {
        self.lines.push(entry.to_line().as_bytes());
    }
}

impl Entry<'_> {
    /// The request as its line has it. What is not known is left out.
    fn to_line(self) -> String {
        let mut line = String::with_capacity(LENGTH);
        line.push_str("{\"time\":\"");
        time(&mut line, self.time);
        line.push('"');
        text(&mut line, "route", Some(self.route));
        text(&mut line, "method", Some(self.method));
        text(&mut line, "path", Some(self.path));
        number(&mut line, "status", Some(self.status.into()));
        name(&mut line, "outcome", Some(self.handled.name()));
        name(&mut line, "problem", self.problem);
        name(&mut line, "would_be", self.would_be);
        text(&mut line, "duplicate_key", self.key);
        number(&mut line, "duration_ms", Some(millis(self.duration)));
        number(&mut line, "upstream_ms", self.upstream.map(millis));
        number(&mut line, "request_bytes", self.request_bytes);
        number(&mut line, "response_bytes", self.response_bytes);
        if let Some(id) = self.trace_id {
            // Writing to a text can't fail.
            let _ = write!(line, ",\"trace_id\":\"{id}\"");
        }
        line.push_str("}\n");
        line
    }
}

/// A second since the epoch, and in words.
type Second = (u64, [u8; SECOND_LENGTH]);

thread_local! {
    /// The last second of which a line was written.
    static SECOND: Cell<Second> = const { Cell::new((u64::MAX, [0; SECOND_LENGTH])) };
}

/// The length of a time up to its seconds.
const SECOND_LENGTH: usize = "2026-11-22T00:00:00".len();

/// Adds a time (RFC 3339). Most lines come in the second of the one before.
fn time(line: &mut String, time: Timestamp) {
    let (second, millis) = (time.as_millis() / 1000, time.as_millis() % 1000);
    let (known, mut words) = SECOND.get();
    if known != second {
        let mut whole = String::new();
        let _ = write!(whole, "{}", humantime::format_rfc3339_seconds(time.as_system_time()));
        words = whole.as_bytes().first_chunk().copied().unwrap_or(words);
        SECOND.set((second, words));
    }
    line.push_str(std::str::from_utf8(&words).unwrap_or_default());
    line.push('.');
    for unit in [100, 10, 1] {
        line.push(char::from(b'0' + u8::try_from(millis / unit % 10).unwrap_or_default()));
    }
    line.push('Z');
}

/// Adds a member that is one of our own names, in which nothing is to be escaped.
fn name(line: &mut String, member: &str, name: Option<&'static str>) {
    let Some(name) = name else { return };
    begin(line, member);
    line.push('"');
    line.push_str(name);
    line.push('"');
}

/// Adds a member to an object that has one already.
fn text(line: &mut String, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    begin(line, name);
    if value.bytes().all(is_plain) {
        line.push('"');
        line.push_str(value);
        line.push('"');
    } else {
        // A text is always JSON.
        let value = serde_json::to_string(value).unwrap_or_default();
        let _ = write!(line, "{}", without_controls(&value));
    }
}

/// Adds a member that is a number. It is written digit by digit: formatting in general costs as
/// much as the rest of the line.
fn number(line: &mut String, name: &str, value: Option<u64>) {
    let Some(mut value) = value else { return };
    begin(line, name);
    let mut digits = [0_u8; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
        if value == 0 {
            break;
        }
    }
    line.push_str(std::str::from_utf8(&digits[first..]).unwrap_or_default());
}

/// Begins a member of an object that has one already.
fn begin(line: &mut String, name: &str) {
    line.push_str(",\"");
    line.push_str(name);
    line.push_str("\":");
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "mUmg9JWItFTuliuLKJ9Y9ibxrh+utvsZ951pZK3rA0U=";

    #[test]
    fn numbers_are_written_whole() {
        for value in [0, 9, 10, 502, 1_000, u64::MAX] {
            let mut line = String::new();
            number(&mut line, "n", Some(value));
            assert_eq!(line, format!(",\"n\":{value}"));
        }
    }

    #[test]
    fn times_are_those_of_their_millisecond() {
        for millis in [0, 999, 1_000, 1_000, 1_042, 1_700_000_000_007, 1_709_251_199_999] {
            let (mut line, at) = (String::new(), Timestamp::from_millis(millis));
            time(&mut line, at);
            let expected = humantime::format_rfc3339_millis(at.as_system_time());
            assert_eq!(line, expected.to_string());
        }
    }

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
            key: Some(KEY),
            problem: None,
            would_be: None,
            duration: Duration::from_millis(7),
            upstream: None,
            request_bytes: Some(512),
            response_bytes: None,
            trace_id: None,
        };
        let line = entry.to_line();
        let text = line.strip_suffix("}\n").unwrap();
        assert!(!text.contains(char::is_control), "{line:?}");
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["path"], path);
        assert_eq!(json["time"], "2023-11-14T22:13:20.000Z");
        assert_eq!((&json["outcome"], &json["duplicate_key"]), (&"replayed".into(), &KEY.into()));
        assert_eq!((&json["request_bytes"], json.get("response_bytes")), (&512.into(), None));
    }
}
