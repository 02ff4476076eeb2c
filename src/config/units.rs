//! Durations and sizes with their units, such as `24h` and `8MiB`.

use std::time::Duration;

use bytesize::ByteSize;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bytes(pub u64);

/// Why a text is not a number with a unit.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnitError {
    /// It is not a duration.
    #[error("it is not a duration such as \"24h\", \"5m\", \"60s\" or \"250ms\"")]
    NotDuration,
    /// It is not a size.
    #[error("it is not a size such as \"8MiB\", \"512KiB\" or \"1000000B\"")]
    NotSize,
    /// It is nothing.
    #[error("it must be more than 0")]
    Zero,
}

impl Bytes {
    /// The number as a length of something in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Reads a duration of at least a millisecond.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let duration = humantime::parse_duration(text).map_err(|_| UnitError::NotDuration)?;
    if duration < Duration::from_millis(1) { Err(UnitError::Zero) } else { Ok(duration) }
}

/// Reads a size of at least one byte.
pub fn parse_bytes(text: &str) -> Result<Bytes, UnitError> {
    let size: ByteSize = text.parse().map_err(|_| UnitError::NotSize)?;
    if size.as_u64() == 0 { Err(UnitError::Zero) } else { Ok(Bytes(size.as_u64())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_their_units() {
        assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_bytes("8MiB"), Ok(Bytes(8 << 20)));
        assert_eq!(parse_bytes("1KiB"), Ok(Bytes(1024)));
        assert_eq!(parse_bytes("100"), Ok(Bytes(100)));
    }

    #[test]
    fn what_has_no_unit_or_says_nothing_is_refused() {
        for text in ["", "24", "h", "-1s", "1 fortnight", "0"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(parse_duration("0s"), Err(UnitError::Zero));
        for text in ["", "MiB", "-1", "8XiB"] {
            assert_eq!(parse_bytes(text), Err(UnitError::NotSize), "{text}");
        }
        assert_eq!(parse_bytes("0"), Err(UnitError::Zero));
    }
}
