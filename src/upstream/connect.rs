//! Making connections to the upstream.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderValue, Uri, uri};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{NotSent, UpstreamOptions};
use crate::message::Body;

/// Where the upstream is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    host: Host,
    port: u16,
    authority: HeaderValue,
}

/// Why a text does not say where the upstream is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EndpointError {
    /// It is not a URL.
    #[error("it is not a URL such as http://127.0.0.1:3000")]
    NotUrl,
    /// The URL has another scheme.
    #[error("its scheme is {0:?}, and only \"http\" is supported")]
    Scheme(String),
    /// The URL has more than a host and a port.
    #[error("it has {0}, and a host with an optional port is all that is allowed")]
    Extra(&'static str),
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

impl Endpoint {
    /// Reads `http://HOST[:PORT]`.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let uri: Uri = url.parse().map_err(|_| EndpointError::NotUrl)?;
        let scheme = uri.scheme().ok_or(EndpointError::NotUrl)?;
        if *scheme != uri::Scheme::HTTP {
            return Err(EndpointError::Scheme(scheme.to_string()));
        }
        let authority = uri.authority().ok_or(EndpointError::NotUrl)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Extra("a user name"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(EndpointError::Extra("a path or a query"));
        }
        let name = authority.host();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let host = bare.parse().map_or_else(|_| Host::Name(name.to_owned()), Host::Address);
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None => 80,
        };
        let authority = authority.as_str().parse().map_err(|_| EndpointError::NotUrl)?;
        Ok(Self { host, port, authority })
    }

    /// The host and the port as the URL spells them.
    pub(super) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    async fn open(&self) -> Result<TcpStream, NotSent> {
        let stream = match &self.host {
            Host::Address(address) => TcpStream::connect((*address, self.port)).await,
            Host::Name(name) => {
                let addresses: Vec<SocketAddr> =
                    match tokio::net::lookup_host((name.as_str(), self.port)).await {
                        Ok(addresses) => addresses.collect(),
                        Err(_) => return Err(NotSent::NoAddress),
                    };
                TcpStream::connect(addresses.as_slice()).await
            }
        };
        stream.map_err(|error| {
            let timed_out = error.kind() == io::ErrorKind::TimedOut;
            if timed_out { NotSent::TimedOut } else { NotSent::Refused }
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => write!(f, "http://{}", SocketAddr::new(*address, self.port)),
            Host::Name(name) => write!(f, "http://{name}:{}", self.port),
        }
    }
}

/// A new connection, and what drives it.
pub(super) async fn connect(
    endpoint: &Endpoint,
    options: &UpstreamOptions,
) -> Result<(SendRequest<Body>, Connection<TokioIo<TcpStream>, Body>), NotSent> {
    let stream = match tokio::time::timeout(options.connect_timeout, endpoint.open()).await {
        Ok(opened) => opened?,
        Err(_) => return Err(NotSent::TimedOut),
    };
    // Without it, small requests would wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .max_headers(options.headers_max)
        .max_header_size(options.header_bytes_max)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| NotSent::Closed)
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
    }

    #[test]
    fn mistakes_are_named() {
        check("127.0.0.1:3000", Err(EndpointError::NotUrl));
        check("", Err(EndpointError::NotUrl));
        check("https://a", Err(EndpointError::Scheme("https".into())));
        check("http://u:p@a", Err(EndpointError::Extra("a user name")));
        check("http://a/v1", Err(EndpointError::Extra("a path or a query")));
    }
}
