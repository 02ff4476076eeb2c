//! Who waits for a record to change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::idempotency::RecordKey;

/// The most records that are waited for at a time; others are not told, and look for themselves.
const WAITED_MAX: usize = 16_384;

/// Who waits for a record to change.
#[derive(Debug, Default)]
pub(super) struct Waiters(Arc<Mutex<Waited>>);

type Waited = HashMap<RecordKey, watch::Sender<()>>;

/// One wait, which counts from when it was made.
#[derive(Debug)]
pub(super) struct Wait {
    key: RecordKey,
    changed: Option<watch::Receiver<()>>,
    waiters: Arc<Mutex<Waited>>,
}

impl Waiters {
    pub(super) fn wait(&self, key: &RecordKey) -> Wait {
        let mut waited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = if waited.len() < WAITED_MAX || waited.contains_key(key) {
            Some(waited.entry(*key).or_default().subscribe())
        } else {
            None
        };
        Wait { key: *key, changed, waiters: Arc::clone(&self.0) }
    }

    pub(super) fn wake(&self, key: &RecordKey) {
        let waited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiters) = waited.get(key) {
            waiters.send_replace(());
        }
    }

    /// Wakes everyone, since it may have been missed what changed.
    pub(super) fn wake_all(&self) {
        let waited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for waiters in waited.values() {
            waiters.send_replace(());
        }
    }
}

impl Wait {
    pub(super) async fn changed(mut self) {
        let woken = match &mut self.changed {
            Some(changed) => changed.changed().await.is_ok(),
            None => false,
        };
        if !woken {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waited = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if self.changed.take().is_some()
            && waited.get(&self.key).is_some_and(|waiters| waiters.receiver_count() == 0)
        {
            waited.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const KEY: RecordKey = RecordKey::from_bytes([1; 32]);
    const OTHER: RecordKey = RecordKey::from_bytes([2; 32]);

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_and_forgotten() {
        let waiters = Waiters::default();
        let (first, second) = (waiters.wait(&KEY), waiters.wait(&KEY));
        let other = waiters.wait(&OTHER);
        waiters.wake(&KEY);
        first.changed().await;
        second.changed().await;
        assert!(timeout(Duration::from_hours(1), other.changed()).await.is_err());
        assert!(waiters.0.lock().unwrap().is_empty());
        let late = waiters.wait(&KEY);
        assert!(timeout(Duration::from_hours(1), late.changed()).await.is_err());
        let all = waiters.wait(&OTHER);
        waiters.wake_all();
        all.changed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_limited() {
        let waiters = Waiters::default();
        let key = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            RecordKey::from_bytes(bytes)
        };
        let waits: Vec<_> = (0..WAITED_MAX).map(|number| waiters.wait(&key(number))).collect();
        let more = waiters.wait(&key(WAITED_MAX));
        waiters.wake_all();
        assert!(timeout(Duration::from_hours(1), more.changed()).await.is_err());
        for wait in waits {
            wait.changed().await;
        }
    }
}
