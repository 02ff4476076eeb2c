//! Limits: each where it can be, and none that another one makes meaningless.

use crate::config::keys::LimitKeys;
use crate::config::mistake::{Located, Mistake, Mistakes};
use crate::config::units::{Bytes, write_bytes};

/// The most header lines that can be read.
const HEADERS_MAX: usize = 16_384;

/// The most streams that HTTP/2 has numbers for, on one connection, from one side.
const STREAMS_MAX: usize = 1 << 30;

/// The smallest window of a stream that is of use: one whole frame.
const STREAM_WINDOW_MIN: Bytes = Bytes(16 << 10);

/// The window that every HTTP/2 connection begins with; there is no smaller one (RFC 9113, 6.9.2).
const CONNECTION_WINDOW_MIN: Bytes = Bytes((64 << 10) - 1);

/// The largest window that HTTP/2 has a number for (RFC 9113, 6.9.1).
const WINDOW_MAX: Bytes = Bytes((1 << 31) - 1);

/// Finds limits that can't be.
pub(super) fn check(keys: &LimitKeys, mistakes: &mut Mistakes) {
    most("max_headers", keys.max_headers, HEADERS_MAX, mistakes);
    most("max_streams", keys.max_streams, STREAMS_MAX, mistakes);
    window("stream_window", keys.stream_window, STREAM_WINDOW_MIN, mistakes);
    window("connection_window", keys.connection_window, CONNECTION_WINDOW_MIN, mistakes);
    pairs(keys, mistakes);
}

fn most(key: &str, limit: Option<Located<usize>>, max: usize, mistakes: &mut Mistakes) {
    if let Some(limit) = limit.filter(|limit| limit.value > max) {
        mistakes.add(Mistake::new(limit.place, key, format!("it may be {max} at most")));
    }
}

fn window(key: &str, window: Option<Located<Bytes>>, min: Bytes, mistakes: &mut Mistakes) {
    let fits = |size: Bytes| (min.0..=WINDOW_MAX.0).contains(&size.0);
    if let Some(window) = window.filter(|window| !fits(window.value)) {
        let (min, max) = (write_bytes(min), write_bytes(WINDOW_MAX));
        let text = format!("a window of HTTP/2 has {min} at least, and {max} at most");
        mistakes.add(Mistake::new(window.place, key, text));
    }
}

/// What holds for each must fit into what holds for all.
fn pairs(keys: &LimitKeys, mistakes: &mut Mistakes) {
    if let (Some(each), Some(all)) = (keys.max_waiters_per_key, keys.max_waiters)
        && each.value > all.value
    {
        let text = format!(
            "{} can wait for one key, but only {} for all together (max_waiters, {})",
            each.value, all.value, all.place
        );
        mistakes.add(Mistake::new(each.place, "max_waiters_per_key", text));
    }
    if let (Some(handshakes), Some(connections)) = (keys.max_handshakes, keys.max_connections)
        && handshakes.value > connections.value
    {
        let text = format!(
            "{} handshakes may run, but only {} connections be open (max_connections, {})",
            handshakes.value, connections.value, connections.place
        );
        mistakes.add(Mistake::new(handshakes.place, "max_handshakes", text));
    }
    if let (Some(each), Some(all)) = (keys.stream_window, keys.connection_window)
        && each.value.0 > all.value.0
    {
        let text = format!(
            "{} of one body may be on their way, but only {} of all together (connection_window, \
             {})",
            write_bytes(each.value),
            write_bytes(all.value),
            all.place
        );
        mistakes.add(Mistake::new(each.place, "stream_window", text));
    }
}
