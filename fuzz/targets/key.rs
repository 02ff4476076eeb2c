//! Keys that callers choose: what is one, what it is when it is spelled otherwise, and that a
//! malformed one is an error instead of no key.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Request};
use oncegate::clock::Timestamp;
use oncegate::idempotency::{
    IdempotencyKey, KeyError, OnMismatch, OnStoreError, OnUnknown, Secret, Terms,
};
use oncegate::message::{Authority, Scheme, parse_string};
use oncegate::policy::{Asked, Chosen, Hop, IdentifyError, Route};

/// Takes the input as the value of a key header.
pub fn run(data: &[u8]) {
    let parsed = IdempotencyKey::parse(data);
    match &parsed {
        Ok(key) => accepted(key),
        Err(KeyError::TooLong(length)) => assert!((256..=data.len()).contains(length)),
        Err(KeyError::Several) => unreachable!("a value is one line"),
        Err(KeyError::Empty | KeyError::BadCharacter | KeyError::BadString(_)) => {}
    }
    if let Ok(line) = HeaderValue::from_bytes(data) {
        assert_eq!(parsed.as_ref().map(IdempotencyKey::as_bytes), expected(data).as_deref());
        chosen(&line, &parsed);
    }
}

/// A key is itself however it is spelled, and is not shown.
fn accepted(key: &IdempotencyKey<'_>) {
    let text = key.as_bytes();
    assert!((1..=IdempotencyKey::CHARACTERS_MAX).contains(&text.len()));
    assert!(text.iter().all(u8::is_ascii_graphic));
    let quoted = quote(text);
    assert_eq!(IdempotencyKey::parse(&quoted).as_ref(), Ok(key));
    assert_eq!(IdempotencyKey::parse(&[b" \t", &quoted[..], b"\t "].concat()).as_ref(), Ok(key));
    if text[0] != b'"' {
        assert_eq!(IdempotencyKey::parse(text).as_ref(), Ok(key));
    }
    let longer = quote(&[text, b"x"].concat());
    let longer = IdempotencyKey::parse(&longer);
    match text.len() {
        255 => assert_eq!(longer, Err(KeyError::TooLong(256))),
        _ => assert_ne!(longer.as_ref(), Ok(key)),
    }
    assert_eq!(format!("{key:?}"), format!("IdempotencyKey({} characters)", text.len()));
}

/// What the value says according to the contract, without white space around it.
fn expected(value: &[u8]) -> Result<Vec<u8>, KeyError> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    let text = match &value[start..end] {
        quoted @ [b'"', ..] => parse_string(quoted)?.into_owned(),
        bare => bare.to_vec(),
    };
    match text.len() {
        0 => Err(KeyError::Empty),
        1..=255 if text.iter().all(|byte| (0x21..=0x7e).contains(byte)) => Ok(text),
        1..=255 => Err(KeyError::BadCharacter),
        length => Err(KeyError::TooLong(length)),
    }
}

/// A route takes the key, or says what is wrong with it; it never looks for the next source.
fn chosen(line: &HeaderValue, parsed: &Result<IdempotencyKey<'_>, KeyError>) {
    let any = Duration::from_secs(1);
    let (on_unknown, on_mismatch) = (OnUnknown::Hold, OnMismatch::Refuse);
    let terms = Terms {
        window: any,
        wait: any,
        timeout: any,
        linger: any,
        on_unknown,
        on_mismatch,
        on_store_error: OnStoreError::Refuse,
    };
    let route = Route::new(Secret::from_bytes([7; 32]), terms);
    let authority = Authority::parse(b"api.example", Scheme::Http).unwrap();
    let choose = |head: &Parts| {
        let now = Timestamp::from_millis(1);
        route.choose(&Asked {
            authority: &authority,
            head,
            certificate: None,
            now,
            acts_as: None,
            hop: Hop::Believed,
        })
    };
    let request = Request::post("/").header("request-id", "other");
    let mut head = request.header("idempotency-key", line).body(()).unwrap().into_parts().0;
    match (choose(&head), parsed) {
        (Ok(chosen), Ok(_)) => assert_eq!(chosen, Chosen::Key(0)),
        (Err(IdentifyError::Malformed(name, error)), Err(parsed)) => {
            assert_eq!((name.as_str(), &error), ("header:idempotency-key", parsed));
        }
        (chosen, parsed) => panic!("{chosen:?} of {parsed:?}"),
    }
    head.headers.append("idempotency-key", line.clone());
    let Err(IdentifyError::Malformed(_, error)) = choose(&head) else {
        panic!("two lines are two keys");
    };
    assert_eq!(error, KeyError::Several);
}

fn quote(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    quoted
}
