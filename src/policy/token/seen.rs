//! Tokens that were found to be signed: callers send the same one with each of their requests, and
//! verifying it costs more than all the rest of a replay.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blake3::Hash;

use super::Unverified;

/// How many tokens are remembered.
const PLACES: usize = 256;

/// The payloads of tokens that were found to be signed lately.
///
/// Each has one place, by its hash, which it leaves to whoever comes there next: only those who can
/// sign tokens can push others out. Whether it is still good is looked at each time.
pub(super) struct Seen(Box<[Mutex<Option<Signed>>]>);

struct Signed {
    token: Hash,
    payload: Arc<[u8]>,
}

impl Seen {
    /// The payload of a token, which `verify` finds if it was not seen lately.
    pub(super) fn payload(
        &self,
        token: &str,
        verify: impl FnOnce(&str) -> Result<Vec<u8>, Unverified>,
    ) -> Result<Arc<[u8]>, Unverified> {
        let hash = blake3::hash(token.as_bytes());
        if let Some(signed) = self.place(hash).as_ref().filter(|signed| signed.token == hash) {
            return Ok(Arc::clone(&signed.payload));
        }
        let payload = Arc::<[u8]>::from(verify(token)?);
        *self.place(hash) = Some(Signed { token: hash, payload: Arc::clone(&payload) });
        Ok(payload)
    }

    fn place(&self, token: Hash) -> MutexGuard<'_, Option<Signed>> {
        let place = &self.0[usize::from(token.as_bytes()[0]) % PLACES];
        place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Mutex::default()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_verified_once_as_long_as_it_is_remembered() {
        let seen = Seen::default();
        let mut verified = 0;
        let mut ask = |number: usize| {
            let payload = seen.payload(&number.to_string(), |token| {
                verified += 1;
                Ok(token.as_bytes().to_vec())
            });
            assert_eq!(payload.as_deref(), Ok(number.to_string().as_bytes()));
            verified
        };
        assert_eq!((ask(1), ask(1)), (1, 1));
        let more = (2..10_000).map(&mut ask).max();
        assert_eq!(more, Some(9_999));
        assert_eq!((ask(1), ask(1)), (10_000, 10_000));
    }

    #[test]
    fn what_is_not_signed_is_not_remembered() {
        let seen = Seen::default();
        for _ in 0..2 {
            let refused = seen.payload("token", |_| Err(Unverified::Algorithm));
            assert_eq!(refused, Err(Unverified::Algorithm));
        }
        assert_eq!(seen.payload("token", |_| Ok(b"{}".into())).as_deref(), Ok(&b"{}"[..]));
    }
}
