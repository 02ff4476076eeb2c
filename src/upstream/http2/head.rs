//! The head of a request, as HTTP/2 has it (RFC 9113, section 8.3.1).

use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Request, Uri, Version, header};

use super::super::{Endpoint, NotSent};

/// Fields that say how a message goes over one connection, which HTTP/2 says otherwise.
const CONNECTION_SPECIFIC: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The head of a request in origin form with a `Host` field.
pub(super) fn head(parts: Parts, endpoint: &Endpoint) -> Result<Request<()>, NotSent> {
    let mut head = Request::new(());
    *head.version_mut() = Version::HTTP_2;
    *head.method_mut() = parts.method;
    *head.headers_mut() = parts.headers;
    let headers = head.headers_mut();
    for name in CONNECTION_SPECIFIC {
        headers.remove(name);
    }
    if headers.get(header::TE).is_some_and(|value| value != "trailers") {
        headers.remove(header::TE);
    }
    let host = headers.remove(header::HOST);
    let host = host.as_ref().unwrap_or_else(|| endpoint.authority());
    let mut uri = parts.uri.into_parts();
    uri.scheme = Some(if endpoint.is_https() { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(authority(host)?);
    uri.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    *head.uri_mut() = Uri::from_parts(uri).map_err(|_| NotSent::Host)?;
    Ok(head)
}

fn authority(host: &HeaderValue) -> Result<Authority, NotSent> {
    Authority::try_from(host.as_bytes()).map_err(|_| NotSent::Host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn converted(url: &str, target: &str, lines: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::post(target);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        head(parts, &Endpoint::parse(url).unwrap()).unwrap()
    }

    #[test]
    fn the_host_becomes_the_authority() {
        let head = converted("http://127.0.0.1:1", "/a?b=%20", &[("Host", "api.example:81")]);
        assert_eq!(head.uri(), "http://api.example:81/a?b=%20");
        assert_eq!((head.method().as_str(), head.version()), ("POST", Version::HTTP_2));
        assert!(head.headers().is_empty());
        let head = converted("https://api.example", "/", &[("Host", "[::1]")]);
        assert_eq!(head.uri(), "https://[::1]/");
        let head = converted("unix:/run/app.sock", "*", &[]);
        let target = head.uri().path_and_query().map(PathAndQuery::as_str);
        assert_eq!((head.uri().host(), target), (Some("localhost"), Some("*")));
    }

    #[test]
    fn what_belongs_to_a_connection_goes_and_the_rest_stays() {
        let head = converted(
            "http://127.0.0.1:1",
            "/",
            &[
                ("Host", "a"),
                ("Connection", "keep-alive"),
                ("Keep-Alive", "1"),
                ("Transfer-Encoding", "chunked"),
                ("Upgrade", "h2c"),
                ("HTTP2-Settings", "AAMA"),
                ("Proxy-Connection", "close"),
                ("TE", "trailers"),
                ("Content-Length", "2"),
                ("Cookie", "a=b"),
            ],
        );
        let mut left: Vec<_> = head.headers().keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "cookie", "te"]);
        let head = converted("http://127.0.0.1:1", "/", &[("Host", "a"), ("TE", "gzip")]);
        assert!(head.headers().is_empty());
    }

    #[test]
    fn a_host_that_is_no_authority_is_not_sent() {
        let parts = Request::get("/").header("Host", "a%20b").body(()).unwrap().into_parts().0;
        let endpoint = Endpoint::parse("http://127.0.0.1:1").unwrap();
        assert_eq!(head(parts, &endpoint).unwrap_err(), NotSent::Host);
    }
}
