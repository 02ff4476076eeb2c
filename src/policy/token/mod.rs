//! Reads out of a JSON Web Token (RFC 7519) whose request it is.

mod claims;
mod keys;
mod pem;
mod seen;

pub use claims::{ClaimValue, Claimant};
pub use keys::{TokenAlgorithm, TokenKeyError, TokenKeys};

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{NO_PAD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose};
use http::{HeaderMap, HeaderName, header};

use self::claims::Members;
use self::keys::KeyRing;
use self::seen::Seen;
use crate::clock::Timestamp;

/// The longest token that is read, in bytes; more than a server accepts in a header.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The base64 of a hop before this one: some of them pad, although a token is not padded.
const MAYBE_PADDED: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    NO_PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where a token is, and what it must say besides its claim.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenOptions {
    /// The header that it is in.
    pub header: HeaderName,
    /// Who must have issued it, if that matters.
    pub issuer: Option<String>,
    /// Whom it must have been issued for, among others, if that matters.
    pub audience: Option<String>,
}

/// Reads claims out of tokens, and believes those of tokens that it can verify.
///
/// A token without `exp` does not expire, as in Envoy and Istio: the point is whose request it is,
/// and the server behind the proxy decides whether the token is still good enough to be served.
pub struct TokenVerifier {
    options: TokenOptions,
    trust: Trust,
}

/// Why a token can be believed.
enum Trust {
    /// Nothing else may reach this proxy than a hop that has verified it.
    HopBefore,
    /// One of these keys has signed it.
    Keys(KeyRing, Seen),
}

/// What a request's token says about its caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Claim {
    /// The request has no token; in `Authorization`, it may have something of another scheme.
    Absent,
    /// The token is genuine, and this is whom it names.
    Verified(Claimant),
    /// There is something in the token's place, but it must not be believed. The whole value of
    /// the header is then what sets one caller apart from another, under a name of its own: under
    /// that of the claim, a caller could send as a value what stands for somebody else's claim.
    Unverified(Unverified),
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unverified {
    /// The header has several lines.
    #[error("the header of the token stands several times")]
    Several,
    /// It is longer than tokens are.
    #[error("the token has more than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It is no token.
    #[error("it is no JSON Web Token")]
    Malformed,
    /// Its header names an extension that must be understood, and none is.
    #[error("the token uses an extension (crit)")]
    Extension,
    /// It is signed in a way that its key is not for, or not at all.
    #[error("the token names another algorithm than its key has")]
    Algorithm,
    /// It names no key, or one that is not known.
    #[error("no key, or more than one, fits the token")]
    UnknownKey,
    /// Its key has not signed it.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It was valid once.
    #[error("the token has expired (exp)")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet (nbf)")]
    Early,
    /// Somebody else has issued it.
    #[error("the token has another issuer (iss)")]
    Issuer,
    /// It is meant for somebody else.
    #[error("the token is for another audience (aud)")]
    Audience,
    /// It lacks the claim.
    #[error("the token lacks the claim")]
    Missing,
    /// A part of it has a type that it cannot have.
    #[error("a member of the token is of the wrong type, or empty")]
    WrongType,
    /// It says something twice, and somebody else may read the other one.
    #[error("the token has a member twice")]
    Duplicate,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self { header: header::AUTHORIZATION, issuer: None, audience: None }
    }
}

impl TokenVerifier {
    /// A verifier that believes what is signed with the keys.
    ///
    /// # Errors
    ///
    /// A key cannot be used.
    pub fn new(options: TokenOptions, keys: &TokenKeys) -> Result<Self, TokenKeyError> {
        let trust = match keys {
            TokenKeys::Trusted => Trust::HopBefore,
            TokenKeys::Single(algorithm, key) => {
                Trust::Keys(KeyRing::of_one(*algorithm, key)?, Seen::default())
            }
            TokenKeys::Jwks(set) => Trust::Keys(KeyRing::of_set(set)?, Seen::default()),
        };
        Ok(Self { options, trust })
    }

    /// Whether another verifier finds the same in a token that both believe. Their keys may differ:
    /// keys are renewed now and then, and what an old one has signed is no longer believed.
    pub fn reads_like(&self, other: &Self) -> bool {
        self.options == other.options
            && match (&self.trust, &other.trust) {
                (Trust::HopBefore, Trust::HopBefore) | (Trust::Keys(..), Trust::Keys(..)) => true,
                (Trust::HopBefore, Trust::Keys(..)) | (Trust::Keys(..), Trust::HopBefore) => false,
            }
    }

    /// Whether it leaves it to a hop before this one to verify tokens.
    pub(super) const fn relies_on_hop(&self) -> bool {
        matches!(self.trust, Trust::HopBefore)
    }

    /// The header that the token is in.
    pub const fn header(&self) -> &HeaderName {
        &self.options.header
    }

    /// What the token of a request says about its caller.
    pub fn claim(&self, headers: &HeaderMap, claim: &str, now: Timestamp) -> Claim {
        let mut lines = headers.get_all(&self.options.header).iter();
        let Some(line) = lines.next() else { return Claim::Absent };
        if lines.next().is_some() {
            return Claim::Unverified(Unverified::Several);
        }
        match self.token(line.as_bytes()).map(|token| self.read(token, claim, now)) {
            None => Claim::Absent,
            Some(Ok(claimant)) => Claim::Verified(claimant),
            Some(Err(reason)) => Claim::Unverified(reason),
        }
    }

    /// The token in a header value, if that has one: after `Bearer`, or alone, as some gateways
    /// take it. An empty one counts as none: it would be the same for all who send it.
    fn token<'a>(&self, value: &'a [u8]) -> Option<&'a [u8]> {
        let value = value.trim_ascii();
        let end = value.iter().position(|byte| matches!(byte, b' ' | b'\t'));
        let (scheme, rest) = value.split_at(end.unwrap_or(value.len()));
        let token = match () {
            () if scheme.eq_ignore_ascii_case(b"Bearer") => rest.trim_ascii(),
            () if !rest.is_empty() && self.options.header == header::AUTHORIZATION => return None,
            () => value,
        };
        (!token.is_empty()).then_some(token)
    }

    fn read(&self, token: &[u8], claim: &str, now: Timestamp) -> Result<Claimant, Unverified> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Unverified::TooLong);
        }
        let token = str::from_utf8(token).map_err(|_| Unverified::Malformed)?;
        let payload = match &self.trust {
            Trust::HopBefore => trusted(token)?.into(),
            Trust::Keys(keys, seen) => seen.payload(token, |token| verified(token, keys))?,
        };
        let claims = Members::read(&payload, &[claim, "iss", "aud", "exp", "nbf"])?;
        if matches!(self.trust, Trust::Keys(..)) {
            // The hop before has its own clock, and its own opinion of what is too late.
            claims::check_time(&claims, now)?;
        }
        claims::check_parties(&claims, &self.options)?;
        claims::claimant(&claims, claim)
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trust: &dyn fmt::Debug = match &self.trust {
            Trust::HopBefore => &"a hop before",
            Trust::Keys(keys, _) => keys,
        };
        f.debug_struct("TokenVerifier")
            .field("options", &self.options)
            .field("trust", trust)
            .finish()
    }
}

/// The payload that a hop before this one has verified: in the token as it came, or alone, as
/// Istio and API gateways send it on.
fn trusted(token: &str) -> Result<Vec<u8>, Unverified> {
    let payload = if token.contains('.') { parts(token)?[1] } else { token };
    MAYBE_PADDED.decode(payload).map_err(|_| Unverified::Malformed)
}

/// The payload of a token that one of the keys has signed.
fn verified(token: &str, keys: &KeyRing) -> Result<Vec<u8>, Unverified> {
    let [header, payload, signature] = parts(token)?;
    let message = &token[..header.len() + 1 + payload.len()];
    let header = Members::read(&decode(header)?, &["alg", "kid", "crit"])?;
    if header.get("crit")?.is_some() {
        return Err(Unverified::Extension);
    }
    let algorithm = header.text("alg")?.ok_or(Unverified::Malformed)?;
    keys.find(algorithm, header.text("kid")?)?.verify(message, signature)?;
    decode(payload)
}

/// The header, the payload and the signature of a token, as they are sent.
fn parts(token: &str) -> Result<[&str; 3], Unverified> {
    let mut parts = token.split('.');
    match std::array::from_fn(|_| parts.next()) {
        [Some(header), Some(payload), Some(signature), None] => Ok([header, payload, signature]),
        _ => Err(Unverified::Malformed),
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Unverified> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Unverified::Malformed)
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use jsonwebtoken::Algorithm::{ES256, EdDSA, HS256, PS256, RS256};
    use proptest::prelude::*;
    use serde_json::json;

    use super::samples::{self, SECRET, base64, jwk, set, sign, token};
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const ALICE: &str = r#"{"sub":"alice"}"#;
    const IS_ALICE: Result<&str, Unverified> = Ok("alice");

    fn verifier(keys: &TokenKeys) -> TokenVerifier {
        TokenVerifier::new(TokenOptions::default(), keys).unwrap()
    }

    fn secret() -> TokenVerifier {
        verifier(&TokenKeys::Single(TokenAlgorithm::Hs256, SECRET.into()))
    }

    fn rsa() -> TokenVerifier {
        verifier(&TokenKeys::Single(TokenAlgorithm::Rs256, samples::RSA_PUBLIC.into()))
    }

    fn ec() -> TokenVerifier {
        verifier(&TokenKeys::Single(TokenAlgorithm::Es256, samples::EC_PUBLIC.into()))
    }

    fn ring(keys: &[serde_json::Value]) -> TokenVerifier {
        verifier(&TokenKeys::Jwks(set(keys)))
    }

    fn trusting(header: &'static str) -> TokenVerifier {
        let header = HeaderName::from_static(header);
        let options = TokenOptions { header, ..TokenOptions::default() };
        TokenVerifier::new(options, &TokenKeys::Trusted).unwrap()
    }

    fn claim(verifier: &TokenVerifier, lines: &[&str], claim: &str) -> Claim {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(verifier.header(), HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        verifier.claim(&headers, claim, Timestamp::from_millis(NOW * 1000))
    }

    /// What is made of `sub` in a bearer token.
    fn sub(verifier: &TokenVerifier, token: &str) -> Result<String, Unverified> {
        match claim(verifier, &[&format!("Bearer {token}")], "sub") {
            Claim::Verified(Claimant { value: ClaimValue::Text(text), .. }) => Ok(text.into()),
            Claim::Verified(Claimant { value: ClaimValue::Integer(one), .. }) => {
                Ok(one.to_string())
            }
            Claim::Unverified(reason) => Err(reason),
            Claim::Absent => panic!("absent: {token}"),
        }
    }

    #[track_caller]
    fn check(verifier: &TokenVerifier, token: &str, expected: Result<&str, Unverified>) {
        assert_eq!(sub(verifier, token), expected.map(str::to_owned), "{token}");
    }

    #[test]
    fn tokens_are_verified_with_the_key_that_they_are_signed_with() {
        let verifiers = [(HS256, secret()), (RS256, rsa()), (ES256, ec())];
        for (made, _) in &verifiers {
            for (read, verifier) in &verifiers {
                let expected = if made == read { IS_ALICE } else { Err(Unverified::Algorithm) };
                check(verifier, &token(*made, ALICE), expected);
            }
        }
    }

    #[test]
    fn the_examples_of_rfc_7515_are_verified() {
        let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p\
                       c19yb290Ijp0cnVlfQ";
        let octets = json!({
            "kty": "oct", "alg": "HS256",
            "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_\
                  T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        });
        let point = json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        let hs256 = (
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        );
        let es256 = (
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmX\
             FCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        );
        for (key, (header, signature)) in [(octets, hs256), (point, es256)] {
            let token = format!("Bearer {header}.{payload}.{signature}");
            let verifier = ring(&[key]);
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, token.parse().unwrap());
            let at = |seconds: u64| {
                verifier.claim(&headers, "iss", Timestamp::from_millis(seconds * 1000))
            };
            let joe =
                Claimant { issuer: Some("joe".into()), value: ClaimValue::Text("joe".into()) };
            assert_eq!(at(1_300_819_380), Claim::Verified(joe));
            assert_eq!(at(1_300_819_380 + 60), Claim::Unverified(Unverified::Expired));
        }
    }

    #[test]
    fn what_a_token_says_of_its_own_signature_is_not_believed() {
        let by_public_key = |key: &str| {
            let message = format!("{}.{}", base64(r#"{"alg":"HS256"}"#), base64(ALICE));
            let key = jsonwebtoken::EncodingKey::from_secret(key.as_bytes());
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, HS256).unwrap();
            format!("{message}.{signature}")
        };
        let own_key = json!({"alg": "ES256", "jwk": jwk(ES256, &json!({}))}).to_string();
        let unsigned =
            |alg: &str| format!("{}.{}.", base64(json!({"alg": alg}).to_string()), base64(ALICE));
        let table = [
            (rsa(), by_public_key(samples::RSA_PUBLIC), Unverified::Algorithm),
            (ec(), by_public_key(samples::EC_PUBLIC), Unverified::Algorithm),
            (rsa(), unsigned("none"), Unverified::Algorithm),
            (rsa(), unsigned("None"), Unverified::Algorithm),
            (rsa(), unsigned(""), Unverified::Algorithm),
            (rsa(), unsigned("RS256"), Unverified::Signature),
            (secret(), unsigned("none"), Unverified::Algorithm),
            (secret(), unsigned("HS256"), Unverified::Signature),
            (rsa(), token(PS256, ALICE), Unverified::Algorithm),
            (rsa(), sign(PS256, r#"{"alg":"RS256"}"#, ALICE), Unverified::Signature),
            (secret(), sign(ES256, &own_key, ALICE), Unverified::Algorithm),
            (ring(&[jwk(EdDSA, &json!({}))]), sign(ES256, &own_key, ALICE), Unverified::Algorithm),
            (
                secret(),
                sign(HS256, r#"{"alg":"HS256","crit":["exp"]}"#, ALICE),
                Unverified::Extension,
            ),
            (
                secret(),
                sign(HS256, r#"{"alg":"HS256","alg":"none"}"#, ALICE),
                Unverified::Duplicate,
            ),
            (secret(), sign(HS256, r#"{"alg":["HS256"]}"#, ALICE), Unverified::WrongType),
            (secret(), sign(HS256, r#"{"alg":"HS256","kid":7}"#, ALICE), Unverified::WrongType),
            (secret(), sign(HS256, r#"{"typ":"JWT"}"#, ALICE), Unverified::Malformed),
        ];
        for (verifier, token, expected) in &table {
            check(verifier, token, Err(*expected));
        }
    }

    #[test]
    fn a_changed_token_is_not_believed() {
        for (algorithm, verifier) in [(HS256, secret()), (RS256, rsa()), (ES256, ec())] {
            let genuine = token(algorithm, ALICE);
            let parts: Vec<_> = genuine.split('.').collect();
            let [header, payload, signature] = parts[..] else { panic!() };
            let bob = base64(r#"{"sub":"bob"}"#);
            let other = base64(format!(r#"{{ "alg":"{algorithm:?}" }}"#));
            let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
            for changed in [
                format!("{header}.{bob}.{signature}"),
                format!("{other}.{payload}.{signature}"),
                format!("{header}.{payload}.{}", base64(vec![0; bytes.len()])),
                format!("{header}.{payload}.{}", base64(&bytes[1..])),
                format!("{header}.{payload}.{}", base64([&bytes[..], &[0]].concat())),
            ] {
                check(&verifier, &changed, Err(Unverified::Signature));
            }
            for (changed, expected) in [
                (format!("{header}.{payload}"), Unverified::Malformed),
                (format!("{genuine}.{payload}"), Unverified::Malformed),
                (format!("{genuine}.{signature}"), Unverified::Malformed),
                (format!("{genuine}="), Unverified::Malformed),
                (format!("{genuine}, Bearer {genuine}"), Unverified::Malformed),
                (format!("{header} .{payload}.{signature}"), Unverified::Malformed),
            ] {
                check(&verifier, &changed, Err(expected));
            }
        }
    }

    #[test]
    fn times_are_checked_with_some_leeway() {
        let table = [
            (json!({}), None),
            (json!({"exp": NOW + 1}), None),
            (json!({"exp": NOW - 59}), None),
            (json!({"exp": NOW - 60}), Some(Unverified::Expired)),
            (json!({"exp": 0}), Some(Unverified::Expired)),
            (json!({"exp": -1}), Some(Unverified::Expired)),
            (json!({"exp": 1_799_999_940.5}), None),
            (json!({"exp": 1e300}), None),
            (json!({"exp": (NOW + 1).to_string()}), Some(Unverified::WrongType)),
            (json!({"exp": null}), Some(Unverified::WrongType)),
            (json!({"nbf": NOW + 60}), None),
            (json!({"nbf": NOW + 61}), Some(Unverified::Early)),
            (json!({"nbf": NOW + 61, "exp": NOW + 100}), Some(Unverified::Early)),
            (json!({"nbf": "0"}), Some(Unverified::WrongType)),
        ];
        for (mut payload, expected) in table {
            payload["sub"] = "alice".into();
            let payload = payload.to_string();
            let expected = expected.map_or(IS_ALICE, Err);
            check(&secret(), &token(HS256, &payload), expected);
            // A hop before has checked it by its own clock.
            check(&trusting("authorization"), &token(HS256, &payload), IS_ALICE);
        }
    }

    #[test]
    fn issuer_and_audience_are_checked_if_they_are_configured() {
        let keys = TokenKeys::Single(TokenAlgorithm::Hs256, SECRET.into());
        let table = [
            (json!({}), None, None, None),
            (json!({"iss": "me", "aud": "you"}), None, None, None),
            (json!({"iss": "me"}), Some("me"), None, None),
            (json!({"iss": "Me"}), Some("me"), None, Some(Unverified::Issuer)),
            (json!({}), Some("me"), None, Some(Unverified::Issuer)),
            (json!({"iss": ["me"]}), Some("me"), None, Some(Unverified::WrongType)),
            (json!({"iss": 1}), None, None, Some(Unverified::WrongType)),
            (json!({"aud": "you"}), None, Some("you"), None),
            (json!({"aud": ["they", "you"]}), None, Some("you"), None),
            (json!({"aud": []}), None, Some("you"), Some(Unverified::Audience)),
            (json!({"aud": ["they", 1]}), None, Some("you"), Some(Unverified::Audience)),
            (json!({"aud": {"you": "you"}}), None, Some("you"), Some(Unverified::Audience)),
            (json!({}), None, Some("you"), Some(Unverified::Audience)),
        ];
        for (mut payload, issuer, audience, expected) in table {
            payload["sub"] = "alice".into();
            let payload = payload.to_string();
            let expected = expected.map_or(IS_ALICE, Err);
            for keys in [&keys, &TokenKeys::Trusted] {
                let options = TokenOptions {
                    issuer: issuer.map(Into::into),
                    audience: audience.map(Into::into),
                    ..TokenOptions::default()
                };
                let verifier = TokenVerifier::new(options, keys).unwrap();
                check(&verifier, &token(HS256, &payload), expected);
            }
        }
    }

    #[test]
    fn a_claim_is_a_string_or_an_integer_and_stands_once() {
        let table = [
            (r#"{"sub":"alice"}"#, IS_ALICE),
            (r#"{"s\u0075b":"al\u0069ce"}"#, IS_ALICE),
            (r#"{"x":{"sub":"bob"},"sub":"alice","x":1}"#, IS_ALICE),
            (r#"{"sub":-7}"#, Ok("-7")),
            (r#"{"sub":18446744073709551615}"#, Ok("18446744073709551615")),
            (r#"{"sub":18446744073709551616}"#, Err(Unverified::WrongType)),
            (r#"{"sub":7.0}"#, Err(Unverified::WrongType)),
            (r#"{"sub":1e3}"#, Err(Unverified::WrongType)),
            (r#"{"sub":""}"#, Err(Unverified::WrongType)),
            (r#"{"sub":null}"#, Err(Unverified::WrongType)),
            (r#"{"sub":true}"#, Err(Unverified::WrongType)),
            (r#"{"sub":["alice"]}"#, Err(Unverified::WrongType)),
            (r#"{"sub":{"a":1}}"#, Err(Unverified::WrongType)),
            (r#"{"Sub":"alice"}"#, Err(Unverified::Missing)),
            (r#"{"x":{"sub":"bob"}}"#, Err(Unverified::Missing)),
            (r#"{"sub":"alice","sub":"alice"}"#, Err(Unverified::Duplicate)),
            (r#"{"sub":"alice","s\u0075b":"bob"}"#, Err(Unverified::Duplicate)),
            (r#"{"sub":"alice","exp":1,"exp":9999999999}"#, Err(Unverified::Duplicate)),
            (r#"{"sub":"alice","iss":"a","iss":"b"}"#, Err(Unverified::Duplicate)),
            (r#"{"sub":"\ud800"}"#, Err(Unverified::Malformed)),
            (r#"{"sub":"alice"} {}"#, Err(Unverified::Malformed)),
            (r#"{"sub":"alice","#, Err(Unverified::Malformed)),
            (r#"["sub","alice"]"#, Err(Unverified::Malformed)),
            (r#""alice""#, Err(Unverified::Malformed)),
            ("", Err(Unverified::Malformed)),
        ];
        for (payload, expected) in table {
            check(&secret(), &token(HS256, payload), expected);
        }
        let deep = format!(r#"{{"x":{}1,"sub":"alice"}}"#, "[".repeat(5000));
        check(&secret(), &token(HS256, &deep), Err(Unverified::Malformed));
    }

    #[test]
    fn a_registered_claim_may_name_the_caller() {
        let token =
            format!("Bearer {}", token(HS256, r#"{"iss":"me","exp":9999999999,"aud":"a"}"#));
        for (name, value) in [
            ("iss", ClaimValue::Text("me".into())),
            ("aud", ClaimValue::Text("a".into())),
            ("exp", ClaimValue::Integer(9_999_999_999)),
        ] {
            let expected = Claimant { issuer: Some("me".into()), value };
            assert_eq!(claim(&secret(), &[&token], name), Claim::Verified(expected));
        }
    }

    #[test]
    fn a_token_is_found_in_its_header() {
        let genuine = token(HS256, ALICE);
        let is = |verifier: &TokenVerifier, value: &str| claim(verifier, &[value], "sub");
        let known = |claim: &Claim| matches!(claim, Claim::Verified(_));
        let bearer = secret();
        for scheme in ["Bearer ", "bearer ", "BEARER  ", "Bearer\t", ""] {
            assert!(known(&is(&bearer, &format!("{scheme}{genuine}"))), "{scheme}");
        }
        for value in ["Basic YTpi", "Bearer", "Bearer  ", "", &format!("DPoP {genuine}")] {
            assert_eq!(is(&bearer, value), Claim::Absent, "{value}");
        }
        assert_eq!(claim(&bearer, &[], "sub"), Claim::Absent);
        let malformed = Claim::Unverified(Unverified::Malformed);
        for value in
            [&format!("Bearer{genuine}"), "Negotiate", "Bearer x", "Bearer a.b.c", "Bearer é"]
        {
            assert_eq!(is(&bearer, value), malformed, "{value}");
        }
        let line = format!("Bearer {genuine}");
        let basic = "Basic YTpi";
        for lines in [[line.as_str(), &line], [&line, basic], [basic, &line]] {
            assert_eq!(claim(&bearer, &lines, "sub"), Claim::Unverified(Unverified::Several));
        }

        let own = TokenVerifier {
            options: TokenOptions {
                header: HeaderName::from_static("x-token"),
                ..TokenOptions::default()
            },
            ..secret()
        };
        assert!(known(&is(&own, &genuine)));
        assert!(known(&is(&own, &line)));
        assert_eq!(is(&own, &format!("DPoP {genuine}")), malformed);
        assert_eq!(is(&own, " "), Claim::Absent);
    }

    #[test]
    fn a_token_may_be_long_but_not_endless() {
        let long = |bytes: usize| {
            token(HS256, &format!(r#"{{"x":"{}","sub":"alice"}}"#, "x".repeat(bytes)))
        };
        assert!(long(12_000).len() < TOKEN_BYTES_MAX);
        check(&secret(), &long(12_000), IS_ALICE);
        check(&secret(), &long(12_300), Err(Unverified::TooLong));
        check(&trusting("authorization"), &long(12_300), Err(Unverified::TooLong));
    }

    #[test]
    fn a_hop_before_may_send_a_payload_or_a_token() {
        let payload = r#"{"sub":"alice","name":"??>>"}"#;
        let bare = base64(payload);
        let padded = base64::engine::general_purpose::URL_SAFE.encode(payload);
        assert_ne!(bare, padded);
        let verifier = trusting("x-payload");
        let unsigned = format!("{}.{bare}.", base64(r#"{"alg":"none"}"#));
        let signed = token(RS256, payload);
        for value in [&bare, &padded, &unsigned, &format!("h.{padded}.s"), &signed] {
            check(&verifier, value, IS_ALICE);
            assert!(matches!(claim(&verifier, &[value], "sub"), Claim::Verified(_)));
        }
        for value in [&format!("{bare}."), &format!("a.b.{bare}.c.d"), "%", "bnVsbA", payload] {
            check(&verifier, value, Err(Unverified::Malformed));
        }
        check(&secret(), &bare, Err(Unverified::Malformed));
    }

    #[test]
    fn a_token_says_which_key_of_a_set_it_means() {
        let keys = [
            jwk(RS256, &json!({"kid": "r", "use": "sig"})),
            jwk(ES256, &json!({"kid": "e", "alg": "ES256"})),
            jwk(HS256, &json!({"kid": "h", "alg": "HS256"})),
            jwk(EdDSA, &json!({})),
            jwk(RS256, &json!({"kid": "p", "alg": "PS256"})),
            jwk(ES256, &json!({"kid": "f"})),
        ];
        let verifier = ring(&keys);
        let table = [
            (RS256, Some("r"), IS_ALICE),
            (ES256, Some("e"), IS_ALICE),
            (HS256, Some("h"), IS_ALICE),
            (PS256, Some("p"), IS_ALICE),
            (ES256, Some("r"), Err(Unverified::Algorithm)),
            (PS256, Some("r"), Err(Unverified::Algorithm)),
            (HS256, Some("r"), Err(Unverified::Algorithm)),
            (EdDSA, None, IS_ALICE),
            (RS256, None, IS_ALICE),
            // The one key without a name may have any name.
            (EdDSA, Some("x"), IS_ALICE),
            (RS256, Some("x"), Err(Unverified::Algorithm)),
            (RS256, Some("R"), Err(Unverified::Algorithm)),
            // Two keys could be meant.
            (ES256, None, Err(Unverified::UnknownKey)),
        ];
        for (algorithm, id, expected) in table {
            let header = json!({"alg": algorithm, "kid": id});
            let header = id.map_or_else(|| json!({"alg": algorithm}), |_| header).to_string();
            check(&verifier, &sign(algorithm, &header, ALICE), expected);
        }
        let only = ring(&keys[..1]);
        let header = r#"{"alg":"RS256","kid":"x"}"#;
        check(&only, &sign(RS256, header, ALICE), Err(Unverified::UnknownKey));
        check(&only, &token(RS256, ALICE), IS_ALICE);
    }

    #[test]
    fn nothing_secret_is_shown() {
        let keys = TokenKeys::Single(TokenAlgorithm::Hs256, SECRET.into());
        let shown =
            format!("{keys:?} {:?} {:?}", secret(), sub(&secret(), &token(HS256, ALICE)).is_ok());
        assert!(shown.contains("Single(HS256)") && shown.contains("KeyRing(1 keys)"), "{shown}");
        let line = format!("Bearer {}", token(HS256, ALICE));
        let shown = format!("{shown} {:?}", claim(&secret(), &[&line], "sub"));
        let bytes = format!("{:?}", &SECRET[..4]);
        for part in ["0123", "alice", bytes.trim_matches(['[', ']'])] {
            assert!(!shown.contains(part), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused(
            value in proptest::collection::vec(any::<u8>(), 0..200),
            parts in proptest::collection::vec(any::<String>(), 3),
            is_bearer: bool,
        ) {
            let parts = parts.iter().map(base64).collect::<Vec<_>>().join(".");
            let forged = sign(HS256, r#"{"alg":"HS256"}"#, &String::from_utf8_lossy(&value));
            let scheme = if is_bearer { "Bearer " } else { "" };
            for value in [value, parts.into(), forged.into()] {
                let value = [scheme.as_bytes(), &value].concat();
                let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
                for verifier in [secret(), trusting("authorization")] {
                    let mut headers = HeaderMap::new();
                    headers.insert(verifier.header(), value.clone());
                    let claim = verifier.claim(&headers, "sub", Timestamp::MAX);
                    prop_assert!(!matches!(claim, Claim::Verified(_)));
                }
            }
        }
    }
}
