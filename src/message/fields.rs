//! Header fields that belong to one connection, or to this proxy, and not to the message.

use http::Method;
use http::header::{self, HeaderMap, HeaderName};

use super::grpc::is_grpc;

/// A header field that a proxy must look at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Field {
    /// `Age`
    Age,
    /// `Connection`
    Connection,
    /// `Content-Encoding`
    ContentEncoding,
    /// `Content-Length`
    ContentLength,
    /// `Date`
    Date,
    /// One that this proxy sets to mark what it has done; nobody else may.
    Duplicate,
    /// `Expect`
    Expect,
    /// `Content-Type`, if it is that of gRPC
    Grpc,
    /// One that belongs to the connection, and is dropped without being read.
    HopByHop,
    /// `Host`
    Host,
    /// One that asks for another method than the request's own
    MethodOverride,
    /// `Range` or `If-Range`
    Range,
    /// `TE`
    Te,
    /// `Trailer`
    Trailer,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
}

/// Which of those fields a message has, found in one pass over its header.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields {
    present: u32,
    /// The bytes that all lines take, with the four that frame each.
    pub bytes: usize,
    /// The number of lines.
    pub lines: usize,
}

/// A `Connection` field names a field that must reach the other side.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the Connection field may not name {0}")]
pub struct NominationError(pub HeaderName);

/// Fields by which a request asks for another method than its own.
const METHOD_OVERRIDES: [&str; 3] =
    ["x-http-method", "x-http-method-override", "x-method-override"];

/// Fields that mark what this proxy has done, and the one by which an upstream steers it.
pub(super) const DUPLICATE: [&str; 5] = [
    "duplicate-key",
    "duplicate-protection",
    "duplicate-request",
    "idempotent-replayed",
    "oncegate-keep",
];

/// Fields that belong to one connection, besides `Connection`, `TE`, `Transfer-Encoding` and
/// `Upgrade`.
const HOP_BY_HOP: [&str; 5] = [
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
];

/// Fields that say where a message begins and ends, who sent it and for whom it is.
const UNNAMEABLE: [&str; 8] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "forwarded",
    "host",
    "transfer-encoding",
];

/// Others that say in a header what is asked for or answered, and nothing in trailers.
const HEADER_ONLY: [&str; 5] =
    ["cache-control", "content-range", "max-forwards", "set-cookie", "x-real-ip"];

impl Fields {
    /// Whether the message has the field.
    pub const fn has(self, field: Field) -> bool {
        self.present & (1 << field as u16) != 0
    }

    const fn add(&mut self, field: Field) {
        self.present |= 1 << field as u16;
    }
}

/// Looks once at every header field.
pub fn scan(headers: &HeaderMap) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in headers {
        fields.bytes += name.as_str().len() + value.len() + 4;
        fields.lines += 1;
        match classify(name.as_str()) {
            Some(Field::Grpc) if !is_grpc(value.as_bytes()) => {}
            Some(field) => fields.add(field),
            None => {}
        }
    }
    fields
}

fn classify(name: &str) -> Option<Field> {
    Some(match name {
        "age" => Field::Age,
        "connection" => Field::Connection,
        "content-encoding" => Field::ContentEncoding,
        "content-length" => Field::ContentLength,
        "content-type" => Field::Grpc,
        "date" => Field::Date,
        "duplicate-key"
        | "duplicate-protection"
        | "duplicate-request"
        | "idempotent-replayed"
        | "oncegate-keep" => Field::Duplicate,
        "expect" => Field::Expect,
        "host" => Field::Host,
        "http2-settings"
        | "keep-alive"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "proxy-connection" => Field::HopByHop,
        "if-range" | "range" => Field::Range,
        "te" => Field::Te,
        "x-http-method" | "x-http-method-override" | "x-method-override" => Field::MethodOverride,
        "trailer" => Field::Trailer,
        "transfer-encoding" => Field::TransferEncoding,
        "upgrade" => Field::Upgrade,
        _ => return None,
    })
}

/// The method that a request asks for instead of its own, in upper case, as servers read it that
/// look at such fields. Several together are one that nobody guards by itself.
pub fn overriding_method(headers: &HeaderMap) -> Method {
    let lines = METHOD_OVERRIDES.iter().flat_map(|name| headers.get_all(*name));
    let mut names: Vec<_> =
        lines.map(|line| line.as_bytes().trim_ascii().to_ascii_uppercase()).collect();
    names.dedup();
    Method::from_bytes(&names.join(&b'+')).unwrap_or(Method::POST)
}

/// Checks that no `Connection` field names one for which `protected` is true, or that frames the
/// message or says whose it is: dropping it would change what is asked for (RFC 9110, section
/// 7.6.1, asks senders not to).
pub fn check_nominations(
    headers: &HeaderMap,
    fields: Fields,
    protected: impl Fn(&HeaderName) -> bool,
) -> Result<(), NominationError> {
    if !fields.has(Field::Connection) {
        return Ok(());
    }
    let refused = |name: &HeaderName| {
        UNNAMEABLE.contains(&name.as_str())
            || name.as_str().starts_with("x-forwarded-")
            || protected(name)
    };
    nominations(headers).find(refused).map_or(Ok(()), |name| Err(NominationError(name)))
}

/// Removes what belongs to the connection, what its `Connection` fields name, and this proxy's
/// own marks. `Content-Length` stays, whatever `Connection` names, unless a transfer coding says
/// how long the body is.
pub fn clean(headers: &mut HeaderMap, fields: Fields) {
    if fields.has(Field::Connection) {
        let nominated: Vec<_> = nominations(headers).collect();
        for name in nominated {
            if name != header::CONTENT_LENGTH && name != header::TRANSFER_ENCODING {
                headers.remove(name);
            }
        }
        headers.remove(header::CONNECTION);
    }
    if fields.has(Field::TransferEncoding) {
        headers.remove(header::TRANSFER_ENCODING);
        // Beside a transfer coding it says nothing (RFC 9112, section 6.3), and would be believed.
        headers.remove(header::CONTENT_LENGTH);
    }
    if fields.has(Field::Te) {
        headers.remove(header::TE);
    }
    if fields.has(Field::Upgrade) {
        headers.remove(header::UPGRADE);
    }
    if fields.has(Field::HopByHop) {
        for name in HOP_BY_HOP {
            headers.remove(name);
        }
    }
    if fields.has(Field::Duplicate) {
        for name in DUPLICATE {
            headers.remove(name);
        }
    }
}

/// Whether a request says that who has sent it reads trailers (RFC 9110, section 10.1.4).
pub fn accepts_trailers(headers: &HeaderMap, fields: Fields) -> bool {
    let is_trailers = |token: &[u8]| token.trim_ascii().eq_ignore_ascii_case(b"trailers");
    let mut lines = headers.get_all(header::TE).iter();
    fields.has(Field::Te)
        && lines.any(|line| line.as_bytes().split(|byte| *byte == b',').any(is_trailers))
}

/// Removes from trailers what means something only in a header (RFC 9110, section 6.5.1): how the
/// message is framed, whose it is, for whom, and this proxy's own marks. Whoever joins trailers
/// with the header would believe it.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    let misplaced: Vec<_> =
        trailers.keys().filter(|name| is_misplaced(name.as_str())).cloned().collect();
    for name in misplaced {
        trailers.remove(name);
    }
}

/// Whether a field has no place in trailers.
fn is_misplaced(name: &str) -> bool {
    UNNAMEABLE.contains(&name)
        || HEADER_ONLY.contains(&name)
        || name.starts_with("x-forwarded-")
        || matches!(
            classify(name),
            Some(
                Field::Connection
                    | Field::Duplicate
                    | Field::Expect
                    | Field::HopByHop
                    | Field::MethodOverride
                    | Field::Range
                    | Field::Te
                    | Field::Trailer
                    | Field::Upgrade
            )
        )
}

/// The fields that all `Connection` lines together name; its options are not fields.
fn nominations(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> + '_ {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !matches!(name.as_str(), "close" | "keep-alive" | "upgrade"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn cleaned(lines: &[(&str, &str)]) -> Result<Vec<String>, NominationError> {
        let mut headers = headers(lines);
        let fields = scan(&headers);
        check_nominations(&headers, fields, |name| name == "idempotency-key")?;
        clean(&mut headers, fields);
        Ok(headers.keys().map(ToString::to_string).collect())
    }

    #[test]
    fn what_belongs_to_the_connection_goes_and_the_rest_stays() {
        let left = cleaned(&[
            ("Connection", "close, X-Hop"),
            ("connection", "x-hop-too ,,keep-alive"),
            ("X-Hop", "1"),
            ("X-Hop-Too", "1"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "trailers"),
            ("Proxy-Connection", "close"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMA"),
            ("Duplicate-Request", "true"),
            ("Duplicate-Key", "x"),
            ("Idempotent-Replayed", "true"),
            ("Accept", "*/*"),
            ("Idempotency-Key", "k"),
        ]);
        assert_eq!(left.unwrap(), ["accept", "idempotency-key"]);
    }

    #[test]
    fn a_nomination_of_what_matters_is_refused() {
        for name in ["Host", "Content-Length", "Authorization", "Cookie", "Idempotency-Key"]
            .into_iter()
            .chain(["X-Forwarded-For", "Forwarded", "Content-Type", "Transfer-Encoding"])
        {
            let line = format!("close, {name}");
            let error = cleaned(&[("Connection", &line)]).unwrap_err();
            assert!(error.0.as_str().eq_ignore_ascii_case(name), "{error}");
        }
    }

    #[test]
    fn an_answer_keeps_its_framing_and_loses_what_it_nominates() {
        let mut headers = headers(&[
            ("Connection", "Content-Length, Set-Cookie"),
            ("Content-Length", "2"),
            ("Set-Cookie", "a=b"),
            ("Duplicate-Key", "x"),
        ]);
        let fields = scan(&headers);
        clean(&mut headers, fields);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["content-length"]);
    }

    #[test]
    fn only_a_content_type_of_grpc_is_seen() {
        for (value, expected) in [("application/grpc", true), ("application/json", false)] {
            let fields = scan(&headers(&[("Content-Type", value)]));
            assert_eq!(fields.has(Field::Grpc), expected, "{value}");
        }
    }

    #[test]
    fn whoever_reads_trailers_says_so() {
        let accepts = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("TE", *line)).collect();
            let headers = headers(&lines);
            accepts_trailers(&headers, scan(&headers))
        };
        assert!(accepts(&["trailers"]));
        assert!(accepts(&["gzip;q=0.5 ,\tTrailers"]));
        assert!(accepts(&["deflate", "trailers"]));
        assert!(!accepts(&[]));
        assert!(!accepts(&["trailer", "x-trailers", "gzip;trailers", ""]));
    }

    #[test]
    fn trailers_say_nothing_that_a_header_would_say() {
        let kept = ["grpc-status", "grpc-message", "server-timing", "x-checksum", "date", "age"];
        let removed = [
            "content-length",
            "transfer-encoding",
            "trailer",
            "te",
            "connection",
            "host",
            "authorization",
            "cookie",
            "set-cookie",
            "content-type",
            "content-encoding",
            "x-forwarded-for",
            "forwarded",
            "x-real-ip",
            "duplicate-request",
            "oncegate-keep",
            "keep-alive",
            "upgrade",
            "expect",
            "range",
            "x-http-method-override",
        ];
        let lines: Vec<_> = removed.iter().chain(&kept).map(|name| (*name, "1")).collect();
        let mut trailers = headers(&lines);
        clean_trailers(&mut trailers);
        let left: BTreeSet<_> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, kept.into());
    }

    #[test]
    fn every_field_that_is_removed_is_also_recognised() {
        for name in HOP_BY_HOP {
            assert_eq!(classify(name), Some(Field::HopByHop));
        }
        for name in DUPLICATE {
            assert_eq!(classify(name), Some(Field::Duplicate));
        }
    }
}
