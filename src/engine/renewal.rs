//! The claims of this process, renewed together for as long as their work goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::time::{sleep, timeout};

use super::Shared;
use crate::idempotency::{LeaseToken, RecordKey};
use crate::telemetry::StoreOperation;

/// Claims that are renewed. A clone has the same ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Renewal(Arc<Mutex<Claims>>);

/// How often each claim is held; no two have the same token. In order, so that a simulation can be
/// repeated.
type Claims = BTreeMap<LeaseToken, (RecordKey, usize)>;

/// A claim that is renewed until this, and all others of it, are dropped.
#[derive(Debug)]
pub(super) struct Renewed {
    renewal: Renewal,
    token: LeaseToken,
}

impl Renewal {
    /// Has a claim renewed.
    pub(super) fn hold(&self, key: RecordKey, token: LeaseToken) -> Renewed {
        self.claims().entry(token).or_insert((key, 0)).1 += 1;
        Renewed { renewal: self.clone(), token }
    }

    fn all(&self) -> Vec<(RecordKey, LeaseToken)> {
        self.claims().iter().map(|(token, (key, _))| (*key, *token)).collect()
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        // A panic elsewhere leaves a map that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Renewed {
    fn drop(&mut self) {
        let mut claims = self.renewal.claims();
        if let Some((_, holders)) = claims.get_mut(&self.token) {
            *holders -= 1;
            if *holders == 0 {
                claims.remove(&self.token);
            }
        }
    }
}

impl Shared {
    /// Renews the claims, three times within each lease.
    pub(super) async fn renew_claims(&self) {
        let Some(lease) = self.store.lease() else { return };
        let period = lease / 3;
        loop {
            sleep(period).await;
            let claims = self.renewal.all();
            if claims.is_empty() {
                continue;
            }
            // A claim that can't be renewed runs out, and then counts as unknown: that is safe.
            let started = Instant::now();
            let renewed = timeout(period, self.store.renew(&claims)).await;
            self.metrics.store_durations.observe(StoreOperation::Renew, started.elapsed());
            if let Ok(Ok(())) = renewed {
                continue;
            }
            self.metrics.store_errors.increment(StoreOperation::Renew);
            tracing::warn!(claims = claims.len(), "claims were not renewed");
        }
    }
}
