//! Draining: the instance wants no more requests, answers what comes all the same, and says what is
//! left.

use std::sync::atomic::Ordering;

use http::StatusCode;
use serde_json::json;

use super::Instance;
use super::answer::Answer;
use crate::server::Stage;

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
    let load = instance.engine.load();
    Answer::json(&json!({
        "draining": instance.shutdown.stage() > Stage::Serving,
        "connections": instance.metrics.connections.load(Ordering::Relaxed),
        "in_flight": load.work,
    }))
}
