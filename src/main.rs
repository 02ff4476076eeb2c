//! `oncegate`: from the command line to an exit code.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use oncegate::app::App;
use oncegate::cli::{Cli, Command, RunArgs};
use oncegate::telemetry::start_log;

/// Records live for a day among buffers that live for a millisecond: an allocator that keeps sizes
/// apart does not let them pin each other's pages, and is faster besides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => run(&arguments),
    }
}

fn run(arguments: &RunArgs) -> ExitCode {
    let (format, level) = arguments.log();
    start_log(format, level);
    let settings = arguments.settings();
    if let Err(contradiction) = settings.check() {
        Cli::command().error(ErrorKind::ValueValidation, contradiction).exit();
    }
    let app = match App::start(&settings) {
        Ok(app) => app,
        Err(error) => {
            let source = std::error::Error::source(&error).map(tracing::field::display);
            tracing::error!(%error, source, "not started");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %app.address(),
        upstream = %settings.upstream.endpoint,
        store = "memory:",
        window = %humantime::format_duration(settings.guard.window),
        workers = settings.workers,
        "oncegate is ready"
    );
    match app.run_until_signal() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
