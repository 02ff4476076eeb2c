//! Draining: the instance wants no more requests, answers what comes all the same, and says what is
//! left.

use std::sync::atomic::Ordering;

use http::StatusCode;
use serde_json::json;

use super::Instance;
use super::answer::Answer;
use crate::server::Stage;
use crate::telemetry::{Handled, Label as _};

/// Begins to drain.
pub(super) fn begin(instance: &Instance) -> Answer {
    if instance.shutdown.stage() == Stage::Serving {
        tracing::info!("draining, as was asked for");
    }
    instance.shutdown.advance(Stage::Leaving);
    show(instance).with_status(StatusCode::ACCEPTED)
}

/// Whether the instance drains, and what is left.
pub(super) fn show(instance: &Instance) -> Answer {
    let (load, metrics) = (instance.engine.load(), &instance.metrics);
    Answer::json(&json!({
        "draining": instance.shutdown.stage() > Stage::Serving,
        "connections": metrics.connections.load(Ordering::Relaxed),
        "in_flight": load.work,
        "requests": Handled::ALL.iter().map(|handled| metrics.requests(*handled)).sum::<u64>(),
    }))
}
