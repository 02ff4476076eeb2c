//! Where a record comes from: what its first request was, for whoever looks at it.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, BufMut};

use super::codec::CodecError;
use crate::clock::Timestamp;
use crate::telemetry::trace::{SpanContext, SpanId, TraceId};

/// The longest path that is kept, in bytes; more of it is cut off.
const PATH_BYTES_MAX: usize = 256;

/// The longest name of a route, and the longest method, that is kept.
const NAME_BYTES_MAX: usize = 255;

/// begun (8) · whether a trace follows (1) · trace (16) and span (8), if so · length of the
/// route's name (1) · of the method (1) · name · method · path.
const FIXED: usize = 8 + 1 + 1 + 1;

/// What the first request of a record was. It is shown, and decides nothing.
#[derive(Debug)]
pub struct Origin {
    /// Route, method and path, in one piece of memory.
    text: Box<str>,
    method_at: u8,
    path_at: u16,
    begun_at: Timestamp,
    /// Apart, since few have one.
    trace: Option<Box<TraceContext>>,
    /// Repeats that this process has answered from the record.
    replays: AtomicU64,
}

/// Which span of a trace the first request was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span in it.
    pub span_id: [u8; 8],
}

impl From<SpanContext> for TraceContext {
    fn from(span: SpanContext) -> Self {
        Self { trace_id: *span.trace_id.as_bytes(), span_id: *span.span_id.as_bytes() }
    }
}

impl Origin {
    /// The origin of an operation that begins now, by the clock of this process; the path is
    /// without its query.
    pub fn new(route: &str, method: &str, path: &str, begun_at: Timestamp) -> Self {
        let (route, method) = (cut(route, NAME_BYTES_MAX), cut(method, NAME_BYTES_MAX));
        let text = [route, method, cut(path, PATH_BYTES_MAX)].concat();
        Self::from_parts(text.into(), [route.len(), method.len()], begun_at, None)
    }

    /// The same, with its trace.
    #[must_use]
    pub fn traced(self, trace: Option<TraceContext>) -> Self {
        Self { trace: trace.map(Box::new), ..self }
    }

    fn from_parts(
        text: Box<str>,
        [route, method]: [usize; 2],
        begun_at: Timestamp,
        trace: Option<TraceContext>,
    ) -> Self {
        let method_at = u8::try_from(route).unwrap_or(u8::MAX);
        let path_at = u16::try_from(route + method).unwrap_or(u16::MAX);
        let (trace, replays) = (trace.map(Box::new), AtomicU64::new(0));
        Self { text, method_at, path_at, begun_at, trace, replays }
    }

    /// What the route was called.
    pub fn route(&self) -> &str {
        self.part(0, self.method_at.into())
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.part(self.method_at.into(), self.path_at.into())
    }

    /// The path, without the query; cut if it is long.
    pub fn path(&self) -> &str {
        self.part(self.path_at.into(), self.text.len())
    }

    fn part(&self, from: usize, to: usize) -> &str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// When it began, by the clock of the process that ran it.
    pub fn begun_at(&self) -> Timestamp {
        self.begun_at
    }

    /// Which span of which trace it was, if it was traced.
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace.as_deref().copied()
    }

    /// The same span, as others that are traced name it.
    pub fn span(&self) -> Option<SpanContext> {
        let TraceContext { trace_id, span_id } = self.trace()?;
        let (trace_id, span_id) = (TraceId::from_bytes(trace_id)?, SpanId::from_bytes(span_id)?);
        Some(SpanContext::new(trace_id, span_id, false))
    }

    /// How many repeats this process has answered from the record.
    pub fn replays(&self) -> u64 {
        self.replays.load(Ordering::Relaxed)
    }

    /// Counts a repeat that was answered from the record.
    pub fn note_replay(&self) {
        self.replays.fetch_add(1, Ordering::Relaxed);
    }

    /// What it takes in memory besides its own fields.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// How long its encoding is.
    pub(super) fn encoded_length(&self) -> usize {
        FIXED + self.trace.as_ref().map_or(0, |_| 24) + self.text.len()
    }

    pub(super) fn encode(&self, encoded: &mut Vec<u8>) {
        encoded.put_u64(self.begun_at.as_millis());
        encoded.put_u8(self.trace.is_some().into());
        if let Some(TraceContext { trace_id, span_id }) = self.trace.as_deref() {
            encoded.put_slice(trace_id);
            encoded.put_slice(span_id);
        }
        encoded.put_u8(self.method_at);
        // A method is no longer than that.
        encoded.put_u8(u8::try_from(self.method().len()).unwrap_or(u8::MAX));
        encoded.put_slice(self.text.as_bytes());
    }

    pub(super) fn decode(mut encoded: &[u8]) -> Result<Self, CodecError> {
        let malformed = |_| CodecError::Malformed;
        let begun_at = Timestamp::from_millis(encoded.try_get_u64().map_err(malformed)?);
        let trace = match encoded.try_get_u8().map_err(malformed)? {
            0 => None,
            1 => {
                let (trace_id, rest) = encoded.split_first_chunk().ok_or(CodecError::Malformed)?;
                let (span_id, rest) = rest.split_first_chunk().ok_or(CodecError::Malformed)?;
                encoded = rest;
                Some(TraceContext { trace_id: *trace_id, span_id: *span_id })
            }
            _ => return Err(CodecError::Malformed),
        };
        let route = usize::from(encoded.try_get_u8().map_err(malformed)?);
        let method = usize::from(encoded.try_get_u8().map_err(malformed)?);
        let text = std::str::from_utf8(encoded).map_err(|_| CodecError::Malformed)?;
        if !text.is_char_boundary(route) || !text.is_char_boundary(route + method) {
            return Err(CodecError::Malformed);
        }
        Ok(Self::from_parts(text.into(), [route, method], begun_at, trace))
    }
}

/// The same origin; how often it was replayed is of this process only.
impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        let parts =
            |origin: &Self| (origin.method_at, origin.path_at, origin.begun_at, origin.trace());
        self.text == other.text && parts(self) == parts(other)
    }
}

impl Eq for Origin {}

/// The beginning of a text, at most so many bytes of it.
fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: TraceContext = TraceContext { trace_id: [7; 16], span_id: [9; 8] };

    fn encode(origin: &Origin) -> Vec<u8> {
        let mut encoded = Vec::new();
        origin.encode(&mut encoded);
        assert_eq!(encoded.len(), origin.encoded_length());
        encoded
    }

    #[test]
    fn an_origin_is_read_back_with_and_without_a_trace() {
        for trace in [None, Some(TRACE)] {
            let begun_at = Timestamp::from_millis(5);
            let origin = Origin::new("payments", "POST", "/v1/ü", begun_at).traced(trace);
            origin.note_replay();
            let read = Origin::decode(&encode(&origin)).unwrap();
            assert_eq!(read, origin);
            assert_eq!((read.route(), read.method(), read.path()), ("payments", "POST", "/v1/ü"));
            assert_eq!((read.begun_at(), read.trace()), (begun_at, trace));
            assert_eq!((origin.replays(), read.replays()), (1, 0));
        }
    }

    #[test]
    fn what_is_long_is_cut_where_a_character_ends() {
        let (route, path) = ("r".repeat(300), format!("/{}", "ü".repeat(200)));
        let origin = Origin::new(&route, "POST", &path, Timestamp::from_millis(1));
        assert_eq!((origin.route().len(), origin.method()), (255, "POST"));
        assert_eq!((origin.path().len(), path.starts_with(origin.path())), (255, true));
        assert_eq!(Origin::decode(&encode(&origin)), Ok(origin));
    }

    #[test]
    fn what_no_origin_says_is_refused() {
        let origin = Origin::new("a", "PUT", "/ü", Timestamp::from_millis(1)).traced(Some(TRACE));
        let encoded = encode(&origin);
        for length in 0..encoded.len() - 3 {
            assert_eq!(Origin::decode(&encoded[..length]), Err(CodecError::Malformed), "{length}");
        }
        for (at, byte) in [(8, 2), (33, 40), (34, 5), (34, 40), (encoded.len() - 1, 0xff)] {
            let mut changed = encoded.clone();
            changed[at] = byte;
            assert_eq!(Origin::decode(&changed), Err(CodecError::Malformed), "{at}");
        }
    }
}
