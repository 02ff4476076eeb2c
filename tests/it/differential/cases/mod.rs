//! Requests that two parsers may take for two things.
//!
//! In each, `{m}` stands for the method and `{k}` for a key line. `{go}` is a head up to its
//! framing, and `{tc}` one that is framed by chunks; `{r}` is what follows a target. `{l}` and
//! `{t}` are the names that frame, `{b}` a length and a body, `{c}` the end of a head and chunks,
//! `{z}` the same without any. `{s}` is a request that nobody should see unless it was made, with
//! `{n}` and `{x}` for its length in decimal and in hexadecimal.

pub mod chunks;
pub mod codings;
pub mod exchanges;
pub mod heads;
pub mod lengths;
pub mod targets;

/// What is odd about it, its bytes, and the answers when a plain request follows it. A dot follows
/// the last one where a parser could not tell what was asked for. A slash divides what a guarded
/// request gets from what a passed one does, and a line divides what depends on its key or method.
pub type Case = (&'static str, &'static [u8], &'static str);

pub const TABLES: [&[Case]; 6] =
    [chunks::CASES, codings::CASES, exchanges::CASES, heads::CASES, lengths::CASES, targets::CASES];

/// What should be seen only where it was made.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// A length and a body.
const BODY: &str = "Content-Length: 5\r\n\r\nabcde";

/// A plain request that follows each case on its connection.
pub const MARKER: &[u8] = b"GET /marker HTTP/1.1\r\nHost: a\r\nX-Marker: 1\r\n\r\n";

/// In which manner a case is sent.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub method: &'static str,
    pub has_key: bool,
}

impl Manner {
    pub const ALL: [Self; 5] = [
        Self { method: "POST", has_key: true },
        Self { method: "POST", has_key: false },
        Self { method: "DELETE", has_key: true },
        Self { method: "GET", has_key: false },
        Self { method: "OPTIONS", has_key: true },
    ];

    pub fn is_guarded(self) -> bool {
        matches!(self.method, "POST" | "DELETE")
    }
}

/// The bytes of a case that is sent in this manner, as the only one with this number.
pub fn bytes(case: &[u8], manner: Manner, number: usize) -> Vec<u8> {
    let key = match manner.has_key {
        true => format!("Idempotency-Key: k{number}\r\n"),
        false => format!("X-Case: {number}\r\n"),
    };
    let go = format!("{} /case HTTP/1.1\r\nHost: a\r\n{key}", manner.method);
    let words = [
        ("{m}", manner.method),
        ("{k}", &key),
        ("{go}", &go),
        ("{tc}", &format!("{go}Transfer-Encoding: chunked\r\n\r\n")),
        ("{r}", &format!("HTTP/1.1\r\nHost: a\r\n{key}{BODY}")),
        ("{l}", "Content-Length: "),
        ("{t}", "Transfer-Encoding: "),
        ("{b}", BODY),
        ("{c}", "\r\n5\r\nabcde\r\n0\r\n\r\n"),
        ("{z}", "\r\n0\r\n\r\n"),
        ("{s}", SMUGGLED),
        ("{n}", &SMUGGLED.len().to_string()),
        ("{x}", &format!("{:x}", SMUGGLED.len())),
    ];
    let (mut bytes, mut rest) = (Vec::new(), case);
    while let Some((first, after)) = rest.split_first() {
        match words.iter().find(|(word, _)| rest.starts_with(word.as_bytes())) {
            Some((word, text)) => {
                bytes.extend_from_slice(text.as_bytes());
                rest = &rest[word.len()..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}
