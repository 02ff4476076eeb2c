//! An upstream that counts how often each event and each payment was executed, and fails first.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Act, Answer, Fields, Gate, How, Origin, Received};

/// What the upstream does with the first attempt of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Does nothing, and answers 500.
    Fails,
    /// Does nothing, and answers 429; clients of Stripe are told to retry.
    Throttles,
    /// Does nothing, and answers 429 with a time to wait.
    ThrottlesAWhile,
    /// Does the work, and breaks the connection off without an answer.
    CutsOff,
    /// Does the work, and answers when the client has long since tried again.
    Stalls,
    /// Does the work, and a gateway before it answers 504 with a time to wait.
    TimesOut,
}

impl Fault {
    /// Whether the work is done all the same.
    fn applies(self) -> bool {
        match self {
            Self::Fails | Self::Throttles | Self::ThrottlesAWhile => false,
            Self::CutsOff | Self::Stalls | Self::TimesOut => true,
        }
    }
}

/// The messages of a batch, or the one payment, that a request asks for.
pub fn operations_of(head: &Fields, body: &[u8]) -> Vec<String> {
    let json = serde_json::from_slice::<Value>(&decoded(head, body)).unwrap_or_default();
    let Some(batch) = json["batch"].as_array() else {
        let key = head.first("idempotency-key");
        return key.into_iter().map(str::to_owned).collect();
    };
    let ids = batch.iter().map(|event| event["messageId"].as_str().expect("events have an id"));
    ids.map(str::to_owned).collect()
}

/// The body without its coding.
pub fn decoded(head: &Fields, body: &[u8]) -> Vec<u8> {
    if head.first("content-encoding") != Some("gzip") {
        return body.to_vec();
    }
    let mut plain = Vec::new();
    let read = flate2::read::GzDecoder::new(body).read_to_end(&mut plain);
    read.expect("gzip bodies are whole");
    plain
}

/// How often one operation was executed, and how often to an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub executed: usize,
    pub kept: usize,
}

#[derive(Default)]
struct Book {
    counts: BTreeMap<String, Count>,
    /// What keeps the first executions waiting; open from the start if that has been said before.
    gates: BTreeMap<String, Gate>,
}

impl Book {
    fn gate(&mut self, operations: &[String]) -> &Gate {
        self.gates.entry(operations.join(" ")).or_insert_with(Gate::shut)
    }
}

/// The upstream's memory.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

impl Ledger {
    /// Lets the origin do this with whatever it has not seen yet, and all else well.
    pub fn keep(origin: &Origin, fault: Fault) -> Self {
        let ledger = Self::default();
        let own = ledger.clone();
        origin.respond(move |received| own.execute(received, fault));
        ledger
    }

    fn execute(&self, received: &Received, fault: Fault) -> Act {
        let mut book = self.0.lock().expect("no test panics while it holds the ledger");
        let operations = operations_of(&received.head, &received.body);
        assert!(!operations.is_empty(), "nothing to count in {received:?}");
        let new = operations.iter().any(|operation| !book.counts.contains_key(operation));
        for operation in &operations {
            let count = book.counts.entry(operation.clone()).or_default();
            count.executed += 1;
            count.kept += usize::from(!new || fault.applies());
        }
        if !new {
            return done(received).into();
        }
        let failure = |status| Answer::new(status).body(r#"{"error":{"message":"not now"}}"#);
        match fault {
            Fault::Fails => failure(500).into(),
            Fault::Throttles => failure(429).header("Stripe-Should-Retry", "true").into(),
            Fault::ThrottlesAWhile => failure(429).header("Retry-After", "1").into(),
            Fault::TimesOut => failure(504).header("Retry-After", "1").into(),
            Fault::CutsOff => Act::DropAfterExecuting(How::Reset),
            Fault::Stalls => Act::from(done(received)).after(book.gate(&operations)),
        }
    }

    /// Lets the upstream answer this, which it has kept waiting or is yet to be asked.
    pub fn answer(&self, operations: &[String]) {
        self.0.lock().expect("no test panics while it holds the ledger").gate(operations).open();
    }

    /// How often each operation was executed so far.
    pub fn counts(&self) -> BTreeMap<String, Count> {
        self.0.lock().expect("no test panics while it holds the ledger").counts.clone()
    }
}

/// The answer to what was done: a payment is known by the order that it is for.
fn done(received: &Received) -> Answer {
    let body = String::from_utf8_lossy(&received.body);
    let order = body.split_once("metadata[order]=").map(|(_, rest)| rest.split('&').next());
    let body = match order {
        Some(order) => json!({"id": order, "object": "charge", "amount": 1000}),
        None => json!({"success": true}),
    };
    Answer::new(200).header("Content-Type", "application/json").body(body.to_string())
}
