//! What a config file has in a place: its kind, and how it is shown in a mistake.

use toml::Spanned;
use toml::de::DeValue;

use super::mistake::{Mistake, Place};

/// The most characters of a text that a mistake shows.
const SHOWN_MAX: usize = 60;

/// The text of a file, and where its lines begin.
#[derive(Debug)]
pub struct Source<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

/// A value in a file.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The value.
    pub value: &'a Spanned<DeValue<'a>>,
    /// The file that it is in.
    pub source: &'a Source<'a>,
}

impl<'a> Source<'a> {
    /// A file with this text.
    pub fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = [0].into_iter().chain(ends.map(|(index, _)| index + 1)).collect();
        Self { text, starts }
    }

    /// The place of a byte.
    pub fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.as_bytes().get(start..offset).unwrap_or_default();
        // Counts characters by the first byte of each.
        let characters = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        Place::File { line, column: characters + 1 }
    }

    /// The number of the last line that belongs to what begins in a line: for the header of a
    /// table, all lines up to the next header.
    pub(super) fn last_line(&self, line: usize) -> usize {
        let is_header = |text: &&str| text.trim_start().starts_with('[');
        let mut lines = self.text.lines().skip(line - 1);
        match lines.next().filter(is_header) {
            Some(_) => line + lines.take_while(|text| !is_header(text)).count(),
            None => line,
        }
    }

    /// The text between two bytes.
    pub fn slice(&self, span: std::ops::Range<usize>) -> &'a str {
        self.text.get(span).unwrap_or_default()
    }
}

impl<'a> Found<'a> {
    /// Where it is.
    pub fn place(&self) -> Place {
        self.source.place(self.value.span().start)
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    /// The number, if it is an integer that is not negative.
    pub fn number(&self) -> Option<u64> {
        let integer = self.value.get_ref().as_integer()?;
        u64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    /// The elements, if it is an array.
    pub fn elements(&self) -> Option<impl Iterator<Item = Self>> {
        let source = self.source;
        let array = self.value.get_ref().as_array()?;
        Some(array.iter().map(move |value| Self { value, source }))
    }

    /// A mistake about it.
    pub fn mistake(&self, text: impl Into<String>) -> Mistake {
        Mistake::new(self.place(), "", text)
    }

    /// What it is, to be read after "found".
    pub fn shown(&self) -> String {
        match self.value.get_ref() {
            DeValue::String(text) => format!("{} (a string)", quoted(text)),
            DeValue::Integer(number) => format!("{} (an integer)", cut(&number.to_string())),
            DeValue::Float(number) => format!("{} (a float)", cut(number.as_str())),
            DeValue::Boolean(value) => format!("{value} (a boolean)"),
            DeValue::Datetime(_) => "a date or time".to_owned(),
            DeValue::Array(_) => "an array".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }
}

/// A text in quotation marks: on one line, not longer than a reader likes, and without the password
/// that a URL may have.
pub(super) fn quoted(text: &str) -> String {
    let credentials = text.split_once("://").and_then(|(scheme, rest)| {
        let (_, host) = rest.rsplit_once('@')?;
        Some(format!("{scheme}://…@{host}"))
    });
    format!("\"{}\"", cut(credentials.as_deref().unwrap_or(text)).escape_debug())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters() {
        let source = Source::new("a = 1\r\nä = \"é\" # b\n\nlast");
        for (offset, line, column) in [
            (0, 1, 1),
            (4, 1, 5),
            (7, 2, 1),
            (9, 2, 2),
            (12, 2, 5),
            (21, 3, 1),
            (22, 4, 1),
            (26, 4, 5),
            // Beyond the end.
            (27, 4, 5),
        ] {
            assert_eq!(source.place(offset), Place::File { line, column }, "{offset}");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_on_one_line() {
        assert_eq!(quoted("a\n\"b\""), r#""a\n\"b\"""#);
        assert_eq!(quoted(&"é".repeat(61)), format!("\"{}…\"", "é".repeat(60)));
        assert_eq!(quoted("redis://a:b@c@host:1"), "\"redis://…@host:1\"");
    }
}
