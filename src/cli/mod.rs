//! The command line.

mod check;
mod client;
mod drain;
mod explain;
mod flags;
mod health;
mod manual;
mod records;
mod remote;
mod table;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use self::check::effective;
pub use self::drain::{DrainArgs, drain};
pub use self::explain::{ExplainError, explain};
pub use self::flags::RunArgs;
pub use self::health::{HealthArgs, health};
pub use self::manual::{completions, manual, manuals};
pub use self::records::{
    AckArgs, GoneArgs, ListArgs, Listed, ReasonArgs, RecordArgs, RecordsArgs, RecordsCommand,
    RecordsShown, records,
};
pub use self::remote::{Remote, RemoteError};

/// Makes any HTTP API idempotent: runs the first request with a key, keeps its answer, and gives
/// that answer to every repeat without calling the API again.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stand before an API and make it idempotent
    ///
    /// POST, PUT, PATCH and DELETE requests are guarded: each is keyed by its Idempotency-Key, else
    /// its Request-ID, else a checksum of all that it asks for. Everything else passes, streamed
    /// both ways. SIGTERM and SIGINT end it in good order; a second signal ends it at once.
    #[command(mut_arg("upstream", flags::require_upstream))]
    Run(Box<RunArgs>),
    /// Find every mistake in a config
    ///
    /// It reads what `oncegate run` would read with the same flags and variables, all of which it
    /// takes, and says where each mistake is and what would be right. It ends with 0 if there is
    /// none, and with 2 otherwise.
    Check(Box<CheckArgs>),
    /// Say what would be made of one request
    ///
    /// It reads one raw HTTP/1.1 request, and says which route it takes, where its key is looked
    /// for and found, whose it is, what of it is compared and what is left out and why, and its
    /// Duplicate-Key. Values are not shown.
    Explain(Box<ExplainArgs>),
    /// Ask a running instance whether it wants requests
    ///
    /// It asks the admin listener that `oncegate run` would have with the same flags and variables.
    /// It ends with 0 if the instance is ready, and with 1 otherwise.
    Health(Box<HealthArgs>),
    /// Have a running instance drained, and wait until it is
    ///
    /// The instance is not ready from then on, and ends each connection with its next answer; it
    /// goes on serving until it is told to end. It ends with 0 once nothing is left, and with 1 if
    /// something is when the time has passed.
    Drain(Box<DrainArgs>),
    /// Look at what a running instance remembers, and decide about it
    ///
    /// Each ends with 0 if it was done, with 1 if the instance can't be asked or says no, and with
    /// 2 if it was asked for wrongly.
    Records(Box<RecordsArgs>),
    /// Print what makes a shell complete the commands and flags
    ///
    /// For bash, `oncegate completions bash > /etc/bash_completion.d/oncegate`; other shells have
    /// other places.
    Completions(CompletionsArgs),
    /// Print the manual page
    ///
    /// `oncegate man | man -l -` shows it, and `oncegate man --into /usr/share/man/man1` installs
    /// it, with a page for each command.
    Man(ManArgs),
}

/// What to check.
#[derive(Args, Debug)]
#[command(mut_args(flags::hide), mut_arg("config", flags::require_config))]
pub struct CheckArgs {
    /// Print a JSON Schema of the config file instead, for editors
    #[arg(long)]
    pub schema: bool,

    /// What would be run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to explain.
#[derive(Args, Debug)]
#[command(mut_args(flags::hide), mut_arg("upstream", flags::require_upstream))]
pub struct ExplainArgs {
    /// A file with the request; `-` is the standard input
    #[arg(value_name = "REQUEST", default_value = "-")]
    pub request: PathBuf,

    /// What would be run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Which shell to make completions for.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Which manual pages to make.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// Write this page and one for each command into a folder instead
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for argument in run.get_arguments().filter(|argument| argument.get_id() != "help") {
            let flag = argument.get_long().unwrap();
            let expected = format!("ONCEGATE_{}", flag.to_uppercase().replace('-', "_"));
            let variable = argument.get_env().and_then(|name| name.to_str());
            assert_eq!(variable, Some(expected.as_str()));
        }
    }
}
