//! What the payload of a token says, once it is believed.

use std::fmt;
use std::time::Duration;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{TokenOptions, Unverified};
use crate::clock::Timestamp;

/// How far apart this clock and the issuer's may be, in seconds; Envoy allows the same.
const LEEWAY: f64 = 60.0;

/// Whom a token names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claimant {
    /// Who says so, if the token tells: what a claim says is unique only for its issuer.
    pub issuer: Option<Box<str>>,
    /// The value of the claim.
    pub value: ClaimValue,
}

/// What a claim says.
#[derive(Clone, Eq, PartialEq)]
pub enum ClaimValue {
    /// A string that is not empty.
    Text(Box<str>),
    /// An integer; `1` is somebody else than `"1"`.
    Integer(i128),
}

/// Some members of a JSON object, each as often as it stands there.
pub(super) struct Members(Vec<(String, Value)>);

/// Takes the named members out of an object, and passes over all others.
struct Names<'a>(&'a [&'a str]);

impl Claimant {
    /// Bytes that are the same for nobody else.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        match self.issuer.as_deref() {
            Some(issuer) => {
                bytes.push(b'i');
                bytes.extend_from_slice(&(issuer.len() as u64).to_le_bytes());
                bytes.extend_from_slice(issuer.as_bytes());
            }
            None => bytes.push(b'-'),
        }
        match &self.value {
            ClaimValue::Text(text) => {
                bytes.push(b't');
                bytes.extend_from_slice(text.as_bytes());
            }
            ClaimValue::Integer(integer) => {
                bytes.push(b'n');
                bytes.extend_from_slice(&integer.to_le_bytes());
            }
        }
        bytes
    }
}

impl fmt::Debug for ClaimValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Integer(_) => f.write_str("Integer"),
        }
    }
}

impl Members {
    /// Reads the members of these names out of a JSON object.
    pub(super) fn read(json: &[u8], names: &[&str]) -> Result<Self, Unverified> {
        let json = str::from_utf8(json).map_err(|_| Unverified::Malformed)?;
        let mut reader = serde_json::Deserializer::from_str(json);
        let found = reader.deserialize_map(Names(names)).and_then(|found| {
            reader.end()?;
            Ok(found)
        });
        found.map(Self).map_err(|_| Unverified::Malformed)
    }

    /// The member of this name, if there is one.
    pub(super) fn get(&self, name: &str) -> Result<Option<&Value>, Unverified> {
        let mut members = self.0.iter().filter(|(other, _)| other == name);
        match (members.next(), members.next()) {
            (_, Some(_)) => Err(Unverified::Duplicate),
            (member, None) => Ok(member.map(|(_, value)| value)),
        }
    }

    /// The member of this name, which must be a string.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Unverified> {
        match self.get(name)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Unverified::WrongType),
        }
    }

    /// The member of this name, which must be a number of seconds; it may have a fraction.
    fn seconds(&self, name: &str) -> Result<Option<f64>, Unverified> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        value.as_f64().map(Some).ok_or(Unverified::WrongType)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            if self.0.contains(&name.as_str()) {
                found.push((name, members.next_value()?));
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Checks that a token is valid at this time.
pub(super) fn check_time(claims: &Members, now: Timestamp) -> Result<(), Unverified> {
    let now = Duration::from_millis(now.as_millis()).as_secs_f64();
    if claims.seconds("exp")?.is_some_and(|end| now >= end + LEEWAY) {
        return Err(Unverified::Expired);
    }
    if claims.seconds("nbf")?.is_some_and(|begin| now < begin - LEEWAY) {
        return Err(Unverified::Early);
    }
    Ok(())
}

/// Checks by whom and for whom a token was issued.
pub(super) fn check_parties(claims: &Members, options: &TokenOptions) -> Result<(), Unverified> {
    if let Some(issuer) = &options.issuer
        && claims.text("iss")? != Some(issuer)
    {
        return Err(Unverified::Issuer);
    }
    let Some(wanted) = &options.audience else { return Ok(()) };
    let is_meant = match claims.get("aud")? {
        Some(Value::Array(audience)) => audience.iter().any(|one| one == wanted),
        Some(one) => one == wanted,
        None => false,
    };
    if is_meant { Ok(()) } else { Err(Unverified::Audience) }
}

/// Whom a token names with a claim.
pub(super) fn claimant(claims: &Members, claim: &str) -> Result<Claimant, Unverified> {
    let issuer = claims.text("iss")?.map(Into::into);
    let value = match claims.get(claim)? {
        None => return Err(Unverified::Missing),
        Some(Value::String(text)) if !text.is_empty() => ClaimValue::Text(text.as_str().into()),
        Some(Value::Number(number)) => {
            ClaimValue::Integer(number.as_i128().ok_or(Unverified::WrongType)?)
        }
        Some(_) => return Err(Unverified::WrongType),
    };
    Ok(Claimant { issuer, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_shares_the_bytes_of_somebody_else() {
        let claimant = |issuer: Option<&str>, value: ClaimValue| {
            Claimant { issuer: issuer.map(Into::into), value }.to_bytes()
        };
        let text = |text: &str| ClaimValue::Text(text.into());
        let all = [
            claimant(None, text("1")),
            claimant(None, ClaimValue::Integer(1)),
            claimant(None, ClaimValue::Integer(-1)),
            claimant(Some(""), text("1")),
            claimant(Some("a"), text("1")),
            claimant(Some("at"), text("1")),
            claimant(Some("a"), text("t1")),
            claimant(Some("a"), ClaimValue::Integer(1)),
            claimant(None, text("-t1")),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
    }
}
