//! `oncegate`: from the command line to an exit code.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use oncegate::app::App;
use oncegate::cli::{
    CheckArgs, Cli, Command, ExplainArgs, ManArgs, RecordsArgs, RecordsShown, RemoteError, RunArgs,
    completions, drain, effective, explain, health, manual, manuals, records,
};
use oncegate::config::{Files, Mistakes, Settings, schema};
use oncegate::idempotency::Secret;
use oncegate::telemetry::start_log;
use oncegate::transport::Address;

/// Records live for a day among buffers that live for a millisecond: an allocator that keeps sizes
/// apart does not let them pin each other's pages, and is faster besides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The largest request that is explained, in bytes.
const EXPLAINED_BYTES_MAX: u64 = 64 << 20;

/// Why a command has not done what it was told to.
enum Failure {
    /// What it was told can't be.
    Usage(String),
    /// It could not be done.
    Runtime(String),
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Usage(mistakes) => usage(&mistakes),
            RemoteError::Unasked(_)
            | RemoteError::Unready(_)
            | RemoteError::Undrained { .. }
            | RemoteError::StillAsked
            | RemoteError::System(_) => Self::Runtime(error.to_string()),
        }
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Check(arguments) => check(&arguments),
        Command::Explain(arguments) => explain_one(&arguments),
        Command::Health(arguments) => health(&arguments).map_err(Failure::from),
        Command::Drain(arguments) => drain(&arguments).map_err(Failure::from),
        Command::Records(arguments) => look_at_records(&arguments),
        Command::Completions(arguments) => print(completions(arguments.shell)),
        Command::Man(arguments) => man(&arguments),
    };
    let (code, text) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => (2, text),
        Err(Failure::Runtime(text)) => (1, text),
    };
    if !text.is_empty() {
        eprintln!("{text}");
    }
    ExitCode::from(code)
}

fn check(arguments: &CheckArgs) -> Result<(), Failure> {
    if arguments.schema {
        return print(format!("{:#}\n", schema()));
    }
    let (settings, _) = load(&arguments.run)?;
    for warning in settings.warnings() {
        eprintln!("warning: {warning}");
    }
    print(effective(&settings))
}

fn explain_one(arguments: &ExplainArgs) -> Result<(), Failure> {
    let (settings, _) = load(&arguments.run)?;
    let raw = read_bounded(&arguments.request)
        .map_err(|error| Failure::Runtime(format!("{}: {error}", arguments.request.display())))?;
    let text = explain(&settings, raw).map_err(|error| Failure::Usage(error.to_string()))?;
    print(text)
}

fn look_at_records(arguments: &RecordsArgs) -> Result<(), Failure> {
    let RecordsShown { text, remark } = records(arguments)?;
    print(&text)?;
    if let Some(remark) = remark {
        eprintln!("{remark}");
    }
    Ok(())
}

fn man(arguments: &ManArgs) -> Result<(), Failure> {
    let Some(folder) = &arguments.into else {
        return print(manual().map_err(|error| Failure::Runtime(error.to_string()))?);
    };
    manuals(folder).map_err(|error| Failure::Runtime(format!("{}: {error}", folder.display())))
}

fn run(arguments: &RunArgs) -> Result<(), Failure> {
    let (settings, files) = load(arguments)?;
    let _log = start_log(settings.log.format, settings.log.level)
        .map_err(|error| Failure::Runtime(format!("the log cannot be started: {error}")))?;
    let (upstream, workers) = (settings.upstream.endpoint.to_string(), settings.workers);
    let store = settings.store.kind.to_string();
    let window = settings.policy.fallback().terms.window;
    let routes = settings.policy.routes().count() - 1;
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    let app = App::start(arguments.given(), settings, files).map_err(|error| {
        let source = std::error::Error::source(&error).map(tracing::field::display);
        tracing::error!(%error, source, "not started");
        // The log has said it. Nothing else may: what waits for a blocked stderr waits for ever.
        Failure::Runtime(String::new())
    })?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %listened(app.addresses()),
        admin = %app.admin_address().map_or_else(|| "off".into(), Address::to_string),
        %upstream,
        store = store.as_str(),
        window = %humantime::format_duration(window),
        routes,
        workers,
        "oncegate is ready"
    );
    app.run_until_signal().map_err(|_| Failure::Runtime(String::new()))
}

/// The addresses as the log shows them.
fn listened(addresses: &[Address]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(",")
}

/// The settings, and the files that they come from.
fn load(arguments: &RunArgs) -> Result<(Settings, Files), Failure> {
    let secret = Secret::random().map_err(|_| {
        Failure::Runtime("the operating system has no randomness for the secret".into())
    })?;
    let (settings, files) = arguments.given().load(&secret);
    Ok((settings.map_err(|mistakes| usage(&mistakes))?, files))
}

fn usage(mistakes: &Mistakes) -> Failure {
    Failure::Usage(mistakes.to_string())
}

fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    io::stdout().write_all(text.as_ref()).map_err(|error| Failure::Runtime(error.to_string()))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(EXPLAINED_BYTES_MAX).read_to_end(&mut raw)?;
    } else {
        fs::File::open(path)?.take(EXPLAINED_BYTES_MAX).read_to_end(&mut raw)?;
    }
    Ok(raw)
}
