//! Strings of structured fields (RFC 9651, section 3.3.3).

use std::borrow::Cow;

/// Why bytes are not a structured-field string.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StringError {
    /// The string does not begin with a quotation mark.
    #[error("a quoted string begins with a quotation mark")]
    NotQuoted,
    /// The string does not end with a quotation mark.
    #[error("the closing quotation mark is missing")]
    NotClosed,
    /// Something follows the closing quotation mark.
    #[error("something follows the closing quotation mark")]
    Trailing,
    /// A backslash stands before something other than a backslash or a quotation mark.
    #[error("a backslash may stand only before a backslash or a quotation mark")]
    BadEscape,
    /// The string holds a control character or one outside ASCII.
    #[error("only printable ASCII characters may stand in a quoted string")]
    BadCharacter,
}

/// Reads a whole field value as one structured-field string, and returns what it quotes.
///
/// Parameters are not accepted: nothing that this proxy reads has any.
pub fn parse_string(value: &[u8]) -> Result<Cow<'_, [u8]>, StringError> {
    let quoted = value.strip_prefix(b"\"").ok_or(StringError::NotQuoted)?;
    let plain = quoted.iter().position(|byte| !is_plain(*byte)).unwrap_or(quoted.len());
    if quoted.get(plain) == Some(&b'"') {
        return match quoted.len() - plain {
            1 => Ok(Cow::Borrowed(&quoted[..plain])),
            _ => Err(StringError::Trailing),
        };
    }
    unescape(quoted).map(Cow::Owned)
}

fn unescape(quoted: &[u8]) -> Result<Vec<u8>, StringError> {
    let mut unescaped = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'"' if rest.as_slice().is_empty() => return Ok(unescaped),
            b'"' => return Err(StringError::Trailing),
            b'\\' => match rest.next() {
                Some(&escaped @ (b'"' | b'\\')) => unescaped.push(escaped),
                Some(_) => return Err(StringError::BadEscape),
                None => return Err(StringError::NotClosed),
            },
            byte if is_plain(byte) => unescaped.push(byte),
            _ => return Err(StringError::BadCharacter),
        }
    }
    Err(StringError::NotClosed)
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Result<&str, StringError>) {
        let parsed = parse_string(value.as_bytes());
        assert_eq!(parsed.as_deref().map_err(|error| *error), expected.map(str::as_bytes));
    }

    #[test]
    fn strings_are_read_and_unescaped() {
        check(r#""""#, Ok(""));
        check(r#""a b""#, Ok("a b"));
        check(r#""a\"b\\c""#, Ok(r#"a"b\c"#));
    }

    #[test]
    fn what_is_no_string_is_refused_with_its_reason() {
        check("", Err(StringError::NotQuoted));
        check("a", Err(StringError::NotQuoted));
        check(r#"""#, Err(StringError::NotClosed));
        check(r#""a"#, Err(StringError::NotClosed));
        check(r#""a\"#, Err(StringError::NotClosed));
        check(r#""a\n""#, Err(StringError::BadEscape));
        check(r#""a";q=1"#, Err(StringError::Trailing));
        check(r#""a\\""b""#, Err(StringError::Trailing));
        check("\"a\tb\"", Err(StringError::BadCharacter));
        check("\"ä\"", Err(StringError::BadCharacter));
    }
}
