//! The spans of what is not one request and one answer: gRPC, tunnels, and what is only observed.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::collector::{Collector, hex, of, one};
use crate::support::{Answer, Origin, Peer, Proxy, client, every_way};

every_way! {
    grpc_calls_are_traced,
}

/// A message of gRPC.
fn message(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[0][..], &length, text.as_bytes()].concat()
}

fn server(spans: &[Span]) -> Span {
    one(spans, |span| span.kind() == SpanKind::Server)
}

fn upstream(spans: &[Span]) -> Span {
    one(spans, |span| span.kind() == SpanKind::Client)
}

/// Calls have the spans of requests, whether they are unary or stream, with a key or without.
async fn grpc_calls_are_traced() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin).start().await;
    let both = [message("one"), message("two")].concat();
    let mut known = 0;
    for (key, body, outcome, count) in [
        (None, message("one"), "passed", 2),
        (None, both.clone(), "passed", 2),
        (Some("k1"), message("one"), "executed", 4),
        (Some("k2"), both, "executed", 4),
    ] {
        let call = client(&proxy).post("/pay.Payments/Charge").key_if(key).body(body);
        let call = call.header("Content-Type", "application/grpc").header("TE", "trailers");
        let answer = Answer::new(200).header("Content-Type", "application/grpc");
        origin.next(answer.header("grpc-status", "0"));
        call.send().await;
        known += count;
        let spans = collector.wait_for_spans(known).await.split_off(known - count);
        let (own, sent) = (server(&spans), upstream(&spans));
        assert_eq!(of(&own, "oncegate.outcome").as_deref(), Some(outcome), "{own:#?}");
        assert_eq!(of(&own, "url.path").as_deref(), Some("/pay.Payments/Charge"));
        assert_eq!(sent.parent_span_id, own.span_id);
        let place = format!("00-{}-{}-01", hex(&own.trace_id), hex(&sent.span_id));
        assert_eq!(origin.last().header("traceparent"), Some(place.as_str()));
    }
}

/// A tunnel has them, too, for how it began.
#[tokio::test]
async fn a_tunnel_is_traced() {
    let (peer, collector) = (Peer::start().await, Collector::start().await);
    let proxy = Proxy::before_address(peer.addr)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.addr))
        .env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let proxy = proxy.start().await;
    let get = client(&proxy).get("/chat").header("Connection", "Upgrade");
    let mut caller = get.header("Upgrade", "websocket").open().await;
    let mut exchange = peer.accept().await;
    let (head, _) = exchange.request().await;
    exchange.write("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(caller.read().await.status, 101);
    let spans = collector.wait_for_spans(2).await;
    let (own, sent) = (server(&spans), upstream(&spans));
    assert_eq!(of(&own, "http.response.status_code").as_deref(), Some("101"));
    assert_eq!(sent.parent_span_id, own.span_id);
    let place = format!("00-{}-{}-01", hex(&own.trace_id), hex(&sent.span_id));
    assert_eq!(head.first("traceparent"), Some(place.as_str()));
}

/// What is only observed says what would have become of it; the pattern of its route names it.
#[tokio::test]
async fn what_is_observed_is_traced() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector
        .told_by_proxy_before(&origin)
        .toml("[[route]]\nname = \"pay\"\npath = \"/v1/{account}/pay\"\nmode = \"observe\"\n");
    let proxy = proxy.start().await;
    let mut known = 0;
    for (outcome, would_be, count) in [("passed", None, 4), ("observed", Some("replayed"), 2)] {
        client(&proxy).post("/v1/7/pay").key("k1").body("10").send().await;
        known += count;
        let spans = collector.wait_for_spans(known).await.split_off(known - count);
        let (own, sent) = (server(&spans), upstream(&spans));
        assert_eq!(own.name, "POST /v1/{account}/pay");
        assert_eq!(of(&own, "http.route").as_deref(), Some("/v1/{account}/pay"));
        assert_eq!(of(&own, "oncegate.route").as_deref(), Some("pay"));
        assert_eq!(of(&own, "oncegate.outcome").as_deref(), Some(outcome));
        assert_eq!(of(&own, "oncegate.would_be").as_deref(), would_be);
        assert_eq!(sent.parent_span_id, own.span_id);
    }
    assert_eq!(origin.hits(), 2);
}
