//! Content codings: what was packed is unpacked, never more than allowed, and never when a byte
//! is missing or too many.

use std::io::Write;

use flate2::write::{DeflateEncoder, ZlibEncoder};
use flate2::{Compression, GzBuilder};
use http::{HeaderMap, HeaderValue, header};
use oncegate::message::{Coding, Undecodable};

/// What the inputs may grow to; far more than most of them do.
const BYTES_MAX: usize = 1 << 18;

/// Takes the input first as coded content, then as content to be coded, then as the name of a
/// coding.
pub fn run(data: &[u8]) {
    for coding in [Coding::Gzip, Coding::Deflate] {
        match decode(coding, data, BYTES_MAX) {
            Ok(content) => decoded(coding, data, &content),
            Err(_) => assert!(decode(coding, data, 64).is_err()),
        }
    }
    assert_eq!(decode(Coding::Identity, data, data.len()).as_deref(), Ok(data));
    assert_eq!(decode(Coding::Other, data, BYTES_MAX), Err(Undecodable::Malformed));
    coded(data);
    named(data);
}

/// Decodes, and sees to it that never more than `bytes_max` bytes are handed on.
fn decode(coding: Coding, data: &[u8], bytes_max: usize) -> Result<Vec<u8>, Undecodable> {
    let mut content = Vec::new();
    let result = coding.decode(data, bytes_max, &mut |piece| {
        content.extend_from_slice(piece);
        assert!(content.len() <= bytes_max);
    });
    result.map(|()| content)
}

fn decoded(coding: Coding, data: &[u8], content: &[u8]) {
    assert_eq!(decode(coding, data, content.len()).as_deref(), Ok(content));
    if let Some(less) = content.len().checked_sub(1) {
        assert_eq!(decode(coding, data, less), Err(Undecodable::TooLarge));
    }
    assert_eq!(decode(coding, &data[..data.len() - 1], BYTES_MAX), Err(Undecodable::Malformed));
    assert_eq!(decode(coding, &[data, b"\0"].concat(), BYTES_MAX), Err(Undecodable::Malformed));
    assert_eq!(decode(coding, &[data, data].concat(), BYTES_MAX), Err(Undecodable::Malformed));
}

/// However the content is packed, unpacking gives it back.
fn coded(content: &[u8]) {
    let mut gzip = GzBuilder::new().mtime(7).filename("x").write(Vec::new(), Compression::fast());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(content).unwrap();
    zlib.write_all(content).unwrap();
    bare.write_all(content).unwrap();
    let gzip = gzip.finish().unwrap();
    decoded(Coding::Gzip, &gzip, &decode(Coding::Gzip, &gzip, content.len()).unwrap());
    for packed in [zlib.finish().unwrap(), bare.finish().unwrap()] {
        assert_eq!(decode(Coding::Deflate, &packed, content.len()).as_deref(), Ok(content));
        decoded(Coding::Deflate, &packed, content);
    }
    assert_eq!(decode(Coding::Gzip, &gzip, content.len()).as_deref(), Ok(content));
}

fn named(name: &[u8]) {
    let mut headers = HeaderMap::new();
    assert_eq!(Coding::of(&headers), Coding::Identity);
    let Ok(line) = HeaderValue::from_bytes(name) else { return };
    let expected = match name.trim_ascii().to_ascii_lowercase().as_slice() {
        b"" | b"identity" => Coding::Identity,
        b"gzip" | b"x-gzip" => Coding::Gzip,
        b"deflate" => Coding::Deflate,
        _ => Coding::Other,
    };
    headers.append(header::CONTENT_ENCODING, line.clone());
    assert_eq!(Coding::of(&headers), expected);
    headers.append(header::CONTENT_ENCODING, line);
    assert_eq!(Coding::of(&headers), Coding::Other);
}
