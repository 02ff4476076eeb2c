//! TLS 1.2 and 1.3, on both sides.

mod client;
mod pem;
mod secured;
mod server;

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use self::client::{HandshakeError, TlsClient, TlsFault};
pub use self::pem::{Authorities, Identity, PemError};
pub use self::secured::{Refusal, Secured};
pub use self::server::{ClientAuth, Shown, TlsServer};

/// Why certificates, keys or names can't be used together.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl TlsError {
    fn new(error: &impl ToString) -> Self {
        Self(error.to_string())
    }
}

/// The versions of HTTP, as they are called in a handshake (RFC 7301).
const H2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";
const HTTP_10: &[u8] = b"http/1.0";

/// A version of HTTP that is spoken over a stream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: agreed on in the TLS handshake, or known from the start without TLS.
    Http2,
}

impl Protocol {
    /// What it is called in a handshake.
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => HTTP_11,
            Self::Http2 => H2,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
