//! Ending in good order: one signal that everybody can wait for.

use tokio::sync::watch;

/// How far ending is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Everything is served.
    Serving,
    /// Everything is served, and callers are told to go elsewhere: each connection ends with its
    /// next answer.
    Leaving,
    /// What was asked is answered, and nothing more is accepted.
    Draining,
    /// Everything ends now.
    Ending,
}

/// Says how far ending is. A clone says it to the same ones.
#[derive(Clone, Debug)]
pub struct ShutdownHandle(watch::Sender<Stage>);

/// Is told how far ending is.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Stage>);

impl ShutdownHandle {
    /// A handle, and what it tells.
    pub fn new() -> (Self, Shutdown) {
        let (sender, receiver) = watch::channel(Stage::Serving);
        (Self(sender), Shutdown(receiver))
    }

    /// The stage that is reached.
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// Goes on to a stage; never back.
    pub fn advance(&self, stage: Stage) {
        self.0.send_if_modified(|current| {
            let later = stage > *current;
            *current = stage.max(*current);
            later
        });
    }
}

impl Shutdown {
    /// Waits until the stage is reached, or the handle is gone.
    ///
    /// # Cancel safety
    ///
    /// It only waits; dropping it changes nothing.
    pub async fn reached(&mut self, stage: Stage) {
        // An error says that the handle is gone: then everything ends.
        let _ = self.0.wait_for(|current| *current >= stage).await;
    }
}
