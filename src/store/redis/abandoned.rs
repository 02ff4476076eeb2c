//! Claims of which nobody heard whether they were made: they are given back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::idempotency::{LeaseToken, RecordKey};

/// The most claims that wait to be given back. More of them stay held until their windows end.
const CLAIMS_MAX: usize = 16_384;

/// How many claims are given back at a time.
const BATCH: usize = 64;

/// How often a claim is given back that can't be given back.
const ATTEMPTS_MAX: u32 = 60;

/// How often a claim is given back: it may come to the server after the first time, by a connection
/// that was given up.
const ROUNDS: u32 = 2;

/// Claims of which nobody heard whether they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Abandoned(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    claims: Mutex<Claims>,
    added: Notify,
}

/// What is called by its key and its token.
type Name = (RecordKey, u64);

#[derive(Debug, Default)]
struct Claims {
    by_name: HashMap<Name, Claim>,
    /// Whose turn it is: those that can't be given back must not come first each time.
    turns: BTreeMap<u64, Name>,
    last_turn: u64,
}

#[derive(Debug)]
struct Claim {
    turn: u64,
    /// How often it still has to be given back.
    rounds: u32,
    attempts: u32,
}

/// A claim that is being made; dropped before its end is known, it counts as abandoned.
#[derive(Debug)]
pub(super) struct Claiming {
    abandoned: Abandoned,
    claim: Option<(RecordKey, LeaseToken)>,
}

impl Abandoned {
    pub(super) fn add(&self, key: &RecordKey, token: LeaseToken) {
        let mut claims = self.lock();
        let name = (*key, token.0);
        if claims.by_name.len() < CLAIMS_MAX && !claims.by_name.contains_key(&name) {
            let turn = claims.queue(name);
            claims.by_name.insert(name, Claim { turn, rounds: ROUNDS, attempts: 0 });
            drop(claims);
            self.0.added.notify_one();
        }
    }

    /// Says that the token is used again, and whether it still can be: what is being given back
    /// may be gone at any moment.
    pub(super) fn recall(&self, key: &RecordKey, token: LeaseToken) -> bool {
        let mut claims = self.lock();
        match claims.by_name.get(&(*key, token.0)) {
            Some(claim) if claim.attempts > 0 => false,
            Some(_) => claims.remove(&(*key, token.0)),
            None => true,
        }
    }

    /// Waits until there is something to give back.
    pub(super) async fn wait(&self) {
        loop {
            let added = self.0.added.notified();
            if !self.lock().by_name.is_empty() {
                return;
            }
            added.await;
        }
    }

    /// Some claims, which from now on can't be recalled.
    pub(super) fn batch(&self) -> Vec<(RecordKey, LeaseToken)> {
        let mut claims = self.lock();
        let next: Vec<_> = (0..BATCH).map_while(|_| claims.turns.pop_first()).collect();
        let mut batch = Vec::new();
        for (_, name) in next {
            let turn = claims.queue(name);
            let Some(claim) = claims.by_name.get_mut(&name) else { continue };
            (claim.turn, claim.attempts) = (turn, claim.attempts + 1);
            if claim.attempts > ATTEMPTS_MAX {
                claims.remove(&name);
            } else {
                batch.push((name.0, LeaseToken(name.1)));
            }
        }
        batch
    }

    /// Notes that the server has heard that a claim is given back.
    pub(super) fn told(&self, key: &RecordKey, token: LeaseToken) {
        let mut claims = self.lock();
        if let Some(claim) = claims.by_name.get_mut(&(*key, token.0)) {
            claim.rounds -= 1;
            if claim.rounds == 0 {
                claims.remove(&(*key, token.0));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Claims> {
        self.0.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claims {
    /// Puts a claim behind all others, and returns its turn.
    fn queue(&mut self, name: Name) -> u64 {
        self.last_turn += 1;
        self.turns.insert(self.last_turn, name);
        self.last_turn
    }

    /// Removes a claim, and returns whether it was there.
    fn remove(&mut self, name: &Name) -> bool {
        let claim = self.by_name.remove(name);
        claim.is_some_and(|claim| self.turns.remove(&claim.turn).is_some())
    }
}

impl Claiming {
    pub(super) fn new(abandoned: &Abandoned, key: &RecordKey, token: LeaseToken) -> Self {
        Self { abandoned: abandoned.clone(), claim: Some((*key, token)) }
    }

    /// Notes that the end is known.
    pub(super) fn ended(mut self) {
        self.claim = None;
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        if let Some((key, token)) = self.claim.take() {
            self.abandoned.add(&key, token);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const KEY: RecordKey = RecordKey::from_bytes([1; 32]);

    #[test]
    fn a_claim_without_an_end_is_given_back_twice() {
        let abandoned = Abandoned::default();
        Claiming::new(&abandoned, &KEY, LeaseToken(1)).ended();
        assert_eq!(abandoned.batch(), []);
        drop(Claiming::new(&abandoned, &KEY, LeaseToken(1)));
        for _ in 0..ROUNDS {
            assert_eq!(abandoned.batch(), [(KEY, LeaseToken(1))]);
            abandoned.told(&KEY, LeaseToken(1));
        }
        assert_eq!(abandoned.batch(), []);
    }

    #[test]
    fn only_what_was_not_given_back_can_be_recalled() {
        let abandoned = Abandoned::default();
        assert!(abandoned.recall(&KEY, LeaseToken(1)));
        abandoned.add(&KEY, LeaseToken(1));
        assert!(abandoned.recall(&KEY, LeaseToken(2)));
        assert!(abandoned.recall(&KEY, LeaseToken(1)));
        assert_eq!(abandoned.batch(), []);
        abandoned.add(&KEY, LeaseToken(1));
        assert_eq!(abandoned.batch().len(), 1);
        assert!(!abandoned.recall(&KEY, LeaseToken(1)));
    }

    #[test]
    fn those_that_cannot_be_given_back_do_not_hold_up_others() {
        let abandoned = Abandoned::default();
        let count = BATCH as u64 * 3;
        for token in 0..count {
            abandoned.add(&KEY, LeaseToken(token));
        }
        let tried = (0..3).flat_map(|_| abandoned.batch());
        let tried: HashSet<_> = tried.map(|(_, token)| token.0).collect();
        assert_eq!(tried.len() as u64, count);
        assert_eq!(abandoned.lock().turns.len() as u64, count);
        for token in 0..count {
            for _ in 0..ROUNDS {
                abandoned.told(&KEY, LeaseToken(token));
            }
        }
        let claims = abandoned.lock();
        assert!(claims.by_name.is_empty() && claims.turns.is_empty());
    }

    #[test]
    fn attempts_and_claims_are_limited() {
        let abandoned = Abandoned::default();
        for token in 0..=CLAIMS_MAX as u64 {
            abandoned.add(&KEY, LeaseToken(token));
        }
        assert_eq!(abandoned.lock().by_name.len(), CLAIMS_MAX);
        for _ in 0..(CLAIMS_MAX / BATCH) * ATTEMPTS_MAX as usize {
            assert_eq!(abandoned.batch().len(), BATCH);
        }
        assert_eq!(abandoned.batch(), []);
    }
}
