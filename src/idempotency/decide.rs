//! The one decision: what to do about a request, given what is known of its key.

use std::time::Duration;

use super::answer::Answer;
use super::fingerprint::Fingerprint;
use super::outcome::Refusal;
use super::record::{LeaseToken, Record, State};
use crate::clock::Timestamp;

/// What was agreed for a request: how long its record counts, and what happens when things go
/// wrong.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long the record counts, from the first request on.
    pub window: Duration,
    /// How long a repeat waits for the first request to end.
    pub wait: Duration,
    /// How long the work may take before its callers are told that it has not ended.
    pub timeout: Duration,
    /// How much longer a late answer is listened for.
    pub linger: Duration,
    /// What becomes of the key when the outcome is unknown.
    pub on_unknown: OnUnknown,
    /// What becomes of a request that uses the key of another.
    pub on_mismatch: OnMismatch,
    /// What becomes of a request whose key can't be looked up.
    pub on_store_error: OnStoreError,
}

/// What becomes of a request when the store can't be asked whether it was executed before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnStoreError {
    /// It is refused.
    #[default]
    Refuse,
    /// It is executed, and nothing keeps a repeat from being executed, too.
    Pass,
}

/// What becomes of a request that has the key of an earlier one, and asks for something else.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnMismatch {
    /// It is refused.
    #[default]
    Refuse,
    /// It gets the answer of the earlier one, as if it had asked for the same.
    Replay,
}

/// What becomes of a key when nobody knows whether its operation was executed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnUnknown {
    /// It is held: repeats are refused until the outcome is known or the window ends.
    #[default]
    Hold,
    /// It is free: the next request with it is executed.
    Release,
}

/// What to do about a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Claim the key, which is free.
    Claim,
    /// Claim the key from whoever holds it in vain.
    TakeOver(LeaseToken),
    /// Answer with what was kept.
    Replay {
        /// The answer.
        answer: Answer,
        /// When it was kept.
        kept_at: Timestamp,
    },
    /// Wait for whoever holds the key.
    Await,
    /// Say no.
    Refuse(Refusal),
}

/// Decides what to do about a request with this fingerprint when `found` is known of its key.
///
/// A request that differs from the first is refused before anything else is looked at: it must
/// neither wait for an answer that is not its own, nor learn how the first one fares.
pub fn decide(
    found: Option<&Record>,
    fingerprint: &Fingerprint,
    terms: &Terms,
    now: Timestamp,
) -> Decision {
    let Some(record) = found.filter(|record| !record.is_expired(now)) else {
        return Decision::Claim;
    };
    if terms.on_mismatch == OnMismatch::Refuse
        && let Some(part) = record.fingerprint.difference(fingerprint)
    {
        return Decision::Refuse(Refusal::KeyReused(part));
    }
    match &record.state {
        State::Completed { answer, kept_at } => {
            Decision::Replay { answer: answer.clone(), kept_at: *kept_at }
        }
        State::Unreplayable => Decision::Refuse(Refusal::AnswerNotKept),
        State::InFlight { lease_until } if *lease_until >= now => Decision::Await,
        State::InFlight { .. } | State::Indeterminate => match terms.on_unknown {
            OnUnknown::Hold => Decision::Refuse(Refusal::OutcomeUnknown),
            OnUnknown::Release => Decision::TakeOver(record.token),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::{AnswerBuilder, FingerprintBuilder, Part, Purpose, Secret};

    const NOW: Timestamp = Timestamp::from_millis(1000);
    const LATER: Timestamp = Timestamp::from_millis(1001);
    const EARLIER: Timestamp = Timestamp::from_millis(999);

    fn terms(on_unknown: OnUnknown) -> Terms {
        let any = Duration::from_secs(1);
        let on_mismatch = OnMismatch::Refuse;
        let on_store_error = OnStoreError::Refuse;
        Terms {
            window: any,
            wait: any,
            timeout: any,
            linger: any,
            on_unknown,
            on_mismatch,
            on_store_error,
        }
    }

    fn record(state: State, expires_at: Timestamp) -> Record {
        let (fingerprint, token) = (Fingerprint::COVERED, LeaseToken(7));
        Record { fingerprint, token, expires_at, state, origin: None }
    }

    fn answer() -> Answer {
        AnswerBuilder::new(200).finish(b"")
    }

    #[track_caller]
    fn check(state: State, hold: &Decision, release: &Decision) {
        let record = record(state, NOW);
        for (on_unknown, expected) in [(OnUnknown::Hold, hold), (OnUnknown::Release, release)] {
            let terms = terms(on_unknown);
            let decision = decide(Some(&record), &Fingerprint::COVERED, &terms, NOW);
            assert_eq!(&decision, expected, "{on_unknown:?}");
        }
    }

    #[test]
    fn every_state_has_its_decision() {
        let unknown = Decision::Refuse(Refusal::OutcomeUnknown);
        let take_over = Decision::TakeOver(LeaseToken(7));
        let replay = Decision::Replay { answer: answer(), kept_at: EARLIER };
        let not_kept = Decision::Refuse(Refusal::AnswerNotKept);
        check(State::Completed { answer: answer(), kept_at: EARLIER }, &replay, &replay);
        check(State::Unreplayable, &not_kept, &not_kept);
        check(State::InFlight { lease_until: NOW }, &Decision::Await, &Decision::Await);
        check(State::InFlight { lease_until: EARLIER }, &unknown, &take_over);
        check(State::Indeterminate, &unknown, &take_over);
    }

    #[test]
    fn a_key_is_free_when_nothing_counts_any_more() {
        let terms = terms(OnUnknown::Hold);
        assert_eq!(decide(None, &Fingerprint::COVERED, &terms, NOW), Decision::Claim);
        for state in [
            State::Completed { answer: answer(), kept_at: EARLIER },
            State::Unreplayable,
            State::InFlight { lease_until: NOW },
            State::Indeterminate,
        ] {
            let record = record(state, NOW);
            let at = |now| decide(Some(&record), &Fingerprint::COVERED, &terms, now);
            assert_ne!(at(NOW), Decision::Claim);
            assert_eq!(at(LATER), Decision::Claim);
        }
    }

    #[test]
    fn what_runs_counts_beyond_its_window() {
        let record = record(State::InFlight { lease_until: LATER }, EARLIER);
        let decision =
            decide(Some(&record), &Fingerprint::COVERED, &terms(OnUnknown::Release), NOW);
        assert_eq!(decision, Decision::Await);
    }

    #[test]
    fn another_fingerprint_is_as_good_where_that_is_agreed() {
        let fingerprint = Fingerprint::from_bytes(&[1; Fingerprint::LENGTH]);
        let terms = Terms { on_mismatch: OnMismatch::Replay, ..terms(OnUnknown::Hold) };
        let record = record(State::Completed { answer: answer(), kept_at: EARLIER }, NOW);
        let decision = decide(Some(&record), &fingerprint, &terms, NOW);
        assert_eq!(decision, Decision::Replay { answer: answer(), kept_at: EARLIER });
    }

    #[test]
    fn another_fingerprint_is_refused_whatever_the_state() {
        let secret = Secret::from_bytes([7; 32]);
        let other = FingerprintBuilder::new(&secret, None, None)
            .finish(secret.hash(Purpose::Content, b"x"));
        for state in [
            State::Completed { answer: answer(), kept_at: EARLIER },
            State::Unreplayable,
            State::InFlight { lease_until: Timestamp::MAX },
            State::InFlight { lease_until: EARLIER },
            State::Indeterminate,
        ] {
            let record = record(state, NOW);
            for on_unknown in [OnUnknown::Hold, OnUnknown::Release] {
                let decision = decide(Some(&record), &other, &terms(on_unknown), NOW);
                assert_eq!(decision, Decision::Refuse(Refusal::KeyReused(Part::Body)));
            }
        }
    }
}
