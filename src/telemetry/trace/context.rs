//! The place of a request in a trace, as the header `traceparent` has it (W3C Trace Context).

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::ids::{SpanId, TraceId, parse_byte};

/// The header that says where in which trace a request is.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header in which those who trace tell each other more.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The flag of those who may record the trace.
const SAMPLED: u8 = 0x01;

/// The flag that says that the trace's id is random.
const RANDOM: u8 = 0x02;

/// The length of the header in the version that is known; later ones may be longer.
const LENGTH: usize = 55;

/// A span's place: its trace, and itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// What is agreed of the trace.
    flags: u8,
}

impl SpanContext {
    /// A place in a trace, which is recorded or not.
    pub fn new(trace_id: TraceId, span_id: SpanId, is_sampled: bool) -> Self {
        Self { trace_id, span_id, flags: if is_sampled { SAMPLED } else { 0 } }
    }

    /// Where a header says that its request is, if it says so once and in a valid way.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let (line, None) = (lines.next()?, lines.next()) else { return None };
        Self::parse(line.as_bytes())
    }

    /// The place that a `traceparent` says.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(LENGTH)?;
        let version = parse_byte(&known[..2])?;
        let is_long_enough = match version {
            0 => more.is_empty(),
            0xff => false,
            // What later versions add stands behind another dash.
            _ => more.first().is_none_or(|next| *next == b'-'),
        };
        let dashes = [known[2], known[35], known[52]];
        if !is_long_enough || dashes != [b'-'; 3] {
            return None;
        }
        let trace_id = TraceId::parse(&known[3..35])?;
        let span_id = SpanId::parse(&known[36..52])?;
        let flags = parse_byte(&known[53..])?;
        Some(Self { trace_id, span_id, flags: flags & (SAMPLED | RANDOM) })
    }

    /// Whether those who have gone before may have recorded it.
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The flags, as traces are told of them.
    pub const fn flags(self) -> u8 {
        self.flags
    }

    /// Another span's place in the same trace, which is recorded from here on or not.
    #[must_use]
    pub fn child(self, span_id: SpanId, is_sampled: bool) -> Self {
        let sampled = if is_sampled { SAMPLED } else { 0 };
        Self { span_id, flags: (self.flags & RANDOM) | sampled, ..self }
    }

    /// The place as a `traceparent`.
    pub fn to_header(self) -> HeaderValue {
        // It is visible ASCII.
        HeaderValue::try_from(self.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parse(value: &str) -> Option<String> {
        SpanContext::parse(value.as_bytes()).map(|context| context.to_string())
    }

    #[test]
    fn valid_headers_are_read() {
        for (version, flags, more, expected) in [
            ("00", "01", "", "01"),
            ("00", "00", "", "00"),
            // Bits that mean nothing here are not passed on, and the one for random ids is.
            ("00", "ff", "", "03"),
            ("00", "08", "", "00"),
            // Later versions are read as far as they are known.
            ("01", "01", "", "01"),
            ("cc", "01", "-what-the-future-brings", "01"),
            ("fe", "03", "-", "03"),
        ] {
            let value = format!("{version}-{TRACE}-{SPAN}-{flags}{more}");
            assert_eq!(parse(&value), Some(format!("00-{TRACE}-{SPAN}-{expected}")), "{value}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        let zeros = "0".repeat(32);
        for value in [
            String::new(),
            "00".to_owned(),
            TRACE.to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("000-{TRACE}-{SPAN}-01"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("0A-{TRACE}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &SPAN[1..]),
            format!("00-{TRACE}-{SPAN}0-01"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-001"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-what-the-future-brings"),
            format!("00-{TRACE}-{SPAN}-01."),
            format!("cc-{TRACE}-{SPAN}-01.what"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
            format!("00-{}é-{SPAN}-01", &TRACE[2..]),
        ] {
            assert_eq!(parse(&value), None, "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(
            trace_id: [u8; 16],
            span_id: [u8; 8],
            is_sampled: bool,
            rest: Vec<u8>,
        ) {
            let ids = (TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id));
            let (Some(trace_id), Some(span_id)) = ids else { return Ok(()) };
            let context = SpanContext::new(trace_id, span_id, is_sampled);
            let text = context.to_string();
            proptest::prop_assert_eq!(SpanContext::parse(text.as_bytes()), Some(context));
            // Cut, or followed by something, it is none; nor is anything else, most likely.
            for length in 0..text.len() {
                proptest::prop_assert_eq!(SpanContext::parse(&text.as_bytes()[..length]), None);
            }
            let longer = [text.as_bytes(), &rest].concat();
            proptest::prop_assert_eq!(SpanContext::parse(&longer).is_some(), rest.is_empty());
            proptest::prop_assert_eq!(SpanContext::parse(&rest), None);
        }
    }

    #[test]
    fn it_is_said_once() {
        let mut headers = HeaderMap::new();
        assert_eq!(SpanContext::of(&headers), None);
        let line = HeaderValue::try_from(format!("00-{TRACE}-{SPAN}-01")).unwrap();
        headers.append(TRACEPARENT, line.clone());
        assert_eq!(SpanContext::of(&headers).map(SpanContext::to_header), Some(line.clone()));
        headers.append(TRACEPARENT, line);
        assert_eq!(SpanContext::of(&headers), None);
    }
}
