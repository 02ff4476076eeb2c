//! Finds the key of a request, whose it is, and what must not change under the key.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderName, Method};

use super::caller::Credential;
use super::compare::{Authorities, Content, Treatment};
use super::route::Route;
use super::source::{KeySource, Presence};
use crate::clock::Timestamp;
use crate::idempotency::{Caller, Fingerprint, Identity, KeyError, RecordKeyBuilder, Scope};
use crate::message::Authority;

/// What a request asks for, without its body.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The host that it is for.
    pub authority: &'a Authority<'a>,
    /// Its header.
    pub head: &'a Parts,
    /// Whose certificate its caller has shown.
    pub certificate: Option<&'a [u8]>,
    /// When it came.
    pub now: Timestamp,
    /// The method that it names instead of its own.
    pub acts_as: Option<&'a Method>,
    /// Whether the hop that it came from is believed.
    pub hop: Hop,
}

/// Whether a hop before this one is believed what it says it has found out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Hop {
    /// It is.
    #[default]
    Believed,
    /// Anybody may have sent that.
    Doubted,
}

/// Where the key of a request is, as far as its header tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chosen {
    /// The caller has chosen one, which is in the source of this index.
    Key(usize),
    /// The first source that the request may have is in its body, and has this index.
    InBody(usize),
    /// A checksum is the key.
    Checksum,
    /// It has none.
    Nothing,
}

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub struct Identified {
    /// The record key and the fingerprint.
    pub identity: Identity,
    /// Whether the caller is known.
    pub caller: Caller,
}

/// Why a request can't be identified.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IdentifyError {
    /// A part of its key is malformed.
    #[error("{0}: {1}")]
    Malformed(String, KeyError),
    /// Its body has to be looked into, and is larger than allowed when it is decoded.
    #[error("the body is larger than allowed when it is decoded")]
    TooLarge,
    /// There is no room for its body when it is decoded.
    #[error("there is no room for the body when it is decoded")]
    NoRoom,
}

/// Sees what is made of a request, and may stop it.
pub trait Watch {
    /// Whether there is room for so many more bytes of a body that is decoded.
    fn has_room(&mut self, _bytes: usize) -> bool {
        true
    }
    /// A source of the key was tried.
    fn source(&mut self, _source: &KeySource, _found: bool) {}
    /// A credential says who the caller is.
    fn credential(&mut self, _credential: &Credential<'_>) {}
    /// A header line was looked at.
    fn header(&mut self, _name: &HeaderName, _treatment: Treatment) {}
    /// Another part was looked at.
    fn part(&mut self, _part: &str, _treatment: Treatment) {}
    /// Of the body's `_length` bytes, `_left` count.
    fn body(&mut self, _length: usize, _left: usize) {}
}

/// Nobody watches.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {}

impl Route {
    /// The first key source that the request has, as far as its header tells.
    pub fn choose(&self, asked: &Asked<'_>) -> Result<Chosen, IdentifyError> {
        self.choose_from(0, asked)
    }

    /// The same for a request whose body says nothing of its key, and is no key by itself.
    pub fn choose_in_header(&self, asked: &Asked<'_>) -> Result<Chosen, IdentifyError> {
        for (index, source) in self.key.iter().enumerate() {
            if let KeySource::Parts(parts) = source
                && parts.presence(asked, self.path_pattern())? == Presence::Found
            {
                return Ok(Chosen::Key(index));
            }
        }
        Ok(Chosen::Nothing)
    }

    fn choose_from(&self, first: usize, asked: &Asked<'_>) -> Result<Chosen, IdentifyError> {
        for (index, source) in self.key.iter().enumerate().skip(first) {
            match source {
                KeySource::Checksum => return Ok(Chosen::Checksum),
                KeySource::Parts(parts) => match parts.presence(asked, self.path_pattern())? {
                    Presence::Found => return Ok(Chosen::Key(index)),
                    Presence::InBody => return Ok(Chosen::InBody(index)),
                    Presence::Missing => {}
                },
            }
        }
        Ok(Chosen::Nothing)
    }

    /// Whether the request says who its caller is.
    pub fn caller(&self, asked: &Asked<'_>) -> Caller {
        let mut caller = Caller::Anonymous;
        for source in &self.caller {
            source.read(asked, self.verifier.as_deref(), &mut |credential| {
                if credential.caller() == Caller::Known {
                    caller = Caller::Known;
                }
            });
        }
        caller
    }

    /// The identity of a request that was read whole; nothing if it has no key.
    ///
    /// A compressed body that has to be looked into takes memory while that is done.
    pub fn identify(
        &self,
        chosen: Chosen,
        asked: &Asked<'_>,
        body: &[u8],
    ) -> Result<Option<Identified>, IdentifyError> {
        self.identify_watched(chosen, asked, body, &mut Unwatched)
    }

    /// The same, and lets `watch` see how it is found.
    pub fn identify_watched(
        &self,
        chosen: Chosen,
        asked: &Asked<'_>,
        body: &[u8],
        watch: &mut impl Watch,
    ) -> Result<Option<Identified>, IdentifyError> {
        let mut builder = self.scope(asked, watch);
        let content = Content::new(asked.head, body, self.looks_into(chosen), watch)?;
        let fingerprint = match self.add_key(chosen, asked, &content, &mut builder)? {
            Chosen::Nothing | Chosen::InBody(_) => return Ok(None),
            Chosen::Key(index) => {
                self.key.iter().take(index).for_each(|source| watch.source(source, false));
                self.key.get(index).into_iter().for_each(|source| watch.source(source, true));
                self.fingerprint(asked.head, &content, watch)
            }
            Chosen::Checksum => {
                for source in &self.key {
                    watch.source(source, *source == KeySource::Checksum);
                }
                let checksum = self.checksum(asked.head, &content, watch);
                builder.key("checksum", |part| {
                    part(checksum.as_bytes());
                    Ok(true)
                })?;
                Fingerprint::COVERED
            }
        };
        let (key, caller) = builder.finish(&self.secret);
        Ok(Some(Identified { identity: Identity { key, fingerprint }, caller }))
    }

    /// Where a key is unique: the endpoint and the caller.
    fn scope(&self, asked: &Asked<'_>, watch: &mut impl Watch) -> RecordKeyBuilder {
        // A request that asks for another method than its own is not the one that it looks like.
        let own = asked.head.method.as_str();
        let method = match asked.acts_as {
            None => Cow::Borrowed(own),
            Some(other) => Cow::Owned(format!("{own} as {other}")),
        };
        let mut builder = RecordKeyBuilder::new(Scope {
            namespace: "",
            method: &method,
            authority: match self.compared.authority {
                Authorities::Apart => asked.authority.as_str(),
                Authorities::Together => "",
            },
            path: asked.head.uri.path(),
        });
        for source in &self.caller {
            source.read(asked, self.verifier.as_deref(), &mut |credential| {
                watch.credential(&credential);
                builder.credential(
                    credential.kind,
                    credential.name,
                    credential.value,
                    credential.caller(),
                );
            });
        }
        builder
    }

    /// Adds the key that the caller chose, and says where it was; a checksum is left to be added.
    fn add_key(
        &self,
        mut chosen: Chosen,
        asked: &Asked<'_>,
        content: &Content<'_>,
        builder: &mut RecordKeyBuilder,
    ) -> Result<Chosen, IdentifyError> {
        loop {
            let index = match chosen {
                Chosen::Key(index) | Chosen::InBody(index) => index,
                Chosen::Checksum | Chosen::Nothing => return Ok(chosen),
            };
            if let Some(source @ KeySource::Parts(parts)) = self.key.get(index) {
                let found = builder.key(source.name(), |part| {
                    parts.read(asked, self.path_pattern(), content.plain(), part)
                })?;
                if found {
                    return Ok(Chosen::Key(index));
                }
            }
            chosen = self.choose_from(index + 1, asked)?;
        }
    }
}
