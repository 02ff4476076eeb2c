//! The API of the examples: it charges an account on every POST.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
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

/// Starts the API in a thread of its own, and says where it listens.
pub(crate) fn start() -> Result<SocketAddr, Box<dyn Error>> {
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
