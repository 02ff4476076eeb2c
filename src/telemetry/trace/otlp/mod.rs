//! Spans as the OpenTelemetry protocol has them (OTLP), and what the usual variables say of where
//! they go.

mod encode;
mod pairs;
mod protobuf;
mod variables;

pub use encode::encode;
pub use variables::{OtlpOptions, Rates, read};
