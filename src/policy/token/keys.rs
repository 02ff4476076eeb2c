//! The keys that tokens are signed with, and which of them a token may use.

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm as Signing, AlgorithmFamily, DecodingKey, crypto};
use serde::Deserialize as _;
use serde_json::Value;

use super::{Unverified, pem};

/// What the DER of every P-256 key begins with (RFC 5480); its point follows.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The sizes of RSA keys that are neither too weak nor too slow, in bits.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// What makes a token believable.
#[derive(Clone)]
pub enum TokenKeys {
    /// A hop before this one, which has verified it and lets nobody else send one: it is only read.
    Trusted,
    /// One key: the bytes of a secret, or a PEM file with a public key.
    Single(TokenAlgorithm, Vec<u8>),
    /// A JSON Web Key Set (RFC 7517).
    Jwks(String),
}

/// An algorithm that a single key may be for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256, and a secret.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
}

/// Why keys cannot be used; it never shows any of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenKeyError {
    /// A secret could be guessed.
    #[error("the secret needs {0} bytes or more for its algorithm, and this one has {1}")]
    ShortSecret(usize, usize),
    /// A secret is a key that others may know.
    #[error("it is a PEM file, whose key others may know, and no secret for HS256")]
    PemAsSecret,
    /// There is no public key.
    #[error("it is no PEM file with one `PUBLIC KEY`")]
    NotPem,
    /// There is more than is needed here.
    #[error("it is a private key, which nobody should have who only verifies: give the public one")]
    PrivateKey,
    /// The public key is inside.
    #[error("it is a certificate: take the public key out of it")]
    Certificate,
    /// It is a key, but for something else.
    #[error("it is no key for {0}")]
    WrongKind(TokenAlgorithm),
    /// An RSA key is too weak, or too slow.
    #[error("an RSA key needs 2048 to 8192 bits, and this one has {0}")]
    RsaSize(usize),
    /// A set is not one.
    #[error("it is no JSON object with an array named `keys`")]
    NotSet,
    /// A set has nothing to verify with.
    #[error(
        "the set has no key to verify with: RSA from 2048 bits, P-256, P-384 or Ed25519, \
         or a secret that says its algorithm"
    )]
    NoneUsable,
    /// No token can say which of two keys it means.
    #[error("two keys of the set have the same `kid`, or the same algorithm and no `kid`")]
    Alike,
}

/// Keys, each for one algorithm, and no two alike.
pub(super) struct KeyRing(Vec<Key>);

/// A key, and the only algorithm that it is used with (RFC 8725, section 3.1).
pub(super) struct Key {
    id: Option<String>,
    algorithm: Signing,
    material: DecodingKey,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trusted => f.write_str("Trusted"),
            Self::Single(algorithm, _) => write!(f, "Single({algorithm})"),
            Self::Jwks(_) => f.write_str("Jwks"),
        }
    }
}

impl TokenAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hs256, Self::Rs256, Self::Es256];

    /// Its name (RFC 7518, section 3.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl KeyRing {
    /// A ring with one key, which tokens use whatever they call it.
    pub(super) fn of_one(algorithm: TokenAlgorithm, key: &[u8]) -> Result<Self, TokenKeyError> {
        let (algorithm, material) = match algorithm {
            TokenAlgorithm::Hs256 => (Signing::HS256, single_secret(key)?),
            TokenAlgorithm::Rs256 => (Signing::RS256, single_rsa(&pem::public_key(key)?)?),
            TokenAlgorithm::Es256 => (Signing::ES256, single_p256(&pem::public_key(key)?)?),
        };
        Ok(Self(vec![Key { id: None, algorithm, material }]))
    }

    /// A ring with the keys of a set that are for signatures and can be used here; the others are
    /// ignored, as RFC 7517 (section 5) wants it.
    pub(super) fn of_set(set: &str) -> Result<Self, TokenKeyError> {
        let set: Value = serde_json::from_str(set).map_err(|_| TokenKeyError::NotSet)?;
        let set = set.get("keys").and_then(Value::as_array).ok_or(TokenKeyError::NotSet)?;
        let mut keys: Vec<Key> = Vec::with_capacity(set.len());
        for member in set {
            let Some(key) = Key::of_member(member)? else { continue };
            if keys.iter().any(|other| other.is_like(&key)) {
                return Err(TokenKeyError::Alike);
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(TokenKeyError::NoneUsable) } else { Ok(Self(keys)) }
    }

    /// The key of a token that names an algorithm and perhaps a key: the one of that name, or the
    /// only one that it can mean.
    pub(super) fn find(&self, algorithm: &str, id: Option<&str>) -> Result<&Key, Unverified> {
        let algorithm = algorithm.parse::<Signing>().map_err(|_| Unverified::Algorithm)?;
        let named = id.and_then(|id| self.0.iter().find(|key| key.id.as_deref() == Some(id)));
        let meant: Vec<&Key> = match named {
            Some(key) => vec![key],
            None => self.0.iter().filter(|key| id.is_none() || key.id.is_none()).collect(),
        };
        if meant.is_empty() {
            return Err(Unverified::UnknownKey);
        }
        let mut fit = meant.into_iter().filter(|key| key.algorithm == algorithm);
        match (fit.next(), fit.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(Unverified::UnknownKey),
            (None, _) => Err(Unverified::Algorithm),
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.0.len())
    }
}

impl Key {
    /// Checks that the key has signed the message.
    pub(super) fn verify(&self, message: &str, signature: &str) -> Result<(), Unverified> {
        match crypto::verify(signature, message.as_bytes(), &self.material, self.algorithm) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Unverified::Signature),
            Err(_) => Err(Unverified::Malformed),
        }
    }

    /// The key of a set's member, if it is one that signatures can be verified with.
    ///
    /// A secret must say its algorithm and be long enough for it. It cannot be mistaken for a
    /// public key, nor a public key for a secret, since each is used with its own algorithm only.
    fn of_member(member: &Value) -> Result<Option<Self>, TokenKeyError> {
        let Ok(jwk) = Jwk::deserialize(member) else { return Ok(None) };
        let Some(algorithm) = algorithm(&jwk) else { return Ok(None) };
        let Ok(material) = DecodingKey::from_jwk(&jwk) else { return Ok(None) };
        if material.family() == AlgorithmFamily::Hmac {
            let secret = material.try_get_as_bytes().map_or(0, <[u8]>::len);
            check_secret(algorithm, secret)?;
        } else if member.get("d").is_some() {
            return Err(TokenKeyError::PrivateKey);
        }
        Ok(Some(Self { id: jwk.common.key_id, algorithm, material }))
    }

    /// Whether a token could not say which of the two it means.
    fn is_like(&self, other: &Self) -> bool {
        self.id == other.id && (self.id.is_some() || self.algorithm == other.algorithm)
    }
}

/// The only algorithm that a member of a set is used with: the one that it names, or else the usual
/// one for a public key of its kind.
fn algorithm(jwk: &Jwk) -> Option<Signing> {
    if !is_for_signatures(&jwk.common) {
        return None;
    }
    let possible = possible(&jwk.algorithm);
    match jwk.common.key_algorithm {
        Some(named) => Signing::try_from(named).ok().filter(|named| possible.contains(named)),
        None => possible.first().copied().filter(|usual| usual.family() != AlgorithmFamily::Hmac),
    }
}

/// The algorithms that a key could be for, the usual one first.
fn possible(key: &AlgorithmParameters) -> &'static [Signing] {
    match key {
        AlgorithmParameters::RSA(rsa) if RSA_BITS.contains(&bits(&rsa.n)) => {
            AlgorithmFamily::Rsa.algorithms()
        }
        AlgorithmParameters::EllipticCurve(ec) => {
            let bytes = [&ec.x, &ec.y].map(|coordinate| decoded(coordinate).len());
            match (&ec.curve, bytes) {
                (EllipticCurve::P256, [32, 32]) => &[Signing::ES256],
                (EllipticCurve::P384, [48, 48]) => &[Signing::ES384],
                _ => &[],
            }
        }
        AlgorithmParameters::OctetKeyPair(pair)
            if pair.curve == EllipticCurve::Ed25519 && decoded(&pair.x).len() == 32 =>
        {
            AlgorithmFamily::Ed.algorithms()
        }
        AlgorithmParameters::OctetKey(_) => AlgorithmFamily::Hmac.algorithms(),
        AlgorithmParameters::RSA(_)
        | AlgorithmParameters::OctetKeyPair(_)
        | AlgorithmParameters::Other(_)
        | _ => &[],
    }
}

fn is_for_signatures(common: &CommonParameters) -> bool {
    let used = common.public_key_use.as_ref();
    let operations = common.key_operations.as_ref();
    used.is_none_or(|used| *used == PublicKeyUse::Signature)
        && operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

fn single_secret(secret: &[u8]) -> Result<DecodingKey, TokenKeyError> {
    if secret.windows(pem::BEGIN.len()).any(|bytes| bytes == pem::BEGIN.as_bytes()) {
        return Err(TokenKeyError::PemAsSecret);
    }
    check_secret(Signing::HS256, secret.len())?;
    Ok(DecodingKey::from_secret(secret))
}

/// A secret must be as long as the hash (RFC 7518, section 3.2).
fn check_secret(algorithm: Signing, bytes: usize) -> Result<(), TokenKeyError> {
    let needed = match () {
        () if algorithm == Signing::HS512 => 64,
        () if algorithm == Signing::HS384 => 48,
        () => 32,
    };
    if bytes < needed { Err(TokenKeyError::ShortSecret(needed, bytes)) } else { Ok(()) }
}

fn single_rsa(der: &[u8]) -> Result<DecodingKey, TokenKeyError> {
    let wrong = TokenKeyError::WrongKind(TokenAlgorithm::Rs256);
    let jwk = Jwk::from_decoding_key(&DecodingKey::from_rsa_der(der), None).map_err(|_| wrong)?;
    let AlgorithmParameters::RSA(rsa) = &jwk.algorithm else { return Err(wrong) };
    match bits(&rsa.n) {
        bits if RSA_BITS.contains(&bits) => DecodingKey::from_jwk(&jwk).map_err(|_| wrong),
        bits => Err(TokenKeyError::RsaSize(bits)),
    }
}

fn single_p256(der: &[u8]) -> Result<DecodingKey, TokenKeyError> {
    match der.strip_prefix(&P256) {
        Some(point @ [4, ..]) if point.len() == 65 => Ok(DecodingKey::from_ec_der(point)),
        _ => Err(TokenKeyError::WrongKind(TokenAlgorithm::Es256)),
    }
}

/// How many bits a number has, as a key set writes it.
fn bits(number: &str) -> usize {
    let number = decoded(number);
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    (number.len() - zeros) * 8 - first
}

fn decoded(base64: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(base64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm::{ES256, EdDSA, HS256, RS256};
    use serde_json::json;

    use super::super::samples::{self, SECRET, base64, jwk, set};
    use super::*;

    #[track_caller]
    fn check_single(algorithm: TokenAlgorithm, key: &[u8], expected: Result<(), TokenKeyError>) {
        assert_eq!(KeyRing::of_one(algorithm, key).map(drop), expected);
    }

    #[track_caller]
    fn check_set(text: &str, expected: Result<usize, TokenKeyError>) {
        assert_eq!(KeyRing::of_set(text).map(|ring| ring.0.len()), expected, "{text}");
    }

    #[test]
    fn a_secret_is_long_and_no_public_key() {
        let hs256 = TokenAlgorithm::Hs256;
        check_single(hs256, SECRET, Ok(()));
        check_single(hs256, &[0; 33], Ok(()));
        check_single(hs256, &SECRET[1..], Err(TokenKeyError::ShortSecret(32, 31)));
        check_single(hs256, b"", Err(TokenKeyError::ShortSecret(32, 0)));
        for pem in [samples::RSA_PUBLIC, samples::EC_PRIVATE] {
            check_single(hs256, pem.as_bytes(), Err(TokenKeyError::PemAsSecret));
            check_single(
                hs256,
                format!("\u{feff}{pem}").as_bytes(),
                Err(TokenKeyError::PemAsSecret),
            );
        }
    }

    #[test]
    fn a_pem_file_has_one_public_key_of_the_right_kind() {
        let [rs256, es256] = [TokenAlgorithm::Rs256, TokenAlgorithm::Es256];
        let wrong = |algorithm| Err(TokenKeyError::WrongKind(algorithm));
        let certificate = samples::RSA_PUBLIC.replace("PUBLIC KEY", "CERTIFICATE");
        let old_private = samples::EC_PRIVATE.replace("PRIVATE", "EC PRIVATE");
        let twice = [samples::RSA_PUBLIC, samples::RSA_PUBLIC].concat();
        let lines = [samples::EC_PUBLIC, samples::RSA_PUBLIC].join("\n");
        let both = [samples::EC_PUBLIC, samples::EC_PRIVATE].concat();
        let cut = &samples::RSA_PUBLIC[..300];
        let changed = samples::EC_PUBLIC.replace("MFkw", "MF*w");
        let crlf = samples::EC_PUBLIC.replace('\n', "\r\n");
        let noted = format!("the key of today\n\n{}\n", samples::RSA_PUBLIC);
        let table: [(&str, _, _); 18] = [
            (samples::RSA_PUBLIC, Ok(()), wrong(es256)),
            (samples::RSA_PUBLIC_OF_OLD, Ok(()), wrong(es256)),
            (&noted, Ok(()), wrong(es256)),
            (samples::EC_PUBLIC, wrong(rs256), Ok(())),
            (&crlf, wrong(rs256), Ok(())),
            (samples::P384_PUBLIC, wrong(rs256), wrong(es256)),
            (samples::ED_PUBLIC, wrong(rs256), wrong(es256)),
            (samples::RSA_WEAK, Err(TokenKeyError::RsaSize(1024)), wrong(es256)),
            (samples::RSA_PRIVATE, Err(TokenKeyError::PrivateKey), Err(TokenKeyError::PrivateKey)),
            (samples::EC_PRIVATE, Err(TokenKeyError::PrivateKey), Err(TokenKeyError::PrivateKey)),
            (&old_private, Err(TokenKeyError::PrivateKey), Err(TokenKeyError::PrivateKey)),
            (&both, Err(TokenKeyError::PrivateKey), Err(TokenKeyError::PrivateKey)),
            (&certificate, Err(TokenKeyError::Certificate), Err(TokenKeyError::Certificate)),
            (&twice, Err(TokenKeyError::NotPem), Err(TokenKeyError::NotPem)),
            (&lines, Err(TokenKeyError::NotPem), Err(TokenKeyError::NotPem)),
            (cut, Err(TokenKeyError::NotPem), Err(TokenKeyError::NotPem)),
            (&changed, Err(TokenKeyError::NotPem), Err(TokenKeyError::NotPem)),
            ("", Err(TokenKeyError::NotPem), Err(TokenKeyError::NotPem)),
        ];
        for (pem, as_rs256, as_es256) in table {
            check_single(rs256, pem.as_bytes(), as_rs256);
            check_single(es256, pem.as_bytes(), as_es256);
        }
        check_single(rs256, &[0xff; 100], Err(TokenKeyError::NotPem));
    }

    #[test]
    fn a_set_gives_the_keys_that_can_be_used() {
        let none = Err(TokenKeyError::NoneUsable);
        let table = [
            (jwk(RS256, &json!({})), Ok(1)),
            (jwk(RS256, &json!({"alg": "RS512", "use": "sig", "key_ops": ["verify"]})), Ok(1)),
            (jwk(RS256, &json!({"alg": "RSA-OAEP"})), none),
            (jwk(RS256, &json!({"alg": "ES256"})), none),
            (jwk(RS256, &json!({"alg": "HS256"})), none),
            (jwk(RS256, &json!({"alg": "none"})), none),
            (jwk(RS256, &json!({"use": "enc"})), none),
            (jwk(RS256, &json!({"key_ops": ["encrypt"]})), none),
            (jwk(RS256, &json!({"n": base64([0xff; 128])})), none),
            (jwk(RS256, &json!({"n": "*"})), none),
            (jwk(RS256, &json!({"kty": "what"})), none),
            (jwk(RS256, &json!({"kid": 1})), none),
            (jwk(RS256, &json!({"d": "AQAB"})), Err(TokenKeyError::PrivateKey)),
            (jwk(ES256, &json!({})), Ok(1)),
            (jwk(ES256, &json!({"crv": "P-384"})), none),
            (jwk(ES256, &json!({"crv": "secp256k1"})), none),
            (jwk(ES256, &json!({"x": base64([1; 31])})), none),
            (jwk(EdDSA, &json!({})), Ok(1)),
            (jwk(EdDSA, &json!({"x": base64([1; 31])})), none),
            (jwk(HS256, &json!({})), none),
            (jwk(HS256, &json!({"alg": "HS256"})), Ok(1)),
            (jwk(HS256, &json!({"alg": "RS256"})), none),
            (jwk(HS256, &json!({"alg": "HS512"})), Err(TokenKeyError::ShortSecret(64, 32))),
            (jwk(HS256, &json!({"alg": "HS384", "k": base64([1; 48])})), Ok(1)),
            (json!("key"), none),
        ];
        for (key, expected) in table {
            check_set(&set(std::slice::from_ref(&key)), expected);
            let beside = set(&[json!({"kty": "x"}), key, jwk(ES256, &json!({"kid": "beside"}))]);
            let expected = if expected == none { Ok(1) } else { expected.map(|one| one + 1) };
            check_set(&beside, expected);
        }
    }

    #[test]
    fn no_two_keys_of_a_set_are_alike() {
        let [rs256, es256] = [RS256, ES256].map(|kind| move |more: &Value| jwk(kind, more));
        let named = json!({"kid": "a"});
        check_set(&set(&[rs256(&named), es256(&named)]), Err(TokenKeyError::Alike));
        check_set(&set(&[rs256(&json!({})), rs256(&json!({}))]), Err(TokenKeyError::Alike));
        check_set(&set(&[rs256(&json!({})), es256(&json!({})), rs256(&named)]), Ok(3));
        check_set(&set(&[rs256(&json!({})), rs256(&json!({"alg": "PS256"}))]), Ok(2));
        check_set(&set(&[rs256(&named), rs256(&json!({"kid": "a", "use": "enc"}))]), Ok(1));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        check_set("", Err(TokenKeyError::NotSet));
        check_set("[]", Err(TokenKeyError::NotSet));
        check_set("{}", Err(TokenKeyError::NotSet));
        check_set(r#"{"keys":{}}"#, Err(TokenKeyError::NotSet));
        check_set(&jwk(RS256, &json!({})).to_string(), Err(TokenKeyError::NotSet));
        check_set(r#"{"keys":[]}"#, Err(TokenKeyError::NoneUsable));
    }
}
