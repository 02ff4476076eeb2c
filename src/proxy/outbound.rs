//! Makes the request that goes to the upstream out of the one that came.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version, header};
use http_body::Body as _;

use super::shape::origin_form;
use super::{Head, scheme};
use crate::message::{Body, Field, accepts_trailers, clean, scan};
use crate::server::Interim;
use crate::upstream::{Protocol, Upstream};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A guarded request, whose body was read whole: it has exactly one `Content-Length`, which we
/// computed, and asks for nothing that would make the answer fit only this caller's connection.
pub(super) fn guarded(head: Head<'_>, body: Bytes, upstream: &Upstream) -> Request<Body> {
    let fields = head.fields;
    let interim = interim(&head);
    let mut parts = cleaned(head, upstream);
    let headers = &mut parts.headers;
    if fields.has(Field::Expect) {
        headers.remove(header::EXPECT);
    }
    if fields.has(Field::Age) {
        headers.remove(header::AGE);
    }
    if fields.has(Field::Range) {
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
    }
    if fields.has(Field::Trailer) {
        headers.remove(header::TRAILER);
    }
    // The answer may be replayed to a caller who accepts another coding.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    listening(Request::from_parts(parts, body.into()), interim, upstream)
}

/// A request that is passed on as it arrives.
pub(super) fn passed(head: Head<'_>, body: Body, upstream: &Upstream) -> Request<Body> {
    let fields = head.fields;
    let interim = interim(&head);
    // What HTTP/2 marks the end of has a length that nobody knows before.
    let is_open = fields.has(Field::TransferEncoding)
        || (head.parts.version == Version::HTTP_2 && body.size_hint().exact().is_none());
    let mut parts = cleaned(head, upstream);
    if is_open && matches!(body, Body::Empty) {
        // It was read, and came to nothing.
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    } else if is_open {
        // Some methods would lose their body otherwise.
        if upstream.protocol() == Protocol::Http1 {
            parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    } else if fields.has(Field::ContentLength)
        && let Some(length) = body.size_hint().exact()
    {
        // One line, however many equal ones the caller has sent.
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if fields.has(Field::Expect) {
        parts.headers.remove(header::EXPECT);
    }
    listening(Request::from_parts(parts, body), interim, upstream)
}

/// How interim answers reach the caller; HTTP/1.0 has none (RFC 9110, section 15.2), and hyper
/// sends none over HTTP/2.
fn interim(head: &Head<'_>) -> Option<Interim> {
    (head.parts.version == Version::HTTP_11).then(|| head.caller.interim.clone())
}

/// Lets interim answers go on to the caller: they are not part of what is kept. `100 Continue` is
/// ours to say, and `101` ends the exchange.
fn listening(
    mut request: Request<Body>,
    interim: Option<Interim>,
    upstream: &Upstream,
) -> Request<Body> {
    if let Some(interim) = interim {
        upstream.on_interim(&mut request, move |status, headers| {
            if status != StatusCode::CONTINUE {
                let mut headers = headers.clone();
                let fields = scan(&headers);
                clean(&mut headers, fields);
                // It has no body (RFC 9110, section 15.2).
                headers.remove(header::CONTENT_LENGTH);
                interim.send(status, &headers);
            }
        });
    }
    request
}

/// What every request loses and gets.
fn cleaned(head: Head<'_>, upstream: &Upstream) -> Parts {
    let Head { mut parts, fields, caller, acts_as: _, hop: _ } = head;
    let headers = &mut parts.headers;
    let accepts_trailers = accepts_trailers(headers, fields);
    clean(headers, fields);
    if accepts_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if upstream.protocol() == Protocol::Http1 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
    }
    if !fields.has(Field::Host) {
        let host = match parts.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => None,
        };
        headers.insert(header::HOST, host.unwrap_or_else(|| upstream.authority().clone()));
    }
    append(headers, header::VIA, &HeaderValue::from_static(received(parts.version)));
    append(headers, X_FORWARDED_FOR, &caller.peer.forwarded_for);
    let scheme = scheme(&caller.peer).name();
    headers.entry(X_FORWARDED_PROTO).or_insert_with(|| HeaderValue::from_static(scheme));
    if !headers.contains_key(X_FORWARDED_HOST)
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
    if parts.uri.scheme().is_some() {
        parts.uri = origin_form(&parts.uri);
    }
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    parts
}

/// What a request came by and to whom, as `Via` has it (RFC 9110, section 7.6.3).
fn received(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0 oncegate",
        Version::HTTP_2 => "2.0 oncegate",
        _ => "1.1 oncegate",
    }
}

/// Adds a value to the end of a list: to its last line, since some read only the first.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    let mut joined = Vec::new();
    for line in headers.get_all(&name) {
        joined.extend_from_slice(line.as_bytes());
        joined.extend_from_slice(b", ");
    }
    let value = if joined.is_empty() {
        value.clone()
    } else {
        joined.extend_from_slice(value.as_bytes());
        // Two valid values joined by a comma are one.
        HeaderValue::from_maybe_shared(Bytes::from(joined)).unwrap_or_else(|_| value.clone())
    };
    headers.insert(name, value);
}
