//! Content codings (RFC 9110, section 8.4): what a compressed body says, within a limit.

use std::io::{self, Read};

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::{HeaderMap, header};

/// How the content of a message is coded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Coding {
    /// As it is.
    Identity,
    /// `gzip` (RFC 1952).
    Gzip,
    /// `deflate`: the zlib format (RFC 1950), or the bare one that some senders mean by it.
    Deflate,
    /// One that is not decoded here, or several over one another.
    Other,
}

/// Why content is not decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Undecodable {
    /// It is not what its coding makes, or that coding is not known here.
    Malformed,
    /// It would be larger than allowed.
    TooLarge,
}

impl Coding {
    /// The coding that a message's fields declare.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(line) = lines.next() else { return Self::Identity };
        if lines.next().is_some() {
            return Self::Other;
        }
        let name = line.as_bytes().trim_ascii();
        let is = |coding: &str| name.eq_ignore_ascii_case(coding.as_bytes());
        match () {
            () if name.is_empty() || is("identity") => Self::Identity,
            () if is("gzip") || is("x-gzip") => Self::Gzip,
            () if is("deflate") => Self::Deflate,
            () => Self::Other,
        }
    }

    /// Decodes `content` and gives it to `sink` piece by piece; what is decoded may have at most
    /// `bytes_max` bytes.
    ///
    /// When it fails, `sink` may have been given a beginning: whoever uses it must start afresh.
    pub fn decode(
        self,
        content: &[u8],
        bytes_max: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Undecodable> {
        match self {
            Self::Identity => {
                sink(content);
                Ok(())
            }
            Self::Gzip => {
                let mut decoder = GzDecoder::new(content);
                drain(&mut decoder, bytes_max, sink)?;
                end(decoder.into_inner())
            }
            Self::Deflate if is_zlib(content) => {
                let mut decoder = ZlibDecoder::new(content);
                drain(&mut decoder, bytes_max, sink)?;
                end(decoder.into_inner())
            }
            Self::Deflate => {
                let mut decoder = DeflateDecoder::new(content);
                drain(&mut decoder, bytes_max, sink)?;
                end(decoder.into_inner())
            }
            Self::Other => Err(Undecodable::Malformed),
        }
    }
}

/// The first two bytes of the zlib format check each other (RFC 1950, section 2.2).
fn is_zlib(content: &[u8]) -> bool {
    match content {
        [first, second, ..] => {
            first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31)
        }
        _ => false,
    }
}

/// Nothing may follow the compressed data: it would not be part of what is hashed. A second
/// member of a gzip file (RFC 1952, section 2.2) is not followed, since a body could have
/// hundreds of thousands of them, each of which says nothing and costs time.
fn end(rest: &[u8]) -> Result<(), Undecodable> {
    if rest.is_empty() { Ok(()) } else { Err(Undecodable::Malformed) }
}

fn drain(
    mut decoder: impl Read,
    bytes_max: usize,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Undecodable> {
    let mut piece = vec![0; 16 * 1024];
    let mut left = bytes_max;
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                left = left.checked_sub(read).ok_or(Undecodable::TooLarge)?;
                sink(&piece[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Undecodable::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use flate2::{Compression, GzBuilder};

    use super::*;

    fn decode(coding: Coding, content: &[u8], bytes_max: usize) -> Result<Vec<u8>, Undecodable> {
        let mut decoded = Vec::new();
        coding.decode(content, bytes_max, &mut |piece| decoded.extend_from_slice(piece))?;
        Ok(decoded)
    }

    fn gzip(content: &[u8], mtime: u32) -> Vec<u8> {
        let mut encoder: GzEncoder<Vec<u8>> =
            GzBuilder::new().mtime(mtime).write(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_same_content_is_decoded_however_it_was_packed() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"hello").unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(b"hello").unwrap();
        let zlib = zlib.finish().unwrap();
        let bare = bare.finish().unwrap();
        let expected = Ok(b"hello".to_vec());
        assert_ne!(gzip(b"hello", 1), gzip(b"hello", 2));
        assert_eq!(decode(Coding::Gzip, &gzip(b"hello", 1), 5), expected);
        assert_eq!(decode(Coding::Gzip, &gzip(b"hello", 2), 5), expected);
        assert_eq!(decode(Coding::Deflate, &zlib, 5), expected);
        assert_eq!(decode(Coding::Deflate, &bare, 5), expected);
        assert_eq!(decode(Coding::Identity, b"hello", 0), expected);
    }

    #[test]
    fn bombs_cuts_and_additions_are_undecodable() {
        let bomb = gzip(&vec![0; 1 << 20], 0);
        assert!(bomb.len() < 8 * 1024);
        assert_eq!(decode(Coding::Gzip, &bomb, (1 << 20) - 1), Err(Undecodable::TooLarge));
        let whole = gzip(b"hello", 0);
        assert_eq!(
            decode(Coding::Gzip, &whole[..whole.len() - 1], 100),
            Err(Undecodable::Malformed)
        );
        for more in [&b"x"[..], &whole] {
            let added = [whole.as_slice(), more].concat();
            assert_eq!(decode(Coding::Gzip, &added, 100), Err(Undecodable::Malformed));
        }
        assert_eq!(decode(Coding::Deflate, b"hello", 100), Err(Undecodable::Malformed));
        assert_eq!(decode(Coding::Other, b"hello", 100), Err(Undecodable::Malformed));
    }

    #[test]
    fn codings_are_known_by_their_names() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            Coding::of(&headers)
        };
        assert_eq!(of(&[]), Coding::Identity);
        assert_eq!(of(&["GZIP"]), Coding::Gzip);
        assert_eq!(of(&[" x-gzip "]), Coding::Gzip);
        assert_eq!(of(&["deflate"]), Coding::Deflate);
        assert_eq!(of(&["gzip, gzip"]), Coding::Other);
        assert_eq!(of(&["gzip", "gzip"]), Coding::Other);
        assert_eq!(of(&["br"]), Coding::Other);
    }
}
