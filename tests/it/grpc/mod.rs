//! gRPC: unary calls with a key are guarded, and everything else passes as it streams.

mod client;
mod cuts;
mod endings;
mod observed;
mod origin;
mod refusals;
mod streams;
mod unary;

use http::HeaderMap;

use self::client::{Answer, Client};
use self::origin::{Call, Grpc};
use crate::support::{MARKS, Proxy, Starting};

/// A proxy before this gRPC server.
fn before(origin: &Grpc) -> Starting {
    Proxy::before_address(origin.addr).env("ONCEGATE_UPSTREAM_HTTP2", "true")
}

/// A message as it stands in a body.
fn message(payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("a short message");
    [&[0][..], &length.to_be_bytes(), payload].concat()
}

/// The first whole message at the front of what has come, which it is taken from.
fn take_message(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (prefix, rest) = bytes.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    let payload = rest.get(..usize::try_from(length).expect("a length"))?.to_vec();
    bytes.drain(..5 + payload.len());
    Some(payload)
}

/// Fields of one name as texts.
fn texts(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.as_bytes().escape_ascii().to_string()).collect()
}

/// Header lines without what marks a repeat.
fn unmarked(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for mark in MARKS {
        headers.remove(mark);
    }
    headers
}

/// Fails unless `repeat` is `first`, marked as a repeat.
#[track_caller]
fn assert_replay(first: &Answer, repeat: &Answer) {
    for mark in MARKS {
        assert!(!first.headers.contains_key(mark), "{mark}: {first:?}");
        assert_eq!(texts(&repeat.headers, mark).len(), 1, "{mark}: {repeat:?}");
    }
    assert_same(first, repeat);
}

/// Fails unless both are one answer, whoever got it first.
#[track_caller]
fn assert_same(first: &Answer, repeat: &Answer) {
    assert_eq!(repeat.status, first.status);
    assert_eq!(unmarked(&repeat.headers), unmarked(&first.headers));
    assert_eq!(repeat.messages, first.messages);
    assert_eq!(repeat.trailers, first.trailers);
    assert_eq!((&first.reset, &repeat.reset), (&None, &None));
}

/// Fails unless `answer` is the proxy's own: a header that is its trailers, with this code.
#[track_caller]
fn assert_refused(answer: &Answer, code: u8, name: &str) {
    let Answer { headers, .. } = answer;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.is_header_alone, "its header ends it: {answer:?}");
    assert_eq!(texts(headers, "content-type"), ["application/grpc"], "{answer:?}");
    assert_eq!(texts(headers, "grpc-status"), [code.to_string()], "{answer:?}");
    let said = texts(headers, "grpc-message");
    assert!(said.len() == 1 && said[0].starts_with(&format!("{name}: ")), "{answer:?}");
    let proxy_status = texts(headers, "proxy-status");
    assert!(proxy_status[0].starts_with("oncegate; error="), "{answer:?}");
    let pushback = texts(headers, "grpc-retry-pushback-ms");
    let is_retryable = headers.contains_key("retry-after");
    assert_eq!(pushback, [if is_retryable { "1000" } else { "-1" }], "{answer:?}");
    for mark in ["duplicate-request", "idempotent-replayed", "age"] {
        assert!(!headers.contains_key(mark), "an own answer is no replay: {answer:?}");
    }
}
