//! Finds the key of a request, whose it is, and what must not change under the key.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, HeaderName, header};

use super::{Guard, is_volatile};
use crate::idempotency::{
    Caller, Fingerprint, FingerprintBuilder, IdempotencyKey, Identity, KeyError, Purpose,
    RecordKeyBuilder, Scope,
};
use crate::message::{Authority, Coding};

/// Where a key may be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// In a header; the text is the source's name, `header:NAME`.
    Header(HeaderName, Cow<'static, str>),
    /// Everywhere: the key is a checksum of the request.
    Checksum,
}

/// The key that a request has, as far as its header tells.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// One that the caller chose, and the name of its source.
    Key(IdempotencyKey, Cow<'static, str>),
    /// A checksum, which needs the body.
    Checksum,
}

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub struct Identified {
    /// The record key and the fingerprint.
    pub identity: Identity,
    /// Whether the caller is known.
    pub caller: Caller,
}

/// Why a request has no key.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IdentifyError {
    /// A key header is malformed.
    #[error("{0}: {1}")]
    Malformed(HeaderName, KeyError),
}

impl KeySource {
    /// A key in the header of this name.
    pub fn header(name: HeaderName) -> Self {
        let source = format!("header:{name}");
        Self::Header(name, source.into())
    }

    pub(super) fn is_header(&self, name: &HeaderName) -> bool {
        match self {
            Self::Header(header, _) => header == name,
            Self::Checksum => false,
        }
    }
}

impl Guard {
    /// The first key source that the request has.
    pub fn choose(&self, headers: &HeaderMap) -> Result<Option<Chosen>, IdentifyError> {
        for source in &self.key {
            match source {
                KeySource::Header(name, source) => {
                    let mut lines = headers.get_all(name).iter();
                    let Some(line) = lines.next() else { continue };
                    let key = match lines.next() {
                        Some(_) => Err(KeyError::Several),
                        None => IdempotencyKey::parse(line.as_bytes()),
                    };
                    let key = key.map_err(|e| IdentifyError::Malformed(name.clone(), e))?;
                    return Ok(Some(Chosen::Key(key, source.clone())));
                }
                KeySource::Checksum => return Ok(Some(Chosen::Checksum)),
            }
        }
        Ok(None)
    }

    /// The identity of a request that was read whole.
    pub fn identify(
        &self,
        chosen: &Chosen,
        authority: &Authority<'_>,
        head: &Parts,
        body: &[u8],
    ) -> Identified {
        let mut builder = RecordKeyBuilder::new(Scope {
            namespace: "",
            method: head.method.as_str(),
            authority: authority.as_str(),
            path: head.uri.path(),
        });
        for name in &self.caller {
            for value in head.headers.get_all(name) {
                builder.credential(name.as_str(), value.as_bytes());
            }
        }
        let ((key, caller), fingerprint) = match chosen {
            Chosen::Key(key, source) => {
                (builder.finish(&self.secret, source, key.as_bytes()), self.fingerprint(head, body))
            }
            Chosen::Checksum => {
                let checksum = self.checksum(head, body);
                let key = builder.finish(&self.secret, "checksum", checksum.as_bytes());
                (key, Fingerprint::COVERED)
            }
        };
        Identified { identity: Identity { key, fingerprint }, caller }
    }

    fn fingerprint(&self, head: &Parts, body: &[u8]) -> Fingerprint {
        let content_type = content_type(&head.headers);
        FingerprintBuilder::new(&self.secret, head.uri.query(), content_type.as_deref())
            .finish(self.hash_body(head, body))
    }

    /// A hash over everything that a request asks for, however it was spelled or sent.
    fn checksum(&self, head: &Parts, body: &[u8]) -> blake3::Hash {
        let mut lines: Vec<_> = head
            .headers
            .iter()
            .filter(|(name, _)| !is_volatile(name.as_str()) && !self.caller.contains(name))
            .collect();
        // Stable: the order of the lines of one name is part of what they say.
        lines.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        let mut parts = Vec::with_capacity(512);
        let mut part = |part: &[u8]| {
            parts.extend_from_slice(&(part.len() as u64).to_le_bytes());
            parts.extend_from_slice(part);
        };
        match head.uri.query() {
            Some(query) => part(&[b"?", query.as_bytes()].concat()),
            None => part(b""),
        }
        for (name, value) in lines {
            part(name.as_str().as_bytes());
            part(value.as_bytes());
        }
        parts.extend_from_slice(self.hash_body(head, body).as_bytes());
        self.secret.hash(Purpose::Checksum, &parts)
    }

    /// A hash of what the body says, whether it was compressed or not.
    fn hash_body(&self, head: &Parts, body: &[u8]) -> blake3::Hash {
        let coding = Coding::of(&head.headers);
        if coding == Coding::Identity {
            return self.secret.hash(Purpose::Content, body);
        }
        let mut hasher = self.secret.hasher(Purpose::Content);
        let decoded = coding.decode(body, self.decoded_bytes_max, &mut |piece| {
            hasher.update(piece);
        });
        match decoded {
            Ok(()) => hasher.finalize(),
            Err(_) => self.hash_undecoded(head, body),
        }
    }

    /// A hash of a body as it was sent, and of the coding that it was said to have.
    fn hash_undecoded(&self, head: &Parts, body: &[u8]) -> blake3::Hash {
        let mut parts = self.secret.hash(Purpose::Undecoded, body).as_bytes().to_vec();
        for value in head.headers.get_all(header::CONTENT_ENCODING) {
            parts.extend_from_slice(&(value.len() as u64).to_le_bytes());
            parts.extend_from_slice(value.as_bytes());
        }
        self.secret.hash(Purpose::Undecoded, &parts)
    }
}

/// All that the content type says; a second line should not be there, but some servers read it.
fn content_type(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter().map(http::HeaderValue::as_bytes);
    let first = lines.next()?;
    Some(lines.fold(Cow::Borrowed(first), |all, line| [&*all, b"\n", line].concat().into()))
}
