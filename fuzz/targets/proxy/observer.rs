//! A server of HTTP/2 that notes which requests come whole.

use std::pin::Pin;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::io::DuplexStream;

use super::upstream::{Shared, answer_to, execution};

/// What such a server answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answers {
    /// Nothing.
    Nothing,
    /// Every request.
    All,
}

/// Serves a connection to its end.
pub async fn observe(stream: DuplexStream, shared: &Shared, answers: Answers) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut exchanges: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
    loop {
        // All of them go on together, and the connection drives them.
        let next = std::future::poll_fn(|cx| {
            exchanges.retain_mut(|exchange| exchange.as_mut().poll(cx).is_pending());
            connection.poll_accept(cx)
        });
        let Some(Ok((request, respond))) = next.await else { return };
        exchanges.push(Box::pin(exchange(request, respond, shared, answers)));
    }
}

async fn exchange(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: &Shared,
    answers: Answers,
) {
    let (head, mut body) = request.into_parts();
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else { return };
        let _ = body.flow_control().release_capacity(piece.len());
    }
    if body.trailers().await.is_err() {
        return;
    }
    let target = head.uri.path();
    let found = execution(shared.key(), (head.method.as_str(), target.as_bytes()), |name| {
        if name == "host" {
            return head.uri.authority().map(|one| one.as_str().as_bytes()).into_iter().collect();
        }
        head.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect()
    });
    if let Some(execution) = found {
        shared.note(execution);
    }
    if answers == Answers::Nothing {
        // Whatever it would say is not said.
        return std::future::pending().await;
    }
    if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
        let _ = stream.send_data(answer_to(shared.key()).into(), true);
    }
}
