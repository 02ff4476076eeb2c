//! Why the store can't be used any more: the first reason, which stays.

use std::io;
use std::sync::OnceLock;

use crate::store::StoreError;

/// What has ended the store, if something has.
///
/// It never comes back: after an error of the disk nobody knows what of the last writes is there,
/// and to ask again would only be told that all is well. Whoever opens the folder anew reads it.
#[derive(Debug, Default)]
pub(super) struct Trouble(OnceLock<String>);

impl Trouble {
    /// Notes the reason, unless there is one.
    pub(super) fn set(&self, reason: String) {
        if self.0.set(reason).is_ok() {
            tracing::error!(reason = self.0.get(), "the disk store can't be used any more");
        }
    }

    pub(super) fn reason(&self) -> Option<String> {
        self.0.get().cloned()
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.0.get().map_or(Ok(()), |reason| Err(StoreError::Unavailable(reason.clone())))
    }
}

/// What an error of the engine below says.
pub(super) fn words(error: &fjall::Error) -> String {
    match io_error(error) {
        Some(error) => format!("the disk has failed: {error}"),
        None if matches!(error, fjall::Error::Poisoned) => {
            "a write in the background has failed".to_owned()
        }
        None => format!("{error:?}"),
    }
}

/// The error of the system below, if it is one.
pub(super) fn io_error(error: &fjall::Error) -> Option<&io::Error> {
    if let fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) = error {
        return Some(error);
    }
    None
}
