//! The spans of a request: which there are, what they are part of, and what they say.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::collector::{Collector, hex, of, of_trace, one, said};
use crate::support::{
    Act, Answer, Folder, Gate, Origin, Proxy, assert_executed, assert_marked, client, eventually,
    every_way,
};

every_way! {
    a_first_request_and_its_replay,
    a_passed_request_is_traced,
}

/// The spans that a request has which runs: its own, the upstream's, and two of the store's.
const OF_FIRST: usize = 4;

const FIRST: &str = "0af7651916cd43dd8448eb211c80319c";
const SECOND: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "b7ad6b7169203331";

/// What a caller says of its place in a trace.
fn place(trace: &str) -> String {
    format!("00-{trace}-{CALLER}-01")
}

fn server(spans: &[Span]) -> Span {
    one(spans, |span| span.kind() == SpanKind::Server)
}

fn upstream(spans: &[Span]) -> Span {
    one(spans, |span| span.kind() == SpanKind::Client)
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn fails(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

/// Fails unless a span is part of another and of its trace, and lies within its time.
#[track_caller]
fn assert_part(child: &Span, parent: &Span) {
    assert_eq!(child.trace_id, parent.trace_id);
    assert_eq!(child.parent_span_id, parent.span_id, "{child:#?} of {parent:#?}");
    assert_ne!(child.span_id, parent.span_id);
    let (begun, ended) = (child.start_time_unix_nano, child.end_time_unix_nano);
    assert!(parent.start_time_unix_nano <= begun && begun <= ended, "{child:#?}");
}

/// A first request runs under its caller's trace, with a span for each part; a replay has one of
/// its own that names the first.
async fn a_first_request_and_its_replay() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin).start().await;
    let charge = |trace: &str| {
        let post = client(&proxy).post("/charges?card=1").key("k1").body("10");
        post.header("traceparent", place(trace)).header("tracestate", "a=1,b=2")
    };
    assert_executed(&charge(FIRST).send().await);
    let spans = of_trace(&collector.wait_for_spans(OF_FIRST).await, FIRST);
    assert_eq!(spans.len(), OF_FIRST, "{spans:#?}");
    let (first, sent) = (server(&spans), upstream(&spans));
    assert_eq!(hex(&first.parent_span_id), CALLER);
    assert_eq!((first.name.as_str(), sent.name.as_str()), ("POST", "POST"));
    assert_eq!(first.trace_state, "a=1,b=2");
    // The trace is sampled, and it is known whether the parent is elsewhere.
    assert_eq!((first.flags, sent.flags), (0x301, 0x101));
    for (name, expected) in [
        ("http.request.method", "POST"),
        ("url.path", "/charges"),
        ("url.scheme", if proxy_speaks_tls() { "https" } else { "http" }),
        ("server.address", "api.example"),
        ("http.response.status_code", "201"),
        ("http.request.body.size", "2"),
        ("oncegate.outcome", "executed"),
        ("oncegate.route", "default"),
    ] {
        assert_eq!(of(&first, name).as_deref(), Some(expected), "{name} of {first:#?}");
    }
    assert!(!format!("{spans:?}").contains("card"), "queries are not told");
    assert_part(&sent, &first);
    assert_eq!(of(&sent, "server.port"), Some(origin.addr.port().to_string()));
    assert_eq!(of(&sent, "http.response.status_code").as_deref(), Some("201"));
    let swaps = named(&spans, "store swap");
    assert_eq!(swaps.len(), 2, "a claim, and an answer that is kept: {spans:#?}");
    for swap in swaps {
        assert_part(swap, &first);
    }
    // The upstream is asked as part of the span that waits for it.
    let seen = format!("00-{FIRST}-{}-01", hex(&sent.span_id));
    assert_eq!(origin.last().header("traceparent"), Some(seen.as_str()));
    assert_eq!(origin.last().header("tracestate"), Some("a=1,b=2"));

    let repeat = charge(SECOND).send().await;
    assert_marked(&repeat);
    let spans = collector.wait_for_spans(OF_FIRST + 1).await;
    let spans = of_trace(&spans, SECOND);
    let [replay] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(hex(&replay.parent_span_id), CALLER);
    assert_eq!(of(replay, "oncegate.outcome").as_deref(), Some("replayed"));
    assert_eq!(of(replay, "oncegate.duplicate_key").as_deref(), repeat.header("duplicate-key"));
    let [link] = &replay.links[..] else { panic!("{replay:#?}") };
    assert_eq!((&link.trace_id, &link.span_id), (&first.trace_id, &first.span_id));
    assert_eq!(origin.hits(), 1);
    let lines = proxy.access_lines(2).await;
    let logged = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    assert_eq!(logged(&lines[0])["trace_id"], FIRST);
    assert_eq!(logged(&lines[1])["trace_id"], SECOND);
}

fn proxy_speaks_tls() -> bool {
    crate::support::Way::now().incoming == crate::support::Incoming::Http2Tls
}

/// What is not guarded has the spans of the request and of the upstream, in a trace that begins
/// here if the caller has none.
async fn a_passed_request_is_traced() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin).start().await;
    client(&proxy).get("/charges?s=1").send().await;
    let spans = collector.wait_for_spans(2).await;
    let (first, sent) = (server(&spans), upstream(&spans));
    assert_eq!(spans.len(), 2);
    assert!(first.parent_span_id.is_empty());
    assert_part(&sent, &first);
    assert_eq!((first.name.as_str(), sent.name.as_str()), ("GET", "GET"));
    assert_eq!(of(&first, "oncegate.outcome").as_deref(), Some("passed"));
    assert_eq!(of(&first, "oncegate.duplicate_key"), None);
    let seen = format!("00-{}-{}-01", hex(&sent.trace_id), hex(&sent.span_id));
    assert_eq!(origin.last().header("traceparent"), Some(seen.as_str()));
    assert!(origin.last().header("tracestate").is_none());
}

/// A repeat names the first request also when that was answered by another process.
#[tokio::test]
async fn a_replay_names_the_first_request_of_another_process() {
    let (origin, collector, folder) =
        (Origin::start().await, Collector::start().await, Folder::new());
    let store = format!("file://{}", folder.path("records").display());
    let (mut known, mut first) = (0, None);
    for (trace, count) in [(FIRST, OF_FIRST), (SECOND, 1)] {
        let proxy = collector.told_by_proxy_before(&origin).arg("--store", &store);
        let mut proxy = proxy.start().await;
        let post = client(&proxy).post("/charges").key("k1").body("10");
        post.header("traceparent", place(trace)).send().await;
        proxy.terminate();
        assert!(proxy.wait_exit().await.success());
        known += count;
        let own = server(&of_trace(&collector.wait_for_spans(known).await, trace));
        let Some(first) = first.replace(own.clone()) else { continue };
        assert_eq!(of(&own, "oncegate.outcome").as_deref(), Some("replayed"));
        let [link] = &own.links[..] else { panic!("{own:#?}") };
        assert_eq!((&link.trace_id, &link.span_id), (&first.trace_id, &first.span_id));
    }
    assert_eq!(origin.hits(), 1);
}

/// A repeat that comes while the first request runs waits in a span that names it, and so does its
/// own.
#[tokio::test]
async fn a_repeat_that_waits_has_a_span_for_that() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin).start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let charge = |trace: &str| {
        let post = client(&proxy).post("/charges").key("k1").body("10");
        post.header("traceparent", place(trace))
    };
    let mut first = charge(FIRST).open().await;
    origin.wait_for_hits(1).await;
    let mut second = charge(SECOND).open().await;
    proxy.has_read_all().await;
    // What was read is soon waited for; an answer that came before would be a replay.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    gate.open();
    assert_executed(&first.read().await);
    assert_marked(&second.read().await);
    let spans = collector.wait_for_spans(OF_FIRST + 2).await;
    let (first, second) = (of_trace(&spans, FIRST), of_trace(&spans, SECOND));
    let (first, own) = (server(&first), server(&second));
    assert_eq!(of(&own, "oncegate.outcome").as_deref(), Some("collapsed"));
    let [wait] = &named(&second, "wait")[..] else { panic!("{second:#?}") };
    assert_part(wait, &own);
    for span in [*wait, &own] {
        let [link] = &span.links[..] else { panic!("{span:#?}") };
        assert_eq!((&link.trace_id, &link.span_id), (&first.trace_id, &first.span_id));
    }
    assert_eq!(origin.hits(), 1);
}

/// What is done for a caller who has left belongs to its trace all the same.
#[tokio::test]
async fn what_outlives_its_caller_belongs_to_its_trace() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin).start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let post = client(&proxy).post("/charges").key("k1").body("10");
    let connection = post.header("traceparent", place(FIRST)).open().await;
    origin.wait_for_hits(1).await;
    connection.reset();
    // Its own span has ended, and the claim of the key before it.
    let spans = collector.wait_for_spans(2).await;
    let first = server(&spans);
    assert_eq!(of(&first, "error.type").as_deref(), Some("caller-left"));
    assert!(of(&first, "http.response.status_code").is_none() && !fails(&first));
    gate.open();
    let spans = of_trace(&collector.wait_for_spans(OF_FIRST).await, FIRST);
    assert_eq!(named(&spans, "store swap").len(), 2, "{spans:#?}");
    assert_part(&upstream(&spans), &first);
    assert!(!fails(&upstream(&spans)));
}

/// Spans say whose fault it is: a server fails by 5xx, and a client by every error it is told.
#[tokio::test]
async fn spans_say_what_has_failed() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin).start().await;
    let mut known = 0;
    for (method, status, server_fails, client_fails) in [
        ("POST", 200, false, false),
        ("POST", 404, false, true),
        ("POST", 500, true, true),
        ("GET", 302, false, false),
        ("GET", 404, false, true),
        ("GET", 503, true, true),
    ] {
        origin.next(Answer::new(status));
        let trace = format!("{:032x}", 1000 + known);
        let request = client(&proxy).method(method, "/charges").body("1");
        request.key(&trace).header("traceparent", place(&trace)).send().await;
        known += if method == "POST" { OF_FIRST } else { 2 };
        let spans = of_trace(&collector.wait_for_spans(known).await, &trace);
        for (span, has_failed) in [(server(&spans), server_fails), (upstream(&spans), client_fails)]
        {
            assert_eq!(fails(&span), has_failed, "{status}: {span:#?}");
            let reason = of(&span, "error.type");
            assert_eq!(reason, has_failed.then(|| status.to_string()), "{status}");
            assert_eq!(of(&span, "http.response.status_code"), Some(status.to_string()));
        }
    }
}

/// An upstream that can't be reached, or breaks off, has failed, and so has the request.
#[tokio::test]
async fn what_is_not_answered_has_failed() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let nowhere = Origin::nowhere().await;
    for (before, told, why) in [
        (nowhere, "upstream-unreachable", "connection_refused"),
        (origin.addr, "upstream-broken", "http_response_incomplete"),
    ] {
        let from = collector.spans().len();
        let proxy = Proxy::before_address(before)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.addr))
            .env("OTEL_BSP_SCHEDULE_DELAY", "50");
        let proxy = proxy.start().await;
        origin.always(Act::DropAfterExecuting(crate::support::How::Close));
        client(&proxy).post("/charges").key("k1").body("10").send().await;
        let spans = collector.wait_for_spans(from + OF_FIRST).await.split_off(from);
        let (own, sent) = (server(&spans), upstream(&spans));
        assert!(fails(&own) && fails(&sent));
        assert_eq!(of(&own, "error.type").as_deref(), Some(told));
        assert_eq!(of(&own, "oncegate.problem").as_deref(), Some(told));
        assert_eq!(of(&own, "oncegate.outcome").as_deref(), Some("failed"));
        assert_eq!(of(&sent, "error.type").as_deref(), Some(why));
    }
}

/// A refusal is nobody's fault here, and says why it is one.
#[tokio::test]
async fn refusals_are_traced() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin).start().await;
    client(&proxy).post("/charges").key("two words").body("1").send().await;
    let spans = collector.wait_for_spans(1).await;
    let refused = server(&spans);
    assert_eq!(of(&refused, "oncegate.problem").as_deref(), Some("key-malformed"));
    assert_eq!(of(&refused, "oncegate.outcome").as_deref(), Some("refused"));
    assert_eq!(of(&refused, "http.response.status_code").as_deref(), Some("400"));
    assert!(!fails(&refused));
}

/// A method that is not known does not name a span: anybody could make up more of them.
#[tokio::test]
async fn unknown_methods_name_no_spans() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin).start().await;
    client(&proxy).method("BREW", "/pot").send().await;
    for span in collector.wait_for_spans(2).await {
        assert_eq!(span.name, "HTTP");
        assert_eq!(of(&span, "http.request.method").as_deref(), Some("_OTHER"));
    }
}

/// The collector is told who tells it, and is asked in the way that the protocol says.
#[tokio::test]
async fn a_collector_is_told_by_whom() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let traces = format!("http://{}/in?tenant=7", collector.addr);
    let proxy = collector
        .told_by_proxy_before(&origin)
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20s3cret,x-tenant=7")
        .env("OTEL_SERVICE_NAME", "payments-gate")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,k8s.pod.name=a%2Cb");
    let proxy = proxy.arg("--log-level", "trace").start().await;
    client(&proxy).get("/").send().await;
    collector.wait_for_spans(2).await;
    let post = collector.posts().remove(0);
    assert!(post.head.start.starts_with("POST /in?tenant=7 "), "{:?}", post.head);
    for (name, expected) in [
        ("content-type", "application/x-protobuf"),
        ("authorization", "Bearer s3cret"),
        ("x-tenant", "7"),
        ("host", &collector.addr.to_string()),
    ] {
        assert_eq!(post.head.first(name), Some(expected), "{name}");
    }
    let of_resource = &post.message.resource_spans[0];
    let resource = of_resource.resource.as_ref().expect("a resource");
    for (name, expected) in [
        ("service.name", "payments-gate"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("deployment.environment.name", "test"),
        ("k8s.pod.name", "a,b"),
    ] {
        assert_eq!(said(&resource.attributes, name).as_deref(), Some(expected), "{name}");
    }
    let scope = of_resource.scope_spans[0].scope.as_ref().expect("a scope");
    assert_eq!(scope.name, "oncegate");
    assert!(!proxy.log().contains("s3cret"), "{}", proxy.log());
}

/// The end of the process waits for what there is to be told.
#[tokio::test]
async fn the_end_tells_what_there_is() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin);
    let mut proxy = proxy.env("OTEL_BSP_SCHEDULE_DELAY", "3600000").start().await;
    for key in 0..20 {
        client(&proxy).post("/charges").key(key.to_string()).body("10").send().await;
    }
    assert_eq!(collector.spans().len(), 0, "they wait for others");
    proxy.terminate();
    assert!(proxy.wait_exit().await.success());
    assert_eq!(collector.spans().len(), 20 * OF_FIRST);
    eventually("the totals", async || proxy.log().contains("trace_spans_dropped=0")).await;
}
