//! Messages in the wire format of Protocol Buffers, as far as it is needed to write them.

/// A message that is being written. A field without a value is left out, as its default.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

/// How the value of a field is written.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    Fixed32 = 5,
}

impl Message {
    /// A number: a count, an enum's value, or a signed one that is not negative.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, Wire::Varint);
            self.varint(value);
        }
    }

    /// The same, also where it is the default: it says which of several values it is.
    pub(super) fn chosen_number(&mut self, field: u32, value: u64) {
        self.tag(field, Wire::Varint);
        self.varint(value);
    }

    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, Wire::Fixed64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn fixed32(&mut self, field: u32, value: u32) {
        self.tag(field, Wire::Fixed32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes, or a text.
    pub(super) fn bytes(&mut self, field: u32, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        if !value.is_empty() {
            self.chosen_bytes(field, value);
        }
    }

    /// The same, also where there are none: it says which of several values it is.
    pub(super) fn chosen_bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, Wire::Length);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A message in this one.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.chosen_bytes(field, &inner.0);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn tag(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field) << 3 | wire as u64);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is less than 128")]
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_others_read_them() {
        let mut message = Message::default();
        message.number(1, 150);
        message.number(2, 0);
        message.bytes(2, "testing");
        message.bytes(3, "");
        message.message(3, |inner| inner.number(1, u64::MAX));
        message.fixed64(16, 1);
        message.fixed32(4, 0x0102);
        let expected = b"\x08\x96\x01\x12\x07testing\
            \x1a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\
            \x81\x01\x01\0\0\0\0\0\0\0\x25\x02\x01\0\0";
        assert_eq!(message.into_bytes(), expected);
    }
}
