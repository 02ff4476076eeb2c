//! `oncegate explain`: what is made of one request.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use crate::clock::Clock;
use crate::config::Settings;
use crate::idempotency::Caller;
use crate::message::{
    Authority, Body, Field, Scheme, check_nominations, is_grpc, overriding_method, scan,
};
use crate::policy::{
    Anonymous, Asked, Chosen, Credential, Hop, IdentifyError, KeySource, Mode, Route, Treatment,
    Watch,
};

/// Why a request is not explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// It is not HTTP/1.1.
    #[error("this is not one whole HTTP/1.1 request: {0}")]
    NotHttp(String),
    /// Nothing could be started to read it.
    #[error("the request could not be read: {0}")]
    System(#[from] std::io::Error),
}

/// What is made of a request, line by line.
struct Explanation(String);

/// Says what an instance with these settings makes of one raw HTTP/1.1 request. Values are not
/// shown: only where they are, and how long.
pub fn explain(settings: &Settings, raw: Vec<u8>) -> Result<String, ExplainError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (head, body) = runtime.block_on(read(raw))?;
    let mut text = Explanation(String::new());
    text.request(settings, &head, &body);
    Ok(text.0)
}

impl Explanation {
    fn line(&mut self, heading: &str, text: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{heading:14} {text}");
    }

    fn request(&mut self, settings: &Settings, head: &Parts, body: &[u8]) {
        let (method, path) = (&head.method, head.uri.path());
        // As over TCP, whatever the request says.
        let scheme = if settings.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let authority = match Authority::of(&head.uri, &head.headers, head.version, scheme) {
            Ok(authority) => authority,
            Err(error) => return self.line("refused", format!("400 bad-request: {error}")),
        };
        self.line("request", format!("{method} {path} for {}", authority.as_str()));
        let fields = scan(&head.headers);
        let essential = |name: &HeaderName| settings.policy.depends_on(name);
        if let Err(error) = check_nominations(&head.headers, fields, essential) {
            return self.line("refused", format!("400 bad-request: {error}"));
        }
        if settings.policy.confuses(method) {
            return self.line("refused", "400 bad-request: its method is known in upper case");
        }
        let acts_as = fields.has(Field::MethodOverride).then(|| overriding_method(&head.headers));
        if let Some(method) = &acts_as {
            self.line("acts as", method);
        }
        let taken = acts_as.as_ref().unwrap_or(method);
        let route = settings.policy.route(taken, &authority, path);
        let now = Clock::system().now();
        let acts_as = acts_as.as_ref();
        let (certificate, hop) = (None, Hop::Believed);
        let asked = Asked { authority: &authority, head, certificate, now, acts_as, hop };
        let mode = match route.mode {
            Mode::Enforce => "",
            Mode::Observe => " (only observed: it is forwarded, whatever is said below)",
            Mode::Off => " (off)",
        };
        self.line("route", format!("{}{mode}", route.name));
        if route.mode == Mode::Off || !(route.guards(method) || acts_as.is_some()) {
            return self.line("passed on", "the route does not guard it");
        }
        self.guarded(settings, route, &asked, body);
    }

    fn guarded(&mut self, settings: &Settings, route: &Route, asked: &Asked<'_>, body: &[u8]) {
        if route.caller(asked) == Caller::Anonymous {
            match route.anonymous {
                Anonymous::Share => {
                    self.line("anonymous", "nothing in it proves who its caller is");
                }
                Anonymous::Refuse => return self.line("refused", "400 caller-missing"),
                Anonymous::Pass => return self.line("passed on", "unprotected: caller-unknown"),
            }
        }
        let content_type = asked.head.headers.get(header::CONTENT_TYPE);
        let is_call = asked.head.method == Method::POST
            && content_type.is_some_and(|value| is_grpc(value.as_bytes()));
        let chosen = if is_call { route.choose_in_header(asked) } else { route.choose(asked) };
        let identified = match chosen {
            Ok(Chosen::Nothing) => Ok(None),
            Ok(chosen) if body.len() > route.request_bytes_max => {
                return self.too_large(route, chosen);
            }
            Ok(chosen) => match route.identify_watched(chosen, asked, body, self) {
                Err(IdentifyError::TooLarge) => return self.too_large(route, chosen),
                identified => identified,
            },
            Err(error) => Err(error),
        };
        match identified {
            Err(error) => self.line("refused", format!("400 key-malformed: {error}")),
            Ok(None) if route.requires_key => self.line("refused", "400 key-missing"),
            Ok(None) => self.line("passed on", "unprotected: key-missing"),
            Ok(Some(found)) => {
                if found.caller == Caller::Anonymous {
                    self.line("replays", "carry no Set-Cookie, since the caller is not known");
                }
                if let Some(header) = &route.forward_key {
                    let key = found.identity.key.forwarded(&route.secret);
                    self.secret_line(settings, "forwarded", &format!("{header}: {key}"));
                }
                self.secret_line(settings, "Duplicate-Key", &found.identity.key.to_base64());
            }
        }
    }

    fn too_large(&mut self, route: &Route, chosen: Chosen) {
        match route.rejects_oversize(chosen) {
            true => self.line("refused", "413 too-large"),
            false => self.line("passed on", "unprotected: body-too-large"),
        }
    }

    /// A line that depends on the secret.
    fn secret_line(&mut self, settings: &Settings, heading: &str, text: &str) {
        if settings.store.has_secret_file {
            self.line(heading, text);
        } else {
            let why = "another in each instance: without store.secret_file, each draws a secret";
            self.line(heading, why);
        }
    }
}

impl Watch for Explanation {
    fn source(&mut self, source: &KeySource, found: bool) {
        match found {
            true => self.line("key", source),
            false => self.line("no key in", source),
        }
    }

    fn credential(&mut self, credential: &Credential<'_>) {
        let Credential { kind, name, value, is_proven: _ } = credential;
        let source = format!("{kind} {name}");
        let note = match credential.caller() {
            Caller::Known => "",
            Caller::Anonymous => ", which does not prove who it is",
        };
        self.line("caller", format!("{} ({} bytes){note}", source.trim_end(), value.len()));
    }

    fn header(&mut self, name: &HeaderName, treatment: Treatment) {
        self.part(&format!("header {name}"), treatment);
    }

    fn part(&mut self, part: &str, treatment: Treatment) {
        match treatment {
            Treatment::Hashed => self.line("compared", part),
            Treatment::Caller => {
                self.line("left out", format!("{part}: it says who the caller is"));
            }
            Treatment::Volatile => {
                self.line("left out", format!("{part}: it changes between attempts"));
            }
            Treatment::Ignored => self.line("left out", format!("{part}: the route ignores it")),
            Treatment::NotListed => {
                self.line("left out", format!("{part}: it is not among only_headers"));
            }
        }
    }

    fn body(&mut self, length: usize, left: usize) {
        let ignored = length - left;
        self.line("compared", format!("body ({left} of {length} bytes; ignore_json: {ignored})"));
    }
}

/// Reads a request as the server reads it.
async fn read(raw: Vec<u8>) -> Result<(Parts, Bytes), ExplainError> {
    let (mut caller, server) = tokio::io::duplex(64 * 1024);
    let writing = tokio::spawn(async move {
        // An error says that the server has heard enough.
        let _ = caller.write_all(&raw).await;
        let _ = caller.shutdown().await;
        // What it answers is not of interest.
        let _ = tokio::io::copy(&mut caller, &mut tokio::io::sink()).await;
    });
    let first = Arc::new(Mutex::new(None));
    let service = service_fn(|request: Request<Incoming>| {
        let first = Arc::clone(&first);
        async move {
            let (parts, body) = request.into_parts();
            let read = whole(body).await.map(|body| (parts, body));
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(read);
            Ok::<_, std::convert::Infallible>(Response::new(Body::Empty))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .keep_alive(false)
        .serve_connection(TokioIo::new(server), service)
        .await;
    writing.abort();
    let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (first, connection) {
        (Some(Ok(read)), _) => Ok(read),
        (Some(Err(error)), _) => Err(ExplainError::NotHttp(error)),
        (None, Err(error)) if error.is_incomplete_message() => {
            let detail = "it ends before its header does, or before Content-Length bytes of body";
            Err(ExplainError::NotHttp(detail.to_owned()))
        }
        (None, Err(error)) => Err(ExplainError::NotHttp(error.to_string())),
        (None, Ok(())) => Err(ExplainError::NotHttp("it is empty".to_owned())),
    }
}

async fn whole(mut body: Incoming) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        let frame = frame.map_err(|_| "its body ends early, or is not well framed".to_owned())?;
        if let Ok(piece) = frame.into_data() {
            bytes.extend_from_slice(&piece);
        }
    }
    Ok(bytes.into())
}
