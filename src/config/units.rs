//! Durations and sizes with their units, such as `24h` and `8MiB`.

use std::time::Duration;

use bytesize::ByteSize;

/// The longest duration: sums of a few never overflow.
const DURATION_MAX: Duration = Duration::from_hours(3660 * 24);

/// The largest size, in bytes.
const BYTES_MAX: u64 = 1 << 40;

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
    /// It is more than anybody means.
    #[error("it may be 3660d at most")]
    TooLong,
    /// It is more than there is.
    #[error("it may be 1TiB at most")]
    TooMuch,
}

impl Bytes {
    /// The number as a length of something in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Reads a duration of at least a millisecond and at most ten years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let duration = humantime::parse_duration(text).map_err(|_| UnitError::NotDuration)?;
    match duration {
        duration if duration < Duration::from_millis(1) => Err(UnitError::Zero),
        duration if duration > DURATION_MAX => Err(UnitError::TooLong),
        duration => Ok(duration),
    }
}

/// Reads a size of at least one byte and at most a tebibyte.
pub fn parse_bytes(text: &str) -> Result<Bytes, UnitError> {
    let size: ByteSize = text.parse().map_err(|_| UnitError::NotSize)?;
    match size.as_u64() {
        0 => Err(UnitError::Zero),
        size if size > BYTES_MAX => Err(UnitError::TooMuch),
        size => Ok(Bytes(size)),
    }
}

/// Writes a duration as [`parse_duration`] reads it, in one unit. A day and a minute are written in
/// the smaller one, as people do.
pub(super) fn write_duration(duration: Duration) -> String {
    const UNITS: [(&str, u128, u128); 7] = [
        ("d", 86_400_000_000_000, 2),
        ("h", 3_600_000_000_000, 1),
        ("m", 60_000_000_000, 2),
        ("s", 1_000_000_000, 1),
        ("ms", 1_000_000, 1),
        ("us", 1000, 1),
        ("ns", 1, 0),
    ];
    in_units(duration.as_nanos(), &UNITS)
}

/// Writes a size as [`parse_bytes`] reads it, in one unit.
pub(super) fn write_bytes(bytes: Bytes) -> String {
    const UNITS: [(&str, u128, u128); 4] =
        [("GiB", 1 << 30, 1), ("MiB", 1 << 20, 1), ("KiB", 1 << 10, 1), ("B", 1, 0)];
    in_units(bytes.0.into(), &UNITS)
}

/// Writes a number in the largest unit of which it is a multiple, and at least so many.
fn in_units(number: u128, units: &[(&str, u128, u128)]) -> String {
    let fits =
        |unit: &&(&str, u128, u128)| number.is_multiple_of(unit.1) && number / unit.1 >= unit.2;
    units
        .iter()
        .find(fits)
        .map_or_else(String::new, |(name, unit, _)| format!("{}{name}", number / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_as_people_write_it_and_reads_the_same() {
        for text in ["24h", "7d", "2d", "1h", "90m", "5m", "60s", "75s", "1s", "250ms", "1500us"] {
            assert_eq!(write_duration(parse_duration(text).unwrap()), text);
        }
        for (text, written) in [("1d", "24h"), ("1m", "60s"), ("1h 30m", "90m"), ("120s", "2m")] {
            assert_eq!(write_duration(parse_duration(text).unwrap()), written);
        }
        for text in ["8MiB", "1KiB", "256MiB", "1GiB", "1000B", "1025B"] {
            assert_eq!(write_bytes(parse_bytes(text).unwrap()), text);
        }
    }

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
        assert_eq!(parse_duration("18446744073709551615s"), Err(UnitError::TooLong));
        assert_eq!(parse_duration("3661d"), Err(UnitError::TooLong));
        assert_eq!(parse_bytes("16EiB"), Err(UnitError::TooMuch));
        assert_eq!(parse_bytes("1025GiB"), Err(UnitError::TooMuch));
    }
}
