//! Hop-by-hop cleaning: what belongs to the connection goes, and nothing else; and a request that
//! would lose by it what it asks for is refused.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use oncegate::message::{Field, check_nominations, clean, clean_trailers, scan};

use crate::lines;

/// Fields that one hop alone may see, and those with which this proxy marks what it has done.
const DROPPED: [&str; 14] = [
    "connection",
    "duplicate-key",
    "duplicate-protection",
    "duplicate-request",
    "http2-settings",
    "idempotent-replayed",
    "keep-alive",
    "oncegate-keep",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Fields that no `Connection` line of a request may name; the last two are those on which the
/// guard of this target depends.
const UNNAMEABLE: [&str; 10] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "forwarded",
    "host",
    "transfer-encoding",
    "idempotency-key",
    "x-api-key",
];

/// Other fields that mean nothing behind a body, or must not be believed there.
const LATE: [&str; 19] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-range",
    "max-forwards",
    "range",
    "set-cookie",
    "trailer",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
];

const SCANNED: [(Field, &[&str]); 15] = [
    (Field::Age, &["age"]),
    (Field::Connection, &["connection"]),
    (Field::ContentEncoding, &["content-encoding"]),
    (Field::ContentLength, &["content-length"]),
    (Field::Date, &["date"]),
    (
        Field::Duplicate,
        &[
            "duplicate-key",
            "duplicate-protection",
            "duplicate-request",
            "idempotent-replayed",
            "oncegate-keep",
        ],
    ),
    (Field::Expect, &["expect"]),
    (
        Field::HopByHop,
        &[
            "http2-settings",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
        ],
    ),
    (Field::Host, &["host"]),
    (Field::MethodOverride, &["x-http-method", "x-http-method-override", "x-method-override"]),
    (Field::Range, &["if-range", "range"]),
    (Field::Te, &["te"]),
    (Field::Trailer, &["trailer"]),
    (Field::TransferEncoding, &["transfer-encoding"]),
    (Field::Upgrade, &["upgrade"]),
];

/// Takes the input as the header lines of a request, and of an answer.
pub fn run(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for (_, name, value) in lines::fields(data).take(64) {
        headers.append(name, value);
    }
    scanned(&headers);
    trailed(&headers);
    let nominated = nominated(&headers);
    checked(&headers, &nominated);
    let cleaned = cleaned(headers.clone());
    assert_eq!(cleaned, expected(&headers, &nominated));
    // There is nothing left to clean, and it does not matter how the nominations were written.
    assert_eq!(self::cleaned(cleaned.clone()), cleaned);
    assert_eq!(self::cleaned(respelled(&headers)), cleaned);
}

fn scanned(headers: &HeaderMap) {
    let fields = scan(headers);
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    assert_eq!(fields.bytes, bytes.sum::<usize>());
    assert_eq!(fields.lines, headers.len());
    for (field, names) in SCANNED {
        let there = names.iter().any(|name| headers.contains_key(*name));
        assert_eq!(fields.has(field), there, "{field:?}");
    }
    let lines = headers.get_all(header::CONTENT_TYPE).iter();
    let mut types = lines.map(|line| String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase());
    let is_grpc = types.any(|text| {
        let rest = text.strip_prefix("application/grpc");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';', ' ', '\t']))
    });
    assert_eq!(fields.has(Field::Grpc), is_grpc);
}

/// What may not follow a body goes, and every other line stays, in its order.
fn trailed(headers: &HeaderMap) {
    let mut expected = HeaderMap::new();
    for (name, value) in headers {
        let text = name.as_str();
        let is_late = LATE.contains(&text) || text.starts_with("x-forwarded-");
        if !DROPPED.contains(&text) && !is_late {
            expected.append(name, value.clone());
        }
    }
    let mut trailers = headers.clone();
    clean_trailers(&mut trailers);
    assert_eq!(trailers, expected);
}

fn checked(headers: &HeaderMap, nominated: &[HeaderName]) {
    let refused = |name: &HeaderName| {
        UNNAMEABLE.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-")
    };
    for headers in [headers.clone(), respelled(headers)] {
        let is_key = |name: &HeaderName| name == "idempotency-key" || name == "x-api-key";
        match check_nominations(&headers, scan(&headers), is_key) {
            Ok(()) => assert!(!nominated.iter().any(refused), "{nominated:?}"),
            Err(error) => assert!(nominated.contains(&error.0) && refused(&error.0), "{error}"),
        }
    }
}

fn cleaned(mut headers: HeaderMap) -> HeaderMap {
    let fields = scan(&headers);
    clean(&mut headers, fields);
    headers
}

/// What must be left: all lines of every other field, in their order.
fn expected(headers: &HeaderMap, nominated: &[HeaderName]) -> HeaderMap {
    let mut left = HeaderMap::new();
    for (name, value) in headers {
        let is_kept = match name == header::CONTENT_LENGTH {
            // It frames the message, unless a transfer coding does.
            true => !headers.contains_key(header::TRANSFER_ENCODING),
            false => !nominated.contains(name),
        };
        if !DROPPED.contains(&name.as_str()) && is_kept {
            left.append(name, value.clone());
        }
    }
    left
}

/// The fields that the `Connection` lines name, whether they are there or not. `close`,
/// `keep-alive` and `upgrade` are options of the connection.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut nominated = Vec::new();
    for line in headers.get_all(header::CONNECTION) {
        for element in String::from_utf8_lossy(line.as_bytes()).split(',') {
            let name = element.trim_matches([' ', '\t']).to_ascii_lowercase();
            if !matches!(name.as_str(), "close" | "keep-alive" | "upgrade") {
                nominated.extend(name.parse::<HeaderName>());
            }
        }
    }
    nominated
}

/// The same header with one `Connection` line instead of several, in capital letters, and with
/// empty elements.
fn respelled(headers: &HeaderMap) -> HeaderMap {
    let mut respelled = headers.clone();
    let lines = headers.get_all(header::CONNECTION).iter();
    let joined = lines.map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b",,\t"[..]);
    if headers.contains_key(header::CONNECTION) {
        let joined = [b" ,", &joined[..], b", "].concat().to_ascii_uppercase();
        respelled.insert(header::CONNECTION, HeaderValue::from_bytes(&joined).unwrap());
    }
    respelled
}
