//! Reads HTTP/1.1 as it is written by those who take no liberties: whatever could be read in
//! another way as well is an error.

/// The start line and the header lines of a message.
#[derive(Clone, Debug)]
pub struct Head {
    pub start: String,
    pub lines: Vec<(String, Vec<u8>)>,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    Length(usize),
    Chunked,
    /// No field says so.
    Unsaid,
}

/// What was read and how many bytes it took; nothing as long as it has not come whole.
pub type Read<T> = Result<Option<(T, usize)>, String>;

impl Head {
    /// All values of a field, in their order.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.lines.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    }

    /// How many fields say where the body ends.
    pub fn framings(&self) -> (usize, usize) {
        (self.all("content-length").len(), self.all("transfer-encoding").len())
    }

    /// Where the body ends: said at most once.
    pub fn framing(&self) -> Result<Framing, String> {
        match (&self.all("content-length")[..], &self.all("transfer-encoding")[..]) {
            ([], []) => Ok(Framing::Unsaid),
            ([length], []) => match (canonical(length), length) {
                (Some(length), _) => Ok(Framing::Length(length)),
                (None, length) => Err(format!("the length is {}", length.escape_ascii())),
            },
            ([], [b"chunked"]) => Ok(Framing::Chunked),
            _ => Err(format!("it is framed several times, or in another coding: {self:?}")),
        }
    }
}

/// A number as it is written, with no other way to write it.
fn canonical(digits: &[u8]) -> Option<usize> {
    let number: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == digits).then_some(number)
}

/// Reads a head.
pub fn head(bytes: &[u8]) -> Read<Head> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let text = &bytes[..end];
    if text.iter().enumerate().any(|(at, byte)| match byte {
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || text[at - 1] != b'\r',
        _ => false,
    }) {
        return Err(format!("a line end alone: {}", text.escape_ascii()));
    }
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut next = || lines.next().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let start = next().unwrap_or_default();
    if !start.iter().all(|byte| matches!(byte, b' '..=b'~' | 0x80..)) {
        return Err(format!("a start line with {}", start.escape_ascii()));
    }
    let start = String::from_utf8_lossy(start).into_owned();
    let mut fields = Vec::new();
    while let Some(line) = next() {
        fields.push(field(line)?);
    }
    Ok(Some((Head { start, lines: fields }, end + 4)))
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), String> {
    let malformed = || format!("a field line {}", line.escape_ascii());
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(malformed)?;
    let (name, value) = line.split_at(colon);
    let value = value.strip_prefix(b": ").or_else(|| value.strip_prefix(b":"));
    let value = value.ok_or_else(malformed)?;
    let visible = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
    if !is_token(name) || !visible || value.trim_ascii() != value {
        return Err(malformed());
    }
    Ok((String::from_utf8_lossy(name).into_owned(), value.to_vec()))
}

/// Reads a body of this framing; one that says nothing has none.
pub fn body(bytes: &[u8], framing: Framing) -> Read<Vec<u8>> {
    match framing {
        Framing::Unsaid => Ok(Some((Vec::new(), 0))),
        Framing::Length(length) => Ok(bytes.get(..length).map(|body| (body.to_vec(), length))),
        Framing::Chunked => chunks(bytes),
    }
}

fn chunks(bytes: &[u8]) -> Read<Vec<u8>> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = &bytes[at..at + end];
        let size = chunk_size(line);
        let size = size.ok_or_else(|| format!("a chunk size {}", line.escape_ascii()))?;
        at += end + 2;
        if size == 0 {
            return trailer(&bytes[at..]).map(|read| read.map(|length| (body, at + length)));
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        let Some(chunk) = chunk.strip_suffix(b"\r\n") else {
            return Err(format!("a chunk that does not end: {}", chunk.escape_ascii()));
        };
        body.extend_from_slice(chunk);
        at += size + 2;
    }
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let is_plain = (1..=8).contains(&line.len()) && line.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(line).ok().filter(|_| is_plain)?;
    usize::from_str_radix(text, 16).ok()
}

/// The length of the lines after the last chunk.
fn trailer(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        if end == 0 {
            return Ok(Some(at + 2));
        }
        field(&bytes[at..at + end])?;
        at += end + 2;
    }
}

/// Whether these bytes are a token (RFC 9110, section 5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_part)
}

/// Where the pattern begins.
pub fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
