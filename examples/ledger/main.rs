//! A small API that charges an account on every POST, and Oncegate before it.
//!
//! `cargo run --release --example ledger` starts both, prints commands to paste into another
//! terminal, and stays up until Ctrl-C.
#![allow(clippy::print_stdout, reason = "it talks to a person")]

mod api;

use std::error::Error;
use std::net::SocketAddr;

use clap::Parser;
use oncegate::app::App;
use oncegate::cli::{Cli, Command};
use oncegate::idempotency::Secret;
use oncegate::telemetry::{Format, start_log};
use oncegate::transport::Address;

fn main() -> Result<(), Box<dyn Error>> {
    let _log = start_log(Format::Text, tracing::Level::WARN)?;
    let api = api::start()?;
    let upstream = format!("http://{api}");
    let app = start_gate(&upstream, "127.0.0.1:8080")
        .or_else(|_| start_gate(&upstream, "127.0.0.1:0"))?;
    let gate = app.addresses().first().ok_or("it listens nowhere")?;
    print_guide(api, gate);
    app.run_until_signal()?;
    Ok(())
}

/// Starts Oncegate as `oncegate run` would.
fn start_gate(upstream: &str, listen: &str) -> Result<App, Box<dyn Error>> {
    let arguments =
        ["oncegate", "run", "--upstream", upstream, "--listen", listen, "--access-log", "off"];
    let Command::Run(run) = Cli::try_parse_from(arguments)?.command else {
        return Err("not the command that was given".into());
    };
    let given = run.given();
    let (settings, files) = given.load(&Secret::random()?);
    Ok(App::start(given, settings?, files)?)
}

fn print_guide(api: SocketAddr, gate: &Address) {
    println!(
        r"
An API that charges $10 for every POST listens at http://{api}, and Oncegate before it at
http://{gate}. Ctrl-C ends both. Paste these into another terminal, twice each:

  curl -i http://{gate}/charges -H 'Idempotency-Key: order-1' -d amount=10
      first: 201, charge 1
      again: the same answer with Duplicate-Request: true, and no second charge

  curl -i http://{gate}/charges -d amount=10 -d order=2
      the same without any key: a checksum of the request is its key

  curl -i http://{gate}/charges -H 'Idempotency-Key: order-1' -d amount=99
      422: the key was used for another request

  curl -i http://{gate}/charges -H 'Idempotency-Key: order-3' -H 'X-Fault: slow' -d amount=10 -m 1
      first: you hang up after a second, and the charge goes on
      again, without -m 1: the answer of that charge

  curl -i http://{gate}/charges -H 'Idempotency-Key: order-4' -H 'X-Fault: fail' -d amount=10
      500 each time: the API did nothing, so the key is free; without X-Fault, it charges

  curl -i http://{gate}/charges -H 'Idempotency-Key: order-5' -H 'X-Fault: cut' -d amount=10
      first: 502, the API has charged and broken off
      again: 409 outcome-unknown, since nobody can know; never a second charge

  curl http://{gate}/account
      what the API has really charged; GET always passes
"
    );
}
