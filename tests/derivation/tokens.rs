//! Tokens: some that are genuine, and some that only look so.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

pub const SECRET: &[u8] = b"a secret that only the test knows";

/// Whom the genuine ones name: two are the same person, and most of the others nearly so.
const PAYLOADS: [&str; 16] = [
    r#"{"sub":"a"}"#,
    r#"{"sub":"a","jti":"2"}"#,
    r#"{"sub":"ab"}"#,
    r#"{"sub":"1"}"#,
    r#"{"sub":1}"#,
    r#"{"sub":-1}"#,
    r#"{"sub":1.5}"#,
    r#"{"sub":""}"#,
    r#"{"sub":null}"#,
    r#"{"iss":"","sub":"a"}"#,
    r#"{"iss":"a","sub":"a"}"#,
    r#"{"iss":"a","sub":"b","tid":"a"}"#,
    r#"{"iss":"at","sub":"b"}"#,
    r#"{"sub":"a","tid":"b"}"#,
    r#"{"sub":"b","tid":"a"}"#,
    r#"{"tid":"a"}"#,
];

/// The genuine tokens and their payloads.
pub static GENUINE: LazyLock<Vec<(String, &str)>> =
    LazyLock::new(|| PAYLOADS.map(|payload| (token(payload, SECRET), payload)).into());

/// Everything that looks like a token.
pub static ALL: LazyLock<Vec<String>> = LazyLock::new(|| {
    let forged =
        PAYLOADS[..3].iter().map(|payload| token(payload, b"another secret, of 32 bytes's!!"));
    GENUINE.iter().map(|(token, _)| token.clone()).chain(forged).collect()
});

fn token(payload: &str, secret: &[u8]) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(payload));
    let key = EncodingKey::from_secret(secret);
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}
