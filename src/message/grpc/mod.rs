//! gRPC over HTTP: how its calls are known, what their bodies consist of, and how they end.

mod code;
mod envelope;
mod refusal;

pub use self::code::Code;
pub(super) use self::envelope::END_WAIT;
pub use self::envelope::{Extent, beginning, extent};

/// What the bodies of a request and of its answer consist of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Style {
    /// Bytes of which nothing is known.
    #[default]
    Plain,
    /// gRPC messages, each after its length.
    Grpc,
}

/// Whether a content type is that of gRPC: `application/grpc`, alone, with a format or parameters.
///
/// `application/grpc-web` is not: its calls are plain HTTP, with their trailers in the body.
pub fn is_grpc(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"application/grpc";
    let Some((name, rest)) = content_type.split_at_checked(NAME.len()) else { return false };
    name.eq_ignore_ascii_case(NAME)
        && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_their_content_type() {
        for text in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc+json",
            "application/grpc;charset=utf-8",
            "application/grpc ; charset=utf-8",
            "Application/GRPC",
        ] {
            assert!(is_grpc(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "application/grp",
            "application/grpcs",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web-text",
            "application/json",
            "text/plain; a=application/grpc",
        ] {
            assert!(!is_grpc(text.as_bytes()), "{text}");
        }
    }
}
