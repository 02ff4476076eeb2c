//! What a store holds, page by page: each record in short, so that a page never holds an answer.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Timestamp;
use crate::idempotency::{Beginning, Fingerprint, Origin, Record, RecordKey, Stage, State};

/// The most keys that a cursor holds.
const KEYS_MAX: usize = 1024;

const KEY_BYTES: usize = 32;

/// What is asked of a list.
#[derive(Clone)]
pub struct Page {
    /// Where the page before has ended; nothing: from the beginning.
    pub after: Option<Cursor>,
    /// The most records that the page has.
    pub records_max: usize,
    /// The most records that are looked at for it.
    pub looks_max: usize,
    /// Which records are wanted.
    pub wanted: Arc<dyn Fn(&Summary) -> bool + Send + Sync>,
    /// What time it is.
    pub now: Timestamp,
}

/// A page of a list. It may be short, or empty, and have a next one all the same.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Listed {
    /// The records.
    pub records: Vec<Summary>,
    /// How many of those that were looked at can't be read.
    pub unreadable: u64,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// A record in short.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Summary {
    /// Its key.
    pub key: RecordKey,
    /// How far its operation is.
    pub stage: Stage,
    /// What the first request asked for.
    pub fingerprint: Fingerprint,
    /// What the first request was, if that is known.
    pub origin: Option<Arc<Origin>>,
    /// The answer's status.
    pub status: Option<u16>,
    /// How many bytes the answer takes, header included.
    pub answer_bytes: Option<usize>,
    /// When the answer was kept.
    pub kept_at: Option<Timestamp>,
    /// The last moment at which the record counts.
    pub expires_at: Timestamp,
    /// When the word runs out of whoever runs the operation, if it does.
    pub lease_until: Option<Timestamp>,
}

/// Where a page ends. Only the store that has made it knows what it means; to any other it is a
/// place like every other.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cursor {
    /// In which part of the store.
    pub(in crate::store) place: String,
    /// Where in that part.
    pub(in crate::store) at: u64,
    /// The last key, or those that were found and not looked at.
    pub(in crate::store) keys: Vec<RecordKey>,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this is no cursor that a page has had")]
pub struct CursorError;

/// A page that is being filled.
pub(in crate::store) struct Filling<'a> {
    page: &'a Page,
    looks: usize,
    pub(in crate::store) listed: Listed,
}

impl Summary {
    /// The record in short, at a time.
    pub fn of(key: &RecordKey, record: &Record, now: Timestamp) -> Self {
        let (mut status, mut answer_bytes, mut kept, mut lease) = (None, None, None, None);
        match &record.state {
            State::Completed { answer, kept_at } => {
                (status, kept) = (Some(answer.status()), Some(*kept_at));
                answer_bytes = Some(answer.encoded().len());
            }
            State::InFlight { lease_until } if *lease_until != Timestamp::MAX => {
                lease = Some(*lease_until);
            }
            State::InFlight { .. } | State::Unreplayable | State::Indeterminate => {}
        }
        Self {
            key: *key,
            stage: Stage::of(record, now),
            fingerprint: record.fingerprint,
            origin: record.origin.clone(),
            status,
            answer_bytes,
            kept_at: kept,
            expires_at: record.expires_at,
            lease_until: lease,
        }
    }
}

impl<'a> Filling<'a> {
    pub(in crate::store) fn new(page: &'a Page) -> Self {
        Self { page, looks: 0, listed: Listed::default() }
    }

    /// Looks at a record, or at one that can't be read.
    pub(in crate::store) fn look(&mut self, key: &RecordKey, record: Option<&Record>) {
        match record {
            None => {
                self.looks += 1;
                self.listed.unreadable += 1;
            }
            Some(record) if record.is_expired(self.page.now) => self.looks += 1,
            Some(record) => self.take(Summary::of(key, record, self.page.now)),
        }
    }

    /// Looks at a record that has an answer, of which only the beginning was read.
    pub(in crate::store) fn look_at_beginning(
        &mut self,
        key: &RecordKey,
        record: Beginning,
        answer_bytes: usize,
    ) {
        if self.page.now > record.expires_at {
            self.looks += 1;
            return;
        }
        self.take(Summary {
            key: *key,
            stage: Stage::Completed,
            fingerprint: record.fingerprint,
            origin: record.origin,
            status: Some(record.status),
            answer_bytes: Some(answer_bytes),
            kept_at: Some(record.kept_at),
            expires_at: record.expires_at,
            lease_until: None,
        });
    }

    /// Takes a record that counts, if it is wanted.
    fn take(&mut self, summary: Summary) {
        self.looks += 1;
        if (self.page.wanted)(&summary) {
            self.listed.records.push(summary);
        }
    }

    /// Whether nothing more may be looked at.
    pub(in crate::store) fn is_full(&self) -> bool {
        self.room() == 0
    }

    /// How many records may still be looked at before it has to be asked again.
    pub(in crate::store) fn room(&self) -> usize {
        let records = self.page.records_max.saturating_sub(self.listed.records.len());
        records.min(self.page.looks_max.saturating_sub(self.looks))
    }

    pub(in crate::store) fn end(self, next: Option<Cursor>) -> Listed {
        Listed { next, ..self.listed }
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("after", &self.after).finish_non_exhaustive()
    }
}

impl Cursor {
    /// After this key.
    pub(in crate::store) fn after(place: &str, key: RecordKey) -> Self {
        Self { place: place.to_owned(), at: 0, keys: vec![key] }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.at.to_be_bytes().to_vec();
        bytes.push(u8::try_from(self.place.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(self.place.as_bytes());
        for key in &self.keys {
            bytes.extend_from_slice(key.as_bytes());
        }
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let (at, rest) = bytes.split_first_chunk().ok_or(CursorError)?;
        let (length, rest) = rest.split_first().ok_or(CursorError)?;
        let (place, keys) = rest.split_at_checked((*length).into()).ok_or(CursorError)?;
        let place = String::from_utf8(place.to_vec()).map_err(|_| CursorError)?;
        let (keys, rest) = keys.as_chunks::<KEY_BYTES>();
        if !rest.is_empty() || keys.len() > KEYS_MAX {
            return Err(CursorError);
        }
        let keys = keys.iter().map(|key| RecordKey::from_bytes(*key)).collect();
        Ok(Self { place, at: u64::from_be_bytes(*at), keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back() {
        let keys = vec![RecordKey::from_bytes([1; 32]), RecordKey::from_bytes([2; 32])];
        for cursor in [
            Cursor::default(),
            Cursor { place: "until-5-16".to_owned(), at: 0, keys: keys.clone() },
            Cursor { place: String::new(), at: u64::MAX, keys },
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let cursor = Cursor::after("a", RecordKey::from_bytes([1; 32]));
        let text = cursor.to_string();
        for text in ["", "x", "!", "AAAA", &text[..text.len() - 4], &format!("{text}AAAA")] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
        let many = Cursor { keys: vec![RecordKey::from_bytes([0; 32]); KEYS_MAX + 1], ..cursor };
        assert_eq!(many.to_string().parse::<Cursor>(), Err(CursorError));
    }
}
