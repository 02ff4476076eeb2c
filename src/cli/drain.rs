//! `oncegate drain`: has a running instance drained, and waits until it is.

use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::client::Client;
use super::flags;
use super::remote::{Remote, RemoteError};
use crate::config::parse_duration;

/// How often it is asked what is left.
const POLL: Duration = Duration::from_millis(250);

/// The path to ask for.
const PATH: &str = "/api/drain";

/// Which instance to drain, and how long to wait.
#[derive(Args, Debug)]
#[command(mut_args(flags::hide_but_admin))]
pub struct DrainArgs {
    /// How long to wait until it is drained
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub timeout: Duration,

    /// How long nothing must have come and been left: callers may still come who do not know yet
    /// that it drains
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub settle: Duration,

    /// The instance, as it was told to run.
    #[command(flatten)]
    pub remote: Remote,
}

/// What is left of an instance that drains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Left {
    connections: u64,
    in_flight: u64,
    /// What has come since it was started, to see whether more comes.
    requests: u64,
}

/// Has an instance drained, and waits until it is.
///
/// # Errors
///
/// It can't be asked, or something is left when the time has passed.
pub fn drain(arguments: &DrainArgs) -> Result<(), RemoteError> {
    arguments.remote.run(async |client| {
        let deadline = Instant::now() + arguments.timeout;
        let mut left = Left::of(&client.call(Method::POST, PATH, None).await?);
        let (mut still_since, mut requests) = (Instant::now(), left.requests);
        loop {
            if left.is_something() || left.requests != requests {
                (still_since, requests) = (Instant::now(), left.requests);
            } else if still_since.elapsed() >= arguments.settle {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let Left { connections, in_flight, .. } = left;
                return Err(match left.is_something() {
                    true => RemoteError::Undrained { connections, in_flight },
                    false => RemoteError::StillAsked,
                });
            }
            tokio::time::sleep(POLL).await;
            left = look(client).await?;
        }
    })
}

async fn look(client: &Client) -> Result<Left, RemoteError> {
    Ok(Left::of(&client.call(Method::GET, PATH, None).await?))
}

impl Left {
    fn of(answer: &Value) -> Self {
        // What is not told is not known to be nothing.
        let number = |name| answer.get(name).and_then(Value::as_u64).unwrap_or(u64::MAX);
        Self {
            connections: number("connections"),
            in_flight: number("in_flight"),
            requests: number("requests"),
        }
    }

    const fn is_something(self) -> bool {
        self.connections != 0 || self.in_flight != 0
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}
