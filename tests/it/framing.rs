//! Requests that two parsers might understand in two ways: each has one meaning here, or none.
//!
//! All of this is for HTTP/1.1 callers alone, whose bytes are written by hand; in HTTP/2, frames
//! say where a request ends. What comes of it is seen on every way out.

use crate::support::{Origin, Proxy, Received, Reply, every_way_out, talk};

every_way_out! {
    requests_with_malformed_fields_are_refused,
    transfer_codings_other_than_chunked_are_not_implemented,
    malformed_chunks_are_refused,
    unusual_requests_are_reframed,
    trailers_of_requests_have_no_effect,
    malformed_request_lines_are_refused,
    http_1_0_requests_have_a_length_or_no_body,
    requests_with_a_byte_changed_are_forwarded_whole_or_not_at_all,
}

/// What is odd about a request, its fields, and its body.
type Case = (&'static str, &'static [u8], &'static [u8]);

type Table<const N: usize> = [Case; N];

/// Fields that say nothing, or two things, about where a request ends.
const MALFORMED: Table<44> = [
    ("an unknown coding", b"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n", b"ab"),
    ("no coding", b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n", b"ab"),
    ("an empty coding", b"Transfer-Encoding:\r\nContent-Length: 2\r\n", b"ab"),
    ("chunked not last", b"Transfer-Encoding: chunked, identity\r\n", b"2\r\nab\r\n0\r\n\r\n"),
    (
        "not chunked on the second line",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        b"0\r\n\r\n",
    ),
    ("quoted", b"Transfer-Encoding: \"chunked\"\r\n", b"2\r\nab\r\n0\r\n\r\n"),
    ("with a parameter", b"Transfer-Encoding: chunked;a=b\r\n", b"2\r\nab\r\n0\r\n\r\n"),
    ("after a vertical tab", b"Transfer-Encoding: \x0bchunked\r\n", b"2\r\nab\r\n0\r\n\r\n"),
    ("after a no-break space", b"Transfer-Encoding: \xa0chunked\r\n", b"2\r\nab\r\n0\r\n\r\n"),
    ("before a null", b"Transfer-Encoding: chunked\0\r\n", b"2\r\nab\r\n0\r\n\r\n"),
    ("a coding before its colon", b"Transfer-Encoding : chunked\r\n", b"2\r\nab\r\n0\r\n\r\n"),
    ("a folded coding", b"Transfer-Encoding:\r\n chunked\r\n", b"2\r\nab\r\n0\r\n\r\n"),
    (
        "a bad length before chunks",
        b"Content-Length: a\r\nTransfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
    ),
    ("two lengths", b"Content-Length: 2\r\nContent-Length: 3\r\n", b"abc"),
    ("two lengths in turn", b"Content-Length: 3\r\nContent-Length: 2\r\n", b"abc"),
    ("a list of lengths", b"Content-Length: 2, 3\r\n", b"abc"),
    ("a list of equal lengths", b"Content-Length: 2, 2\r\n", b"ab"),
    ("a positive length", b"Content-Length: +2\r\n", b"ab"),
    ("a negative length", b"Content-Length: -2\r\n", b"ab"),
    ("a length in hex", b"Content-Length: 0x2\r\n", b"ab"),
    ("a length with a fraction", b"Content-Length: 2.0\r\n", b"ab"),
    ("a length with an exponent", b"Content-Length: 2e0\r\n", b"ab"),
    ("a length with a space", b"Content-Length: 2 2\r\n", b"ab"),
    ("a length with an underscore", b"Content-Length: 2_0\r\n", b"ab"),
    ("a quoted length", b"Content-Length: \"2\"\r\n", b"ab"),
    ("an empty length", b"Content-Length:\r\n", b"ab"),
    ("a word for a length", b"Content-Length: two\r\n", b"ab"),
    ("a length that overflows", b"Content-Length: 99999999999999999999999\r\n", b"ab"),
    ("a length that wraps around", b"Content-Length: 18446744073709551618\r\n", b"ab"),
    ("a length before its colon", b"Content-Length : 2\r\n", b"ab"),
    ("a no-break space in a length", b"Content-Length: \xa02\r\n", b"ab"),
    ("a bare return in a value", b"X-A: a\rb\r\nContent-Length: 2\r\n", b"ab"),
    ("a null in a value", b"X-A: a\0b\r\nContent-Length: 2\r\n", b"ab"),
    ("a control character in a value", b"X-A: \x01\r\nContent-Length: 2\r\n", b"ab"),
    ("a null in a name", b"X\0A: a\r\nContent-Length: 2\r\n", b"ab"),
    ("a space in a name", b"X A: a\r\nContent-Length: 2\r\n", b"ab"),
    ("a parenthesis in a name", b"X(A): a\r\nContent-Length: 2\r\n", b"ab"),
    ("a delete in a name", b"X\x7f: a\r\nContent-Length: 2\r\n", b"ab"),
    ("a name that is not ASCII", b"X\xe9: a\r\nContent-Length: 2\r\n", b"ab"),
    ("an empty name", b": a\r\nContent-Length: 2\r\n", b"ab"),
    ("a line without a colon", b"X-A\r\nContent-Length: 2\r\n", b"ab"),
    ("a folded line", b"X-A: a\r\n b\r\nContent-Length: 2\r\n", b"ab"),
    ("a line folded with a tab", b"X-A: a\r\n\tb\r\nContent-Length: 2\r\n", b"ab"),
    ("a folded first line", b" X-A: a\r\nContent-Length: 2\r\n", b"ab"),
];

/// Fields and a body that are unusual, and the body that they mean.
const UNUSUAL: [(Case, &[u8]); 20] = [
    (("chunks win", b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nG"), b""),
    (
        (
            "whatever the order",
            b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            b"3\r\nGET\r\n0\r\n\r\n/",
        ),
        b"GET",
    ),
    (
        (
            "a bad length after chunks",
            b"Transfer-Encoding: chunked\r\nContent-Length: x\r\n",
            b"0\r\n\r\n",
        ),
        b"",
    ),
    (
        (
            "two lengths after chunks",
            b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
            b"0\r\n\r\n",
        ),
        b"",
    ),
    (("another case", b"transfer-ENCODING: ChUnKeD\r\n", b"2\r\nab\r\n0\r\n\r\n"), b"ab"),
    (
        ("space after a coding", b"Transfer-Encoding:\tchunked \t\r\n", b"2\r\nab\r\n0\r\n\r\n"),
        b"ab",
    ),
    (("an underscore", b"Transfer_Encoding: chunked\r\nContent-Length: 2\r\n", b"ab"), b"ab"),
    (("one length twice", b"Content-Length: 2\r\nContent-Length: 2\r\n", b"ab"), b"ab"),
    (("a leading zero", b"Content-Length: 02\r\n", b"ab"), b"ab"),
    (("tabs around a length", b"Content-Length:\t2\t\r\n", b"ab"), b"ab"),
    (("no length", b"", b""), b""),
    (("a length of zero", b"Content-Length: 0\r\n", b""), b""),
    (("no chunk but the last", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"), b""),
    (
        ("zeros before a size", b"Transfer-Encoding: chunked\r\n", b"0002\r\nab\r\n000\r\n\r\n"),
        b"ab",
    ),
    (
        ("a size in capitals", b"Transfer-Encoding: chunked\r\n", b"A\r\n0123456789\r\n0\r\n\r\n"),
        b"0123456789",
    ),
    (("an extension", b"Transfer-Encoding: chunked\r\n", b"2;a=b\r\nab\r\n0;c\r\n\r\n"), b"ab"),
    (
        (
            "a quoted extension",
            b"Transfer-Encoding: chunked\r\n",
            b"2;a=\"b;c\"\r\nab\r\n0\r\n\r\n",
        ),
        b"ab",
    ),
    (
        (
            "a line end in a chunk",
            b"Transfer-Encoding: chunked\r\n",
            b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
        ),
        b"0\r\n\r\n",
    ),
    (
        ("a trailer", b"Transfer-Encoding: chunked\r\n", b"2\r\nab\r\n0\r\nX-Trailer: 1\r\n\r\n"),
        b"ab",
    ),
    (("a request as a body", b"Content-Length: 14\r\n", b"GET / HTTP/1.1"), b"GET / HTTP/1.1"),
];

/// A request with these fields and this body, guarded by a key of its own.
fn post(number: usize, fields: &[u8], body: &[u8]) -> Vec<u8> {
    let start = format!("POST /a HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k{number}\r\n");
    [start.as_bytes(), fields, b"\r\n", body].concat()
}

/// A1, A2: whatever is odd about its fields, a request is refused before anything is sent.
async fn requests_with_malformed_fields_are_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (number, (what, fields, body)) in MALFORMED.into_iter().enumerate() {
        let replies = talk(&proxy, post(number, fields, body)).await;
        assert_refused(what, &replies, 400);
    }
    assert_eq!(origin.heads(), 0);
}

/// Fails unless this is one refusal and the end.
#[track_caller]
fn assert_refused(what: &str, replies: &[Reply], status: u16) {
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [status], "{what}");
}

/// A1: a body in a coding that is not undone would reach the upstream as another one.
async fn transfer_codings_other_than_chunked_are_not_implemented() {
    let table: Table<5> = [
        ("two codings", b"Transfer-Encoding: gzip, chunked\r\n", b"2\r\nab\r\n0\r\n\r\n"),
        ("chunked twice", b"Transfer-Encoding: chunked, chunked\r\n", b"2\r\nab\r\n0\r\n\r\n"),
        (
            "on two lines",
            b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            b"0\r\n\r\n",
        ),
        ("after an empty element", b"Transfer-Encoding: , chunked\r\n", b"2\r\nab\r\n0\r\n\r\n"),
        ("after identity", b"Transfer-Encoding: identity, chunked\r\n", b"2\r\nab\r\n0\r\n\r\n"),
    ];
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (number, (what, fields, body)) in table.into_iter().enumerate() {
        assert_refused(what, &talk(&proxy, post(number, fields, body)).await, 501);
        let get = [b"GET /a HTTP/1.1\r\nHost: a\r\n", fields, b"\r\n", body].concat();
        assert_refused(what, &talk(&proxy, get).await, 501);
    }
    assert_eq!(origin.heads(), 0);
}

/// A2: a body whose chunks are not well formed never ends, as far as anybody can tell.
async fn malformed_chunks_are_refused() {
    let table: [(&str, &[u8]); 22] = [
        ("a size in C", b"0x2\r\nab\r\n0\r\n\r\n"),
        ("a positive size", b"+2\r\nab\r\n0\r\n\r\n"),
        ("a negative size", b"-2\r\nab\r\n0\r\n\r\n"),
        ("an empty size", b"\r\nab\r\n0\r\n\r\n"),
        ("no digit", b"g\r\nab\r\n0\r\n\r\n"),
        ("a space before a size", b" 2\r\nab\r\n0\r\n\r\n"),
        ("a null before a size", b"\x002\r\nab\r\n0\r\n\r\n"),
        ("a size that wraps around", b"10000000000000002\r\nab\r\n0\r\n\r\n"),
        ("the largest size", b"ffffffffffffffff\r\nab\r\n0\r\n\r\n"),
        ("a size with a comma", b"2,2\r\nab\r\n0\r\n\r\n"),
        ("a line feed after a size", b"2\nab\n0\n\n"),
        ("a return after a size", b"2\rab\r0\r\r"),
        ("a line feed in an extension", b"2;a\nab\r\n0\r\n\r\n"),
        ("a quoted line end in an extension", b"2;a=\"\r\nab\"\r\nab\r\n0\r\n\r\n"),
        ("no line end after a chunk", b"2\r\nab0\r\n\r\n"),
        ("a line feed after a chunk", b"2\r\nab\n0\r\n\r\n"),
        ("a chunk longer than its size", b"2\r\nabc\r\n0\r\n\r\n"),
        ("no last chunk", b"2\r\nab\r\n"),
        ("no end after the last chunk", b"2\r\nab\r\n0\r\n"),
        ("a trailer without a colon", b"2\r\nab\r\n0\r\nX-A\r\n\r\n"),
        ("a trailer with a space in its name", b"2\r\nab\r\n0\r\nX A: 1\r\n\r\n"),
        ("a trailer with a null", b"2\r\nab\r\n0\r\nX-A: \0\r\n\r\n"),
    ];
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (number, (what, body)) in table.into_iter().enumerate() {
        let request = post(number, b"Transfer-Encoding: chunked\r\n", body);
        assert_refused(what, &talk(&proxy, request).await, 400);
    }
    assert_eq!(origin.hits(), 0);
}

/// Fails unless exactly this reached the upstream, framed once by its length.
#[track_caller]
fn assert_framed(what: &str, seen: &Received, body: &[u8]) {
    assert_eq!((seen.method.as_str(), seen.body.as_slice()), ("POST", body), "{what}");
    let length = body.len().to_string();
    assert_eq!(seen.head.all("content-length"), [length.as_bytes()], "{what}: {seen:?}");
    assert!(!seen.head.has("transfer-encoding"), "{what}: {seen:?}");
}

/// A1, A2, C14, C16: what is unusual and has one meaning is forwarded in the usual form.
async fn unusual_requests_are_reframed() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (number, ((what, fields, body), forwarded)) in UNUSUAL.into_iter().enumerate() {
        let replies = talk(&proxy, post(number, fields, body)).await;
        assert_refused(what, &replies, 201);
        assert_eq!(origin.heads(), number + 1, "{what}");
        assert_framed(what, &origin.last(), forwarded);
    }
}

/// C14: a trailer is no header: it names no key, caller or length, and goes no further.
async fn trailers_of_requests_have_no_effect() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nTrailer: Request-ID\r\nTransfer-Encoding: chunked";
    let trailers = [
        "",
        "Request-ID: r1\r\n",
        "Request-ID: r2\r\nIdempotency-Key: two words\r\n",
        "Authorization: Bearer eve\r\nContent-Length: 50\r\nTransfer-Encoding: gzip\r\n",
        "Host: other\r\nConnection: close\r\nExpect: x\r\n",
    ];
    for (number, trailer) in trailers.into_iter().enumerate() {
        let request = format!("{head}\r\n\r\n2\r\nab\r\n0\r\n{trailer}\r\n");
        let replies = talk(&proxy, request).await;
        assert_eq!(replies.len(), 1, "{trailer}");
        assert_eq!((replies[0].status, replies[0].is_repeat()), (201, number > 0), "{trailer}");
    }
    assert_eq!(origin.hits(), 1);
    let seen = origin.last();
    assert_framed("a trailer", &seen, b"ab");
    for name in ["request-id", "authorization", "trailer", "idempotency-key"] {
        assert!(!seen.head.has(name), "{name}: {seen:?}");
    }
}

/// A2, C11, C12: what is not HTTP/1.1 or 1.0 is refused, and nothing waits for more of it.
async fn malformed_request_lines_are_refused() {
    let rest = "\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    let starts: [&str; 20] = [
        " POST /a HTTP/1.1",
        "POST  /a HTTP/1.1",
        "POST\t/a\tHTTP/1.1",
        "POST /a b HTTP/1.1",
        "POST /a HTTP/1.1 ",
        "POST /a HTTP/1.1 HTTP/1.1",
        "POST /a",
        "POST",
        "POST /a HTTP/0.9",
        "POST /a HTTP/1.2",
        "POST /a HTTP/1.10",
        "POST /a HTTP/2.0",
        "POST /a http/1.1",
        "POST /a HTTP 1.1",
        "POST /a HTTPS/1.1",
        "P(ST /a HTTP/1.1",
        "POST /\0 HTTP/1.1",
        "POST /\u{1} HTTP/1.1",
        "POST a HTTP/1.1",
        "POST * HTTP/1.1",
    ];
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for start in starts {
        assert_refused(start, &talk(&proxy, format!("{start}{rest}")).await, 400);
    }
    let coded = "POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_refused("chunks in HTTP/1.0", &talk(&proxy, coded).await, 400);
    for other in [
        "GET /a\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\x00\x03\x03",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "\0\0\0\0",
    ] {
        let replies = talk(&proxy, other).await;
        assert!(replies.len() <= 1, "{other:?}: {replies:?}");
        assert!(replies.iter().all(|reply| reply.status == 400), "{other:?}: {replies:?}");
    }
    assert_eq!(origin.heads(), 0);
}

/// C11: HTTP/1.0 has no chunks, and no body without a length, whatever follows.
async fn http_1_0_requests_have_a_length_or_no_body() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let smuggled = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = |key: &str, rest: &str| {
        format!("POST /a HTTP/1.0\r\nHost: a\r\nIdempotency-Key: {key}\r\n{rest}")
    };
    let replies = talk(&proxy, post("k1", &format!("\r\n{smuggled}"))).await;
    assert_refused("without a length", &replies, 201);
    assert_framed("without a length", &origin.last(), b"");
    let replies = talk(&proxy, post("k2", &format!("Content-Length: 2\r\n\r\nab{smuggled}"))).await;
    assert_refused("with a length", &replies, 201);
    assert_framed("with a length", &origin.last(), b"ab");
    assert!(!replies[0].has("transfer-encoding"), "{replies:?}");
    let replies = talk(&proxy, "GET /a HTTP/1.0\r\n\r\n").await;
    assert_refused("without a host", &replies, 201);
    assert_eq!(origin.last().head.all("host"), [origin.addr.to_string().as_bytes()]);
    assert_eq!(origin.heads(), 3);
}

/// A1, A2: a thousand requests with one byte changed: the upstream sees what was accepted, no
/// more and no less, and each guarded request is framed once.
async fn requests_with_a_byte_changed_are_forwarded_whole_or_not_at_all() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let smuggled = "GET /admin HTTP/1.1\r\nHost: a\r\nX: ";
    let length = smuggled.len();
    let lengthy = format!("Content-Length: {length}\r\n\r\n{smuggled}");
    let chunky = format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n");
    let odd = b"\0\t\n\r ,:;-+0f\x0b\x7f\xa0\xff";
    let mut seed = 7_usize;
    for rest in [lengthy, chunky] {
        let valid = format!("POST /a HTTP/1.1\r\nHost: a\r\n{rest}").into_bytes();
        for position in 0..valid.len() {
            for change in 0..3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let byte = odd[(seed >> 33) % odd.len()];
                let mut changed = valid.clone();
                match change {
                    0 => changed[position] = byte,
                    1 => changed.insert(position, byte),
                    _ => drop(changed.remove(position)),
                }
                let before = origin.hits();
                let replies = talk(&proxy, &changed).await;
                let what = changed.escape_ascii().to_string();
                let executed = replies.iter().filter(|r| r.status == 201 && !r.is_repeat());
                assert_eq!(origin.hits() - before, executed.count(), "{what}");
                for seen in &origin.requests()[before..] {
                    let guarded = seen.method == "POST";
                    let framings = seen.head.all("content-length").len();
                    assert!(!guarded || framings == 1, "{what}: {seen:?}");
                    assert!(!guarded || !seen.head.has("transfer-encoding"), "{what}: {seen:?}");
                }
                assert!(replies.len() <= 2, "{what}: {replies:?}");
            }
        }
    }
}
