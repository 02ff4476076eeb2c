//! Keys for tests only: they were made for them, and guard nothing.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

pub(super) const RSA_PRIVATE: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIIEpQIBAAKCAQEArkxkvQpv626xVIsgK5fRtEH8EY41qh3pzCdqGj9m5R/NSCB9
IiWrY95c2Qh1w5aXD3QwgZozsyWL99wXA8x7aIAYnZ+cylM9vxPEP7KkrEL9Wy4l
Qna4XBZSNuxcEFlbqVXqkQy7VvehZNn0ASHCK4IFptfcOArMhlv/IAUocO0DCwGJ
ZzA5QM2s74w9B08oSCr2wOFHfX5xX5GevExdLWKc4T9uulC4Vc84ZBwS6SWstxFH
NtHB3egdJ1u7Nc4Y2iXmBUT2lwbLvaZkBv3HwuLidMrnLar8k7nuEKEpjqHBS0hH
boc7gueyItWWAC8ApU7nyvlfV8nx829Zu+FUjQIDAQABAoIBACegC/3zN78HNw7w
ozNt7DmmD6uhED+41bx5UHSfqeGYsYd+hVxEQprthF+9/eHlpDmZ8WYhe7P0awYC
NgRB0mOPTalWDmPr+Tttv724fBoCj81RKBzcVyzuUSoV4ZdA7WcJto5b3eJXYUyH
hWLVfSp9gJHt/K2L/PPlydJKgedsBi2HIB25jG3qUmR1bCD7ujVgbhrLynuZgN1K
EMigagoZI6pQfnMOqeOdYh+RjJfzW8n7FMshz/gqNcIG+zci6exlvclI4GSF0fbi
DUhXQ6RflMeiK8UeZ3REjpF8Cu1CUirDFMu9cW5VnyTfiSGM2/KAAP5Bd0+Cd0g8
giaTC7kCgYEA6bjvo/7S9F4t1gZ7Rp8jJPPB2Gqwr1lYPg85FAcZosFIhBN4MOQs
z3/EowODIO9Gug9ABKPTk6tyCeUH+1pT+tCEgecehpYfaZo3FDkgUE7yHinK3Vv+
gfADdWVXnoH4Reu7iDMXr86576zHth/B4yy2iX/0bzl5wh/DPlSFYPkCgYEAvulz
nvjrJ+8f0s7DgRXGAiI/3Vq/yO+Vz79PE9oQLS93tpMf4jU5UtclGHxob/wuxYv4
yF8itTJx/Lq0dpHJAf7UI7S+cbtoRCx2tcb90QMX6MEB6bEyVst0aLtkwKOzepcM
RF3B0bLl1N8wLsiq+q4HKaoIVabpBmJu4o0XiTUCgYEAhmfLp8uLFOxz/3iKu/oY
A9AJ0aLJKI2AqW+nq1TJ8UalpQ5tN/B/tHQNaJFEf1QaoDTU49YyfeFCG16SUIGJ
edsf2HRIoa0DM39z3TVc19IOejoeZ13X5nFYC9LTqFulotAFcDWxkXCYjLQXxSxO
G45DCp+CudObqX8KkHWankECgYEArLtMgWl2Wotgn7uz5/drUELsxbp2C7e6NF1D
jxKd0ERCbE5xapn9Y5aFWcI2PBxPtS0PyztIi+k4eRH0ddMxqzyFdEj0hrKphAU2
4wFIZPQHjfATav2ILj+m85uZbTKwERrZXoH1+2WBzTiiv7GQAX+zu168a8K40637
5b8CrIECgYEAqXJTdRPiYYavNCAhgCvF6LRdx0g+xx06Y3bSFUhqPaKAA9fD50iM
JveBcnrJkjHGYo/9xQzP/DYYUsMWCdWrjd3dCMlwnUQoefMReWm7vvYeyd1Ju1oX
tfk8I9SXl7TS0y08EUK/tY+6mAoKIRIYbpjr/H3+pOrS30veIgjJX2o=
-----END RSA PRIVATE KEY-----";

pub(super) const RSA_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEArkxkvQpv626xVIsgK5fR
tEH8EY41qh3pzCdqGj9m5R/NSCB9IiWrY95c2Qh1w5aXD3QwgZozsyWL99wXA8x7
aIAYnZ+cylM9vxPEP7KkrEL9Wy4lQna4XBZSNuxcEFlbqVXqkQy7VvehZNn0ASHC
K4IFptfcOArMhlv/IAUocO0DCwGJZzA5QM2s74w9B08oSCr2wOFHfX5xX5GevExd
LWKc4T9uulC4Vc84ZBwS6SWstxFHNtHB3egdJ1u7Nc4Y2iXmBUT2lwbLvaZkBv3H
wuLidMrnLar8k7nuEKEpjqHBS0hHboc7gueyItWWAC8ApU7nyvlfV8nx829Zu+FU
jQIDAQAB
-----END PUBLIC KEY-----";

pub(super) const RSA_PUBLIC_OF_OLD: &str = "\
-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEArkxkvQpv626xVIsgK5fRtEH8EY41qh3pzCdqGj9m5R/NSCB9IiWr
Y95c2Qh1w5aXD3QwgZozsyWL99wXA8x7aIAYnZ+cylM9vxPEP7KkrEL9Wy4lQna4
XBZSNuxcEFlbqVXqkQy7VvehZNn0ASHCK4IFptfcOArMhlv/IAUocO0DCwGJZzA5
QM2s74w9B08oSCr2wOFHfX5xX5GevExdLWKc4T9uulC4Vc84ZBwS6SWstxFHNtHB
3egdJ1u7Nc4Y2iXmBUT2lwbLvaZkBv3HwuLidMrnLar8k7nuEKEpjqHBS0hHboc7
gueyItWWAC8ApU7nyvlfV8nx829Zu+FUjQIDAQAB
-----END RSA PUBLIC KEY-----";

pub(super) const RSA_WEAK: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCX30SP/cWQfPj193rmfsvJ0CCC
gllsJZ35J+XK2MGiE7kXiKYSWi44THLuocit16bCGiUSIZnwojXNyNIo2eDhH+76
MMc6p41hoGv7UVMBvzigbp3F9cDb/3nmadVz/GqsI+1BVfnDX1uaP0gwkcZwhgiV
jbHQ8HwZNC9O4jGVrwIDAQAB
-----END PUBLIC KEY-----";

pub(super) const EC_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBut3fBGgytZeDagT
dwhwGbYr+w8cAK2PsfiEx7M3dRmhRANCAATpSA3zIpsX+G2EMgZg7+csJjiiv5bd
q6Au/QzJrcWf/iyeVjIT21pLjHSBFeLASHgtHCmrWAWEl6HEnAEQIp6P
-----END PRIVATE KEY-----";

pub(super) const EC_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6UgN8yKbF/hthDIGYO/nLCY4or+W
3augLv0Mya3Fn/4snlYyE9taS4x0gRXiwEh4LRwpq1gFhJehxJwBECKejw==
-----END PUBLIC KEY-----";

pub(super) const P384_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEIgSe/j9fOnRMgxrb7PFaIG63VeS4DcKV
6b2u6Q0VaY44n8Zpzj8dVsWT2Eg8QDCTQAR6xG+VTJahOn/1Iwiuqw8W1kMvE1+J
onemjgRFYHEGYwGoT/Y3h0hbExRSadJY
-----END PUBLIC KEY-----";

pub(super) const ED_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIN7ZqBj6qBSU2BHuG8Zxwdd5GikBBYRLXPzAW5LSav7B
-----END PRIVATE KEY-----";

pub(super) const ED_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAS1b/QTtDBrlpTKN/acPFThTBeVC89sMAf+8RHqHQICM=
-----END PUBLIC KEY-----";

pub(super) const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

pub(super) fn base64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A private key or secret for the algorithm.
pub(super) fn signer(algorithm: Algorithm) -> EncodingKey {
    let der = |pem: &str| {
        let lines: Vec<_> = pem.lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(lines.concat()).unwrap()
    };
    match () {
        () if algorithm == Algorithm::HS256 => EncodingKey::from_secret(SECRET),
        () if algorithm == Algorithm::ES256 => EncodingKey::from_ec_der(&der(EC_PRIVATE)),
        () if algorithm == Algorithm::EdDSA => EncodingKey::from_ed_der(&der(ED_PRIVATE)),
        () => EncodingKey::from_rsa_der(&der(RSA_PRIVATE)),
    }
}

/// A signed token with exactly this header and payload.
pub(super) fn sign(algorithm: Algorithm, header: &str, payload: &str) -> String {
    let message = format!("{}.{}", base64(header), base64(payload));
    let signature = crypto::sign(message.as_bytes(), &signer(algorithm), algorithm).unwrap();
    format!("{message}.{signature}")
}

/// A signed token with this payload.
pub(super) fn token(algorithm: Algorithm, payload: &str) -> String {
    sign(algorithm, &json!({"alg": algorithm, "typ": "JWT"}).to_string(), payload)
}

/// The public half of a key as a set has it, with more members or others.
pub(super) fn jwk(algorithm: Algorithm, more: &Value) -> Value {
    let mut jwk = Jwk::from_encoding_key(&signer(algorithm), algorithm).unwrap();
    jwk.common.key_algorithm = None;
    let mut jwk = serde_json::to_value(jwk).unwrap();
    for (name, value) in more.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

/// A set of keys.
pub(super) fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
