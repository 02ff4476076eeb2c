//! Claims of which nobody has been told: whoever asked has left, so nothing was executed.

use std::mem;
use std::sync::{Arc, Mutex};

use super::records::lock;
use crate::idempotency::{LeaseToken, RecordKey};
use crate::store::Swap;

/// New claims of which nobody has been told, which are to be released.
#[derive(Clone, Debug, Default)]
pub(super) struct Untold(Arc<Mutex<Vec<Name>>>);

/// What is called by its key and its token.
type Name = (RecordKey, LeaseToken);

/// How a swap has ended. Wherever it's dropped before somebody has heard it, on either side of the
/// channel or within, a new claim is untold.
#[derive(Debug)]
pub(super) struct Notice {
    swap: Swap,
    claim: Option<NewClaim>,
}

/// A new claim, as long as nobody has been told of it.
#[derive(Debug)]
struct NewClaim {
    name: Name,
    /// Where it goes, if it comes to that.
    untold: Option<Untold>,
}

impl Untold {
    /// Says that a claim was made, to whoever may still be there.
    pub(super) fn claimed(&self, key: RecordKey, token: LeaseToken) -> Notice {
        let claim = NewClaim { name: (key, token), untold: Some(self.clone()) };
        Notice { swap: Swap::Done, claim: Some(claim) }
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// All of them, which are here no longer.
    pub(super) fn take(&self) -> Vec<Name> {
        mem::take(&mut *lock(&self.0))
    }
}

impl Notice {
    /// Tells it to whoever has asked.
    pub(super) fn hear(self) -> Swap {
        if let Some(claim) = self.claim {
            claim.told();
        }
        self.swap
    }
}

impl From<Swap> for Notice {
    fn from(swap: Swap) -> Self {
        Self { swap, claim: None }
    }
}

impl NewClaim {
    fn told(mut self) {
        self.untold = None;
    }
}

impl Drop for NewClaim {
    fn drop(&mut self) {
        if let Some(untold) = &self.untold {
            lock(&untold.0).push(self.name);
        }
    }
}
