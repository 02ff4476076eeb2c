//! Several requests on one connection, and bodies behind answers that did not wait for them.

use super::Case;

pub const CASES: &[Case] = &[
    ("a key that is none, and a body", b"{go}Idempotency-Key: two words\r\n{l}{n}\r\n\r\n{s}", "400 201|400/201 201"),
    ("two keys, and a body", b"{go}Idempotency-Key: a\r\nIdempotency-Key: b\r\n{l}{n}\r\n\r\n{s}", "400 201|400/201 201"),
    ("two keys, and chunks", b"{go}Idempotency-Key: a\r\nIdempotency-Key: b\r\n{t}chunked\r\n\r\n{x}\r\n{s}\r\n0\r\n\r\n", "400 201|400/201 201"),
    ("a key that is none, and no body", b"{go}Idempotency-Key: two words\r\n\r\n{s}", "400 201 201/201 201 201"),
    ("a key that is none, and a short body", b"{go}Idempotency-Key: two words\r\n{l}500\r\n\r\n{s}", "400/502"),
    ("a key that is none, and bad chunks", b"{go}Idempotency-Key: two words\r\n{t}chunked\r\n\r\nx\r\n{s}", "400/502"),
    ("a body that is too large", b"{go}{l}99999999\r\n\r\n{s}", "413|502/502"),
    ("a host that is none, and a body", b"{m} /case HTTP/1.1\r\nHost: a b\r\n{k}{l}{n}\r\n\r\n{s}", "400 201|400"),
    ("requests between empty lines", b"{go}{b}\r\n\r\n{s}\r\n{s}", "201 201 201 201"),
    ("requests between line feeds", b"{go}{b}\n\n{s}\n", "201 201 201"),
    ("a request that ends in the middle", b"{s}{go}{b}{m} /case HTTP/1.1\r\nHo", "201 201 400."),
    ("a request behind an error", b"{s}{go}X A: 1\r\n{l}{n}\r\n\r\n{s}", "201 400."),
    ("a request behind a bad chunk", b"{s}{tc}5\r\nabcde\r\nx\r\n{s}", "201 400/201 502"),
    ("a request behind the end", b"{s}{go}Connection: close\r\n{l}0\r\n\r\n{s}", "201 201"),
    ("a request behind HTTP/1.0", b"{s}{m} /case HTTP/1.0\r\nHost: a\r\n{k}{l}0\r\n\r\n{s}", "201 201"),
    ("an answer", b"HTTP/1.1 200 OK\r\n{l}0\r\n\r\n{s}", "400."),
    ("a request with an answer behind it", b"{go}{l}0\r\n\r\nHTTP/1.1 200 OK\r\n{l}0\r\n\r\n", "201 400."),
    ("the same request twice", b"{go}{b}{go}{b}", "201 201 201"),
    ("the same in chunks", b"{go}{b}{tc}5\r\nabcde\r\n0\r\n\r\n", "201 201 201"),
    ("chunks and then a length", b"{tc}5\r\nabcde\r\n0\r\n\r\n{go}{b}", "201 201 201"),
    ("a length that the next one has", b"{go}{b}{b}", "201 400."),
    ("a body that begins with empty lines", b"{go}{l}6\r\n\r\n\r\n\r\nab{s}", "201 201 201"),
    ("no body and empty lines", b"{go}\r\n\r\n\r\n\r\n{s}", "201 201 201"),
    ("nothing at all", b"", "201"),
    ("only empty lines", b"\r\n\r\n\r\n", "201"),
    ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400."),
    ("another protocol", b"SSH-2.0-OpenSSH_9.9\r\n{s}", "400."),
];
