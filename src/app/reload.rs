//! Reading the settings again while requests are served.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use super::workers::WeakWorkers;
use crate::config::{Files, Given, Mistakes, Settings};
use crate::policy::Rederived;
use crate::telemetry::{Metrics, Reloaded};

/// How often the files that the settings come from are looked at.
const POLL: Duration = Duration::from_secs(1);

/// Asks for the settings to be read again.
#[derive(Debug)]
pub(super) struct ReloadHandle(SyncSender<()>);

/// Reads the settings again when it is asked to, or when the files that they come from have
/// changed.
///
/// New settings hold for new requests only. Ones with a mistake, or that change what can't change
/// while an instance runs, are refused as a whole.
struct Reloader {
    given: Given,
    workers: WeakWorkers,
    metrics: Arc<Metrics>,
    /// The settings that the instance was started with.
    started: Arc<Settings>,
    /// The files as they were last read.
    read: Files,
    /// The same files with another content, which may still be being written.
    unsettled: Option<Files>,
}

/// Why settings were not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Mistakes(#[from] Mistakes),
    #[error("{0} cannot change while an instance runs; restart it")]
    Fixed(String),
    #[error("{0}")]
    Rederived(Rederived),
    #[error("they could not be read for a fault of this program")]
    Fault,
}

impl ReloadHandle {
    /// Starts to look after the settings, which came from `files`, in a thread of its own: a file
    /// may be slow to read. The thread ends with this handle.
    pub(super) fn start(
        given: Given,
        files: Files,
        workers: WeakWorkers,
        settings: Arc<Settings>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let (asking, asked) = sync_channel(1);
        let reloader =
            Reloader { given, workers, metrics, started: settings, read: files, unsettled: None };
        std::thread::Builder::new().name("reload".into()).spawn(move || reloader.run(&asked))?;
        Ok(Self(asking))
    }

    /// Asks for the settings to be read again.
    pub(super) fn ask(&self) {
        match self.0.try_send(()) {
            // Whoever has asked before is yet to be answered, and that answers this one, too.
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => {
                tracing::error!("settings are not read again any more");
            }
        }
    }
}

impl Reloader {
    fn run(mut self, asked: &Receiver<()>) {
        loop {
            match asked.recv_timeout(POLL) {
                Ok(()) => self.reload("SIGHUP"),
                Err(RecvTimeoutError::Timeout) => self.poll(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Reads the settings again if the content of their files has changed. It is the content that
    /// counts: a mounted `ConfigMap` changes by a link that is replaced two folders above.
    fn poll(&mut self) {
        if self.read.are_unchanged() {
            self.unsettled = None;
            return;
        }
        match &self.unsettled {
            Some(files) if files.are_unchanged() => self.reload("changed files"),
            // Looked at once more before it is believed: it may be half written.
            Some(_) | None => self.unsettled = Some(self.read.look()),
        }
    }

    /// Reads the settings again.
    fn reload(&mut self, cause: &str) {
        let Some(workers) = self.workers.upgrade() else { return };
        self.unsettled = None;
        let before = workers.settings();
        match self.load(&before) {
            Ok(settings) => {
                workers.apply(Arc::new(settings));
                self.metrics.reloads.increment(Reloaded::Applied);
                tracing::info!(cause, "the settings were read again, and hold for new requests");
            }
            Err(refused) => {
                self.metrics.reloads.increment(Reloaded::Refused);
                tracing::error!(
                    cause, reason = %refused, "the settings were not taken; the old ones hold on"
                );
            }
        }
    }

    fn load(&mut self, before: &Settings) -> Result<Settings, Refused> {
        let loaded = catch_unwind(AssertUnwindSafe(|| self.given.load(&before.secret)));
        let Ok((settings, files)) = loaded else { return Err(Refused::Fault) };
        // Also those of settings that are not taken: what is wrong with them may be mended there.
        self.read = files;
        let settings = settings?;
        let fixed = self.started.fixed_changes(&settings);
        if !fixed.is_empty() {
            return Err(Refused::Fixed(fixed.join(", ")));
        }
        match before.policy.rederived_by(&settings.policy) {
            Some(rederived) => Err(Refused::Rederived(rederived)),
            None => Ok(settings),
        }
    }
}
