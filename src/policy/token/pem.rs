//! Public keys in PEM files (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::TokenKeyError;

/// What every PEM file has.
pub(super) const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The DER of the one public key that a PEM file has; it may also have text around the key.
pub(super) fn public_key(pem: &[u8]) -> Result<Vec<u8>, TokenKeyError> {
    let pem = str::from_utf8(pem).map_err(|_| TokenKeyError::NotPem)?;
    if pem.contains("PRIVATE KEY-----") {
        return Err(TokenKeyError::PrivateKey);
    }
    if pem.contains("CERTIFICATE-----") {
        return Err(TokenKeyError::Certificate);
    }
    let body = body(pem).ok_or(TokenKeyError::NotPem)?;
    let body: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(body).map_err(|_| TokenKeyError::NotPem)
}

/// What stands between the lines around the key, if there is only one.
fn body(pem: &str) -> Option<&str> {
    let (_, rest) = pem.split_once(BEGIN)?;
    let (label, rest) = rest.split_once(DASHES)?;
    let (body, rest) = rest.split_once(END)?;
    let is_closed = rest.strip_prefix(label)?.starts_with(DASHES);
    let is_public = matches!(label, "PUBLIC KEY" | "RSA PUBLIC KEY");
    (is_closed && is_public && !rest.contains(BEGIN)).then_some(body)
}
