//! `oncegate health`: whether a running instance wants requests.

use clap::Args;
use http::{Method, StatusCode};

use super::flags;
use super::remote::{Remote, RemoteError};

/// Which instance to ask, and for what.
#[derive(Args, Debug)]
#[command(mut_args(flags::hide_but_admin))]
pub struct HealthArgs {
    /// Ask only whether it is alive, as it is when it drains or its store can't be asked
    #[arg(long)]
    pub live: bool,

    /// The instance, as it was told to run.
    #[command(flatten)]
    pub remote: Remote,
}

/// Asks an instance whether it wants requests.
///
/// # Errors
///
/// It does not, or can't be asked.
pub fn health(arguments: &HealthArgs) -> Result<(), RemoteError> {
    let path = if arguments.live { "/livez" } else { "/readyz?verbose" };
    let answered = arguments.remote.ask(Method::GET, path)?;
    match answered.status {
        StatusCode::OK => Ok(()),
        _ => {
            let said = String::from_utf8_lossy(&answered.body);
            Err(RemoteError::Unready(said.trim_end().to_owned()))
        }
    }
}
