//! Lines in which no text that came from elsewhere can do anything to a terminal, or begin a line
//! of its own.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Writes each event as one line without control characters.
///
/// It is given an event at a time, with the line's end.
#[derive(Debug)]
pub(super) struct Escaped<W>(pub(super) W);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = event.strip_suffix(b"\n").unwrap_or(event);
        let text = String::from_utf8_lossy(line);
        match without_controls(&text) {
            Cow::Borrowed(_) => self.0.write_all(event)?,
            Cow::Owned(escaped) => {
                self.0.write_all(&[escaped.as_bytes(), &event[line.len()..]].concat())?;
            }
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The same text with its control characters escaped, in a way that JSON has, too: some may stand
/// there as they are, such as one that begins an escape sequence by itself.
pub(super) fn without_controls(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            _ if character.is_control() => {
                // Writing to a text can't fail.
                let _ = write!(escaped, "\\u{:04x}", u32::from(character));
            }
            _ => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
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
        let event = "a\nb\r\u{1b}[31m\u{0}\t\u{7f}\u{9b}\n";
        assert_eq!(write(event), "a\\nb\\r\\u001b[31m\\u0000\\t\\u007f\\u009b\n");
        assert_eq!(write(""), "");
    }

    #[test]
    fn what_is_escaped_in_json_is_still_the_same() {
        let text = "a\u{7f}\u{9b}31m\u{1b}\n";
        let json = serde_json::to_string(text).unwrap();
        let escaped = without_controls(&json);
        assert!(!escaped.contains(char::is_control));
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
    }
}
