//! Which traces are recorded, and what is passed on of those that are not.

use crate::collector::{Collector, hex, of_trace};
use crate::support::{Origin, Starting, client};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// What the upstream sees of a request with such a header, or with none.
async fn seen(origin: &Origin, proxy: Starting, place: Option<&str>) -> String {
    let mut proxy = proxy.start().await;
    let mut request = client(&proxy).get("/charges");
    if let Some(place) = place {
        request = request.header("traceparent", place).header("tracestate", "a=1");
    }
    request.send().await;
    // All spans that there will be have been told then.
    proxy.terminate();
    proxy.wait_exit().await;
    origin.last().header("traceparent").unwrap_or_default().to_owned()
}

/// What a caller does not record is not recorded here, and its header goes on as it is.
#[tokio::test]
async fn what_is_not_recorded_before_is_not_recorded_here() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin);
    assert_eq!(seen(&origin, proxy, Some(NOT_RECORDED)).await, NOT_RECORDED);
    assert_eq!(origin.last().header("tracestate"), Some("a=1"));
    assert!(collector.posts().is_empty());
}

/// Every sampler of the usual names does what it is for.
#[tokio::test]
async fn samplers_do_as_they_are_called() {
    for (sampler, part, place, is_recorded) in [
        ("parentbased_always_on", "", Some(RECORDED), true),
        ("parentbased_always_on", "", None, true),
        ("parentbased_always_off", "", Some(RECORDED), true),
        ("parentbased_always_off", "", Some(NOT_RECORDED), false),
        ("parentbased_always_off", "", None, false),
        ("always_on", "", Some(NOT_RECORDED), true),
        ("always_off", "", Some(RECORDED), false),
        ("traceidratio", "0", Some(RECORDED), false),
        ("traceidratio", "1", Some(NOT_RECORDED), true),
        ("parentbased_traceidratio", "0", Some(RECORDED), true),
        ("parentbased_traceidratio", "0", None, false),
    ] {
        let (origin, collector) = (Origin::start().await, Collector::start().await);
        let proxy = collector
            .told_by_proxy_before(&origin)
            .env("OTEL_TRACES_SAMPLER", sampler)
            .env("OTEL_TRACES_SAMPLER_ARG", part);
        let seen = seen(&origin, proxy, place).await;
        let what = format!("{sampler} {part} {place:?}: {seen}");
        let flags = if is_recorded { "-01" } else { "-00" };
        assert!(seen.ends_with(flags), "{what}");
        // Whoever comes after sees one place, in the trace that was.
        assert_eq!(seen.contains(TRACE), place.is_some(), "{what}");
        let spans = collector.spans();
        assert_eq!(spans.len(), if is_recorded { 2 } else { 0 }, "{what}");
        if is_recorded {
            let of_trace = of_trace(&spans, &hex(&spans[0].trace_id));
            assert_eq!(of_trace.len(), 2, "{what}");
        }
    }
}

/// What is switched off, or can't be understood, records nothing, passes headers untouched, and
/// keeps nobody from being served.
#[tokio::test]
async fn what_is_off_does_nothing() {
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://127.0.0.1:1"),
    ] {
        let (origin, collector) = (Origin::start().await, Collector::start().await);
        let proxy = collector.told_by_proxy_before(&origin).env(name, value);
        let proxy = match value.starts_with("https") {
            true => proxy.env("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem"),
            false => proxy,
        };
        assert_eq!(seen(&origin, proxy, Some("malformed")).await, "malformed", "{name}={value}");
        assert!(collector.posts().is_empty());
    }
}
