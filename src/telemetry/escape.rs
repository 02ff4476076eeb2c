//! Lines for people, in which no text that came from elsewhere can do anything to a terminal, or
//! begin a line of its own.

use std::io::{self, Write};

/// Writes each event as one line without control characters.
///
/// It is given an event at a time, with the line's end.
#[derive(Debug)]
pub(super) struct Escaped<W>(pub(super) W);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = event.strip_suffix(b"\n").unwrap_or(event);
        if !line.iter().any(u8::is_ascii_control) {
            self.0.write_all(event)?;
            return Ok(event.len());
        }
        let mut escaped = Vec::with_capacity(event.len() + 16);
        for byte in line {
            match byte.is_ascii_control() {
                true => escaped.extend(byte.escape_ascii()),
                false => escaped.push(*byte),
            }
        }
        escaped.extend_from_slice(&event[line.len()..]);
        self.0.write_all(&escaped)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let write = |event: &str| {
            let mut written = Escaped(Vec::new());
            written.write_all(event.as_bytes()).unwrap();
            String::from_utf8(written.0).unwrap()
        };
        assert_eq!(write("plain é\n"), "plain é\n");
        assert_eq!(write("a\nb\r\u{1b}[31m\u{0}\t\u{7f}\n"), "a\\nb\\r\\x1b[31m\\x00\\t\\x7f\n");
        assert_eq!(write(""), "");
    }
}
