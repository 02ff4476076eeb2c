//! Where the upstream is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use http::{HeaderValue, Uri, uri};

use crate::transport::{Address, AddressError};

/// What the place of a Unix socket begins with.
const UNIX: &str = "unix:";

/// What a request that names no host is for, where the upstream has no host.
const LOCALHOST: HeaderValue = HeaderValue::from_static("localhost");

/// Where the upstream is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    pub(super) place: Place,
    authority: HeaderValue,
    is_https: bool,
}

/// Why a text does not say where the upstream is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EndpointError {
    /// It is not a URL.
    #[error("it is not a URL such as http://127.0.0.1:3000 or https://api.example, nor unix:/PATH")]
    NotUrl,
    /// The URL has another scheme.
    #[error("its scheme is {0:?}, and only \"http\", \"https\" and \"unix\" are supported")]
    Scheme(String),
    /// The URL has more than a host and a port.
    #[error("it has {0}, and a host with an optional port is all that is allowed")]
    Extra(&'static str),
    /// The path of a Unix socket is none.
    #[error("{0}")]
    Path(AddressError),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Address(SocketAddr),
    Name(String, u16),
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `http://HOST[:PORT]`, `https://HOST[:PORT]` or `unix:/PATH`.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        if let Some(path) = url.strip_prefix(UNIX) {
            return Self::unix(path);
        }
        let uri: Uri = url.parse().map_err(|_| EndpointError::NotUrl)?;
        let scheme = uri.scheme().ok_or(EndpointError::NotUrl)?;
        let is_https = *scheme == uri::Scheme::HTTPS;
        if !is_https && *scheme != uri::Scheme::HTTP {
            return Err(EndpointError::Scheme(scheme.to_string()));
        }
        let authority = uri.authority().ok_or(EndpointError::NotUrl)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Extra("a user name"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(EndpointError::Extra("a path or a query"));
        }
        let default = if is_https { 443 } else { 80 };
        let port = authority.port().map_or(default, |port| port.as_u16());
        let name = authority.host();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let place = match bare.parse::<IpAddr>() {
            Ok(address) => Place::Address(SocketAddr::new(address, port)),
            Err(_) => Place::Name(name.to_owned(), port),
        };
        let authority = authority.as_str().parse().map_err(|_| EndpointError::NotUrl)?;
        Ok(Self { place, authority, is_https })
    }

    fn unix(path: &str) -> Result<Self, EndpointError> {
        match Address::unix(path).map_err(EndpointError::Path)? {
            Address::Unix(path) => {
                Ok(Self { place: Place::Unix(path), authority: LOCALHOST, is_https: false })
            }
            Address::Tcp(_) => Err(EndpointError::NotUrl),
        }
    }

    /// Whether connections to it are by TLS.
    pub const fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host and the port as the URL spells them.
    pub(super) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The host or the path of the socket, and the port if it has one.
    pub(super) fn host_and_port(&self) -> (String, Option<u16>) {
        match &self.place {
            Place::Address(address) => (address.ip().to_string(), Some(address.port())),
            Place::Name(name, port) => (name.clone(), Some(*port)),
            Place::Unix(path) => (path.display().to_string(), None),
        }
    }

    /// The host that a certificate is to be made out for.
    pub(super) fn host(&self) -> String {
        match &self.place {
            Place::Address(address) => address.ip().to_string(),
            Place::Name(name, _) => name.clone(),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        match &self.place {
            Place::Address(address) => write!(f, "{scheme}://{address}"),
            Place::Name(name, port) => write!(f, "{scheme}://{name}:{port}"),
            Place::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<&str, EndpointError>) {
        let parsed = Endpoint::parse(url).map(|endpoint| endpoint.to_string());
        assert_eq!(parsed, expected.map(str::to_owned));
    }

    #[test]
    fn urls_are_read() {
        check("http://127.0.0.1:3000", Ok("http://127.0.0.1:3000"));
        check("http://[::1]:3000/", Ok("http://[::1]:3000"));
        check("http://api.example", Ok("http://api.example:80"));
        check("https://api.example", Ok("https://api.example:443"));
        check("https://[::1]", Ok("https://[::1]:443"));
        check("https://127.0.0.1:8443/", Ok("https://127.0.0.1:8443"));
        check("unix:/run/app.sock", Ok("unix:/run/app.sock"));
    }

    #[test]
    fn mistakes_are_named() {
        check("127.0.0.1:3000", Err(EndpointError::NotUrl));
        check("", Err(EndpointError::NotUrl));
        check("ftp://a", Err(EndpointError::Scheme("ftp".into())));
        check("http://u:p@a", Err(EndpointError::Extra("a user name")));
        check("http://a/v1", Err(EndpointError::Extra("a path or a query")));
        check("unix:app.sock", Err(EndpointError::Path(AddressError::Relative)));
        check("unix:", Err(EndpointError::Path(AddressError::Relative)));
    }

    #[test]
    fn a_request_without_a_host_gets_one() {
        for (url, authority, host) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000", "127.0.0.1"),
            ("https://api.example", "api.example", "api.example"),
            ("https://[::1]:8443", "[::1]:8443", "::1"),
            ("unix:/run/app.sock", "localhost", "localhost"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!(endpoint.authority(), authority);
            assert_eq!(endpoint.host(), host);
        }
    }
}
