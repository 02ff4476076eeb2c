//! A running instance, and how it is asked.

use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;
use tokio::runtime;

use super::client::{Answered, Client, ClientError, PATIENCE, PATIENCE_WITH_STORE};
use super::flags::RunArgs;
use crate::config::Mistakes;

/// A running instance, which is known by what it was told to run with.
#[derive(Args, Clone, Debug)]
pub struct Remote {
    /// What it was told.
    #[command(flatten)]
    run: RunArgs,
}

/// Why a running instance has not done what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// What says how it is asked holds mistakes.
    #[error(transparent)]
    Usage(#[from] Mistakes),
    /// It can't be asked, or says no.
    #[error("{0}")]
    Unasked(String),
    /// It does not want requests, and says why.
    #[error("{0}")]
    Unready(String),
    /// Something is left after it was given enough time.
    #[error("not drained: {connections} connections and {in_flight} operations are left")]
    Undrained {
        /// Connections that are open.
        connections: u64,
        /// Operations that run, or whose late answers are listened for.
        in_flight: u64,
    },
    /// Requests still come after it was given enough time.
    #[error("not drained: requests still come")]
    StillAsked,
    /// This machine does not let it be asked.
    #[error("the operating system has refused it: {0}")]
    System(#[from] std::io::Error),
}

impl From<ClientError> for RemoteError {
    fn from(error: ClientError) -> Self {
        Self::Unasked(error.to_string())
    }
}

impl Remote {
    /// Does something with a client of the instance.
    pub(super) fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Client) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        self.run_for(PATIENCE, work)
    }

    /// The same, where the instance has to ask its store.
    pub(super) fn run_with_store<T>(
        &self,
        work: impl AsyncFnOnce(&Client) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        self.run_for(PATIENCE_WITH_STORE, work)
    }

    fn run_for<T>(
        &self,
        patience: Duration,
        work: impl AsyncFnOnce(&Client) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        let client = Client::new(self.run.given().admin()?, patience)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work(&client))
    }

    /// Asks for a path, and returns the answer whatever its status is.
    pub(super) fn ask(&self, method: Method, path: &str) -> Result<Answered, RemoteError> {
        self.run(async |client| Ok(client.ask(method, path, None).await?))
    }

    /// Asks for a path of the API, and returns what it has answered if it did what was asked.
    pub(super) fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, RemoteError> {
        self.run_with_store(async |client| Ok(client.call(method, path, body).await?))
    }
}
