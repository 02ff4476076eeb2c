//! The ledger upstream in HTTP/2: the same script, stream by stream.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Request, Response};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::h2_caller::fields;
use super::origin::{Received, Shared};
use super::script::{Act, Answer, Frame, How};
use super::turns::Turns;
use super::wire::{Ending, Field, Fields};

/// Serves one connection until either side ends it.
pub(super) async fn serve(stream: TcpStream, connection: usize, shared: Arc<Shared>) {
    stream.set_nodelay(true).ok();
    let mut idle_closed = shared.idle_closed.subscribe();
    let Ok(mut http2) = h2::server::handshake(stream).await else { return };
    let (close, mut closing) = mpsc::channel(1);
    let line = Line { connection, shared, turns: Turns::new(), close };
    let mut exchanges = JoinSet::new();
    let mut is_to_end = false;
    while !(is_to_end && exchanges.is_empty()) {
        let request = tokio::select! {
            biased;
            _ = closing.recv() => break,
            request = next(&mut http2, &line.turns) => request,
            Some(_) = exchanges.join_next() => continue,
            _ = idle_closed.changed() => {
                is_to_end = true;
                continue;
            }
        };
        let Some(Ok((request, respond))) = request else {
            // the exchanges find out by themselves
            exchanges.detach_all();
            break;
        };
        exchanges.spawn(line.clone().exchange(request, respond));
    }
    line.turns.end(Ending::Closed);
}

/// The next request of a connection; what there is to write is written meanwhile.
async fn next(
    http2: &mut Connection<TcpStream, Bytes>,
    turns: &Turns,
) -> Option<Result<(Request<RecvStream>, SendResponse<Bytes>), h2::Error>> {
    poll_fn(|cx| {
        let polled = http2.poll_accept(cx);
        turns.note(cx);
        polled
    })
    .await
}

/// What the exchanges of one connection have in common.
#[derive(Clone)]
struct Line {
    connection: usize,
    shared: Arc<Shared>,
    turns: Turns,
    close: mpsc::Sender<()>,
}

impl Line {
    /// Reads one request and answers it.
    async fn exchange(self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        match self.answer(request, &mut respond).await {
            Ok(Some(How::Reset)) => respond.send_reset(Reason::INTERNAL_ERROR),
            Ok(Some(How::Close)) => drop(self.close.send(()).await),
            Ok(None) => {}
            Err(_) => self.shared.break_off(),
        }
    }

    /// Answers a request, and says how it is broken off; an error if the peer has broken off.
    async fn answer(
        &self,
        request: Request<RecvStream>,
        respond: &mut SendResponse<Bytes>,
    ) -> Result<Option<How>, h2::Error> {
        let planned = self.shared.begin();
        let (head, mut body) = request.into_parts();
        let with_body = head.method != http::Method::HEAD;
        let planned = match planned {
            Some(Act::DropAfterHead(how)) => return Ok(Some(how)),
            Some(Act::Early(answer)) => return self.send(&answer, respond, with_body).await,
            planned => planned,
        };
        let body = whole(&mut body).await?;
        let received = Received {
            method: head.method.as_str().to_owned(),
            target: head.uri.path_and_query().map_or("", |target| target.as_str()).to_owned(),
            head: head_of(&head),
            body,
            connection: self.connection,
            execution: 0,
            serial: 0,
        };
        let (received, script) = self.shared.execute(received);
        let act = planned.unwrap_or_else(|| script(&received));
        let act = tokio::select! {
            act = act.passed() => act,
            reset = poll_fn(|cx| respond.poll_reset(cx)) => return Err(reset?.into()),
        };
        match act {
            Act::Ledger => self.send(&Answer::ledger(&received), respond, with_body).await,
            Act::Answer(answer) | Act::Early(answer) => {
                self.send(&answer, respond, with_body).await
            }
            Act::DropAfterHead(how) | Act::DropAfterExecuting(how) => Ok(Some(how)),
            Act::After(..) => unreachable!("its gates have been passed"),
        }
    }

    /// Sends an answer as gates and faults allow, and says how it is broken off.
    async fn send(
        &self,
        answer: &Answer,
        respond: &mut SendResponse<Bytes>,
        with_body: bool,
    ) -> Result<Option<How>, h2::Error> {
        answer.assert_fits_http2();
        for (status, name, value) in &answer.hints {
            respond.send_informational(response(
                *status,
                &[(name.clone(), value.as_bytes().to_vec())],
            ))?;
        }
        let mut head = response(answer.status, &answer.fields);
        if answer.frame == Frame::Length {
            head.headers_mut().insert(http::header::CONTENT_LENGTH, answer.length().into());
        }
        let pieces: Vec<_> = answer.pieces.iter().filter(|_| with_body).collect();
        let is_whole = answer.cut.is_none() && answer.endless.is_none();
        let is_empty = pieces.is_empty() && is_whole;
        let mut stream = respond.send_response(head, is_empty)?;
        let mut left = answer.cut.map_or(usize::MAX, |(bytes, _)| bytes);
        for (number, (gate, piece)) in pieces.iter().enumerate() {
            if let Some(gate) = gate {
                gate.passed().await;
            }
            let is_last = number + 1 == pieces.len() && is_whole;
            let end = left.min(piece.len());
            left -= end;
            write(&mut stream, Bytes::copy_from_slice(&piece[..end]), is_last).await?;
            if left == 0 {
                break;
            }
        }
        while let Some(piece) = &answer.endless {
            write(&mut stream, Bytes::copy_from_slice(piece), false).await?;
        }
        let how = answer.cut.map(|(_, how)| how).or(answer.leave.map(|_| How::Close));
        if how.is_some() {
            self.turns.written().await;
        }
        Ok(how)
    }
}

/// Writes a piece of a body as there is room for it.
async fn write(
    stream: &mut SendStream<Bytes>,
    mut piece: Bytes,
    is_last: bool,
) -> Result<(), h2::Error> {
    if piece.is_empty() && is_last {
        return stream.send_data(piece, true);
    }
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let room = match stream.capacity() {
            0 => poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap_or(Ok(0))?,
            room => room,
        };
        if room == 0 {
            return Err(Reason::STREAM_CLOSED.into());
        }
        let part = piece.split_to(room.min(piece.len()));
        stream.send_data(part, is_last && piece.is_empty())?;
    }
    Ok(())
}

async fn whole(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut whole = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        whole.extend_from_slice(&piece);
    }
    body.trailers().await?;
    Ok(whole)
}

fn response(status: u16, fields: &[(String, Vec<u8>)]) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status.try_into().expect("a status");
    for (name, value) in fields {
        let name: HeaderName = name.parse().expect("a name that HTTP/2 may have");
        let value = HeaderValue::from_bytes(value).expect("a value that HTTP/2 may have");
        response.headers_mut().append(name, value);
    }
    response
}

/// The head of a request as that of HTTP/1.1 is shown: its authority is its host.
fn head_of(head: &http::request::Parts) -> Fields {
    let mut shown = fields(&format!("{} {} HTTP/2", head.method, head.uri), &head.headers);
    if let Some(authority) = head.uri.authority() {
        let value = authority.as_str().as_bytes().to_vec();
        shown.lines.insert(0, Field { name: "host".to_owned(), value });
    }
    shown
}
