//! Records as the API shows them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::admin::status::shown;
use crate::idempotency::{Answer, Fingerprint, Line, Origin};
use crate::store::Summary;

/// The most of a body that is shown, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Header fields whose values are credentials.
const HIDDEN: [&[u8]; 2] = [b"set-cookie", b"set-cookie2"];

/// A record in short.
pub(super) fn record(summary: &Summary) -> Value {
    let origin = summary.origin.as_deref();
    let trace = origin.and_then(Origin::trace);
    json!({
        "key": summary.key.to_base64(),
        "state": summary.stage.name(),
        "route": origin.map(Origin::route),
        "method": origin.map(Origin::method),
        "path": origin.map(Origin::path),
        "status": summary.status,
        "answer_bytes": summary.answer_bytes,
        "begun_at": origin.map(|origin| shown(origin.begun_at())),
        "kept_at": summary.kept_at.map(shown),
        "expires_at": shown(summary.expires_at),
        "lease_until": summary.lease_until.map(shown),
        "fingerprint": fingerprint(&summary.fingerprint),
        "replays": origin.map_or(0, Origin::replays),
        "trace_id": trace.map(|trace| hexadecimal(&trace.trace_id)),
    })
}

/// A kept answer, with the beginning of its body.
pub(super) fn answer(answer: &Answer) -> Value {
    let line = |Line { name, value }: Line<'_>| {
        let value = match HIDDEN.contains(&name) {
            true => "(hidden)".into(),
            false => String::from_utf8_lossy(&value).into_owned(),
        };
        json!([String::from_utf8_lossy(name), value])
    };
    let body = answer.body();
    let (text, encoded) = match beginning(&body) {
        Some(text) => (Some(text), None),
        None => (None, Some(STANDARD.encode(&body[..body.len().min(BODY_BYTES_MAX)]))),
    };
    json!({
        "status": answer.status(),
        "headers": answer.lines().map(line).collect::<Vec<_>>(),
        "body": text,
        "body_base64": encoded,
        "truncated": body.len() > BODY_BYTES_MAX,
    })
}

/// The beginning of a body that is text.
fn beginning(body: &[u8]) -> Option<&str> {
    match std::str::from_utf8(body) {
        Ok(text) => text.get(..text.floor_char_boundary(BODY_BYTES_MAX)),
        Err(_) => None,
    }
}

/// A few digits by which one request can be told from another.
fn fingerprint(fingerprint: &Fingerprint) -> String {
    let bytes = fingerprint.to_bytes();
    match *fingerprint == Fingerprint::COVERED {
        true => hexadecimal(&bytes[..4]),
        // Its beginning is that of the query's hash, and most requests have none.
        false => hexadecimal(&blake3::hash(&bytes).as_bytes()[..4]),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::AnswerBuilder;

    #[test]
    fn bodies_are_shown_as_text_or_base64_and_cut() {
        for (body, text, encoded, truncated) in [
            (b"ok".to_vec(), Some("ok".to_owned()), None, false),
            (vec![0xff, 0], None, Some("/wA=".to_owned()), false),
            (vec![b'x'; BODY_BYTES_MAX + 1], Some("x".repeat(BODY_BYTES_MAX)), None, true),
        ] {
            let mut kept = AnswerBuilder::new(201);
            kept.line(b"content-type", b"text/plain");
            kept.line(b"set-cookie", b"session=secret");
            let shown = answer(&kept.finish(&body));
            let headers = json!([["content-type", "text/plain"], ["set-cookie", "(hidden)"]]);
            let expected = json!({
                "status": 201, "headers": headers, "body": text, "body_base64": encoded,
                "truncated": truncated,
            });
            assert_eq!(shown, expected);
        }
        let long = [vec![0xff], vec![b'x'; BODY_BYTES_MAX]].concat();
        let shown = answer(&AnswerBuilder::new(200).finish(&long));
        let bytes = STANDARD.decode(shown["body_base64"].as_str().unwrap()).unwrap();
        assert_eq!((bytes.len(), &shown["truncated"]), (BODY_BYTES_MAX, &json!(true)));
    }

    #[test]
    fn fingerprints_of_different_bodies_differ() {
        let of = |byte| {
            let mut bytes = [0; 32];
            bytes[31] = byte;
            fingerprint(&Fingerprint::from_bytes(&bytes))
        };
        assert_eq!((of(0), of(1).len()), ("00000000".into(), 8));
        assert_ne!(of(1), of(2));
    }
}
