//! What the instance counts, for Prometheus.

use http::{HeaderMap, HeaderValue, header};

use super::answer::Answer;
use super::health::checks;
use super::problem::AdminProblem;
use super::{AdminTerms, Instance};
use crate::server::Stage;
use crate::telemetry::{Exposition, Gauges, MetricsFormat};

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Shows what is counted.
pub(super) fn show(
    instance: &Instance,
    terms: &AdminTerms,
    headers: &HeaderMap,
) -> Result<Answer, AdminProblem> {
    let format = format(headers);
    let exposition =
        Exposition { metrics: instance.metrics.clone(), gauges: gauges(instance, terms) };
    let text = exposition.write(format).map_err(|_| AdminProblem::Fault)?;
    Ok(Answer::text(
        match format {
            MetricsFormat::Prometheus => PROMETHEUS,
            MetricsFormat::OpenMetrics => OPEN_METRICS,
        },
        text,
    ))
}

/// How things are at the moment.
fn gauges(instance: &Instance, terms: &AdminTerms) -> Gauges {
    let (load, usage) = (instance.engine.load(), instance.store.usage());
    Gauges {
        in_flight: load.flights,
        waiters: load.waiters,
        records: usage.records,
        store_bytes: usage.bytes,
        store_bytes_max: instance.store_bytes_max,
        store_is_up: instance.store.trouble().is_none(),
        is_ready: checks(instance, terms).iter().all(|check| check.trouble.is_none()),
        is_draining: instance.shutdown.stage() > Stage::Serving,
        effective_window: instance.effective_window(terms),
        started_at: instance.started_at,
        reloaded_at: terms.read_at,
    }
}

/// The format that a scraper likes best. One that says nothing gets what all can read.
fn format(headers: &HeaderMap) -> MetricsFormat {
    let accepted = headers.get_all(header::ACCEPT).iter().map(HeaderValue::as_bytes);
    let mut best = (MetricsFormat::Prometheus, 0.0);
    for range in accepted.flat_map(|field| field.split(|byte| *byte == b',')) {
        let Ok(range) = std::str::from_utf8(range) else { continue };
        let mut parts = range.split(';').map(str::trim);
        let format = match parts.next().map(str::to_ascii_lowercase).as_deref() {
            Some("application/openmetrics-text") => MetricsFormat::OpenMetrics,
            Some("text/plain" | "text/*" | "*/*") => MetricsFormat::Prometheus,
            _ => continue,
        };
        let parts: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
        let value = |name| parts.iter().find(|(one, _)| *one == name).map(|(_, value)| *value);
        // Only this version is written.
        let is_known = format == MetricsFormat::Prometheus
            || value("version").is_none_or(|version| version.trim_matches('"') == "1.0.0");
        let quality: f32 = value("q").and_then(|q| q.parse().ok()).unwrap_or(1.0);
        if is_known && quality > best.1 {
            best = (format, quality);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_is_liked_best() {
        for (accept, expected) in [
            ("", MetricsFormat::Prometheus),
            ("*/*", MetricsFormat::Prometheus),
            ("text/html", MetricsFormat::Prometheus),
            ("application/openmetrics-text", MetricsFormat::OpenMetrics),
            ("application/openmetrics-text; version=2.0.0", MetricsFormat::Prometheus),
            (
                "application/openmetrics-text;version=1.0.0;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;q=0.4,*/*;q=0.1",
                MetricsFormat::OpenMetrics,
            ),
            (
                "application/openmetrics-text; version=1.0.0; q=0.3, text/plain; q=0.4",
                MetricsFormat::Prometheus,
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(format(&headers), expected, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), MetricsFormat::Prometheus);
    }
}
