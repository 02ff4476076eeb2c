//! Strings of structured fields: exactly those of RFC 9651 are read, and the reason for which
//! another value is refused is the true one.

use std::borrow::Cow;

use oncegate::message::{StringError, parse_string};

/// Takes the input first as a field value, then as what a string is to quote.
pub fn run(data: &[u8]) {
    match parse_string(data) {
        Ok(text) => {
            accepted(data, &text);
            assert_eq!(matches!(text, Cow::Borrowed(_)), !data.contains(&b'\\'));
        }
        Err(error) => refused(data, error),
    }
    quoted(data);
}

/// There is one way to write a string, so writing it again must give the same bytes.
fn accepted(value: &[u8], text: &[u8]) {
    assert!(text.iter().all(|byte| is_printable(*byte)));
    assert_eq!(quote(text), value);
}

fn refused(value: &[u8], error: StringError) {
    assert!(!is_string(value));
    assert_eq!(error == StringError::NotQuoted, value.first() != Some(&b'"'));
    let longer = |end: &[u8]| parse_string(&[value, end].concat()).map(Cow::into_owned);
    match error {
        // Only the end is missing, perhaps with the second half of an escape.
        StringError::NotClosed => assert!(longer(b"\"").is_ok() || longer(b"\"\"").is_ok()),
        StringError::Trailing => {
            assert!((0..value.len()).any(|end| parse_string(&value[..end]).is_ok()));
        }
        // No end would mend these.
        StringError::NotQuoted | StringError::BadEscape | StringError::BadCharacter => {
            let empty = value.is_empty();
            assert!(empty || longer(b"\"") == Err(error), "{error}");
            assert!(empty || longer(b"a\"") == Err(error), "{error}");
        }
    }
}

/// What is printable can be quoted and read back, and nothing else can.
fn quoted(text: &[u8]) {
    let value = quote(text);
    let parsed = parse_string(&value);
    if text.iter().all(|byte| is_printable(*byte)) {
        assert_eq!(parsed.as_deref(), Ok(text));
        let trailing = [&value, &b"x"[..]].concat();
        assert_eq!(parse_string(&trailing), Err(StringError::Trailing));
    } else {
        assert_eq!(parsed, Err(StringError::BadCharacter));
    }
}

/// Whether the value is what quoting gives for the only text that it could stand for.
fn is_string(value: &[u8]) -> bool {
    let Some(inner) = value.get(1..value.len().saturating_sub(1)) else { return false };
    let mut text = Vec::new();
    let mut rest = inner;
    while let [first, second, ..] = rest {
        let escaped = *first == b'\\';
        text.push(if escaped { *second } else { *first });
        rest = &rest[1 + usize::from(escaped)..];
    }
    text.extend_from_slice(rest);
    text.iter().all(|byte| is_printable(*byte)) && quote(&text) == value
}

fn quote(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    quoted
}

fn is_printable(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}
