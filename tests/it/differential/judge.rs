//! Sends bytes to the proxy, and compares what the caller meant, what the proxy says that it did,
//! and what two readers see of it behind the proxy.

use serde_json::Value;

use super::reading::{Meant, meant};
use super::strict::{self, Framing};
use super::tap::{Forwarded, Tap};
use crate::support::{Client, Connection, Origin, Proxy, Received, client, eventually};

/// Methods that are guarded.
const GUARDED: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// The length of a body that is too large to be guarded.
const LARGE: usize = (8 << 20) + 1;

/// An HTTP/2 connection is none of this.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The proxy between all of its witnesses.
pub struct Court {
    origin: Origin,
    tap: Tap,
    proxy: Proxy,
    /// A connection on which nothing odd is sent.
    plain: Connection,
    /// How many requests both witnesses have told of, and how many lines the access log has.
    told: usize,
    logged: usize,
    /// How many connections to the tap have been found broken.
    broken: usize,
}

/// What a caller got.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Got {
    pub statuses: Vec<u16>,
    /// Whether the last answer is that of a parser which could not tell what was asked for.
    pub ends_unread: bool,
}

/// What the proxy says of a request.
#[derive(Clone, Debug)]
struct Entry {
    method: String,
    path: String,
    status: u16,
    outcome: String,
}

impl Entry {
    fn of(line: &str) -> Self {
        let entry: Value = serde_json::from_str(line).expect("a line of JSON");
        let text = |name: &str| entry[name].as_str().expect("text").to_owned();
        let status = entry["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let (method, path, outcome) = (text("method"), text("path"), text("outcome"));
        Self { method, path, status: status.expect("a status"), outcome }
    }

    /// Whether the upstream has got the request.
    fn was_sent(&self) -> bool {
        matches!(self.outcome.as_str(), "executed" | "passed")
    }
}

impl Court {
    pub async fn start() -> Self {
        let origin = Origin::start().await;
        let tap = Tap::before(origin.addr).await;
        let proxy = Proxy::before_address(tap.addr).arg("--access-log", "all");
        let proxy = proxy.arg("--workers", "1").start().await;
        let plain = client(&proxy).connect().await;
        Self { origin, tap, proxy, plain, told: 0, logged: 0, broken: 0 }
    }

    /// Sends these bytes in pieces of this size, and says what the caller got, or who says
    /// something else of it than the others.
    pub async fn judge(&mut self, sent: &[u8], piece: usize) -> Result<Got, String> {
        let received = self.send(sent, piece).await;
        let entries = self.entries().await;
        let forwarded = self.forwarded();
        let partial = self.partial().await;
        let meant = meant(sent);
        let got = match sent.starts_with(PREFACE) {
            true => Got { statuses: Vec::new(), ends_unread: true },
            false => got(&received, &entries)?,
        };
        check_meant(&meant, &entries, &got)?;
        check_sent(&meant, &entries, &forwarded?)?;
        check_partial(&partial?, &entries)?;
        Ok(got)
    }

    async fn send(&self, bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut connection = Client::of(self.proxy.addr()).connect().await;
        for piece in bytes.chunks(piece) {
            connection.write(piece).await;
        }
        connection.finish().await;
        connection.rest().await.0
    }

    /// What the proxy has logged of that. A plain request on another connection comes after it.
    async fn entries(&mut self) -> Vec<Entry> {
        let path = format!("/plain/{}", self.told);
        let request = client(&self.proxy).get(&path);
        let reply = request.send_on(&mut self.plain).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        let is_last = |line: &str| line.contains(&format!("\"{path}\""));
        let mut lines = self.proxy.access_lines_since(self.logged, is_last).await;
        self.logged += lines.len();
        lines.pop();
        lines.iter().map(|line| Entry::of(line)).collect()
    }

    /// What both witnesses tell, which must be the same, and end with the plain request.
    fn forwarded(&mut self) -> Result<Vec<Forwarded>, String> {
        let (mut forwarded, received) = (self.tap.since(self.told), self.origin.since(self.told));
        let one: Vec<_> = forwarded.iter().map(seen_by_tap).collect();
        let other: Vec<_> = received.iter().map(seen_by_origin).collect();
        let same = require(one == other, || format!("one reader sees {one:?}, another {other:?}"));
        let plain = format!("/plain/{}", self.told);
        self.told += received.len();
        same?;
        let last = forwarded.pop().map(|last| last.target);
        require(last.as_ref() == Some(&plain), || format!("{last:?} is not {plain}"))?;
        Ok(forwarded)
    }

    /// Parts of requests that were left on connections; these must end.
    async fn partial(&mut self) -> Result<Vec<Vec<u8>>, String> {
        let broken = self.tap.broken();
        let (before, new) = broken.split_at(self.broken);
        require(before.iter().all(|(_, one)| one.has_ended), || format!("used: {before:?}"))?;
        self.broken = broken.len();
        let mut parts = Vec::new();
        for (number, connection) in new {
            if let Some(fault) = &connection.fault {
                return Err(format!("not in the usual form: {fault}"));
            }
            parts.push(connection.bytes[connection.read..].to_vec());
            let ended = || self.tap.connections()[*number].has_ended;
            eventually("the end of a broken connection", async || ended()).await;
        }
        Ok(parts)
    }

    /// Lets a third reader see everything, and fails unless it sees the same requests.
    pub async fn adjourn(self) {
        let mut seen = Vec::new();
        for connection in self.tap.connections() {
            seen.extend(super::third::requests(&connection.bytes[..connection.read]).await);
        }
        let mut forwarded: Vec<_> =
            self.tap.since(0).into_iter().map(|one| (one.method, one.target, one.body)).collect();
        seen.sort_unstable();
        forwarded.sort_unstable();
        assert_eq!(seen, forwarded, "a third reader sees the same");
    }
}

type Seen<'a> = (&'a str, &'a str, &'a [u8], (usize, usize));

fn seen_by_tap(one: &Forwarded) -> Seen<'_> {
    (&one.method, &one.target, &one.body, one.head.framings())
}

fn seen_by_origin(one: &Received) -> Seen<'_> {
    let count = |name| one.head.all(name).len();
    let framings = (count("content-length"), count("transfer-encoding"));
    (&one.method, &one.target, &one.body, framings)
}

/// Reads one answer to each request that was logged, and after these nothing or a last refusal.
fn got(received: &[u8], entries: &[Entry]) -> Result<Got, String> {
    let (mut statuses, mut at) = (Vec::new(), 0);
    for entry in entries {
        let (status, length) = answer(&received[at..], &entry.method)?;
        require(status == entry.status, || format!("got {status}, logged {entry:?}"))?;
        statuses.push(status);
        at += length;
    }
    let bare = &received[at..];
    if !bare.is_empty() {
        let (status, length) = answer(bare, "")?;
        let is_refusal = (400..600).contains(&status) && length == bare.len();
        let is_bare = strict::find(bare, b"oncegate").is_none();
        require(is_refusal && is_bare, || format!("unlogged: {}", bare.escape_ascii()))?;
        statuses.push(status);
    }
    Ok(Got { statuses, ends_unread: !bare.is_empty() })
}

/// The status of a final answer, and the bytes that it takes, with those before it.
fn answer(bytes: &[u8], method: &str) -> Result<(u16, usize), String> {
    let missing = || format!("an answer is missing in {}", bytes.escape_ascii());
    let mut at = 0;
    loop {
        let (head, length) = strict::head(&bytes[at..])?.ok_or_else(missing)?;
        at += length;
        let status = ["HTTP/1.0 ", "HTTP/1.1 "].iter().find_map(|v| head.start.strip_prefix(v));
        let status = status.and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| status.parse().ok()).ok_or_else(missing)?;
        if status < 200 {
            continue;
        }
        let framing = if method == "HEAD" { Framing::Unsaid } else { head.framing()? };
        let (_, length) = strict::body(&bytes[at..], framing)?.ok_or_else(missing)?;
        return Ok((status, at + length));
    }
}

/// Each request that the proxy tells of is the one that the caller meant in its place: what it did
/// not mean, or not clearly, may only be refused, and ends the connection.
fn check_meant(meant: &[Meant], entries: &[Entry], got: &Got) -> Result<(), String> {
    for (number, entry) in entries.iter().enumerate() {
        let is_refused = matches!(entry.outcome.as_str(), "refused" | "failed");
        let is_last = number + 1 == got.statuses.len();
        let holds = match meant.get(number) {
            Some(meant) => entry.method == meant.method && entry.path == meant.path(),
            None => is_refused && is_last,
        };
        require(holds, || format!("{entry:?} is not {:?}, of {entries:?}", meant.get(number)))?;
    }
    Ok(())
}

/// Exactly those requests have reached the upstream that the proxy says it has sent, as the caller
/// meant them, and framed once.
fn check_sent(meant: &[Meant], entries: &[Entry], forwarded: &[Forwarded]) -> Result<(), String> {
    let sent: Vec<_> = entries.iter().zip(meant).filter(|(entry, _)| entry.was_sent()).collect();
    let is_same = |one: &Forwarded, meant: &Meant| {
        one.method == meant.method && one.target == meant.target && one.body == meant.body
    };
    let all = sent.iter().zip(forwarded).all(|((_, meant), one)| is_same(one, meant));
    let said = || format!("the upstream sees {forwarded:?}, and not {sent:?}");
    require(all && sent.len() == forwarded.len(), said)?;
    for (one, (entry, _)) in forwarded.iter().zip(&sent) {
        let is_guarded = entry.outcome == "executed";
        let is_passed = !is_guarded && !GUARDED.contains(&one.method.as_str());
        let is_framed = match one.head.framings() {
            (1, 0) => true,
            (0, 0 | 1) => is_passed,
            _ => false,
        };
        require(is_framed && (is_guarded || is_passed), || format!("{entry:?}: {one:?}"))?;
    }
    Ok(())
}

/// No part of a guarded request is sent unless it is too large to be guarded, and no part of
/// another that is not told of.
fn check_partial(parts: &[Vec<u8>], entries: &[Entry]) -> Result<(), String> {
    let was_refused = entries.iter().any(|entry| !entry.was_sent());
    for part in parts {
        let method = part.split(|byte| *byte == b' ').next().unwrap_or_default();
        let is_guarded = GUARDED.iter().any(|guarded| guarded.as_bytes() == method);
        let length = strict::head(part)?.map(|(head, _)| head.framing()).transpose()?;
        let is_large = matches!(length, Some(Framing::Length(LARGE..)));
        let said = || format!("a part was sent: {}, of {entries:?}", part.escape_ascii());
        require(was_refused && (is_large || !is_guarded), said)?;
    }
    Ok(())
}

fn require(holds: bool, said: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(said()) }
}
