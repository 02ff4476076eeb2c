//! Requests over HTTP/2, field by field.

use super::frame::{self, Frame};
use super::hpack::block;

/// A request that is being put together.
#[derive(Clone, Debug)]
pub struct Asked {
    pub fields: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Asked {
    pub fn new(method: &str, path: &str) -> Self {
        let pseudo = [
            (":method", method),
            (":scheme", "http"),
            (":authority", "api.example"),
            (":path", path),
        ];
        let fields = pseudo.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        Self { fields: fields.into(), body: None }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A charge with this key.
    pub fn post(key: &str) -> Self {
        Self::new("POST", "/charges").header("idempotency-key", key).body("10")
    }

    /// Adds a field.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Replaces a field that is there.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let field = self.fields.iter_mut().find(|(found, _)| found == name);
        field.expect("a field that is there").1 = value.as_ref().to_vec();
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(found, _)| found != name);
        self
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// All that is sent for it on this stream.
    pub fn frames(&self, stream: u32) -> Vec<Frame> {
        let headers = Frame::headers(stream, block(&self.fields));
        match &self.body {
            None => vec![headers.last()],
            Some(body) => {
                let mut frames = vec![headers];
                frames.extend(body.chunks(16_384).map(|chunk| Frame::data(stream, chunk)));
                match frames.pop().filter(|frame| frame.kind == frame::DATA) {
                    Some(data) => frames.push(data.last()),
                    None => frames = vec![Frame::headers(stream, block(&self.fields)).last()],
                }
                frames
            }
        }
    }
}
