//! The command line.

mod limits;

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::limits::{LimitArgs, parse_count};
use crate::config::{
    Bytes, GuardSettings, Settings, StoreSettings, UpstreamSettings, parse_bytes, parse_duration,
};
use crate::store::WhenFull;
use crate::telemetry::{Format, Selection};
use crate::upstream::Endpoint;

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
    Run(Box<RunArgs>),
}

/// What to run, and how.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The API to stand before, such as <http://127.0.0.1:3000>
    #[arg(long, env = "ONCEGATE_UPSTREAM", value_name = "URL", value_parser = Endpoint::parse)]
    upstream: Endpoint,

    /// Where to listen; port 0 takes any that is free
    #[arg(long, env = "ONCEGATE_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,

    /// How long an answer is kept, from the first request on
    #[arg(
        long,
        env = "ONCEGATE_WINDOW",
        value_name = "DURATION",
        default_value = "24h",
        value_parser = parse_duration
    )]
    window: Duration,

    /// How long a repeat waits for the first request to end, before it gets a 409
    #[arg(
        long,
        env = "ONCEGATE_WAIT",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = parse_duration
    )]
    wait: Duration,

    /// How many workers to run, each a thread with its own connections [default: one for each CPU]
    #[arg(long, env = "ONCEGATE_WORKERS", value_name = "N", value_parser = parse_count)]
    workers: Option<usize>,

    /// How long ending in good order may take
    #[arg(
        long,
        env = "ONCEGATE_DRAIN_TIMEOUT",
        value_name = "DURATION",
        default_value = "25s",
        value_parser = parse_duration
    )]
    drain_timeout: Duration,

    #[command(flatten)]
    upstream_args: UpstreamArgs,

    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    log: LogArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Upstream")]
#[allow(clippy::struct_field_names, reason = "a field has the name of its flag")]
struct UpstreamArgs {
    /// How long the API may take for its whole answer; then callers get a 504, and the key is
    /// held until its late answer comes
    #[arg(
        long,
        env = "ONCEGATE_UPSTREAM_TIMEOUT",
        value_name = "DURATION",
        default_value = "5m",
        value_parser = parse_duration
    )]
    upstream_timeout: Duration,

    /// How much longer such a late answer is listened for
    #[arg(
        long,
        env = "ONCEGATE_UPSTREAM_LINGER",
        value_name = "DURATION",
        default_value = "10m",
        value_parser = parse_duration
    )]
    upstream_linger: Duration,

    /// How long making a connection may take
    #[arg(
        long,
        env = "ONCEGATE_UPSTREAM_CONNECT_TIMEOUT",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = parse_duration
    )]
    upstream_connect_timeout: Duration,

    /// How long an idle connection is kept; it should be less than the API keeps it
    #[arg(
        long,
        env = "ONCEGATE_UPSTREAM_IDLE_TIMEOUT",
        value_name = "DURATION",
        default_value = "4s",
        value_parser = parse_duration
    )]
    upstream_idle_timeout: Duration,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Store")]
struct StoreArgs {
    /// Where answers are kept; in the memory of this process is all there is so far
    #[arg(long, env = "ONCEGATE_STORE", value_name = "URL", default_value = "memory:")]
    store: StoreUrl,

    /// How many bytes kept answers may take in memory
    #[arg(
        long,
        env = "ONCEGATE_STORE_MAX_BYTES",
        value_name = "SIZE",
        default_value = "256MiB",
        value_parser = parse_bytes
    )]
    store_max_bytes: Bytes,

    /// What happens when they would take more
    #[arg(long, env = "ONCEGATE_WHEN_FULL", value_name = "WHAT", default_value = "evict")]
    when_full: WhenFullArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StoreUrl {
    #[value(name = "memory:")]
    Memory,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WhenFullArg {
    /// The answer that was not asked for the longest is dropped: a repeat would be executed again
    Evict,
    /// Requests that would need room are refused
    Refuse,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Log")]
struct LogArgs {
    /// Which requests are logged, as JSON lines on stdout
    #[arg(long, env = "ONCEGATE_ACCESS_LOG", value_name = "WHICH", default_value = "duplicates")]
    access_log: SelectionArg,

    /// How the log on stderr is written
    #[arg(long, env = "ONCEGATE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: FormatArg,

    /// The least level that is logged
    #[arg(long, env = "ONCEGATE_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: LevelArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SelectionArg {
    /// None
    Off,
    /// Repeats, refusals and failures
    Duplicates,
    /// All
    All,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelArg {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl RunArgs {
    /// How the log is written, and the least level that is.
    pub fn log(&self) -> (Format, tracing::Level) {
        let format = match self.log.log_format {
            FormatArg::Text => Format::Text,
            FormatArg::Json => Format::Json,
        };
        let level = match self.log.log_level {
            LevelArg::Error => tracing::Level::ERROR,
            LevelArg::Warn => tracing::Level::WARN,
            LevelArg::Info => tracing::Level::INFO,
            LevelArg::Debug => tracing::Level::DEBUG,
            LevelArg::Trace => tracing::Level::TRACE,
        };
        (format, level)
    }

    /// What all flags together say.
    pub fn settings(&self) -> Settings {
        let Self { upstream_args, limits, .. } = self;
        let cpus = || thread::available_parallelism().map_or(1, usize::from);
        Settings {
            listen: self.listen,
            workers: self.workers.unwrap_or_else(cpus),
            drain_timeout: self.drain_timeout,
            access_log: match self.log.access_log {
                SelectionArg::Off => Selection::Off,
                SelectionArg::Duplicates => Selection::Duplicates,
                SelectionArg::All => Selection::All,
            },
            upstream: UpstreamSettings {
                endpoint: self.upstream.clone(),
                timeout: upstream_args.upstream_timeout,
                linger: upstream_args.upstream_linger,
                connect_timeout: upstream_args.upstream_connect_timeout,
                idle_timeout: upstream_args.upstream_idle_timeout,
            },
            guard: GuardSettings {
                window: self.window,
                wait: self.wait,
                request_bytes_max: limits.request_bytes_max(),
                response_bytes_max: limits.response_bytes_max(),
            },
            store: self.store.settings(),
            limits: limits.settings(),
        }
    }
}

impl StoreArgs {
    fn settings(&self) -> StoreSettings {
        match self.store {
            StoreUrl::Memory => StoreSettings {
                bytes_max: self.store_max_bytes.0,
                when_full: match self.when_full {
                    WhenFullArg::Evict => WhenFull::Evict,
                    WhenFullArg::Refuse => WhenFull::Refuse,
                },
            },
        }
    }
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
