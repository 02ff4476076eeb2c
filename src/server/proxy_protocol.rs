//! What a load balancer says of a connection that it passes on: the PROXY protocol, versions 1
//! and 2 (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).

use std::io;
use std::net::SocketAddr;

use bytes::Buf as _;
use proxy_header::{Error, ParseConfig, ProxyHeader};

use super::entrance::{invalid, read_ahead};
use super::socket::Socket;

/// The largest header that is read, in bytes: version 1 has 107 at most, and version 2 may have
/// some extensions, which are not looked at.
const BYTES_MAX: usize = 4096;

const CONFIG: ParseConfig = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };

/// What was said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Said {
    /// Nothing: the connection has ended.
    Nothing,
    /// The load balancer speaks for itself, or does not know the address.
    Own,
    /// The connection is passed on for a caller at this address.
    For(SocketAddr),
}

/// Reads the header, which must be there; what comes after it stays to be read.
pub(super) async fn read_header(socket: &mut Socket) -> io::Result<Said> {
    loop {
        match parse(socket.ahead())? {
            Some((said, length)) => {
                let mut ahead = socket.take_ahead();
                ahead.advance(length);
                socket.give_back(ahead);
                return Ok(said);
            }
            None if socket.ahead().len() >= BYTES_MAX => {
                return Err(invalid("the header of the PROXY protocol is too long"));
            }
            None => {}
        }
        if !read_ahead(socket).await? {
            return match socket.ahead() {
                [] => Ok(Said::Nothing),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}

/// What was said, and the length of the header that says it; nothing while it is not whole.
fn parse(bytes: &[u8]) -> io::Result<Option<(Said, usize)>> {
    match ProxyHeader::parse(bytes, CONFIG) {
        Ok((header, length)) => {
            let said = header.proxied_address().map_or(Said::Own, |said| Said::For(said.source));
            Ok(Some((said, length)))
        }
        Err(Error::BufferTooShort) => Ok(None),
        Err(_) => Err(invalid("the connection does not begin with a PROXY protocol header")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x1f\x90\0\x50";

    #[track_caller]
    fn check(header: &[u8], expected: Said) {
        for length in 0..header.len() {
            assert!(parse(&header[..length]).unwrap().is_none(), "{length}");
        }
        let more = [header, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(&more).unwrap(), Some((expected, header.len())));
    }

    #[test]
    fn both_versions_are_read() {
        let source = Said::For("192.0.2.7:8080".parse().unwrap());
        check(b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n", source);
        check(V2, source);
        let source = Said::For("[2001:db8::1]:1".parse().unwrap());
        check(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", source);
        check(b"PROXY UNKNOWN\r\n", Said::Own);
        let local = [&V2[..12], b"\x20\0\0\0"].concat();
        check(&local, Said::Own);
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n\r\n"[..], b"POST / HTTP/1.1\r\n", b"PROXY TCP4 x y 1 2\r\n"]
        {
            assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
