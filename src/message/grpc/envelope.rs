//! Where the messages of a gRPC body begin and end.

use std::cmp::Ordering;
use std::time::Duration;

/// How long a body whose first message is whole may take to end before it counts as a stream.
pub(in crate::message) const END_WAIT: Duration = Duration::from_secs(1);

/// What stands before each message: whether it is compressed (1), and its length (4).
const PREFIX: usize = 5;

/// How far the beginning of a body goes, seen as gRPC messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// Not to the end of the first message, which takes at least so many bytes with its prefix.
    Part(u64),
    /// To the end of the first message.
    One,
    /// Beyond the first message.
    More,
    /// It does not begin with a message.
    Opaque,
}

/// How far the beginning of a body goes, seen as gRPC messages.
pub fn extent(bytes: &[u8]) -> Extent {
    if bytes.first().is_some_and(|flag| *flag > 1) {
        return Extent::Opaque;
    }
    let Some(([_, length @ ..], message)) = bytes.split_first_chunk::<PREFIX>() else {
        return Extent::Part(PREFIX as u64);
    };
    let length = u64::from(u32::from_be_bytes(*length));
    match (message.len() as u64).cmp(&length) {
        Ordering::Less => Extent::Part(PREFIX as u64 + length),
        Ordering::Equal => Extent::One,
        Ordering::Greater => Extent::More,
    }
}

/// The first message of a body with its prefix, and one byte of what follows: so the same stream
/// begins the same, however it comes in pieces, and never as a single message does.
pub fn beginning(bytes: &[u8]) -> &[u8] {
    let Some(([_, length @ ..], message)) = bytes.split_first_chunk::<PREFIX>() else {
        return bytes;
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    &bytes[..PREFIX + length.saturating_add(1).min(message.len())]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(flag: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[flag][..], &length, payload].concat()
    }

    #[test]
    fn a_message_ends_where_its_length_says() {
        assert_eq!(extent(b""), Extent::Part(5));
        assert_eq!(extent(b"\0\0\0\0"), Extent::Part(5));
        assert_eq!(extent(b"\0\0\0\0\0"), Extent::One);
        assert_eq!(extent(b"\x01\0\0\0\x02a"), Extent::Part(7));
        assert_eq!(extent(b"\x01\0\0\0\x02ab"), Extent::One);
        assert_eq!(extent(b"\x01\0\0\0\x02abc"), Extent::More);
        assert_eq!(beginning(b"\x01\0\0\0\x02ab\0cd"), b"\x01\0\0\0\x02ab\0");
        assert_eq!(beginning(b"\x01\0\0\0\x02a"), b"\x01\0\0\0\x02a");
        assert_eq!(beginning(b"\0\0"), b"\0\0");
        assert_eq!(extent(b"\0\xff\xff\xff\xffa"), Extent::Part(5 + u64::from(u32::MAX)));
    }

    #[test]
    fn what_begins_with_another_flag_is_no_message() {
        assert_eq!(extent(b"\x02"), Extent::Opaque);
        assert_eq!(extent(b"\x80\0\0\0\0"), Extent::Opaque);
        assert_eq!(extent(b"<html>"), Extent::Opaque);
    }

    proptest! {
        /// However a body is cut into pieces, each beginning is told the same way: part of the
        /// first message until it is whole, and beyond it from then on.
        #[test]
        fn every_beginning_of_messages_is_told(
            messages in proptest::collection::vec(
                (0..2_u8, proptest::collection::vec(any::<u8>(), 0..40)),
                1..4,
            ),
            cut in any::<proptest::sample::Index>(),
        ) {
            let body: Vec<_> =
                messages.iter().flat_map(|(flag, payload)| message(*flag, payload)).collect();
            let first = PREFIX + messages[0].1.len();
            let come = cut.index(body.len() + 1);
            let expected = match come {
                0..PREFIX => Extent::Part(PREFIX as u64),
                come if come < first => Extent::Part(first as u64),
                come if come == first => Extent::One,
                _ => Extent::More,
            };
            prop_assert_eq!(extent(&body[..come]), expected);
        }
    }
}
