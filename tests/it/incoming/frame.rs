//! Frames of HTTP/2 (RFC 9113, section 4), each with any content and any flags.

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

pub const HEADER_TABLE_SIZE: u16 = 1;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_HEADER_LIST_SIZE: u16 = 6;
pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// What a client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How many bytes a frame has before its payload.
pub const HEAD: usize = 9;

/// One frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, flags, stream, payload } = self;
        let shown = &payload[..payload.len().min(60)];
        let length = payload.len();
        write!(f, "frame {kind} on {stream}, {flags:#x}, {length}: {}", shown.escape_ascii())
    }
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Self {
        Self { kind, flags, stream, payload: payload.as_ref().to_vec() }
    }

    /// A whole block of fields.
    pub fn headers(stream: u32, block: impl AsRef<[u8]>) -> Self {
        Self::new(HEADERS, END_HEADERS, stream, block)
    }

    pub fn data(stream: u32, payload: impl AsRef<[u8]>) -> Self {
        Self::new(DATA, 0, stream, payload)
    }

    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(RST_STREAM, 0, stream, code.to_be_bytes())
    }

    pub fn settings(settings: &[(u16, u32)]) -> Self {
        let pair = |(name, value): &(u16, u32)| {
            [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
        };
        Self::new(SETTINGS, 0, 0, settings.iter().flat_map(pair).collect::<Vec<_>>())
    }

    pub fn ping(number: u64) -> Self {
        Self::new(PING, 0, 0, number.to_be_bytes())
    }

    pub fn window_update(stream: u32, more: u32) -> Self {
        Self::new(WINDOW_UPDATE, 0, stream, more.to_be_bytes())
    }

    /// The same, as the last frame of its stream.
    pub fn last(mut self) -> Self {
        self.flags |= END_STREAM;
        self
    }

    /// The same, as an answer to one of the peer's.
    pub fn ack(mut self) -> Self {
        self.flags |= ACK;
        self
    }

    pub fn is_last(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    pub fn is_ack(&self) -> bool {
        matches!(self.kind, SETTINGS | PING) && self.flags & ACK != 0
    }

    /// The number at this place in the payload.
    pub fn number(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).expect("a payload that is long enough");
        u32::from_be_bytes(bytes.try_into().expect("four bytes"))
    }

    /// The bytes that go over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a length").to_be_bytes();
        let head = [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }

    /// The first frame of these bytes, and how many it takes; nothing while it is not whole.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let head = bytes.get(..HEAD)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = bytes.get(HEAD..HEAD + length)?;
        let stream = u32::from_be_bytes(head[5..].try_into().ok()?) & 0x7fff_ffff;
        Some((Self::new(head[3], head[4], stream, payload), HEAD + length))
    }
}
