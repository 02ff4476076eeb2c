//! What the store's keys and its channel are called on the server.

use crate::idempotency::RecordKey;

/// What the store's keys and its channel are called on the server.
#[derive(Clone, Debug)]
pub(super) struct Names {
    namespace: String,
    pub(super) channel: String,
    pub(super) epoch: String,
}

impl Names {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            channel: format!("oncegate:{namespace}:done"),
            epoch: format!("oncegate:{{{namespace}}}:epoch"),
        }
    }

    /// What a record is called. What stands in braces decides where in a cluster it is, so that the
    /// flag is beside it.
    pub(super) fn record(&self, key: &RecordKey) -> String {
        let mut name = String::with_capacity(self.namespace.len() + 76);
        name.push_str("oncegate:{");
        name.push_str(&self.namespace);
        name.push(':');
        for byte in key.as_bytes() {
            for half in [byte >> 4, byte & 15] {
                name.push(char::from_digit(half.into(), 16).unwrap_or('0'));
            }
        }
        name.push('}');
        name
    }

    /// What all records are called, as the server matches names. A namespace has no characters that
    /// mean something to it.
    pub(super) fn pattern(&self) -> String {
        format!("oncegate:{{{}:*}}", self.namespace)
    }

    /// The key of the record with this name, if it is one of this namespace.
    pub(super) fn key(&self, name: &[u8]) -> Option<RecordKey> {
        let name = name.strip_prefix(b"oncegate:{")?.strip_prefix(self.namespace.as_bytes())?;
        let (digits, rest) = name.strip_prefix(b":")?.strip_suffix(b"}")?.as_chunks::<2>();
        let digits = <&[[u8; 2]; 32]>::try_from(digits).ok().filter(|_| rest.is_empty())?;
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|of| u8::try_from(of).ok());
        let mut key = [0; 32];
        for (byte, [high, low]) in key.iter_mut().zip(digits) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(RecordKey::from_bytes(key))
    }

    /// What the flag is called that somebody waits for the record with this name.
    pub(super) fn flag(record: &str) -> String {
        [record, ":w"].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_key_to_its_namespace_only() {
        let key = RecordKey::from_bytes([0xa7; 32]);
        for namespace in ["", "a", "a.b-c_d"] {
            let names = Names::new(namespace);
            let name = names.record(&key);
            assert_eq!(names.key(name.as_bytes()), Some(key));
            assert_eq!(Names::new("b").key(name.as_bytes()), None);
            for other in [Names::flag(&name), names.epoch.clone(), name.replace('}', "0}")] {
                assert_eq!(names.key(other.as_bytes()), None, "{other}");
            }
        }
        assert_eq!(Names::new("a").pattern(), "oncegate:{a:*}");
    }
}
