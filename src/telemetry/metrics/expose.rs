//! Everything that is counted, as Prometheus reads it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::counter::{Counter, Counters};
use super::histogram::{BOUNDS, Counted};
use super::labels::{Handled, Label, StoreOperation};
use super::process::{Process, unix_seconds};
use super::{Metrics, classic};
use crate::telemetry::log_dropped;

/// What is shown: everything that was counted, and how things are at the moment.
#[derive(Debug)]
pub struct Exposition {
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// How things are at the moment.
    pub gauges: Gauges,
}

/// How things are at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    /// Operations for whose outcome somebody may wait.
    pub in_flight: usize,
    /// Callers that wait for others' operations.
    pub waiters: usize,
    /// Records that the store holds.
    pub records: u64,
    /// Bytes that the store holds.
    pub store_bytes: u64,
    /// The most bytes that it may hold, where that is for this instance to say.
    pub store_bytes_max: Option<u64>,
    /// Whether the store can be used.
    pub store_is_up: bool,
    /// Whether the instance wants requests.
    pub is_ready: bool,
    /// Whether it was told to drain.
    pub is_draining: bool,
    /// For how long records are kept, in fact.
    pub effective_window: Duration,
    /// When the instance was started.
    pub started_at: SystemTime,
    /// When the settings that hold were read.
    pub reloaded_at: SystemTime,
}

/// How the metrics are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MetricsFormat {
    /// As Prometheus has always read it, version 0.0.4.
    Prometheus,
    /// As `OpenMetrics` 1.0 has it.
    OpenMetrics,
}

impl Exposition {
    /// Writes everything in a format.
    pub fn write(self, format: MetricsFormat) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(32 << 10);
        text::encode(&mut text, &registry)?;
        Ok(match format {
            MetricsFormat::OpenMetrics => text,
            MetricsFormat::Prometheus => classic::from_open_metrics(&text),
        })
    }
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        let metrics = &*self.metrics;
        families.requests(metrics)?;
        families.outcomes(metrics)?;
        families.store(metrics, &self.gauges)?;
        families.connections(metrics)?;
        families.instance(metrics, &self.gauges)?;
        families.process(&self.gauges)
    }
}

/// Writes metrics, each with what it is.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn requests(&mut self, metrics: &Metrics) -> fmt::Result {
        let help = "Requests, by route and by what became of them";
        let mut family = self.family("oncegate_requests", help, None, MetricType::Counter)?;
        for (route, counts) in metrics.requests_by_route() {
            for (handled, count) in Handled::ALL.iter().zip(counts) {
                let labels = [("route", &*route), ("outcome", handled.name())];
                count_of(family.encode_family(&labels)?, count)?;
            }
        }
        let help = "Time from a request's header until its answer began";
        let mut family = self.durations("oncegate_request_duration", help)?;
        for handled in Handled::ALL {
            let labels = [("outcome", handled.name())];
            durations_of(family.encode_family(&labels)?, &metrics.request_durations(*handled))?;
        }
        let help = "Time that the upstream has taken until its answers began";
        let family = self.durations("oncegate_upstream_duration", help)?;
        durations_of(family, &metrics.upstream_durations.counted())?;
        let help = "The proxy's own answers, by the name of the problem that they tell of";
        self.counters("oncegate_refusals", help, "reason", &metrics.refusals)
    }

    fn outcomes(&mut self, metrics: &Metrics) -> fmt::Result {
        let help = "Operations of which nobody knows whether they were executed, by cause";
        let counters = &metrics.unknown_outcomes;
        self.counters("oncegate_unknown_outcomes", help, "cause", counters)?;
        let help = "Unknown outcomes that a late answer has settled";
        self.counter("oncegate_late_answers", help, &metrics.late_answers)?;
        let help = "Requests that could not be protected and were passed on, by reason";
        self.counters("oncegate_unprotected", help, "reason", &metrics.unprotected)?;
        let help = "Records of which an operator has decided, by decision";
        self.counters("oncegate_records_decided", help, "decision", &metrics.records_decided)
    }

    fn store(&mut self, metrics: &Metrics, gauges: &Gauges) -> fmt::Result {
        self.gauge(
            "oncegate_records",
            "Records that the store holds; of a shared one, those at hand",
            &gauges.records,
        )?;
        self.gauge(
            "oncegate_store_bytes",
            "Bytes that the store holds; of a shared one, those at hand",
            &gauges.store_bytes,
        )?;
        if let Some(max) = gauges.store_bytes_max {
            let help = "The most bytes that the store may hold";
            self.gauge("oncegate_store_max_bytes", help, &max)?;
        }
        let help = "Whether the store can be used";
        self.gauge("oncegate_store_up", help, &u64::from(gauges.store_is_up))?;
        let help = "For how long records are kept, in fact";
        let window = gauges.effective_window.as_secs_f64();
        self.gauge("oncegate_effective_window_seconds", help, &window)?;
        let help = "Time that calls of the store have taken, by operation";
        let mut family = self.durations("oncegate_store_duration", help)?;
        for operation in StoreOperation::ALL {
            let labels = [("operation", operation.name())];
            let counted = metrics.store_durations.counted(*operation);
            durations_of(family.encode_family(&labels)?, &counted)?;
        }
        let help = "Calls of the store that have failed, by operation";
        self.counters("oncegate_store_errors", help, "operation", &metrics.store_errors)?;
        let help = "Records dropped for want of room before their window had ended";
        self.counter("oncegate_evicted_before_expiry", help, metrics.evictions.counter())?;
        let help = "Times that a shared store was found to have lost records";
        self.counter("oncegate_store_resets", help, &metrics.store_resets)?;
        let help = "Times that a record was read which is not what was written";
        self.counter("oncegate_corrupt_records", help, &metrics.corrupt_records)?;
        let help = "Times that the system's clock was found to be far from where it was left";
        self.counter("oncegate_clock_jumps", help, &metrics.clock_jumps)
    }

    fn connections(&mut self, metrics: &Metrics) -> fmt::Result {
        let open = metrics.connections.load(Ordering::Relaxed);
        self.gauge("oncegate_connections", "Connections of callers that are open", &open)?;
        let help = "Connections that were turned away at the limit";
        self.counter("oncegate_connections_refused", help, &metrics.connections_refused)?;
        let help = "Connections that ended before their first request";
        self.counter("oncegate_connections_failed", help, &metrics.connections_failed)?;
        let help = "Times that accepting a connection has failed";
        self.counter("oncegate_accept_errors", help, &metrics.accept_errors)?;
        let help = "Requests sent again because a pooled connection had not taken them";
        self.counter("oncegate_resent_unsent", help, &metrics.resent_unsent)
    }

    fn instance(&mut self, metrics: &Metrics, gauges: &Gauges) -> fmt::Result {
        let help = "Operations for whose outcome somebody may wait";
        self.gauge("oncegate_in_flight", help, &gauges.in_flight)?;
        let help = "Callers that wait for others' operations";
        self.gauge("oncegate_waiters", help, &gauges.waiters)?;
        let help = "Whether the instance wants requests";
        self.gauge("oncegate_ready", help, &u64::from(gauges.is_ready))?;
        let help = "Whether the instance was told to drain";
        self.gauge("oncegate_draining", help, &u64::from(gauges.is_draining))?;
        let help = "Times that the settings were read again, by how that ended";
        self.counters("oncegate_reloads", help, "result", &metrics.reloads)?;
        let help = "When the settings that hold were read";
        let time = unix_seconds(gauges.reloaded_at);
        self.gauge("oncegate_last_reload_success_timestamp_seconds", help, &time)?;
        let help = "Entries of the access log dropped because nobody took them in time";
        self.counter("oncegate_access_log_dropped", help, &metrics.access_log_dropped)?;
        let help = "Lines of the log dropped because nobody took them in time";
        let family = self.family("oncegate_log_dropped", help, None, MetricType::Counter)?;
        count_of(family, log_dropped())?;
        let help = "Spans dropped because no collector took them in time";
        self.counter("oncegate_trace_spans_dropped", help, &metrics.trace_spans_dropped)?;
        let help = "What this is";
        let mut family = self.family("oncegate_build", help, None, MetricType::Info)?;
        family.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }

    fn process(&mut self, gauges: &Gauges) -> fmt::Result {
        let process = Process::now();
        let (name, unit) = ("process_cpu", Some(&Unit::Seconds));
        let help = "Time of the CPU that the process has used, user and system";
        let mut family = self.family(name, help, unit, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, f64>(&process.cpu_seconds, None)?;
        let help = "When the process was started";
        self.gauge("process_start_time_seconds", help, &unix_seconds(gauges.started_at))?;
        let rest = [
            ("process_resident_memory_bytes", "Memory in use", process.resident_bytes),
            ("process_virtual_memory_bytes", "Memory addressed", process.virtual_bytes),
            ("process_threads", "Threads", process.threads),
            ("process_open_fds", "Open files", process.open_files),
            ("process_max_fds", "The most files that may be open", process.open_files_max),
        ];
        for (name, help, value) in rest {
            if let Some(value) = value {
                self.gauge(name, help, &value)?;
            }
        }
        Ok(())
    }

    fn family<'a>(
        &'a mut self,
        name: &'a str,
        help: &str,
        unit: Option<&'a Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'a>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn durations<'a>(
        &'a mut self,
        name: &'a str,
        help: &str,
    ) -> Result<MetricEncoder<'a>, fmt::Error> {
        self.family(name, help, Some(&Unit::Seconds), MetricType::Histogram)
    }

    fn gauge(&mut self, name: &str, help: &str, value: &impl EncodeGaugeValue) -> fmt::Result {
        self.family(name, help, None, MetricType::Gauge)?.encode_gauge(value)
    }

    fn counter(&mut self, name: &str, help: &str, counter: &Counter) -> fmt::Result {
        count_of(self.family(name, help, None, MetricType::Counter)?, counter.value())
    }

    fn counters<L: Label>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counters: &Counters<L>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, None, MetricType::Counter)?;
        // Several values may have one name: each name is shown once, with what they have in all.
        let names = L::ALL.iter().map(|value| value.name());
        let mut shown: Vec<&str> = Vec::new();
        for name in names {
            if !shown.contains(&name) {
                let same = counters.iter().filter(|(value, _)| value.name() == name);
                let labels = [(label, name)];
                count_of(family.encode_family(&labels)?, same.map(|(_, count)| count).sum())?;
                shown.push(name);
            }
        }
        Ok(())
    }
}

fn count_of(mut metric: MetricEncoder<'_>, count: u64) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, _, f64>(&count, None)
}

#[expect(clippy::cast_precision_loss, reason = "a sum of microseconds need not be exact")]
fn durations_of(mut metric: MetricEncoder<'_>, counted: &Counted) -> fmt::Result {
    let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(counted.buckets).collect();
    let seconds = counted.micros as f64 / 1e6;
    metric.encode_histogram::<NoLabelSet>(seconds, counted.count(), &buckets, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::UnknownCause;

    fn exposition() -> Exposition {
        let gauges = Gauges {
            in_flight: 1,
            waiters: 2,
            records: 3,
            store_bytes: 4,
            store_bytes_max: Some(5),
            store_is_up: true,
            is_ready: false,
            is_draining: true,
            effective_window: Duration::from_millis(1500),
            started_at: SystemTime::UNIX_EPOCH,
            reloaded_at: SystemTime::UNIX_EPOCH,
        };
        Exposition { metrics: Arc::default(), gauges }
    }

    #[test]
    fn what_is_counted_is_shown_in_both_formats() {
        for (format, help) in [
            (MetricsFormat::OpenMetrics, "# TYPE oncegate_requests counter\n"),
            (MetricsFormat::Prometheus, "# TYPE oncegate_requests_total counter\n"),
        ] {
            let exposition = exposition();
            let metrics = &exposition.metrics;
            let names = [Arc::from("pay")];
            let tally = metrics.traffic().tally(names.iter());
            tally.count(Some(0), Handled::Replayed, Duration::from_micros(70));
            metrics.unknown_outcomes.increment(UnknownCause::TimedOut);
            let text = exposition.write(format).unwrap();
            for line in [
                help,
                "oncegate_requests_total{route=\"pay\",outcome=\"replayed\"} 1\n",
                "oncegate_request_duration_seconds_bucket{le=\"0.0001\",outcome=\"replayed\"} 1\n",
                "oncegate_request_duration_seconds_bucket{le=\"+Inf\",outcome=\"replayed\"} 1\n",
                "oncegate_unknown_outcomes_total{cause=\"timeout\"} 1\n",
                "oncegate_unknown_outcomes_total{cause=\"gateway\"} 0\n",
                "oncegate_effective_window_seconds 1.5\n",
                "oncegate_store_max_bytes 5\n",
            ] {
                assert!(text.contains(line), "{line} is missing in\n{text}");
            }
            assert_eq!(text.ends_with("# EOF\n"), format == MetricsFormat::OpenMetrics);
        }
    }

    #[test]
    fn names_that_several_problems_share_are_shown_once() {
        let text = exposition().write(MetricsFormat::OpenMetrics).unwrap();
        assert_eq!(text.matches("reason=\"too-large\"").count(), 1);
    }
}
