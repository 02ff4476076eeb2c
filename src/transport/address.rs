//! Where a stream can be had: a TCP port or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// What a Unix socket's address begins with.
const UNIX: &str = "unix:";

/// The longest path that the address of a Unix socket has room for, in bytes.
const PATH_BYTES_MAX: usize = 107;

/// A TCP port or a Unix socket.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket at a path.
    Unix(PathBuf),
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// It is neither.
    #[error("it is neither an address with a port nor unix:/PATH")]
    Neither,
    /// The path of a Unix socket does not begin at the root.
    #[error("the path of a Unix socket begins with /")]
    Relative,
    /// The path has no room in the address of a Unix socket.
    #[error("the path of a Unix socket may have {PATH_BYTES_MAX} bytes at most")]
    TooLong,
}

impl Address {
    /// Reads the path of a Unix socket.
    pub fn unix(path: &str) -> Result<Self, AddressError> {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(AddressError::Relative);
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        Ok(Self::Unix(path.into()))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix(UNIX) {
            Some(path) => Self::unix(path),
            None => text.parse().map(Self::Tcp).map_err(|_| AddressError::Neither),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["0.0.0.0:8080", "[::1]:1", "unix:/run/app.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, error) in [
            ("localhost:80", AddressError::Neither),
            ("/run/app.sock", AddressError::Neither),
            ("unix:app.sock", AddressError::Relative),
            ("unix:", AddressError::Relative),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
        let long = format!("unix:/{}", "a".repeat(107));
        assert_eq!(long.parse::<Address>(), Err(AddressError::TooLong));
    }
}
