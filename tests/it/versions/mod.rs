//! HTTP/2 and HTTP/1.1 are one thing to the guard: the same operations, hosts, callers and limits.

mod onward;
mod refused;
mod same;
mod tls;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::support::{Proxy, within};

/// A caller on one HTTP/2 connection.
struct Caller(SendRequest<Bytes>);

/// What such a caller is answered.
#[derive(Debug)]
struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Answered {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn is_repeat(&self) -> bool {
        self.headers.contains_key("duplicate-request")
    }

    #[track_caller]
    fn assert_problem(&self, status: u16, name: &str) {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(
            (self.status, &problem["type"]),
            (status, &format!("urn:oncegate:{name}").into())
        );
        assert!(!self.headers.contains_key("connection"), "{self:?}");
    }
}

impl Caller {
    async fn of(proxy: &Proxy) -> Self {
        let stream = within("a connection", TcpStream::connect(proxy.addr())).await;
        Self::over(stream.expect("connecting")).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Self(sender)
    }

    /// Sends a request with this body and these trailers, and reads its answer.
    async fn try_send(
        &mut self,
        request: Request<&str>,
        trailers: Option<HeaderMap>,
    ) -> Result<Answered, h2::Error> {
        let (parts, body) = request.into_parts();
        let ends = body.is_empty() && trailers.is_none();
        let mut sender = within("a stream", self.0.clone().ready()).await?;
        let (answer, mut stream) = sender.send_request(Request::from_parts(parts, ()), ends)?;
        if !ends {
            stream.send_data(Bytes::copy_from_slice(body.as_bytes()), trailers.is_none())?;
        }
        if let Some(trailers) = trailers {
            stream.send_trailers(trailers)?;
        }
        let (parts, mut incoming) = within("an answer", answer).await?.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = within("a body", incoming.data()).await {
            let piece = piece?;
            incoming.flow_control().release_capacity(piece.len())?;
            body.extend_from_slice(&piece);
        }
        let trailers = within("trailers", incoming.trailers()).await?;
        Ok(Answered { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
    }

    async fn send(&mut self, request: Request<&str>) -> Answered {
        self.try_send(request, None).await.expect("an answer")
    }
}

/// A request as an HTTP/2 client makes it.
fn request<'a>(method: &str, uri: &str, lines: &[(&str, &str)], body: &'a str) -> Request<&'a str> {
    let request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
    let request =
        lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body).expect("a request")
}

fn post<'a>(lines: &[(&str, &str)], body: &'a str) -> Request<&'a str> {
    request("POST", "http://api.example/charges?a=%2F", lines, body)
}
