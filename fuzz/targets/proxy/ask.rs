//! A caller that behaves.

use tokio::net::UnixStream;

use super::stage::Way;
use super::strict::{self, Framing};
use super::{DEADLINE, script};

/// What it got.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Whether it is marked as a repeat.
    pub is_repeat: bool,
    /// What the proxy says of it, if it is an answer of its own.
    problem: Option<String>,
    pub body: Vec<u8>,
}

impl Reply {
    /// Whether it is an answer of the proxy's own.
    pub fn is_ours(&self) -> bool {
        self.problem.is_some()
    }

    /// Whether it is the proxy's own answer of this name.
    pub fn says(&self, name: &str) -> bool {
        self.problem.as_ref().is_some_and(|problem| problem.contains(name))
    }
}

/// Asks for the operation with this key.
pub async fn ask(way: &Way, key: &str) -> Reply {
    let body = format!("{{\"op\":\"{key}\"}}");
    let request = format!(
        "POST /op HTTP/1.1\r\nHost: fuzz\r\nConnection: close\r\nIdempotency-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let asking = async {
        let stream = UnixStream::connect(&way.listen).await.expect("connecting");
        script::write(&stream, request.as_bytes()).await;
        let mut bytes = Vec::new();
        while let Some(more) = script::read(&stream).await {
            bytes.extend_from_slice(&more);
        }
        bytes
    };
    let bytes = tokio::time::timeout(DEADLINE, asking).await.expect("an answer, and an end");
    read(&bytes).unwrap_or_else(|fault| panic!("{fault}: {}", bytes.escape_ascii()))
}

fn read(bytes: &[u8]) -> Result<Reply, String> {
    let mut at = 0;
    loop {
        let (head, length) = strict::head(&bytes[at..])?.ok_or("no answer")?;
        at += length;
        let status = head.start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status: u16 = status.and_then(|status| status.parse().ok()).ok_or("no status")?;
        if (100..200).contains(&status) {
            continue;
        }
        let rest = &bytes[at..];
        let (body, length) = match head.framing()? {
            // It ends with the connection.
            Framing::Unsaid => (rest.to_vec(), rest.len()),
            framing @ (Framing::Length(_) | Framing::Chunked) => {
                strict::body(rest, framing)?.ok_or("a cut answer")?
            }
        };
        let is_ours = head.all("proxy-status").iter().any(|by| by.starts_with(b"oncegate"));
        let problem = is_ours.then(|| String::from_utf8_lossy(&body).into_owned());
        let is_repeat = !head.all("duplicate-request").is_empty();
        return if length == rest.len() {
            Ok(Reply { status, is_repeat, problem, body })
        } else {
            Err("more than an answer".to_owned())
        };
    }
}
