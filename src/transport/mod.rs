//! Streams of bytes, and what there is to say where they come from: TCP, Unix sockets, and TLS
//! over them.

mod address;
mod networks;
mod stream;
mod tls;

pub use self::address::{Address, AddressError};
pub use self::networks::{Network, Networks};
pub use self::stream::Stream;
pub use self::tls::{
    Authorities, ClientAuth, HandshakeError, Identity, PemError, Protocol, Refusal, Secured, Shown,
    TlsClient, TlsError, TlsFault, TlsServer,
};
