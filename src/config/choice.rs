//! Settings that have few values, each with a name.

use serde_json::{Value, json};

use super::setting::{Choice, Setting, Wrong};
use crate::idempotency::{OnMismatch, OnStoreError, OnUnknown};
use crate::policy::{Anonymous, Mode, Oversize, TokenAlgorithm};
use crate::store::{Durability, WhenFull};
use crate::telemetry::{Format, Selection};

/// Whether every caller must show a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientCertificate {
    /// Every caller must.
    Required,
    /// Who shows none is served as well.
    Optional,
}

/// The least level of what is logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogLevel {
    /// What has gone wrong.
    Error,
    /// What may go wrong.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// What becomes of a repeat while the first request runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InFlight {
    /// It waits.
    Wait,
    /// It is refused.
    Refuse,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

macro_rules! choices {
    ($($kind:ty { $($name:literal => $value:path $(: $doc:literal)?,)+ })+) => { $(
        impl Setting for $kind {
            const CHOICES: &'static [Choice] =
                &[$(Choice { name: $name, doc: concat!($($doc)?) }),+];

            fn needed() -> String {
                one_of(&[$($name),+])
            }

            fn from_text(text: &str) -> Result<Self, Wrong> {
                match text {
                    $($name => Ok($value),)+
                    _ => Err(Wrong::Kind),
                }
            }

            fn schema() -> Value {
                json!({ "type": "string", "enum": [$($name),+] })
            }

            fn write(&self) -> String {
                let name = match self {
                    $($value => $name,)+
                };
                format!("\"{name}\"")
            }
        }
    )+ };
}

choices! {
    Durability {
        "claim" => Durability::Claim: "Claims and answers: nothing runs twice for want of power",
        "answer" => Durability::Answer: "Answers: what runs when the power fails may run again",
        "none" => Durability::None: "Nothing: what ran last before the power failed may run again",
    }
    ClientCertificate {
        "required" => ClientCertificate::Required: "Who shows none is not served",
        "optional" => ClientCertificate::Optional: "Who shows none is served as well",
    }
    WhenFull {
        "evict" => WhenFull::Evict:
            "The answer that was not asked for the longest is dropped: a repeat would be executed \
             again",
        "refuse" => WhenFull::Refuse: "Requests that would need room are refused",
    }
    Selection {
        "off" => Selection::Off: "None",
        "duplicates" => Selection::Duplicates: "Repeats, refusals and failures",
        "all" => Selection::All: "All",
    }
    Format {
        "text" => Format::Text,
        "json" => Format::Json,
    }
    LogLevel {
        "error" => LogLevel::Error,
        "warn" => LogLevel::Warn,
        "info" => LogLevel::Info,
        "debug" => LogLevel::Debug,
        "trace" => LogLevel::Trace,
    }
    TokenAlgorithm {
        "HS256" => TokenAlgorithm::Hs256,
        "RS256" => TokenAlgorithm::Rs256,
        "ES256" => TokenAlgorithm::Es256,
    }
    Anonymous {
        "share" => Anonymous::Share: "All such callers are one",
        "refuse" => Anonymous::Refuse: "They are refused",
        "pass" => Anonymous::Pass: "Their requests pass unprotected",
    }
    InFlight {
        "wait" => InFlight::Wait: "It waits",
        "refuse" => InFlight::Refuse: "It is refused at once",
    }
    OnUnknown {
        "hold" => OnUnknown::Hold: "The key is held",
        "release" => OnUnknown::Release: "The key is free again: a repeat may be executed twice",
    }
    OnStoreError {
        "refuse" => OnStoreError::Refuse: "It is refused",
        "pass" => OnStoreError::Pass: "It is executed, unprotected: a repeat may be, too",
    }
    OnMismatch {
        "refuse" => OnMismatch::Refuse: "It is refused",
        "replay" => OnMismatch::Replay: "It gets the answer of the first",
    }
    Mode {
        "enforce" => Mode::Enforce: "Duplicates are prevented",
        "observe" => Mode::Observe: "Duplicates are counted, and executed all the same",
        "off" => Mode::Off: "Everything passes",
    }
    Oversize {
        "reject" => Oversize::Reject: "It is refused",
        "pass" => Oversize::Pass: "It passes unprotected",
    }
}

/// Names in quotation marks, to be chosen from.
fn one_of(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.as_slice() {
        [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        all => all.concat(),
    }
}
