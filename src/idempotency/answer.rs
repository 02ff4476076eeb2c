//! A kept answer: its status, its header and trailer lines as bytes, and its body, in one piece of
//! memory.

use bytes::Bytes;

/// An answer as it came from the upstream, without what belonged to its connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// status (2) · number of header lines · number of trailer lines · for each line its name's
    /// and its value's length · all names and values · body. Numbers after the status have seven
    /// bits a byte, low ones first.
    encoded: Bytes,
    status: u16,
    lines: u32,
    trailers: u32,
    lengths_at: u32,
    text_at: u32,
    body_at: u32,
}

/// One header or trailer line of an [`Answer`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line<'a> {
    /// The field's name, in lower case.
    pub name: &'a [u8],
    /// The field's value.
    pub value: Bytes,
}

/// Puts an [`Answer`] together.
#[derive(Debug)]
pub struct AnswerBuilder {
    status: u16,
    lines: Lines,
    trailers: Lines,
}

/// Lines that are put together.
#[derive(Debug, Default)]
struct Lines {
    count: u32,
    lengths: Vec<u8>,
    text: Vec<u8>,
}

/// The bytes are not an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed;

impl Lines {
    fn push(&mut self, name: &[u8], value: &[u8]) {
        push_number(&mut self.lengths, name.len());
        push_number(&mut self.lengths, value.len());
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.count += 1;
    }
}

impl AnswerBuilder {
    /// Begins with the status.
    pub fn new(status: u16) -> Self {
        let (lengths, text) = (Vec::with_capacity(32), Vec::with_capacity(256));
        Self { status, lines: Lines { count: 0, lengths, text }, trailers: Lines::default() }
    }

    /// Adds a header line.
    pub fn line(&mut self, name: &[u8], value: &[u8]) {
        self.lines.push(name, value);
    }

    /// Adds a trailer line.
    pub fn trailer(&mut self, name: &[u8], value: &[u8]) {
        self.trailers.push(name, value);
    }

    /// Ends with the body.
    pub fn finish(self, body: &[u8]) -> Answer {
        let Self { status, lines, trailers } = self;
        let length = |lines: &Lines| 5 + lines.lengths.len() + lines.text.len();
        let header = 2 + length(&lines) + length(&trailers);
        let mut encoded = Vec::with_capacity(header + body.len());
        encoded.extend_from_slice(&status.to_be_bytes());
        push_number(&mut encoded, lines.count as usize);
        push_number(&mut encoded, trailers.count as usize);
        let lengths_at = encoded.len();
        encoded.extend_from_slice(&lines.lengths);
        encoded.extend_from_slice(&trailers.lengths);
        let text_at = encoded.len();
        encoded.extend_from_slice(&lines.text);
        encoded.extend_from_slice(&trailers.text);
        let body_at = encoded.len();
        encoded.extend_from_slice(body);
        Answer {
            status,
            lines: lines.count,
            trailers: trailers.count,
            lengths_at: narrow(lengths_at),
            text_at: narrow(text_at),
            body_at: narrow(body_at),
            encoded: encoded.into(),
        }
    }
}

impl Answer {
    /// The status.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The body; it shares the answer's memory.
    pub fn body(&self) -> Bytes {
        self.encoded.slice(self.body_at as usize..)
    }

    /// The length of the body, in bytes.
    pub fn body_length(&self) -> usize {
        self.encoded.len() - self.body_at as usize
    }

    /// The header lines, in their order; they share the answer's memory.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = Line<'_>> + '_ {
        self.pieces(self.lengths(), self.text_at as usize, self.lines)
    }

    /// The trailer lines, in their order; they share the answer's memory.
    pub fn trailers(&self) -> impl ExactSizeIterator<Item = Line<'_>> + '_ {
        let mut lengths = self.lengths();
        let skipped = if self.trailers == 0 { 0 } else { u64::from(self.lines) * 2 };
        let text: usize = (0..skipped).filter_map(|_| take_number(&mut lengths)).sum();
        self.pieces(lengths, self.text_at as usize + text, self.trailers)
    }

    /// Whether there are trailer lines.
    pub const fn has_trailers(&self) -> bool {
        self.trailers > 0
    }

    fn lengths(&self) -> &[u8] {
        &self.encoded[self.lengths_at as usize..self.text_at as usize]
    }

    /// So many lines whose text begins there.
    fn pieces<'a>(
        &'a self,
        mut lengths: &'a [u8],
        mut at: usize,
        count: u32,
    ) -> impl ExactSizeIterator<Item = Line<'a>> + 'a {
        // The lengths were checked when the answer was built or read.
        let mut next = move || {
            let begin = at;
            at += take_number(&mut lengths).unwrap_or(0);
            begin..at
        };
        (0..count as usize)
            .map(move |_| Line { name: &self.encoded[next()], value: self.encoded.slice(next()) })
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    pub(super) fn decode(encoded: Bytes) -> Result<Self, Malformed> {
        let (status, mut rest) = encoded.split_first_chunk::<2>().ok_or(Malformed)?;
        let status = u16::from_be_bytes(*status);
        let mut count = || u32::try_from(take_number(&mut rest)?).ok();
        let lines = count().ok_or(Malformed)?;
        let trailers = count().ok_or(Malformed)?;
        let lengths_at = encoded.len() - rest.len();
        let mut text = 0_usize;
        for _ in 0..(u64::from(lines) + u64::from(trailers)) * 2 {
            text = text.checked_add(take_number(&mut rest).ok_or(Malformed)?).ok_or(Malformed)?;
        }
        let text_at = encoded.len() - rest.len();
        if text > rest.len() || u32::try_from(encoded.len()).is_err() {
            return Err(Malformed);
        }
        Ok(Self {
            status,
            lines,
            trailers,
            lengths_at: narrow(lengths_at),
            text_at: narrow(text_at),
            body_at: narrow(text_at + text),
            encoded,
        })
    }
}

/// Offsets lie within the header, which is far below four gigabytes.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

fn push_number(into: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            return into.push(low);
        }
        into.push(low | 0x80);
    }
}

fn take_number(from: &mut &[u8]) -> Option<usize> {
    let mut number = 0_usize;
    for shift in (0..28).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let mut builder = AnswerBuilder::new(201);
        builder.line(b"set-cookie", b"a=1");
        builder.line(b"set-cookie", b"b=2");
        builder.line(b"x-bytes", b"\xff\xfe");
        builder.line(b"x-long", &[b'x'; 300]);
        builder.line(b"x-empty", b"");
        builder.trailer(b"grpc-status", b"0");
        builder.trailer(b"x-bytes", b"\xff");
        builder.finish(b"hello")
    }

    #[test]
    fn an_answer_is_read_as_it_was_put_together() {
        let answer = answer();
        let lines: Vec<_> = answer.lines().map(|line| (line.name, line.value)).collect();
        let trailers: Vec<_> = answer.trailers().map(|line| (line.name, line.value)).collect();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.body(), "hello");
        assert_eq!(answer.body_length(), 5);
        assert_eq!(lines[1], (&b"set-cookie"[..], Bytes::from("b=2")));
        assert_eq!(lines[2].1, Bytes::from_static(b"\xff\xfe"));
        assert_eq!(lines[3].1.len(), 300);
        assert_eq!(lines[4..], [(&b"x-empty"[..], Bytes::new())]);
        assert!(answer.has_trailers());
        assert_eq!(trailers[0], (&b"grpc-status"[..], Bytes::from("0")));
        assert_eq!(trailers[1..], [(&b"x-bytes"[..], Bytes::from_static(b"\xff"))]);
        assert_eq!(Answer::decode(Bytes::copy_from_slice(answer.encoded())), Ok(answer));
    }

    #[test]
    fn a_cut_header_is_malformed() {
        let answer = answer();
        for length in 0..answer.encoded().len() - 5 {
            let cut = Bytes::copy_from_slice(&answer.encoded()[..length]);
            assert_eq!(Answer::decode(cut), Err(Malformed), "{length}");
        }
    }

    #[test]
    fn trailers_alone_are_no_header_lines() {
        let mut builder = AnswerBuilder::new(200);
        builder.trailer(b"grpc-status", b"5");
        let answer = builder.finish(b"");
        assert_eq!(answer.lines().len(), 0);
        assert_eq!(answer.trailers().next().map(|line| line.value), Some(Bytes::from("5")));
        assert_eq!(Answer::decode(Bytes::copy_from_slice(answer.encoded())), Ok(answer));
    }

    #[test]
    fn an_answer_without_lines_or_body_is_one() {
        let empty = AnswerBuilder::new(204).finish(b"");
        assert_eq!((empty.lines().len(), empty.trailers().len()), (0, 0));
        assert!(!empty.has_trailers());
        assert_eq!(empty.body(), Bytes::new());
        assert_eq!(Answer::decode(Bytes::copy_from_slice(empty.encoded())), Ok(empty));
    }
}
