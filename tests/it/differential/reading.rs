//! What bytes on a connection mean by RFC 9112: the requests that a caller has made, and no other.
//!
//! It takes the liberties that the RFC allows, and where something has two meanings, none.

use super::strict::{find, is_token};

/// A request that the caller has made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Meant {
    pub method: String,
    /// As it goes on: in origin form, or `*`; empty if it cannot go on.
    pub target: String,
    pub body: Vec<u8>,
}

impl Meant {
    /// The path of the target.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// What follows a request on its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum After {
    More,
    Nothing,
}

type Lines = Vec<(String, Vec<u8>)>;

/// All whole requests, up to the first thing that is none.
pub fn meant(bytes: &[u8]) -> Vec<Meant> {
    let mut unread = Unread(bytes);
    let mut requests = Vec::new();
    while let Some((request, after)) = unread.request() {
        requests.push(request);
        if after == After::Nothing {
            break;
        }
    }
    requests
}

struct Unread<'a>(&'a [u8]);

impl<'a> Unread<'a> {
    fn request(&mut self) -> Option<(Meant, After)> {
        // Empty lines before a request are none (RFC 9112, section 2.2).
        let start = loop {
            let line = self.line()?;
            if !line.is_empty() {
                break line;
            }
        };
        let words: Vec<_> = start.split(|byte| *byte == b' ').collect();
        let [method, target, version] = words[..] else { return None };
        let is_old = version == b"HTTP/1.0";
        if !is_token(method) || !(is_old || version == b"HTTP/1.1") {
            return None;
        }
        let lines = self.lines()?;
        let (body, is_last) = self.body(&lines, is_old)?;
        let says = |option: &str| has(&lines, "connection", option);
        let is_kept = if is_old { says("keep-alive") } else { true };
        let after =
            if is_kept && !says("close") && !is_last { After::More } else { After::Nothing };
        let method = String::from_utf8(method.to_vec()).ok()?;
        let target = origin_form(target).unwrap_or_default();
        Some((Meant { method, target, body }, after))
    }

    /// Reads a line; one that ends by a line feed alone is a line, too (section 2.2).
    fn line(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let line = &self.0[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.0 = &self.0[end + 1..];
        (!line.contains(&b'\r')).then_some(line)
    }

    /// Reads a line that may only end in the one way.
    fn exact_line(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let line = self.0[..end].strip_suffix(b"\r")?;
        self.0 = &self.0[end + 1..];
        (!line.contains(&b'\r')).then_some(line)
    }

    fn lines(&mut self) -> Option<Lines> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(lines);
            }
            lines.push(field(line)?);
        }
    }

    /// Reads the body, and says whether it is the last of its connection: where two fields say
    /// where it ends, somebody may have read it in another way (section 6.3).
    fn body(&mut self, lines: &Lines, is_old: bool) -> Option<(Vec<u8>, bool)> {
        let lengths = named(lines, "content-length");
        let codings = named(lines, "transfer-encoding");
        match (&codings[..], &lengths[..]) {
            ([], []) => Some((Vec::new(), false)),
            ([], [length, others @ ..]) => {
                let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
                let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
                let is_one = is_number && others.iter().all(|other| number(other) == Some(length));
                Some((self.take(length).filter(|_| is_one)?.to_vec(), false))
            }
            ([coding], lengths) if coding.eq_ignore_ascii_case(b"chunked") && !is_old => {
                Some((self.chunks()?, !lengths.is_empty()))
            }
            _ => None,
        }
    }

    /// Reads a trailer section, to its first empty line in the usual form. Its fields may end in
    /// another form before, and what follows them there is nothing: it is lost, never a request.
    fn trailer(&mut self) -> Option<()> {
        if let Some(rest) = self.0.strip_prefix(b"\r\n") {
            self.0 = rest;
            return Some(());
        }
        let end = find(self.0, b"\r\n\r\n")? + 4;
        let (section, rest) = self.0.split_at(end);
        self.0 = rest;
        let mut returns = section.windows(2).filter(|two| two[0] == b'\r');
        let is_usual = !section.starts_with(b"\r") && returns.all(|two| two[1] == b'\n');
        Unread(section).lines().filter(|_| is_usual).map(drop)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.0.get(..length)?;
        self.0 = &self.0[length..];
        Some(taken)
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.exact_line()?;
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let (size, extension) = line.split_at(digits);
            let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
            if !matches!(trimmed(extension), [] | [b';', ..]) {
                return None;
            }
            if size == 0 {
                return self.trailer().map(|()| body);
            }
            body.extend_from_slice(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return None;
            }
        }
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|_| is_number)
}

/// Without the white space at both ends, which is none but these two.
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A field line: neither a continued one, nor one with white space before its colon.
fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    let value = trimmed(&value[1..]);
    let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
    let name = String::from_utf8(name.to_ascii_lowercase()).ok()?;
    (is_token(name.as_bytes()) && is_text).then(|| (name, value.to_vec()))
}

/// All values of a field.
fn named<'a>(lines: &'a Lines, name: &str) -> Vec<&'a [u8]> {
    lines.iter().filter(|line| line.0 == name).map(|line| &line.1[..]).collect()
}

fn has(lines: &Lines, name: &str, option: &str) -> bool {
    // What is not text is no list of options.
    let values = named(lines, name).into_iter().filter(|value| value.is_ascii());
    let mut options = values.flat_map(|value| value.split(|byte| *byte == b','));
    options.any(|other| trimmed(other).eq_ignore_ascii_case(option.as_bytes()))
}

/// The target without scheme, host and fragment.
fn origin_form(target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok()?;
    let target = target.split('#').next().unwrap_or_default();
    if target.starts_with('/') || target == "*" {
        return Some(target.to_owned());
    }
    let (_, rest) = target.split_once("://")?;
    let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
    Some(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}
