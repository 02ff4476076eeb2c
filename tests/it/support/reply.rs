//! Answers as they came, and what of them belongs to whom.

use super::MARKS;
use super::wire::{Ending, Field, Fields};

/// One answer as it came.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub head: Fields,
    pub body: Vec<u8>,
    pub ending: Ending,
    pub interim: Vec<Fields>,
    pub trailers: Fields,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.head.start)?;
        for line in &self.head.lines {
            writeln!(f, "{line:?}")?;
        }
        let shown = &self.body[..self.body.len().min(500)];
        write!(f, "({} bytes, {:?}) {}", self.body.len(), self.ending, shown.escape_ascii())
    }
}

impl Reply {
    /// The first value of a header field, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.first(name)
    }

    /// All values of a header field.
    pub fn headers(&self, name: &str) -> Vec<&[u8]> {
        self.head.all(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.head.has(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Whether the connection ended inside the answer.
    pub fn is_cut(&self) -> bool {
        self.ending == Ending::Cut
    }

    /// Whether it is a marked repeat.
    pub fn is_repeat(&self) -> bool {
        self.has("duplicate-request")
    }

    /// The header lines that belong to the answer and not to its connection or its repetition.
    pub fn end_to_end(&self) -> Vec<Field> {
        const HOPS: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "content-length"];
        let lines = self
            .head
            .lines
            .iter()
            .map(|line| Field { name: line.name.to_ascii_lowercase(), value: line.value.clone() });
        let own = |name: &str| HOPS.contains(&name) || MARKS.contains(&name);
        lines.filter(|line| !own(&line.name)).collect()
    }
}

/// The name of the proxy's own answer, if it is one.
pub fn problem_of(reply: &Reply) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
    problem["type"].as_str()?.strip_prefix("urn:oncegate:").map(str::to_owned)
}
