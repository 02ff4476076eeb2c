//! The ids of traces and of their spans.

use std::fmt;

/// The id of a trace; not all of its bytes are zero.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct TraceId([u8; 16]);

/// The id of a span; not all of its bytes are zero.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct SpanId([u8; 8]);

const DIGITS: &[u8; 16] = b"0123456789abcdef";

macro_rules! id {
    ($id:ident, $length:literal) => {
        impl $id {
            /// The id that these bytes are, unless all are zero.
            pub fn from_bytes(bytes: [u8; $length]) -> Option<Self> {
                (bytes != [0; $length]).then_some(Self(bytes))
            }

            /// A new one, unless the operating system has no randomness.
            pub fn random() -> Option<Self> {
                let mut bytes = [0; $length];
                getrandom::fill(&mut bytes).ok()?;
                Self::from_bytes(bytes)
            }

            /// The id that these digits are: hexadecimal ones in lower case.
            pub(super) fn parse(digits: &[u8]) -> Option<Self> {
                let mut bytes = [0; $length];
                if digits.len() != 2 * $length {
                    return None;
                }
                for (byte, digits) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = parse_byte(digits)?;
                }
                Self::from_bytes(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digit = |value: u8| DIGITS[usize::from(value & 0xf)];
                let mut text = [0; 2 * $length];
                for (two, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    two.copy_from_slice(&[digit(byte >> 4), digit(byte)]);
                }
                // Digits are text.
                f.write_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

/// The byte that two hexadecimal digits in lower case are.
pub(super) fn parse_byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    Some(value(*high)? << 4 | value(*low)?)
}
