//! A small API that charges an account on every POST, and Oncegate before it.
//!
//! `cargo run --release --example ledger` starts both, prints commands to paste into another
//! terminal, and stays up until Ctrl-C.
#![allow(clippy::print_stdout, reason = "it talks to a person")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use oncegate::app::App;
use oncegate::cli::{Cli, Command};
use oncegate::idempotency::Secret;
use oncegate::telemetry::{Format, start_log};
use oncegate::transport::Address;
use tokio::net::TcpListener;

/// What one charge takes from the account, in cents.
const CHARGE: u64 = 1000;

/// The account: how much it has been charged, and how often.
#[derive(Default)]
struct Account {
    charges: AtomicU64,
}

/// What the caller wants to go wrong, in the `X-Fault` header.
#[derive(Clone, Copy)]
enum Fault {
    /// Nothing.
    None,
    /// The charge takes three seconds.
    Slow,
    /// The API fails before it charges.
    Fail,
    /// The API charges, and breaks the connection instead of answering.
    Cut,
}

fn main() -> Result<(), Box<dyn Error>> {
    start_log(Format::Text, tracing::Level::WARN);
    let api = start_api()?;
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

/// Starts the API in a thread of its own, and says where it listens.
fn start_api() -> Result<SocketAddr, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    thread::spawn(move || runtime.block_on(serve_api(listener)));
    Ok(address)
}

async fn serve_api(listener: TcpListener) {
    let account = Arc::new(Account::default());
    while let Ok((stream, _)) = listener.accept().await {
        let account = Arc::clone(&account);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&account), request));
            // A cut is an error on purpose, and whoever is at the other end sees it.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The API: `POST /charges` charges the account, `GET /account` shows it.
async fn answer(
    account: Arc<Account>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Box<dyn Error + Send + Sync>> {
    let fault = fault(request.headers());
    let charges = request.method() == Method::POST && request.uri().path() == "/charges";
    // The API has read the whole request before it does anything.
    request.into_body().collect().await?;
    if !charges {
        return Ok(account.show());
    }
    match fault {
        Fault::None => {}
        Fault::Slow => tokio::time::sleep(Duration::from_secs(3)).await,
        Fault::Fail => return Ok(json(StatusCode::INTERNAL_SERVER_ERROR, r#"{"error":"sorry"}"#)),
        Fault::Cut => {
            account.charge();
            return Err("the connection is cut".into());
        }
    }
    Ok(account.charge())
}

fn fault(headers: &HeaderMap) -> Fault {
    match headers.get("x-fault").map(http::HeaderValue::as_bytes) {
        Some(b"slow") => Fault::Slow,
        Some(b"fail") => Fault::Fail,
        Some(b"cut") => Fault::Cut,
        _ => Fault::None,
    }
}

impl Account {
    fn charge(&self) -> Response<Full<Bytes>> {
        let number = self.charges.fetch_add(1, Ordering::Relaxed) + 1;
        println!("    the API charges the account: charge number {number}");
        json(StatusCode::CREATED, &format!(r#"{{"charge":{number},"cents":{CHARGE}}}"#))
    }

    fn show(&self) -> Response<Full<Bytes>> {
        let charges = self.charges.load(Ordering::Relaxed);
        let cents = charges * CHARGE;
        json(StatusCode::OK, &format!(r#"{{"charges":{charges},"cents":{cents}}}"#))
    }
}

fn json(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{body}\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static("application/json"));
    response
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
