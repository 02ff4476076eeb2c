//! What an upstream may have meant by its answers.

use super::strict::find;

/// Statuses after which a key is free again.
const RELEASING: [&str; 8] = ["401", "403", "407", "408", "409", "421", "425", "429"];

/// Whether these bytes may hold an answer after which a key is free again.
pub fn may_release_http1(bytes: &[u8]) -> bool {
    let is_steered = steers(bytes);
    let mut lines = bytes.windows(12).filter(|line| line.starts_with(b"HTTP/1."));
    is_steered || lines.any(|line| str::from_utf8(&line[9..]).is_ok_and(releases))
}

fn releases(status: &str) -> bool {
    let is_failure = status.starts_with('5') && !matches!(status, "502" | "504");
    is_failure || RELEASING.contains(&status)
}

/// Whether the upstream may have said itself what becomes of the key.
fn steers(bytes: &[u8]) -> bool {
    let lower = bytes.to_ascii_lowercase();
    find(&lower, b"oncegate-keep").is_some() || find(&lower, b"grpc").is_some()
}

/// Whether these bytes may hold such an answer in HTTP/2, or say that a request was not looked at.
pub fn may_release_http2(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let [one, two, three, kind, flags, _, _, _, _, after @ ..] = rest {
        let length = u32::from_be_bytes([0, *one, *two, *three]) as usize;
        let payload = &after[..length.min(after.len())];
        let may_release = match kind {
            // Headers: only some statuses in their shortest form are surely final.
            1 => flags & 0x28 != 0 || !matches!(payload.first(), Some(0x88..=0x8d)),
            // A reset with REFUSED_STREAM, and the end of the connection.
            3 => payload == [0, 0, 0, 7],
            7 => true,
            _ => false,
        };
        if may_release {
            return true;
        }
        rest = &after[payload.len()..];
    }
    steers(bytes)
}
