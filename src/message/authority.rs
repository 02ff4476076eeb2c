//! Which host a request is for (RFC 9110, section 7.2; RFC 9112, section 3.2).

use std::borrow::Cow;

use http::{HeaderMap, Uri, Version, header};

/// A host and port in one spelling: lower case, without the default port or a final dot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority<'a> {
    text: Cow<'a, str>,
    scheme: Scheme,
}

/// What the connection is on which a request came, whatever the request says of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Scheme {
    /// Plain text.
    #[default]
    Http,
    /// TLS.
    Https,
}

/// What is wrong with the host that a request names.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthorityError {
    /// A request has neither a Host field nor, in HTTP/2, an `:authority`.
    #[error("a request needs one Host field, or :authority in HTTP/2, and this one has none")]
    Missing,
    /// A request has more than one Host field.
    #[error("a request needs exactly one Host field, and this one has several")]
    Several,
    /// The Host field, or the authority in the target, is not a host with an optional port.
    #[error("the Host field is not a host name or address with an optional port")]
    Malformed,
    /// The target is in absolute form, and names another host than the Host field.
    #[error("the target and the Host field name different hosts")]
    Mismatch,
}

impl Scheme {
    /// The port that a host has when none is named.
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The same as it is written.
    const fn written_port(self) -> &'static [u8] {
        match self {
            Self::Http => b"80",
            Self::Https => b"443",
        }
    }

    /// The scheme as URLs have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl<'a> Authority<'a> {
    /// The authority that a request is for, which came over a connection of this scheme; empty for
    /// an HTTP/1.0 request that names none.
    pub fn of(
        uri: &'a Uri,
        headers: &'a HeaderMap,
        version: Version,
        scheme: Scheme,
    ) -> Result<Self, AuthorityError> {
        let mut lines = headers.get_all(header::HOST).iter();
        let host = lines.next().map(|line| Self::parse(line.as_bytes(), scheme)).transpose()?;
        if lines.next().is_some() {
            return Err(AuthorityError::Several);
        }
        let target = uri.authority().map(|found| Self::parse(found.as_str().as_bytes(), scheme));
        match (host, target.transpose()?) {
            (Some(host), Some(target)) if host != target => Err(AuthorityError::Mismatch),
            (Some(host), _) => Ok(host),
            (None, _) if version == Version::HTTP_11 => Err(AuthorityError::Missing),
            (None, Some(target)) => Ok(target),
            (None, None) if version > Version::HTTP_11 => Err(AuthorityError::Missing),
            (None, None) => Ok(Self { text: Cow::Borrowed(""), scheme }),
        }
    }

    /// Reads a host with an optional port.
    pub fn parse(value: &'a [u8], scheme: Scheme) -> Result<Self, AuthorityError> {
        if is_canonical(value, scheme)
            && let Ok(text) = std::str::from_utf8(value)
        {
            return Ok(Self { text: Cow::Borrowed(text), scheme });
        }
        let text = std::str::from_utf8(value).map_err(|_| AuthorityError::Malformed)?;
        let (host, port) = split(text).ok_or(AuthorityError::Malformed)?;
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() || host.ends_with('.') || !host.bytes().all(is_host) {
            return Err(AuthorityError::Malformed);
        }
        let host = host.to_ascii_lowercase();
        let text = match parse_port(port)?.filter(|port| *port != scheme.port()) {
            None => host,
            Some(port) => format!("{host}:{port}"),
        };
        Ok(Self { text: Cow::Owned(text), scheme })
    }

    /// The canonical spelling.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, and the port that is named or meant.
    pub fn host_and_port(&self) -> (&str, u16) {
        host_and_port(&self.text, self.scheme)
    }
}

/// The host of a canonical authority, and the port that it names or means. In an address in
/// brackets, no colon has only digits after it.
pub fn host_and_port(authority: &str, scheme: Scheme) -> (&str, u16) {
    let named = authority.rsplit_once(':').and_then(|(host, port)| {
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse().ok().filter(|_| is_port).map(|port| (host, port))
    });
    named.unwrap_or((authority, scheme.port()))
}

/// Whether a value is surely in its one spelling, as most are.
fn is_canonical(value: &[u8], scheme: Scheme) -> bool {
    let is_plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let host = value.iter().position(|byte| !is_plain(byte)).unwrap_or(value.len());
    let (host, port) = value.split_at(host);
    let is_port = match port {
        [] => true,
        [b':', port @ ..] => {
            matches!(port, [b'1'..=b'9', rest @ ..] if rest.len() <= 3)
                && port != scheme.written_port()
                && port.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    is_port && host.last().is_some_and(|last| *last != b'.')
}

/// Splits a host from its port; an address in brackets may itself hold colons.
fn split(text: &str) -> Option<(&str, &str)> {
    if text.starts_with('[') {
        let (host, rest) = text.split_at(text.find(']')? + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, port)),
            None => rest.is_empty().then_some((host, "")),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => None,
        Some(parts) => Some(parts),
        None => Some((text, "")),
    }
}

/// Reads a port; an empty one is the default (RFC 3986, section 3.2.3).
fn parse_port(port: &str) -> Result<Option<u16>, AuthorityError> {
    match port {
        "" => Ok(None),
        port if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().map(Some).map_err(|_| AuthorityError::Malformed)
        }
        _ => Err(AuthorityError::Malformed),
    }
}

/// Characters of a registered name or an address in brackets (RFC 3986, section 3.2.2), without
/// the comma, at which a hop before us may have joined two Host fields.
fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=[]:".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Result<&str, AuthorityError>) {
        let parsed = Authority::parse(value.as_bytes(), Scheme::Http);
        assert_eq!(parsed.as_ref().map(Authority::as_str), expected.as_ref().copied());
    }

    #[test]
    fn one_host_has_one_spelling() {
        for spelling in ["api.example", "API.example", "api.example.", "api.example:80"] {
            check(spelling, Ok("api.example"));
        }
        check("api.example:443", Ok("api.example:443"));
        check("api.example:8080", Ok("api.example:8080"));
        check("api.example:08080", Ok("api.example:8080"));
        check("api.example:65535", Ok("api.example:65535"));
        check("API.example.:8080", Ok("api.example:8080"));
        check("[::1]:8080", Ok("[::1]:8080"));
        check("[::1]", Ok("[::1]"));
        check("api_1.example:", Ok("api_1.example"));
    }

    #[test]
    fn the_port_that_is_left_out_is_that_of_the_connection() {
        for (value, expected, port) in [
            ("a", "a", 443),
            ("a:443", "a", 443),
            ("A.:0443", "a", 443),
            ("a:80", "a:80", 80),
            ("A:80", "a:80", 80),
            ("a:8443", "a:8443", 8443),
            ("[::1]:443", "[::1]", 443),
            ("[::443]", "[::443]", 443),
            ("[::1]:0", "[::1]:0", 0),
        ] {
            let authority = Authority::parse(value.as_bytes(), Scheme::Https).unwrap();
            assert_eq!(authority.as_str(), expected);
            let host = expected.strip_suffix(&format!(":{port}")).unwrap_or(expected);
            assert_eq!(authority.host_and_port(), (host, port), "{value}");
        }
        assert_eq!(host_and_port("a", Scheme::Http), ("a", 80));
        assert_eq!(host_and_port("", Scheme::Http), ("", 80));
    }

    #[test]
    fn what_is_no_host_is_malformed() {
        for value in [
            "", ":80", ".", ".:8080", "a..", "a:65536", "a:+1", "a b", "a,b", "a/b", "u@a", "a:b",
            "::1", "[::1", "[::1]x", "a#b",
        ] {
            check(value, Err(AuthorityError::Malformed));
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let of = |target: &str, hosts: &[&str], version| {
            let uri: Uri = target.parse().unwrap();
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            let found = Authority::of(&uri, &headers, version, Scheme::Http);
            found.map(|found| found.as_str().to_owned())
        };
        let (two, one, ten) = (Version::HTTP_2, Version::HTTP_11, Version::HTTP_10);
        assert_eq!(of("/", &["a"], one).as_deref(), Ok("a"));
        assert_eq!(of("/", &[], one), Err(AuthorityError::Missing));
        assert_eq!(of("http://a/", &[], one), Err(AuthorityError::Missing));
        assert_eq!(of("/", &[], ten).as_deref(), Ok(""));
        assert_eq!(of("/", &["a", "a"], one), Err(AuthorityError::Several));
        assert_eq!(of("http://A:80/", &["a"], one).as_deref(), Ok("a"));
        assert_eq!(of("http://b/", &["a"], one), Err(AuthorityError::Mismatch));
        assert_eq!(of("http://u@a/", &["a"], one), Err(AuthorityError::Malformed));
        assert_eq!(of("http://a/", &[], ten).as_deref(), Ok("a"));
        // What HTTP/2 calls :authority is there as that of the target.
        assert_eq!(of("https://a/", &[], two).as_deref(), Ok("a"));
        assert_eq!(of("https://A/", &["a:80"], two).as_deref(), Ok("a"));
        assert_eq!(of("https://a/", &["b"], two), Err(AuthorityError::Mismatch));
        assert_eq!(of("https://a/", &["a", "a"], two), Err(AuthorityError::Several));
        assert_eq!(of("/", &["a"], two).as_deref(), Ok("a"));
        assert_eq!(of("/", &[], two), Err(AuthorityError::Missing));
    }
}
