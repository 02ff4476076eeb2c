//! Where a key may be.

use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, HeaderName, header};

use super::json::key_material;
use super::pattern::PathPattern;
use super::pointer::{Pointer, PointerError};
use super::{Asked, IdentifyError};
use crate::idempotency::{IdempotencyKey, KeyError};

/// Where a key may be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// In these parts of the request, all of which must be there.
    Parts(KeyParts),
    /// Everywhere: the key is a checksum of the request.
    Checksum,
}

/// The parts of a request that together are its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyParts {
    parts: Box<[KeyPart]>,
    /// The parts as they are written in a config, which is the name of the source.
    name: Box<str>,
}

/// One part of a request that may be its key, or part of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyPart {
    /// A header field.
    Header(HeaderName),
    /// A parameter of the query, as it was sent.
    Query(Box<str>),
    /// A parameter of the route's path, as it was sent.
    Path(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
    /// A value, or several, in a JSON body.
    Json(Pointer),
}

/// Whether a request has a key in some place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// It has.
    Found,
    /// It has not.
    Missing,
    /// Its body must be looked at.
    InBody,
}

/// Why a text names no source of a key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeySourceError {
    /// It begins with no known kind of source.
    #[error(
        "\"{0}\" is none of `header:NAME`, `query:NAME`, `path:NAME`, `cookie:NAME`, \
         `json:/POINTER` and `checksum`"
    )]
    Unknown(String),
    /// A header's name is not one.
    #[error("\"{0}\" is not the name of a header field")]
    BadHeader(String),
    /// Another name is empty, or has characters that it can't have.
    #[error("\"{0}\" is not a name that can stand in a {1}")]
    BadName(String, &'static str),
    /// The pointer is not one.
    #[error("{0}")]
    BadPointer(#[from] PointerError),
    /// A checksum is joined to something.
    #[error("a checksum covers the whole request, and can't be joined with `+`")]
    JoinedChecksum,
}

const KINDS: [&str; 5] = ["header:", "query:", "path:", "cookie:", "json:"];

impl KeySource {
    /// A key in the header of this name.
    pub fn header(name: HeaderName) -> Self {
        Self::from_parts(vec![KeyPart::Header(name)])
    }

    fn from_parts(parts: Vec<KeyPart>) -> Self {
        let texts: Vec<_> = parts.iter().map(ToString::to_string).collect();
        Self::Parts(KeyParts { parts: parts.into(), name: texts.join("+").into() })
    }

    /// The name of the source, as a config has it.
    pub fn name(&self) -> &str {
        match self {
            Self::Parts(parts) => &parts.name,
            Self::Checksum => "checksum",
        }
    }

    /// The header fields that the key may be in.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.parts().iter().filter_map(|part| match part {
            KeyPart::Header(name) => Some(name),
            KeyPart::Query(_) | KeyPart::Path(_) | KeyPart::Cookie(_) | KeyPart::Json(_) => None,
        })
    }

    /// The parts that the key has.
    pub fn parts(&self) -> &[KeyPart] {
        match self {
            Self::Parts(parts) => &parts.parts,
            Self::Checksum => &[],
        }
    }
}

impl KeyParts {
    /// Whether the request has all parts, as far as its header tells.
    pub(super) fn presence(
        &self,
        asked: &Asked<'_>,
        path: Option<&PathPattern>,
    ) -> Result<Presence, IdentifyError> {
        let mut presence = Presence::Found;
        for part in &self.parts {
            match part {
                KeyPart::Json(_) => presence = Presence::InBody,
                KeyPart::Header(_) | KeyPart::Query(_) | KeyPart::Path(_) | KeyPart::Cookie(_) => {
                    if part.read(asked, path)?.is_none() {
                        return Ok(Presence::Missing);
                    }
                }
            }
        }
        Ok(presence)
    }

    /// Gives `sink` the parts in their order; says whether all are there.
    pub(super) fn read(
        &self,
        asked: &Asked<'_>,
        path: Option<&PathPattern>,
        json: Option<&[u8]>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, IdentifyError> {
        for part in &self.parts {
            let found = match part {
                KeyPart::Json(pointer) => json.is_some_and(|json| {
                    let mut material = Vec::new();
                    let found = key_material(pointer, json, &mut material).is_some();
                    sink(&material);
                    found
                }),
                KeyPart::Header(_) | KeyPart::Query(_) | KeyPart::Path(_) | KeyPart::Cookie(_) => {
                    let found = part.read(asked, path)?;
                    found.inspect(|key| sink(key.as_bytes())).is_some()
                }
            };
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl KeyPart {
    /// What the request's header has here.
    fn read<'a>(
        &self,
        asked: &Asked<'a>,
        path: Option<&PathPattern>,
    ) -> Result<Option<IdempotencyKey<'a>>, IdentifyError> {
        let read = match self {
            Self::Header(name) => header_key(&asked.head.headers, name),
            Self::Query(name) => one(query_values(asked.head.uri.query(), name)),
            Self::Path(name) => {
                one(path.and_then(|path| path.parameter(name, asked.head.uri.path())).into_iter())
            }
            Self::Cookie(name) => one(cookie_values(&asked.head.headers, name)),
            Self::Json(_) => Ok(None),
        };
        read.map_err(|error| IdentifyError::Malformed(self.to_string(), error))
    }
}

fn header_key<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<IdempotencyKey<'a>>, KeyError> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    match lines.next() {
        Some(_) => Err(KeyError::Several),
        None => IdempotencyKey::parse(line.as_bytes()).map(Some),
    }
}

fn one<'a, T: AsRef<[u8]> + ?Sized + 'a>(
    mut values: impl Iterator<Item = &'a T>,
) -> Result<Option<IdempotencyKey<'a>>, KeyError> {
    let Some(value) = values.next() else { return Ok(None) };
    match values.next() {
        Some(_) => Err(KeyError::Several),
        None => IdempotencyKey::bare(value.as_ref()).map(Some),
    }
}

/// The values of a parameter of the query, as they were sent: nothing is decoded, since servers
/// disagree about how.
pub(super) fn query_values<'a>(
    query: Option<&'a str>,
    name: &str,
) -> impl Iterator<Item = &'a str> {
    query
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(move |pair| pair.0 == name)
        .map(|pair| pair.1)
}

/// The values of a cookie (RFC 6265, section 4.2), as they were sent.
pub(super) fn cookie_values<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(move |pair| {
            let pair = pair.trim_ascii_start().strip_prefix(name.as_bytes())?;
            Some(pair.strip_prefix(b"=")?.trim_ascii_end())
        })
}

impl FromStr for KeySource {
    type Err = KeySourceError;

    fn from_str(text: &str) -> Result<Self, KeySourceError> {
        if text == "checksum" {
            return Ok(Self::Checksum);
        }
        let parts = split(text).map(str::parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::from_parts(parts))
    }
}

/// Splits a source at every `+` that another part follows; a pointer may hold others.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let part = rest.take()?;
        let joint = part.match_indices('+').map(|(at, _)| at).find(|at| {
            let next = &part[at + 1..];
            next == "checksum" || KINDS.iter().any(|kind| next.starts_with(kind))
        });
        match joint {
            Some(at) => {
                rest = Some(&part[at + 1..]);
                Some(&part[..at])
            }
            None => Some(part),
        }
    })
}

impl FromStr for KeyPart {
    type Err = KeySourceError;

    fn from_str(text: &str) -> Result<Self, KeySourceError> {
        let named = |what, forbidden: &str, name: &str| {
            let plain = |byte: u8| byte.is_ascii_graphic() && !forbidden.contains(char::from(byte));
            match !name.is_empty() && name.bytes().all(plain) {
                true => Ok(Box::from(name)),
                false => Err(KeySourceError::BadName(name.to_owned(), what)),
            }
        };
        match text.split_once(':') {
            Some(("header", name)) => match name.parse() {
                Ok(name) => Ok(Self::Header(name)),
                Err(_) => Err(KeySourceError::BadHeader(name.to_owned())),
            },
            Some(("query", name)) => named("query", "&=#", name).map(Self::Query),
            Some(("path", name)) => named("path pattern", "/{}*", name).map(Self::Path),
            Some(("cookie", name)) => named("cookie", ";=,\"", name).map(Self::Cookie),
            Some(("json", pointer)) => Ok(Self::Json(pointer.parse()?)),
            _ if text == "checksum" => Err(KeySourceError::JoinedChecksum),
            _ => Err(KeySourceError::Unknown(text.to_owned())),
        }
    }
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Path(name) => write!(f, "path:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Json(pointer) => write!(f, "json:{pointer}"),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[&str], KeySourceError>) {
        let parsed: Result<KeySource, _> = text.parse();
        let parts =
            parsed.map(|source| source.parts().iter().map(KeyPart::to_string).collect::<Vec<_>>());
        assert_eq!(parts, expected.map(|parts| parts.iter().map(ToString::to_string).collect()));
    }

    #[test]
    fn sources_are_read_part_by_part() {
        check("checksum", Ok(&[]));
        check("header:Idempotency-Key", Ok(&["header:idempotency-key"]));
        check("json:/account+json:/id", Ok(&["json:/account", "json:/id"]));
        check("json:/a+b+query:id", Ok(&["json:/a+b", "query:id"]));
        check("path:id+cookie:sid+header:x", Ok(&["path:id", "cookie:sid", "header:x"]));
    }

    #[test]
    fn what_is_no_source_is_refused_with_its_reason() {
        check("", Err(KeySourceError::Unknown(String::new())));
        check("Idempotency-Key", Err(KeySourceError::Unknown("Idempotency-Key".into())));
        check("body:/a", Err(KeySourceError::Unknown("body:/a".into())));
        check("header:a b", Err(KeySourceError::BadHeader("a b".into())));
        check("query:", Err(KeySourceError::BadName(String::new(), "query")));
        check("query:a=b", Err(KeySourceError::BadName("a=b".into(), "query")));
        check("header:a+checksum", Err(KeySourceError::JoinedChecksum));
        check("checksum+header:a", Err(KeySourceError::JoinedChecksum));
    }

    #[test]
    fn values_are_taken_as_they_were_sent() {
        let all = |query, name| query_values(Some(query), name).collect::<Vec<_>>();
        assert_eq!(all("a=1&b=2&a=%31&ab=3&a", "a"), ["1", "%31", ""]);
        assert_eq!(query_values(None, "").count(), 1);
        let mut headers = HeaderMap::new();
        headers.append("cookie", "a=1; sid=x=y ;b=2".parse().unwrap());
        headers.append("cookie", "sid=z; sidx=1".parse().unwrap());
        let cookies: Vec<_> = cookie_values(&headers, "sid").collect();
        assert_eq!(cookies, [&b"x=y"[..], b"z"]);
    }
}
