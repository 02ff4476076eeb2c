//! How the instance is, at a glance.

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::health::{Check, checks};
use super::{AdminTerms, Instance, StoreName};
use crate::clock::Timestamp;
use crate::engine::Flying;
use crate::message::ProblemKind;
use crate::server::Stage;
use crate::telemetry::{Counters, Handled, Label, Metrics};

/// How many of the operations that run are shown.
const OLDEST_MAX: usize = 20;

/// Shows how the instance is.
pub(super) fn show(instance: &Instance, terms: &AdminTerms) -> Answer {
    let Instance { engine, store, metrics, .. } = instance;
    let checks = checks(instance, terms);
    let now = instance.clock.now();
    let oldest = engine.oldest(OLDEST_MAX).into_iter().map(|one| flying(&one, now));
    let (load, usage) = (engine.load(), store.usage());
    let requests = Handled::ALL
        .iter()
        .map(|handled| (handled.name().to_owned(), Value::from(metrics.requests(*handled))));
    let routes: Vec<_> = terms.policy.routes().map(|route| route.name.as_ref()).collect();
    Answer::json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": humantime::format_rfc3339_millis(instance.started_at).to_string(),
        "now": shown(now),
        "ready": checks.iter().all(|check| check.trouble.is_none()),
        "draining": instance.shutdown.stage() > Stage::Serving,
        "checks": checks.iter().map(check).collect::<Vec<_>>(),
        "requests": requests.collect::<Map<_, _>>(),
        "refusals": counted(&metrics.refusals),
        "duplicates_prevented": duplicates_prevented(metrics),
        "in_flight": {
            "operations": load.flights,
            "waiters": load.waiters,
            "oldest": oldest.collect::<Vec<_>>(),
        },
        "store": {
            "kind": match instance.store_kind {
                StoreName::Memory => "memory",
                StoreName::Disk => "disk",
                StoreName::Redis => "redis",
            },
            "records": usage.records,
            "bytes": usage.bytes,
            "max_bytes": instance.store_bytes_max,
            "trouble": store.trouble(),
        },
        "effective_window_seconds": instance.effective_window(terms).as_secs_f64(),
        "evicted_before_expiry": metrics.evictions.counter().value(),
        "unknown_outcomes": counted(&metrics.unknown_outcomes),
        "unprotected": counted(&metrics.unprotected),
        "routes": routes,
        "show_answers": terms.settings.shows_answers,
    }))
}

/// An operation that runs.
fn flying(Flying { key, origin }: &Flying, now: Timestamp) -> Value {
    json!({
        "key": key.to_base64(),
        "route": origin.route(),
        "method": origin.method(),
        "path": origin.path(),
        "begun_at": shown(origin.begun_at()),
        "age_seconds": now.since(origin.begun_at()).as_secs_f64(),
    })
}

/// A time as the API writes it.
pub(super) fn shown(time: Timestamp) -> String {
    humantime::format_rfc3339_millis(time.as_system_time()).to_string()
}

/// Every value with its number. Several may have one name, and are counted together.
fn counted<L: Label>(counters: &Counters<L>) -> Map<String, Value> {
    let mut shown = Map::new();
    for (value, count) in counters.iter() {
        let before = shown.get(value.name()).and_then(Value::as_u64).unwrap_or_default();
        shown.insert(value.name().to_owned(), (before + count).into());
    }
    shown
}

/// How many requests were answered that would have been executed once more otherwise.
fn duplicates_prevented(metrics: &Metrics) -> u64 {
    let refused = [
        ProblemKind::InProgress,
        ProblemKind::OutcomeUnknown,
        ProblemKind::AnswerNotKept,
        ProblemKind::KeyReused,
    ];
    let refused: u64 = refused.iter().map(|kind| metrics.refusals.value(*kind)).sum();
    metrics.requests(Handled::Replayed) + metrics.requests(Handled::Collapsed) + refused
}

fn check(check: &Check) -> Value {
    json!({ "name": check.name, "ok": check.trouble.is_none(), "detail": check.trouble })
}
