//! Brings HTTP/2 requests into the shape that HTTP/1.1 requests have.
//!
//! All that comes after looks at one shape: a `Host` field, a target in origin form, one `Cookie`
//! field. So an operation has the same key whichever version its attempts come by.

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};

use crate::message::{Authority, AuthorityError, Scheme};

/// Why an HTTP/2 request is malformed, beyond what h2 resets streams for by itself: doubled or
/// misplaced pseudo-header fields, names in upper case, and lengths that are not kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Malformed {
    /// A field belongs to a connection, as HTTP/2 has none (RFC 9113, section 8.2.2).
    #[error("an HTTP/2 request has no fields that belong to one connection")]
    ConnectionSpecific,
    /// A length that is no number: h2 refuses all but the empty one.
    #[error("an empty Content-Length is no length")]
    NoLength,
    /// A value begins or ends with white space (RFC 9113, section 8.2.1).
    #[error("the value of an HTTP/2 field neither begins nor ends with white space")]
    Padded,
    /// The path is not one (RFC 9113, section 8.3.1).
    #[error("an HTTP/2 request needs a :path that begins with /, or OPTIONS and *")]
    NoPath,
    /// It is not clear for which host it is.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// Brings an HTTP/2 request into that shape. Only its version tells after that what it was.
pub(super) fn to_http1(parts: &mut Parts, scheme: Scheme) -> Result<(), Malformed> {
    if parts.method == Method::CONNECT {
        // It has another shape, and is refused.
        return Ok(());
    }
    check_fields(&parts.headers)?;
    Authority::of(&parts.uri, &parts.headers, Version::HTTP_2, scheme)?;
    if let Some(authority) = parts.uri.authority() {
        // It takes the place of a Host field (RFC 9113, section 8.3.1).
        let host = HeaderValue::from_str(authority.as_str());
        parts.headers.insert(header::HOST, host.map_err(|_| AuthorityError::Malformed)?);
    }
    let target = parts.uri.path_and_query().ok_or(Malformed::NoPath)?;
    let is_star = parts.method == Method::OPTIONS && target == "*";
    if !(is_star || target.as_str().starts_with('/')) {
        return Err(Malformed::NoPath);
    }
    parts.uri = origin_form(&parts.uri);
    join_cookies(&mut parts.headers);
    Ok(())
}

/// The target without scheme and host; its path is `/` where it has none (RFC 9112, section
/// 3.2.1).
pub(super) fn origin_form(uri: &Uri) -> Uri {
    let root = || PathAndQuery::from_static("/");
    let target = match uri.path_and_query() {
        // Also one without a path, which only looks like this.
        Some(target) if target == "/" => root(),
        Some(target) if target.as_str().starts_with('?') => {
            format!("/{}", target.as_str()).parse().unwrap_or_else(|_| root())
        }
        Some(target) => target.clone(),
        None => root(),
    };
    Uri::from(target)
}

fn check_fields(headers: &HeaderMap) -> Result<(), Malformed> {
    for (name, value) in headers {
        let value = value.as_bytes();
        if is_padded(value) {
            return Err(Malformed::Padded);
        }
        match name.as_str() {
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
                return Err(Malformed::ConnectionSpecific);
            }
            "content-length" if value.is_empty() => return Err(Malformed::NoLength),
            "te" if !value.eq_ignore_ascii_case(b"trailers") => {
                return Err(Malformed::ConnectionSpecific);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether white space is at an end: HTTP/1.1 would not take it for a part of the value.
fn is_padded(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.first()) || is_space(value.last())
}

/// Joins the `Cookie` fields into one: HTTP/2 lets each cookie be a field of its own (RFC 9113,
/// section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for line in [second].into_iter().chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    // Valid values joined by such bytes are one.
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// The request that h2 makes of these pseudo-header fields.
    fn request(method: &str, uri: Uri, lines: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn uri(authority: Option<&str>, path: &str) -> Uri {
        let mut parts = http::uri::Parts::default();
        if let Some(authority) = authority {
            parts.scheme = Some(http::uri::Scheme::HTTP);
            parts.authority = Some(authority.parse().unwrap());
        }
        parts.path_and_query = Some(path.parse().unwrap());
        Uri::from_parts(parts).unwrap()
    }

    /// The target and the hosts that a request has in the end.
    fn shaped(
        method: &str,
        (authority, path): (Option<&str>, &str),
        lines: &[(&str, &str)],
    ) -> Result<(String, Vec<HeaderValue>), Malformed> {
        let mut parts = request(method, uri(authority, path), lines);
        to_http1(&mut parts, Scheme::Https)?;
        assert_eq!((parts.uri.scheme(), parts.uri.authority()), (None, None));
        let hosts = parts.headers.get_all(header::HOST).iter().cloned().collect();
        Ok((parts.uri.to_string(), hosts))
    }

    #[test]
    fn the_authority_becomes_the_host() {
        let check = |authority, lines: &[(&str, &str)], host: &str| {
            let found = shaped("POST", (authority, "/a"), lines);
            let hosts = vec![HeaderValue::from_str(host).unwrap()];
            assert_eq!(found, Ok(("/a".to_owned(), hosts)));
        };
        check(Some("A.example:443"), &[], "A.example:443");
        check(Some("a.example"), &[("host", "A.example.:443")], "a.example");
        check(None, &[("host", "a.example")], "a.example");
    }

    #[test]
    fn it_must_be_clear_for_which_host_a_request_is() {
        let check = |authority, lines: &[(&str, &str)], error| {
            let expected = Err(Malformed::Authority(error));
            assert_eq!(shaped("POST", (authority, "/a"), lines), expected);
        };
        check(Some("a"), &[("host", "b")], AuthorityError::Mismatch);
        check(Some("a:80"), &[("host", "a")], AuthorityError::Mismatch);
        check(Some("a"), &[("host", "a"), ("host", "a")], AuthorityError::Several);
        check(Some("u@a"), &[], AuthorityError::Malformed);
        check(None, &[], AuthorityError::Missing);
        check(None, &[("host", "a"), ("host", "b")], AuthorityError::Several);
    }

    #[test]
    fn the_target_keeps_its_bytes() {
        let target = |method, path| {
            shaped(method, (Some("a"), path), &[]).map(|(target, _)| target).map_err(|_| ())
        };
        for path in ["/", "/a", "/a//b/../%2e%2E?x=%41&y", "/?", "/?x=//", "//b/c", "/%"] {
            assert_eq!(target("POST", path).as_deref(), Ok(path));
        }
        assert_eq!(target("OPTIONS", "*").as_deref(), Ok("*"));
        assert_eq!(target("POST", "*"), Err(()));
        assert_eq!(target("POST", "?x=1"), Err(()));
    }

    #[test]
    fn a_target_without_a_path_gets_one() {
        for (uri, expected) in [
            ("http://a", "/"),
            ("http://a#b", "/"),
            ("http://a?x=1", "/?x=1"),
            ("http://a?", "/?"),
            ("http://a/", "/"),
            ("http://a/b?x=1#c", "/b?x=1"),
        ] {
            assert_eq!(origin_form(&uri.parse().unwrap()).to_string(), expected, "{uri}");
        }
    }

    #[test]
    fn cookies_become_one_field() {
        let cookies = |lines: &[(&str, &str)]| {
            let mut parts = request("POST", uri(Some("a"), "/"), lines);
            to_http1(&mut parts, Scheme::Http).unwrap();
            let lines = parts.headers.get_all(header::COOKIE).iter();
            lines.map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(cookies(&[("cookie", "a=1; b=2")]), ["a=1; b=2"]);
        let crumbs = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3"), ("cookie", "d")];
        assert_eq!(cookies(&crumbs), ["a=1; b=2; c=3; d"]);
        assert!(cookies(&[]).is_empty());
    }

    #[test]
    fn fields_of_a_connection_are_refused() {
        let check = |name, value, expected| {
            let found = shaped("POST", (Some("a"), "/"), &[(name, value)]).map(drop);
            assert_eq!(found, expected, "{name}: {value}");
        };
        for name in ["connection", "keep-alive", "proxy-connection", "upgrade"] {
            check(name, "close", Err(Malformed::ConnectionSpecific));
        }
        check("transfer-encoding", "chunked", Err(Malformed::ConnectionSpecific));
        check("te", "gzip, trailers", Err(Malformed::ConnectionSpecific));
        check("te", "trailers", Ok(()));
        check("content-length", "", Err(Malformed::NoLength));
        check("content-length", "0", Ok(()));
        for value in [" k", "k\t", " "] {
            check("idempotency-key", value, Err(Malformed::Padded));
        }
        check("idempotency-key", "", Ok(()));
        check("x", "a b\tc", Ok(()));
    }

    #[test]
    fn connect_is_left_to_be_refused() {
        let mut parts = request("CONNECT", "a:443".parse().unwrap(), &[]);
        assert_eq!(to_http1(&mut parts, Scheme::Http), Ok(()));
    }
}
