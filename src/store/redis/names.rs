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

    /// What the flag is called that somebody waits for the record with this name.
    pub(super) fn flag(record: &str) -> String {
        [record, ":w"].concat()
    }
}
