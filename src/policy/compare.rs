//! What counts of a request besides its key and its caller: what must not change under a key, and
//! what a checksum covers.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::identify::{Chosen, IdentifyError, Watch};
use super::json::{Ignored, without};
use super::route::Route;
use super::volatile::is_volatile;
use crate::idempotency::{Fingerprint, FingerprintBuilder, Purpose};
use crate::message::{Coding, Undecodable};

/// The largest content that a compressed body is decoded to, in bytes. It is the same for all
/// routes and all time, since keys depend on it.
const DECODED_BYTES_MAX: usize = 32 << 20;

/// What counts of a request besides its key and its caller.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// Whether one key is two in two hosts.
    pub authority: Authorities,
    /// The values in a JSON body that do not count.
    pub ignored_json: Ignored,
    /// The header fields that count.
    pub headers: HeaderRule,
}

/// Whether the host that a request is for counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Authorities {
    /// One key is two in two hosts.
    #[default]
    Apart,
    /// All hosts are one.
    Together,
}

/// The header fields that a checksum covers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HeaderRule {
    /// All but the volatile ones and these.
    AllBut(Vec<HeaderName>),
    /// These.
    Only(Vec<HeaderName>),
}

/// Whether a part of a request counts, and why not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Treatment {
    /// It counts.
    Hashed,
    /// It says whose request it is, and counts as that.
    Caller,
    /// It changes from one attempt to the next.
    Volatile,
    /// The route ignores it.
    Ignored,
    /// The route names those that count, and it is not among them.
    NotListed,
}

impl Treatment {
    /// Whether what has it must not change under a key. A content type that says whose a request
    /// is, too, goes on saying what the body is.
    pub(super) fn counts_under_a_key(self) -> bool {
        match self {
            Self::Hashed | Self::Caller => true,
            Self::Volatile | Self::Ignored | Self::NotListed => false,
        }
    }
}

impl Default for HeaderRule {
    fn default() -> Self {
        Self::AllBut(Vec::new())
    }
}

/// What the body of a request says.
pub(super) struct Content<'a> {
    body: &'a [u8],
    coding: Coding,
    /// The whole of it, decoded, if it had to be looked into and that could be done.
    plain: Option<Cow<'a, [u8]>>,
}

impl<'a> Content<'a> {
    /// The content of a body, decoded if it has to be looked into.
    ///
    /// What is too large for that is an error: neither its key nor what is ignored in it would be
    /// found. A coding that is not known here leaves nothing to look into.
    pub(super) fn new(
        head: &Parts,
        body: &'a [u8],
        looks_into: bool,
        watch: &mut impl Watch,
    ) -> Result<Self, IdentifyError> {
        let coding = Coding::of(&head.headers);
        let plain = match coding {
            Coding::Identity => Some(Cow::Borrowed(body)),
            Coding::Gzip | Coding::Deflate if looks_into => decoded(coding, body, watch)?,
            Coding::Gzip | Coding::Deflate | Coding::Other => None,
        };
        Ok(Self { body, coding, plain })
    }

    /// What may be JSON.
    pub(super) fn plain(&self) -> Option<&[u8]> {
        self.plain.as_deref()
    }
}

/// What a body says, if it is what its coding makes.
fn decoded<'a>(
    coding: Coding,
    body: &[u8],
    watch: &mut impl Watch,
) -> Result<Option<Cow<'a, [u8]>>, IdentifyError> {
    let mut plain = Vec::new();
    let mut has_room = true;
    let decoded = coding.decode(body, DECODED_BYTES_MAX, &mut |piece| {
        has_room = has_room && watch.has_room(piece.len());
        if has_room {
            plain.extend_from_slice(piece);
        }
    });
    match decoded {
        _ if !has_room => Err(IdentifyError::NoRoom),
        Ok(()) => Ok(Some(plain.into())),
        Err(Undecodable::TooLarge) => Err(IdentifyError::TooLarge),
        Err(Undecodable::Malformed) => Ok(None),
    }
}

impl Route {
    /// Whether the body has to be parsed.
    pub fn looks_into(&self, chosen: Chosen) -> bool {
        matches!(chosen, Chosen::InBody(_)) || !self.compared.ignored_json.is_empty()
    }

    /// Whether a header field counts in a checksum.
    pub fn treatment(&self, name: &HeaderName) -> Treatment {
        let verifier = self.verifier.as_deref();
        if self.caller.iter().any(|source| source.covers(verifier) == Some(name)) {
            return Treatment::Caller;
        }
        match &self.compared.headers {
            HeaderRule::AllBut(_) if is_volatile(name.as_str()) => Treatment::Volatile,
            HeaderRule::AllBut(ignored) if ignored.contains(name) => Treatment::Ignored,
            HeaderRule::Only(listed) if !listed.contains(name) => Treatment::NotListed,
            HeaderRule::AllBut(_) | HeaderRule::Only(_) => Treatment::Hashed,
        }
    }

    /// What must not change under the key of a request.
    pub(super) fn fingerprint(
        &self,
        head: &Parts,
        content: &Content<'_>,
        watch: &mut impl Watch,
    ) -> Fingerprint {
        let treatment = self.treatment(&header::CONTENT_TYPE);
        let counts = treatment.counts_under_a_key();
        let content_type = if counts { content_type(&head.headers) } else { None };
        watch.part("query", Treatment::Hashed);
        watch.part("header content-type", treatment);
        FingerprintBuilder::new(&self.secret, head.uri.query(), content_type.as_deref())
            .finish(self.hash_body(head, content, watch))
    }

    /// A hash over everything that a request asks for, however it was spelled or sent.
    pub(super) fn checksum(
        &self,
        head: &Parts,
        content: &Content<'_>,
        watch: &mut impl Watch,
    ) -> blake3::Hash {
        let mut lines: Vec<(&HeaderName, &HeaderValue)> = Vec::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            let treatment = self.treatment(name);
            if treatment == Treatment::Hashed {
                lines.push((name, value));
            }
            watch.header(name, treatment);
        }
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
        watch.part("query", Treatment::Hashed);
        parts.extend_from_slice(self.hash_body(head, content, watch).as_bytes());
        self.secret.hash(Purpose::Checksum, &parts)
    }

    /// A hash of what the body says, whether it was compressed or not.
    fn hash_body(
        &self,
        head: &Parts,
        content: &Content<'_>,
        watch: &mut impl Watch,
    ) -> blake3::Hash {
        let ignored = &self.compared.ignored_json;
        match &content.plain {
            Some(plain) if ignored.is_empty() => {
                watch.part("body", Treatment::Hashed);
                self.secret.hash(Purpose::Content, plain)
            }
            Some(plain) => {
                let mut hasher = self.secret.hasher(Purpose::Content);
                let mut left = 0;
                without(ignored, plain, &mut |piece| {
                    left += piece.len();
                    hasher.update(piece);
                });
                watch.body(plain.len(), left);
                hasher.finalize()
            }
            None => {
                watch.part("body", Treatment::Hashed);
                let mut hasher = self.secret.hasher(Purpose::Content);
                let coding = content.coding;
                let decoded = coding.decode(content.body, DECODED_BYTES_MAX, &mut |piece| {
                    hasher.update(piece);
                });
                match decoded {
                    Ok(()) => hasher.finalize(),
                    Err(_) => self.hash_undecoded(head, content.body),
                }
            }
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
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
    let first = lines.next()?;
    Some(lines.fold(Cow::Borrowed(first), |all, line| [&*all, b"\n", line].concat().into()))
}
