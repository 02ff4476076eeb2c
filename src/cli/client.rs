//! A client of the admin listener: one request over one connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::AdminAccess;
use crate::message::Gathered;
use crate::transport::Address;

/// How long an answer may take that is known at once: less than `oncegate drain` waits for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long one may take for which the store is asked.
pub(super) const PATIENCE_WITH_STORE: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A client of the admin listener of one instance.
#[derive(Debug)]
pub(super) struct Client {
    address: Address,
    authorization: Option<HeaderValue>,
    patience: Duration,
}

/// Why an instance was not asked, or has not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The settings say that it has no admin listener.
    #[error("the instance has no admin listener; --admin says where one is")]
    Off,
    /// The token can't be sent.
    #[error("the admin token is not one that can be sent")]
    Token,
    /// Nobody answers there.
    #[error("{0} can't be asked: {1}")]
    Unreachable(Address, io::Error),
    /// What answers there does not speak HTTP, or breaks off.
    #[error("{0} does not answer well: {1}")]
    Broken(Address, hyper::Error),
    /// It takes too long.
    #[error("{0} has not answered in time")]
    Slow(Address),
    /// Its answer has no end.
    #[error("{0} answers more than anybody has asked for")]
    TooLarge(Address),
    /// It has said no.
    #[error("{0}")]
    Refused(String),
}

/// What an instance has answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Client {
    pub(super) fn new(access: AdminAccess, patience: Duration) -> Result<Self, ClientError> {
        let address = reachable(access.address.ok_or(ClientError::Off)?);
        let authorization = access.token.map(|token| {
            let field = [b"Bearer ", token.as_slice()].concat();
            let mut field = HeaderValue::from_bytes(&field).map_err(|_| ClientError::Token)?;
            field.set_sensitive(true);
            Ok(field)
        });
        Ok(Self { address, authorization: authorization.transpose()?, patience })
    }

    /// Asks for a path, and returns the answer whatever its status is.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answered, ClientError> {
        match timeout(self.patience, self.exchange(method, path, body)).await {
            Ok(answered) => answered,
            Err(_) => Err(ClientError::Slow(self.address.clone())),
        }
    }

    /// Asks for a path of the API, and returns what it has answered if it did what was asked.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let Answered { status, body } = self.ask(method, path, body).await?;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let told = ["title", "detail"].map(|name| value.get(name).and_then(Value::as_str));
        Err(ClientError::Refused(match told {
            [Some(title), Some(detail)] => format!("{title}: {detail}"),
            _ => format!("{} answers {status}", self.address),
        }))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answered, ClientError> {
        let unreachable = |error| ClientError::Unreachable(self.address.clone(), error);
        let request = self.request(method, path, body);
        let response = match &self.address {
            Address::Tcp(address) => {
                self.send(TcpStream::connect(address).await.map_err(unreachable)?, request).await
            }
            Address::Unix(path) => {
                self.send(UnixStream::connect(path).await.map_err(unreachable)?, request).await
            }
        };
        let (parts, body) = response?.into_parts();
        Ok(Answered { status: parts.status, body: self.read(body).await? })
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Request<String> {
        let body = body.map_or_else(String::new, Value::to_string);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap_or_default();
        let host = match &self.address {
            Address::Tcp(address) => address.to_string().try_into().ok(),
            Address::Unix(_) => None,
        };
        let host = host.unwrap_or_else(|| HeaderValue::from_static("localhost"));
        let headers = request.headers_mut();
        headers.insert(header::HOST, host);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        request
    }

    async fn send<S>(
        &self,
        stream: S,
        request: Request<String>,
    ) -> Result<Response<Incoming>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |error| ClientError::Broken(self.address.clone(), error);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(broken)
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, ClientError> {
        let mut body = pin!(body);
        let mut gathered = Gathered::default();
        while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let frame = frame.map_err(|error| ClientError::Broken(self.address.clone(), error))?;
            gathered.push(frame.into_data().unwrap_or_default());
            if gathered.len() > ANSWER_BYTES_MAX {
                return Err(ClientError::TooLarge(self.address.clone()));
            }
        }
        Ok(gathered.into_bytes())
    }
}

/// The address at which one that listens at all of a family's can be asked from the same machine.
fn reachable(address: Address) -> Address {
    match address {
        Address::Tcp(address) if address.ip().is_unspecified() => {
            let loopback: IpAddr = match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            SocketAddr::from((loopback, address.port())).into()
        }
        Address::Tcp(_) | Address::Unix(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;
    use tokio::net::TcpListener;

    #[test]
    fn a_drain_outlasts_an_answer_that_does_not_come() {
        let Cli { command } = Cli::try_parse_from(["oncegate", "drain"]).unwrap();
        let Command::Drain(drain) = command else { panic!("{command:?}") };
        assert!(PATIENCE < drain.timeout, "{PATIENCE:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_waited_for_as_long_as_was_said() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Some(silent.local_addr().unwrap().into());
        for patience in [PATIENCE, PATIENCE_WITH_STORE] {
            let access = AdminAccess { address: address.clone(), token: None };
            let client = Client::new(access, patience).unwrap();
            let began = tokio::time::Instant::now();
            let asked = client.ask(Method::GET, "/readyz", None).await;
            assert!(matches!(asked, Err(ClientError::Slow(_))), "{asked:?}");
            assert_eq!(began.elapsed().as_secs(), patience.as_secs());
        }
    }

    #[test]
    fn an_instance_that_listens_everywhere_is_asked_on_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("unix:/a", "unix:/a"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }
}
