//! Reads the header lines of an input that is written like a message, so that its seeds can be
//! read and edited.

use http::{HeaderName, HeaderValue};

/// The lines that are fields; others say nothing.
pub fn fields(text: &[u8]) -> impl Iterator<Item = (&[u8], HeaderName, HeaderValue)> {
    text.split(|byte| *byte == b'\n').filter_map(field)
}

/// A field: its name as it is spelled, its name, and its value.
pub fn field(line: &[u8]) -> Option<(&[u8], HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (spelled, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    Some((spelled, HeaderName::from_bytes(spelled).ok()?, HeaderValue::from_bytes(value).ok()?))
}
