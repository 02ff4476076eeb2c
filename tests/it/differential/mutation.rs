//! Changes requests at random: the same seed always makes the same ones.

#[allow(dead_code, reason = "the simulation needs more of it")]
#[path = "../../sim/rng.rs"]
mod rng;

use rng::Rng;

use super::cases::{Case, MARKER, Manner, TABLES, bytes};

/// Bytes that parsers treat in different ways.
const ODD: &[u8] = b"\0\t\n\x0b\x0c\r\r\n !\"#'(),-/0159:;<=@A[\\]_afx{}\x7f\x80\x85\xa0\xff";

/// Words that decide where something ends, or for whom it is.
const WORDS: [&[u8]; 16] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\r\n ",
    b"0\r\n\r\n",
    b"5;a=b\r\nabcde\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Host: b\r\n",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// A request of the tables with some of its bytes changed, and the size of the pieces in which it
/// is sent.
pub fn changed(seed: u64, number: u64) -> (usize, Vec<u8>) {
    let mut rng = Rng::of(&[seed, number]);
    let mut sent = request(&mut rng, number);
    for _ in 0..rng.between(1, 3) {
        change(&mut sent, &mut rng, number);
    }
    let piece = rng.pick(&[usize::MAX, usize::MAX, 40, 11, 3]);
    (piece, [&sent, MARKER].concat())
}

fn request(rng: &mut Rng, number: u64) -> Vec<u8> {
    let case = loop {
        let table = rng.pick(&TABLES);
        let (_, case, expected): Case = rng.pick(table);
        // What is refused as it is seldom gets better.
        if expected.starts_with("201") || rng.percent(20) {
            break case;
        }
    };
    let number = usize::try_from(number).expect("a number");
    bytes(case, rng.pick(&Manner::ALL), number)
}

fn change(sent: &mut Vec<u8>, rng: &mut Rng, number: u64) {
    let length = sent.len() as u64;
    let place = |rng: &mut Rng| usize::try_from(rng.between(0, length)).expect("a place");
    let (at, other) = (place(rng), place(rng));
    let end = sent.len().min(at + other % 12);
    let byte = rng.pick(ODD);
    match rng.between(0, 9) {
        0 | 1 => sent.insert(at, byte),
        2 | 3 => {
            if let Some(place) = sent.get_mut(at) {
                *place = byte;
            }
        }
        4 => drop(sent.drain(at..end)),
        5 => {
            let again = sent[at..end].to_vec();
            drop(sent.splice(at..at, again));
        }
        6 | 7 => drop(sent.splice(at..at, rng.pick(&WORDS).iter().copied())),
        8 => {
            let piece = sent.drain(at..end).collect::<Vec<_>>();
            let to = other.min(sent.len());
            drop(sent.splice(to..to, piece));
        }
        _ => {
            // It goes on as another request does.
            let next = request(rng, number);
            sent.truncate(at);
            sent.extend_from_slice(&next[other.min(next.len())..]);
        }
    }
}
