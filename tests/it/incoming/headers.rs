//! How large a header may be over HTTP/2, to the byte.

use super::asked::Asked;
use super::assert_others_served;
use super::frame::{self, Frame};
use super::hpack::block;
use super::raw::{Outcome, Raw};
use crate::support::{Origin, Proxy, assert_problem};

/// What the fields of a request take, as they would be written over HTTP/1.1.
fn size(request: &Asked) -> usize {
    let value = |name: &str| {
        request.fields.iter().find(|(found, _)| found == name).expect("a field").1.len()
    };
    let lines = request.fields.iter().filter(|(name, _)| !name.starts_with(':'));
    let host = "host: \r\n".len() + value(":authority");
    let line = value(":method") + value(":path") + "  HTTP/1.1\r\n\r\n".len();
    lines.map(|(name, value)| name.len() + value.len() + 4).sum::<usize>() + host + line
}

/// C6: one byte less, as many, and one more than are allowed.
#[tokio::test]
async fn a_header_may_be_as_large_as_it_says() {
    const MAX: usize = 8 * 1024;
    let origin = Origin::start().await;
    let toml = "[limits]\nmax_header_bytes = \"8KiB\"\nmax_headers = 1000";
    let proxy = Proxy::before(&origin).toml(toml).start().await;
    let mut raw = Raw::connect(&proxy).await;
    for (number, pieces) in [1, 7, 100].into_iter().enumerate() {
        for (size_wanted, is_served) in [(MAX - 1, true), (MAX, true), (MAX + 1, false)] {
            let mut request = Asked::post(&format!("k{number}-{size_wanted}"));
            for _ in 0..pieces {
                request = request.header("x-more", "");
            }
            let more = size_wanted - size(&request);
            request = request.with("x-more", vec![b'y'; more]);
            assert_eq!(size(&request), size_wanted);
            let reply = raw.send_request(&request).await;
            match is_served {
                true => assert_eq!(reply.status, 201, "{size_wanted}: {reply:?}"),
                false => assert_problem(&reply, 431, "too-large"),
            }
        }
    }
    assert_eq!(origin.hits(), 6);
}

/// C6: far too large ones are refused by the connection itself, and then end it.
#[tokio::test]
async fn a_header_that_is_far_too_large_is_not_taken_in() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let mut raw = Raw::connect(&proxy).await;
    while raw.next_frame().await.expect("SETTINGS").kind != frame::SETTINGS {}
    for kib in [33, 60, 64, 65, 100, 200, 300, 1_000] {
        if raw.goaway().is_some() {
            raw = Raw::connect(&proxy).await;
        }
        let stream = raw.number();
        let large = Asked::post("k1").header("x-large", vec![b'y'; kib * 1024]);
        let block = block(&large.fields);
        let mut pieces = block
            .chunks(16_384)
            .enumerate()
            .map(|(number, piece)| match number {
                0 => Frame::new(frame::HEADERS, frame::END_STREAM, stream, piece),
                _ => Frame::new(frame::CONTINUATION, 0, stream, piece),
            })
            .collect::<Vec<_>>();
        pieces.last_mut().expect("a piece").flags |= frame::END_HEADERS;
        raw.send_all(&pieces).await;
        match raw.outcome(stream).await {
            Outcome::Answered(reply) => assert_eq!(reply.status, 431, "{kib} KiB: {reply:?}"),
            Outcome::Reset(code) => panic!("{kib} KiB: {code}"),
            Outcome::Gone => assert!(kib > 64, "{kib} KiB: {:?}", raw.goaway()),
        }
    }
    assert_others_served(&proxy).await;
    assert_eq!(origin.hits(), 1);
}

/// C6: as many lines as are allowed, and a target as long.
#[tokio::test]
async fn lines_and_targets_have_limits() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let mut raw = Raw::connect(&proxy).await;
    for (lines, is_served) in [(98, true), (99, true), (100, false), (150, false), (1_000, false)] {
        // with the host that the authority is
        let mut request = Asked::get("/lines");
        for number in 0..lines {
            request = request.header(&format!("x-{number}"), "y");
        }
        let reply = raw.send_request(&request).await;
        match is_served {
            true => assert_eq!(reply.status, 201, "{lines}: {reply:?}"),
            false if lines < 1_000 => assert_problem(&reply, 431, "too-large"),
            false => assert_eq!(reply.status, 431, "{lines}: {reply:?}"),
        }
    }
    for (bytes, is_served) in [(8_191, true), (8_192, true), (8_193, false)] {
        let path = format!("/{}", "a".repeat(bytes - 1));
        let reply = raw.send_request(&Asked::get(&path)).await;
        match is_served {
            true => assert_eq!(reply.status, 201, "{bytes}: {reply:?}"),
            false => assert_problem(&reply, 414, "too-large"),
        }
    }
    assert_eq!(origin.hits(), 4);
}
