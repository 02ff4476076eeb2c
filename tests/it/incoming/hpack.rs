//! Header compression by hand (RFC 7541): whatever a test wants to write, and all that it reads.

/// A field that is written out, and not to be remembered.
pub fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[0x00], &text(name.as_ref())[..], &text(value.as_ref())].concat()
}

/// A field that is written out, and takes a place in the dynamic table.
pub fn remembered(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[0x40], &text(name.as_ref())[..], &text(value.as_ref())].concat()
}

/// A field that is in a table.
pub fn indexed(index: usize) -> Vec<u8> {
    integer(index, 7, 0x80)
}

/// The field that was remembered last: it stands right behind the static table.
pub fn newest() -> Vec<u8> {
    indexed(STATIC.len() + 1)
}

/// These fields, each written out.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&integer(bytes.len(), 7, 0)[..], bytes].concat()
}

/// A number behind the bits of its first byte that say what it is (section 5.1).
fn integer(number: usize, prefix: u32, first: u8) -> Vec<u8> {
    let most = (1_usize << prefix) - 1;
    if number < most {
        return vec![first | u8::try_from(number).expect("a small number")];
    }
    let mut bytes = vec![first | u8::try_from(most).expect("a small number")];
    let mut rest = number - most;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("seven bits"));
    bytes
}

/// A field as it came.
pub type Line = (Vec<u8>, Vec<u8>);

/// Reads what one side has written.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The dynamic table, the newest first. Nothing is thrown out: nobody refers to it any more.
    table: Vec<Line>,
}

impl Decoder {
    /// The fields of a whole block.
    pub fn decode(&mut self, mut block: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(&first) = block.first() {
            match first {
                0x80.. => {
                    let index = number(&mut block, 7);
                    lines.push(self.line(index));
                }
                0x20..0x40 => drop(number(&mut block, 5)),
                _ => {
                    let is_remembered = first >= 0x40;
                    let index = number(&mut block, if is_remembered { 6 } else { 4 });
                    let name = match index {
                        0 => string(&mut block),
                        index => self.line(index).0,
                    };
                    let line = (name, string(&mut block));
                    if is_remembered {
                        self.table.insert(0, line.clone());
                    }
                    lines.push(line);
                }
            }
        }
        lines
    }

    fn line(&self, index: usize) -> Line {
        match STATIC.get(index - 1) {
            Some((name, value)) => (name.as_bytes().to_vec(), value.as_bytes().to_vec()),
            None => self.table[index - 1 - STATIC.len()].clone(),
        }
    }
}

fn take(block: &mut &[u8]) -> u8 {
    let (first, rest) = block.split_first().expect("a block that ends where it should");
    *block = rest;
    *first
}

fn number(block: &mut &[u8], prefix: u32) -> usize {
    let most = (1_usize << prefix) - 1;
    let mut number = usize::from(take(block)) & most;
    if number == most {
        for shift in (0..).step_by(7) {
            let byte = take(block);
            number += usize::from(byte & 127) << shift;
            if byte < 128 {
                break;
            }
        }
    }
    number
}

fn string(block: &mut &[u8]) -> Vec<u8> {
    let is_coded = block.first().is_some_and(|byte| byte & 0x80 != 0);
    let length = number(block, 7);
    let (bytes, rest) = block.split_at(length);
    *block = rest;
    if is_coded { uncoded(bytes) } else { bytes.to_vec() }
}

/// Reads Huffman codes. They are canonical: shorter ones before longer ones, and those of one
/// length in the order of what they stand for, so that their lengths say everything.
fn uncoded(bytes: &[u8]) -> Vec<u8> {
    let mut symbols: Vec<_> = (0..=255).zip(LENGTHS).collect();
    symbols.sort_by_key(|(symbol, length)| (*length, *symbol));
    let mut codes = std::collections::HashMap::new();
    let (mut code, mut before) = (0_u32, 0);
    for (symbol, length) in symbols {
        code <<= length - before;
        codes.insert((length, code), symbol);
        (code, before) = (code + 1, length);
    }
    let bits =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1)));
    let (mut code, mut length, mut text) = (0, 0, Vec::new());
    for bit in bits {
        (code, length) = (code << 1 | bit, length + 1);
        if let Some(symbol) = codes.get(&(length, code)) {
            text.push(*symbol);
            (code, length) = (0, 0);
        }
    }
    assert!(length < 8 && code == (1 << length) - 1, "what is left over is padding");
    text
}

/// How many bits the code of each byte has (appendix B).
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// What every table begins with (appendix A).
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The examples of the RFC, sections C.4.1 and C.6.1.
#[test]
fn blocks_are_read_as_they_were_written() {
    let mut decoder = Decoder::default();
    let text = |lines: &[Line]| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        lines.iter().map(|(name, value)| (text(name), text(value))).collect::<Vec<_>>()
    };
    let request = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
    let lines = text(&decoder.decode(request));
    assert_eq!(lines[3], (":authority".to_owned(), "www.example.com".to_owned()));
    let date = b"\x61\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\
                 \xa6\x2d\x1b\xff\xbe";
    let lines = text(&decoder.decode(date));
    assert_eq!(lines[0], ("date".to_owned(), "Mon, 21 Oct 2013 20:13:21 GMT".to_owned()));
    assert_eq!(lines[1], lines[0], "the newest of the dynamic table");
    let long = "x".repeat(3_000);
    let written = [literal("a", &long), remembered("b", "c"), newest(), indexed(3)].concat();
    let lines = text(&decoder.decode(&written));
    assert_eq!(lines[0], ("a".to_owned(), long));
    assert_eq!((&lines[1], &lines[3].1[..]), (&lines[2], "POST"));
}
